"""The daemon as the page sees it, told by a test what to say: any balloon, any map, any event, at the test's word.

Only what the page asks for is there; the page itself comes from the application's own handlers. That the real daemon
says these things in this shape is shown by the tests with real guests.
"""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from aiohttp import web
from PIL import Image
from support.scripted_policy import ScriptedPolicy

from vballoond.http import page

MIB: Final = 1 << 20
FRAME: Final = 4096
BEGAN: Final = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def balloon(name: str, **known: Any) -> dict[str, Any]:
    """A balloon as the API shows it, of 1 GiB, running, if nothing else is said."""
    return {
        "name": name,
        "transport": "vhost-user",
        "state": "running",
        "reason": None,
        "memory_bytes": 1024 * MIB,
        "target_bytes": 0,
        "actual_bytes": 0,
        "held_frames": 0,
        "resident_bytes": 600 * MIB,
        "reclaimed_bytes": 0,
        "features": {"offered": ["must-tell-host", "stats"], "negotiated": ["must-tell-host", "stats"]},
        "resize": None,
        "counters": {"migrated_frames": 0},
        **known,
    }


def resize(number: int, from_mib: int, target_mib: int, **known: Any) -> dict[str, Any]:
    """A resize as the API shows it, under way if nothing else is said."""
    return {
        "id": number,
        "target_bytes": target_mib * MIB,
        "from_bytes": from_mib * MIB,
        "started_at": rfc3339(BEGAN),
        "ended_at": None,
        "progress": 0.0,
        "rate_bytes_per_s": 0,
        "expected_at": None,
        "stalled": None,
        "stall": None,
        "by": "operator",
        "settle": False,
        "deadline_at": None,
        "outcome": None,
        "done": False,
        **known,
    }


def rfc3339(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


class ScriptedMap:
    """A frame map, and who follows it. Frames from ``first`` on; 255 stands where there is no memory."""

    def __init__(self, frames: int, first: int = 0) -> None:
        self.first: Final = first
        self.held: Final = np.zeros(frames, dtype=np.uint8)
        self.states: np.ndarray[Any, Any] | None = None
        self.version = 1
        self.followers: Final[list[tuple[range, int, asyncio.Queue[str]]]] = []
        self.read: Final[list[dict[str, str]]] = []

    def densities(self, window: range, scale: int) -> bytes:
        """A byte for each cell of a window that begins and ends with one."""
        cells = -(-len(window) // scale)
        part = np.full(cells * scale, 255, dtype=np.uint8)
        inside = self.held[max(0, window.start - self.first) : max(0, window.stop - self.first)]
        offset = max(0, self.first - window.start)
        part[offset : offset + len(inside)] = inside
        table = part.reshape(cells, scale)
        memory = (table != 255).sum(axis=1)
        held = (table == 1).sum(axis=1)
        shares = np.where(memory == 0, 255, np.clip(254 * held // np.maximum(memory, 1), held > 0, 254))
        return bytes(shares.astype(np.uint8))

    def fill(self, first: int, count: int, *, held: bool) -> None:
        """Change frames, and tell whoever follows them."""
        self.held[first - self.first : first - self.first + count] = held
        self.version += 1
        for window, scale, queue in self.followers:
            start = max(window.start, first // scale * scale)
            stop = min(window.stop, -(-(first + count) // scale) * scale)
            if start >= stop:
                continue
            if scale == 1:
                what: dict[str, Any] = {"ranges": [{"first": start, "count": stop - start, "ballooned": held}]}
            else:
                cells = base64.b64encode(self.densities(range(start, stop), scale)).decode()
                what = {"cells": [[start, cells]]}
            queue.put_nowait(
                event_text("changes", {"version": self.version, "scale": scale, **what}, f"r-{self.version}")
            )

    def tell(self, kind: str, data: dict[str, Any]) -> None:
        """Tell all who follow."""
        for _, _, queue in self.followers:
            queue.put_nowait(event_text(kind, {"version": self.version, **data}, f"r-{self.version}"))


def event_text(kind: str, data: dict[str, Any], number: str) -> str:
    return f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


@dataclass
class ScriptedApi:
    """What the daemon knows and says.

    Attributes:
        policies: What is said of policies.
        asked: What was asked for, as method, path with query, and body.
        refuse: Answers a PATCH with this problem, if it is set.
        lost: Whether whoever comes again is told that events are gone.
    """

    balloons: dict[str, dict[str, Any]] = field(default_factory=dict)
    maps: dict[str, ScriptedMap] = field(default_factory=dict)
    policies: ScriptedPolicy = field(default_factory=ScriptedPolicy)
    token: str | None = None
    refuse: dict[str, Any] | None = None
    lost: bool = False
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    url: str = ""
    said: list[str] = field(default_factory=list)
    last_ids: list[str | None] = field(default_factory=list)
    _listeners: list[asyncio.Queue[str]] = field(default_factory=list)
    _streams: set[asyncio.Task[Any]] = field(default_factory=set)
    _runner: web.AppRunner | None = None
    _port: int = 0
    _seconds: int = 0

    def add(self, name: str, **known: Any) -> ScriptedMap:
        """Have a balloon; return its map."""
        self.balloons[name] = balloon(name, **known)
        frames = (self.balloons[name]["memory_bytes"] or 0) // FRAME
        self.maps[name] = ScriptedMap(frames)
        return self.maps[name]

    def tell(self, kind: str, name: str | None = None, at: datetime | None = None, **data: Any) -> None:
        """Say an event to all who listen; those who are away hear it when they come again."""
        self._seconds += 1
        at = at or BEGAN + timedelta(seconds=self._seconds)
        text = event_text(kind, {"at": rfc3339(at), "balloon": name, **data}, f"r-{len(self.said) + 1}")
        self.said.append(text)
        for queue in self._listeners:
            queue.put_nowait(text)

    def sizes(self, name: str, **known: Any) -> None:
        """Change a balloon's sizes, and tell it."""
        self.balloons[name].update(known)
        keys = ("target_bytes", "actual_bytes", "held_frames", "resident_bytes", "reclaimed_bytes")
        self.tell("sizes", name, **{key: self.balloons[name][key] for key in keys})

    async def start(self) -> None:
        """Answer, where it did before."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", page.show_page)
        app.router.add_get("/page/{name}", page.show_file)
        app.router.add_get("/v1/events", self._events)
        app.router.add_get("/v1/balloons", self._list)
        app.router.add_get("/v1/balloons/{name}", self._show)
        app.router.add_patch("/v1/balloons/{name}", self._patch)
        app.router.add_get("/v1/balloons/{name}/frames", self._frames)
        app.router.add_get("/v1/balloons/{name}/frames/changes", self._changes)
        self.policies.add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"

    async def stop(self) -> None:
        """Answer nobody, and let go of those who listen."""
        for task in self._streams:
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        open_path = request.path == "/" or request.path.startswith("/page/")
        if not open_path:
            body = await request.json() if request.can_read_body else None
            self.asked.append((request.method, request.path_qs, body))
            assert "token" not in request.path_qs
        if self.token and not open_path and request.headers.get("Authorization") != f"Bearer {self.token}":
            return problem(401, "this daemon wants its bearer token")
        if "name" in request.match_info and not open_path and request.match_info["name"] not in self.balloons:
            return problem(404, "no such balloon")
        return await handler(request)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        return web.json_response({"balloons": list(self.balloons.values())})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self.balloons[request.match_info["name"]])

    async def _patch(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        if self.refuse:
            return problem(422, **self.refuse)
        shown = self.balloons[name]
        number = (shown["resize"] or {"id": 0})["id"] + 1
        begun = resize(number, shown["actual_bytes"] // MIB, body["target_mib"])
        shown.update(target_bytes=body["target_mib"] * MIB, resize=begun)
        self.tell("resize-begun", name, resize=begun)
        return web.json_response(shown, status=202)

    async def _frames(self, request: web.Request) -> web.Response:
        frames, query = self.maps[request.match_info["name"]], request.query
        frames.read.append(dict(query))
        if query["format"] == "png":
            return self._png(frames, query)
        scale = int(query["scale"])
        etag = f'"{frames.version}-{request.query_string}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        first = int(query.get("first", frames.first))
        count = int(query.get("count", len(frames.held)))
        headers = {
            "ETag": etag,
            "X-First-Frame": str(first),
            "X-Frame-Count": str(count),
            "X-Frame-Scale": str(scale),
            "X-Frame-Version": str(frames.version),
        }
        return web.Response(body=frames.densities(range(first, first + count), scale), headers=headers)

    def _png(self, frames: ScriptedMap, query: Any) -> web.Response:
        if frames.states is None:
            return problem(400, "only an in-process guest tells")
        first, count, width = (int(query[key]) for key in ("first", "count", "width"))
        part = np.full(-(-count // width) * width, 7, dtype=np.uint8)
        shown = frames.states[first - frames.first : first - frames.first + count]
        part[: len(shown)] = np.where(frames.held[first - frames.first :][: len(shown)] == 1, 6, shown)
        image = Image.frombytes("P", (width, len(part) // width), part.tobytes())
        image.putpalette([channel for code in range(8) for channel in (code * 30, 0, 0)])
        file = io.BytesIO()
        image.save(file, "PNG")
        return web.Response(body=file.getvalue(), content_type="image/png")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        last = request.headers.get("Last-Event-ID")
        self.last_ids.append(last)
        queue: asyncio.Queue[str] = asyncio.Queue()
        if last is not None and not self.lost:
            for text in self.said[int(last.partition("-")[2]) :]:
                queue.put_nowait(text)
        self._listeners.append(queue)
        try:
            if self.lost and last is not None:
                self.tell("events-lost")
                self.lost = False
            return await self._stream(request, queue)
        finally:
            self._listeners.remove(queue)

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        frames, query = self.maps[request.match_info["name"]], request.query
        first, count = int(query["first"]), int(query["count"])
        follower = (range(first, first + count), int(query["scale"]), asyncio.Queue[str]())
        frames.followers.append(follower)
        try:
            return await self._stream(request, follower[2])
        finally:
            frames.followers.remove(follower)

    async def _stream(self, request: web.Request, queue: "asyncio.Queue[str]") -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        await response.write(b"retry: 20\n\n")
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        try:
            while True:
                await response.write((await queue.get()).encode())
        finally:
            self._streams.discard(task)


def problem(status: int, detail: str, **extra: Any) -> web.Response:
    body = {"type": "about:blank", "title": "no", "status": status, "detail": detail, "code": "scripted", **extra}
    return web.json_response(body, status=status, content_type="application/problem+json")


@asynccontextmanager
async def scripted_api(**known: Any) -> AsyncIterator[ScriptedApi]:
    """A daemon that says what it is told."""
    api = ScriptedApi(**known)
    await api.start()
    try:
        yield api
    finally:
        await api.stop()

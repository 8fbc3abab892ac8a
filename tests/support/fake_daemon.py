"""Stands in for the daemon's API: answers what a test says, and tells events when a test says so."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

MIB = 1 << 20


def balloon(name: str = "vm1", **changes: Any) -> dict[str, Any]:
    """A balloon as the API gives it."""
    return {
        "name": name,
        "transport": "vhost-user",
        "state": "running",
        "reason": None,
        "memory_bytes": 1024 * MIB,
        "target_bytes": 0,
        "actual_bytes": 0,
        "held_frames": 0,
        "resident_bytes": 768 * MIB,
        "reclaimed_bytes": 0,
        "features": {"offered": ["stats"], "negotiated": ["stats"]},
        "resize": None,
        "counters": {},
        **changes,
    }


def resize(**changes: Any) -> dict[str, Any]:
    """A resize as the API gives it: under way from nothing to 512 MiB."""
    return {
        "id": 1,
        "target_bytes": 512 * MIB,
        "from_bytes": 0,
        "started_at": "2026-01-02T03:04:05Z",
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
        **changes,
    }


CUT_OFF = object()
"""A body: the connection breaks instead."""

DONE = {"outcome": "done", "done": True, "progress": 1.0, "ended_at": "2026-01-02T03:04:09Z"}


class FakeDaemon:
    """What it is asked and what it says.

    Attributes:
        api: Where it answers.
        asked: Method, path with query, and JSON body of every request, in order.
        headers: Of every request.
        answers: Status and body (JSON, or bytes) by method and path; a list is answered one after the other.
        log: Every event told so far, which streams replay.
    """

    def __init__(self) -> None:
        self.api = ""
        self.asked: list[tuple[str, str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[tuple[str, str], Any] = {}
        self.answer_headers: dict[str, str] = {}
        self.log: list[tuple[str, str]] = []
        self.changes: list[tuple[str, str]] = []
        self._told = asyncio.Condition()
        self._breaks = 0

    def says(self, method: str, path: str, body: Any, status: int = 200) -> None:
        """Answer so from now on."""
        self.answers[method, path] = (status, body)

    def refuses(self, method: str, path: str, status: int, detail: str, **extra: Any) -> None:
        """Refuse it from now on."""
        code = extra.pop("code", "bad-request")
        self.says(method, path, {"title": "no", "status": status, "detail": detail, "code": code, **extra}, status)

    async def tell(self, kind: str, name: str | None = "vm1", at: str = "2026-01-02T03:04:05Z", **data: Any) -> None:
        """Tell an event to whoever listens, and whoever will."""
        await self._append(self.log, kind, {"at": at, "balloon": name, **data})

    async def tell_change(self, kind: str, **data: Any) -> None:
        """Tell those who follow a frame map."""
        await self._append(self.changes, kind, data)

    async def hang_up(self) -> None:
        """End all streams."""
        async with self._told:
            self._breaks += 1
            self._told.notify_all()

    async def _append(self, log: list[tuple[str, str]], kind: str, data: Any) -> None:
        async with self._told:
            log.append((kind, json.dumps(data)))
            self._told.notify_all()

    async def until_asked(self, method: str, path: str) -> None:
        """Wait for a request."""
        async with self._told:
            await self._told.wait_for(lambda: any(asked[:2] == (method, path) for asked in self.asked))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(text) if (text := await request.text()) else None
        async with self._told:
            self.asked.append((request.method, request.path_qs, body))
            self.headers.append(dict(request.headers))
            self._told.notify_all()
        given = self.answers.get((request.method, request.path_qs)) or self.answers.get((request.method, request.path))
        if given is not None:
            status, content = await given() if callable(given) else given
            if content is CUT_OFF:
                assert request.transport is not None
                request.transport.abort()
            return self._answer(status, None if content is CUT_OFF else content)
        if request.path == "/v1/events":
            return await self._stream(request, self.log)
        if request.path.endswith("/changes"):
            return await self._stream(request, self.changes)
        return self._answer(404, {"title": "no", "status": 404, "detail": "there is no such thing", "code": "x"})

    def _answer(self, status: int, content: Any) -> web.Response:
        if isinstance(content, bytes):
            return web.Response(status=status, body=content, headers=self.answer_headers)
        return web.json_response(content, status=status)

    async def _stream(self, request: web.Request, log: list[tuple[str, str]]) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"retry: 1\n\n")
        seen, breaks = int(request.headers.get("Last-Event-ID", "R-0").partition("-")[2]), self._breaks

        def more() -> bool:
            return len(log) > seen or self._breaks != breaks

        while True:
            async with self._told:
                await self._told.wait_for(more)
            with contextlib.suppress(ConnectionResetError):  # who listened has left
                for number, (kind, data) in enumerate(log[seen:], seen + 1):
                    await response.write(f"id: R-{number}\nevent: {kind}\ndata: {data}\n\n".encode())
            seen = len(log)
            if self._breaks != breaks:
                return response


@asynccontextmanager
async def fake_daemon() -> AsyncIterator[FakeDaemon]:
    """A daemon that knows nothing yet."""
    fake = FakeDaemon()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.handle)
    async with TestServer(app, shutdown_timeout=0) as server:
        fake.api = f"http://127.0.0.1:{server.port}"
        yield fake
        await fake.hang_up()

"""What changes in a frame map, as server-sent events.

Rules of this file:

* An id is ``RUN-VERSION``: whoever comes again with it is told what changed since, as what is there now. So a viewer of
  whatever guest reads the map once, and nothing is kept for it meanwhile.
* ``reset`` says that the map is another one, or that nobody knows what was read: read it again. What changed since the
  version that ``reset`` names is told afterwards.
* A viewer is told at most every :data:`INTERVAL_S`, what is newest then, and is asleep while nothing changes.
* Migrations are told before the frames that changed with them: an id stands behind both.
"""

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from aiohttp import web

from ...balloon.densities import ALL_HELD, NO_MEMORY
from ...balloon.device import BalloonDevice
from ...balloon.map_changes import CHUNK_CELLS, ChangedCells, ChangePiece, changes_since
from ...memory.frames import FrameRange
from ...offload import Offload
from ..balloons import service_of
from ..keys import OFFLOAD, REGISTRY, RUN
from ..server_sent import HEARTBEAT_S, send_events, to_text
from .query import Extent, bad_query, extent_of

INTERVAL_S: Final = 0.2
MAX_VERSION: Final = (1 << 53) - 1
"""What every reader of JSON can tell from its neighbours."""

_INLINE_FRAMES: Final = CHUNK_CELLS  # the changes of as many are found in a millisecond


async def stream_frame_changes(request: web.Request) -> web.StreamResponse:
    """What changes in the map, as it changes, until either end goes."""
    service, registry = service_of(request), request.app[REGISTRY]
    position = _position(request, service.device.frame_map.version)
    extent = extent_of(request)

    def there() -> bool:
        return any(listed is service for listed in registry)

    viewer = Viewer(service.device, request.app[OFFLOAD], request.app[RUN], extent, there)
    return await send_events(request, viewer.events(position))


def _position(request: web.Request, now: int) -> int | None:
    """Return the version that the viewer knows; None where that is none of this run."""
    last_id, since = request.headers.get("Last-Event-ID"), request.query.get("since")
    run = request.app[RUN]
    if last_id is not None:
        return _version_of(last_id, run)
    if since is None:
        return now
    number = since.rpartition("-")[2]
    if not (number.isascii() and number.isdigit() and len(number) <= len(str(MAX_VERSION))):
        raise bad_query("since", since, "a version of the map: X-Frame-Version of an answer, or the id of an event")
    return _version_of(since, run) if "-" in since else int(number)


def _version_of(event_id: str, run: str) -> int | None:
    its_run, _, number = event_id.rpartition("-")
    known = its_run == run and number.isascii() and number.isdigit() and len(number) <= len(str(MAX_VERSION))
    return int(number) if known else None


@dataclass(frozen=True, slots=True)
class Viewer:
    """Somebody who looks at a map, or a window of it.

    Attributes:
        device: Whose map.
        offload: Where large maps are read.
        run: The daemon's.
        extent: Which window, at which scale.
        there: Whether the balloon still is there.
    """

    device: BalloonDevice
    offload: Offload
    run: str
    extent: Extent
    there: Callable[[], bool]

    async def events(self, position: int | None) -> AsyncGenerator[str]:
        """Yield what changes after version ``position``, as texts of events, for as long as the balloon is there."""
        changed = asyncio.Event()
        try:
            while self.there():
                changed.clear()
                self.device.watch_map(changed.set)
                if position != self.device.frame_map.version:
                    now, reset = self.device.frame_map.version, not self._knows(position)
                    async with aclosing(self._resetting(now) if reset else self._telling(position or 0, now)) as texts:
                        async for text in texts:
                            yield text
                    position = now
                    await asyncio.sleep(INTERVAL_S)
                await self._wait(changed)
        finally:
            self.device.unwatch_map(changed.set)

    async def _wait(self, changed: asyncio.Event) -> None:
        """Wait for a change, but look now and then whether the balloon is there."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await changed.wait()
        except TimeoutError:
            pass

    def _knows(self, position: int | None) -> bool:
        """Return whether the map can tell what changed since ``position``."""
        frame_map = self.device.frame_map
        return position is not None and frame_map.born <= position <= frame_map.version

    async def _resetting(self, now: int) -> AsyncGenerator[str]:
        yield self._text("reset", now, {"version": now})

    async def _telling(self, since: int, now: int) -> AsyncGenerator[str]:
        """Yield what changed between two versions of the map."""
        frame_map = self.device.frame_map
        window, scale = self.extent.in_space(frame_map.space)
        moved = [
            [move.from_pfn, move.to_pfn]
            for move in self.device.migrations.since(since)
            if move.version <= now and (_within(move.from_pfn, window) or _within(move.to_pfn, window))
        ]
        if moved:
            total = self.device.counters.migrated_frames
            yield self._text("migrations", since, {"version": since, "migrations": moved, "total": total})
        offload = self.offload if window.count > _INLINE_FRAMES else Offload()
        pieces = changes_since(frame_map, since, now, window, scale)
        while text := await offload.run(self._next_text, pieces, scale):
            yield text

    def _next_text(self, pieces: Iterator[ChangePiece], scale: int) -> str | None:
        """Return the next piece that has anything in it; None behind the last one."""
        for piece in pieces:
            if piece.runs:
                body: dict[str, Any] = {"version": piece.version, "scale": scale}
                body |= {"cells": list(map(_cells, piece.runs))} if scale > 1 else {"ranges": list(_ranges(piece.runs))}
                return self._text("changes", piece.version, body)
        return None

    def _text(self, kind: str, version: int, body: dict[str, Any]) -> str:
        return to_text(kind, json.dumps(body, separators=(",", ":")), f"{self.run}-{version}")


def _within(pfn: int, window: FrameRange) -> bool:
    return window.first <= pfn < window.end


def _cells(run: ChangedCells) -> list[Any]:
    return [run.first, base64.b64encode(run.densities.tobytes()).decode()]


def _ranges(runs: list[ChangedCells]) -> Iterator[dict[str, Any]]:
    """Yield what frames are now, as ranges; what is no memory is left out."""
    for run in runs:
        edges = np.flatnonzero(np.diff(run.densities)) + 1
        starts = [0, *edges.tolist()]
        for start, end in zip(starts, [*starts[1:], run.densities.size], strict=True):
            state = run.densities[start]
            if state != NO_MEMORY:
                yield {"first": run.first + start, "count": end - start, "ballooned": bool(state == ALL_HELD)}

"""A running daemon as its user sees it: over HTTP, with a look inside where a test compares."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from vballoond.daemon import Daemon
from vballoond.memory.frames import FrameRange
from vballoond.service.balloon_service import BalloonService

MIB = 1 << 20


@dataclass
class Served:
    daemon: Daemon
    session: aiohttp.ClientSession
    directory: Path

    @staticmethod
    @asynccontextmanager
    async def client(daemon: Daemon, directory: Path) -> "AsyncIterator[Served]":
        async with aiohttp.ClientSession(daemon.api_url) as session:
            yield Served(daemon, session, directory)

    def socket(self, name: str) -> Path:
        return self.directory / f"{name}.sock"

    def service(self, name: str) -> BalloonService:
        return self.daemon.registry.find(name)

    async def show(self, name: str) -> dict[str, Any]:
        async with self.session.get(f"/v1/balloons/{name}") as answer:
            assert answer.status == 200
            return await answer.json()

    async def set_mib(self, name: str, target_mib: int, *, wait_s: int = 60) -> dict[str, Any]:
        """Set a target and see it reached."""
        headers = {"Prefer": f"wait={wait_s}"}
        body = {"target_mib": target_mib}
        async with self.session.patch(f"/v1/balloons/{name}", json=body, headers=headers) as answer:
            balloon = await answer.json()
            assert answer.status == 200, balloon
            return balloon

    async def hinting(self, name: str) -> dict[str, Any]:
        async with self.session.get(f"/v1/balloons/{name}/hinting") as answer:
            assert answer.status == 200
            return await answer.json()

    async def hint(self, name: str) -> dict[str, Any]:
        """Have the driver list its free memory; return what came of it."""
        async with self.session.post(f"/v1/balloons/{name}/hinting") as answer:
            assert answer.status == 202
        async with asyncio.timeout(60):
            while (state := await self.hinting(name))["state"] != "done":
                assert state["state"] in {"requested", "running"}
        return state

    async def ranges(self, name: str) -> list[FrameRange]:
        async with self.session.get(f"/v1/balloons/{name}/frames") as answer:
            assert answer.status == 200
            return [FrameRange(part["first"], part["count"]) for part in (await answer.json())["ranges"]]

    async def frames(self, name: str) -> set[int]:
        """The frame map, frame by frame."""
        return {pfn for part in await self.ranges(name) for pfn in range(part.first, part.end)}

    def touched_frames(self, name: str) -> set[int]:
        """The frames for which the host has memory, by the kernel's own account of the memory files."""
        touched: set[int] = set()
        for region in self.service(name).memory.regions:
            size = os.fstat(region.fd).st_size
            at = 0
            while at < size:
                try:
                    start = os.lseek(region.fd, at, os.SEEK_DATA)
                except OSError:
                    break
                at = os.lseek(region.fd, start, os.SEEK_HOLE)
                frames = region.place.frames
                shift = frames.first - region.file_offset_of(frames.first) // 4096
                inside = range(max(frames.first, start // 4096 + shift), min(frames.end, at // 4096 + shift))
                touched.update(inside)
        return touched

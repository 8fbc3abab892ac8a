"""What a map of a guest of 1 TiB costs to note and to read, beside one of 4 GiB.

The guest is a sparse memory file of which nothing is touched; its balloon holds pages all over it. What is read is read
over the API, in this process; what is noted is noted in the device, beside the driver's requests that cost most.
"""

import asyncio
import os
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import numpy as np
import structlog
from aiohttp.test_utils import TestClient, TestServer

from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.balloon.counters import Counters
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.inflate import deflate, inflate
from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.http.app import build_app
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.offload import Offload
from vballoond.registry import Registry
from vballoond.service.balloon_service import BalloonService

GIB: Final = 1 << 30
GUESTS_GIB: Final = (4, 1024)
REQUESTS: Final = 2000
ROUNDS: Final = 5
MAP: Final = "/v1/balloons/guest/frames"
_chance: Final = np.random.default_rng(1)


def requests(frames: int, kind: str) -> list[bytes]:
    """Return what a driver sends: frames in a row, or wherever its guest found free ones, or one alone."""
    found = []
    for _ in range(REQUESTS):
        if kind == "256 in a row":
            first = int(_chance.integers(0, frames - 256))
            pfns = np.arange(first, first + 256)
        else:
            pfns = np.unique(_chance.integers(0, frames, 256 if kind == "256 anywhere" else 1))
        found.append(pfns.astype("<u4").tobytes())
    return found


def noting_us(frames: int, kind: str) -> float:
    """Return what the device's map takes for an inflate request and the deflate request that undoes it."""
    frame_map, counters, listed = FrameMap(FrameSpace((FrameRange(0, frames),))), Counters(), requests(frames, kind)
    best = float("inf")
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        for data in listed:
            inflate(frame_map, data, counters)
            deflate(frame_map, data, counters)
        best = min(best, (time.perf_counter() - began_at) / REQUESTS)
    return best * 1e6


@asynccontextmanager
async def served(size_bytes: int) -> AsyncIterator[tuple[TestClient, BalloonService]]:
    """Serve a guest of which nothing is touched."""
    keys = {"name": "guest", "transport": "vhost-user", "socket": "unused.sock", "stats_interval_s": 0}
    fd = os.memfd_create("benchmark")
    os.ftruncate(fd, size_bytes)
    region = MappedRegion(RegionPlace(0, size_bytes, 0, 0), fd)
    with ThreadPoolExecutor() as executor:
        clock = Clock(asyncio.get_running_loop().time)
        service = BalloonService(BalloonSettings.model_validate(keys), clock, Offload(executor))
        service.set_memory(GuestMemory([region]))
        registry = Registry()
        registry.add(service)
        async with TestClient(TestServer(build_app(registry, Offload(executor)))) as client:
            yield client, service
    region.close()
    os.close(fd)


def fill(frame_map: FrameMap, frames: int) -> None:
    """Hold 64 frames in each of 4096 places."""
    for first in range(0, frames, frames // 4096):
        frame_map.insert(np.arange(first + 100, first + 164, dtype=np.uint32))


async def milliseconds(call: Callable[[], Awaitable[object]]) -> float:
    """Return the best of several calls."""
    best = float("inf")
    for _ in range(ROUNDS):
        began_at = time.perf_counter()
        await call()
        best = min(best, time.perf_counter() - began_at)
    return best * 1e3


async def ask(client: TestClient, query: str, etag: str = "") -> str:
    """Read what a query asks for; return its ETag."""
    async with client.get(f"{MAP}?{query}", headers={"If-None-Match": etag}) as answer:
        assert answer.status == (304 if etag else 200)
        await answer.read()
        return answer.headers["ETag"]


async def changes(client: TestClient, since: int) -> int:
    """Read the events that tell all changes since a version; return how many bytes they are."""
    length = 0
    async with client.get(f"{MAP}/changes?since={since}&scale=auto") as answer:
        while True:
            event = await answer.content.readuntil(b"\n\n")
            length += len(event)
            if event.startswith(b"id: ") and int(event.partition(b"\n")[0].rpartition(b"-")[2]) > since:
                return length


async def read(size_gib: int) -> None:
    """Print what reading the map of a guest takes."""
    async with served(size_gib * GIB) as (client, service):
        frame_map, frames = service.device.frame_map, size_gib * GIB // FRAME_BYTES
        fill(frame_map, frames)
        before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for what, query in (
            ("overview as PNG", "format=png&scale=auto"),
            ("overview as densities", "format=density&scale=auto"),
            ("ranges of a window of 1 GiB", f"first={frames // 2}&count={1 << 18}"),
            ("PNG of a window of 1 GiB, a pixel a frame", f"format=png&first={frames // 2}&count={1 << 18}"),
            ("ranges of everything", "format=ranges"),
        ):
            print(f"{size_gib:5} GiB   {what:44} {await milliseconds(partial(ask, client, query)):9.2f} ms")
        etag = await ask(client, "format=png&scale=auto")
        took_ms = await milliseconds(partial(ask, client, "format=png&scale=auto", etag))
        print(f"{size_gib:5} GiB   {'overview as PNG that has not changed':44} {took_ms:9.2f} ms")
        took_ms = await milliseconds(partial(changes, client, frame_map.born))
        print(f"{size_gib:5} GiB   {'all changes since the guest began':44} {took_ms:9.2f} ms")
        before = frame_map.version
        frame_map.insert(np.array([frames // 2 + 3], dtype=np.uint32))
        whole, one = await changes(client, frame_map.born), await changes(client, before)
        print(f"{size_gib:5} GiB   {'one change, beside all since it began':44} {one:9} of {whole} bytes")
        more_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
        print(
            f"{size_gib:5} GiB   {'memory that all this took at most':44} {more_kib * 1024 / frames:9.3f} bytes a frame"
        )
        took_ms = await milliseconds(partial(ask, client, "format=bitmap"))
        print(f"{size_gib:5} GiB   {'bitmap of everything, a bit a frame':44} {took_ms:9.2f} ms")


def main() -> None:
    """Print both tables."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    print("noting an inflate request and a deflate request; x: as a multiple of the smallest guest's")
    for kind in ("256 in a row", "256 anywhere", "one, a migration"):
        smallest_us = noting_us(GUESTS_GIB[0] * GIB // FRAME_BYTES, kind)
        for size_gib in GUESTS_GIB:
            us = noting_us(size_gib * GIB // FRAME_BYTES, kind)
            print(f"{size_gib:5} GiB   {kind:44} {us:9.2f} us {us / smallest_us:8.2f} x")
    print("reading over the API")
    for size_gib in GUESTS_GIB:
        asyncio.run(read(size_gib))


if __name__ == "__main__":
    main()

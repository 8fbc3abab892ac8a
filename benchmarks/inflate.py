"""How fast a balloon inflates and deflates, as ratios within one run: machines are noisy, so read those.

A guest of 4 GiB is served in this process: one whose driver costs next to nothing, so that it measures the device, and
a modelled Linux. Each row is the best of several rounds; the ratio compares with one single hole punched over as much
memory, which is as fast as a host can take memory back.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

import structlog
from thin_driver import ThinDriver

from guest_driver.ram import Ram
from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.memory.punch import punch_hole
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService

MIB: Final = 1 << 20
BALLOON_MIB: Final = 1024
ROUNDS: Final = 3

Make = Callable[[BalloonService, Offload], AbstractAsyncContextManager[Ram]]


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that ``call`` takes."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def punch_s(piece_bytes: int) -> float:
    """Return how long the kernel takes to free BALLOON_MIB of touched memory in pieces."""
    fd = os.memfd_create("benchmark")
    size = BALLOON_MIB * MIB
    os.ftruncate(fd, size)
    os.posix_fallocate(fd, 0, size)

    def punch() -> None:
        for offset in range(0, size, piece_bytes):
            punch_hole(fd, offset, piece_bytes)

    try:
        return timed(punch)
    finally:
        os.close(fd)


async def resize_s(service: BalloonService, frames: int) -> float:
    """Return how long a resize takes."""
    started = time.perf_counter()
    if not await service.resizing.wait(service.set_target(frames), 120):
        raise RuntimeError(f"{frames} frames were not reached in 120 s")
    return time.perf_counter() - started


async def resizes(make: Make, *, touched: bool) -> tuple[float, float]:
    """Return the best times to inflate and to deflate BALLOON_MIB."""
    settings = BalloonSettings.model_validate({"name": "benchmark", "transport": "in-process", "memory": "4GiB"})
    with ThreadPoolExecutor() as executor:
        service = BalloonService(settings, Clock(asyncio.get_running_loop().time), Offload(executor))
        service.start()
        inflate, deflate = [], []
        async with make(service, Offload(executor)) as ram:
            for _ in range(ROUNDS):
                if touched:
                    ram.touch(0, ram.size_bytes // 4096)
                inflate.append(await resize_s(service, BALLOON_MIB * MIB // 4096))
                deflate.append(await resize_s(service, 0))
        await service.stop()
    return min(inflate), min(deflate)


@asynccontextmanager
async def thin(service: BalloonService, offload: Offload) -> AsyncIterator[Ram]:
    """A driver that costs next to nothing: what is left is the device."""
    del offload
    driver = ThinDriver(service, 4096 * MIB)
    yield driver.ram
    await driver.close()


@asynccontextmanager
async def modelled(service: BalloonService, offload: Offload) -> AsyncIterator[Ram]:
    """A modelled Linux guest, whose page allocator and driver take most of the time."""
    lab = await InProcessGuest.make(service, offload)
    lab.start()
    await lab.booted()
    yield lab.guest.ram
    await lab.stop()


def row(what: str, seconds: float, reference_s: float) -> None:
    """Print a row of the table."""
    print(f"{what:44} {BALLOON_MIB / 1024 / seconds:8.2f} GiB/s {seconds / reference_s:8.2f} x")


def main() -> None:
    """Print the table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    reference_s = min(punch_s(BALLOON_MIB * MIB) for _ in range(ROUNDS))
    print(f"{BALLOON_MIB} MiB; x: time as a multiple of one hole punched over all of it")
    row("one hole", reference_s, reference_s)
    row("a hole for each 1 MiB, a request's worth", min(punch_s(MIB) for _ in range(ROUNDS)), reference_s)
    row("a hole for each frame, QEMU's way", min(punch_s(4096) for _ in range(ROUNDS)), reference_s)
    inflate_s, deflate_s = asyncio.run(resizes(thin, touched=True))
    row("inflate, memory touched", inflate_s, reference_s)
    row("deflate", deflate_s, reference_s)
    inflate_s, _ = asyncio.run(resizes(thin, touched=False))
    row("inflate, nothing touched", inflate_s, reference_s)
    inflate_s, deflate_s = asyncio.run(resizes(modelled, touched=True))
    row("inflate by a modelled guest, memory touched", inflate_s, reference_s)
    row("deflate by a modelled guest", deflate_s, reference_s)


if __name__ == "__main__":
    main()

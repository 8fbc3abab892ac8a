"""How fast a balloon inflates and deflates, as ratios within one run: machines are noisy, so read those.

A modelled guest of 4 GiB, all of it touched, is served in this process. Each row is the best of several rounds; the
ratio compares with one single hole punched over as much memory, which is as fast as a host can take memory back.
"""

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from guest_driver.guest import Guest
from vballoond.clock import Clock
from vballoond.config.models import BalloonSettings
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.memory.punch import punch_hole
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService

MIB: Final = 1 << 20
BALLOON_MIB: Final = 1024
ROUNDS: Final = 3


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


async def resizes(*, touched: bool) -> tuple[float, float]:
    """Return the best times to inflate and to deflate BALLOON_MIB."""
    settings = BalloonSettings.model_validate({"name": "benchmark", "transport": "in-process", "memory": "4GiB"})
    with ThreadPoolExecutor() as executor:
        offload = Offload(executor)
        service = BalloonService(settings, Clock(asyncio.get_running_loop().time), offload)
        service.start()
        lab = await InProcessGuest.make(service, offload)
        lab.start()
        await lab.booted()
        inflate, deflate = [], []
        for _ in range(ROUNDS):
            if touched:
                touch_all(lab.guest)
            inflate.append(await resize_s(service, BALLOON_MIB * MIB // 4096))
            deflate.append(await resize_s(service, 0))
        await lab.stop()
        await service.stop()
    return min(inflate), min(deflate)


def touch_all(guest: Guest) -> None:
    """Have the host hold every frame of the guest."""
    guest.ram.touch(0, guest.ram.size_bytes // 4096)


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
    inflate_s, deflate_s = asyncio.run(resizes(touched=True))
    row("inflate, modelled guest, memory touched", inflate_s, reference_s)
    row("deflate, modelled guest", deflate_s, reference_s)
    inflate_s, _ = asyncio.run(resizes(touched=False))
    row("inflate, modelled guest, little touched", inflate_s, reference_s)


if __name__ == "__main__":
    main()

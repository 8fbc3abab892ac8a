"""What must be so whenever nothing is under way."""

import asyncio
import re
import time
from collections.abc import Callable
from typing import Any, Final

from .api import Api
from .guests import ConsoleGuest
from .violation import Violation

_SETTLED_S: Final = 10.0  # what is under way somewhere, such as a connection to the API, has ended by then
_LOOK_S: Final = 0.1
_MIB: Final = 1 << 20
_FRAME_BYTES: Final = 4096
_UNTOLD_FRAMES: Final = 16384  # at the end of its memory, of which user-mode Linux tells nothing
_CLOCK: Final = re.compile("clocksource|tsc|sched_clock", re.IGNORECASE)


def check_reached(balloon: Any, target_mib: int) -> None:
    """Look at a balloon that has reached its target."""
    said = tuple(balloon[field] for field in ("target_bytes", "actual_bytes"))
    if said != (target_mib * _MIB,) * 2 or balloon["held_frames"] * _FRAME_BYTES != target_mib * _MIB:
        raise Violation(f"{target_mib} MiB are said to be reached, but: {balloon}")


async def check_map(api: Api, name: str, guest: ConsoleGuest) -> None:
    """Compare the daemon's frame map with what the guest itself counts as ballooned."""
    theirs, covered = await guest.ballooned_frames()
    ranges = (await api.get(f"/v1/balloons/{name}/frames"))["ranges"]
    ours = {pfn for part in ranges for pfn in range(part["first"], part["first"] + part["count"])}
    seen = {pfn for pfn in ours if pfn < covered}
    if seen != theirs or covered < max(ours, default=0) - _UNTOLD_FRAMES:
        raise Violation(
            f"the map of {name} has {len(seen - theirs)} frames that its guest has not, "
            f"and misses {len(theirs - seen)} of {len(theirs)}; the guest tells of {covered}"
        )


async def check_log(name: str, guest: ConsoleGuest) -> None:
    """See that a guest's kernel has nothing to complain about, but the clock of a host that is busy."""
    lines = (await guest.complaints()).strip().splitlines()
    if complaints := [line for line in lines if not _CLOCK.search(line)]:
        raise Violation("\n".join((f"the kernel of {name} says:", *complaints)))


async def check_descriptors(what: str, before: list[str], now: Callable[[], list[str]]) -> None:
    """See that there are no more than in the same state ``before``, as soon as nothing is under way any more."""
    ends_s = time.monotonic() + _SETTLED_S
    while len(found := now()) > len(before):
        if time.monotonic() > ends_s:
            more, fewer = _without(found, before), _without(before, found)
            raise Violation(
                f"{len(found)} descriptors in the {what}, where there were {len(before)}: "
                f"new are {more}, gone are {fewer}"
            )
        await asyncio.sleep(_LOOK_S)


def _without(some: list[str], others: list[str]) -> list[str]:
    left = list(others)
    kept = []
    for text in some:
        if text in left:
            left.remove(text)
        else:
            kept.append(text)
    return kept

"""Breaches in the indices of a split ring."""

from typing import Final

from protocol.balloon.queues import QueueRole

from .attack import SPLIT, attack
from .driver import ROOM, SPARE, HostileDriver, pfns

_INFLATE: Final = QueueRole.INFLATE


@attack("2.7.13.3", formats=SPLIT)
def available_index_jump(driver: HostileDriver) -> None:
    """2.7.13.3: no more is made available than the queue has room for."""
    ring = driver.split(_INFLATE)
    ring.describe(0, ROOM, 4)
    ring.avail_idx += ring.queue_size + 1
    driver.kick(_INFLATE)


@attack("2.7.6.1", formats=SPLIT)
def available_index_backwards(driver: HostileDriver) -> None:
    """2.7.6.1: the available index is never decremented."""
    driver.split(_INFLATE).avail_idx -= 1
    driver.kick(_INFLATE)


@attack("2.7.6", formats=SPLIT)
def head_out_of_range(driver: HostileDriver) -> None:
    """2.7.6: what is made available is an entry of the descriptor table; there is a good one behind it too."""
    ring = driver.split(_INFLATE)
    ring.describe(ring.queue_size, ROOM, 4)
    ring.offer(ring.queue_size)
    driver.kick(_INFLATE)


@attack("2.7.13", formats=SPLIT, completes=3, gives=SPARE)
def head_that_is_in_flight(driver: HostileDriver) -> None:
    """2.7.13: a descriptor is free when it is filled; this one was made available three times over."""
    driver.ram.write(ROOM, pfns(SPARE))
    ring = driver.split(_INFLATE)
    ring.describe(0, ROOM, len(pfns(SPARE)))
    ring.offer(0, 0, 0)
    driver.kick(_INFLATE)


@attack("2.7.8", formats=SPLIT, completes=1, gives=SPARE)
def used_index_scribbled_over(driver: HostileDriver) -> None:
    """2.7.8: the used ring is written by the device only, which goes by what it wrote itself."""
    driver.split(_INFLATE).used_idx = 0x7777
    driver.request(_INFLATE, pfns(SPARE))


ATTACKS: Final = (
    available_index_jump,
    available_index_backwards,
    head_out_of_range,
    head_that_is_in_flight,
    used_index_scribbled_over,
)

"""Breaches in what inflate and deflate requests list."""

from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole

from .attack import SPLIT, attack
from .driver import HOLE, SPARE, UPPER, HostileDriver, areas_of, frames, pfns

_INFLATE: Final = QueueRole.INFLATE
_DEFLATE: Final = QueueRole.DEFLATE
_OWN_AVAILABLE_RING: Final = areas_of(0).driver_area // FRAME_BYTES


@attack("5.5.6", completes=1, gives=SPARE)
def frames_beyond_memory(driver: HostileDriver) -> None:
    """5.5.6: what is inflated is memory of the guest; only the first half of this is."""
    driver.request(_INFLATE, pfns([*SPARE, *range(SPARE.stop, SPARE.stop + 16)]))


@attack("5.5.6", completes=1)
def frames_at_the_end_of_all_numbers(driver: HostileDriver) -> None:
    """5.5.6: what is inflated is memory of the guest; as signed numbers these would count from its end."""
    driver.request(_INFLATE, pfns([0xFFFFFFFF, 0xFFFFFFF0, 0x80000000]))


@attack("5.5.6", completes=1)
def frames_in_a_hole(driver: HostileDriver) -> None:
    """5.5.6: what is inflated is memory of the guest, and a hole is not."""
    hole = frames(HOLE)
    driver.request(_INFLATE, pfns([hole.start, hole.start + 1, hole.stop - 1]))


@attack("5.5.6", completes=1, gives=SPARE)
def array_of_odd_length(driver: HostileDriver) -> None:
    """5.5.6: an array of 32-bit page frame numbers; three bytes of another stand behind this one."""
    driver.request(_INFLATE, pfns(SPARE) + b"\0\0\0")


@attack("5.5.6", completes=1)
def array_of_less_than_a_number(driver: HostileDriver) -> None:
    """5.5.6: an array of 32-bit page frame numbers, each whole."""
    driver.request(_INFLATE, b"\0\0")


@attack("5.5.6", completes=1)
def empty_array(driver: HostileDriver) -> None:
    """5.5.6: a request lists something."""
    driver.request(_INFLATE, b"")


@attack("5.5.6.1", completes=1, gives=SPARE)
def frames_listed_twice(driver: HostileDriver) -> None:
    """5.5.6.1: a page that was given is not the driver's to give again."""
    driver.request(_INFLATE, pfns(SPARE) * 3)


@attack("5.5.6", role=_DEFLATE, completes=1)
def deflate_of_frames_never_inflated(driver: HostileDriver) -> None:
    """5.5.6: only pages from the balloon are taken back."""
    driver.request(_DEFLATE, pfns(SPARE))


@attack("5.5.6", role=_DEFLATE, completes=1)
def deflate_of_frames_beyond_memory(driver: HostileDriver) -> None:
    """5.5.6: only pages from the balloon are taken back, which is of guest memory."""
    driver.request(_DEFLATE, pfns([frames(UPPER).stop, frames(HOLE).start, 0xFFFFFFFF]))


@attack("5.5.6.1", formats=SPLIT, gives=range(_OWN_AVAILABLE_RING, _OWN_AVAILABLE_RING + 1))
def its_own_ring_in_the_balloon(driver: HostileDriver) -> None:
    """5.5.6.1: a page in the balloon is not used; the available ring is in this one, and its index falls back to 0."""
    driver.request(_INFLATE, pfns([_OWN_AVAILABLE_RING]))


ATTACKS: Final = (
    frames_beyond_memory,
    frames_at_the_end_of_all_numbers,
    frames_in_a_hole,
    array_of_odd_length,
    array_of_less_than_a_number,
    empty_array,
    frames_listed_twice,
    deflate_of_frames_never_inflated,
    deflate_of_frames_beyond_memory,
    its_own_ring_in_the_balloon,
)

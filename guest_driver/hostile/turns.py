"""Breaches in whose turn it is with a packed ring: the flags AVAIL and USED, wrap counters, and the event areas."""

from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.packed_ring import AVAILABLE_TURN, RING_START, USED_TURN, EventFlag, PackedFlag

from .attack import PACKED, attack
from .driver import ROOM, SPARE, HostileDriver, areas_of, pfns
from .ring_by_hand import Element

_INFLATE: Final = QueueRole.INFLATE
_STATS: Final = QueueRole.STATS

_PIECE: Final = Element(ROOM, 4)
_NEXT_LAP: Final = 1 - RING_START.wrap
_OWN_RING: Final = areas_of(0).descriptors // FRAME_BYTES
_ALL_TURNS: Final = (*AVAILABLE_TURN, *USED_TURN)


def _describe_all(driver: HostileDriver, turn: int) -> None:
    """Fill the ring with descriptors whose AVAIL and USED are ``turn``."""
    ring = driver.packed(_INFLATE)
    for offset in range(ring.queue_size):
        ring.describe(RING_START.moved(offset, ring.queue_size), _PIECE, offset, turn)
    driver.kick(_INFLATE)


@attack("2.8.1", formats=PACKED, completes=0)
def wrap_counter_of_the_next_lap(driver: HostileDriver) -> None:
    """2.8.1: wrap counters begin at 1; all of this ring is available by one that began at 0."""
    _describe_all(driver, AVAILABLE_TURN[_NEXT_LAP])


@attack("2.8.1", formats=PACKED, completes=0)
def descriptors_marked_as_used(driver: HostileDriver) -> None:
    """2.8.1: the device marks what it used; these were marked by the driver, and never available."""
    _describe_all(driver, USED_TURN[RING_START.wrap])


def _taken_back(driver: HostileDriver, turn: int) -> None:
    """Make a buffer available, and give AVAIL and USED another value before anybody was told."""
    driver.packed(_INFLATE).add(_PIECE)
    driver.packed(_INFLATE).write_flags(RING_START, turn)
    driver.kick(_INFLATE)


@attack("2.8.16", formats=PACKED, completes=0, races=True)
def flags_cleared_after_publishing(driver: HostileDriver) -> None:
    """2.8.16: a descriptor that was made available is not changed; this one is taken back."""
    _taken_back(driver, USED_TURN[_NEXT_LAP])


@attack("2.8.16", formats=PACKED, completes=0, races=True)
def flags_of_used_after_publishing(driver: HostileDriver) -> None:
    """2.8.16: a descriptor that was made available is not changed; this one was used at once, by its driver."""
    _taken_back(driver, USED_TURN[RING_START.wrap])


@attack("2.8.16", formats=PACKED, completes=0, races=True)
def flags_of_the_next_lap_after_publishing(driver: HostileDriver) -> None:
    """2.8.16: a descriptor that was made available is not changed; this one is put off for a lap."""
    _taken_back(driver, AVAILABLE_TURN[_NEXT_LAP])


@attack("2.8.16", formats=PACKED, role=_STATS, completes=1, held=True)
def flags_rewritten_while_the_device_has_the_buffer(driver: HostileDriver) -> None:
    """2.8.16: a descriptor that was made available is not changed; this one is, to all that AVAIL and USED can be."""
    ring = driver.packed(_STATS)
    for turn in _ALL_TURNS:
        ring.write_flags(RING_START, turn | PackedFlag.NEXT | PackedFlag.INDIRECT)
        driver.kick(_STATS)
    driver.give_statistics()


@attack("2.8.14", formats=PACKED, completes=1, gives=SPARE)
def reserved_event_flags(driver: HostileDriver) -> None:
    """2.8.14: of the values of an event area's flags one is reserved, and so are the bits above; this has them all."""
    driver.packed(_INFLATE).write_driver_event(0xFFFF, 0xFFFF)
    driver.request(_INFLATE, pfns(SPARE))


@attack("2.8.14", formats=PACKED, completes=1, gives=SPARE, event_idx=True)
def reserved_event_flags_with_event_idx(driver: HostileDriver) -> None:
    """2.8.14: of the values of an event area's flags one is reserved, with EVENT_IDX too."""
    driver.packed(_INFLATE).write_driver_event(0, 3)
    driver.request(_INFLATE, pfns(SPARE))


@attack("2.8.14", formats=PACKED, completes=1, gives=SPARE, event_idx=True)
def event_offset_beyond_the_ring(driver: HostileDriver) -> None:
    """2.8.14: where an interrupt is wanted is a descriptor of the ring; this is far behind it."""
    driver.packed(_INFLATE).write_driver_event(0x7FFF, EventFlag.DESC)
    driver.request(_INFLATE, pfns(SPARE))


@attack("2.8.10", formats=PACKED, completes=1, gives=SPARE)
def event_by_descriptor_without_event_idx(driver: HostileDriver) -> None:
    """2.8.10: an interrupt is wanted at a certain descriptor only where EVENT_IDX was negotiated."""
    driver.packed(_INFLATE).write_driver_event(5, EventFlag.DESC)
    driver.request(_INFLATE, pfns(SPARE))


@attack("2.8.10", formats=PACKED, completes=1, gives=SPARE, event_idx=True)
def device_event_area_scribbled_over(driver: HostileDriver) -> None:
    """2.8.10: the device event area is written by the device only, which goes by what it knows itself."""
    driver.packed(_INFLATE).write_device_event(0xFFFF, 0xFFFF)
    driver.request(_INFLATE, pfns(SPARE))


@attack("5.5.6.1", formats=PACKED, completes=1, gives=range(_OWN_RING, _OWN_RING + 1))
def its_own_descriptors_in_the_balloon(driver: HostileDriver) -> None:
    """5.5.6.1: a page in the balloon is not used; all descriptors are in this one, and nothing is available in it."""
    driver.request(_INFLATE, pfns([_OWN_RING]))


ATTACKS: Final = (
    wrap_counter_of_the_next_lap,
    descriptors_marked_as_used,
    flags_cleared_after_publishing,
    flags_of_used_after_publishing,
    flags_of_the_next_lap_after_publishing,
    flags_rewritten_while_the_device_has_the_buffer,
    reserved_event_flags,
    reserved_event_flags_with_event_idx,
    event_offset_beyond_the_ring,
    event_by_descriptor_without_event_idx,
    device_event_area_scribbled_over,
    its_own_descriptors_in_the_balloon,
)

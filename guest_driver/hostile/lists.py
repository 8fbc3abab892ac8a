"""Breaches in the lists of a packed ring: descriptors one behind the other, the last of which has the buffer's id."""

from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.packed_ring import AVAILABLE_TURN, PACKED_DESCRIPTOR, RING_START, USED_TURN, PackedFlag

from .attack import PACKED, attack
from .driver import ROOM, SPARE, HostileDriver, pfns
from .ring_by_hand import Element

_NEXT: Final = int(PackedFlag.NEXT)
_INDIRECT: Final = int(PackedFlag.INDIRECT)
_INFLATE: Final = QueueRole.INFLATE
_STATS: Final = QueueRole.STATS

_PIECE: Final = Element(ROOM, 4)


def _list_whose_second_has(driver: HostileDriver, turn: int) -> None:
    """Send a list of two descriptors; ``turn`` is what AVAIL and USED are in the second."""
    ring = driver.packed(_INFLATE)
    second = RING_START.moved(1, ring.queue_size)
    ring.describe(second, _PIECE, 0, turn)
    ring.describe(RING_START, _PIECE, 0, _NEXT | AVAILABLE_TURN[RING_START.wrap])
    driver.kick(_INFLATE)


@attack("2.8.17", formats=PACKED)
def list_that_is_available_in_part(driver: HostileDriver) -> None:
    """2.8.17: all descriptors of a list are filled in when the first is made available; the second of these is not."""
    _list_whose_second_has(driver, 0)


@attack("2.8.17", formats=PACKED)
def list_that_was_used_in_part(driver: HostileDriver) -> None:
    """2.8.17: all descriptors of a list are available when the first is; the second of these was used, it says."""
    _list_whose_second_has(driver, USED_TURN[RING_START.wrap])


@attack("2.8.1", formats=PACKED)
def list_over_two_laps(driver: HostileDriver) -> None:
    """2.8.1: the wrap counter changes at the end of the ring, not within a list that is far from there."""
    _list_whose_second_has(driver, AVAILABLE_TURN[1 - RING_START.wrap])


@attack("2.8.17", formats=PACKED)
def list_longer_than_the_ring(driver: HostileDriver) -> None:
    """2.8.17: no list is longer than the queue; this one goes on in its own beginning."""
    size = driver.packed(_INFLATE).queue_size
    driver.chain(_INFLATE, *[Element(ROOM, 4, _NEXT)] * size)


@attack("2.8.17", formats=PACKED, role=_STATS, held=True)
def more_in_flight_than_the_ring_has(driver: HostileDriver) -> None:
    """2.8.17: there is room in the ring for the whole list; the last of this one lies where a buffer is in flight."""
    driver.chain(_STATS, *[_PIECE] * driver.packed(_STATS).queue_size)


@attack("2.8.13", formats=PACKED)
def id_beyond_the_queue(driver: HostileDriver) -> None:
    """2.8.13: a buffer has an id, of which there are as many as the queue has entries."""
    ring = driver.packed(_INFLATE)
    ring.add_list(ring.queue_size, _PIECE)
    driver.kick(_INFLATE)


@attack("2.8.13", formats=PACKED, role=_STATS, held=True)
def id_twice_in_flight(driver: HostileDriver) -> None:
    """2.8.13: by its id a buffer is known when it comes back; two have the same."""
    driver.packed(_STATS).add_list(0, _PIECE)
    driver.kick(_STATS)


@attack("2.8.13", formats=PACKED, completes=3, gives=SPARE)
def id_given_again_before_it_came_back(driver: HostileDriver) -> None:
    """2.8.13: an id is free when it is given to a buffer; three have the same, of which one at a time is in flight."""
    driver.ram.write(ROOM, pfns(SPARE))
    for _ in range(3):
        driver.packed(_INFLATE).add_list(5, Element(ROOM, len(pfns(SPARE))))
    driver.kick(_INFLATE)


@attack("2.8.19", formats=PACKED)
def table_at_the_beginning_of_a_list(driver: HostileDriver) -> None:
    """2.8.19: who refers to a table is no part of a list."""
    driver.chain(_INFLATE, Element(ROOM, PACKED_DESCRIPTOR.size, _INDIRECT), _PIECE)


@attack("2.8.19", formats=PACKED)
def table_at_the_end_of_a_list(driver: HostileDriver) -> None:
    """2.8.19: who refers to a table is no part of a list, though it is the end of a split ring's chain."""
    driver.chain(_INFLATE, _PIECE, Element(ROOM, PACKED_DESCRIPTOR.size, _INDIRECT))


@attack("2.8.19", formats=PACKED, completes=1, gives=SPARE)
def table_with_flags_of_the_ring(driver: HostileDriver) -> None:
    """2.8.19: of all flags a descriptor in a table has WRITE at most; these two have all that mean nothing there."""
    data, meaningless = pfns(SPARE), _NEXT | int(PackedFlag.AVAIL) | int(PackedFlag.USED)
    at, half = ROOM + 4096, len(data) // 2
    driver.ram.write(at, data)
    driver.indirect(
        driver.packed(_INFLATE).table(Element(at, half, meaningless), Element(at + half, len(data) - half, meaningless))
    )


ATTACKS: Final = (
    list_that_is_available_in_part,
    list_that_was_used_in_part,
    list_over_two_laps,
    list_longer_than_the_ring,
    more_in_flight_than_the_ring_has,
    id_beyond_the_queue,
    id_twice_in_flight,
    id_given_again_before_it_came_back,
    table_at_the_beginning_of_a_list,
    table_at_the_end_of_a_list,
    table_with_flags_of_the_ring,
)

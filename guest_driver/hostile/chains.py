"""Breaches in the chains of a split ring, which go from entry to entry by ``next``."""

from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag

from .attack import SPLIT, attack
from .driver import ROOM, HostileDriver
from .split_by_hand import table_of

_NEXT: Final = DescriptorFlag.NEXT
_INDIRECT: Final = DescriptorFlag.INDIRECT
_INFLATE: Final = QueueRole.INFLATE


def _send(driver: HostileDriver, *descriptors: Descriptor) -> None:
    """Write entries from the first on, behind the table's end too, and send the chain that begins there."""
    ring = driver.split(_INFLATE)
    for index, descriptor in enumerate(descriptors):
        ring.describe(index, *descriptor)
    ring.offer(0)
    driver.kick(_INFLATE)


@attack("2.7.5.2", formats=SPLIT)
def descriptor_loop(driver: HostileDriver) -> None:
    """2.7.5.2: loops in a descriptor chain are forbidden."""
    _send(driver, Descriptor(ROOM, 4, _NEXT, 1), Descriptor(ROOM, 4, _NEXT, 0))


@attack("2.7.5.2", formats=SPLIT)
def descriptor_that_follows_itself(driver: HostileDriver) -> None:
    """2.7.5.2: no loops, not the shortest either, nor one whose buffers are empty."""
    _send(driver, Descriptor(ROOM, 0, _NEXT, 0))


@attack("2.7.5", formats=SPLIT)
def chain_past_the_ring(driver: HostileDriver) -> None:
    """2.7.5: a chain lies in the table, though what is behind the table looks like a descriptor."""
    size = driver.split(_INFLATE).queue_size
    _send(driver, *(Descriptor(ROOM, 4, _NEXT, index + 1) for index in range(size)), Descriptor(ROOM, 4, 0, 0))


@attack("2.7.5", formats=SPLIT)
def next_out_of_range(driver: HostileDriver) -> None:
    """2.7.5: ``next`` names an entry of the table."""
    _send(driver, Descriptor(ROOM, 4, _NEXT, 0xFFFF))


@attack("2.7.5.3.1", formats=SPLIT)
def indirect_table_with_next(driver: HostileDriver) -> None:
    """2.7.5.3.1: a descriptor has not both INDIRECT and NEXT."""
    _send(driver, Descriptor(ROOM, DESCRIPTOR.size, _INDIRECT | _NEXT, 1), Descriptor(ROOM, 4, 0, 0))


@attack("2.7.5.2", formats=SPLIT)
def loop_in_an_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.2: no loops, in an indirect table either."""
    driver.indirect(table_of(Descriptor(ROOM, 4, _NEXT, 1), Descriptor(ROOM, 4, _NEXT, 0)))


@attack("2.7.5.3", formats=SPLIT)
def next_out_of_an_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3: ``next`` names an entry of the same indirect table."""
    driver.indirect(table_of(Descriptor(ROOM, 4, _NEXT, 5), Descriptor(ROOM, 4, 0, 0)))


ATTACKS: Final = (
    descriptor_loop,
    descriptor_that_follows_itself,
    chain_past_the_ring,
    next_out_of_range,
    indirect_table_with_next,
    loop_in_an_indirect_table,
    next_out_of_an_indirect_table,
)

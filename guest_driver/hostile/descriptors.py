"""Breaches in descriptors: chains, indirect tables, addresses and lengths."""

from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag
from protocol.virtio import MAX_QUEUE_SIZE

from .attack import attack
from .driver import HOLE, LOWER, ROOM, SPARE, UPPER, HostileDriver, pfns

_NEXT: Final = DescriptorFlag.NEXT
_WRITE: Final = DescriptorFlag.WRITE
_INDIRECT: Final = DescriptorFlag.INDIRECT
_INFLATE: Final = QueueRole.INFLATE
_REPORTING: Final = QueueRole.REPORTING

_ADDRESSES: Final = 1 << 64
_ALMOST_4_GIB: Final = (1 << 32) - FRAME_BYTES
_SPARE_AT: Final = SPARE.start * FRAME_BYTES


def _chain(driver: HostileDriver, length: int) -> None:
    """Write a chain through the first ``length`` entries, whose last goes on to the one behind them."""
    for index in range(length):
        driver.rings[_INFLATE].describe(index, ROOM, 4, _NEXT, index + 1)


@attack("2.7.5.2")
def descriptor_loop(driver: HostileDriver) -> None:
    """2.7.5.2: loops in a descriptor chain are forbidden."""
    ring = driver.rings[_INFLATE]
    ring.describe(0, ROOM, 4, _NEXT, 1)
    ring.describe(1, ROOM, 4, _NEXT, 0)
    driver.send(_INFLATE, 0)


@attack("2.7.5.2")
def descriptor_that_follows_itself(driver: HostileDriver) -> None:
    """2.7.5.2: no loops, not the shortest either, nor one whose buffers are empty."""
    driver.rings[_INFLATE].describe(0, ROOM, 0, _NEXT, 0)
    driver.send(_INFLATE, 0)


@attack("2.7.5")
def chain_past_the_ring(driver: HostileDriver) -> None:
    """2.7.5: a chain lies in the table, though what is behind the table looks like a descriptor."""
    size = driver.rings[_INFLATE].geometry.queue_size
    _chain(driver, size)
    driver.rings[_INFLATE].describe(size, ROOM, 4)
    driver.send(_INFLATE, 0)


@attack("2.7.5")
def next_out_of_range(driver: HostileDriver) -> None:
    """2.7.5: ``next`` names an entry of the table."""
    driver.rings[_INFLATE].describe(0, ROOM, 4, _NEXT, 0xFFFF)
    driver.send(_INFLATE, 0)


@attack("2.7.5", queue_size=MAX_QUEUE_SIZE)
def chain_of_32768_descriptors(driver: HostileDriver) -> None:
    """2.7.5: as long a chain as the largest ring has entries, of which no driver has use for a thirtieth."""
    _chain(driver, MAX_QUEUE_SIZE - 1)
    driver.rings[_INFLATE].describe(MAX_QUEUE_SIZE - 1, ROOM, 4)
    driver.send(_INFLATE, 0)


@attack("2.7.5.3.1")
def nested_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3.1: a table that an indirect descriptor refers to holds no indirect descriptor; this one holds itself."""
    driver.indirect(Descriptor(ROOM, DESCRIPTOR.size, _INDIRECT, 0))


@attack("2.7.5.3.1", indirect=False)
def indirect_table_not_negotiated(driver: HostileDriver) -> None:
    """2.7.5.3.1: no indirect descriptor unless INDIRECT_DESC was negotiated."""
    driver.indirect(Descriptor(ROOM, 4, 0, 0))


@attack("2.7.5.3.1")
def indirect_table_with_next(driver: HostileDriver) -> None:
    """2.7.5.3.1: a descriptor has not both INDIRECT and NEXT."""
    driver.rings[_INFLATE].describe(1, ROOM, 4)
    driver.rings[_INFLATE].describe(0, ROOM, DESCRIPTOR.size, _INDIRECT | _NEXT, 1)
    driver.send(_INFLATE, 0)


@attack("2.7.5.3")
def indirect_table_of_half_a_descriptor(driver: HostileDriver) -> None:
    """2.7.5.3: the length of an indirect table is a multiple of a descriptor's 16 bytes."""
    driver.one(_INFLATE, ROOM, DESCRIPTOR.size + DESCRIPTOR.size // 2, _INDIRECT)


@attack("2.7.5.3")
def empty_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3: an indirect table has a first descriptor."""
    driver.one(_INFLATE, ROOM, 0, _INDIRECT)


@attack("2.7.5.3.1")
def indirect_table_of_4_gib(driver: HostileDriver) -> None:
    """2.7.5.3.1: no chain is longer than its queue, in a table of its own either."""
    driver.one(_INFLATE, ROOM, _ALMOST_4_GIB, _INDIRECT)


@attack("2.7.5.3")
def indirect_table_outside_memory(driver: HostileDriver) -> None:
    """2.7.5.3: an indirect table lies in guest memory."""
    driver.one(_INFLATE, UPPER.stop, DESCRIPTOR.size, _INDIRECT)


@attack("2.7.5.2")
def loop_in_an_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.2: no loops, in an indirect table either."""
    driver.indirect(Descriptor(ROOM, 4, _NEXT, 1), Descriptor(ROOM, 4, _NEXT, 0))


@attack("2.7.5.3")
def next_out_of_an_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3: ``next`` names an entry of the same indirect table."""
    driver.indirect(Descriptor(ROOM, 4, _NEXT, 5), Descriptor(ROOM, 4, 0, 0))


@attack("2.7.5")
def address_outside_memory(driver: HostileDriver) -> None:
    """2.7.5: ``addr`` is a guest-physical address; this one is behind the last."""
    driver.one(_INFLATE, UPPER.stop, 4)


@attack("2.7.5")
def address_in_a_hole(driver: HostileDriver) -> None:
    """2.7.5: ``addr`` is a guest-physical address; there is no memory at this one."""
    driver.one(_INFLATE, HOLE.start, 4)


@attack("2.7.5")
def buffer_that_runs_into_a_hole(driver: HostileDriver) -> None:
    """2.7.5: all of a buffer is guest memory, not only its beginning."""
    driver.one(_INFLATE, LOWER.stop - 4, 8)


@attack("2.7.5")
def address_that_wraps(driver: HostileDriver) -> None:
    """2.7.5: ``addr`` and ``len`` together do not pass 2^64, to come out at address 0 again."""
    driver.one(_INFLATE, _ADDRESSES - 4, 8)


@attack("2.7.5.2")
def length_of_4_gib(driver: HostileDriver) -> None:
    """2.7.5.2: a chain is bounded, by memory too, and this buffer has a thousandfold of that."""
    driver.one(_INFLATE, ROOM, (1 << 32) - 1)


@attack("5.5.6")
def request_larger_than_any_driver_sends(driver: HostileDriver) -> None:
    """5.5.6: an array of page frame numbers; no driver lists more than 1024 at once, this one 4097."""
    driver.request(_INFLATE, pfns(SPARE[:1]) * 4097)


@attack("2.7.4.2")
def readable_behind_writable(driver: HostileDriver) -> None:
    """2.7.4.2: device-readable descriptors stand before device-writable ones."""
    ring = driver.rings[_INFLATE]
    ring.describe(0, ROOM, 4, _NEXT | _WRITE, 1)
    ring.describe(1, ROOM, 4)
    driver.send(_INFLATE, 0)


@attack("5.5.6", completes=1)
def writable_where_readable_is_due(driver: HostileDriver) -> None:
    """5.5.6: an inflate request is for the device to read; nothing is to be found in this, or written there."""
    driver.request(_INFLATE, pfns(SPARE), _WRITE)


@attack("5.5.6.7", role=_REPORTING, completes=1)
def readable_where_writable_is_due(driver: HostileDriver) -> None:
    """5.5.6.7: reported memory is in device-writable buffers; memory in any other is not free."""
    driver.one(_REPORTING, _SPARE_AT, FRAME_BYTES)


@attack("5.5.6.7", role=_REPORTING, completes=1, gives=SPARE)
def report_of_4_gib(driver: HostileDriver) -> None:
    """5.5.6.7: what is reported is guest memory; this goes on far behind its end."""
    driver.one(_REPORTING, _SPARE_AT, _ALMOST_4_GIB, _WRITE)


@attack("5.5.6.7", role=_REPORTING, completes=1)
def report_that_wraps(driver: HostileDriver) -> None:
    """5.5.6.7: what is reported is guest memory; this ends behind 2^64."""
    driver.one(_REPORTING, _ADDRESSES - FRAME_BYTES, 2 * FRAME_BYTES, _WRITE)


@attack("5.5.6.7", role=_REPORTING, completes=1)
def report_of_part_of_a_frame(driver: HostileDriver) -> None:
    """5.5.6.7: whole pages are reported, and what the guest keeps of a page is not to be lost."""
    driver.one(_REPORTING, _SPARE_AT + FRAME_BYTES // 2, FRAME_BYTES, _WRITE)


ATTACKS: Final = (
    descriptor_loop,
    descriptor_that_follows_itself,
    chain_past_the_ring,
    next_out_of_range,
    chain_of_32768_descriptors,
    nested_indirect_table,
    indirect_table_not_negotiated,
    indirect_table_with_next,
    indirect_table_of_half_a_descriptor,
    empty_indirect_table,
    indirect_table_of_4_gib,
    indirect_table_outside_memory,
    loop_in_an_indirect_table,
    next_out_of_an_indirect_table,
    address_outside_memory,
    address_in_a_hole,
    buffer_that_runs_into_a_hole,
    address_that_wraps,
    length_of_4_gib,
    request_larger_than_any_driver_sends,
    readable_behind_writable,
    writable_where_readable_is_due,
    readable_where_writable_is_due,
    report_of_4_gib,
    report_that_wraps,
    report_of_part_of_a_frame,
)

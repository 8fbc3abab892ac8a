"""Breaches in descriptors, in whichever ring they lie: lists, indirect tables, addresses and lengths."""

from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from protocol.split_ring import DESCRIPTOR, DescriptorFlag
from protocol.virtio import MAX_QUEUE_SIZE

from .attack import attack
from .driver import HOLE, LOWER, ROOM, SPARE, UPPER, HostileDriver, pfns
from .ring_by_hand import Element

_WRITE: Final = DescriptorFlag.WRITE
_INDIRECT: Final = DescriptorFlag.INDIRECT
_INFLATE: Final = QueueRole.INFLATE
_REPORTING: Final = QueueRole.REPORTING

_ADDRESSES: Final = 1 << 64
_ALMOST_4_GIB: Final = (1 << 32) - FRAME_BYTES
_SPARE_AT: Final = SPARE.start * FRAME_BYTES


@attack("2.7.5, 2.8.17", queue_size=MAX_QUEUE_SIZE)
def chain_of_32768_descriptors(driver: HostileDriver) -> None:
    """2.7.5, 2.8.17: as long a chain as the largest ring has entries, of which no driver has use for a thirtieth."""
    driver.chain(_INFLATE, *[Element(ROOM, 4)] * MAX_QUEUE_SIZE)


@attack("2.7.5.3.1, 2.8.19")
def nested_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3.1, 2.8.19: a table holds no descriptor that refers to a table; this one refers to itself."""
    driver.indirect(driver.rings[_INFLATE].table(Element(ROOM, DESCRIPTOR.size, _INDIRECT)))


@attack("2.7.5.3.1, 2.8.19", indirect=False)
def indirect_table_not_negotiated(driver: HostileDriver) -> None:
    """2.7.5.3.1, 2.8.19: no indirect descriptor unless INDIRECT_DESC was negotiated."""
    driver.indirect(driver.rings[_INFLATE].table(Element(ROOM, 4)))


@attack("2.7.5.3, 2.8.7")
def indirect_table_of_half_a_descriptor(driver: HostileDriver) -> None:
    """2.7.5.3, 2.8.7: the length of an indirect table is a multiple of a descriptor's 16 bytes."""
    driver.one(_INFLATE, ROOM, DESCRIPTOR.size + DESCRIPTOR.size // 2, _INDIRECT)


@attack("2.7.5.3, 2.8.7")
def empty_indirect_table(driver: HostileDriver) -> None:
    """2.7.5.3, 2.8.7: an indirect table has a first descriptor."""
    driver.one(_INFLATE, ROOM, 0, _INDIRECT)


@attack("2.7.5.3.1, 2.8.19")
def indirect_table_of_4_gib(driver: HostileDriver) -> None:
    """2.7.5.3.1, 2.8.19: no chain is longer than its queue, in a table of its own either."""
    driver.one(_INFLATE, ROOM, _ALMOST_4_GIB, _INDIRECT)


@attack("2.7.5.3, 2.8.7")
def indirect_table_outside_memory(driver: HostileDriver) -> None:
    """2.7.5.3, 2.8.7: an indirect table lies in guest memory."""
    driver.one(_INFLATE, UPPER.stop, DESCRIPTOR.size, _INDIRECT)


@attack("2.7.5, 2.8.4")
def address_outside_memory(driver: HostileDriver) -> None:
    """2.7.5, 2.8.4: ``addr`` is a guest-physical address; this one is behind the last."""
    driver.one(_INFLATE, UPPER.stop, 4)


@attack("2.7.5, 2.8.4")
def address_in_a_hole(driver: HostileDriver) -> None:
    """2.7.5, 2.8.4: ``addr`` is a guest-physical address; there is no memory at this one."""
    driver.one(_INFLATE, HOLE.start, 4)


@attack("2.7.5, 2.8.4")
def buffer_that_runs_into_a_hole(driver: HostileDriver) -> None:
    """2.7.5, 2.8.4: all of a buffer is guest memory, not only its beginning."""
    driver.one(_INFLATE, LOWER.stop - 4, 8)


@attack("2.7.5, 2.8.4")
def address_that_wraps(driver: HostileDriver) -> None:
    """2.7.5, 2.8.4: ``addr`` and ``len`` together do not pass 2^64, to come out at address 0 again."""
    driver.one(_INFLATE, _ADDRESSES - 4, 8)


@attack("2.7.5.2, 2.8.16")
def length_of_4_gib(driver: HostileDriver) -> None:
    """2.7.5.2, 2.8.16: a chain is bounded, by memory too, and this buffer has a thousandfold of that."""
    driver.one(_INFLATE, ROOM, (1 << 32) - 1)


@attack("5.5.6")
def request_larger_than_any_driver_sends(driver: HostileDriver) -> None:
    """5.5.6: an array of page frame numbers; no driver lists more than 1024 at once, this one 4097."""
    driver.request(_INFLATE, pfns(SPARE[:1]) * 4097)


@attack("2.7.4.2, 2.8.17")
def readable_behind_writable(driver: HostileDriver) -> None:
    """2.7.4.2, 2.8.17: device-readable descriptors stand before device-writable ones."""
    driver.chain(_INFLATE, Element(ROOM, 4, _WRITE), Element(ROOM, 4))


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
    chain_of_32768_descriptors,
    nested_indirect_table,
    indirect_table_not_negotiated,
    indirect_table_of_half_a_descriptor,
    empty_indirect_table,
    indirect_table_of_4_gib,
    indirect_table_outside_memory,
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

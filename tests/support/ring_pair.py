"""Both halves of a split ring over one memory file: the modelled guest's and the daemon's."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import NamedTuple

from guest_driver.ram import Ram
from guest_driver.split_ring import DriverRing, RingAddresses
from protocol.split_ring import SplitRingGeometry
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.virtqueue.split import SplitRing, SplitRingParts

RAM_BYTES = 1 << 16
_TABLE, _AVAIL, _USED = 0x0, 0x4000, 0x8000


class RingPair(NamedTuple):
    """A driver, the device that serves it, and the memory between them."""

    driver: DriverRing
    device: SplitRing
    ram: Ram
    memory: GuestMemory


@contextmanager
def ring_pair(queue_size: int, *, event_idx: bool) -> Iterator[RingPair]:
    """Set up a ring of up to 1024 entries in memory of its own."""
    geometry = SplitRingGeometry(queue_size)
    addresses = RingAddresses(_TABLE, _AVAIL, _USED)
    with closing(Ram(RAM_BYTES)) as ram:
        place = RegionPlace(guest_address=0, size_bytes=RAM_BYTES, user_address=0, file_offset=0)
        with (
            closing(DriverRing(ram, geometry, addresses, event_idx=event_idx)) as driver,
            closing(MappedRegion(place, ram.fd)) as region,
        ):
            memory = GuestMemory([region])
            with closing(open_device(memory, geometry, addresses, event_idx=event_idx)) as device:
                yield RingPair(driver, device, ram, memory)


def open_device(
    memory: GuestMemory, geometry: SplitRingGeometry, addresses: RingAddresses, *, event_idx: bool
) -> SplitRing:
    """Serve a ring at guest addresses from its beginning; user addresses are the same."""
    parts = SplitRingParts(
        memory.user_view(addresses.descriptor_table, geometry.descriptor_table_bytes),
        memory.user_view(addresses.avail_ring, geometry.avail_ring_bytes),
        memory.user_view(addresses.used_ring, geometry.used_ring_bytes),
    )
    return SplitRing(geometry, parts, memory, event_idx=event_idx)

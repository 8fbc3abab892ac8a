"""Setting up a virtqueue in the kernel's memory, in the format that was negotiated."""

from typing import NamedTuple, TypeAlias

from protocol.packed_ring import PackedRingGeometry
from protocol.split_ring import SplitRingGeometry
from protocol.virtio import RingFeature

from .kernel_memory import KernelMemory
from .packed_ring import PackedDriverRing, PackedRingAddresses
from .ram import Ram
from .split_ring import DriverRing, RingAddresses

Ring: TypeAlias = DriverRing | PackedDriverRing


class RingAreas(NamedTuple):
    """Where a ring lies, in guest-physical addresses, by the names of virtio 1.4 section 2.6."""

    descriptors: int
    driver_area: int
    device_area: int


def make_ring(ram: Ram, memory: KernelMemory, features: int, queue_size: int) -> tuple[Ring, RingAreas]:
    """Return a new ring and where it lies."""
    ring, areas = _make(ram, memory, features, queue_size)
    ring.in_order = bool(features & RingFeature.IN_ORDER)
    return ring, areas


def _make(ram: Ram, memory: KernelMemory, features: int, queue_size: int) -> tuple[Ring, RingAreas]:
    event_idx = bool(features & RingFeature.EVENT_IDX)
    if features & RingFeature.RING_PACKED:
        packed = PackedRingGeometry(queue_size)
        sizes = (packed.descriptor_ring_bytes, packed.driver_event_bytes, packed.device_event_bytes)
        areas = RingAreas(*(memory.alloc(size) for size in sizes))
        return PackedDriverRing(ram, packed, PackedRingAddresses(*areas), event_idx=event_idx), areas
    split = SplitRingGeometry(queue_size)
    sizes = (split.descriptor_table_bytes, split.avail_ring_bytes, split.used_ring_bytes)
    areas = RingAreas(*(memory.alloc(size) for size in sizes))
    return DriverRing(ram, split, RingAddresses(*areas), event_idx=event_idx), areas

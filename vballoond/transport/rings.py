"""Making a ring of what a driver negotiated and set up, in either format."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.balloon.queues import queue_roles
from protocol.packed_ring import (
    DESCRIPTOR_RING_ALIGNMENT,
    EVENT_AREA_ALIGNMENT,
    FRESH_BASE,
    PackedRingGeometry,
    decode_base,
)
from protocol.split_ring import (
    AVAIL_RING_ALIGNMENT,
    DESCRIPTOR_TABLE_ALIGNMENT,
    INDEX_MASK,
    USED_RING_ALIGNMENT,
    SplitRingGeometry,
)
from protocol.virtio import RingFeature

from ..errors import FrontEndError
from ..memory.guest_memory import GuestMemory
from ..virtqueue import packed, split
from ..virtqueue.packed import PackedRing, PackedRingParts
from ..virtqueue.ring import Ring
from ..virtqueue.split import SplitRing, SplitRingParts
from ..virtqueue.state import RingRecord, RingState

View = Callable[[int, int], memoryview]


@dataclass(frozen=True, slots=True)
class RingPlace:
    """Where the parts of a ring lie. A packed ring has its driver and device event areas for the last two."""

    queue_size: int
    descriptors: int
    driver_area: int
    device_area: int


_SPLIT_ALIGNMENTS: Final = RingPlace(0, DESCRIPTOR_TABLE_ALIGNMENT, AVAIL_RING_ALIGNMENT, USED_RING_ALIGNMENT)
_PACKED_ALIGNMENTS: Final = RingPlace(0, DESCRIPTOR_RING_ALIGNMENT, EVENT_AREA_ALIGNMENT, EVENT_AREA_ALIGNMENT)


def check_alignment(place: RingPlace, features: int) -> None:
    """Raise a ValueError where a part of a ring is not aligned as its format wants it."""
    alignments = _PACKED_ALIGNMENTS if features & RingFeature.RING_PACKED else _SPLIT_ALIGNMENTS
    for part in ("descriptors", "driver_area", "device_area"):
        address, alignment = getattr(place, part), getattr(alignments, part)
        if address % alignment:
            raise ValueError(f"'{part}' of a ring at {address:#x} is not aligned to {alignment} bytes")


def check_queue_size(size: int, features: int) -> None:
    """Raise a ValueError where a ring cannot have ``size`` entries in the format that was negotiated."""
    if features & RingFeature.RING_PACKED:
        PackedRingGeometry(size)
    else:
        SplitRingGeometry(size)


def is_fresh(position: int, size: int, features: int) -> bool:
    """Say whether a ring at ``position`` has not been used."""
    return decode_base(position, size).fresh if features & RingFeature.RING_PACKED else position == 0


def open_ring(
    place: RingPlace,
    view: View,
    memory: GuestMemory,
    features: int,
    state: RingState,
    record: RingRecord | None = None,
) -> Ring:
    """Return the device's half of a ring.

    Args:
        place: Where it lies.
        view: Finds guest memory by the kind of address that ``place`` has.
        memory: Where its buffers are.
        features: What was negotiated.
        state: Where it goes on.
        record: Where it is written down how far the ring is, where that is wanted.

    Raises:
        FrontEndError: From ``view``: a part does not lie in memory whole.
        ValueError: The size, the position or the alignment is none for the format.
    """
    check_alignment(place, features)
    options = {
        "event_idx": bool(features & RingFeature.EVENT_IDX),
        "indirect": bool(features & RingFeature.INDIRECT_DESC),
        "in_order": bool(features & RingFeature.IN_ORDER),
    }
    if features & RingFeature.RING_PACKED:
        geometry, parts = _packed_parts(place, view)
        try:
            base = packed.caught_up(state, geometry, parts.descriptor_ring)
        except ValueError:
            parts.release()
            raise
        return PackedRing(geometry, parts, memory, next_avail=base, record=record, **options)
    if not 0 <= state.base <= INDEX_MASK:
        raise ValueError(f"a split ring at position {state.base:#x}, which is a packed ring's: it has 16 bits")
    split_geometry, split_parts = _split_parts(place, view)
    base = split.caught_up(state, split_parts.used_ring)
    return SplitRing(split_geometry, split_parts, memory, next_avail=base, **options)


def _packed_parts(place: RingPlace, view: View) -> tuple[PackedRingGeometry, PackedRingParts]:
    geometry = PackedRingGeometry(place.queue_size)
    return geometry, PackedRingParts(
        view(place.descriptors, geometry.descriptor_ring_bytes),
        view(place.driver_area, geometry.driver_event_bytes),
        view(place.device_area, geometry.device_event_bytes),
    )


def _split_parts(place: RingPlace, view: View) -> tuple[SplitRingGeometry, SplitRingParts]:
    geometry = SplitRingGeometry(place.queue_size)
    return geometry, SplitRingParts(
        view(place.descriptors, geometry.descriptor_table_bytes),
        view(place.driver_area, geometry.avail_ring_bytes),
        view(place.device_area, geometry.used_ring_bytes),
    )


def open_fresh_rings(places: Mapping[int, RingPlace], memory: GuestMemory, features: int) -> dict[int, Ring]:
    """Return the device's halves of all rings that have a role, not used so far, in a memory without user addresses.

    Raises:
        FrontEndError: One of them does not lie in memory whole. Then none is open.
        ValueError: One of them is not of the format.
    """
    state = RingState(FRESH_BASE if features & RingFeature.RING_PACKED else 0)
    opened: dict[int, Ring] = {}
    try:
        for index in sorted(queue_roles(features, frozenset(places)).keys() & places.keys()):
            opened[index] = open_ring(places[index], memory.user_view, memory, features, state)
    except (FrontEndError, ValueError):
        for ring in opened.values():
            ring.close()
        raise
    return opened

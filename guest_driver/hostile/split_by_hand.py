"""A split ring, written by hand."""

from collections.abc import Iterable
from typing import Final

from protocol.shared_words import words16
from protocol.split_ring import (
    AVAIL_RING_WORD,
    DESCRIPTOR,
    IDX_WORD,
    INDEX_MASK,
    Descriptor,
    DescriptorFlag,
    SplitRingGeometry,
)

from ..ram import Ram
from ..rings import RingAreas
from .ring_by_hand import Element, RingByHand


class SplitByHand(RingByHand):
    """A split ring. See :class:`RingByHand` for the arguments."""

    def __init__(self, ram: Ram, areas: RingAreas, queue_size: int) -> None:
        geometry = SplitRingGeometry(queue_size)
        sizes = geometry.descriptor_table_bytes, geometry.avail_ring_bytes, geometry.used_ring_bytes
        super().__init__(ram, areas, sizes, queue_size)
        self._avail: Final = words16(ram.view(areas.driver_area, geometry.avail_ring_bytes))
        self._used: Final = words16(ram.view(areas.device_area, geometry.used_ring_bytes))
        self._next_free = 0
        self._last_head = 0

    @property
    def device_parts(self) -> tuple[tuple[int, int], ...]:
        """As :class:`RingByHand` says: the used ring."""
        return self.parts[-1:]

    @property
    def used_count(self) -> int:
        """As :class:`RingByHand` says: the used index."""
        return self.used_idx

    def add(self, *elements: Element) -> None:
        """As :class:`RingByHand` says."""
        indices = [(self._next_free + number) % self.queue_size for number in range(len(elements))]
        self._next_free = (self._next_free + len(elements)) % self.queue_size
        for index, descriptor in zip(indices, _chained(elements, indices), strict=True):
            self.describe(index, *descriptor)
        self.offer(indices[0])

    def add_again(self) -> None:
        """As :class:`RingByHand` says."""
        self.offer(self._last_head)

    def table(self, *elements: Element) -> bytes:
        """As :class:`RingByHand` says."""
        return table_of(*_chained(elements, range(len(elements))))

    def describe(self, index: int, addr: int, length: int, flags: int = 0, following: int = 0) -> None:
        """Write a descriptor, behind the table's end too."""
        self._ram.write(
            self.areas.descriptors + index * DESCRIPTOR.size,
            DESCRIPTOR.pack(Descriptor(addr, length, flags, following)),
        )

    def offer(self, *heads: int) -> None:
        """Make chains available."""
        for head in heads:
            self._avail[AVAIL_RING_WORD + self.avail_idx % self.queue_size] = head
            self.avail_idx += 1
            self._last_head = head

    @property
    def avail_idx(self) -> int:
        """The index that publishes available chains."""
        return self._avail[IDX_WORD]

    @avail_idx.setter
    def avail_idx(self, value: int) -> None:
        self._avail[IDX_WORD] = value & INDEX_MASK

    @property
    def used_idx(self) -> int:
        """The index that publishes used buffers; only a device may write it."""
        return self._used[IDX_WORD]

    @used_idx.setter
    def used_idx(self, value: int) -> None:
        self._used[IDX_WORD] = value & INDEX_MASK

    def close(self) -> None:
        """Release the views of memory."""
        self._avail.release()
        self._used.release()


def table_of(*descriptors: Descriptor) -> bytes:
    """Return an indirect table."""
    return b"".join(map(DESCRIPTOR.pack, descriptors))


def _chained(elements: tuple[Element, ...], indices: Iterable[int]) -> list[Descriptor]:
    """Return the descriptors of a chain that lie at ``indices``."""
    followed = [*list(indices)[1:], None]
    return [
        Descriptor(addr, length, flags, 0)
        if following is None
        else Descriptor(addr, length, flags | DescriptorFlag.NEXT, following)
        for (addr, length, flags), following in zip(elements, followed, strict=True)
    ]

"""A chain of descriptors: what a driver made available as one buffer.

Rules of this file (virtio 1.4 section 2.7.5):

* A chain is walked at most as far as it can legally reach, so a loop ends: 2.7.5.3.1 allows no more descriptors than
  the queue has, and no driver sends more than :data:`MAX_DESCRIPTORS`.
* Device-readable descriptors stand before device-writable ones (2.7.4.2).
* An indirect descriptor ends the chain, its table is copied out once, and tables do not nest (2.7.5.3.1). Its WRITE
  flag is ignored (2.7.5.3.2).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from protocol.split_ring import DESCRIPTOR, Descriptor, DescriptorFlag

from ..errors import GuestError
from ..memory.guest_memory import GuestMemory

MAX_DESCRIPTORS: Final = 1024
"""Linux lets an indirect table be longer than its queue. QEMU's VIRTQUEUE_MAX_SIZE bounds table and chain at this, so
no driver can rely on more; walking so many takes about a millisecond."""


class Buffer(NamedTuple):
    """``length`` bytes at a guest-physical address; not yet checked to lie in memory."""

    address: int
    length: int


class Element(Protocol):
    """A descriptor of either ring format, as far as a buffer is made of it. Both have the same WRITE flag."""

    @property
    def addr(self) -> int:
        """Guest-physical address."""

    @property
    def len(self) -> int:
        """Length in bytes."""

    @property
    def flags(self) -> int:
        """Flags."""


@dataclass(frozen=True, slots=True)
class Chain:
    """One buffer of the driver: what the device may read, and what it may write, in order."""

    head: int
    readable: tuple[Buffer, ...]
    writable: tuple[Buffer, ...]

    @property
    def readable_bytes(self) -> int:
        """How much the device may read, in bytes."""
        return sum(buffer.length for buffer in self.readable)

    @property
    def writable_bytes(self) -> int:
        """How much the device may write, in bytes."""
        return sum(buffer.length for buffer in self.writable)

    def read(self, memory: GuestMemory, limit_bytes: int) -> bytes:
        """Copy out all that is readable, however many descriptors it is spread over (section 2.7.4.1).

        Raises:
            GuestError: It is more than ``limit_bytes``, or some of it is not in guest memory.
        """
        total = self.readable_bytes
        if total > limit_bytes:
            raise GuestError(f"a buffer of {total} bytes is larger than the {limit_bytes} that any driver needs here")
        pieces = [memory.read(*buffer) for buffer in self.readable]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def walk(table: memoryview, head: int, memory: GuestMemory, *, indirect: bool) -> Chain:
    """Follow the chain that starts at ``head`` of the descriptor ``table``.

    Args:
        table: The descriptor table, whole.
        head: Where the chain starts; checked.
        memory: Where an indirect table is read from.
        indirect: Whether INDIRECT_DESC was negotiated.

    Raises:
        GuestError: The chain breaks a rule of section 2.7.5.
    """
    return gather(head, _descriptors(table, head, memory, indirect=indirect))


def gather(head: int, elements: Iterable[Element]) -> Chain:
    """Make a chain of its elements, in either ring format.

    Raises:
        GuestError: A readable element stands behind a writable one.
    """
    readable: list[Buffer] = []
    writable: list[Buffer] = []
    for element in elements:
        buffer = Buffer(element.addr, element.len)
        if element.flags & DescriptorFlag.WRITE:
            writable.append(buffer)
        elif writable:
            raise GuestError(f"buffer {head} has a readable descriptor behind a writable one")
        else:
            readable.append(buffer)
    return Chain(head, tuple(readable), tuple(writable))


def check_table_length(length: int) -> None:
    """Raise a GuestError where an indirect table cannot be ``length`` bytes long, in either ring format."""
    if not length or length % DESCRIPTOR.size or length > MAX_DESCRIPTORS * DESCRIPTOR.size:
        raise GuestError(
            f"an indirect table of {length} bytes: it must be 1 to {MAX_DESCRIPTORS} times {DESCRIPTOR.size}"
        )


def _descriptors(table: memoryview, head: int, memory: GuestMemory, *, indirect: bool) -> Iterator[Descriptor]:
    for descriptor in _follow(table, head):
        if not descriptor.flags & DescriptorFlag.INDIRECT:
            yield descriptor
            continue
        if not indirect:
            raise GuestError("an indirect descriptor, though INDIRECT_DESC was not negotiated")
        if descriptor.flags & DescriptorFlag.NEXT:
            raise GuestError("a descriptor has both INDIRECT and NEXT set")
        yield from _indirect_table(descriptor, memory)


def _follow(table: memoryview | bytes, head: int) -> Iterator[Descriptor]:
    """Yield the descriptors from ``head`` on, each table entry at most once on the whole."""
    entries = len(table) // DESCRIPTOR.size
    bound = min(entries, MAX_DESCRIPTORS)
    at = head
    for _ in range(bound):
        if at >= entries:
            raise GuestError(f"descriptor {at} in a table of {entries}")
        descriptor = DESCRIPTOR.unpack_from(table, at * DESCRIPTOR.size)
        yield descriptor
        if not descriptor.flags & DescriptorFlag.NEXT:
            return
        at = descriptor.next
    raise GuestError(f"a chain from descriptor {head} has more than {bound} descriptors: it loops, or is too long")


def _indirect_table(descriptor: Descriptor, memory: GuestMemory) -> Iterator[Descriptor]:
    check_table_length(descriptor.len)
    for inner in _follow(memory.read(descriptor.addr, descriptor.len), 0):
        if inner.flags & DescriptorFlag.INDIRECT:
            raise GuestError("an indirect table holds an indirect descriptor")
        yield inner

"""The driver's virtqueues: init_vqs() and del_vqs().

Rules of this file:

* Queues are numbered as Linux does: those that do not exist are skipped.
* free_page_vq has no callback: the device is asked not to interrupt for it. All others interrupt.
* Rings are made anew whenever the driver (re)binds, in the same memory: behind the buffers that it keeps.
"""

from collections.abc import Sequence
from typing import Final

from protocol.balloon.queues import QueueRole, compact_roles

from ..buffers import Piece
from ..kernel_memory import KernelMemory
from ..rings import Ring, make_ring
from .state import BalloonState


class Queues:
    """The rings by what they are for; there are some between :meth:`set_up` and :meth:`close` only.

    Args:
        vb: The driver.
        memory_bytes: How much memory the kernel has for rings and buffers.
    """

    def __init__(self, vb: BalloonState, memory_bytes: int) -> None:
        self._vb: Final = vb
        self._memory_bytes: Final = memory_bytes
        self._buffers: Final = KernelMemory(memory_bytes)
        self._buffers_end = 0
        self._rings: Final[dict[QueueRole, Ring]] = {}
        self._numbers: Final[dict[QueueRole, int]] = {}

    def alloc_buffer(self, size_bytes: int) -> int:
        """Return the address of a buffer that stays for as long as the driver, before any queue is set up.

        Raises:
            GuestModelError: The kernel's memory is used up.
        """
        address = self._buffers.alloc(size_bytes)
        self._buffers_end = address + size_bytes
        return address

    def set_up(self) -> None:
        """Make the rings that the negotiated features ask for, and tell the device where they are.

        Raises:
            GuestModelError: The kernel's memory is used up.
        """
        memory = KernelMemory(self._memory_bytes)
        memory.alloc(self._buffers_end)
        for index, role in compact_roles(self._vb.features).items():
            ring, areas = make_ring(self._vb.ram, memory, self._vb.features, self._vb.options.queue_size)
            if role is QueueRole.FREE_PAGE:
                ring.disable_interrupts()
            self._rings[role] = ring
            self._numbers[role] = index
            self._vb.device.set_up_queue(index, self._vb.options.queue_size, *areas)

    def close(self) -> None:
        """Release the rings; the device must not use them any more. Closing twice is no mistake."""
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        self._numbers.clear()

    def __contains__(self, role: QueueRole) -> bool:
        return role in self._rings

    def role_of(self, index: int) -> QueueRole | None:
        """Return what a queue is for; None where there is no such queue."""
        return next((role for role, number in self._numbers.items() if number == index), None)

    def num_free(self, role: QueueRole) -> int:
        """Return how many descriptors a queue has left."""
        return self._rings[role].num_free

    def send(self, role: QueueRole, readable: Sequence[Piece] = (), writable: Sequence[Piece] = ()) -> None:
        """Make one buffer available, and tell the device unless it said that it looks anyway.

        Raises:
            GuestModelError: There are not enough descriptors.
        """
        ring = self._rings[role]
        ring.add_chain(readable, writable)
        if ring.should_kick():
            self._vb.device.kick(self._numbers[role])

    def get_used(self, role: QueueRole) -> bool:
        """Take back a buffer that the device used; False where there is none, or no such queue any more."""
        ring = self._rings.get(role)
        return ring is not None and ring.get_used() is not None

    def reap(self, role: QueueRole) -> None:
        """Take back all buffers that the device used."""
        while self.get_used(role):
            pass

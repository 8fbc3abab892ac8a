"""Memory of the kernel itself: rings and request buffers, which are never freed while their driver is there."""

from typing import Final

from .errors import GuestModelError

_ALIGNMENT: Final = 64


class KernelMemory:
    """Hands out pieces of the frames that are the kernel's, from the bottom."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes: Final = size_bytes
        self._used_bytes = 0

    def alloc(self, size_bytes: int) -> int:
        """Return the guest-physical address of ``size_bytes``, aligned for any ring.

        Raises:
            GuestModelError: The kernel's frames are used up.
        """
        address = self._used_bytes
        self._used_bytes += -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
        if self._used_bytes > self._size_bytes:
            raise GuestModelError(f"the kernel's {self._size_bytes} bytes are used up")
        return address

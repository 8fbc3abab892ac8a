"""The guest's memory: one memory file, shared with the device, which counts what was touched of it."""

import mmap
import os
from typing import Final

from protocol.balloon.page_frames import FRAME_BYTES


class Ram:
    """``size_bytes`` of guest-physical memory from address 0, in a memory file of its own.

    The host is charged for a frame when it is first touched, as for any guest.
    """

    def __init__(self, size_bytes: int, name: str = "guest") -> None:
        self.size_bytes: Final = size_bytes
        self.fd: Final = os.memfd_create(f"vballoond-{name}", os.MFD_CLOEXEC)
        os.ftruncate(self.fd, size_bytes)
        self._mapping: Final = mmap.mmap(self.fd, size_bytes)
        self._view: Final = memoryview(self._mapping)

    def view(self, address: int, length: int) -> memoryview:
        """Return a view of guest memory; the caller releases it before :meth:`close`."""
        return self._view[address : address + length]

    def write(self, address: int, data: bytes) -> None:
        """Store ``data`` at ``address``."""
        self._view[address : address + len(data)] = data

    def touch(self, first_pfn: int, count: int) -> None:
        """Use frames as their owner would, so that the host has to have them."""
        os.posix_fallocate(self.fd, first_pfn * FRAME_BYTES, count * FRAME_BYTES)

    def close(self) -> None:
        """Unmap and close the memory. Every view of it must have been released."""
        self._view.release()
        self._mapping.close()
        os.close(self.fd)

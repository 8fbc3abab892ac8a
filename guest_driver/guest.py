"""A whole modelled guest: memory, pages, kernel threads, and a balloon driver that can be loaded and removed."""

from typing import Final

import numpy as np

from protocol.balloon.page_frames import FRAME_BYTES

from .device import VirtioDevice
from .kernel import Kernel
from .kernel_memory import KernelMemory
from .pages import FreeList
from .ram import Ram
from .virtio_balloon import VirtioBalloon
from .vmstat import VmStat

_KERNEL_SHARE: Final = 50  # a fiftieth of memory is the kernel's own and never free
_MIN_KERNEL_FRAMES: Final = 64


class Guest:
    """A guest that was booted, without its balloon driver.

    Args:
        memory_bytes: How much memory it has, in whole frames.
        name: For people who look at the host's open files.
    """

    def __init__(self, memory_bytes: int, name: str = "guest") -> None:
        frames = memory_bytes // FRAME_BYTES
        self.ram: Final = Ram(frames * FRAME_BYTES, name)
        self._kernel_frames: Final = max(_MIN_KERNEL_FRAMES, frames // _KERNEL_SHARE)
        self.pages: Final = FreeList(frames, self._kernel_frames)
        self.vmstat: Final = VmStat()
        self.kernel: Final = Kernel()
        self.balloon: VirtioBalloon | None = None
        self.ram.touch(0, self._kernel_frames)

    def use_memory(self, kept_frames: int, passing_frames: int) -> None:
        """Touch memory as programs do: ``kept_frames`` stay in use, as page cache, ``passing_frames`` are freed again.

        May take a tenth of a second for each GiB, which is the host finding it.

        Raises:
            OSError: The host has not got it.
        """
        used = np.sort(self.pages.use(kept_frames, passing_frames))
        for run in np.split(used, np.flatnonzero(np.diff(used) != 1) + 1):
            if run.size:
                self.ram.touch(int(run[0]), int(run.size))

    def load_driver(self, device: VirtioDevice) -> VirtioBalloon:
        """Insmod virtio_balloon: bind its driver to ``device``."""
        memory = KernelMemory(self._kernel_frames * FRAME_BYTES)
        self.balloon = VirtioBalloon(self.kernel, device, self.ram, memory, self.pages, self.vmstat)
        self.balloon.probe()
        return self.balloon

    def close(self) -> None:
        """Power off. The driver's rings must have been closed with it."""
        if self.balloon is not None:
            self.balloon.close()
        self.ram.close()

"""Binding the driver to a device, and unbinding it: probe, remove, freeze and restore.

Rules of this file, each of which a device can see:

* The order of probing: features, to which the device must agree, queues, the first statistics, what memory asks of
  the balloon (shrinker, out-of-memory notifier), poison_val, page reporting, DRIVER_OK, and then the target that is
  there by then.
* The order of removing: nothing new is begun, what is under way ends, every page goes back to the guest and the host
  is told so, then the device is reset. Freezing is the second half of it, and restoring the first half of probing: all
  that was registered with the guest stays, and poison_val is not written again. Reports of free pages rest in between:
  Linux leaves it to chance that none is due.
"""

import errno
from typing import Final

from protocol.balloon.queues import QueueRole
from protocol.virtio import DeviceStatus, RingFeature

from ..balloon_compaction import BalloonPages, make_balloon_pages
from ..device import VirtioDevice
from ..kernel import Thread
from ..mm.mem_map import MemMap
from ..mm.page_reporting import PageReporting
from ..ram import Ram
from .features import validated
from .hinting import Hinting
from .migration import Migration
from .oom import OomNotifier
from .poison import Poison
from .queues import Queues
from .reporting import Reporting
from .sizing import Sizing
from .state import BalloonState, DriverOptions, ProbeError
from .statistics import Statistics
from .tell_host import BalloonLock, Host

RESET_POLL_S: Final = 0.001
"""vp_reset() looks this often whether the device has been reset."""


class VirtioBalloon:
    """One bound driver, from :meth:`probe` to :meth:`remove`.

    Args:
        device: The device that it drives.
        ram: The guest's memory.
        mm: The guest's page frames, and the kernel that runs its work items.
        page_reporting: Where free pages are reported from.
        memory_bytes: How much memory the kernel has for rings and buffers.
        options: How the kernel was configured.

    Raises:
        GuestModelError: The kernel's memory does not suffice.
        OSError: There is no memory for the balloon compaction interface.
    """

    def __init__(
        self,
        device: VirtioDevice,
        ram: Ram,
        mm: MemMap,
        page_reporting: PageReporting,
        memory_bytes: int,
        options: DriverOptions,
    ) -> None:
        self._vb: Final = BalloonState(device, ram, mm, options)
        self._queues: Final = Queues(self._vb, memory_bytes)
        self._host: Final = Host(self._vb, self._queues)
        lock = BalloonLock(self._vb)
        poison = Poison(self._vb)
        self._migration: Final = Migration(self._vb, lock, self._host)
        self.pages: Final[BalloonPages] = make_balloon_pages(
            options.interface, mm, self._migration.migratepage, balloon_compaction=options.balloon_compaction
        )
        """What the balloon holds."""
        self._migration.bind(self.pages)
        self.hinting: Final = Hinting(self._vb, self._queues, poison)
        """What is lent to the host."""
        self._sizing: Final = Sizing(self._vb, lock, self._host, self.pages, poison)
        self._statistics: Final = Statistics(self._vb, self._queues)
        self._oom: Final = OomNotifier(self._vb, self._sizing)
        self._reporting: Final = Reporting(self._vb, self._queues, self._host, poison, page_reporting)
        self._poison: Final = poison

    @property
    def num_pages(self) -> int:
        """How many pages of 4 KiB the balloon holds."""
        return self._vb.num_pages

    @property
    def features(self) -> int:
        """What was negotiated."""
        return self._vb.features

    def probe(self) -> None:
        """Bind to the device: negotiate, set up the queues, and follow the target that it has by then.

        Raises:
            ProbeError: The device refuses the features; or a ring is too small for what it is for, or free pages are
                reported to another device already, and the device is reset. Nothing of the driver is left with the
                guest.
        """
        self._vb.features = validated(self._vb.device.device_features(), self._vb.options)
        try:
            self._accept_features()
        except ProbeError:
            self.pages.close()
            raise
        self._init_vqs()
        try:
            self.hinting.register()
            self._oom.register()
            self._poison.announce()
            self._reporting.register()
        except ProbeError:
            self._unregister()
            self._vb.device.reset()
            self.close()
            self.pages.close()
            raise
        self._vb.device.driver_ok()
        if self._sizing.towards_target():
            self.config_interrupt()

    def remove(self) -> Thread:
        """Unbind: give every page back, say so, and reset the device."""
        yield from self._reporting.unregister()
        self._unregister()
        yield from self._oom.quiesce()
        self._vb.stop_update = True
        yield from self._cancel_works()
        yield from self._remove_common()
        self.pages.close()

    def freeze(self) -> Thread:
        """Give every page back and reset the device, before the guest hibernates; nothing runs until it is restored."""
        self._vb.stop_update = True  # the kernel has frozen the workqueues by now, and the works on them
        yield from self._cancel_works()
        yield from self._reporting.quiesce()
        yield from self._remove_common()

    def restore(self) -> None:
        """Bind to the device again, with the features that were negotiated, and follow its target.

        Raises:
            ProbeError: The device refuses them now. The driver stays frozen.
        """
        self._accept_features()
        self._vb.stop_update = False
        self._init_vqs()
        self._vb.device.driver_ok()
        if self._sizing.towards_target():
            self.config_interrupt()
        self.hinting.resume()
        self._sizing.update_balloon_size()

    def close(self) -> None:
        """Release the rings; the device must not use them any more."""
        self._queues.close()

    def queue_interrupt(self, index: int) -> None:
        """The device used buffers of a queue."""
        if self._queues.role_of(index) is QueueRole.STATS and not self._vb.stop_update:
            self._vb.mm.kernel.queue_work(self._statistics.work)
        self._vb.mm.kernel.wake(self._host.acked)

    def config_interrupt(self) -> None:
        """The device's configuration changed."""
        if not self._vb.stop_update:
            self._vb.mm.kernel.queue_work(self._sizing.work)
            self.hinting.config_changed()

    def _accept_features(self) -> None:
        """virtio_features_ok(): without VERSION_1 there is no FEATURES_OK to look for."""
        device = self._vb.device
        device.accept_features(self._vb.features)
        if self._vb.features & RingFeature.VERSION_1 and not device.status() & DeviceStatus.FEATURES_OK:
            raise ProbeError(errno.ENODEV, f"the device refuses features {self._vb.features:#x}")

    def _init_vqs(self) -> None:
        self._queues.set_up()
        if QueueRole.STATS in self._queues:
            self._statistics.prime()

    def _unregister(self) -> None:
        self._oom.unregister()
        self.hinting.unregister()

    def _cancel_works(self) -> Thread:
        for work in (self._sizing.work, self._statistics.work, self.hinting.work):
            yield from self._vb.mm.kernel.cancel_work(work)

    def _remove_common(self) -> Thread:
        yield from self._sizing.leak_all()
        self._sizing.update_balloon_size()
        self.hinting.return_free_pages_to_mm()
        self._vb.device.reset()
        while self._vb.device.status() != DeviceStatus(0):
            yield RESET_POLL_S
        self.close()

"""The virtio device as a driver sees it, whatever the transport: virtio 1.4 sections 2 and 3."""

from typing import Protocol

from protocol.virtio import DeviceStatus


class VirtioDevice(Protocol):
    """What a transport gives the driver. No call waits."""

    def device_features(self) -> int:
        """Return the feature bits that the device offers."""

    def accept_features(self, features: int) -> None:
        """Acknowledge a subset of them, before any queue is set up.

        :meth:`status` has FEATURES_OK then, unless the device cannot work with these.
        """

    def read_config(self, offset: int, length: int) -> bytes:
        """Return a piece of the device's configuration space."""

    def write_config(self, offset: int, data: bytes) -> None:
        """Write a piece of it."""

    def set_up_queue(self, index: int, size: int, descriptors: int, driver_area: int, device_area: int) -> None:
        """Say where a queue lies, in guest-physical addresses; the areas by the names of section 2.6."""

    def driver_ok(self) -> None:
        """The driver is ready: the device may use the queues."""

    def kick(self, index: int) -> None:
        """Buffers were made available in a queue."""

    def reset(self) -> None:
        """Ask for a reset; it is complete once :meth:`status` is 0."""

    def status(self) -> DeviceStatus:
        """Return the device status field."""

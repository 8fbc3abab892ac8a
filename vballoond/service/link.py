"""What a balloon asks of the transport by which its driver is reached."""

from typing import Protocol

from ..balloon.device import DeviceState


class Link(Protocol):
    """Implemented by each transport. Neither call waits, and neither fails: a driver that is gone hears nothing."""

    def config_changed(self) -> None:
        """Tell the driver that the configuration space changed: now, or as soon as its transport allows."""

    def broken(self) -> None:
        """Tell the driver, as far as the transport can, that its device serves no more."""

    def keep(self, state: DeviceState, reclaimed_bytes: int) -> None:
        """Write down, for a process after this one, what the device knows now, before anything follows of it."""


class NoLink:
    """Stands in while there is no front-end. A driver reads the configuration space when it comes."""

    def config_changed(self) -> None:
        """Nobody to tell."""

    def broken(self) -> None:
        """Nobody to tell."""

    def keep(self, state: DeviceState, reclaimed_bytes: int) -> None:
        """The target is kept by whoever set it, and nothing else outlives a connection."""

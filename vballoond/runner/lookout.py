"""The snapshot that policies see, taken of the daemon's balloons and of the host."""

from collections.abc import Callable, Iterable
from typing import Final

from ..config.policy import PolicySettings
from ..offload import Offload
from ..policy.view import MAX_GUESTS, View
from ..service.balloon_service import BalloonService
from .guest_watch import GuestWatch
from .host_memory import HostMemory, ReadHost


class Lookout:
    """Takes snapshots.

    Args:
        balloons: Those that there are.
        offload: Where files are read.
        read_host: Reads the host's.
        settings: Limits and reserve.
    """

    def __init__(
        self,
        balloons: Callable[[], Iterable[BalloonService]],
        offload: Offload,
        read_host: ReadHost,
        settings: PolicySettings,
    ) -> None:
        self._balloons: Final = balloons
        self._offload: Final = offload
        self._read_host: Final = read_host
        self.limits = settings.guard.limits
        self.guests: Final = GuestWatch(self.limits.new_for_s)
        self._host = HostMemory(settings.reserve)

    def follow(self, settings: PolicySettings) -> None:
        """Take other settings."""
        self.limits = settings.guard.limits
        self.guests.new_for_s = self.limits.new_for_s
        self._host = HostMemory(settings.reserve)

    async def view(self, now_s: float, *, keep: bool) -> View:
        """Return a snapshot of now; ``keep`` has the rates of the next one begin here."""
        texts = await self._offload.run(self._read_host)
        services = list(self._balloons())[:MAX_GUESTS]
        guests = await self.guests.guests(services, now_s, keep=keep)
        return View(now_s=now_s, host=self._host.host(texts, now_s, keep=keep), guests=guests)

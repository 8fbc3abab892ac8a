"""The snapshot that policies see, taken of the daemon's balloons and of the host."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from ..config.policy import PolicySettings
from ..offload import Offload
from ..policy.guard.limits import Limits
from ..policy.guard.stalls import observe
from ..policy.guard.state import GuardState
from ..policy.plan import Alert
from ..policy.reservations import Book, held_bytes
from ..policy.view import MAX_GUESTS, GuestView, View
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


def seen(view: View, state: GuardState, book: Book, limits: Limits) -> tuple[View, GuardState, tuple[Alert, ...]]:
    """Return a snapshot as policies are shown it, with what is held back for reservations; and what is remembered.

    A guest that is stalled and starves is shown as one that can be moved: it may need some back, and the guard asks it
    for nothing more in any case.
    """
    observed = observe(view, state, limits)
    guests = tuple(
        replace(guest, state="running") if guest.state == "stalled" and _starves(guest, limits) else guest
        for guest in observed.view.guests
    )
    host = replace(view.host, reserved_bytes=held_bytes(book, observed.view))
    return replace(observed.view, guests=guests, host=host), observed.state, observed.alerts


def _starves(guest: GuestView, limits: Limits) -> bool:
    if guest.rate("oom_kill") > 0 or guest.rate("alloc_stall") > 0:
        return True
    available = guest.available_bytes
    return available is not None and available < limits.starving_share * guest.size_bytes

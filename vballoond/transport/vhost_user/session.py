"""What one vhost-user connection has agreed on: plain, frozen data plus the names of descriptors.

Rules of this file:

* A session says everything that is needed to serve a guest, save the descriptors, whose names follow from it. Whoever
  has both can go on serving, whether it was there before or not.
* A ring has two independent bits (vhost-user.rst, "Ring states"): *enabled* by SET_VRING_ENABLE, or from the start
  where F_PROTOCOL_FEATURES was not negotiated; *started* by its kick descriptor until GET_VRING_BASE. It runs when
  it is both and its size and addresses are known.
* User-mode Linux never asks GET_VRING_BASE: it disables its rings, if it still can, and later sets them up again.
"""

from dataclasses import dataclass, field, replace
from typing import Final

from protocol.balloon.queues import MAX_QUEUES, QueueRole, queue_roles
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.payloads import VringAddress

from ...memory.region import RegionPlace
from ...virtqueue.state import RingState

BACKEND_CHANNEL: Final = "backend-channel"


def memory_name(place: RegionPlace) -> str:
    """Return the name of the memory file of a region."""
    return f"memory-{place.guest_address:x}-{place.size_bytes:x}-{place.file_offset:x}"


def is_memory_name(name: str) -> bool:
    """Say whether a descriptor of that name is a memory file; all others are doorbells and channels."""
    return name.startswith("memory-")


def kick_name(index: int) -> str:
    """Return the name of the descriptor by which the driver kicks a ring."""
    return f"kick-{index}"


def call_name(index: int) -> str:
    """Return the name of the descriptor by which a ring's driver is notified."""
    return f"call-{index}"


def error_name(index: int) -> str:
    """Return the name of the descriptor by which the front-end is told that a ring is broken."""
    return f"error-{index}"


@dataclass(frozen=True, slots=True)
class Vring:
    """One ring as the front-end set it up.

    ``state`` is where it goes on: as the front-end said, or where the ring last stopped. ``renewed`` says that the
    front-end said it and the ring has not run since.
    """

    size: int = 0
    state: RingState = field(default_factory=RingState)
    renewed: bool = False
    address: VringAddress | None = None
    enabled: bool = False
    started: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """One connection's agreements. The empty session is that of a connection on which nothing was said."""

    features: int = 0
    protocol_features: int = 0
    regions: tuple[RegionPlace, ...] = ()
    vrings: tuple[Vring, ...] = (Vring(),) * MAX_QUEUES

    def with_vring(self, index: int, **changes: object) -> "Session":
        """Return the session with one ring changed."""
        vring = replace(self.vrings[index], **changes)  # type: ignore[arg-type]
        return replace(self, vrings=(*self.vrings[:index], vring, *self.vrings[index + 1 :]))

    def ready(self) -> frozenset[int]:
        """The rings that are set up, enabled and started."""
        always_enabled = not self.features & F_PROTOCOL_FEATURES
        return frozenset(
            index
            for index, vring in enumerate(self.vrings)
            if vring.started and vring.size and vring.address is not None and (vring.enabled or always_enabled)
        )

    def may_be_told(self) -> bool:
        """Whether the device runs and is neither about to start nor to stop: every ring that was started is ready.

        The first two are among them, since every balloon has an inflateq and a deflateq (5.5.2).
        """
        started = {index for index, vring in enumerate(self.vrings) if vring.started}
        return started >= {0, 1} and self.ready() == started

    def running(self) -> dict[int, QueueRole]:
        """The rings that are to be served, and what each is for."""
        ready = self.ready()
        roles = queue_roles(self.features, ready)
        return {index: roles[index] for index in sorted(ready) if index in roles}

"""The textbook rule, after oVirt MoM's doc/balloon.rules.

While the host has less than a fifth free, each guest shrinks by up to 5 % a round, down to what it uses and a share of
free memory that falls with the host's. Otherwise each grows by 5 %, at the least to what it uses and 20 %. MoM averages
ten samples, and speaks of the memory that a guest is left with; so does this.

Where it differs: a host below its reserve, or short for a reservation, is short, too. A sample is taken each round,
where MoM takes two, so that the averages are of twice the time. What is free on the host is the kernel's estimate of
what is available; MoM adds up free memory, buffers and cache, of which the kernel could not give all. Below critical
MoM subtracts 5 % whatever its critical threshold is; here that threshold.
"""

from typing import Annotated, Self

from pydantic import Field, JsonValue, model_validator

from ..plan import Plan, Wish
from ..policy import Policy, PolicySettings
from ..remembered import fitting, numbers, part
from ..rising import check_rising
from ..view import GuestView, View


class Watermark(Policy):
    """Shrinks all guests a little while the host is short of free memory, and grows them otherwise (oVirt MoM)."""

    name = "watermark"

    class Settings(PolicySettings):
        """Names and defaults are MoM's, but for ``samples``, which is its default of a monitor."""

        pressure_threshold: Annotated[float, Field(gt=0, le=1)] = 0.20
        pressure_critical: Annotated[float, Field(ge=0, le=1)] = 0.05
        min_guest_free_percent: Annotated[float, Field(ge=0, le=1)] = 0.20
        max_balloon_change_percent: Annotated[float, Field(gt=0, le=1)] = 0.05
        min_balloon_change_percent: Annotated[float, Field(ge=0, le=1)] = 0.0025
        samples: Annotated[int, Field(ge=1, le=100)] = 10

        @model_validator(mode="after")
        def _in_order(self) -> Self:
            check_rising(self, "pressure_critical", "pressure_threshold")
            check_rising(self, "min_balloon_change_percent", "max_balloon_change_percent")
            return self

    def plan(self, view: View, settings: Settings) -> Plan:
        """Shrink all, or grow all."""
        host_free = view.host.unreserved_bytes / max(1, view.host.total_bytes)
        host = [*numbers(view.memory, "host", settings.samples - 1), host_free][-settings.samples :]
        free = sum(host) / len(host)
        short = free < settings.pressure_threshold or view.host.spare_bytes < 0
        wishes = []
        used: dict[str, JsonValue] = {}
        for guest in view.able:
            if guest.free_bytes is None:
                continue
            before = numbers(part(view.memory, "used"), guest.name, settings.samples)
            samples = [*before, float(guest.size_bytes - guest.free_bytes)][-settings.samples :]
            size = _size(guest, sum(samples) / len(samples), free, settings, short=short)
            used[guest.name] = [*samples]
            if abs(size - guest.size_bytes) > settings.min_balloon_change_percent * guest.size_bytes:
                wishes.append(Wish.size(guest, size, f"{free:.0%} of the host is free"))
        return Plan(tuple(wishes), memory={"host": [*host], "used": fitting(used)})


def _size(guest: GuestView, used: float, host_free: float, settings: Watermark.Settings, *, short: bool) -> float:
    size = float(guest.size_bytes)
    if not short:
        least = used + settings.min_guest_free_percent * size
        grown = min(guest.largest_bytes, size * (1 + settings.max_balloon_change_percent))
        return max(size, min(guest.largest_bytes, max(grown, least)))
    if host_free <= settings.pressure_critical:
        guest_free = host_free - settings.pressure_critical  # negative: the guest has to swap
    else:
        guest_free = settings.min_guest_free_percent * min(1.0, host_free / settings.pressure_threshold)
    least = max(guest.smallest_bytes, used + guest_free * size)
    return min(size, max(least, size * (1 - settings.max_balloon_change_percent)))

"""A policy that remembers: guests that were idle for long are squeezed, and let go of as soon as they stir."""

from typing import Annotated

from pydantic import Field

from vballoond.policy import Alert, GuestView, Plan, Policy, PolicySettings, View, Wish


class NightShift(Policy):
    """Takes what a guest has free once it has been idle for a while, and gives it back when it stirs."""

    name = "night-shift"

    class Settings(PolicySettings):
        """When a guest counts as idle, and what it keeps."""

        idle_faults_per_s: Annotated[float, Field(ge=0)] = 50.0
        idle_after_s: Annotated[float, Field(ge=0)] = 300.0
        keep_free: Annotated[float, Field(ge=0, le=1)] = 0.1

    def plan(self, view: View, settings: Settings) -> Plan:
        """Look at each guest that follows, and remember since when it is idle."""
        before = view.memory if isinstance(view.memory, dict) else {}
        idle_since = {}
        wishes = []
        for guest in view.able:
            if guest.available_bytes is None:
                continue  # it says nothing of its memory, so nobody knows
            if self._stirs(guest, settings):
                wishes.append(Wish.balloon(guest, guest.min_bytes, "it stirs"))
                continue
            since = before.get(guest.name, view.now_s)
            idle_since[guest.name] = since
            if view.now_s - since >= settings.idle_after_s:
                spare = guest.available_bytes - settings.keep_free * guest.size_bytes
                wishes.append(Wish.size(guest, guest.size_bytes - max(0, spare), "it has been idle for long"))
        alerts = (Alert(None, "every guest is idle", "info"),) if idle_since and not wishes else ()
        return Plan(tuple(wishes), alerts=alerts, memory=idle_since)

    @staticmethod
    def _stirs(guest: GuestView, settings: Settings) -> bool:
        busy = guest.rate("minor_faults") + guest.rate("major_faults") > settings.idle_faults_per_s
        return busy or guest.available_bytes < settings.keep_free * guest.size_bytes / 2

"""The simulator of Xen's squeezed (ocaml/squeezed/test/squeeze_test.ml).

Virtual machines whose balloons work well, badly, or not at all are on a host that is stepped a tenth of a second at a
time. Sizes are what a machine is left with, as there; a unit is a MiB here, where it was a KiB.
"""

from dataclasses import dataclass

from vballoond.policy import GuestView, Host, View
from vballoond.policy.view import MAX_BYTES

UNIT = 1 << 20
TICK_S = 0.1
MAX_SIZE = 16384


class OutOfMemoryError(Exception):
    """A machine took memory that the host did not have."""


@dataclass(kw_only=True)
class Machine:
    """A balloon that follows at a speed, and stops within its inaccuracy of the target."""

    name: str
    smallest: float
    target: float
    largest: float
    actual: float
    inaccuracy: float = 4
    rate: float = 100

    def change(self, passed_s, now_s):  # noqa: ARG002
        """Return by how much the size changes."""
        far = self.target - self.actual
        way = max(0, min(abs(far) - self.inaccuracy, self.rate * passed_s))
        return way if far > 0 else -way

    def view(self) -> GuestView:
        """Return what a policy sees: a balloon in the largest size."""
        return GuestView(
            name=self.name,
            memory_bytes=int(self.largest * UNIT),
            max_bytes=int((self.largest - self.smallest) * UNIT),
            target_bytes=round((self.largest - self.target) * UNIT),
            actual_bytes=round((self.largest - self.actual) * UNIT),
        )


@dataclass(kw_only=True)
class WithLimit(Machine):
    """It cannot go below a limit that nobody knows."""

    limit: float

    def change(self, passed_s, now_s):
        change = super().change(passed_s, now_s)
        return change if change > 0 or self.actual + change > self.limit else self.limit - self.actual


@dataclass(kw_only=True)
class WithUpperLimit(Machine):
    """It cannot go above a limit that nobody knows."""

    limit: float

    def change(self, passed_s, now_s):
        change = super().change(passed_s, now_s)
        return change if self.actual + change < self.limit else self.limit - self.actual


@dataclass(kw_only=True)
class Stuck(Machine):
    """Its balloon does not work."""

    def change(self, passed_s, now_s):  # noqa: ARG002
        return 0


@dataclass(kw_only=True)
class IntermittentlyStuck(Machine):
    """It stops for an interval after each interval."""

    interval_s: float

    def change(self, passed_s, now_s):
        moving = int((now_s - passed_s) / self.interval_s) % 2 == int(now_s / self.interval_s) % 2 == 0
        return super().change(passed_s if moving else 0, now_s)


class SqueezedHost:
    """A host with machines."""

    def __init__(self, machines, free):
        self.machines = {machine.name: machine for machine in machines}
        self.free = free
        self.ticks = 0

    @property
    def now_s(self):
        return self.ticks * TICK_S

    def view(self, reserved_bytes=0, memory=None) -> View:
        """Return what a policy sees."""
        host = Host(
            total_bytes=MAX_SIZE * UNIT,
            available_bytes=min(MAX_BYTES, round(self.free * UNIT)),
            reserved_bytes=reserved_bytes,
        )
        guests = tuple(machine.view() for machine in self.machines.values())
        return View(now_s=self.now_s, host=host, guests=guests, memory={} if memory is None else memory)

    def set_target(self, name, balloon_bytes):
        machine = self.machines[name]
        machine.target = machine.largest - balloon_bytes / UNIT

    def tick(self):
        """Let all balloons move."""
        self.ticks += 1
        for machine in self.machines.values():
            change = machine.change(TICK_S, self.now_s)
            if change > self.free + 1e-6:
                raise OutOfMemoryError(f"{machine.name} takes {change}, and {self.free} are free")
            machine.actual += change
            self.free -= change

    def surely_free(self):
        """Return what is free even if each machine goes as far above its target as it may."""
        return self.free - sum(
            machine.target + machine.inaccuracy - machine.actual for machine in self.machines.values()
        )

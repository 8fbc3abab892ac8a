"""What a run is to do."""

from dataclasses import dataclass
from typing import Literal

HolderName = Literal["keeper", "systemd"]

PROMISED_S = 2.0
"""Within this time after a kill the next worker serves, on a machine that has nothing else to do."""

BOUND_S = 10 * PROMISED_S
"""What a run fails with on any machine."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run.

    Attributes:
        kills: How often a worker is killed.
        ring: The format of all rings.
        seed: Of all that is random.
        holder: Who has the descriptors.
        qemu: Whether the guest in the middle is QEMU's, and not user-mode Linux.
        strict: Whether ``PROMISED_S`` has to be kept.
        check_every: After how many kills everything is looked at.
        visitors: How many guests come and go.
    """

    kills: int
    ring: str
    seed: int
    holder: HolderName = "keeper"
    qemu: bool = False
    strict: bool = False
    check_every: int = 25
    visitors: int = 2

    @property
    def name(self) -> str:
        """What a run is called in its lines."""
        return f"{'QEMU' if self.qemu else 'user-mode Linux'}, {self.ring}, {self.holder}"

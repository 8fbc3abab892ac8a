"""``[policy]``: who decides on the sizes of balloons, how often, and within which limits."""

import json
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue

from ..policy.guard.limits import Limits
from ..policy.nesting import MAX_DEPTH, too_deep
from .section import Section, Size

_DEFAULT: Final = Limits()

Seconds = Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]
Part = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _flat(settings: Any) -> Any:
    if too_deep(settings):
        raise ValueError(f"lists and tables nest more than {MAX_DEPTH} deep")
    return settings


def _finite(settings: dict[str, JsonValue]) -> dict[str, JsonValue]:
    try:
        json.dumps(settings, allow_nan=False)
    except ValueError:
        raise ValueError("a number is nan or inf: only finite ones can be settings") from None
    return settings


OwnSettings = Annotated[dict[str, JsonValue], BeforeValidator(_flat), AfterValidator(_finite)]
"""Of a policy, whatever it is: plain data, that can be kept, told and given to it. What it means the policy knows."""


class GuardSettings(Section):
    """``[policy.guard]``: what stands between a policy's wishes and the guests, whatever the policy."""

    step: Size = _DEFAULT.step_bytes
    """A target moves by no more than this in a round, or than step_share of the guest's memory if that is more."""

    step_share: Part = _DEFAULT.step_share
    rate: Size = _DEFAULT.rate_bytes_per_s
    """Nor by more than this for each second since the round before."""

    dead_band: Size = _DEFAULT.dead_band_bytes
    """A smaller change is not worth an order; nor one of less than dead_band_share of what the guest is left with."""

    dead_band_share: Part = _DEFAULT.dead_band_share
    take_after_give_s: Seconds = _DEFAULT.take_after_give_s
    """A balloon grows again at the earliest so long after it shrank."""

    give_after_take_s: Seconds = _DEFAULT.give_after_take_s
    """A balloon shrinks again at the earliest so long after it grew."""

    stall_after_s: Seconds = _DEFAULT.stall_after_s
    """A guest that does not move towards its target for longer is stalled."""

    uncooperative_after_s: Seconds = _DEFAULT.uncooperative_after_s
    """One that has been stalled for longer is told to people."""

    back_off_s: Seconds = _DEFAULT.back_off_s
    """A stalled guest is left with what it has for so long, each further time for twice as long."""

    most_back_off_s: Seconds = _DEFAULT.most_back_off_s
    new_for_s: Seconds = _DEFAULT.new_for_s
    """A guest whose driver has just come is left alone for so long."""

    starving_share: Part = _DEFAULT.starving_share
    """A guest that has less than this of its size available is given memory without delay."""

    @property
    def limits(self) -> Limits:
        """The same as the guard takes them."""
        values = self.model_dump()
        sizes = {f"{name}_bytes": values.pop(name) for name in ("step", "dead_band")}
        return Limits(**sizes, rate_bytes_per_s=values.pop("rate"), **values)


class PolicySettings(Section):
    """``[policy]``."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "static"
    """Which one acts; one that is set through the API counts before this."""

    settings: OwnSettings = Field(default_factory=dict)
    """Its own settings."""

    directory: Path | None = None
    """Where policies are files; null: there are those that are built in, and those of installed packages."""

    interval_s: Annotated[float, Field(ge=0.1, le=86_400, allow_inf_nan=False)] = 10
    """How often it is asked."""

    time_limit_s: Annotated[float, Field(ge=0.05, le=60, allow_inf_nan=False)] = 2
    """How long it may take; then its process is killed."""

    memory_limit: Annotated[Size, Field(ge=128 << 20)] = 512 << 20
    """How much address space its process may have, 128 MiB at the least."""

    reserve: Size | None = None
    """What guests never get of the host's memory; null: a twentieth of it."""

    by_hand_s: Seconds = 600
    """How long a target that somebody else set is left alone; 0: the next round may move it."""

    guard: GuardSettings = GuardSettings()

"""The numbers of the guard."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from pydantic import ConfigDict, Field

from ..view import Bytes, Rate, Share

_MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Defaults are other systems' where they have one; research into them stands behind each."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", strict=True)

    step_bytes: Bytes = 256 * _MIB
    """A target moves by no more than this in one round, or than ``step_share``, whichever is more. Proxmox has 100 MiB,
    and 256 MiB is in use with Firecracker."""
    step_share: Share = 0.05
    """Of the guest's memory: oVirt MoM's max_balloon_change_percent."""
    rate_bytes_per_s: Bytes = 100 * _MIB
    """Nor by more than this for each second since the round before: what Qubes expects of a balloon at the least."""
    dead_band_bytes: Bytes = 1 * _MIB
    """A smaller change is not worth an order: within 1 MiB a resize is done for ChromeOS."""
    dead_band_share: Share = 0.0025
    """Of what the guest is left with: oVirt MoM's min_balloon_change_percent."""
    take_after_give_s: Rate = 100.0
    """A balloon grows again at the earliest so long after it shrank: ChromeOS's block for low priorities."""
    give_after_take_s: Rate = 10.0
    """A balloon shrinks again at the earliest so long after it grew: ChromeOS's block for high priorities."""
    inaccuracy_bytes: Bytes = 1 * _MIB
    """A target that is so near counts as reached."""
    stall_after_s: Rate = 5.0
    """A guest that has not moved towards its target for longer is stalled: squeezed's."""
    uncooperative_after_s: Rate = 20.0
    """One that has been stalled for longer is told to people: squeezed's."""
    back_off_s: Rate = 10.0
    """A stalled guest is left with what it has for so long, each further time for twice as long."""
    most_back_off_s: Rate = 600.0
    new_for_s: Rate = 30.0
    """A guest that has just come boots, and is left alone for so long."""
    starving_share: Annotated[float, Field(ge=0, le=1)] = 0.05
    """A guest that has less than this of its size available is starving: it is given memory without delay."""

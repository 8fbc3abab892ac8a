"""What is tried: the guest, its balloon, and the three passes, as mmtests' stress-highalloc has them.

The load's rates are for a guest of 4 GiB and scale with its size. They come from what the published run counted (pages
in and out, duration), and from a kernel build's needs; none was chosen by its result.
"""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Setting:
    """One set-up of the experiment. Times are virtual seconds of the guest."""

    name: str
    summary: str
    guest_mib: int = 4096
    balloon_mib: int = 512
    chunk_mib: int = 64
    chunk_every_s: float = 60.0
    settle_s: float = 300.0
    """The load runs for so long before Pass 1."""
    attempt_every_s: float = 0.125
    """2 MiB each at 16 MiB/s."""
    attempts_percent: int = 95
    """Of all huge pages that there are, how many are tried for."""
    between_passes_s: float = 5.0
    rest_s: float = 180.0


V11: Final = Setting("v11", "4 GiB guest, 512 MiB balloon in chunks of 64 MiB: the table of v11, November 2012")
V10: Final = Setting(
    "v10", "4 GiB guest, 1 GiB balloon in chunks of 256 MiB: the table of v10", balloon_mib=1024, chunk_mib=256
)
SETTINGS: Final = {setting.name: setting for setting in (V11, V10)}

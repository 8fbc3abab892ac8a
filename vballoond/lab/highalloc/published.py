"""What was published: the tables of the patch series' cover letters, each a single run of each kernel.

Counters have the names of today's /proc/vmstat, so that they can stand beside those of a modelled guest: what 2012
called "Compaction pages moved" and "move failure" are pgmigrate_success and pgmigrate_fail.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class PublishedRun:
    """One column of a table."""

    pass1: float
    pass2: float
    rested: float
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Published:
    """One table: the same kernel without the patches and with them."""

    source: str
    clean: PublishedRun
    patched: PublishedRun


def _counters(stall: int, success: int, fail: int, moved: int, move_fail: int, thp: tuple[int, int]) -> dict[str, int]:
    return {
        "compact_stall": stall,
        "compact_success": success,
        "compact_fail": fail,
        "pgmigrate_success": moved,
        "pgmigrate_fail": move_fail,
        "thp_fault_alloc": thp[0],
        "thp_fault_fallback": thp[1],
    }


PUBLISHED: Final[Mapping[str, Published]] = {
    "v11": Published(
        "cover letter of v11, 7 November 2012, Linux 3.7-rc4",
        PublishedRun(55, 54, 75, _counters(747, 244, 503, 370_888, 77_378, (546, 98))),
        PublishedRun(62, 62, 80, _counters(499, 145, 354, 474_837, 65_259, (631, 50))),
    ),
    "v10": Published(
        "cover letter of v10, 17 September 2012, Linux 3.6-rc5",
        PublishedRun(47, 52, 77, _counters(1_378, 406, 972, 3_104_073, 92_713, (688, 172))),
        PublishedRun(85, 87, 99, _counters(968, 595, 373, 1_790_932, 41_252, (739, 45))),
    ),
}
"""By the name of the setting (``setting.SETTINGS``)."""

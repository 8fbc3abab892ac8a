"""What is compared, row by row: each measure is read from a modelled run and from a published one in the same way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol


class Figures(Protocol):
    """What a run came to, whether modelled or published."""

    @property
    def pass1(self) -> float:
        """Percent of attempts that got a huge page; so are the other two."""

    @property
    def pass2(self) -> float:
        """With the same load, after all huge pages of Pass 1 were freed."""

    @property
    def rested(self) -> float:
        """When the load has ended and the page cache is dropped."""

    @property
    def counters(self) -> Mapping[str, int]:
        """Lines of /proc/vmstat; what a kernel does not count is absent."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One row of the table."""

    name: str
    title: str
    percent: bool
    """Percent with a decimal; else a whole number of events."""
    of: Callable[[Figures], float | None]
    """None where a run did not count it."""


def _count(name: str, title: str) -> Measure:
    return Measure(name, title, percent=False, of=lambda figures: figures.counters.get(name))


def _huge_faults(figures: Figures) -> float | None:
    """Return how many of the faults that wanted a huge page got one, in percent; None if there were none."""
    got = figures.counters.get("thp_fault_alloc", 0)
    faults = got + figures.counters.get("thp_fault_fallback", 0)
    return 100 * got / faults if faults else None


PASSES: Final = (
    Measure("pass1", "Pass 1", percent=True, of=lambda figures: figures.pass1),
    Measure("pass2", "Pass 2", percent=True, of=lambda figures: figures.pass2),
    Measure("rested", "while Rested", percent=True, of=lambda figures: figures.rested),
)

OTHERS: Final = (
    Measure("huge_faults", "Huge-page faults served", percent=True, of=_huge_faults),
    _count("thp_fault_alloc", "THP fault alloc"),
    _count("thp_fault_fallback", "THP fault fallback"),
    _count("compact_stall", "Compaction stalls"),
    _count("compact_success", "Compaction success"),
    _count("compact_fail", "Compaction failures"),
    _count("pgmigrate_success", "Compaction pages moved"),
    _count("pgmigrate_fail", "Compaction move failure"),
)

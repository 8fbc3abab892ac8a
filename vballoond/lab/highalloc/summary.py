"""All runs of one experiment together: means and spreads of both kinds of guest, beside what was published."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .measures import PASSES, Measure
from .published import PUBLISHED, Published
from .result import RunResult
from .setting import Setting


@dataclass(frozen=True, slots=True)
class Spread:
    """Some runs' values of one measure."""

    mean: float
    sd: float
    """Of the sample (n - 1); 0 for a single run."""


@dataclass(frozen=True, slots=True)
class Row:
    """One measure of both kinds of guest; None where no run of a kind has it."""

    measure: Measure
    clean: Spread | None
    patched: Spread | None
    published_clean: float | None
    published_patched: float | None

    @property
    def difference(self) -> float | None:
        """Patched minus clean, of the means."""
        return self.patched.mean - self.clean.mean if self.clean and self.patched else None

    @property
    def published_difference(self) -> float | None:
        """Patched minus clean, as published."""
        if self.published_clean is None or self.published_patched is None:
            return None
        return self.published_patched - self.published_clean


@dataclass(frozen=True, slots=True)
class Summary:
    """What an experiment came to. There is a run of either kind for each seed."""

    setting: Setting
    runs: Sequence[RunResult]

    @property
    def seeds(self) -> list[int]:
        """The seeds, each once, in order."""
        return sorted({run.seed for run in self.runs})

    @property
    def published(self) -> Published:
        """The table that this setting is compared with."""
        return PUBLISHED[self.setting.name]

    def of_kind(self, *, balloon_compaction: bool) -> list[RunResult]:
        """Return the runs with or without balloon compaction."""
        return [run for run in self.runs if run.balloon_compaction == balloon_compaction]

    def row(self, measure: Measure) -> Row:
        """Return one measure of all runs."""
        return Row(
            measure,
            clean=_spread(measure.of(run) for run in self.of_kind(balloon_compaction=False)),
            patched=_spread(measure.of(run) for run in self.of_kind(balloon_compaction=True)),
            published_clean=measure.of(self.published.clean),
            published_patched=measure.of(self.published.patched),
        )

    def as_json(self) -> dict[str, Any]:
        """Return what ``vballoond experiment highalloc --json`` prints; scripts rely on its shape."""
        return {
            "experiment": "highalloc",
            "guest_mib": self.setting.guest_mib,
            "seeds": self.seeds,
            "rows": {measure.name: _row_as_json(self.row(measure)) for measure in PASSES},
            "runs": [_run_as_json(run) for run in self.runs],
        }


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0)


def _row_as_json(row: Row) -> dict[str, Any]:
    return {
        "clean": _spread_as_json(row.clean),
        "patched": _spread_as_json(row.patched),
        "difference": row.difference,
        "published": {"clean": row.published_clean, "patched": row.published_patched},
    }


def _spread_as_json(spread: Spread | None) -> dict[str, float] | None:
    return {"mean": spread.mean, "sd": spread.sd} if spread else None


def _run_as_json(run: RunResult) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "balloon_compaction": run.balloon_compaction,
        "pass1": run.pass1,
        "pass2": run.pass2,
        "rested": run.rested,
        "counters": run.counters,
    }

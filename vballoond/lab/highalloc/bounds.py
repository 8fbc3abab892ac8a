"""How much balloon compaction must help for the experiment to count as reproduced.

The published figures are of one run each on a machine that nobody has any more, so they are no bounds. Direction and a
least gap are: they hold over seeds, and without migration of balloon pages they do not.
"""

from collections.abc import Mapping
from typing import Final

from .measures import PASSES
from .summary import Summary

LEAST_DIFFERENCE: Final[Mapping[str, float]] = {"pass1": 3.0, "pass2": 5.0, "rested": 0.0}
"""Percentage points that the patched mean must lie above the clean one."""


def shortfalls(summary: Summary) -> list[str]:
    """Return a sentence for each bound that is missed; none if the experiment shows what it must."""
    sentences = []
    for measure in PASSES:
        least, difference = LEAST_DIFFERENCE[measure.name], summary.row(measure).difference
        if difference is None or difference < least:
            got = "is not known" if difference is None else f"is {difference:+.1f} points"
            sentences.append(f"{measure.title}: what balloon compaction adds {got}, and must be {least:+g} at least")
    return sentences

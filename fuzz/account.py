"""What the daemon uses, from round to round, and whether that is flat.

Rules of this file:

* Usage is taken when nobody is connected, so descriptors are as many as before the first round, every time: one more
  is a leak.
* Memory is that of the daemon itself. It grows while caches and the heap find their size: the first third of a run.
  After that it may be :data:`ALLOWANCE_BYTES` more than the most that it was in that third. A leak of a kilobyte a
  connection passes that within a run of ten minutes.
"""

from typing import Final

from .daemon import Usage

ALLOWANCE_BYTES: Final = 12 << 20
_LAST: Final = 3


class Account:
    """Usages, the first of them from before the first round."""

    def __init__(self, first: Usage) -> None:
        self.usages: Final = [first]

    def add(self, usage: Usage) -> None:
        """Take in the usage after a round."""
        self.usages.append(usage)

    def warm(self) -> list[Usage]:
        """Return the usages in which memory may still grow."""
        return self.usages[: max(2, len(self.usages) // 3)]

    def growth_bytes(self) -> int:
        """Return by how much memory grew since: the least of the last rounds, since garbage waits to be freed."""
        before = max(usage.own_bytes for usage in self.warm())
        return min(usage.own_bytes for usage in self.usages[-_LAST:]) - before

    def problems(self) -> list[str]:
        """Return what is not flat."""
        problems = []
        extra = self.usages[-1].descriptors - self.usages[0].descriptors
        if extra > 0:
            problems.append(f"{extra} descriptors are left open")
        if self.growth_bytes() > ALLOWANCE_BYTES:
            problems.append(f"memory grew by {self.growth_bytes() >> 10} KiB")
        return problems

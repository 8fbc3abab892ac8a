"""The keeper of ``vballoond serve``, but that the next worker starts at once, however quickly the last one ended.

    python -m torture.quick_keeper COMMAND...

Workers that crash one behind the other have a pause between them, of five seconds in the end. Here they are killed.
"""

import sys

from vballoond.keeper import Backoff, Keeper


class NoPause(Backoff):
    """Never waits."""

    def next_s(self, ready_s: float) -> float:
        """Return 0."""
        del ready_s
        return 0.0


if __name__ == "__main__":
    sys.exit(Keeper(sys.argv[1:], NoPause()).run())

"""``python -m vballoond.keeper -- COMMAND...``: run the keeper for a worker."""

import sys

from .backoff import Backoff
from .keeper import Keeper
from .say import say


def main() -> int:
    """Run the keeper for the command behind ``--``; return the exit status."""
    if len(sys.argv) < 3 or sys.argv[1] != "--":
        say("usage: python -m vballoond.keeper -- COMMAND...")
        return 2
    return Keeper(sys.argv[2:], Backoff()).run()


if __name__ == "__main__":
    sys.exit(main())

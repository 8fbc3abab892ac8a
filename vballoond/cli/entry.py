"""Where the command line begins: little enough that nothing can be cut short before somebody minds.

Rules of this file: nothing is imported here but what every process has anyway.
"""

import os
import sys
from typing import Final, TextIO

INTERRUPTED: Final = 130
"""The exit status where Ctrl-C cut something short."""


def main() -> None:
    """Run the command line. Ctrl-C ends it without a traceback even while the rest is imported."""
    _have_outputs()
    try:
        from .main import main as run  # noqa: PLC0415 (see above)

        run()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _have_outputs() -> None:
    """Where standard output or error was closed, what goes there goes nowhere."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 (open to the end)

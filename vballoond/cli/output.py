"""What goes to standard output and standard error.

Rules of this file:

* With ``--json`` there is JSON alone on standard output; everything else goes to standard error.
* An error is what went wrong in one line and, where one can be named, the next step in another.
"""

import json
import sys
from typing import Any, Final, NoReturn

from rich.console import Console

from .client import ClientError

_WIDE: Final = 1000


def console() -> Console:
    """Return the console for standard output. A pipe has no width: rows must not be cut for what reads them."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(highlight=False, width=width)


def print_json(value: Any) -> None:
    """Print JSON for scripts that read one answer."""
    print(json.dumps(value, indent=2))


def print_json_line(value: Any) -> None:
    """Print JSON for scripts that read line by line, at once."""
    print(json.dumps(value), flush=True)


def say(message: str, next_step: str = "") -> None:
    """Say on standard error what went wrong, and what to do."""
    print(f"vballoond: {message}", file=sys.stderr)
    if next_step:
        print(f"  next: {next_step}", file=sys.stderr)


def fail(message: str, next_step: str = "", status: int = 1) -> NoReturn:
    """Say what went wrong, and end."""
    say(message, next_step)
    sys.exit(status)


def fail_with(error: Exception) -> NoReturn:
    """End with what an error says."""
    if isinstance(error, ClientError):
        fail(str(error), error.next_step)
    if isinstance(error, OSError):
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    raise error

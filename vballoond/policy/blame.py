"""What a script did wrong, shown by its own lines only: the daemon's would tell its author nothing."""

import traceback
from pathlib import Path
from typing import Final

MAX_FRAMES: Final = 10
"""The innermost ones are shown: endless recursion has a thousand."""
MAX_CHARACTERS: Final = 4000


def own_lines(error: BaseException, file: str | Path) -> str:
    """Return the traceback of ``error`` cut to the lines of ``file``, and the error itself. Never raises."""
    try:
        told = traceback.TracebackException.from_exception(error, lookup_lines=False, compact=True)
        frames = [frame for frame in told.stack if frame.filename == str(file)][-MAX_FRAMES:]
        lines = traceback.format_list(frames) + list(told.format_exception_only())
    except BaseException as broken:  # noqa: BLE001 (an error of a script can be of any class, and its members can raise)
        return f"{type(error).__name__}, which cannot be shown: {type(broken).__name__}"
    text = "".join(lines).rstrip()
    printable = "".join(character if character.isprintable() or character == "\n" else "?" for character in text)
    return printable if len(printable) <= MAX_CHARACTERS else f"{printable[:MAX_CHARACTERS]} ..."

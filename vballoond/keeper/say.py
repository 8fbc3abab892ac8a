"""What the keeper says, for people."""

import contextlib
import os
import select
import sys


def say(text: str) -> None:
    """Say it on standard error, where somebody listens; nobody is waited for."""
    if sys.stderr is None:  # then 2 is a descriptor of another kind
        return
    with contextlib.suppress(OSError):
        if select.select([], [2], [], 0)[1]:  # a pipe that nobody reads must not hold the keeper up
            os.write(2, f"vballoond keeper: {text}\n".encode())

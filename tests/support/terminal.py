"""The command on a terminal of its own, as a person sees and types."""

import asyncio
import fcntl
import os
import pty
import re
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from support.command import environment, kill_all

_PATIENCE_S: Final = 60.0
_CONTROLS: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


@dataclass
class Terminal:
    """A terminal with a command on it.

    Attributes:
        written: All that the command wrote so far, without what moves the cursor and colours it.
        raw: The same with that.
    """

    process: asyncio.subprocess.Process
    descriptor: int
    raw: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def written(self) -> str:
        return _CONTROLS.sub("", self.raw)

    async def until(self, text: str, after: int = 0) -> int:
        """Wait until it has written ``text`` behind the place ``after``; return the place behind it."""
        async with asyncio.timeout(_PATIENCE_S):
            while (place := self.written.find(text, after)) < 0:
                self._changed.clear()
                await self._changed.wait()
        return place + len(text)

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self.descriptor, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Make it larger or smaller."""
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def settings(self) -> list[Any]:
        """How it treats what is typed."""
        return termios.tcgetattr(self.descriptor)

    async def ended(self) -> int:
        """Wait for the end; return the exit status."""
        async with asyncio.timeout(_PATIENCE_S):
            status = await self.process.wait()
        self.read()
        assert "Traceback" not in self.written
        return status

    def read(self) -> None:
        """Take in what was written."""
        try:
            self.raw += os.read(self.descriptor, 1 << 16).decode("utf-8", "replace")
        except OSError:  # nothing more, for now or for ever
            asyncio.get_running_loop().remove_reader(self.descriptor)
        self._changed.set()


@asynccontextmanager
async def terminal(*arguments: object, columns: int = 80, lines: int = 24, **env: str) -> AsyncIterator[Terminal]:
    """The command on a terminal; killed where the test leaves it so."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in environment().items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    os.set_blocking(ours, False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _ON_ITS_TERMINAL),
        *map(str, arguments),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**kept, "TERM": "xterm-256color", **env},
        start_new_session=True,
    )
    shown = Terminal(process, ours)
    asyncio.get_running_loop().add_reader(ours, shown.read)
    try:
        yield shown
    finally:
        if process.returncode is None:
            kill_all(process)
            await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)
        os.close(theirs)


# Ctrl-C reaches whoever has the terminal for its own.
_ON_ITS_TERMINAL: Final = """
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from vballoond.cli.main import main
main()
"""

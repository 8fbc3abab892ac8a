"""The command as a user runs it: a process of its own, its output and its exit status."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

_PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    status: int
    out: str
    err: str


def environment(**more: str) -> dict[str, str]:
    """What a process is started with: nothing that names a daemon or changes what is printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VBALLOOND_")}
    return {**kept, "COLUMNS": "500", "NO_COLOR": "1", "TERM": "dumb", **more}


@asynccontextmanager
async def process(*arguments: object, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command, running; killed where the test leaves it so."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "vballoond"),
        *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(**env),
        start_new_session=True,
    )
    try:
        yield running
    finally:
        if running.returncode is None:
            kill_all(running)
        await running.communicate()


def kill_all(running: asyncio.subprocess.Process) -> None:
    """Kill a process and those that it started: a daemon outlives its keeper."""
    os.killpg(running.pid, signal.SIGKILL)


async def outcome(running: asyncio.subprocess.Process) -> Outcome:
    """Wait until a process has ended."""
    async with asyncio.timeout(_PATIENCE_S):
        out, err = await running.communicate()
    assert running.returncode is not None
    assert "Traceback" not in err.decode()
    return Outcome(running.returncode, out.decode(), err.decode())


async def run(*arguments: object, **env: str) -> Outcome:
    """Run the command to its end."""
    async with process(*arguments, **env) as running:
        return await outcome(running)

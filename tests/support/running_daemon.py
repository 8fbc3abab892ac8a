"""``vballoond serve`` as a process, with its keeper if it has one: what a test of its whole life needs."""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
from support.command import kill_all, process

PATIENCE_S: Final = 60.0

CONFIGURATION: Final = """
[http]
listen = "unix:api.sock"

[state]
directory = "state"

[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
stats_interval_s = 0
"""


@dataclass
class RunningDaemon:
    """A daemon that serves.

    Attributes:
        process: What was started: the keeper, if there is one. It leads a group of processes, all of which end with it.
        directory: Its configuration is there, with everything else.
        said: What it printed.
    """

    process: asyncio.subprocess.Process
    directory: Path
    said: str = ""

    @property
    def api(self) -> str:
        """As ``--api`` has it."""
        return f"unix:{self.directory}/api.sock"

    async def ask(self, method: str, path: str, **keywords: Any) -> tuple[int, Any]:
        """Ask once; return the status and the JSON."""
        connector = aiohttp.UnixConnector(str(self.directory / "api.sock"))
        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with (
            aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session,
            session.request(method, path, **keywords) as answer,
        ):
            return answer.status, await answer.json()

    async def health(self) -> dict[str, Any]:
        """Ask until somebody answers that it is alive."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    status, answer = await self.ask("GET", "/healthz")
                except (aiohttp.ClientError, OSError):
                    await asyncio.sleep(0.01)  # a connection is cut off when the process dies that has it
                    continue
                assert status == 200
                return answer

    async def successor_of(self, pid: int) -> int:
        """Return the process that serves in the place of ``pid``."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if (health := await self.health())["pid"] != pid:
                    return health["pid"]
                await asyncio.sleep(0.01)

    async def ready(self) -> tuple[int, list[str]]:
        """Return what /readyz says."""
        status, answer = await self.ask("GET", "/readyz")
        assert answer["ready"] is (status == 200)
        return status, answer["problems"]

    async def balloon(self, name: str) -> dict[str, Any]:
        """Return one balloon."""
        status, answer = await self.ask("GET", f"/v1/balloons/{name}")
        assert status == 200, answer
        return answer

    async def until_logged(self, event: str) -> dict[str, Any]:
        """Read the log until it says ``event``; return that line."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while line := await self.process.stderr.readline():
                if line.startswith(b"{") and (said := json.loads(line))["event"] == event:
                    return said
        raise AssertionError(f"{event!r} was never said")


@asynccontextmanager
async def running_daemon(
    directory: Path, *options: str, configuration: str = CONFIGURATION, **env: str
) -> AsyncIterator[RunningDaemon]:
    """A daemon that has said that it serves; whatever is left of it is killed in the end."""
    config = directory / "vballoond.toml"
    config.write_text(configuration)
    async with process("serve", "--config", config, *options, **env) as running:
        daemon = RunningDaemon(running, directory)
        try:
            while "Ctrl-C" not in daemon.said:
                line = (await running.stdout.readline()).decode()
                assert line, (await running.stderr.read()).decode()
                daemon.said += line
            yield daemon
        finally:
            # A worker outlives its keeper, and what was started may have ended.
            with contextlib.suppress(ProcessLookupError):
                kill_all(running)


def exists(pid: int) -> bool:
    """Say whether there is such a process that has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def gone(pid: int) -> None:
    """Wait until a process that is no child has ended."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            if not exists(pid):
                return
            await asyncio.sleep(0.01)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that are there."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descriptors(pid: int) -> int:
    """How many descriptors a process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 (their number is wanted)

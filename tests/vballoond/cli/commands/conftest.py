"""Commands in this very process, in a thread, against a daemon that answers what the test says."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from support.command import Outcome
from support.fake_daemon import FakeDaemon, fake_daemon

from vballoond.cli.main import main

Command = Callable[..., Awaitable[Outcome]]


@pytest.fixture
async def daemon() -> AsyncIterator[FakeDaemon]:
    async with fake_daemon() as fake:
        yield fake


@pytest.fixture
def command(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command to its end."""
    monkeypatch.setenv("VBALLOOND_API", daemon.api)
    monkeypatch.delenv("VBALLOOND_TOKEN_FILE", raising=False)
    monkeypatch.setenv("COLUMNS", "500")
    monkeypatch.setenv("TZ", "UTC")

    def status(*arguments: object) -> object:
        monkeypatch.setattr(sys, "argv", ["vballoond", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code

    async def run(*arguments: object) -> Outcome:
        code = await asyncio.to_thread(status, *arguments)
        return Outcome(code or 0, *capsys.readouterr())

    return run

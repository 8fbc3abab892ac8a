"""The daemon as a service: whoever starts it keeps what guests need, and decides what becomes of that."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.command import environment
from support.fake_systemd import FakeSystemd
from support.fleet_life import machine
from support.running_daemon import CONFIGURATION, PATIENCE_S, RunningDaemon

pytestmark = pytest.mark.long


@asynccontextmanager
async def service(directory: Path) -> AsyncIterator[tuple[FakeSystemd, RunningDaemon]]:
    """The daemon, ready, with room for the descriptors of some guests."""
    config = directory / "vballoond.toml"
    config.write_text(CONFIGURATION)
    command = [sys.executable, "-m", "vballoond", "serve", "--config", str(config)]
    async with FakeSystemd(directory / "notify", command, environment(), 100) as systemd:
        await systemd.start()
        await ready(systemd)
        assert systemd.process is not None
        yield systemd, RunningDaemon(systemd.process, directory)


async def ready(systemd: FakeSystemd) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await systemd.ready.wait()


async def test_it_has_no_keeper_of_its_own(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, daemon):
        assert await daemon.health() == {"pid": systemd.process.pid, "keeper_pid": None}
        assert set(systemd.names) == {"api", "at-run-time", "configuration", "vm1/listen"}


async def test_the_signal_that_ends_it_removes_nothing_and_no_guest_notices(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, daemon):
        running = await machine(tmp_path / "vm1.sock")
        inodes = [(tmp_path / name).stat().st_ino for name in ("api.sock", "vm1.sock")]
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            await running.inflate()
            before = systemd.process
            before.send_signal(number)
            await systemd.replaced()
            assert before.returncode == (0 if number is signal.SIGTERM else -signal.SIGKILL)
            await ready(systemd)
            await running.inflate()
            assert [(tmp_path / name).stat().st_ino for name in ("api.sock", "vm1.sock")] == inodes
        assert await daemon.ready() == (200, [])
        running.close()


async def test_a_restart_is_left_to_the_service_manager(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, daemon):
        running = await machine(tmp_path / "vm1.sock")
        before = systemd.process
        assert await daemon.ask("POST", "/v1/restart") == (202, {"pid": before.pid})
        await systemd.replaced()
        assert before.returncode == 0
        await ready(systemd)
        await running.inflate()
        assert (await daemon.health())["pid"] == systemd.process.pid
        running.close()


async def test_a_service_manager_that_is_gone_is_a_problem(tmp_path: Path) -> None:
    async with service(tmp_path) as (systemd, daemon):
        systemd.vanish()
        assert (await daemon.ask("POST", "/v1/reload"))[0] == 200
        status, problems = await daemon.ready()
        assert status == 503
        assert problems[0].startswith("whoever kept the descriptors is gone")
        systemd.process.terminate()
        await systemd.process.wait()
        assert not (tmp_path / "vm1.sock").exists()

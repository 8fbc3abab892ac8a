"""Commands on a real terminal, against a real daemon."""

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.command import run
from support.running_daemon import RunningDaemon, running_daemon
from support.terminal import terminal

pytestmark = pytest.mark.long

CONFIGURATION = """
[http]
listen = "unix:api.sock"

[[balloon]]
name = "demo"
transport = "in-process"
memory = "64MiB"

[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
memory = "64MiB"
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[RunningDaemon]:
    async with running_daemon(tmp_path, configuration=CONFIGURATION) as running:
        yield running


async def test_a_resize_is_seen_and_its_end_stays(daemon: RunningDaemon) -> None:
    async with terminal("set", "demo", "16MiB", "--wait", "60", "--api", daemon.api) as shown:
        await shown.until("demo: 16 MiB of 16 MiB, done; the guest takes ")
        assert await shown.ended() == 0


async def test_ctrl_c_ends_the_waiting_and_not_the_resize(daemon: RunningDaemon) -> None:
    async with terminal("set", "vm1", "16MiB", "--wait", "600", "--api", daemon.api) as shown:
        await shown.until("stalled: no driver: no guest with a balloon driver has connected")
        shown.type("\x03")
        assert await shown.ended() == 130
        await shown.until("interrupted; the resize of vm1 to 16 MiB goes on")
        assert "'vballoond set vm1 0MiB' stops it where it is" in shown.written
    assert (await daemon.balloon("vm1"))["target_bytes"] == 16 << 20


@pytest.mark.parametrize("keys", ["q", "\x03"], ids=["q", "Ctrl-C"])
async def test_all_balloons_are_watched_until_a_key_is_pressed(daemon: RunningDaemon, keys: str) -> None:
    async with terminal("watch", "--api", daemon.api) as shown:
        before = shown.settings()
        await shown.until("2 balloons")
        await run("set", "demo", "16MiB", "--wait", "60", "--api", daemon.api)
        await shown.until("16 MiB reached after")
        shown.type(keys)
        assert await shown.ended() == 0
        assert shown.raw.rstrip().endswith(("\x1b[?1049l", "\x1b[?1049l\x1b[?25h", "\x1b[?25h\x1b[?1049l"))
        assert shown.settings() == before


async def test_a_killed_worker_is_seen_and_overcome(daemon: RunningDaemon) -> None:
    async with terminal("watch", "demo", "--api", daemon.api) as shown:
        await shown.until("a cell is 64 KiB")
        os.kill((await daemon.health())["pid"], signal.SIGKILL)
        place = await shown.until("it is tried again")
        await shown.until("demo  in-process  ", place)
        shown.resize(100, 30)
        await shown.until("a cell is 32 KiB", place)
        shown.type("q")
        assert await shown.ended() == 0


async def test_without_colour_a_map_is_shades(daemon: RunningDaemon) -> None:
    async with terminal("watch", "demo", "--api", daemon.api, NO_COLOR="1") as shown:
        await shown.until("····················")
        assert not any(f"\x1b[{number}" in shown.raw for number in ("31m", "32m", "38;", "48;"))
        shown.type("q")
        assert await shown.ended() == 0


async def test_a_killed_watch_leaves_the_terminal_as_it_was(daemon: RunningDaemon) -> None:
    async with terminal("watch", "--api", daemon.api) as shown:
        before = shown.settings()
        await shown.until("2 balloons")
        shown.process.terminate()
        assert await shown.ended() == 128 + signal.SIGTERM
        assert "\x1b[?1049l" in shown.raw
        assert shown.settings() == before

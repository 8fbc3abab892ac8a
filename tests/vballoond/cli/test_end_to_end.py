"""Every command against ``vballoond serve`` as it runs anywhere."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.command import environment, run
from support.running_daemon import RunningDaemon, running_daemon

pytestmark = pytest.mark.long

CONFIGURATION = """
[http]
listen = "unix:api.sock"
max_inprocess_memory = "128MiB"
socket_directory = "."

[[balloon]]
name = "demo"
transport = "in-process"
memory = "64MiB"
stats_interval_s = 0.5
"""


async def done(daemon: RunningDaemon, *arguments: object) -> str:
    """Run a command that must succeed without a word on standard error; return what it printed."""
    outcome = await run(*arguments, "--api", daemon.api)
    assert (outcome.status, outcome.err) == (0, ""), arguments
    return outcome.out


async def test_a_balloon_comes_is_resized_is_looked_at_and_goes(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, configuration=CONFIGURATION) as daemon:
        assert "memory       32 MiB" in await done(daemon, "add", "vm1", "--memory", "32MiB", "--stats-interval", "0.5")
        assert "transport    vhost-user" in await done(daemon, "add", "vm2", "--socket", "vm2.sock")
        listed = await done(daemon, "list")
        assert [line.split()[0] for line in listed.splitlines()] == ["NAME", "demo", "vm1", "vm2"]

        lines = (await done(daemon, "set", "vm1", "8MiB", "--wait", "60")).splitlines()
        assert lines[0] == "vm1: to 8 MiB from 0 B, for 60 s at most"
        assert lines[-1].startswith("vm1: 8 MiB of 8 MiB, done")
        assert json.loads(await done(daemon, "set", "vm1", "4MiB", "--wait", "60", "--json"))["resize"]["done"] is True
        resizes = json.loads(await done(daemon, "resizes", "vm1", "--json"))["resizes"]
        assert [(resize["target_bytes"] >> 20, resize["outcome"]) for resize in resizes] == [(4, "done"), (8, "done")]
        assert [line.split()[-1] for line in (await done(daemon, "resizes", "vm1")).splitlines()[1:]] == ["done"] * 2

        assert "asked every 0.5 s" in await done(daemon, "statistics", "vm1", "--interval", "0.5")
        assert "free_memory" in await done(daemon, "statistics", "vm1")
        await done(daemon, "frames", "vm1", "--png", tmp_path / "vm1.png", "--scale", "16")
        with Image.open(tmp_path / "vm1.png") as picture:
            assert picture.size[0] * picture.size[1] >= 8192 / 16
        screen = await done(daemon, "watch", "vm1", "--once")
        assert "held" not in screen
        assert "no map" not in screen
        assert "a cell is" in screen
        assert "#2 done after" in screen

        told = await done(daemon, "events", "vm1", "--after", "other-1", "--count", "6", "--json")
        kinds = [json.loads(line)["event"] for line in told.splitlines()]
        assert kinds[0] == "events-lost"
        assert "balloon-added" in kinds

        assert await done(daemon, "remove", "vm1") == "vm1: removed\n"
        assert [line.split()[0] for line in (await done(daemon, "list")).splitlines()] == ["NAME", "demo", "vm2"]


async def test_what_cannot_be_added_is_refused_with_the_reason(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, configuration=CONFIGURATION) as daemon:
        for arguments, words in (
            (("demo", "--memory", "32MiB"), "demo"),
            (("vm1", "--memory", "1GiB"), "max_inprocess_memory"),
            (("vm1", "--socket", "/elsewhere/vm1.sock"), "is not directly in"),
            (("vm1", "--memory", "much"), "much"),
            (("vm1", "--memory", "32MiB", "--ring", "square"), "ring"),
        ):
            refused = await run("add", *arguments, "--api", daemon.api)
            assert (refused.status, refused.out) == (1, "")
            assert words in refused.err


async def test_a_reader_that_has_had_enough_is_no_error(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, configuration=CONFIGURATION) as daemon:
        command = f'"{sys.executable}" -m vballoond events --after x-1 --api {daemon.api} | head -n 1'
        shell = await asyncio.create_subprocess_shell(
            command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment()
        )
        out, err = await shell.communicate()
        assert (len(out.splitlines()), err) == (1, b"")

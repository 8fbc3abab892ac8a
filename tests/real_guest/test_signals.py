"""The daemon as a process of its own, ended while a real guest is connected; and what a second start finds."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.command import kill_all
from support.uml import UmlGuest

pytestmark = pytest.mark.real_guest

CONFIGURATION = """
[http]
listen = "unix:api.sock"
[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
"""


@asynccontextmanager
async def daemon(directory: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    (directory / "vm1.toml").write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "vballoond", "serve", "--config", str(directory / "vm1.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert b"vballoond serves 1 balloon(s): vm1" in await process.stdout.readline()
    try:
        yield process
    finally:
        if process.returncode is None:
            kill_all(process)
            await process.wait()
        process._transport.close()


async def command(directory: Path, *arguments: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "vballoond", *arguments, "--api", f"unix:{directory / 'api.sock'}"),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly_with_a_guest_connected(
    uml_initrd: Path, tmp_path: Path, number: signal.Signals
) -> None:
    async with daemon(tmp_path) as process, UmlGuest(uml_initrd, tmp_path / "uml", tmp_path / "vm1.sock") as guest:
        await guest.run("insmod /virtio_balloon.ko")
        assert "done" in await command(tmp_path, "set", "vm1", "32MiB", "--wait", "30")
        process.send_signal(number)
        _, errors = await process.communicate()
        assert process.returncode == 0
        assert b"Traceback" not in errors
        assert not (tmp_path / "vm1.sock").exists()
        assert not (tmp_path / "api.sock").exists()


async def test_after_a_kill_it_starts_again_on_the_same_sockets(uml_initrd: Path, tmp_path: Path) -> None:
    async with daemon(tmp_path) as process:
        kill_all(process)
        await process.wait()
    assert (tmp_path / "vm1.sock").exists()
    async with daemon(tmp_path), UmlGuest(uml_initrd, tmp_path / "uml", tmp_path / "vm1.sock") as guest:
        await guest.run("insmod /virtio_balloon.ko")
        assert "done" in await command(tmp_path, "set", "vm1", "32MiB", "--wait", "30")
        assert (await guest.vmstat())["balloon_inflate"] == 8192

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.command import Outcome, kill_all, outcome, process, run
from support.fake_front_end import RING_FEATURES, FakeFrontEnd, FakeGuest, qemu_connect, qemu_start
from support.logging_state import logging_as_before

from vballoond.cli.serve import run_daemon

pytestmark = pytest.mark.long

EXAMPLE = """
[http]
listen = "unix:api.sock"

[[balloon]]
name = "demo"
transport = "in-process"
memory = "16MiB"

[[balloon]]
name = "vm1"
transport = "vhost-user"
socket = "vm1.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "vballoond.toml"
    path.write_text(EXAMPLE)
    return path


@asynccontextmanager
async def serving(config: Path) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A daemon that has said that it serves, and what it said."""
    async with process("serve", "--config", config) as running:
        said = ""
        while "Ctrl-C" not in said:
            line = (await running.stdout.readline()).decode()
            assert line, (await running.stderr.read()).decode()
            said += line
        yield running, said


def log_of(ended: Outcome) -> list[dict[str, Any]]:
    """What was logged, every line of which is JSON."""
    return [json.loads(line) for line in ended.err.splitlines()]


def refused(ended: Outcome, status: int) -> str:
    """What is said of a start that failed, behind what was logged."""
    assert (ended.status, ended.out) == (status, "")
    log, start, said = ended.err.partition("vballoond: ")
    assert start
    assert {json.loads(line)["level"] for line in log.splitlines()} <= {"info"}
    return said


async def test_what_to_open_and_to_type_is_said(config: Path, tmp_path: Path) -> None:
    async with serving(config) as (_, said):
        api = f"unix:{tmp_path}/api.sock"
        lines = [line.strip() for line in said.splitlines()]
        assert lines[0] == "vballoond serves 2 balloon(s): demo, vm1"
        commands = [line.removeprefix("type").strip().split() for line in lines[1:-1]]
        assert commands == [
            ["vballoond", "set", "demo", "512MiB", "--wait", "30", "--api", api],
            ["vballoond", "show", "demo", "--api", api],
            ["vballoond", "frames", "demo", "--api", api],
        ]
        for command in commands[1:]:
            assert (await run(*command[1:])).status == 0


async def test_the_page_to_open_is_there(config: Path) -> None:
    config.write_text(EXAMPLE.replace("unix:api.sock", "127.0.0.1:0"))
    async with serving(config) as (_, said):
        page = next(line.split()[1] for line in said.splitlines() if line.split()[0] == "open")
        async with aiohttp.ClientSession() as session, session.get(page) as answer:
            assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_ends_it_cleanly(config: Path, tmp_path: Path, number: signal.Signals) -> None:
    async with serving(config) as (running, _):
        assert (tmp_path / "api.sock").is_socket()
        assert (tmp_path / "vm1.sock").is_socket()
        running.send_signal(number)
        ended = await outcome(running)
    assert ended.status == 0
    assert sorted(tmp_path.iterdir()) == [config]
    assert "ending on a signal" in [line["event"] for line in log_of(ended)]
    assert {line["level"] for line in log_of(ended)} == {"info"}


async def test_a_signal_ends_it_while_a_virtual_machine_is_connected(config: Path, tmp_path: Path) -> None:
    guest = FakeGuest()
    guest.add_queue(0)
    guest.add_queue(1)
    async with serving(config) as (running, _):
        vm = await FakeFrontEnd.connect(tmp_path / "vm1.sock", guest)
        await qemu_connect(vm)
        await qemu_start(vm, RING_FEATURES)
        running.send_signal(signal.SIGTERM)
        await vm.ended()
        ended = await outcome(running)
    vm.close()
    guest.close()
    assert ended.status == 0
    assert sorted(tmp_path.iterdir()) == [config]


async def test_a_signal_ends_it_while_somebody_waits_for_an_answer(config: Path, tmp_path: Path) -> None:
    connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
    async with (
        serving(config) as (running, _),
        aiohttp.ClientSession("http://localhost", connector=connector) as session,
    ):
        headers = {"Prefer": "wait=600"}
        asked = asyncio.create_task(
            session.patch("/v1/balloons/vm1", json={"target_mib": 1}, headers=headers).__aenter__()
        )
        while True:
            async with session.get("/v1/balloons/vm1") as answer:
                if (await answer.json())["resize"] is not None:
                    break
        running.send_signal(signal.SIGTERM)
        ended = await outcome(running)
        await asyncio.gather(asked, return_exceptions=True)
    assert ended.status == 0
    assert sorted(tmp_path.iterdir()) == [config]


async def test_a_second_daemon_on_the_same_configuration_does_not_disturb_the_first(config: Path, tmp_path) -> None:
    async with serving(config):
        said = refused(await run("serve", "--config", config), 1)
        assert f"{tmp_path}/api.sock is in use" in said
        assert (await run("list", "--api", f"unix:{tmp_path}/api.sock")).status == 0
        assert (tmp_path / "vm1.sock").is_socket()


async def test_sockets_that_a_dead_daemon_left_are_taken_over(config: Path, tmp_path: Path) -> None:
    async with serving(config) as (running, _):
        kill_all(running)
        await running.wait()
    assert (tmp_path / "vm1.sock").is_socket()
    async with serving(config) as (running, _):
        running.send_signal(signal.SIGTERM)
        assert (await outcome(running)).status == 0


async def test_a_port_that_is_taken_is_a_failure(config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config.write_text(EXAMPLE.replace("unix:api.sock", f"127.0.0.1:{port}"))
        said = refused(await run("serve", "--config", config), 1)
    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert sorted(tmp_path.iterdir()) == [config]


async def test_a_socket_that_is_taken_is_a_failure(config: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "vm1.sock"))
        other.listen()
        said = refused(await run("serve", "--config", config), 1)
    assert f"{tmp_path}/vm1.sock is in use" in said
    assert sorted(tmp_path.iterdir()) == [tmp_path / "vballoond.toml", tmp_path / "vm1.sock"]


@pytest.mark.parametrize("wrong", ['[http]\nlissten = "127.0.0.1:1"', None])
async def test_a_configuration_that_is_wrong_is_told_from_failure(config: Path, wrong: str | None) -> None:
    config.unlink()
    if wrong is not None:
        config.write_text(wrong)
    said = refused(await run("serve", "--config", config), 2)
    assert str(config) in said
    assert ("No such file or directory" if wrong is None else "http.lissten: unknown key") in said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (EXAMPLE.replace("16MiB", "lots"), "balloon[0].memory: 'lots' is not a size"),
        (EXAMPLE.replace('name = "vm1"\n', ""), "balloon[1].name: this key is missing"),
        ("[http", "is not TOML"),
    ],
)
def test_a_configuration_that_is_wrong_names_the_key_and_the_file(config, capsys, wrong: str, said: str) -> None:
    config.write_text(wrong)
    assert run_daemon(config, keeper=False) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("vballoond: ")
    assert said in complaint
    assert str(config) in complaint


@pytest.mark.parametrize(
    ("http", "said"),
    [
        ('listen = "8750"', "http.listen = '8750'"),
        ('listen = "0.0.0.0:0"', "set http.token_file"),
        ('token_file = "missing"', "cannot read http.token_file"),
    ],
)
def test_an_address_or_token_that_is_wrong_names_the_key(config: Path, capsys, http: str, said: str) -> None:
    config.write_text(EXAMPLE.replace('listen = "unix:api.sock"', http))
    with logging_as_before():
        assert run_daemon(config, keeper=False) == 2
    assert said in capsys.readouterr().err


async def test_a_group_that_is_not_there_is_a_failure(config: Path, tmp_path: Path) -> None:
    config.write_text(EXAMPLE + 'socket_group = "no-such-group"\n')
    assert "there is no group 'no-such-group'" in refused(await run("serve", "--config", config), 1)
    assert sorted(tmp_path.iterdir()) == [config]


async def test_the_log_level_is_honoured(config: Path) -> None:
    config.write_text(EXAMPLE + '[log]\nlevel = "error"\n')
    async with serving(config) as (running, _):
        running.send_signal(signal.SIGTERM)
        assert log_of(await outcome(running)) == []

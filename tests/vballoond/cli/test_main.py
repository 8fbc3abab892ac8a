import json
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from PIL import Image
from support.command import Outcome, run
from support.fact_log import FactLog

from protocol.balloon.queues import QueueRole
from vballoond.cli.main import main
from vballoond.config.models import BalloonSettings, HttpSettings, Settings
from vballoond.daemon import Daemon

MIB = 1 << 20


def settings(path: Path, **http: object) -> Settings:
    demo = BalloonSettings(name="demo", transport="in-process", memory="32MiB", stats_interval_s=0)
    vm1 = BalloonSettings(name="vm1", transport="vhost-user", socket=path / "vm1.sock", memory="64MiB")
    return Settings(http=HttpSettings(**{"listen": "127.0.0.1:0", **http}), balloon=(demo, vm1))


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[str]:
    """Where a daemon answers."""
    facts = FactLog()
    async with Daemon(settings(tmp_path), lambda name: facts if name == "demo" else None) as daemon:
        await facts.until_started(QueueRole.INFLATE)
        yield daemon.api_url


@pytest.fixture
def nobody() -> str:
    """Where nobody answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs a command in this very process, for what needs no daemon and none of its own."""

    def invoke(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["vballoond", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "500")
        with pytest.raises(SystemExit) as ended:
            main()
        return Outcome(ended.value.code, *capsys.readouterr())

    return invoke


async def test_balloons_are_listed_for_people_and_for_scripts(api: str) -> None:
    table = await run("list", "--api", api)
    assert (table.status, table.err) == (0, "")
    header, demo, vm1 = table.out.splitlines()
    assert header.split() == ["NAME", "STATE", "MEMORY", "TARGET", "ACTUAL", "RESIDENT", "RECLAIMED"]
    assert demo.split()[:4] == ["demo", "running", "32", "MiB"]
    assert vm1.split()[:3] == ["vm1", "waiting", "?"]

    listing = await run("list", "--api", api, "--json")
    assert (listing.status, listing.err) == (0, "")
    assert [balloon["name"] for balloon in json.loads(listing.out)["balloons"]] == ["demo", "vm1"]


async def test_one_balloon_is_shown_for_people_and_for_scripts(api: str) -> None:
    shown = await run("show", "demo", "--api", api)
    assert (shown.status, shown.err) == (0, "")
    lines = [line.split() for line in shown.out.splitlines()]
    assert lines[:4] == [["name", "demo"], ["transport", "in-process"], ["state", "running"], ["memory", "32", "MiB"]]

    shown = await run("show", "vm1", "--json", VBALLOOND_API=api)
    assert (shown.status, shown.err) == (0, "")
    assert json.loads(shown.out)["name"] == "vm1"


async def test_a_size_is_set_and_waited_for(api: str) -> None:
    done = await run("set", "demo", "8MiB", "--wait", 60, "--api", api)
    assert (done.status, done.err) == (0, "")
    begun, ended = done.out.splitlines()
    assert begun == "demo: to 8 MiB from 0 B, for 60 s at most"
    assert ended.startswith("demo: 8 MiB of 8 MiB, done; the guest takes ")

    done = await run("set", "demo", "6MiB", "--wait", 60, "--api", api, "--json")
    assert (done.status, done.err) == (0, "")
    balloon = json.loads(done.out)
    assert balloon["actual_bytes"] == balloon["target_bytes"] == 6 * MIB


async def test_a_size_is_set_without_waiting(api: str) -> None:
    begun = await run("set", "vm1", "8MiB", "--api", api)
    assert (begun.status, begun.err) == (0, "")
    assert begun.out == "vm1: 0 B of 8 MiB, no driver: no guest with a balloon driver has connected\n"


async def test_a_size_that_is_not_reached_in_time_is_a_failure(api: str) -> None:
    late = await run("set", "vm1", "8MiB", "--wait", 0, "--api", api)
    assert late.status == 1
    message, step = late.err.splitlines()
    assert message == (
        "vballoond: vm1 has not reached 8 MiB within 0 s: no driver: no guest with a balloon driver has connected"
    )
    assert step.startswith("  next: the target is kept until a driver comes")
    late = await run("set", "vm1", "8MiB", "--wait", 0, "--api", api, "--json")
    assert late.status == 1
    assert json.loads(late.out)["resize"]["done"] is False


async def test_a_size_beyond_the_memory_is_refused(api: str) -> None:
    refused = await run("set", "demo", "33MiB", "--api", api)
    assert (refused.status, refused.out) == (1, "")
    assert refused.err.startswith("vballoond: a target of 34603008 bytes is outside of 0 to 33554432")


async def test_a_size_that_is_none_is_wrong_usage_before_anybody_is_asked(nobody: str) -> None:
    wrong = await run("set", "demo", "much", "--api", nobody)
    assert (wrong.status, wrong.out) == (2, "")
    assert "write a number with KiB, MiB, GiB or TiB" in wrong.err


@pytest.mark.parametrize("size", ["512", "512MB", "-1MiB", "9" * 400 + "TiB"])
def test_only_a_number_with_a_unit_is_a_size(here, nobody: str, size: str) -> None:
    wrong = here("set", "--api", nobody, "--", "demo", size)
    assert (wrong.status, wrong.out) == (2, "")
    assert "write a number with KiB, MiB, GiB or TiB" in wrong.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "demo"],
        ["set", "demo", "1MiB", "--wait", "601"],
        ["set", "demo", "1MiB", "--wait", "-1"],
        ["set", "demo", "1MiB", "--wait", "soon"],
        ["show"],
        ["list", "--yaml"],
        ["inflate"],
    ],
)
def test_wrong_usage_is_told_from_failure(here, arguments: list[str]) -> None:
    wrong = here(*arguments)
    assert (wrong.status, wrong.out) == (2, "")
    assert "Usage: " in wrong.err


async def test_frames_are_shown_for_people_for_scripts_and_as_a_picture(api: str, tmp_path: Path) -> None:
    await run("set", "demo", "4MiB", "--wait", 60, "--api", api)
    shown = await run("frames", "demo", "--api", api)
    assert (shown.status, shown.err) == (0, "")
    first, header, *rows = shown.out.splitlines()
    assert first == "demo: 1024 of 8192 frames ballooned"
    assert header.split() == ["FIRST", "LAST", "FRAMES", "SIZE", "STATE"]
    assert sum(int(row.split()[2]) for row in rows) == 1024

    listing = json.loads((await run("frames", "demo", "--api", api, "--json")).out)
    assert [f"{part['first']:#x}" for part in listing["ranges"]] == [row.split()[0] for row in rows]

    picture = tmp_path / "frames.png"
    drawn = await run("frames", "demo", "--api", api, "--png", picture)
    assert (drawn.status, drawn.out, drawn.err) == (0, "", "")
    with Image.open(picture) as image:
        assert image.size == (512, 16)


async def test_a_picture_that_cannot_be_written_is_a_failure(api: str, tmp_path: Path) -> None:
    path = tmp_path / "missing" / "frames.png"
    failed = await run("frames", "demo", "--api", api, "--png", path)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err == f"vballoond: {path}: No such file or directory\n"


@pytest.mark.parametrize("arguments", [["show", "nobody"], ["set", "nobody", "1MiB"], ["frames", "no/body?"]])
async def test_a_balloon_that_is_not_there_is_a_failure(api: str, arguments: list[str]) -> None:
    failed = await run(*arguments, "--api", api)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err == f"vballoond: there is no balloon '{arguments[1]}'; there are: demo, vm1\n"


async def test_a_daemon_that_cannot_be_reached_is_a_failure(nobody: str) -> None:
    failed = await run("list", "--api", nobody)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.splitlines() == [
        f"vballoond: no vballoond answers at {nobody}: Connection refused",
        "  next: start it with 'vballoond serve', or name it with --api or VBALLOOND_API",
    ]


@pytest.mark.parametrize("arguments", [["show", "demo", "--json"], ["set", "demo", "1MiB"], ["frames", "demo"]])
def test_every_command_needs_a_daemon(here, nobody: str, arguments: list[str]) -> None:
    failed = here(*arguments, "--api", nobody)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.startswith(f"vballoond: no vballoond answers at {nobody}: ")


def test_a_unix_socket_that_is_not_there_is_a_failure(here, tmp_path: Path) -> None:
    failed = here("list", "--api", f"unix:{tmp_path}/api.sock")
    assert (failed.status, failed.out) == (1, "")
    assert "no vballoond answers at unix:" in failed.err


@pytest.mark.parametrize("where", ["", "127.0.0.1:8750", "http://", "http://127.0.0.1", "https://h:1", "http://h:x"])
def test_an_address_that_is_none_is_a_failure(here, where: str) -> None:
    failed = here("list", "--api", where)
    assert (failed.status, failed.out) == (1, "")
    assert "write http://HOST:PORT or unix:/path/to/api.sock" in failed.err


@pytest.mark.parametrize("body", ["<html>hello</html>", "[]", "{}"])
async def test_what_is_no_vballoond_is_a_failure(body: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        del request
        return web.Response(text=body)

    app = web.Application()
    app.router.add_get("/v1/balloons", answer)
    async with TestServer(app) as server:
        failed = await run("list", "--api", f"http://127.0.0.1:{server.port}")
    assert (failed.status, failed.out) == (1, "")
    assert "vballoond: " in failed.err


async def test_commands_speak_over_a_unix_socket_with_a_token(tmp_path: Path) -> None:
    token, api = tmp_path / "token", f"unix:{tmp_path}/api.sock"
    token.write_text("secret\n")
    async with Daemon(settings(tmp_path, listen=api, token_file=token)):
        refused = await run("list", "--api", api)
        assert (refused.status, refused.out) == (1, "")
        assert "bearer token" in refused.err
        listed = await run("list", "--api", api, "--token-file", token)
        assert (listed.status, listed.err) == (0, "")
        listed = await run("list", VBALLOOND_API=api, VBALLOOND_TOKEN_FILE=str(token))
        assert (listed.status, listed.err) == (0, "")


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"two\nlines"])
def test_a_token_file_that_holds_no_token_is_a_failure(here, nobody, tmp_path, content: bytes | None) -> None:
    token = tmp_path / "token"
    if content is not None:
        token.write_bytes(content)
    failed = here("list", "--api", nobody, "--token-file", token)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.startswith("vballoond: ")
    assert str(token) in failed.err


def test_a_token_that_no_header_can_hold_is_a_failure(here, nobody: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t\u014dken")
    failed = here("list", "--api", nobody, "--token-file", token)
    assert (failed.status, failed.out) == (1, "")
    assert failed.err.startswith("vballoond: ")

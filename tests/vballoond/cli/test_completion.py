import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from support.command import run
from support.fake_daemon import FakeDaemon, balloon, fake_daemon

from vballoond.cli.completion import complete_states
from vballoond.cli.main import main


@pytest.fixture
async def daemon() -> AsyncIterator[FakeDaemon]:
    async with fake_daemon() as fake:
        fake.says("GET", "/v1/balloons", {"balloons": [balloon(name) for name in ("demo", "vm1", "vm2")]})
        yield fake


@pytest.fixture
def complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], list[str]]:
    """What bash is offered for a line."""
    monkeypatch.delenv("VBALLOOND_TOKEN_FILE", raising=False)

    def complete(line: str) -> list[str]:
        words = line.split(" ")
        monkeypatch.setenv("_VBALLOOND_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        monkeypatch.setattr(sys, "argv", ["vballoond"])
        with pytest.raises(SystemExit):
            main()
        out, err = capsys.readouterr()
        assert err == ""
        return out.split()

    return complete


async def test_names_are_those_of_the_daemon_on_the_line(daemon: FakeDaemon, complete) -> None:
    assert await asyncio.to_thread(complete, f"vballoond show --api {daemon.api} vm") == ["vm1", "vm2"]
    assert await asyncio.to_thread(complete, f"vballoond watch --api {daemon.api} ") == ["demo", "vm1", "vm2"]


async def test_names_are_those_of_the_daemon_in_the_environment(
    daemon: FakeDaemon, complete, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    monkeypatch.setenv("VBALLOOND_API", daemon.api)
    monkeypatch.setenv("VBALLOOND_TOKEN_FILE", str(token))
    assert await asyncio.to_thread(complete, "vballoond set d") == ["demo"]
    assert daemon.headers[-1]["Authorization"] == "Bearer secret"


@pytest.mark.parametrize("answer", [{"balloons": 7}, {"balloons": [{}]}, {"balloons": [{"name": 7}]}, {}, []])
async def test_what_is_no_list_of_balloons_offers_nothing(daemon: FakeDaemon, complete, answer) -> None:
    daemon.says("GET", "/v1/balloons", answer)
    assert await asyncio.to_thread(complete, f"vballoond show --api {daemon.api} ") == []


@pytest.mark.parametrize("options", ["--api http://127.0.0.1:1", "--api nonsense", "--token-file /no/such/file"])
def test_whatever_goes_wrong_nothing_is_said(complete, options: str) -> None:
    assert complete(f"vballoond show {options} v") == []


def test_a_daemon_that_does_not_answer_is_not_waited_for(complete) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and says nothing
        assert complete(f"vballoond show --api http://127.0.0.1:{silent.getsockname()[1]} v") == []


def test_states_are_completed_one_after_the_other(complete) -> None:
    assert complete("vballoond frames vm1 --state is") == ["isolated"]
    assert complete_states("free,mo") == ["free,movable"]
    assert "free,free" not in complete_states("free,")
    assert complete_states("free,none") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_the_shell_is_told_how_to_ask(shell: str) -> None:
    shown = await run("--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert (shown.status, shown.err) == (0, "")
    assert "_COMPLETE" in shown.out

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
from vballoond.lab.simulation.shipped import shipped_host_scenarios
from vballoond.policy.builtin import BUILT_IN


@pytest.fixture
async def daemon() -> AsyncIterator[FakeDaemon]:
    async with fake_daemon() as fake:
        fake.says("GET", "/v1/balloons", {"balloons": [balloon(name) for name in ("demo", "vm1", "vm2")]})
        fake.says("GET", "/v1/policy", {"available": [{"name": name} for name in ("psi", "shares", "static")]})
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


@pytest.mark.parametrize("command", ["set", "shadow", "plan"])
async def test_policies_are_those_of_the_daemon(daemon: FakeDaemon, complete, command: str) -> None:
    line = f"vballoond policy {command} --api {daemon.api}"
    assert await asyncio.to_thread(complete, f"{line} s") == ["shares", "static"]
    assert await asyncio.to_thread(complete, f"{line} x") == []


async def test_the_log_of_policies_is_of_a_balloon(daemon: FakeDaemon, complete) -> None:
    assert await asyncio.to_thread(complete, f"vballoond policy log --api {daemon.api} vm") == ["vm1", "vm2"]


@pytest.mark.parametrize("answer", [{"available": None}, {"available": [{}]}, {"balloons": []}, []])
async def test_what_is_no_list_of_policies_offers_nothing(daemon: FakeDaemon, complete, answer) -> None:
    daemon.says("GET", "/v1/policy", answer)
    assert await asyncio.to_thread(complete, f"vballoond policy set --api {daemon.api} ") == []


def test_of_policies_too_nothing_is_said_where_no_daemon_answers(complete) -> None:
    assert complete("vballoond policy set --api http://127.0.0.1:1 p") == []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert complete(f"vballoond policy plan --api http://127.0.0.1:{silent.getsockname()[1]} p") == []


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory with files that are policies, scenarios, and something else."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hosts").mkdir()
    names = ("mine.py", "mine.toml", "live.jsonl", "mine.txt", ".hidden.py", "hosts/large.toml", "hosts/large.py")
    for name in names:
        (tmp_path / name).touch()


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("command", ["simulate", "sweep"])
def test_what_is_simulated_is_completed_without_a_daemon(complete, command: str) -> None:
    built_in, shipped = [policy.name for policy in BUILT_IN], sorted(shipped_host_scenarios())
    assert complete(f"vballoond {command} --policy ") == [*built_in, "hosts/", "mine.py"]
    assert complete(f"vballoond {command} --policy psi --policy w") == ["watermark"]
    assert complete(f"vballoond {command} --scenario mor") == ["morning"]
    views = ["live.jsonl"] if command == "simulate" else []
    assert complete(f"vballoond {command} --scenario ") == [*shipped, "hosts/", *views, "mine.toml"]
    assert complete(f"vballoond {command} --scenario hosts/l") == ["hosts/large.toml"]
    assert complete(f"vballoond {command} --scenario /no/such/") == []


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

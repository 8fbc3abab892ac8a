"""The daemon as a process: what survives the death of its worker, of its keeper, and a restart."""

import asyncio
import json
import os
import pty
import signal
import sys
from pathlib import Path

import pytest
from support.command import environment, kill_all, outcome, process, run
from support.fleet_life import Machine, machine
from support.running_daemon import CONFIGURATION, PATIENCE_S, RunningDaemon, children, exists, gone, running_daemon

pytestmark = pytest.mark.long

MIB = 1 << 20
SECOND = """
[[balloon]]
name = "vm2"
transport = "vhost-user"
socket = "vm2.sock"
"""


async def set_target(daemon: RunningDaemon, mib: int) -> None:
    status, _ = await daemon.ask("PATCH", "/v1/balloons/vm1", json={"target_mib": mib})
    assert status == 202


async def ended_cleanly(daemon: RunningDaemon) -> None:
    """End it with SIGTERM, and see that nothing is left but what is to be."""
    daemon.process.terminate()
    ended = await outcome(daemon.process)
    assert ended.status == 0
    assert sorted(path.name for path in daemon.directory.iterdir()) == ["state", "vballoond.toml"]


async def test_a_worker_that_is_killed_is_replaced_and_no_guest_notices(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        before = await daemon.health()
        assert before["keeper_pid"] == daemon.process.pid
        assert children(daemon.process.pid) == [before["pid"]]
        await set_target(daemon, 3)
        inodes = [(tmp_path / name).stat().st_ino for name in ("api.sock", "vm1.sock")]
        running = await machine(tmp_path / "vm1.sock")
        for _ in range(3):
            await running.inflate()
            os.kill(before["pid"], signal.SIGKILL)
            await running.inflate()
            await daemon.successor_of(before["pid"])
            after = await daemon.health()
            assert after["keeper_pid"] == before["keeper_pid"]
            assert [(tmp_path / name).stat().st_ino for name in ("api.sock", "vm1.sock")] == inodes
            before = after
        balloon = await daemon.balloon("vm1")
        assert (balloon["target_bytes"], balloon["held_frames"], balloon["state"]) == (3 * MIB, 6, "running")
        assert await daemon.ready() == (200, [])
        running.close()
        os.kill(before["pid"], signal.SIGKILL)
        await daemon.successor_of(before["pid"])
        assert (await daemon.balloon("vm1"))["target_bytes"] == 3 * MIB
        await ended_cleanly(daemon)


async def test_what_is_set_outlives_everything(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        await set_target(daemon, 3)
        kill_all(daemon.process)
    async with running_daemon(tmp_path) as daemon:
        assert (await daemon.balloon("vm1"))["target_bytes"] == 3 * MIB
        await ended_cleanly(daemon)


async def test_a_hangup_signal_reloads(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        (tmp_path / "vballoond.toml").write_text(CONFIGURATION + SECOND)
        daemon.process.send_signal(signal.SIGHUP)
        assert (await daemon.until_logged("reloaded"))["what"] == ["balloon 'vm2' added"]
        assert (tmp_path / "vm2.sock").is_socket()
        (tmp_path / "vballoond.toml").write_text("[nonsense]")
        daemon.process.send_signal(signal.SIGHUP)
        assert "nonsense: unknown key" in (await daemon.until_logged("configuration not reloaded"))["reason"]
        assert (await daemon.balloon("vm2"))["state"] == "waiting"
        await ended_cleanly(daemon)


async def test_reload_says_what_it_did(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        assert (await run("reload", "--api", daemon.api)).out == "nothing has changed\n"
        (tmp_path / "vballoond.toml").write_text(CONFIGURATION + SECOND)
        assert (await run("reload", "--api", daemon.api)).out == "balloon 'vm2' added\n"
        (tmp_path / "vballoond.toml").write_text(CONFIGURATION)
        done = await run("reload", "--json", "--api", daemon.api)
        assert json.loads(done.out) == {"done": ["balloon 'vm2' removed"]}
        (tmp_path / "vballoond.toml").write_text("[nonsense]")
        refused = await run("reload", "--api", daemon.api)
        assert (refused.status, refused.out) == (1, "")
        assert "nothing was changed" in refused.err
        assert "nonsense: unknown key" in refused.err
        await ended_cleanly(daemon)


async def test_restart_brings_another_process_under_load_and_no_guest_notices(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        before = await daemon.health()
        running = await machine(tmp_path / "vm1.sock")
        done = asyncio.Event()
        load = [asyncio.create_task(_asking(daemon, done)) for _ in range(8)]
        inflating = asyncio.create_task(_inflating(running, done))
        for _ in range(3):
            restarted = await run("restart", "--json", "--api", daemon.api)
            assert restarted.status == 0, restarted.err
            pids = json.loads(restarted.out)
            assert pids["before"] == before["pid"]
            before = await daemon.health()
            assert before["pid"] == pids["pid"] != pids["before"]
        done.set()
        answers = await asyncio.gather(*load)
        held = await inflating
        assert all(answers)
        assert (await daemon.balloon("vm1"))["held_frames"] == held > 0
        assert before["keeper_pid"] == daemon.process.pid
        said = (await run("restart", "--api", daemon.api)).out
        assert said == f"process {(await daemon.health())['pid']} serves in the place of {before['pid']}\n"
        running.close()
        await ended_cleanly(daemon)


async def _asking(daemon: RunningDaemon, done: asyncio.Event) -> int:
    answers = 0
    while not done.is_set():
        await daemon.health()
        answers += 1
    return answers


async def _inflating(running: Machine, done: asyncio.Event) -> int:
    held = 0
    while not done.is_set() and held < 2000:
        await running.inflate()
        held += 1
    return held


async def test_a_configuration_that_became_wrong_stops_no_restart(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        running = await machine(tmp_path / "vm1.sock")
        (tmp_path / "vballoond.toml").write_text("[nonsense]")
        assert (await run("restart", "--api", daemon.api)).status == 0
        await running.inflate()
        status, problems = await daemon.ready()
        assert (status, len(problems)) == (503, 1)
        assert problems[0].startswith("the configuration is wrong, so the one of before counts")
        pid = (await daemon.health())["pid"]
        os.kill(pid, signal.SIGKILL)
        await daemon.successor_of(pid)
        assert (await daemon.ready())[0] == 503
        (tmp_path / "vballoond.toml").write_text(CONFIGURATION + SECOND)
        assert (await run("reload", "--api", daemon.api)).out == "balloon 'vm2' added\n"
        assert await daemon.ready() == (200, [])
        await running.inflate()
        running.close()
        await ended_cleanly(daemon)


async def test_a_balloon_that_cannot_be_had_again_stops_no_restart(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, configuration=CONFIGURATION + SECOND) as daemon:
        running = await machine(tmp_path / "vm1.sock")
        (tmp_path / "vm2.sock").unlink()
        (tmp_path / "vm2.sock").write_text("in the way")
        (tmp_path / "vm1.sock").unlink()
        (tmp_path / "vm1.sock").mkdir()
        assert (await run("restart", "--api", daemon.api)).status == 0
        await running.inflate()
        said = "2 balloon(s) are not there or cannot be connected to; the log says why"
        assert await daemon.ready() == (503, [said])
        (tmp_path / "vm2.sock").unlink()
        (tmp_path / "vm1.sock").rmdir()
        reloaded = await run("reload", "--api", daemon.api)
        assert reloaded.out == "balloon 'vm2' added\nballoon 'vm1' can be connected to again\n"
        assert await daemon.ready() == (200, [])
        running.close()
        await ended_cleanly(daemon)


async def test_an_api_that_cannot_be_had_again_stops_no_guest(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        pid = (await daemon.health())["pid"]
        running = await machine(tmp_path / "vm1.sock")
        (tmp_path / "api.sock").unlink()
        (tmp_path / "api.sock").write_text("in the way")
        os.kill(pid, signal.SIGKILL)
        await daemon.until_logged("the API is not served; a reload tries again")
        await running.inflate()
        await daemon.until_logged("serving")
        (tmp_path / "api.sock").unlink()
        daemon.process.send_signal(signal.SIGHUP)
        assert (await daemon.until_logged("reloaded"))["what"] == [f"the API is served at {daemon.api}"]
        assert (await daemon.health())["pid"] != pid
        running.close()
        await ended_cleanly(daemon)


async def test_a_state_directory_that_is_gone_stops_no_restart(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        running = await machine(tmp_path / "vm1.sock")
        (tmp_path / "state").rename(tmp_path / "aside")
        (tmp_path / "state").write_text("in the way")
        assert (await run("restart", "--api", daemon.api)).status == 0
        await running.inflate()
        assert await daemon.ready() == (503, ["what is set now is not kept on disk; the log says why"])
        (tmp_path / "state").unlink()
        (tmp_path / "aside").rename(tmp_path / "state")
        await set_target(daemon, 2)
        assert await daemon.ready() == (200, [])
        running.close()
        await ended_cleanly(daemon)


async def test_without_a_keeper_a_restart_is_refused(tmp_path: Path) -> None:
    async with running_daemon(tmp_path, "--no-keeper") as daemon:
        assert await daemon.health() == {"pid": daemon.process.pid, "keeper_pid": None}
        status, problem = await daemon.ask("POST", "/v1/restart")
        assert (status, problem["code"]) == (409, "no-keeper")
        refused = await run("restart", "--api", daemon.api)
        assert (refused.status, refused.out) == (1, "")
        assert "there is no keeper or service manager" in refused.err
        assert await daemon.ready() == (200, [])
        assert await daemon.health() == {"pid": daemon.process.pid, "keeper_pid": None}
        await ended_cleanly(daemon)


async def test_a_worker_whose_keeper_is_killed_serves_on_and_says_so(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        pid = (await daemon.health())["pid"]
        running = await machine(tmp_path / "vm1.sock")
        daemon.process.kill()
        await gone(daemon.process.pid)
        await running.inflate()
        status, problems = await daemon.ready()
        assert (status, len(problems)) == (503, 1)
        assert problems[0].startswith("whoever kept the descriptors is gone")
        status, problem = await daemon.ask("POST", "/v1/restart")
        assert (status, problem["code"]) == (409, "no-keeper")
        assert (await daemon.health())["pid"] == pid
        await set_target(daemon, 2)
        await running.inflate()
        running.close()
        os.kill(pid, signal.SIGTERM)
        await gone(pid)
        assert not (tmp_path / "vm1.sock").exists()


async def test_a_second_start_is_refused_while_the_first_runs(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as daemon:
        second = await run("serve", "--config", tmp_path / "vballoond.toml")
        assert second.status == 1
        assert "api.sock is in use" in second.err
        (tmp_path / "other.toml").write_text(CONFIGURATION.replace("api.sock", "other.sock"))
        second = await run("serve", "--config", tmp_path / "other.toml")
        assert second.status == 1
        assert "state is in use by another vballoond" in second.err
        (tmp_path / "other.toml").unlink()
        assert (await run("list", "--api", daemon.api)).status == 0
        await ended_cleanly(daemon)


@pytest.mark.parametrize("options", [[], ["--no-keeper"]], ids=["keeper", "no keeper"])
async def test_ctrl_c_in_a_terminal_ends_it_without_a_traceback(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "vballoond.toml").write_text(CONFIGURATION)
    ours, theirs = pty.openpty()
    program = "import os, pty, sys; os.login_tty(0); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program, "-m", "vballoond", "serve", "--config", str(tmp_path / "vballoond.toml")),
        *options,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(),
    )
    os.close(theirs)
    terminal = _Terminal(ours)
    try:
        await terminal.until(b"Ctrl-C")
        await terminal.until(b"serving")
        workers = children(running.pid)
        os.write(ours, b"\x03")
        async with asyncio.timeout(PATIENCE_S):
            assert await running.wait() == 0
        assert not any(map(exists, workers))
        assert b"Traceback" not in terminal.seen
        assert not (tmp_path / "vm1.sock").exists()
    finally:
        terminal.close()
        if running.returncode is None:
            kill_all(running)
            await running.wait()


class _Terminal:
    """What is shown on a terminal."""

    def __init__(self, fd: int) -> None:
        self.seen = b""
        self._fd = fd
        self._shown = asyncio.Event()
        os.set_blocking(fd, False)
        asyncio.get_running_loop().add_reader(fd, self._read)

    def _read(self) -> None:
        try:
            self.seen += os.read(self._fd, 1 << 16)
        except OSError:  # nobody has the other end any more
            asyncio.get_running_loop().remove_reader(self._fd)
        self._shown.set()

    async def until(self, text: bytes) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while text not in self.seen:
                self._shown.clear()
                await self._shown.wait()

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)


async def test_an_interrupt_before_it_serves_ends_it(tmp_path: Path) -> None:
    (tmp_path / "vballoond.toml").write_text(CONFIGURATION)
    async with process("serve", "--config", tmp_path / "vballoond.toml") as running:
        running.terminate()
        async with asyncio.timeout(PATIENCE_S):
            assert await running.wait() != 0
    assert not (tmp_path / "vm1.sock").exists()

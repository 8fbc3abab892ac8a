"""The keeper alone. What it does for a worker, as systemd does, is shown in test_holder.py."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.worker_control import KEEPER, SCRIPT, KeeperProcess, Worker, Workers, keeper, killed_and_replaced

from vballoond.keeper import Backoff, DescriptorStore, parse_message, same_file, valid_name

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[2]
HOUR_LONG = f"""
import sys
from vballoond.keeper import Backoff, Keeper
class HourLong(Backoff):
    def next_s(self, ready_s):
        return 3600.0
sys.exit(Keeper({SCRIPT}, HourLong()).run())
"""


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    async with Workers(tmp_path / "control") as workers:
        yield workers


def is_open(fd: int) -> bool:
    return Path(f"/proc/self/fd/{fd}").exists()


def eventfd(value: int = 0) -> int:
    return os.eventfd(value, os.EFD_NONBLOCK | os.EFD_CLOEXEC)


@pytest.fixture
def store() -> Iterator[DescriptorStore]:
    store = DescriptorStore(1000)
    yield store
    for name in set(store.names):
        store.remove(name)


# Messages


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"FDSTORE=1\nFDNAME=a b\nFDPOLL=0", {"FDSTORE": "1", "FDNAME": "a b", "FDPOLL": "0"}),
        (b"READY=1\n", {"READY": "1"}),
        (b"STATUS=a=b", {"STATUS": "a=b"}),
        (b"FDNAME=first\nFDNAME=second", {"FDNAME": "first"}),
        (b"FDNAME=", {"FDNAME": ""}),
        (b"", {}),
        (b"no assignment", {}),
        (b"READY=1\n\xff", {}),
    ],
)
def test_a_message_is_its_assignments(data: bytes, message: dict[str, str]) -> None:
    assert parse_message(data) == message


@given(st.binary())
def test_any_bytes_are_a_message(data: bytes) -> None:
    assert all("\n" not in key + value for key, value in parse_message(data).items())


@pytest.mark.parametrize("name", ["a", "vm1 kick 0", "~", "a" * 255])
def test_a_name_is_printable(name: str) -> None:
    assert valid_name(name)


@pytest.mark.parametrize("name", ["", "a:b", "a\n", "a\0", "\x7f", "é", "a" * 256])
def test_what_cannot_be_listed_is_no_name(name: str) -> None:
    assert not valid_name(name)


# The store


def test_a_store_has_descriptors_in_the_order_in_which_they_came(store: DescriptorStore) -> None:
    fds = [eventfd() for _ in range(20)]
    for number, fd in enumerate(fds):
        assert store.add(str(number), fd)
    assert store.names == [str(number) for number in range(20)]
    assert store.fds == fds


def test_removing_closes_all_of_a_name(store: DescriptorStore) -> None:
    fds = [eventfd() for _ in range(3)]
    for name, fd in zip(["a", "b", "a"], fds, strict=True):
        store.add(name, fd)
    store.remove("a")
    store.remove("never there")
    assert (store.names, store.fds) == (["b"], fds[1:2])
    assert [is_open(fd) for fd in fds] == [False, True, False]


def test_an_open_file_is_stored_once_however_many_there_are(store: DescriptorStore) -> None:
    fds = [eventfd() for _ in range(50)]
    for fd in fds:
        store.add("first", fd)
    for fd in fds:
        duplicate = os.dup(fd)
        assert store.add("second", duplicate)
        assert not is_open(duplicate)
    assert store.names == ["first"] * 50


def test_an_open_file_can_be_stored_again_when_it_was_removed(store: DescriptorStore) -> None:
    fd = eventfd()
    store.add("first", os.dup(fd))
    store.remove("first")
    store.add("second", fd)
    assert store.names == ["second"]


def test_a_full_store_closes_what_comes() -> None:
    store = DescriptorStore(1)
    kept, refused = eventfd(), eventfd()
    assert store.add("kept", kept)
    assert not store.add("refused", refused)
    assert not is_open(refused)
    assert store.add("a duplicate needs no room", os.dup(kept))
    store.remove("kept")
    assert store.add("there is room again", eventfd())
    store.remove("there is room again")


def test_a_store_is_full_when_its_names_no_longer_fit_into_an_environment(store: DescriptorStore) -> None:
    while store.add("n" * 255, eventfd()):
        pass
    listed = {"LISTEN_FDNAMES": ":".join(store.names)}
    assert len(listed["LISTEN_FDNAMES"]) > 120_000
    subprocess.run(["true"], env=os.environ | listed, check=True)


def test_what_cannot_be_compared_is_kept(store: DescriptorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vballoond.keeper.store._syscall", lambda *_: -1)
    fds = [eventfd() for _ in range(10)]
    fds.append(os.dup(fds[0]))
    for fd in fds:
        assert store.add(str(fd), fd)
    assert store.fds == fds


def test_two_descriptors_of_one_open_file_are_told_from_two_of_one_path(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as first, (tmp_path / "file").open("w") as second:
        duplicate = os.dup(first.fileno())
        assert same_file(first.fileno(), duplicate)
        assert not same_file(first.fileno(), second.fileno())
        os.close(duplicate)
        assert not same_file(first.fileno(), duplicate)


# Back-off


def test_the_first_restart_is_at_once_and_the_next_ones_ever_later() -> None:
    backoff = Backoff()
    assert [backoff.next_s(0) for _ in range(9)] == [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]


def test_a_worker_that_was_ready_for_ten_seconds_makes_up_for_all_before() -> None:
    backoff = Backoff()
    for ready_s in (0, 0, 9.9):
        backoff.next_s(ready_s)
    assert [backoff.next_s(ready_s) for ready_s in (9.9, 10, 9.9)] == [0.4, 0, 0.1]


# The process


def test_it_stands_alone_on_the_standard_library() -> None:
    program = "import sys, vballoond.keeper; print(*{name.partition('.')[0] for name in sys.modules})"
    said = subprocess.run([sys.executable, "-S", "-E", "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert set(said.stdout.decode().split()) - sys.stdlib_module_names == {"__main__", "vballoond", "protocol"}


def test_it_uses_nothing_of_the_daemon() -> None:
    program = "import sys, vballoond.keeper; print(*[name for name in sys.modules if name.startswith('vballoond')])"
    said = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    assert {name for name in said.stdout.decode().split() if not name.startswith("vballoond.keeper")} == {"vballoond"}


@pytest.mark.parametrize("arguments", [[], ["true"], ["--"]])
def test_a_command_is_needed(arguments: list[str]) -> None:
    said = subprocess.run([*KEEPER[:-1], *arguments], cwd=ROOT, capture_output=True, check=False)
    assert (said.returncode, said.stdout) == (2, b"")
    assert said.stderr == b"vballoond keeper: usage: python -m vballoond.keeper -- COMMAND...\n"


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 2", 2), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
async def test_a_failed_start_is_passed_through(workers: Workers, script: str, status: int) -> None:
    async with keeper(workers, "sh", "-c", script) as running:
        assert await running.status() == status
        assert await running.line() == ""


async def test_a_command_that_cannot_be_run_is_a_failed_start(workers: Workers) -> None:
    async with keeper(workers, "/nonexistent/worker") as running:
        assert await running.status() == 127
        assert await running.line() == "cannot run /nonexistent/worker: No such file or directory"


async def test_a_worker_knows_its_keeper_and_has_inherited_nothing(workers: Workers) -> None:
    stale = ["env", "LISTEN_PID=1", "LISTEN_FDS=1", "LISTEN_FDNAMES=stale"]
    async with keeper(workers, launch=[*stale, *KEEPER]) as running:
        worker = await workers.next()
        assert worker.names == []
        address = worker.environ.pop("NOTIFY_SOCKET")
        assert address.startswith("@vballoond-keeper-")
        assert int(worker.environ.pop("FDSTORE")) >= 100
        assert worker.environ == {"VBALLOOND_KEEPER_PID": str(running.process.pid)}
    async with keeper(workers):
        assert (await workers.next()).environ["NOTIFY_SOCKET"] != address


def _ignore_and_block() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1})


async def test_a_worker_has_the_default_signals_whatever_the_keeper_was_started_with(workers: Workers) -> None:
    command = ("sed", "-n", "s/^Sig\\(Blk\\|Ign\\|Cgt\\):\t/0x/p", "/proc/self/status")
    pipe = subprocess.PIPE
    async with keeper(workers, *command, preexec_fn=_ignore_and_block, stdout=pipe) as running:
        masks = [int(mask, 16) for mask in (await running.process.stdout.read()).split()]
        # 32 and 33 are the C library's own: no program can change what it inherited of them.
        of_the_library = 1 << 31 | 1 << 32
        assert [mask & ~of_the_library for mask in masks] == [0, 0, 0]
        assert await running.status() == 0


async def test_a_worker_has_no_descriptors_but_its_own(workers: Workers) -> None:
    stray = eventfd()
    command = (sys.executable, "-S", "-E", "-c", "import os; print(*os.listdir('/proc/self/fd'))")
    async with keeper(workers, *command, pass_fds=[stray], stdout=subprocess.PIPE) as running:
        assert (await running.process.stdout.read()).decode().split() == ["0", "1", "2", "3"]  # 3 is the directory
    os.close(stray)


async def test_an_end_that_nobody_asked_for_is_followed_by_a_new_worker(workers: Workers) -> None:
    async with keeper(workers) as running:
        worker = await workers.next()
        await worker.ask("ready")
        worker.tell("exit", 0)
        worker = await workers.next()
        assert await running.line() == "the worker ended with status 0; the next one starts now"
        worker.tell("exit", 3)  # before it was ready
        worker = await workers.next()
        assert await running.line() == "the worker ended with status 3; the next one starts in 0.1 s"
        worker = await killed_and_replaced(running, workers, worker)
        assert await running.line() == "signal 9 ended the worker; the next one starts in 0.2 s"


async def test_the_back_off_knows_how_long_a_worker_was_ready(workers: Workers) -> None:
    program = f"""
import sys
from vballoond.keeper import Backoff, Keeper
class Telling(Backoff):
    def next_s(self, ready_s):
        print("it was ready" if ready_s > 0 else "it was not ready", file=sys.stderr)
        return 0
sys.exit(Keeper({SCRIPT}, Telling()).run())
"""
    async with keeper(workers, launch=[sys.executable, "-c", program]) as running:
        worker = await workers.next()
        await worker.ask("ready")
        worker = await killed_and_replaced(running, workers, worker)
        assert await running.line() == "it was ready"
        await running.line()
        await killed_and_replaced(running, workers, worker)
        assert await running.line() == "it was not ready"


async def test_a_command_that_is_gone_is_tried_again(workers: Workers, tmp_path: Path) -> None:
    command = tmp_path / "worker"
    command.write_text(f"#!/bin/sh\nexec {' '.join(SCRIPT)}\n")
    command.chmod(0o700)
    async with keeper(workers, str(command)) as running:
        worker = await workers.next()
        await worker.ask("ready")
        gone = command.rename(tmp_path / "gone")
        worker.tell("exit", 0)
        assert await running.line() == "the worker ended with status 0; the next one starts now"
        assert await running.line() == f"cannot run {command}: No such file or directory"
        assert await running.line() == "the worker ended with status 127; the next one starts in 0.1 s"
        gone.rename(command)
        await workers.next()


async def test_a_keeper_that_cannot_fork_tries_again(workers: Workers) -> None:
    program = f"""
import errno, os, sys
from vballoond.keeper import Backoff, Keeper
fork, failures = os.fork, [errno.EAGAIN, errno.ENOMEM]
def failing_fork():
    if failures:
        raise OSError(failures[0], os.strerror(failures.pop(0)))
    return fork()
os.fork = failing_fork
sys.exit(Keeper({SCRIPT}, Backoff()).run())
"""
    async with keeper(workers, launch=[sys.executable, "-c", program]) as running:
        await workers.next()
        tried = "the worker cannot be started: {}; the next one starts {}"
        assert await running.line() == tried.format("Resource temporarily unavailable", "now")
        assert await running.line() == tried.format("Cannot allocate memory", "in 0.1 s")


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 7), (signal.SIGINT, 0)])
async def test_a_keeper_that_is_asked_to_end_ends_as_its_worker_does(
    workers: Workers, number: int, status: int
) -> None:
    async with keeper(workers) as running:
        worker = await workers.next()
        await worker.ask("ready")
        await worker.ask("catch", [number])
        running.process.send_signal(number)
        assert await worker.ask("caught") == number
        worker.tell("exit", status)
        assert await running.status() == status
        assert await running.line() == ""


async def test_a_worker_that_dies_of_the_signal_to_end_ends_the_keeper(workers: Workers) -> None:
    async with keeper(workers) as running:
        await (await workers.next()).ask("ready")
        running.process.terminate()
        assert await running.status() == 128 + signal.SIGTERM


async def test_other_signals_are_passed_on(workers: Workers) -> None:
    async with keeper(workers) as running:
        worker = await workers.next()
        await worker.ask("ready")
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            await worker.ask("catch", [number])
            running.process.send_signal(number)
            assert await worker.ask("caught") == number
        await killed_and_replaced(running, workers, worker)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_a_back_off_at_once(workers: Workers, number: int) -> None:
    async with keeper(workers, launch=[sys.executable, "-c", HOUR_LONG]) as running:
        worker = await workers.next()
        await worker.ask("ready")
        worker.tell("exit", 0)
        assert await running.line() == "the worker ended with status 0; the next one starts in 3600 s"
        running.process.send_signal(number)
        assert await running.status() == 128 + number


async def test_a_signal_that_is_not_to_end_leaves_a_back_off_as_it_is(workers: Workers) -> None:
    async with keeper(workers, launch=[sys.executable, "-c", HOUR_LONG]) as running:
        worker = await workers.next()
        await worker.ask("ready")
        worker.tell("exit", 0)
        await running.line()
        running.process.send_signal(signal.SIGHUP)
        running.process.send_signal(signal.SIGUSR1)
        running.process.send_signal(signal.SIGTERM)
        assert await running.status() == 128 + signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_between_fork_and_exec_is_not_lost(workers: Workers, number: int) -> None:
    """The keeper gets it when it has forked, and its copy waits until the signal, passed on, has come to it."""
    program = f"""
import os, signal, sys
from vballoond.keeper import Backoff, Keeper
fork = os.fork
def slow_fork():
    pid = fork()
    if pid:
        os.kill(os.getpid(), {int(number)})
    while not pid and {int(number)} not in signal.sigpending():
        pass
    return pid
os.fork = slow_fork
sys.exit(Keeper(["sleep", "infinity"], Backoff()).run())
"""
    async with keeper(workers, launch=[sys.executable, "-c", program]) as running:
        assert await running.status() == 128 + number


async def test_a_keeper_whose_words_nobody_hears_goes_on(workers: Workers) -> None:
    reader, writer = os.pipe()
    async with keeper(workers, stderr=writer) as running:
        os.close(writer)
        worker = await workers.next()
        await worker.ask("ready")
        os.close(reader)
        await killed_and_replaced(running, workers, worker)


async def test_a_keeper_whose_words_nobody_reads_goes_on(workers: Workers) -> None:
    reader, writer = os.pipe()
    async with keeper(workers, stderr=writer) as running:
        worker = await workers.next()
        await worker.ask("ready")
        os.write(writer, b"x" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ))
        await killed_and_replaced(running, workers, worker)
    os.close(reader)
    os.close(writer)


async def test_a_keeper_without_standard_streams_keeps_a_worker(workers: Workers) -> None:
    launch = ["sh", "-c", 'ulimit -n 66; exec "$@" <&- >&- 2>&-', "sh", *KEEPER]
    async with keeper(workers, launch=launch) as running:
        worker = await workers.next()
        await worker.ask("make", "pipe", {"a": "still there", "no room, which cannot be said": ""})
        assert await worker.ask("store", ["a", "no room, which cannot be said"])
        await worker.ask("ready")
        worker = await killed_and_replaced(running, workers, worker)
        assert await worker.ask("contents") == {"a": "still there"}


async def stored(running: KeeperProcess, workers: Workers, worker: Worker) -> list[str]:
    """What the keeper has, as the next worker sees it."""
    await worker.ask("ready")
    return (await killed_and_replaced(running, workers, worker)).names


async def test_descriptors_are_passed_in_the_order_in_which_they_came(workers: Workers) -> None:
    async with keeper(workers, launch=["sh", "-c", 'ulimit -S -n 100; exec "$@"', "sh", *KEEPER]) as running:
        worker = await workers.next()
        names = ["b", "a", "d", "c", *map(str, range(200))]
        await worker.ask("make", "eventfd", dict.fromkeys(names, "0"))
        await worker.ask("store", names)
        assert await stored(running, workers, worker) == names


async def test_what_was_sent_just_before_a_death_is_passed_on(workers: Workers) -> None:
    async with keeper(workers) as running:
        worker = await workers.next()
        await worker.ask("ready")
        names = ["a", "b", "c", "d", "e"]
        await worker.ask("make", "eventfd", dict.fromkeys(names, "0"))
        running.process.send_signal(signal.SIGSTOP)  # so that it finds all of it at once, messages and death
        worker.tell("send_each_and_die", names)
        await worker.ended()
        running.process.send_signal(signal.SIGCONT)
        assert (await workers.next()).names == names


async def test_a_full_store_is_said(workers: Workers) -> None:
    async with keeper(workers, launch=["sh", "-c", 'ulimit -n 66; exec "$@"', "sh", *KEEPER]) as running:
        worker = await workers.next()
        assert worker.environ["FDSTORE"] == "1"
        await worker.ask("make", "eventfd", {"a": "0", "b": "0"})
        await worker.ask("store", ["a", "b"])
        assert await running.line() == "the store is full with 1 descriptors: 'b' is not kept"
        assert await stored(running, workers, worker) == ["a"]


async def test_what_the_keeper_is_told_beside_is_no_matter(workers: Workers) -> None:
    async with keeper(workers) as running:
        worker = await workers.next()
        for text in (
            "STATUS=x",
            "WATCHDOG=1",
            "STOPPING=1",
            "MAINPID=1",
            "READY=0",
            "",
            "\n=\n",
            "\xff\xfe",
            "x" * 9000,
        ):
            await worker.ask("send", text, [])
        worker.tell("exit", 4)  # none of these made it ready
        assert await running.status() == 4


async def test_descriptors_that_the_keeper_has_no_room_to_receive_do_not_kill_it(workers: Workers) -> None:
    async with keeper(workers, launch=["sh", "-c", 'ulimit -n 70; exec "$@"', "sh", *KEEPER]) as running:
        worker = await workers.next()
        await worker.ask("make", "eventfd", {"a": "0"})
        await worker.ask("send", "FDSTORE=1\nFDNAME=x", ["a"] * 250)
        await worker.ask("send", "BARRIER=1", ["a"] * 250)
        assert await worker.ask("store", ["a"])
        assert await stored(running, workers, worker) == ["a"]

"""A worker and whoever holds its descriptors: the keeper, and systemd as the fake of it does."""

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.backend_rig import open_descriptors
from support.fake_systemd import FakeSystemd
from support.worker_control import KeeperProcess, Workers, keeper, keeper_of, killed_and_replaced, systemd_of

from vballoond.holder.holder import Holder
from vballoond.holder.no_holder import NoHolder

pytestmark = pytest.mark.long

LOST = "the holder of descriptors is lost: what is served now ends with this process"
ROOM = 1000


class Life:
    """A worker under a holder, and those that follow it."""

    def __init__(self, holder: KeeperProcess | FakeSystemd, workers: Workers) -> None:
        self.holder = holder
        self.workers = workers

    async def begin(self) -> "Life":
        self.worker = await self.workers.next()
        await self.worker.ask("ready")
        return self

    async def next(self) -> list[str]:
        """Kill the worker; return the names of what the next one has."""
        self.worker = await killed_and_replaced(self.holder, self.workers, self.worker)
        return sorted(self.worker.names)

    async def next_after_its_own_death(self) -> list[str]:
        await self.holder.replaced()
        self.worker = await self.workers.next()
        return sorted(self.worker.names)

    async def stored(self, kind: str, contents: dict[str, str]) -> None:
        await self.worker.ask("make", kind, contents)
        assert await self.worker.ask("store", list(contents))


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[Workers]:
    async with Workers(tmp_path / "control") as workers:
        yield workers


@pytest.fixture(params=[keeper_of, systemd_of], ids=["keeper", "systemd"])
async def life(request, workers: Workers) -> AsyncIterator[Life]:
    async with request.param(workers, ROOM) as holder:
        yield await Life(holder, workers).begin()


@pytest.fixture(params=[keeper_of, systemd_of], ids=["keeper", "systemd"])
async def small_life(request, workers: Workers) -> AsyncIterator[Life]:
    async with request.param(workers, 3) as holder:
        yield await Life(holder, workers).begin()


# Both holders


async def test_descriptors_come_back_with_what_is_in_them(life: Life) -> None:
    await life.stored("pipe", {"p": "in the pipe"})
    await life.stored("memory", {"m": "in memory"})
    await life.stored("eventfd", {"e": "7"})
    assert await life.next() == ["e", "m", "p"]
    assert await life.worker.ask("inheritable") == []
    assert await life.worker.ask("copies") == [1, 1, 1]
    assert await life.worker.ask("contents") == {"p": "in the pipe", "m": "in memory", "e": "7"}


async def test_descriptors_are_kept_for_as_many_workers_as_it_takes(life: Life) -> None:
    await life.stored("memory", {"first": "1"})
    assert await life.next() == ["first"]
    await life.stored("memory", {"second": "2"})
    assert await life.next() == ["first", "second"]
    assert await life.next() == ["first", "second"]
    assert await life.worker.ask("contents") == {"first": "1", "second": "2"}


async def test_what_was_removed_does_not_come_back(life: Life) -> None:
    await life.stored("memory", {"a": "", "b": "", "c": ""})
    await life.worker.ask("remove", ["a", "c", "never there"])
    assert await life.next() == ["b"]


async def test_a_name_is_free_again_when_it_was_removed(life: Life) -> None:
    await life.stored("memory", {"a": "old"})
    await life.worker.ask("remove", ["a"])
    await life.stored("memory", {"a": "new"})
    assert await life.next() == ["a"]
    assert await life.worker.ask("contents") == {"a": "new"}


async def test_of_two_with_one_name_the_newer_comes_back(life: Life) -> None:
    await life.stored("memory", {"a": "old"})
    await life.stored("memory", {"a": "new"})
    assert await life.next() == ["a"]
    assert await life.worker.ask("contents") == {"a": "new"}


async def test_of_one_open_file_the_first_is_kept(life: Life) -> None:
    await life.stored("memory", {"a": "x"})
    await life.worker.ask("alias", "b", "a")
    assert await life.worker.ask("store", ["b"])
    assert await life.next() == ["a"]


async def test_a_full_store_keeps_what_it_has(small_life: Life) -> None:
    assert small_life.worker.environ["FDSTORE"] == "3"
    await small_life.stored("memory", {"a": "", "b": "", "c": "", "d": ""})
    assert await small_life.next() == ["a", "b", "c"]


async def test_what_was_sent_just_before_a_death_is_kept(life: Life) -> None:
    await life.worker.ask("make", "memory", {"a": "x", "b": "y"})
    life.worker.tell("send_each_and_die", ["a", "b"])
    assert await life.next_after_its_own_death() == ["a", "b"]


async def test_many_stores_can_be_under_way(life: Life) -> None:
    contents = {f"name {number}": str(number) for number in range(50)}
    await life.worker.ask("make", "eventfd", contents)
    assert await life.worker.ask("store_each", list(contents))
    assert await life.next() == sorted(contents)


async def test_five_hundred_descriptors_come_back_each_under_its_name(life: Life) -> None:
    contents = {f"name {number}": str(number + 1) for number in range(500)}
    await life.stored("eventfd", contents)
    assert len(await life.next()) == 500
    assert await life.worker.ask("contents") == contents


async def test_several_descriptors_in_one_message_have_one_name(life: Life) -> None:
    await life.worker.ask("make", "memory", {"a": "", "b": "", "c": ""})
    await life.worker.ask("send", "FDSTORE=1\nFDNAME=all", ["a", "b"])
    await life.worker.ask("send", "FDSTOREREMOVE=1\nFDNAME=all", [])
    await life.worker.ask("send", "FDSTORE=1\nFDNAME=c", ["c"])
    await life.worker.ask("send", "FDSTORE=1", ["a"])
    assert await life.next() == ["c", "stored"]


async def test_what_cannot_be_a_name_is_stored_without(life: Life) -> None:
    for name in ("a:b", "\u00e9", "x" * 256):
        await life.worker.ask("make", "memory", {"a": ""})
        await life.worker.ask("send", f"FDSTORE=1\nFDNAME={name.encode().decode('latin-1')}", ["a"])
        assert await life.next() == ["stored"]
        await life.worker.ask("remove", ["stored"])


async def test_a_message_of_another_process_is_not_heard(life: Life) -> None:
    await life.stored("memory", {"a": "", "b": ""})
    await life.worker.ask("make", "memory", {"c": ""})
    await life.worker.ask("child_sends", "FDSTORE=1\nFDNAME=c", "c")
    await life.worker.ask("child_sends", "FDSTOREREMOVE=1\nFDNAME=a", "c")
    assert await life.worker.ask("store", ["b"])
    assert await life.next() == ["a", "b"]


async def test_a_barrier_is_answered_whatever_comes_with_it(life: Life) -> None:
    await life.worker.ask("make", "memory", {"a": "", "b": ""})
    await life.worker.ask("send", "BARRIER=1\nFDSTORE=1\nFDNAME=a", ["a", "b"])
    assert await life.worker.ask("store", ["b"])
    assert await life.next() == ["b"]


async def test_garbage_changes_nothing(life: Life) -> None:
    await life.stored("memory", {"a": ""})
    for text in ("", "\xff", "FDSTORE", "FDSTORE=1\n\xff", "FDSTOREREMOVE=1", "\0" * 5000):
        await life.worker.ask("send", text, [])
    await life.stored("memory", {"b": ""})
    assert await life.next() == ["a", "b"]


# A holder that is gone


async def test_a_worker_goes_on_when_the_keeper_is_killed(workers: Workers) -> None:
    async with keeper(workers, stderr=subprocess.DEVNULL) as running:
        life = await Life(running, workers).begin()
        await life.stored("pipe", {"a": "x"})
        assert await life.worker.ask("alive")
        running.process.kill()
        await running.status()
        assert not await life.worker.ask("alive")
        assert not await life.worker.ask("store", ["a"])
        await life.worker.ask("remove", ["a"])
        assert await life.worker.ask("contents") == {"a": "x"}
        os.kill(life.worker.pid, signal.SIGKILL)


async def test_a_worker_goes_on_when_the_service_manager_does_not_listen(workers: Workers) -> None:
    async with systemd_of(workers, ROOM) as systemd:
        life = await Life(systemd, workers).begin()
        await life.stored("pipe", {"a": "x"})
        systemd.vanish()
        assert not await life.worker.ask("store", ["a"])
        assert await life.worker.ask("contents") == {"a": "x"}


# The client alone


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[socket.socket]:
    """A holder that never answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        yield listening


@pytest.fixture
def some_fd() -> Iterator[int]:
    fd = os.eventfd(0)
    yield fd
    os.close(fd)


def heard(listening: socket.socket) -> list[bytes]:
    """All that has come."""
    listening.setblocking(False)
    messages = []
    while True:
        try:
            data, fds, *_ = socket.recv_fds(listening, 5000, 10)
        except BlockingIOError:
            return messages
        for fd in fds:
            os.close(fd)
        messages.append(data)


async def test_a_holder_that_does_not_answer_is_given_up(hung: socket.socket, some_fd: int) -> None:
    before = open_descriptors()
    holder = Holder(hung.getsockname(), patience_s=0)
    with capture_logs() as logs:
        await asyncio.gather(holder.store({"a": some_fd}), holder.store({"b": some_fd}))
        assert not holder.alive
        await holder.store({"c": some_fd})
        holder.remove(["a"])
        await holder.ready()
    assert [(log["event"], log["log_level"]) for log in logs] == [(LOST, "error")]
    assert logs[0]["reason"] == "it has not answered within 0 s"
    stored = [f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0".encode() for name in "ab"]
    assert heard(hung) == [stored[0], b"BARRIER=1", stored[1], b"BARRIER=1"]
    holder.close()
    assert open_descriptors() == before


async def test_an_answer_counts_that_this_process_was_too_busy_to_see_in_time(
    hung: socket.socket, some_fd: int
) -> None:
    holder = Holder(hung.getsockname(), patience_s=0)
    storing = asyncio.create_task(holder.store({"a": some_fd}))
    await asyncio.sleep(0)
    assert heard(hung)[-1] == b"BARRIER=1"
    await storing
    assert holder.alive
    holder.close()


async def test_a_holder_that_does_not_take_what_it_is_told_is_given_up(hung: socket.socket) -> None:
    holder = Holder(hung.getsockname(), patience_s=0)
    with capture_logs() as logs:
        for _ in range(1000):  # more than a queue takes
            await holder.watchdog()
    assert [log["reason"] for log in logs] == ["it has not answered within 0 s"]
    assert not holder.alive


async def test_a_holder_that_is_not_there_is_lost_from_the_start(tmp_path: Path, some_fd: int) -> None:
    with capture_logs() as logs:
        holder = Holder(str(tmp_path / "nobody"))
        assert not holder.alive
        await holder.store({"a": some_fd})
    assert [(log["event"], log["reason"]) for log in logs] == [(LOST, "No such file or directory")]


async def test_a_holder_that_goes_is_lost_with_the_next_message(hung: socket.socket, some_fd: int) -> None:
    holder = Holder(hung.getsockname())
    hung.close()
    with capture_logs() as logs:
        await holder.store({"a": some_fd})
        assert not holder.alive
    assert [(log["event"], log["reason"]) for log in logs] == [(LOST, "Connection refused")]


async def test_a_holder_that_goes_while_it_is_waited_for_is_lost(hung: socket.socket, some_fd: int) -> None:
    holder = Holder(hung.getsockname())
    names = {f"name {number}": some_fd for number in range(1000)}  # more than a queue takes
    storing = asyncio.create_task(holder.store(names))
    await asyncio.sleep(0)
    hung.close()
    with capture_logs() as logs:
        await storing
    assert not holder.alive
    assert [log["event"] for log in logs] == [LOST]


async def test_a_keeper_that_is_not_our_parent_is_none(hung: socket.socket) -> None:
    ours = Holder(hung.getsockname(), keeper_pid=os.getppid())
    other = Holder(hung.getsockname(), keeper_pid=os.getpid())
    with capture_logs() as logs:
        assert ours.alive
        assert not logs
        assert not other.alive
    assert [log["reason"] for log in logs] == ["the keeper has ended"]
    ours.close()


async def test_what_does_not_fit_into_the_queue_is_sent_later_and_in_order(hung: socket.socket, some_fd: int) -> None:
    holder = Holder(hung.getsockname())
    storing = asyncio.create_task(holder.store({f"name {number}": some_fd for number in range(1000)}))
    await asyncio.sleep(0)
    holder.remove(["name 5"])
    messages: list[bytes] = []
    while len(messages) < 1002:
        assert not storing.done() or len(messages) > 1000
        messages += heard(hung)
        await asyncio.sleep(0)
    stored = [f"FDSTORE=1\nFDNAME=name {number}\nFDPOLL=0".encode() for number in range(1000)]
    assert messages == [*stored, b"BARRIER=1", b"FDSTOREREMOVE=1\nFDNAME=name 5"]
    await storing
    assert holder.alive
    assert not asyncio.get_running_loop().remove_writer(holder._outbox._socket), "nothing waits for room any more"
    holder.close()


async def test_a_store_that_is_cancelled_leaves_nothing_open(hung: socket.socket, some_fd: int) -> None:
    before = open_descriptors()
    holder = Holder(hung.getsockname())
    storing = asyncio.create_task(holder.store({f"name {number}": some_fd for number in range(1000)}))
    await asyncio.sleep(0)
    assert open_descriptors() > before
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)
    holder.close()
    heard(hung)
    assert open_descriptors() == before


@pytest.mark.parametrize("name", ["", "a:b", "a\nREADY=1", "x" * 256])
async def test_what_cannot_be_a_name_is_refused(hung: socket.socket, some_fd: int, name: str) -> None:
    holder = Holder(hung.getsockname())
    with pytest.raises(ValueError, match="a descriptor cannot be stored as"):
        await holder.store({"a": some_fd, name: some_fd})
    with pytest.raises(ValueError, match="a descriptor cannot be stored as"):
        holder.remove(["a", name])
    assert heard(hung) == []
    holder.close()


async def test_a_descriptor_that_is_not_open_is_a_defect(hung: socket.socket) -> None:
    holder = Holder(hung.getsockname())
    with pytest.raises(OSError, match="Bad file descriptor"):
        await holder.store({"a": 1_000_000})
    assert holder.alive
    holder.close()


async def test_a_process_without_descriptors_serves_on(hung: socket.socket, some_fd: int, monkeypatch) -> None:
    def fail(_: int) -> int:
        raise OSError(24, "Too many open files")

    holder = Holder(hung.getsockname())
    monkeypatch.setattr(os, "dup", fail)
    with capture_logs() as logs:
        await holder.store({"a": some_fd})
    assert not holder.alive
    assert [log["reason"] for log in logs] == ["this process has no descriptors left: Too many open files"]


async def test_what_is_told_is_one_line_for_each_variable(hung: socket.socket) -> None:
    holder = Holder(hung.getsockname())
    await holder.ready()
    await holder.status("serves\nFDSTOREREMOVE=1\r\n 3 balloons")
    await holder.watchdog()
    await holder.notify(STOPPING="1", STATUS="x" * 5000)
    *first, last = heard(hung)
    assert first == [b"READY=1", b"STATUS=serves FDSTOREREMOVE=1 3 balloons", b"WATCHDOG=1"]
    assert last.startswith(b"STOPPING=1\nSTATUS=xxx")
    assert len(last) < 4096
    holder.close()


async def test_closing_twice_is_harmless(hung: socket.socket) -> None:
    holder = Holder(hung.getsockname())
    holder.close()
    holder.close()
    assert not holder.alive


# Which one


@pytest.mark.parametrize(
    ("environ", "capacity", "keeper_pid"),
    [
        ({}, None, None),
        ({"FDSTORE": "64"}, 64, None),
        ({"FDSTORE": "many"}, None, None),
        ({"VBALLOOND_KEEPER_PID": "12", "FDSTORE": "64"}, 64, 12),
    ],
)
async def test_the_environment_names_the_holder(hung, environ: dict[str, str], capacity, keeper_pid) -> None:
    holder = Holder.from_environ(environ | {"NOTIFY_SOCKET": hung.getsockname()})
    assert isinstance(holder, Holder)
    assert (holder.capacity, holder.keeper_pid, holder.inherited()) == (capacity, keeper_pid, {})
    holder.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}])
async def test_without_a_holder_nothing_is_kept(environ: dict[str, str], some_fd: int) -> None:
    holder = Holder.from_environ(environ)
    assert isinstance(holder, NoHolder)
    assert (holder.alive, holder.capacity, holder.keeper_pid, holder.inherited()) == (False, 0, None, {})
    await holder.store({"a": some_fd})
    holder.remove(["a"])
    await holder.notify(STOPPING="1")
    await holder.ready()
    await holder.status("serves")
    await holder.watchdog()
    holder.close()


def test_no_holder_has_what_a_holder_has() -> None:
    public = {name for name in vars(Holder) if not name.startswith("_")} - {"from_environ"}
    assert {name for name in vars(NoHolder) if not name.startswith("_")} == public | {"capacity", "keeper_pid"}

import asyncio
import errno
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from support.backend_rig import open_descriptors
from support.properties import examples

from vballoond.config.models import BalloonSettings
from vballoond.errors import StartError
from vballoond.offload import Offload
from vballoond.state import disk as module
from vballoond.state.disk import FORMAT_VERSION, Disk, DiskState, KeptBalloon

MIB = 1 << 20


def state(target_mib: int, **more: Any) -> DiskState:
    return DiskState({"vm1": KeptBalloon(target_mib * MIB)}, **more)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture(autouse=True)
def _no_descriptor_is_lost() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


async def kept(directory: Path, content: DiskState) -> None:
    """Have a daemon keep this, and end."""
    disk = Disk(directory, Offload())
    await disk.keep(content)
    await disk.close()


async def found(directory: Path) -> DiskState:
    """What the next daemon finds."""
    disk = Disk(directory, Offload())
    await disk.close()
    return disk.content


def write(directory: Path, content: Any, *, version: Any = FORMAT_VERSION, checksum: Any = None) -> Path:
    """Write a file as a vballoond of some version does."""
    directory.mkdir(exist_ok=True)
    path = directory / "state.json"
    envelope = {"version": version, "checksum": module._checksum(content), "content": content}
    path.write_text(json.dumps(envelope if checksum is None else {**envelope, "checksum": checksum}))
    return path


async def test_what_is_kept_is_found_by_the_next(directory: Path) -> None:
    content = DiskState({"vm1": KeptBalloon(512 * MIB, 0.5), "vm2": KeptBalloon(None, 0), "vm3": KeptBalloon()})
    await kept(directory, content)
    assert await found(directory) == content


async def test_a_directory_is_made_and_begins_empty(tmp_path: Path) -> None:
    assert await found(tmp_path / "a" / "b") == DiskState({})


async def test_without_a_directory_nothing_is_written_and_nothing_is_wrong(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    disk = Disk(None, Offload())
    await disk.keep(state(1))
    assert (disk.content, disk.problem, list(tmp_path.iterdir())) == (state(1), None, [])
    await disk.close()


# Being ended at any step.


class Ended(BaseException):
    """The process is no more."""


def _steps_of_a_replacement() -> dict[str, Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]]:
    def in_os(name: str) -> Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]:
        return lambda patch, instead: patch.setattr(module.os, name, instead)

    def in_path(name: str) -> Callable[[pytest.MonkeyPatch, Callable[..., Any]], None]:
        return lambda patch, instead: patch.setattr(module.Path, name, instead)

    return {"opened": in_path("open"), "flushed": in_os("fsync"), "renamed": in_path("rename"), "found": in_os("open")}


@pytest.mark.parametrize("step", _steps_of_a_replacement())
@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), Ended()], ids=["fails", "ends"])
async def test_at_whatever_step_it_fails_the_old_or_the_new_is_found(directory, monkeypatch, step, error) -> None:
    await kept(directory, state(1))
    disk = Disk(directory, Offload())

    def failing(*_: Any, **__: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        _steps_of_a_replacement()[step](patch, failing)
        with pytest.raises(type(error)):
            module._replace(directory, state(2))
    await disk.close()
    assert await found(directory) == (state(2) if step == "found" else state(1))
    await kept(directory, state(3))
    assert await found(directory) == state(3)


async def test_a_new_file_that_was_only_begun_counts_for_nothing(directory: Path) -> None:
    await kept(directory, state(1))
    whole = (directory / "state.json").read_bytes()
    for length in range(0, len(whole) + 1, 7):
        (directory / "state.json.new").write_bytes(whole[:length])
        assert await found(directory) == state(1)
    await kept(directory, state(2))
    assert await found(directory) == state(2)
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "state.json"]


async def test_the_new_file_is_flushed_before_it_takes_the_place_and_the_directory_after(
    directory, monkeypatch
) -> None:
    steps = []

    def fsync(fd: int) -> None:
        path = Path(f"/proc/self/fd/{fd}").readlink()
        steps.append(
            ("flush", path.name, path.stat().st_size if path.is_file() else (directory / "state.json").exists())
        )

    def rename(self: Path, target: Path) -> None:
        steps.append(("rename", self.name, target.name))
        os.replace(self, target)  # noqa: PTH105 (Path's own is this)

    disk = Disk(directory, Offload())
    monkeypatch.setattr(module.os, "fsync", fsync)
    monkeypatch.setattr(module.Path, "rename", rename)
    await disk.keep(state(1))
    size = (directory / "state.json").stat().st_size
    assert steps == [
        ("flush", "state.json.new", size),
        ("rename", "state.json.new", "state.json"),
        ("flush", "state", True),
    ]
    await disk.close()


# What is found in the file.


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut off": lambda text: text[:-10],
    "changed": lambda text: text.replace(b"1048576", b"1048577"),
    "empty": lambda _: b"",
    "no text": lambda _: b"\xff\xfe{",
    "deep": lambda _: b"[" * 100_000,
    "endless version": lambda _: b'{"version": Infinity, "checksum": 0, "content": {}}',
    "version that never was": lambda _: b'{"version": -1, "checksum": 2745614147, "content": {}}',
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_file_is_set_aside_and_said(directory: Path, damage: Callable[[bytes], bytes]) -> None:
    await kept(directory, state(1))
    path = directory / "state.json"
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    with capture_logs() as logs:
        assert await found(directory) == DiskState({})
    aside = directory / "state.json.damaged"
    assert aside.read_bytes() == damaged
    assert not path.exists()
    (line,) = logs
    assert (line["log_level"], line["event"], line["file"]) == ("error", "damaged state set aside", str(aside))
    assert line["reason"]


@pytest.mark.parametrize(
    "balloon",
    [{"target_bytes": -1}, {"target_bytes": "lots"}, {"stats_interval_s": -1}, {"stats_interval_s": 1e9}, [], None],
    ids=str,
)
async def test_content_that_no_daemon_can_have_set_is_damaged(directory: Path, balloon: Any) -> None:
    write(directory, {"balloons": {"vm1": balloon}})
    assert await found(directory) == DiskState({})
    assert (directory / "state.json.damaged").exists()


async def test_an_interval_that_is_no_number_is_damaged(directory: Path) -> None:
    write(directory, {"balloons": {"vm1": {"stats_interval_s": float("nan")}}})
    assert await found(directory) == DiskState({})


async def test_a_damaged_file_that_cannot_be_set_aside_is_no_error(directory: Path) -> None:
    write(directory, {"balloons": {}}, checksum=1)
    (directory / "state.json.damaged").mkdir()
    (directory / "state.json.damaged" / "x").touch()
    assert await found(directory) == DiskState({})


async def test_a_newer_file_is_refused_and_left_alone(directory: Path) -> None:
    path = write(directory, {"whatever": True}, version=FORMAT_VERSION + 6)
    before = path.read_bytes()
    with pytest.raises(StartError) as caught:
        Disk(directory, Offload())
    assert caught.value.exit_status == 1
    assert f"{path} is of format {FORMAT_VERSION + 6}" in caught.value.detail
    assert f"reads up to {FORMAT_VERSION}:" in caught.value.detail
    assert path.read_bytes() == before


async def test_an_older_file_is_upgraded_version_by_version(directory: Path, monkeypatch) -> None:
    upgrades = {
        0: lambda content: {"balloons": {name: {"target_mib": mib} for name, mib in content.items()}},
        1: lambda content: {
            "balloons": {name: {"target_bytes": old["target_mib"] * MIB} for name, old in content["balloons"].items()}
        },
    }
    monkeypatch.setattr(module, "UPGRADES", upgrades)
    monkeypatch.setattr(module, "FORMAT_VERSION", 2)
    write(directory, {"vm1": 7}, version=0)
    assert await found(directory) == state(7)
    write(directory, {"balloons": {"vm1": {"target_mib": 8}}}, version=1)
    assert await found(directory) == state(8)
    await kept(directory, state(9))
    assert json.loads((directory / "state.json").read_text())["version"] == 2


async def test_a_file_of_the_version_before_is_read(directory: Path) -> None:
    write(directory, {"balloons": {"vm1": {"target_bytes": 4096, "stats_interval_s": None}}}, version=1)
    assert await found(directory) == DiskState({"vm1": KeptBalloon(4096)})


async def test_a_file_from_before_policies_is_read(directory: Path) -> None:
    write(directory, {"balloons": {"vm1": {"target_bytes": 4096}}, "added": []}, version=2)
    assert await found(directory) == DiskState({"vm1": KeptBalloon(4096)})


async def test_what_policies_know_comes_back_as_it_was(directory: Path) -> None:
    known = DiskState({}, policy={"active": {"name": "p", "memory": {"seen": [1, 2.5, None]}}})
    await kept(directory, known)
    assert await found(directory) == known


@pytest.mark.parametrize(
    "keys",
    [
        {"name": "vm1", "transport": "vhost-user", "socket": "/run/vm1.sock", "socket_mode": "0660", "max": "1GiB"},
        {"name": "m1", "transport": "in-process", "memory": "16MiB", "workload": "desktop", "interface": "2026"},
    ],
)
async def test_a_balloon_that_was_added_comes_back_as_it_was(directory: Path, keys: dict[str, Any]) -> None:
    added = DiskState({}, (BalloonSettings.model_validate(keys),))
    await kept(directory, added)
    assert await found(directory) == added


async def test_a_file_that_is_older_than_any_upgrade_is_damaged(directory: Path) -> None:
    write(directory, {"balloons": {}}, version=0)
    assert await found(directory) == DiskState({})
    assert (directory / "state.json.damaged").exists()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ENVELOPES = st.fixed_dictionaries(
    {}, optional={"version": st.integers(-2, 3) | JSON, "checksum": st.integers() | JSON, "content": JSON}
)
CONTENTS = st.fixed_dictionaries(
    {},
    optional={
        "balloons": st.dictionaries(
            st.text(max_size=4),
            st.fixed_dictionaries({}, optional={"target_bytes": JSON, "stats_interval_s": JSON}) | JSON,
            max_size=2,
        ),
    },
)


async def _only_a_start_error(directory: Path) -> None:
    try:
        disk = Disk(directory, Offload())
    except StartError:
        return
    assert isinstance(disk.content, DiskState)
    await disk.close()


@examples()
@given(text=st.binary(max_size=64) | st.text(max_size=64).map(str.encode) | ENVELOPES.map(json.dumps).map(str.encode))
def test_whatever_is_in_the_file_nothing_but_a_start_error_comes_of_it(tmp_path_factory, text: bytes) -> None:
    directory = tmp_path_factory.mktemp("any")
    (directory / "state.json").write_bytes(text)
    asyncio.run(_only_a_start_error(directory))


@examples()
@given(content=CONTENTS | JSON)
def test_whatever_content_has_the_right_checksum_nothing_but_a_start_error_comes_of_it(
    tmp_path_factory, content: Any
) -> None:
    directory = tmp_path_factory.mktemp("any")
    write(directory, content)
    asyncio.run(_only_a_start_error(directory))


# Whose the directory is.


async def test_a_directory_is_of_one_daemon_at_a_time(directory: Path) -> None:
    first = Disk(directory, Offload())
    with pytest.raises(StartError, match="is in use by another vballoond") as caught:
        Disk(directory, Offload())
    assert (caught.value.exit_status, str(directory) in caught.value.detail) == (1, True)
    await first.close()
    await first.close()
    assert await found(directory) == DiskState({})


@pytest.mark.parametrize("kind", ["a file", "below a file", "unwritable"])
async def test_a_directory_that_cannot_be_used_is_refused_at_a_first_start(directory, monkeypatch, kind: str) -> None:
    match kind:
        case "a file":
            directory.write_text("precious")
        case "below a file":
            directory.write_text("precious")
            directory /= "state"
        case "unwritable":
            monkeypatch.setattr(module.os, "access", lambda path, _: path != directory)
    with pytest.raises(StartError, match="cannot be") as caught:
        Disk(directory, Offload())
    assert (caught.value.exit_status, str(directory) in caught.value.detail) == (1, True)


@pytest.mark.parametrize("kind", ["gone", "another's", "newer"])
async def test_where_guests_are_served_already_it_is_a_problem_until_it_is_mended(directory: Path, kind: str) -> None:
    other = None
    match kind:
        case "gone":
            directory.write_text("in the way")
        case "another's":
            other = Disk(directory, Offload())
        case "newer":
            write(directory, {}, version=FORMAT_VERSION + 1)
    with capture_logs() as logs:
        disk = Disk(directory, Offload(), again=True)
        assert disk.problem is not None
        for target in (1, 2):
            await disk.keep(state(target))
            assert disk.problem is not None
    assert [line["event"] for line in logs] == ["state not kept on disk"]
    if other is not None:
        await other.close()
    elif kind == "newer":
        assert json.loads((directory / "state.json").read_text())["version"] == FORMAT_VERSION + 1
        (directory / "state.json").unlink()
    else:
        directory.unlink()
    with capture_logs() as logs:
        await disk.keep(state(3))
    assert (disk.problem, [line["event"] for line in logs]) == (None, ["state kept on disk again"])
    with pytest.raises(StartError, match="in use"):
        Disk(directory, Offload())
    await disk.close()
    assert await found(directory) == state(3)


# A disk that fails.


@contextmanager
def _full(_: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def failing(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "fsync", failing)
        yield


@contextmanager
def _read_only(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    whole = Path.open

    def failing(self: Path, mode: str = "r", *args: Any, **keys: Any) -> Any:
        if self.parent == directory and "w" in mode:
            raise OSError(errno.EROFS, "Read-only file system")
        return whole(self, mode, *args, **keys)

    with monkeypatch.context() as patch:
        patch.setattr(module.Path, "open", failing)
        yield


@contextmanager
def _gone(directory: Path, _: pytest.MonkeyPatch) -> Iterator[None]:
    aside = directory.with_name("aside")
    directory.rename(aside)
    directory.touch()
    yield
    directory.unlink()
    aside.rename(directory)


FAILURES = {"full": _full, "read-only": _read_only, "gone": _gone}


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_disk_that_fails_is_said_once_and_tried_again_at_each_change(directory, monkeypatch, failure) -> None:
    disk = Disk(directory, Offload())
    await disk.keep(state(1))
    with capture_logs() as logs:
        with FAILURES[failure](directory, monkeypatch):
            for target in (2, 3, 4):
                await disk.keep(state(target))
                assert disk.problem is not None
                assert disk.content == state(target)
        await disk.keep(state(5))
        assert disk.problem is None
    assert [(line["log_level"], line["event"]) for line in logs] == [
        ("error", "state not kept on disk"),
        ("info", "state kept on disk again"),
    ]
    with pytest.raises(StartError, match="in use"):
        Disk(directory, Offload())
    await disk.close()
    assert await found(directory) == state(5)


async def test_a_directory_that_was_removed_is_made_anew_and_locked(directory: Path) -> None:
    disk = Disk(directory, Offload())
    await disk.keep(state(1))
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()
    await disk.keep(state(2))
    assert disk.problem is None
    with pytest.raises(StartError, match="in use"):
        Disk(directory, Offload())
    await disk.close()
    assert await found(directory) == state(2)


async def test_a_directory_that_came_back_as_anothers_is_not_written_to(directory: Path) -> None:
    disk = Disk(directory, Offload())
    directory.rename(directory.with_name("aside"))
    other = Disk(directory, Offload())
    await other.keep(state(1))
    await disk.keep(state(2))
    assert disk.problem is not None
    await other.close()
    await disk.close()
    assert await found(directory) == state(1)


@contextmanager
def mounted(directory: Path, options: str) -> Iterator[None]:
    directory.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", directory], capture_output=True, check=False)
    if mount.returncode:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


def remount(directory: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", directory], check=True)


async def test_a_file_system_that_is_full_leaves_what_was_there(directory: Path) -> None:
    with mounted(directory, "size=64k"):
        disk = Disk(directory, Offload())
        await disk.keep(state(1))
        filler = directory / "filler"
        filler.write_bytes(bytes(56 << 10))
        many = DiskState({f"vm{number}": KeptBalloon(MIB) for number in range(1000)})
        await disk.keep(many)
        assert disk.problem == "the state directory cannot be written: No space left on device"
        assert json.loads((directory / "state.json").read_text())["content"]["balloons"].keys() == {"vm1"}
        filler.unlink()
        (directory / "state.json.new").unlink()
        await disk.keep(state(2))
        assert disk.problem is None
        await disk.close()
        assert await found(directory) == state(2)


async def test_a_file_system_that_became_read_only_is_still_read_at_a_restart(directory: Path) -> None:
    with mounted(directory, "size=64k"):
        await kept(directory, state(1))
        remount(directory, "ro")
        with pytest.raises(StartError, match="cannot be written"):
            Disk(directory, Offload())
        disk = Disk(directory, Offload(), again=True)
        assert disk.content == state(1)
        await disk.keep(state(2))
        assert disk.problem == "the state directory cannot be written: Read-only file system"
        remount(directory, "rw")
        await disk.keep(state(3))
        assert disk.problem is None
        await disk.close()
        assert await found(directory) == state(3)


# Many at a time.


class Gate:
    """Lets a replacement go on when the test says so, and counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.written: list[DiskState] = []
        self.begun = threading.Semaphore(0)
        self.open = threading.Semaphore(0)
        self._replace = module._replace
        monkeypatch.setattr(module, "_replace", self._gated)

    def _gated(self, directory: Path, content: DiskState) -> None:
        self.begun.release()
        assert self.open.acquire(timeout=20)
        self._replace(directory, content)
        self.written.append(content)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as executor:
        yield executor


async def _begun(gate: Gate) -> None:
    await asyncio.to_thread(gate.begun.acquire, timeout=20)


async def test_changes_that_come_together_are_written_together(directory, monkeypatch, executor) -> None:
    gate = Gate(monkeypatch)
    disk = Disk(directory, Offload(executor))
    keeps = [asyncio.create_task(disk.keep(state(1)))]
    await _begun(gate)
    keeps += [asyncio.create_task(disk.keep(state(target))) for target in range(2, 12)]
    await asyncio.sleep(0)
    gate.open.release()
    await keeps[0]
    assert gate.written == [state(1)]
    await _begun(gate)
    assert not any(keep.done() for keep in keeps[1:])
    gate.open.release()
    await asyncio.gather(*keeps)
    assert gate.written == [state(1), state(11)]
    await disk.close()
    assert await found(directory) == state(11)


async def test_whoever_is_cancelled_leaves_no_second_writer_behind(directory, monkeypatch, executor) -> None:
    gate = Gate(monkeypatch)
    disk = Disk(directory, Offload(executor))
    cancelled = asyncio.create_task(disk.keep(state(1)))
    await _begun(gate)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    later = asyncio.create_task(disk.keep(state(2)))
    for _ in range(10):
        await asyncio.sleep(0)
    assert not gate.begun.acquire(blocking=False)
    gate.open.release(2)
    await later
    closing = asyncio.create_task(disk.close())
    await closing
    assert gate.written == [state(1), state(2)]


async def test_closing_waits_for_what_is_being_written(directory, monkeypatch, executor) -> None:
    gate = Gate(monkeypatch)
    disk = Disk(directory, Offload(executor))
    keeping = asyncio.create_task(disk.keep(state(1)))
    await _begun(gate)
    closing = asyncio.create_task(disk.close())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not closing.done()
    gate.open.release()
    await asyncio.gather(keeping, closing)
    assert await found(directory) == state(1)

import asyncio
import gc
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from structlog.testing import capture_logs
from support.backend_rig import open_descriptors
from support.fake_front_end import FakeFrontEnd, FakeGuest
from support.fake_holder import FakeHolder
from support.fleet_life import MIB, Life, Machine, life, machine

from protocol.balloon.page_frames import FRAME_BYTES
from vballoond.config.models import BalloonSettings
from vballoond.errors import OperatorError, StartError
from vballoond.lab import in_process_guest
from vballoond.state.disk import KeptBalloon


@pytest.fixture(autouse=True)
def _no_garbage() -> None:
    """Mappings of earlier tests that nothing can reach any more have descriptors, which would go while others count."""
    gc.collect()


IDLE = '[[load]]\nkind = "idle"\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vm1.sock"


@pytest.fixture
async def holder() -> AsyncIterator[FakeHolder]:
    holder = FakeHolder()
    yield holder
    holder.close()


def vm(path: Path, name: str = "vm1", **keys: Any) -> BalloonSettings:
    return BalloonSettings.model_validate(
        {"name": name, "transport": "vhost-user", "socket": path, "stats_interval_s": 0, **keys}
    )


def model(name: str = "demo", memory: str = "16MiB", **keys: Any) -> BalloonSettings:
    settings = {"name": name, "transport": "in-process", "memory": memory, "stats_interval_s": 0, **keys}
    return BalloonSettings.model_validate(settings)


def connections(holder: FakeHolder) -> set[str]:
    """The connections of which the holder has something."""
    return {name.rpartition("/")[0] for name in holder.names if name.count("/") == 2}


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Machine]:
    running = await machine(path)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(autouse=True)
def _no_descriptor_is_lost() -> Iterator[None]:
    before = open_descriptors()
    yield
    assert open_descriptors() == before


# While it runs.


async def test_a_balloon_is_added_and_served(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as alive:
        await alive.open()
        assert await alive.apply(vm(path)) == ["balloon 'vm1' added"]
        assert alive.names == ["vm1"]
        async with connected(path) as running:
            await running.inflate()
            assert alive.service("vm1").device.frame_map.held_frames == 1


async def test_what_stays_as_it_is_is_left_alone(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path))
        service, inode = alive.service("vm1"), path.stat().st_ino
        assert await alive.apply(vm(path)) == []
        assert alive.service("vm1") is service
        assert path.stat().st_ino == inode


async def test_a_balloon_that_nobody_is_connected_to_is_removed(path: Path, holder: FakeHolder) -> None:
    before = open_descriptors()
    async with life(holder) as alive:
        await alive.open(vm(path))
        assert await alive.apply() == ["balloon 'vm1' removed"]
        assert (alive.names, alive.fleet.services, holder.names, path.exists()) == ([], [], [], False)
        assert open_descriptors() == before


async def test_settings_that_can_change_under_a_guest_do(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as alive, _opened(alive, vm(path)), connected(path) as running:
        alive.service("vm1").set_target(2 * MIB // FRAME_BYTES)
        done = await alive.apply(vm(path, max="1MiB", stats_interval_s=7, discard=False))
        assert done == ["balloon 'vm1' changed: discard, max, stats_interval_s"]
        await running.told_of_target(MIB // FRAME_BYTES)
        service = alive.service("vm1")
        assert (service.statistics_interval_s, service.releasing.discard, service.limit_bytes()) == (7, False, MIB)
        await running.inflate()


@asynccontextmanager
async def _opened(alive: Life, *configured: BalloonSettings, **how: bool) -> AsyncIterator[None]:
    await alive.open(*configured, **how)
    yield


async def test_a_balloon_that_is_retired_is_seen_off(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as alive:
        await alive.open()
        before = open_descriptors()
        await alive.apply(vm(path))
        async with connected(path) as running:
            alive.service("vm1").set_target(5)
            await running.told_of_target(5)
            await running.inflate()

            (done,) = await alive.apply()
            assert done == "balloon 'vm1' retired: its front-end is served until it goes"
            assert alive.names == []
            with pytest.raises(OperatorError, match="there is no balloon 'vm1'"):
                alive.service("vm1")
            assert not path.exists()
            await running.told_of_target(0)
            await running.inflate()
            await running.front_end.caught_up()
            assert connections(holder) == {"vm1/1"}
            assert "vm1/listen" not in holder.names
        await _until_served(alive, 0)
        assert holder.names == []
        assert open_descriptors() == before


async def test_a_name_is_free_again_while_the_one_that_had_it_is_seen_off(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as alive, _opened(alive, vm(path)), connected(path) as first:
        alive.service("vm1").set_target(5)
        await alive.apply()
        assert await alive.apply(vm(path)) == ["balloon 'vm1' added"]
        async with connected(path) as second:
            alive.service("vm1").set_target(3)
            await second.told_of_target(3)
            assert await first.target_frames() == 0
            await first.inflate()
            await second.inflate()
            assert alive.service("vm1").device.frame_map.held_frames == 1
            assert connections(holder) == {"vm1/1", "vm1/2"}
            first.front_end.close()
            await _until_served(alive, 1)
            assert connections(holder) == {"vm1/2"}
            await second.inflate()


async def _until_served(alive: Life, services: int) -> None:
    async with asyncio.timeout(20):
        while len(alive.fleet.services) > services:
            await alive.settled()


async def test_a_balloon_that_cannot_change_under_a_guest_is_begun_again(path, holder, tmp_path: Path) -> None:
    other = tmp_path / "other.sock"
    async with life(holder) as alive, _opened(alive, vm(path)), connected(path) as first:
        (done,) = await alive.apply(vm(other))
        assert done == (
            "socket of 'vm1' changed: balloon 'vm1' retired: its front-end is served until it goes; balloon 'vm1' added"
        )
        assert (path.exists(), other.is_socket()) == (False, True)
        async with connected(other) as second:
            await first.inflate()
            await second.inflate()


async def test_what_cannot_be_had_is_reported_and_the_rest_is_done(path, holder, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("precious")
    wrong = [
        vm(tmp_path / "taken", "taken"),
        vm(tmp_path / "none" / "x.sock", "nowhere"),
        model("lazy", workload=str(tmp_path / "missing.toml")),
    ]
    async with life(holder) as alive:
        await alive.open()
        with capture_logs() as logs:
            done = await alive.apply(*wrong, vm(path))
        assert [line.split(": ")[0] for line in done] == [
            "balloon 'taken' not added",
            "balloon 'nowhere' not added",
            "balloon 'lazy' not added",
            "balloon 'vm1' added",
        ]
        assert "is not a socket" in done[0]
        assert alive.fleet.problems.keys() == {"taken", "nowhere", "lazy"}
        failed = [line["balloon"] for line in logs if line["event"] == "balloon not added"]
        assert failed == ["taken", "nowhere", "lazy"]
        async with connected(path) as running:
            await running.inflate()

            (tmp_path / "taken").unlink()
            done = await alive.apply(*wrong[:1], vm(path))
            assert done == ["balloon 'taken' added"]
            assert alive.fleet.problems == {}
            await running.inflate()


async def test_an_in_process_guest_begins_again_when_its_memory_changes(holder: FakeHolder) -> None:
    async with life(holder) as alive:
        await alive.open(model())
        guest = alive.fleet.guest("demo")
        await guest.booted()
        alive.service("demo").set_target(16 * MIB // FRAME_BYTES)
        await alive.keep()
        (done,) = await alive.apply(model(memory="32MiB"))
        assert done == "memory of 'demo' changed: balloon 'demo' removed; balloon 'demo' added"
        assert alive.fleet.guest("demo") is not guest
        assert alive.service("demo").memory.size_bytes == 32 * MIB
        assert alive.service("demo").target_frames == 16 * MIB // FRAME_BYTES
        (done,) = await alive.apply(model(memory="16MiB", max="2MiB"))
        assert alive.service("demo").target_frames == 2 * MIB // FRAME_BYTES
        await alive.fleet.guest("demo").booted()


# The state directory.


async def test_what_was_set_is_set_again_and_clamped_to_what_there_is(path, holder, tmp_path: Path) -> None:
    async with life(holder, tmp_path / "state") as alive:
        await alive.open(vm(path, memory="64MiB"), vm(tmp_path / "b.sock", "vm2"), model())
        for service in alive.registry:
            service.set_target(service.limit_bytes() // FRAME_BYTES if service.settings.memory else 7)
        alive.service("vm2").set_statistics_interval(0.25)
        await alive.keep()
    async with life(holder, tmp_path / "state") as alive:
        await alive.open(vm(path, memory="32MiB"), vm(tmp_path / "b.sock", "vm2", stats_interval_s=9), model())
        targets = {service.settings.name: service.target_frames * FRAME_BYTES for service in alive.registry}
        assert targets == {"vm1": 32 * MIB, "vm2": 7 * FRAME_BYTES, "demo": 16 * MIB}
        assert alive.service("vm2").statistics_interval_s == 0.25
        assert alive.service("vm1").statistics_interval_s == 0


async def test_an_interval_that_was_not_set_follows_the_configuration(path, holder, tmp_path: Path) -> None:
    for interval_s in (3, 5):
        async with life(holder, tmp_path / "state") as alive:
            await alive.open(vm(path, stats_interval_s=interval_s))
            assert alive.service("vm1").statistics_interval_s == interval_s
            await alive.keep()


async def test_what_is_kept_of_a_balloon_that_cannot_be_had_is_kept_on(path, holder, tmp_path: Path) -> None:
    async with life(holder, tmp_path / "state") as alive:
        await alive.open(vm(path), vm(tmp_path / "b.sock", "vm2"))
        for service in alive.registry:
            service.set_target(7)
        await alive.keep()
    path.write_text("in the way")
    async with life(holder, tmp_path / "state") as alive:
        await alive.open(vm(path), vm(tmp_path / "b.sock", "vm2"), again=True)
        await alive.keep()
        assert alive.disk.content.balloons["vm1"] == KeptBalloon(7 * FRAME_BYTES)
        path.unlink()
        await alive.apply(vm(path))
        assert alive.service("vm1").target_frames == 7
        await alive.keep()
        assert alive.disk.content.balloons.keys() == {"vm1"}


# A process after another.


class Lives:
    """A process, and those after it. One that is killed leaves its sockets, and writes nothing down any more."""

    def __init__(self, *configured: BalloonSettings) -> None:
        self.holder = FakeHolder()
        self._configured = configured

    async def __aenter__(self) -> Self:
        self.now = Life(self.holder, None)
        await self.now.open(*self._configured)
        return self

    async def __aexit__(self, *details: object) -> None:
        await self.now.close()
        self.holder.close()

    async def killed(self, *configured: BalloonSettings, **how: bool) -> Life:
        """Kill it; return the next one, which has this configuration."""
        paths = [service.settings.socket for service in self.now.registry if service.settings.socket]
        places = {path: path.rename(path.with_name(f"{path.name}.aside")) for path in paths if path.is_socket()}
        dead, self.holder = self.now, self.holder.successor()
        states = _written_down(self.holder)
        await dead.close()
        for fd, text in states.items():
            os.pwrite(fd, text, 0)
        for path, place in places.items():
            place.rename(path)
        self.now = Life(self.holder, None)
        await self.now.open(*configured, **{"again": True, **how})
        return self.now


def _written_down(holder: FakeHolder) -> dict[int, bytes]:
    """What there is in each file of state."""
    files = {name: fd for name, fd in holder.files.items() if name.endswith("/state")}
    return {fd: os.pread(fd, 1 << 20, 0) for fd in files.values()}


async def test_a_connection_of_an_earlier_process_goes_on(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as running:
        lives.now.service("vm1").set_target(5)
        await running.inflate()
        inode = path.stat().st_ino
        alive = await lives.killed(vm(path))
        await running.told_of_target(5)
        await running.inflate()
        assert alive.service("vm1").device.frame_map.held_frames == 2
        assert path.stat().st_ino == inode
        assert alive.fleet.problems == {}


async def test_what_was_left_of_a_balloon_that_is_configured_no_more_is_seen_off(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as running:
        lives.now.service("vm1").set_target(5)
        alive = await lives.killed()
        assert alive.names == []
        assert not path.exists()
        await running.told_of_target(0)
        await running.inflate()
        assert connections(lives.holder) == {"vm1/1"}
        running.front_end.close()
        await _until_served(alive, 0)
        assert lives.holder.names == []


async def test_a_socket_that_was_left_without_a_connection_is_removed(path: Path) -> None:
    async with Lives(vm(path)) as lives:
        alive = await lives.killed()
        assert (alive.fleet.services, lives.holder.names, path.exists()) == ([], [], False)


async def test_one_that_is_seen_off_and_its_namesake_both_go_on_through_any_number_of_processes(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as first:
        await lives.now.apply()
        await lives.now.apply(vm(path))
        async with connected(path) as second:
            lives.now.service("vm1").set_target(3)
            await lives.now.apply()
            await lives.now.apply(vm(path))
            async with connected(path) as third:
                lives.now.service("vm1").set_target(4)
                for held in range(1, 4):
                    alive = await lives.killed(vm(path))
                    assert connections(lives.holder) == {"vm1/1", "vm1/2", "vm1/3"}
                    assert [await each.target_frames() for each in (first, second, third)] == [0, 0, 4]
                    for each in (first, second, third):
                        await each.inflate()
                    assert [service.device.frame_map.held_frames for service in alive.fleet.services] == [held] * 3
                for end, left in ((first, 2), (third, 2), (second, 1)):
                    end.front_end.close()
                    await _until_served(alive, left)
                assert lives.holder.names == ["vm1/listen"]
                async with connected(path):
                    assert connections(lives.holder) == {"vm1/4"}


async def test_one_that_is_seen_off_is_not_taken_for_its_namesakes(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as first:
        await lives.now.apply()
        await lives.now.apply(vm(path))
        alive = await lives.killed(vm(path))
        assert not alive.service("vm1").connected
        async with connected(path) as second:
            alive.service("vm1").set_target(3)
            await second.told_of_target(3)
            assert await first.target_frames() == 0
            await second.inflate()
            await first.inflate()


async def test_numbers_of_connections_go_on_behind_all_that_were_left(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "b.sock"
    async with Lives(vm(path), vm(other, "vm2")) as lives, connected(path), connected(other):
        assert connections(lives.holder) == {"vm1/1", "vm2/2"}
        alive = await lives.killed(vm(path), vm(other, "vm2"))
        await alive.apply(vm(other, "vm2"))
        await alive.apply(vm(path), vm(other, "vm2"))
        async with connected(path):
            assert connections(lives.holder) == {"vm1/1", "vm2/2", "vm1/3"}


async def test_a_balloon_that_becomes_a_modelled_guest_leaves_its_virtual_machine_alone(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as running:
        alive = await lives.killed(model("vm1"))
        assert alive.service("vm1").settings.transport == "in-process"
        assert not path.exists()
        await running.inflate()
        await alive.fleet.guest("vm1").booted()


async def test_a_connection_whose_state_is_lost_is_still_answered(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as running:
        lives.holder.lose("vm1/1/state")
        with capture_logs() as logs:
            alive = await lives.killed()
        assert "settings of an earlier process are lost" in [line["event"] for line in logs]
        await running.front_end.caught_up()
        assert [service.state_name for service in alive.fleet.services] == ["broken"]


async def test_a_connection_by_a_name_that_no_balloon_can_have_is_closed(holder: FakeHolder) -> None:
    guest = FakeGuest()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    await holder.store({"No Name/1/connection": theirs.fileno()})
    theirs.close()
    async with life(holder) as alive:
        await alive.open(again=True)
        assert (alive.fleet.services, holder.names) == ([], [])
        await FakeFrontEnd(ours, guest).ended()
    ours.close()
    guest.close()


async def test_at_a_first_start_what_cannot_be_had_is_an_error(path: Path, holder: FakeHolder, tmp_path: Path) -> None:
    path.write_text("in the way")
    async with life(holder) as alive:
        with pytest.raises(StartError, match="is not a socket"):
            await alive.open(vm(tmp_path / "a.sock", "vm0"), vm(path))


@pytest.mark.parametrize("what", ["in the way", "directory gone"])
async def test_a_connection_goes_on_where_nobody_new_can_connect(tmp_path: Path, what: str) -> None:
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "vm1.sock"
    async with Lives(vm(path), vm(tmp_path / "b.sock", "vm2")) as lives, connected(path) as running:
        path.unlink()
        if what == "in the way":
            path.write_text("precious")
        else:
            (tmp_path / "run").rmdir()
        with capture_logs() as logs:
            alive = await lives.killed(vm(path), vm(tmp_path / "b.sock", "vm2"))
        assert "nobody can connect" in [line["event"] for line in logs]
        assert alive.names == ["vm1", "vm2"]
        assert alive.fleet.problems.keys() == {"vm1"}
        assert "vm1/listen" not in lives.holder.names
        await running.inflate()
        async with connected(tmp_path / "b.sock") as other:
            await other.inflate()

        (done,) = await alive.apply(vm(path), vm(tmp_path / "b.sock", "vm2"))
        assert done.startswith("balloon 'vm1' still cannot be connected to: ")
        if what == "in the way":
            path.unlink()
        else:
            (tmp_path / "run").mkdir()
        done = await alive.apply(vm(path), vm(tmp_path / "b.sock", "vm2"))
        assert done == ["balloon 'vm1' can be connected to again"]
        assert alive.fleet.problems == {}
        await running.inflate()
        running.front_end.close()
        await alive.settled()
        async with connected(path) as new:
            await new.inflate()


async def test_a_balloon_that_cannot_be_had_again_does_not_stop_the_others(path: Path, tmp_path: Path) -> None:
    workload = tmp_path / "load.toml"
    workload.write_text(IDLE)
    lazy = model("lazy", workload=str(workload))
    other = vm(tmp_path / "b.sock", "vm2")
    async with Lives(vm(path), other, lazy) as lives, connected(tmp_path / "b.sock") as running:
        await lives.now.fleet.guest("lazy").booted()
        path.unlink()
        path.write_text("in the way")
        workload.unlink()
        alive = await lives.killed(vm(path), other, lazy)
        assert alive.names == ["vm2"]
        assert alive.fleet.problems.keys() == {"vm1", "lazy"}
        assert "vm1/listen" not in lives.holder.names
        await running.inflate()
        path.unlink()
        workload.write_text(IDLE)
        assert await alive.apply(vm(path), other, lazy) == ["balloon 'vm1' added", "balloon 'lazy' added"]
        assert alive.fleet.problems == {}
        await alive.fleet.guest("lazy").booted()


async def test_no_memory_for_a_modelled_guest_is_told_with_its_name(holder: FakeHolder, monkeypatch) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(in_process_guest, "Guest", none_left)
    async with life(holder) as alive:
        with pytest.raises(StartError, match="no memory for balloon 'demo': Cannot allocate memory") as caught:
            await alive.open(model())
        assert caught.value.exit_status == 1
        await alive.open(model(), again=True)
        assert alive.fleet.problems.keys() == {"demo"}


async def test_a_connection_that_is_not_taken_up_yet_is_retired_and_not_closed(path: Path) -> None:
    async with Lives(vm(path)) as lives, connected(path) as running:
        lives.now.service("vm1").set_target(5)
        alive = await lives.killed(vm(path), settle=False)
        (done,) = await alive.apply()
        assert done == "balloon 'vm1' retired: its front-end is served until it goes"
        await running.told_of_target(0)
        await running.inflate()
        alive = await lives.killed(vm(path))
        assert not alive.service("vm1").connected
        await running.inflate()


async def test_ending_before_a_connection_is_taken_up_leaves_nothing(path: Path) -> None:
    before = open_descriptors()
    async with Lives(vm(path)) as lives, connected(path) as running:
        await lives.killed(vm(path), settle=False)
        await lives.now.close()
        await running.front_end.ended()
        assert lives.holder.names == []
    assert open_descriptors() == before


# Through the API.


async def test_a_balloon_is_added_and_removed_at_run_time(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open()
        service = await first.fleet.add(vm(path))
        assert service is first.service("vm1")
        async with connected(path) as running:
            await running.inflate()
        await first.settled()
        assert await first.fleet.remove("vm1", force=False) == "balloon 'vm1' removed"
        assert first.names == []
        assert not path.exists()


async def test_a_balloon_with_a_front_end_is_removed_by_force_only_and_then_retired(path, holder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        async with connected(path) as running:
            with pytest.raises(OperatorError, match="a front-end is connected") as caught:
                await first.fleet.remove("vm1", force=False)
            assert (caught.value.status, caught.value.code) == (409, "connected")
            assert first.names == ["vm1"]
            await running.inflate()
            assert "retired" in await first.fleet.remove("vm1", force=True)
            assert first.names == []
            await running.inflate()
        await first.settled()


async def test_a_modelled_guest_is_removed_though_it_runs(holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open(model())
        assert await first.fleet.remove("demo", force=False) == "balloon 'demo' removed"
        assert first.names == []


async def test_a_name_is_there_once(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        with pytest.raises(OperatorError, match="there is a balloon 'vm1' already") as caught:
            await first.fleet.add(vm(path.with_name("other.sock")))
        assert (caught.value.status, caught.value.code) == (409, "name-taken")


async def test_what_cannot_be_added_is_an_answer_and_leaves_nothing(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        with pytest.raises(OperatorError) as caught:
            await first.fleet.add(vm(path, "vm2"))
        assert (caught.value.status, caught.value.code) == (409, "cannot-be-added")
        assert (first.names, first.fleet.problems) == (["vm1"], {})


async def test_a_balloon_that_could_not_be_had_can_be_removed(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open()
        await first.apply(vm(path / "nowhere"))
        assert first.fleet.problems.keys() == {"vm1"}
        with pytest.raises(OperatorError, match="which cannot be had"):
            await first.fleet.add(vm(path))
        await first.fleet.remove("vm1", force=False)
        assert first.fleet.problems == {}
        with pytest.raises(OperatorError, match="there is no balloon 'vm1'"):
            await first.fleet.remove("vm1", force=False)


async def test_one_that_was_added_and_cannot_be_had_again_keeps_no_daemon_from_starting(path, holder) -> None:
    async with life(holder) as first:
        await first.fleet.open([vm(path)], {}, [vm(path / "nowhere", "vm2")])
        assert (first.names, first.fleet.problems.keys()) == (["vm1"], {"vm2"})


async def test_what_becomes_of_balloons_is_told(path: Path, holder: FakeHolder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        await first.apply(vm(path, stats_interval_s=3))
        async with connected(path):
            await first.apply()
        await first.settled()
        await first.fleet.add(model())
        await first.fleet.remove("demo", force=False)
        events, _ = first.events.behind("life-0")
        told = [(event.kind, event.balloon) for event in events if event.kind.startswith("balloon-")]
        assert told == [
            ("balloon-added", "vm1"),
            ("balloon-changed", "vm1"),
            ("balloon-retired", "vm1"),
            ("balloon-added", "demo"),
            ("balloon-removed", "demo"),
        ]
        kinds = [event.kind for event in events if event.balloon == "vm1"]
        assert [kind for kind in kinds if kind in ("connected", "negotiated", "disconnected")] == [
            "connected",
            "negotiated",
            "disconnected",
        ]

"""Firecracker-shaped sockets over the life of balloons: added, changed, retired, and from process to process."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from support.fake_front_end import FakeFrontEnd, FakeGuest, qemu_connect
from support.firecracker_client import client
from support.fleet_life import Life, Machine, life, machine

from protocol.balloon.features import BalloonFeature
from vballoond.config.models import BalloonSettings
from vballoond.errors import OperatorError, StartError

pytestmark = pytest.mark.usefixtures("no_descriptor_is_lost")

PAGES_PER_MIB = 256
CONFIG = {"amount_mib": 1, "deflate_on_oom": True, "free_page_hinting": True, "stats_polling_interval_s": 9}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vm1.sock"


def vm(path: Path, **keys: Any) -> BalloonSettings:
    """A balloon with a Firecracker-shaped socket, unless ``keys`` say otherwise."""
    given = {"firecracker_socket": path.with_name("fc.sock"), "stats_interval_s": 0, **keys}
    return BalloonSettings.model_validate({"name": "vm1", "transport": "vhost-user", "socket": path, **given})


def model(socket_path: Path | None) -> BalloonSettings:
    keys = {"name": "demo", "transport": "in-process", "memory": "16MiB", "stats_interval_s": 0}
    return BalloonSettings.model_validate({**keys, "firecracker_socket": socket_path})


async def shown(socket_path: Path) -> dict[str, Any]:
    async with client(socket_path) as asking:
        return await asking.get("/balloon")


async def done(socket_path: Path, method: str, path: str, body: Any) -> None:
    async with client(socket_path) as asking:
        await asking.done(method, path, body)


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Machine]:
    running = await machine(path)
    try:
        yield running
    finally:
        running.close()


async def killed(first: Life, *paths: Path) -> None:
    """End a process as if it were killed: its sockets stay where they are, and what it wrote down as it was."""
    successor = first.holder.successor()
    states = {fd: os.pread(fd, 1 << 20, 0) for name, fd in successor.files.items() if name.endswith("/state")}
    for each in paths:
        each.rename(each.with_suffix(".aside"))
    await first.close()
    for each in paths:
        each.with_suffix(".aside").rename(each)
    for fd, text in states.items():
        os.pwrite(fd, text, 0)


async def test_a_balloon_has_its_socket_as_long_as_it_is_there(path, socket_path, holder) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path), model(socket_path.with_name("demo.fc")))
        assert (await shown(socket_path))["amount_mib"] == 0
        await done(socket_path.with_name("demo.fc"), "PATCH", "/balloon", {"amount_mib": 2})
        assert alive.service("demo").target_frames == 2 * PAGES_PER_MIB
        await alive.apply()
        assert list(path.parent.glob("*")) == []
        assert holder.names == []


async def test_nothing_is_left_when_the_daemon_ends(path, socket_path, holder) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path))
    assert not socket_path.exists()
    assert holder.names == []


async def test_a_balloon_that_is_retired_has_its_socket_no_more_while_its_guest_is_served(
    path, socket_path, holder
) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path))
        async with connected(path) as running:
            await done(socket_path, "PATCH", "/balloon", {"amount_mib": 1})
            await running.told_of_target(PAGES_PER_MIB)
            await alive.apply()
            assert not socket_path.exists()
            await running.told_of_target(0)
            await running.inflate()
        await alive.settled()


async def test_another_socket_is_had_at_a_reload_while_the_guest_is_connected(path, socket_path, holder) -> None:
    other = socket_path.with_name("other.sock")
    async with life(holder) as alive:
        await alive.open(vm(path))
        async with connected(path) as running:
            assert await alive.apply(vm(path, firecracker_socket=other)) == [
                "balloon 'vm1' changed: firecracker_socket"
            ]
            assert not socket_path.exists()
            await done(other, "PATCH", "/balloon", {"amount_mib": 1})
            await running.told_of_target(PAGES_PER_MIB)
            await alive.apply(vm(path, firecracker_socket=None))
            assert not other.exists()
            await running.inflate()


async def test_a_modelled_guest_runs_on_when_its_socket_is_changed(socket_path, holder) -> None:
    async with life(holder) as alive:
        await alive.open(model(None))
        service = alive.service("demo")
        assert await alive.apply(model(socket_path)) == ["balloon 'demo' changed: firecracker_socket"]
        assert alive.service("demo") is service
        assert (await shown(socket_path))["amount_mib"] == 0


async def test_what_put_says_is_offered_to_the_next_monitor(path, socket_path, holder) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path))
        await done(socket_path, "PUT", "/balloon", CONFIG)
        guest = FakeGuest()
        front_end = await FakeFrontEnd.connect(path, guest)
        offered = BalloonFeature(await qemu_connect(front_end) & sum(BalloonFeature))
        front_end.close()
        guest.close()
        assert offered == (
            BalloonFeature.MUST_TELL_HOST
            | BalloonFeature.PAGE_POISON
            | BalloonFeature.STATS_VQ
            | BalloonFeature.DEFLATE_ON_OOM
            | BalloonFeature.FREE_PAGE_HINT
        )


async def test_what_put_set_stays_until_the_configuration_says_something_else_of_it(path, socket_path, holder) -> None:
    async with life(holder) as alive:
        await alive.open(vm(path))
        await done(socket_path, "PUT", "/balloon", CONFIG)
        before = await shown(socket_path)
        assert await alive.apply(vm(path)) == []
        assert await alive.apply(vm(path, discard=False)) == ["balloon 'vm1' changed: discard"]
        assert await shown(socket_path) == before
        await alive.apply(vm(path, discard=False, features=["page-reporting"]))
        after = await shown(socket_path)
        assert (after["deflate_on_oom"], after["free_page_hinting"], after["free_page_reporting"]) == (
            False,
            False,
            True,
        )


async def test_what_put_set_outlives_the_daemon_on_disk(path, socket_path, holder, tmp_path) -> None:
    async with life(holder, tmp_path / "state") as first:
        await first.open(vm(path))
        await done(socket_path, "PUT", "/balloon", CONFIG)
        before = await shown(socket_path)
    async with life(holder, tmp_path / "state") as second:
        await second.open(vm(path))
        assert await shown(socket_path) == before
        assert before == {**CONFIG, "free_page_reporting": False}


async def test_a_client_that_waited_over_a_restart_finds_the_guest_as_it_was(path, socket_path, holder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        async with connected(path) as running:
            await done(socket_path, "PATCH", "/balloon", {"amount_mib": 3})
            await running.told_of_target(3 * PAGES_PER_MIB)
            await killed(first, path, socket_path)
            async with client(socket_path) as early, life(holder := holder.successor()) as second:
                early.writer.write(b"GET /balloon HTTP/1.1\r\nHost: x\r\n\r\n")
                early.writer.write(b"GET /balloon/hinting/status HTTP/1.1\r\nHost: x\r\n\r\n")
                await second.open(vm(path), again=True, settle=False)
                assert (await early.answer()).json()["amount_mib"] == 3
                assert "hinting when not enabled" in (await early.answer()).fault  # it has started
                await done(socket_path, "PATCH", "/balloon", {"amount_mib": 4})
                await running.told_of_target(4 * PAGES_PER_MIB)
                assert "vm1/firecracker" in holder.names


async def test_a_modelled_guests_socket_is_kept_over_a_restart(socket_path, holder) -> None:
    async with life(holder) as first:
        await first.open(model(socket_path))
        inode = socket_path.stat().st_ino
        await killed(first, socket_path)
    async with life(holder.successor()) as second:
        await second.open(model(socket_path), again=True)
        assert socket_path.stat().st_ino == inode
        assert (await shown(socket_path))["amount_mib"] == 0


async def test_the_socket_of_a_balloon_that_is_configured_no_more_is_removed(path, socket_path, holder) -> None:
    async with life(holder) as first:
        await first.open(vm(path))
        await killed(first, path, socket_path)
    async with life(after := holder.successor()) as second:
        await second.open(again=True)
        assert list(path.parent.glob("*")) == []
        assert after.names == []


async def test_a_socket_that_cannot_be_had_keeps_the_daemon_from_its_first_start(path, socket_path, holder) -> None:
    socket_path.mkdir()
    async with life(holder) as alive:
        with pytest.raises(StartError, match="is not a socket"):
            await alive.open(vm(path))
        with pytest.raises(OperatorError, match="is not a socket"):
            await alive.fleet.add(vm(path))
        assert alive.names == []
        assert not path.exists()


async def test_a_socket_that_cannot_be_had_later_is_a_problem_and_the_balloon_is_there(
    path, socket_path, holder
) -> None:
    socket_path.mkdir()
    async with life(holder) as alive:
        await alive.open()
        added, still = await alive.apply(vm(path))
        assert added == "balloon 'vm1' added"
        assert still.startswith("balloon 'vm1' still has no socket for clients of Firecracker: ")
        assert alive.fleet.problems.keys() == {"vm1"}
        socket_path.rmdir()
        assert await alive.apply(vm(path)) == ["balloon 'vm1' has its socket for clients of Firecracker again"]
        assert alive.fleet.problems == {}
        assert (await shown(socket_path))["amount_mib"] == 0


async def test_a_balloon_that_cannot_be_had_leaves_no_socket(path, socket_path, holder) -> None:
    path.mkdir()
    async with life(holder) as alive:
        await alive.open()
        await alive.apply(vm(path))
        assert alive.names == []
        assert not socket_path.exists()
        assert holder.names == []

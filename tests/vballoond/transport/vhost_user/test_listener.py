import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

import pytest
from support.backend_rig import open_descriptors, running_service, settled, vhost_user_settings
from support.fake_front_end import (
    RING_FEATURES,
    FakeFrontEnd,
    FakeGuest,
    memory_table,
    pfns,
    qemu_connect,
    qemu_start,
)
from support.fake_holder import FakeHolder

from protocol.vhost_user.requests import Request
from vballoond.clock import Clock
from vballoond.errors import StartError
from vballoond.holder.no_holder import NoHolder
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.vhost_user.left import sort_out
from vballoond.transport.vhost_user.listener import Listener


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vm1.sock"


@pytest.fixture
def guest() -> Iterator[FakeGuest]:
    guest = FakeGuest()
    guest.add_queue(0)
    guest.add_queue(1)
    yield guest
    guest.close()


@asynccontextmanager
async def listening(path: Path, **keys: object) -> AsyncIterator[tuple[Listener, BalloonService]]:
    async with running_service(vhost_user_settings(socket=path, **keys)) as service:
        listener = Listener(service, NoHolder())
        await listener.start()
        try:
            yield listener, service
        finally:
            await listener.stop()


async def test_a_front_end_is_served(path: Path, guest: FakeGuest) -> None:
    async with listening(path, socket_mode="0640") as (_, service):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        vm = await FakeFrontEnd.connect(path, guest)
        await qemu_connect(vm)
        await qemu_start(vm, RING_FEATURES)
        await guest.queues[0].served(pfns([guest.first_free_pfn()]))
        assert service.device.frame_map.held_frames == 1
        vm.close()


async def test_a_second_front_end_is_turned_away_and_the_first_does_not_notice(path: Path, guest: FakeGuest) -> None:
    async with listening(path) as (_, service):
        first = await FakeFrontEnd.connect(path, guest)
        await qemu_connect(first)
        await qemu_start(first, RING_FEATURES)
        await guest.queues[0].served(pfns([guest.first_free_pfn()]))

        second = await FakeFrontEnd.connect(path, guest)
        await second.ended()

        await first.caught_up()
        await guest.queues[0].served(pfns([guest.first_free_pfn() + 1]))
        assert service.device.frame_map.held_frames == 2
        first.close()
        second.close()


async def test_a_front_end_that_comes_when_the_first_has_just_gone_waits_for_it(path: Path, guest: FakeGuest) -> None:
    async with listening(path) as (_, service):
        first = await FakeFrontEnd.connect(path, guest)
        await qemu_connect(first)
        await qemu_start(first, RING_FEATURES)
        await guest.queues[0].served(pfns([guest.first_free_pfn()]))
        async with service.lock:
            first.close()
            second = await FakeFrontEnd.connect(path, guest)
            third = await FakeFrontEnd.connect(path, guest)
            await third.ended()
            assert service.device.frame_map.held_frames == 1
        guest.add_queue(0)
        guest.add_queue(1)
        await qemu_connect(second)
        assert service.device.frame_map.held_frames == 0
        assert service.connected
        await qemu_start(second, RING_FEATURES)
        service.set_target(7)
        await second.config_change()
        second.close()
        third.close()


async def test_the_next_front_end_is_served_when_the_first_has_gone(path: Path, guest: FakeGuest) -> None:
    async with listening(path) as (_, service):
        for _ in range(3):
            vm = await FakeFrontEnd.connect(path, guest)
            await vm.caught_up()
            assert service.connected
            vm.close()
            await settled(service)
            assert not service.connected


async def test_stopping_removes_the_socket_and_ends_the_connection(path: Path, guest: FakeGuest) -> None:
    before = open_descriptors()
    async with listening(path) as (_, service):
        vm = await FakeFrontEnd.connect(path, guest)
        await qemu_connect(vm)
        await qemu_start(vm, RING_FEATURES)
    await vm.ended()
    assert not path.exists()
    assert service.state_name == "waiting"
    vm.close()
    assert open_descriptors() == before


async def test_stopping_while_a_message_waits_its_turn_leaves_no_descriptor(path: Path, guest: FakeGuest) -> None:
    before = open_descriptors()
    async with running_service(vhost_user_settings(socket=path)) as service:
        listener = Listener(service, NoHolder())
        await listener.start()
        vm = await FakeFrontEnd.connect(path, guest)
        await qemu_connect(vm)
        async with service.lock:
            vm.send(Request.SET_MEM_TABLE, memory_table(guest.regions), vm.memory_fds())
            for _ in range(10):
                await asyncio.sleep(0)
            stopping = asyncio.create_task(listener.stop())
            for _ in range(10):
                await asyncio.sleep(0)
        await stopping
        vm.close()
    assert open_descriptors() == before


async def test_stopping_without_a_front_end_removes_the_socket(path: Path) -> None:
    before = open_descriptors()
    async with listening(path):
        assert path.exists()
    assert not path.exists()
    assert open_descriptors() == before


async def test_stopping_leaves_what_others_put_in_the_place_of_the_socket(path: Path) -> None:
    async with listening(path):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(path))
    assert path.exists()


async def test_stopping_where_the_socket_was_removed_is_no_error(path: Path) -> None:
    async with listening(path):
        path.unlink()
    assert not path.exists()


async def test_a_front_end_that_goes_before_it_says_anything_hurts_nobody(path: Path, guest: FakeGuest) -> None:
    async with listening(path) as (_, service):
        for _ in range(3):
            (await FakeFrontEnd.connect(path, guest)).close()
            await settled(service)
        vm = await FakeFrontEnd.connect(path, guest)
        assert await vm.number(Request.GET_QUEUE_NUM) == 5
        vm.close()


async def test_a_listener_that_cannot_listen_leaves_nothing_behind(path: Path) -> None:
    path.write_text("precious")
    async with running_service(vhost_user_settings(socket=path)) as service:
        before = open_descriptors()
        with pytest.raises(StartError):
            Listener(service, NoHolder())
        assert open_descriptors() == before
        await asyncio.sleep(0)
    assert path.read_text() == "precious"


# A second process, over what the first left.


class Process:
    """A listener, and its end by SIGKILL."""

    def __init__(self, path: Path, holder: FakeHolder) -> None:
        self.path, self.holder = path, holder
        clock = Clock(asyncio.get_running_loop().time)
        self.service = BalloonService(vhost_user_settings(socket=path), clock, Offload())
        self.service.start()
        left = sort_out(holder.inherited()).get("vm1")
        self.listener = Listener(self.service, holder, left)

    async def start(self) -> Self:
        await self.listener.start()
        await settled(self.service)
        return self

    async def killed(self) -> "Process":
        """The next one, not started. What the dead one's memory files had is not looked at here."""
        successor = self.holder.successor()
        aside = self.path.with_suffix(".aside")
        self.path.rename(aside)
        await self.stop()
        aside.rename(self.path)
        return Process(self.path, successor)

    async def stop(self) -> None:
        await self.listener.stop()
        await self.service.stop()


async def test_a_second_process_goes_on_with_socket_and_connection(path: Path, guest: FakeGuest) -> None:
    await (await Process(path, FakeHolder()).start()).stop()
    before = open_descriptors()
    process = await Process(path, FakeHolder()).start()
    inode = path.stat().st_ino
    vm = await FakeFrontEnd.connect(path, guest)
    await qemu_connect(vm)
    await qemu_start(vm, RING_FEATURES)
    process = await (await process.killed()).start()
    await guest.queues[0].served(pfns([guest.first_free_pfn()]))
    assert path.stat().st_ino == inode

    second = await FakeFrontEnd.connect(path, guest)
    await second.ended()
    second.close()
    await vm.caught_up()
    vm.close()
    await settled(process.service)
    third = await FakeFrontEnd.connect(path, guest)
    await third.caught_up()
    assert {name.split("/")[1] for name in process.holder.names} == {"listen", "2"}
    third.close()
    await settled(process.service)
    assert process.holder.names == ["vm1/listen"]
    await process.stop()
    assert process.holder.names == []
    assert not path.exists()
    assert open_descriptors() == before


async def test_a_front_end_that_connects_while_nobody_is_there_is_served(path: Path, guest: FakeGuest) -> None:
    process = await Process(path, FakeHolder()).start()
    successor = await process.killed()
    vm = await FakeFrontEnd.connect(path, guest)
    await successor.start()
    await vm.caught_up()
    vm.close()
    await successor.stop()


async def test_a_socket_that_is_gone_is_made_anew_and_the_connection_goes_on(path: Path, guest: FakeGuest) -> None:
    process = await Process(path, FakeHolder()).start()
    vm = await FakeFrontEnd.connect(path, guest)
    await vm.caught_up()
    holder = process.holder
    path_of_old = path.with_suffix(".old")
    successor_holder = holder.successor()
    path.rename(path_of_old)
    await process.stop()
    successor = await Process(path, successor_holder).start()
    await vm.caught_up()
    assert successor.holder.names.count("vm1/listen") == 1
    other = await FakeFrontEnd.connect(path, guest)
    await other.ended()
    for end in (vm, other):
        end.close()
    await successor.stop()
    assert successor.holder.names == []


async def test_the_connection_that_was_left_goes_on_and_what_has_no_socket_is_removed(
    path: Path, guest: FakeGuest
) -> None:
    holder = FakeHolder()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    event = os.eventfd(0)
    await holder.store({"vm1/12/connection": theirs.fileno(), "vm1/15/7": event})
    theirs.close()
    os.close(event)
    process = await Process(path, holder).start()
    vm = FakeFrontEnd(ours, guest)
    await vm.caught_up()
    assert "vm1/15/7" not in holder.names
    vm.close()
    last = await FakeFrontEnd.connect(path, guest)
    await last.caught_up()
    assert holder.names == ["vm1/16/connection", "vm1/16/reply", "vm1/16/state", "vm1/listen"]
    last.close()
    await process.stop()

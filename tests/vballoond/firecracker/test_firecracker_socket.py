"""The socket as a file, with the holder, and over processes."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.backend_rig import running_service, vhost_user_settings
from support.fake_holder import FakeHolder
from support.firecracker_client import Memory, answered, client

from vballoond.errors import StartError
from vballoond.firecracker.firecracker_socket import FirecrackerSocket
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.vhost_user.left import sort_out

pytestmark = pytest.mark.usefixtures("no_descriptor_is_lost")

CONFIG = {"amount_mib": 1, "deflate_on_oom": True}


@pytest.fixture
async def service() -> AsyncIterator[BalloonService]:
    async with running_service(vhost_user_settings(memory="64MiB", socket_mode="0620")) as running:
        yield running


async def test_it_has_the_mode_of_the_balloons_sockets(service: BalloonService, socket_path: Path) -> None:
    async with answered(service, socket_path):
        assert stat.S_IMODE(socket_path.stat().st_mode) == 0o620


async def test_it_goes_when_it_is_stopped_which_may_be_twice(
    service: BalloonService, socket_path: Path, holder: FakeHolder
) -> None:
    async with answered(service, socket_path, holder=holder) as ours, client(socket_path) as asking:
        await asking.get("/balloon")
        assert holder.names == ["vm1/firecracker"]
        await ours.stop()
        assert not socket_path.exists()
        assert holder.names == []
        assert await asking.is_closed()


async def test_one_that_was_never_started_is_stopped(service: BalloonService, socket_path: Path) -> None:
    settings = service.settings.model_copy(update={"firecracker_socket": socket_path})
    service.settings = settings
    await FirecrackerSocket(service, Memory().remember, None, FakeHolder()).stop()
    assert not socket_path.exists()


async def test_a_socket_that_nobody_listens_on_is_replaced_and_one_that_is_live_is_not(
    service: BalloonService, socket_path: Path, holder: FakeHolder
) -> None:
    async with answered(service, socket_path):
        with pytest.raises(StartError, match="another process listens there"):
            async with answered(service, socket_path, holder=holder):
                pass
        assert holder.names == []
        async with client(socket_path) as asking:
            await asking.get("/balloon")
    with socket.socket(socket.AF_UNIX) as nobodys:
        nobodys.bind(str(socket_path))
    async with answered(service, socket_path), client(socket_path) as asking:
        await asking.get("/balloon")


async def test_starting_that_failed_can_be_tried_again(
    service: BalloonService, socket_path: Path, holder: FakeHolder
) -> None:
    socket_path.write_text("in the way")
    service.settings = service.settings.model_copy(update={"firecracker_socket": socket_path})
    ours = FirecrackerSocket(service, Memory().remember, None, holder)
    with pytest.raises(StartError, match="is not a socket"):
        await ours.listen()
    await ours.serve()
    assert holder.names == []
    socket_path.unlink()
    await ours.listen()
    await ours.serve()
    async with client(socket_path) as asking:
        await asking.get("/balloon")
    await ours.stop()


async def test_a_client_that_comes_between_two_processes_is_answered_by_the_second(
    service: BalloonService, socket_path: Path, holder: FakeHolder
) -> None:
    async with answered(service, socket_path, holder=holder) as first:
        inode = socket_path.stat().st_ino
        next_holder = holder.successor()
        inherited = next_holder.inherited()
        socket_path.rename(kept := socket_path.with_suffix(".kept"))  # as a process that is killed, it removes nothing
        await first.stop()
        kept.rename(socket_path)
    async with client(socket_path) as asking:
        left = sort_out(inherited)["vm1"]
        async with answered(service, socket_path, holder=next_holder, left_fd=left.firecracker):
            assert (await asking.get("/balloon"))["amount_mib"] == 0
            assert socket_path.stat().st_ino == inode
            assert next_holder.names == ["vm1/firecracker"]
            assert next_holder.stores == []
    assert not socket_path.exists()


async def test_a_socket_that_was_left_elsewhere_is_removed(
    service: BalloonService, socket_path: Path, tmp_path: Path, holder: FakeHolder
) -> None:
    old = tmp_path / "old.sock"
    async with answered(service, old, holder=holder) as first:
        next_holder = holder.successor()
        left = sort_out(next_holder.inherited())["vm1"]
        old.rename(kept := tmp_path / "kept")
        await first.stop()
        kept.rename(old)
    async with answered(service, socket_path, holder=next_holder, left_fd=left.firecracker):
        assert not old.exists()
        assert next_holder.stores == ["vm1/firecracker"]
        async with client(socket_path) as asking:
            await asking.get("/balloon")


async def test_an_answer_waits_until_what_was_set_is_kept(service: BalloonService, socket_path: Path) -> None:
    asked_to, kept = asyncio.Event(), asyncio.Event()

    class Slow(Memory):
        async def remember(self) -> None:
            asked_to.set()
            await kept.wait()

    async with answered(service, socket_path, Slow()), client(socket_path) as asking:
        asked = asyncio.create_task(asking.ask("PUT", "/balloon", CONFIG))
        await asked_to.wait()
        await asyncio.sleep(1)
        assert not asked.done()
        kept.set()
        assert (await asked).status == 204

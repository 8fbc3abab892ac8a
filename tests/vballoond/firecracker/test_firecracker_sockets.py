"""Which balloons have a socket, and what is said where they cannot."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.backend_rig import running_service, vhost_user_settings
from support.fake_holder import FakeHolder
from support.firecracker_client import Memory, client

from vballoond.errors import StartError
from vballoond.firecracker.firecracker_sockets import FirecrackerSockets
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.vhost_user.left import sort_out

pytestmark = pytest.mark.usefixtures("no_descriptor_is_lost")


@pytest.fixture
async def service(socket_path: Path) -> AsyncIterator[BalloonService]:
    settings = vhost_user_settings(memory="64MiB", firecracker_socket=socket_path)
    async with running_service(settings) as running:
        yield running


@pytest.fixture
async def sockets(holder: FakeHolder) -> AsyncIterator[FirecrackerSockets]:
    opened = FirecrackerSockets(Memory().remember, holder)
    yield opened
    await opened.close_all()


def place(service: BalloonService, path: Path | None) -> None:
    service.settings = service.settings.model_copy(update={"firecracker_socket": path})


async def begin(sockets: FirecrackerSockets, service: BalloonService) -> None:
    await sockets.listen(service, needed=True)
    await sockets.serve("vm1")


async def answers(path: Path) -> bool:
    async with client(path) as asking:
        return (await asking.ask("GET", "/balloon")).status == 200


async def test_who_comes_before_it_is_served_waits(sockets, service, socket_path: Path) -> None:
    await sockets.listen(service, needed=True)
    async with client(socket_path) as asking:
        await sockets.serve("vm1")
        assert (await asking.get("/balloon"))["amount_mib"] == 0


async def test_a_balloon_without_one_has_none(sockets, service, socket_path: Path, holder: FakeHolder) -> None:
    place(service, None)
    await begin(sockets, service)
    assert not socket_path.exists()
    assert holder.names == []
    await sockets.close("vm1")


async def test_one_that_cannot_be_had_is_an_error_where_it_is_needed(sockets, service, socket_path: Path) -> None:
    socket_path.mkdir()
    with pytest.raises(StartError, match="is not a socket"):
        await sockets.listen(service, needed=True)
    assert sockets.problems == {}
    assert await sockets.mend() == []


async def test_one_that_cannot_be_had_is_a_problem_until_it_can(sockets, service, socket_path: Path) -> None:
    socket_path.mkdir()
    await sockets.listen(service)
    await sockets.serve("vm1")
    assert "is not a socket" in sockets.problems["vm1"]
    (still,) = await sockets.mend()
    assert still.startswith("balloon 'vm1' still has no socket for clients of Firecracker: ")
    socket_path.rmdir()
    assert await sockets.mend() == ["balloon 'vm1' has its socket for clients of Firecracker again"]
    assert sockets.problems == {}
    assert await answers(socket_path)
    assert await sockets.mend() == []


async def test_a_problem_goes_with_its_balloon(sockets, service, socket_path: Path) -> None:
    socket_path.mkdir()
    await sockets.listen(service)
    await sockets.close("vm1")
    assert sockets.problems == {}


async def test_it_follows_the_balloons_settings(
    sockets, service, socket_path: Path, tmp_path: Path, holder: FakeHolder
) -> None:
    await begin(sockets, service)
    inode = socket_path.stat().st_ino
    await sockets.follow(service)
    assert socket_path.stat().st_ino == inode

    place(service, other := tmp_path / "other.sock")
    await sockets.follow(service)
    assert not socket_path.exists()
    assert await answers(other)
    assert holder.names == ["vm1/firecracker"]

    place(service, None)
    await sockets.follow(service)
    assert not other.exists()
    assert holder.names == []

    place(service, socket_path)
    await sockets.follow(service)
    assert await answers(socket_path)


async def test_what_was_left_and_is_wanted_no_more_is_removed(
    sockets, service, socket_path: Path, holder: FakeHolder
) -> None:
    await begin(sockets, service)
    inherited = holder.inherited()
    socket_path.rename(kept := socket_path.with_suffix(".kept"))
    await sockets.close("vm1")
    kept.rename(socket_path)
    holder.replace("vm1/firecracker", inherited["vm1/firecracker"])
    place(service, None)
    await sockets.listen(service, sort_out(inherited)["vm1"].firecracker)
    assert not socket_path.exists()
    assert holder.names == []

import asyncio
import os
from collections.abc import Iterator

import pytest
from support.fake_holder import FakeHolder

from vballoond.errors import StateError
from vballoond.holder.no_holder import NoHolder
from vballoond.keeper import same_file
from vballoond.state.guest_file import GuestFile, make_guest_file
from vballoond.transport.vhost_user.descriptors import close_all
from vballoond.transport.vhost_user.keeping import CONNECTION, REPLY, STATE, Keeping
from vballoond.transport.vhost_user.kept import KeptConnection

PREFIX = "vm1/7/"


class Rig:
    def __init__(self) -> None:
        self.holder = FakeHolder()
        self.fds: list[int] = []
        self.state = make_guest_file()
        self.file = GuestFile(self.state)
        self.keeping = Keeping(self.holder, PREFIX, self.file)

    def event(self) -> int:
        self.fds.append(os.eventfd(0))
        return self.fds[-1]

    def again(self, fd: int) -> int:
        self.fds.append(os.dup(fd))
        return self.fds[-1]

    def written(self) -> dict[str, str]:
        return KeptConnection.from_json(self.file.read()).names

    def close(self) -> None:
        close_all([*self.fds, self.state])
        self.holder.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.close()


def kept(names: dict[str, str], *, reason: str | None = None) -> KeptConnection:
    return KeptConnection(names=names, broken_reason=reason)


async def test_new_descriptors_are_with_the_holder_under_names_of_their_own(rig: Rig) -> None:
    one, two = rig.event(), rig.event()
    names = await rig.keeping.store({"kick-0": one, "call-0": two}, {})
    assert names == {"kick-0": "vm1/7/1", "call-0": "vm1/7/2"}
    assert same_file(rig.holder.files["vm1/7/1"], one)
    assert same_file(rig.holder.files["vm1/7/2"], two)


async def test_one_open_file_under_two_new_names_is_stored_once(rig: Rig) -> None:
    one = rig.event()
    names = await rig.keeping.store({"call-0": one, "error-0": rig.again(one), "call-1": rig.again(one)}, {})
    assert set(names.values()) == {"vm1/7/1"}
    assert rig.holder.stores == ["vm1/7/1"]


async def test_an_open_file_that_the_holder_has_is_not_stored_again(rig: Rig) -> None:
    one = rig.event()
    names = await rig.keeping.store({"call-0": one}, {})
    rig.keeping.write(kept(names))
    more = await rig.keeping.store({"call-1": rig.again(one)}, {"call-0": one})
    assert more == {"call-1": "vm1/7/1"}
    assert rig.holder.stores == ["vm1/7/1"]


async def test_two_files_that_are_alike_are_two(rig: Rig) -> None:
    names = await rig.keeping.store({"call-0": rig.event(), "call-1": rig.event()}, {})
    assert len(set(names.values())) == 2


async def test_what_the_state_names_no_more_is_removed_behind_the_write(rig: Rig) -> None:
    names = await rig.keeping.store({"kick-0": rig.event(), "call-0": rig.event()}, {})
    rig.keeping.write(kept(names))
    assert rig.holder.removals == []

    def remove(gone, original=rig.holder.remove) -> None:
        assert rig.written() == {"call-0": names["call-0"]}
        original(gone)

    rig.holder.remove = remove
    rig.keeping.write(kept({"call-0": names["call-0"]}))
    assert rig.holder.removals == [names["kick-0"]]
    assert rig.holder.names == [names["call-0"]]


async def test_a_file_stays_while_any_name_is_an_alias_of_it(rig: Rig) -> None:
    one = rig.event()
    names = await rig.keeping.store({"call-0": one, "error-0": rig.again(one)}, {})
    rig.keeping.write(kept(names))
    rig.keeping.write(kept({"error-0": names["error-0"]}))
    assert rig.holder.names == ["vm1/7/1"]
    rig.keeping.write(kept({}))
    assert rig.holder.names == []


async def test_a_name_is_never_given_again(rig: Rig) -> None:
    given = []
    for _ in range(4):
        names = await rig.keeping.store({"kick-0": rig.event()}, {})
        rig.keeping.write(kept(names))
        given += names.values()
    assert given == [f"vm1/7/{number}" for number in (1, 2, 3, 4)]
    assert rig.holder.names == ["vm1/7/4"]


async def test_a_successor_gives_no_name_that_the_holder_has(rig: Rig) -> None:
    left = ["vm1/7/state", "vm1/7/3", "vm1/7/connection", "vm1/7/12", "vm1/7/x9"]
    keeping = Keeping(rig.holder, PREFIX, rig.file, left)
    assert await keeping.store({"kick-0": rig.event()}, {}) == {"kick-0": "vm1/7/13"}


async def test_a_state_that_is_too_long_leaves_the_one_before_and_all_that_it_names(rig: Rig) -> None:
    names = await rig.keeping.store({"kick-0": rig.event()}, {})
    rig.keeping.write(kept(names))
    newer = await rig.keeping.store({"kick-0": rig.event()}, {})
    with pytest.raises(StateError, match="room"):
        rig.keeping.write(kept(newer, reason="x" * 70000))
    assert rig.written() == names
    assert set(rig.holder.names) == {*names.values(), *newer.values()}

    rig.keeping.write(kept(newer))
    assert rig.holder.names == [*newer.values()]


async def test_what_came_and_went_while_nothing_could_be_written_is_removed_all_the_same(rig: Rig) -> None:
    names = await rig.keeping.store({"kick-0": rig.event()}, {})
    with pytest.raises(StateError):
        rig.keeping.write(kept(names, reason="x" * 70000))
    with pytest.raises(StateError):
        rig.keeping.write(kept({}, reason="x" * 70000))
    rig.keeping.write(kept({}))
    assert rig.holder.names == []


async def test_a_write_while_something_is_being_stored_does_not_remove_it(rig: Rig) -> None:
    storing = asyncio.create_task(rig.keeping.store({"kick-0": rig.event()}, {}))
    await asyncio.sleep(0)
    rig.keeping.write(kept({}))
    names = await storing
    rig.keeping.write(kept(names))
    assert rig.holder.names == [*names.values()]


async def _end(rig: Rig) -> None:
    """The fixtures, what the state names, what it could not be made to name, and what was stored and never named."""
    named = await rig.keeping.store({"kick-0": rig.event(), "call-0": rig.event()}, {})
    rig.keeping.write(kept(named))
    unwritten = await rig.keeping.store({"kick-1": rig.event()}, {})
    with pytest.raises(StateError):
        rig.keeping.write(kept({**named, **unwritten}, reason="x" * 70000))
    storing = asyncio.create_task(rig.keeping.store({"kick-2": rig.event()}, {}))
    await asyncio.sleep(0)
    storing.cancel()
    await asyncio.gather(storing, return_exceptions=True)


async def test_the_end_removes_all_that_the_holder_has_of_the_connection_and_nothing_else(rig: Rig) -> None:
    await rig.holder.store({f"{PREFIX}{name}": rig.event() for name in (STATE, CONNECTION, REPLY)})
    await rig.holder.store({"vm1/listen": rig.event(), "vm1/8/1": rig.event(), "vm10/7/1": rig.event()})
    await _end(rig)
    rig.keeping.end()
    assert rig.holder.names == ["vm1/8/1", "vm1/listen", "vm10/7/1"]


async def test_without_a_holder_names_are_given_all_the_same(rig: Rig) -> None:
    keeping = Keeping(NoHolder(), PREFIX, rig.file)
    names = await keeping.store({"kick-0": rig.event()}, {})
    keeping.write(kept(names))
    assert rig.written() == names == {"kick-0": "vm1/7/1"}
    keeping.end()

import gc
import os
import socket
from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import open_descriptors
from support.fake_holder import is_open
from support.properties import examples

from vballoond.state.guest_file import GuestFile, make_guest_file
from vballoond.transport.vhost_user import left as module
from vballoond.transport.vhost_user.channel import open_staging
from vballoond.transport.vhost_user.kept import KeptConnection
from vballoond.transport.vhost_user.left import (
    LeftBalloon,
    LeftConnection,
    connection_prefix,
    firecracker_name,
    listener_name,
    sort_out,
)


def a_socket() -> int:
    return socket.socket(socket.AF_UNIX).detach()


def event() -> int:
    return os.eventfd(0)


@pytest.fixture(autouse=True)
def _no_descriptor_is_lost() -> Iterator[None]:
    gc.collect()  # of earlier tests' garbage, some has descriptors
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def left_of(*names: str) -> tuple[dict[str, int], Mapping[str, LeftBalloon]]:
    """Have these names left; return the descriptors, and what is made of them."""
    inherited = {
        name: a_socket() if name.endswith(("/connection", "/listen", "/firecracker")) else event() for name in names
    }
    return inherited, sort_out(inherited)


def test_nothing_was_left() -> None:
    assert sort_out({}) == {}


def test_a_balloons_socket_is_found() -> None:
    inherited, found = left_of(listener_name("vm1"), listener_name("vm2"))
    assert {name: balloon.listener for name, balloon in found.items()} == {
        "vm1": inherited["vm1/listen"],
        "vm2": inherited["vm2/listen"],
    }
    assert all(balloon.connection is None for balloon in found.values())
    for balloon in found.values():
        balloon.close()


def test_a_balloons_firecracker_shaped_socket_is_found_with_or_without_others() -> None:
    inherited, found = left_of(firecracker_name("vm1"), listener_name("vm1"), firecracker_name("demo"))
    assert {name: (balloon.listener, balloon.firecracker) for name, balloon in found.items()} == {
        "vm1": (inherited["vm1/listen"], inherited["vm1/firecracker"]),
        "demo": (None, inherited["demo/firecracker"]),
    }
    for balloon in found.values():
        balloon.close()
    assert not any(map(is_open, inherited.values()))


def test_a_connection_is_found_by_its_names() -> None:
    inherited, found = left_of("vm1/12/connection", "vm1/12/state", "vm1/12/reply", "vm1/12/1", "vm1/12/7")
    (balloon,) = found.values()
    connection = balloon.connection
    assert connection == LeftConnection(
        12,
        inherited["vm1/12/connection"],
        inherited["vm1/12/state"],
        inherited["vm1/12/reply"],
        {"vm1/12/1": inherited["vm1/12/1"], "vm1/12/7": inherited["vm1/12/7"]},
    )
    assert (balloon.last_serial, balloon.stale) == (12, ())
    assert connection_prefix("vm1", connection.serial) == "vm1/12/"
    assert set(connection.names("vm1")) == set(inherited)
    balloon.close()


def test_of_several_connections_the_newest_is_the_balloons_and_the_others_go_on_besides() -> None:
    inherited, found = left_of("vm1/2/connection", "vm1/2/1", "vm1/10/connection", "vm1/10/7", "vm1/9/connection")
    balloon = found["vm1"]
    assert balloon.connection.serial == 10
    assert [connection.serial for connection in balloon.retired] == [2, 9]
    assert (balloon.last_serial, balloon.stale) == (10, ())
    assert all(map(is_open, inherited.values()))
    balloon.close()
    assert not any(map(is_open, inherited.values()))


def test_a_connection_that_was_retired_is_not_the_balloons_own() -> None:
    inherited = {}
    for serial, retired in ((2, False), (3, True), (1, True)):
        inherited |= {f"vm1/{serial}/connection": a_socket(), f"vm1/{serial}/state": make_guest_file()}
        file = GuestFile(inherited[f"vm1/{serial}/state"])
        file.write(KeptConnection(retired=retired).to_json())
        file.close()
    balloon = sort_out(inherited)["vm1"]
    assert balloon.connection.serial == 2
    assert [connection.serial for connection in balloon.retired] == [1, 3]
    balloon.close()


def test_what_has_no_socket_is_no_connection_and_its_number_is_not_given_again() -> None:
    inherited, found = left_of("vm1/2/connection", "vm1/3/state", "vm1/3/1")
    balloon = found["vm1"]
    assert balloon.connection.serial == 2
    assert balloon.last_serial == 3
    assert set(balloon.stale) == {"vm1/3/state", "vm1/3/1"}
    assert not is_open(inherited["vm1/3/state"])
    balloon.close()


def test_what_stands_in_the_place_of_a_socket_and_is_none_is_no_connection() -> None:
    inherited = {"vm1/2/connection": event(), "vm1/2/state": make_guest_file()}
    found = sort_out(inherited)
    assert found["vm1"].connection is None
    assert set(found["vm1"].stale) == set(inherited)
    assert not any(map(is_open, inherited.values()))


@pytest.mark.parametrize(
    "name",
    [
        *("", "x", "vm1", "vm1/", "vm1/x/1", "vm1/0/connection", "vm1/007/connection", "vm1/-1/1", "vm1/1/A"),
        *("vm1/1/1/1", "vm1/1/", "/1/connection", "vm1/" + "9" * 19 + "/1", "stored", "vm1/1/connection\n"),
    ],
)
def test_a_descriptor_of_another_name_is_closed(name: str) -> None:
    inherited = {name: a_socket()}
    assert not [balloon for balloon in sort_out(inherited).values() if balloon.connection or balloon.listener]
    assert not is_open(inherited[name])


NAMES = st.builds(
    "/".join,
    st.lists(
        st.sampled_from(["vm1", "vm2", "0", "1", "2", "01", "999999999999999999", "connection", "state", "listen", ""]),
        min_size=1,
        max_size=4,
    ),
)


@examples()
@given(names=st.sets(NAMES, max_size=12))
def test_every_descriptor_is_in_the_result_or_closed(names: set[str]) -> None:
    before = open_descriptors()
    inherited, found = left_of(*names)
    kept = set()
    for balloon in found.values():
        kept |= {balloon.listener} - {None}
        for connection in (balloon.connection, *balloon.retired):
            if connection is None:
                continue
            kept |= {connection.connection, connection.state, connection.reply, *connection.others.values()} - {None}
    assert {fd for fd in inherited.values() if is_open(fd)} == kept
    for balloon in found.values():
        balloon.close()
    assert open_descriptors() == before


# The fixtures of a connection.


def closed(*fds: int) -> None:
    for fd in fds:
        os.close(fd)


def test_fixtures_that_are_whole_are_used() -> None:
    connection = LeftConnection(1, a_socket(), make_guest_file(), open_staging(), {})
    fixtures = connection.fixtures()
    assert (fixtures.connection, fixtures.state, fixtures.reply) == (
        connection.connection,
        connection.state,
        connection.reply,
    )
    connection.close()


def test_fixtures_that_are_missing_are_made() -> None:
    fixtures = LeftConnection(1, a_socket()).fixtures()
    GuestFile(fixtures.state).close()
    os.write(fixtures.reply, b"staged")
    assert os.read(fixtures.reply, 100) == b"staged"
    closed(fixtures.connection, fixtures.state, fixtures.reply)


def a_pipe_that_is_read_only() -> int:
    reading, writing = os.pipe()
    os.close(writing)
    return reading


@pytest.mark.parametrize("make", [event, a_socket, make_guest_file, a_pipe_that_is_read_only])
def test_a_staging_pipe_that_is_none_is_closed_and_replaced(make) -> None:
    connection = LeftConnection(1, a_socket(), make_guest_file(), make(), {})
    fixtures = connection.fixtures()
    assert fixtures.reply != connection.reply
    assert not is_open(connection.reply)
    os.write(fixtures.reply, b"staged")
    closed(fixtures.connection, fixtures.state, fixtures.reply)


@pytest.mark.parametrize("make", [event, a_socket, open_staging])
def test_a_state_file_that_is_none_is_closed_and_replaced(make) -> None:
    connection = LeftConnection(1, a_socket(), make(), open_staging(), {})
    fixtures = connection.fixtures()
    assert fixtures.state != connection.state
    assert not is_open(connection.state)
    GuestFile(fixtures.state).close()
    closed(fixtures.connection, fixtures.state, fixtures.reply)


@pytest.mark.parametrize("what", ["make_guest_file", "open_staging"])
def test_where_a_new_one_cannot_be_had_all_are_still_the_connections_own(monkeypatch, what: str) -> None:
    def failing() -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(module, what, failing)
    connection = LeftConnection(1, a_socket(), event(), event(), {"vm1/1/1": event()})
    before = open_descriptors()
    with pytest.raises(OSError, match="Too many"):
        connection.fixtures()
    assert open_descriptors() == before
    assert all(map(is_open, (connection.connection, connection.state, connection.reply)))
    connection.close()

import copy
import json
import os
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fake_front_end import RING_FEATURES, message, u64, vring_fd, vring_state
from support.properties import examples

from protocol.balloon.queues import MAX_QUEUES
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.payloads import (
    SINGLE_REGION,
    VRING_ADDRESS,
    MemoryRegionDescription,
    SingleRegion,
    VringAddress,
)
from protocol.vhost_user.requests import Request
from vballoond.balloon.hinting import Hinting, HintingStage
from vballoond.errors import FrontEndError, StateError
from vballoond.memory.region import RegionPlace
from vballoond.state.guest_file import GuestFile, make_guest_file
from vballoond.transport.vhost_user.changes import MAX_MEMORY_SLOTS, Offer, change_of
from vballoond.transport.vhost_user.channel import MESSAGE_HEADER, Message
from vballoond.transport.vhost_user.kept import KeptConnection
from vballoond.transport.vhost_user.session import Session, Vring
from vballoond.virtqueue.state import RingState

OFFER = Offer(RING_FEATURES | F_PROTOCOL_FEATURES, 0xFFFF)
PAGE = 4096
ADDRESSES = st.integers(0, 1 << 20).map(lambda number: number * 16)
INDICES = st.integers(0, MAX_QUEUES - 1)


@st.composite
def _messages(draw: st.DrawFn) -> Message:
    """A message that a front-end might send to change something."""
    index = draw(INDICES)
    region = MemoryRegionDescription(draw(st.integers(0, 9)) * PAGE, PAGE, draw(ADDRESSES) * PAGE, 0)
    places = [draw(ADDRESSES) for _ in range(3)]
    request, payload, fds = draw(
        st.sampled_from(
            [
                (Request.SET_FEATURES, u64(OFFER.features), ()),
                (Request.SET_FEATURES, u64(RING_FEATURES), ()),
                (Request.SET_PROTOCOL_FEATURES, u64(draw(st.integers(0, 0xFFFF))), ()),
                (Request.SET_BACKEND_REQ_FD, b"", (9,)),
                (Request.ADD_MEM_REG, SINGLE_REGION.pack(SingleRegion(0, *region)), (9,)),
                (Request.REM_MEM_REG, SINGLE_REGION.pack(SingleRegion(0, *region)), ()),
                (Request.SET_VRING_NUM, vring_state(index, draw(st.sampled_from([1, 128, 1024]))), ()),
                (Request.SET_VRING_BASE, vring_state(index, draw(st.integers(0, 0xFFFF))), ()),
                (Request.SET_VRING_ADDR, VRING_ADDRESS.pack(VringAddress(index, 0, *places, 0)), ()),
                (Request.SET_VRING_ENABLE, vring_state(index, draw(st.integers(0, 1))), ()),
                (Request.SET_VRING_KICK, vring_fd(index), (9,)),
                (Request.SET_VRING_CALL, vring_fd(index), (9,)),
                (Request.GET_VRING_BASE, vring_state(index), ()),
                (Request.RESET_DEVICE, b"", ()),
            ]
        )
    )
    return Message(MESSAGE_HEADER.unpack(message(request, payload)[:12]), payload, fds)


@st.composite
def _sessions(draw: st.DrawFn) -> tuple[Session, dict[str, str]]:
    """A session, by the rules that make sessions, and a name with the holder for each of its descriptors."""
    session, names = Session(), {}
    for number, came in enumerate(draw(st.lists(_messages(), max_size=25))):
        try:
            change = change_of(session, came, OFFER)
        except FrontEndError:
            continue
        session = change.session
        names = {name: stored for name, stored in names.items() if name not in change.drop}
        names |= dict.fromkeys(change.store, f"vm1/1/{number}")
    for index in draw(st.sets(INDICES)):
        state = RingState(draw(st.integers(0, 0xFFFF)), draw(st.none() | st.integers(0, 0xFFFF)))
        session = session.with_vring(index, state=state)
    return session, names


@st.composite
def _kept(draw: st.DrawFn) -> KeptConnection:
    session, names = draw(_sessions())
    return KeptConnection(
        session,
        names,
        {"name": "vm1", "features": ["stats"], "max": draw(st.none() | st.integers(0, 1 << 40))},
        Hinting(
            draw(st.sampled_from(HintingStage)),
            draw(st.integers(1, (1 << 32) - 1)),
            draw(st.booleans()),
            draw(st.integers(0, 1 << 32)),
            draw(st.none() | st.datetimes(timezones=st.just(UTC))),
        ),
        draw(st.booleans()),
        draw(st.none() | st.text(max_size=30)),
        draw(st.integers(0, (1 << 32) - 1)),
    )


def read(content: Any) -> KeptConnection | None:
    """Read it as the next process does; None: it is refused."""
    try:
        kept = KeptConnection.from_json(content)
    except StateError:
        return None
    # What was let through must do for whoever asks it something, and for the file.
    assert kept.session.may_be_told() in (True, False)
    kept.session.running()
    kept.to_json()
    return kept


@examples(200)
@given(_kept())
def test_a_connection_comes_back_as_it_was_kept(kept: KeptConnection) -> None:
    fd = make_guest_file()
    try:
        GuestFile(fd).write(kept.to_json())
        assert KeptConnection.from_json(GuestFile(fd).read()) == kept
    finally:
        os.close(fd)


def test_a_new_connection_comes_back_as_one() -> None:
    assert KeptConnection.from_json(json.loads(json.dumps(KeptConnection().to_json()))) == KeptConnection()


def test_what_an_older_vballoond_did_not_know_is_as_it_is_by_default() -> None:
    assert KeptConnection.from_json({}) == KeptConnection()


def test_what_a_later_vballoond_knows_besides_is_left_alone() -> None:
    assert KeptConnection.from_json({"moods": ["good"]}) == KeptConnection()


def test_as_much_as_a_connection_can_have_is_kept() -> None:
    places = tuple(
        RegionPlace((1 << 44) - (number + 1) * PAGE, PAGE, (1 << 63) - PAGE, (1 << 63) - PAGE)
        for number in range(MAX_MEMORY_SLOTS)
    )
    names = {f"{'memory' * 10}-{number}": f"vm1/{'9' * 18}/{number}" for number in range(MAX_MEMORY_SLOTS + 17)}
    vring = Vring(32768, RingState(0xFFFFFFFF, 0xFFFF), True, VringAddress(*[(1 << 64) - 1] * 6), True, True)
    kept = KeptConnection(Session((1 << 64) - 1, (1 << 64) - 1, places, (vring,) * MAX_QUEUES), names)
    fd = make_guest_file()
    try:
        GuestFile(fd).write(kept.to_json())
        assert KeptConnection.from_json(GuestFile(fd).read()) == kept
    finally:
        os.close(fd)


FULL = KeptConnection(
    Session(
        int(OFFER.features),
        3,
        (RegionPlace(0, PAGE, PAGE, 0), RegionPlace(PAGE, PAGE, 4 * PAGE, PAGE)),
        (Vring(128, RingState(5, 5), False, VringAddress(0, 0, 16, 32, 48, 0), True, True),) * MAX_QUEUES,
    ),
    {"memory-0-1000-0": "vm1/1/1", "kick-0": "vm1/1/2"},
    {"name": "vm1"},
    Hinting(HintingStage.RUNNING, 5, False, 7, datetime(2026, 1, 1, tzinfo=UTC)),
    True,
    "it broke",
    77,
).to_json()


def _paths(content: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in it."""
    children = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return [path] * bool(path) + [inner for key, value in children for inner in _paths(value, (*path, key))]


def put(content: Any, path: tuple[Any, ...], value: Any) -> Any:
    changed = copy.deepcopy(content)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


STRANGE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([-1, -4096, 1 << 16, 1 << 32, 1 << 64, 1 << 70, -(1 << 70), 10**4000, -(10**4000)]),
    st.floats(),
    st.text(max_size=10),
    st.sampled_from(["\ud800", "9" * 5000, "NaN", "1", "2026-01-01T00:00:00Z", "x" * 50000]),
    st.lists(st.integers(), max_size=5),
    st.just([]),
    st.just({}),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=3),
)


@examples(500)
@given(changes=st.lists(st.tuples(st.sampled_from(_paths(FULL)), STRANGE), min_size=1, max_size=3))
def test_whatever_a_stranger_changes_it_is_a_connection_or_a_state_error(changes) -> None:
    content = FULL
    for path, value in changes:
        try:
            content = put(content, path, value)
        except (KeyError, IndexError, TypeError):
            continue
    read(content)


@examples(300)
@given(st.dictionaries(st.sampled_from(list(FULL)) | st.text(max_size=3), STRANGE, max_size=8))
@example({"session": {"vrings": [{}] * MAX_QUEUES, "features": float("nan")}})
@example({"hinting": {"started_at": 1e300}})
@example({"hinting": {"started_at": float("nan")}})
@example({"names": {"\ud800": "x"}})
@example({"broken_reason": "\ud800"})
def test_whatever_a_stranger_writes_it_is_a_connection_or_a_state_error(content) -> None:
    read(content)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("session", "features"), 1 << 64),
        (("session", "features"), -1),
        (("session", "protocol_features"), 1 << 64),
        (("session", "regions", 0, "guest_address"), -PAGE),
        (("session", "regions", 0, "size_bytes"), -PAGE),
        (("session", "regions", 0, "size_bytes"), 0),
        (("session", "regions", 0, "size_bytes"), 5),
        (("session", "regions", 0, "user_address"), -PAGE),
        (("session", "regions", 0, "user_address"), 1 << 64),
        (("session", "regions", 0, "file_offset"), -PAGE),
        (("session", "vrings", 0, "size"), -1),
        (("session", "vrings", 4, "size"), 1 << 32),
        (("session", "vrings", 0, "state", "base"), -1),
        (("session", "vrings", 0, "state", "base"), 1 << 32),
        (("session", "vrings", 0, "state", "used_idx"), 1 << 16),
        (("session", "vrings", 0, "state", "used_idx"), -1),
        (("session", "vrings", 0, "state", "publishing"), -1),
        (("session", "vrings", 0, "address", 2), -16),
        (("session", "vrings", 0, "address", 2), 1 << 64),
        (("session", "vrings"), []),
        (("session", "vrings"), [{}] * (MAX_QUEUES + 1)),
        (("session", "regions"), [FULL["session"]["regions"][0]] * (MAX_MEMORY_SLOTS + 1)),
        (("names",), {f"kick-{number}": "vm1/1/1" for number in range(MAX_MEMORY_SLOTS + 18)}),
        (("names",), {key: [] for key in map(str, range(5000))}),
        (("handled",), 1 << 32),
        (("hinting", "stage"), "dancing"),
        (("session",), [[]]),
    ],
)
def test_what_no_connection_can_have_is_refused_in_a_sentence(path: tuple[Any, ...], value: object) -> None:
    with pytest.raises(StateError, match="kept state") as caught:
        KeptConnection.from_json(put(FULL, path, value))
    assert len(str(caught.value)) < 500


def test_a_valid_connection_is_let_through() -> None:
    assert read(FULL) is not None

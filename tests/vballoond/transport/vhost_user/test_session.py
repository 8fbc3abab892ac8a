from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import MAX_QUEUES, QueueRole
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.payloads import VringAddress
from vballoond.memory.region import RegionPlace
from vballoond.transport.vhost_user.session import (
    BACKEND_CHANNEL,
    Session,
    Vring,
    call_name,
    error_name,
    is_memory_name,
    kick_name,
    memory_name,
)
from vballoond.virtqueue.state import RingState

STATS = BalloonFeature.STATS_VQ
REPORTING = BalloonFeature.PAGE_REPORTING
ADDRESS = VringAddress(0, 0, 0x1000, 0x2000, 0x3000, 0)
READY = {"size": 128, "address": ADDRESS, "enabled": True, "started": True}


def session_with(*indices: int, features: int = F_PROTOCOL_FEATURES, **changes: object) -> Session:
    session = Session(features=features)
    for index in indices:
        session = session.with_vring(index, **{**READY, **changes})
    return session


def test_nothing_runs_on_a_new_connection() -> None:
    assert Session().ready() == frozenset()
    assert Session().running() == {}


def test_a_ring_runs_that_is_set_up_enabled_and_started() -> None:
    assert session_with(0, 1).running() == {0: QueueRole.INFLATE, 1: QueueRole.DEFLATE}


@pytest.mark.parametrize("missing", [{"size": 0}, {"address": None}, {"enabled": False}, {"started": False}])
def test_a_ring_does_not_run_while_anything_is_missing(missing: dict[str, object]) -> None:
    assert session_with(0, **missing).running() == {}


def test_a_device_may_be_told_of_changes_while_every_started_ring_runs() -> None:
    assert session_with(0, 1).may_be_told()
    assert session_with(0, 1).with_vring(2, enabled=True).may_be_told()


def test_a_device_may_not_be_told_while_it_is_about_to_start_or_to_stop() -> None:
    assert not Session().may_be_told()
    assert not session_with(0, 1, started=False).may_be_told()
    assert not session_with(0, 1).with_vring(0, started=False).may_be_told()
    assert not session_with(0, 1).with_vring(1, started=False).may_be_told()
    assert not session_with(0, 1).with_vring(0, enabled=False).may_be_told()
    assert not session_with(0, 1).with_vring(1, enabled=False).may_be_told()
    assert not session_with(0, 1).with_vring(2, started=True).may_be_told()


def test_rings_are_enabled_from_the_start_without_protocol_features() -> None:
    assert session_with(0, features=0, enabled=False).running() == {0: QueueRole.INFLATE}
    assert session_with(0, features=F_PROTOCOL_FEATURES, enabled=False).running() == {}


def test_queues_are_numbered_without_gaps_as_linux_does() -> None:
    session = session_with(0, 1, 2, features=F_PROTOCOL_FEATURES | REPORTING)
    assert session.running()[2] is QueueRole.REPORTING


def test_queues_that_are_set_up_beyond_that_are_numbered_as_specified() -> None:
    session = session_with(0, 1, 4, features=F_PROTOCOL_FEATURES | REPORTING)
    assert session.running() == {0: QueueRole.INFLATE, 1: QueueRole.DEFLATE, 4: QueueRole.REPORTING}


def test_a_ring_that_no_feature_has_a_use_for_does_not_run() -> None:
    assert session_with(0, 1, 2).running() == {0: QueueRole.INFLATE, 1: QueueRole.DEFLATE}
    assert session_with(0, 1, 2, features=F_PROTOCOL_FEATURES | STATS).running()[2] is QueueRole.STATS


@examples()
@given(st.integers(0, MAX_QUEUES - 1), st.integers(0, 0xFFFF))
def test_changing_one_ring_leaves_the_others_and_the_session_before_alone(index: int, base: int) -> None:
    before = session_with(*range(MAX_QUEUES))
    after = before.with_vring(index, state=RingState(base), renewed=True)
    assert after.vrings[index] == Vring(**READY, state=RingState(base), renewed=True)
    for other in set(range(MAX_QUEUES)) - {index}:
        assert after.vrings[other] == before.vrings[other] == Vring(**READY)


def test_a_session_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Session().features = 1


def test_the_names_of_descriptors_tell_rings_and_regions_apart() -> None:
    places = [
        RegionPlace(0, 0x1000, 0, 0),
        RegionPlace(0x1000, 0x1000, 0, 0),
        RegionPlace(0, 0x2000, 0, 0),
        RegionPlace(0, 0x1000, 0, 0x1000),
    ]
    names = [name(index) for name in (kick_name, call_name, error_name) for index in range(MAX_QUEUES)]
    memory = [memory_name(place) for place in places]
    assert len({*names, *memory, BACKEND_CHANNEL}) == len(names) + len(memory) + 1
    assert all(map(is_memory_name, memory))
    assert not any(map(is_memory_name, [*names, BACKEND_CHANNEL]))

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_front_end import MIB, config_piece, memory_table, single_region, u64, vring_fd, vring_state
from support.messages import received
from support.properties import examples

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import MAX_QUEUES
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.payloads import VRING_ADDRESS, MemoryRegionDescription, VringAddress
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature
from vballoond.errors import FrontEndError
from vballoond.memory.region import RegionPlace
from vballoond.transport.vhost_user.backend import PROTOCOL_FEATURES
from vballoond.transport.vhost_user.changes import MAX_MEMORY_SLOTS, RULES, Change, Offer, change_of
from vballoond.transport.vhost_user.session import (
    BACKEND_CHANNEL,
    Session,
    call_name,
    error_name,
    kick_name,
    memory_name,
)
from vballoond.virtqueue.state import RingState

FEATURES = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.STATS_VQ | F_PROTOCOL_FEATURES
OFFER = Offer(FEATURES, PROTOCOL_FEATURES)
LOW = MemoryRegionDescription(0, MIB, 0x7F00_0000_0000, 0)
HIGH = MemoryRegionDescription(4 * MIB, 2 * MIB, 0x7F00_1000_0000, MIB)
ALL_KICKS = {kick_name(index) for index in range(MAX_QUEUES)}
QUESTIONS = [
    Request.GET_FEATURES,
    Request.GET_PROTOCOL_FEATURES,
    Request.GET_QUEUE_NUM,
    Request.GET_CONFIG,
    Request.GET_MAX_MEM_SLOTS,
    Request.SET_OWNER,
]


def place_of(region: MemoryRegionDescription) -> RegionPlace:
    return RegionPlace(region.guest_address, region.memory_size, region.user_address, region.mmap_offset)


def change(session: Session, request: int, payload: bytes = b"", fds: tuple[int, ...] = ()) -> Change:
    return change_of(session, received(request, payload, fds), OFFER)


def address(index: int = 0, **parts: int) -> VringAddress:
    return VringAddress(index, 0, 0x1000, 0x3000, 0x2000, 0)._replace(**parts)


def running(*indices: int, features: int = FEATURES) -> Session:
    session = Session(features=features, protocol_features=PROTOCOL_FEATURES, regions=(place_of(LOW),))
    for index in indices:
        session = session.with_vring(
            index, size=128, state=RingState(7), address=address(index), enabled=True, started=True
        )
    assert set(session.running()) == set(indices)
    return session


@pytest.mark.parametrize("request_number", QUESTIONS)
def test_a_question_changes_nothing(request_number: Request) -> None:
    session = running(0, 1, 2)
    assert change(session, request_number) == Change(session)


def test_asking_for_features_stops_the_rings_of_a_driver_that_lost_protocol_features() -> None:
    session = running(0, 1, features=FEATURES & ~F_PROTOCOL_FEATURES)
    made = change(session, Request.GET_FEATURES)
    assert made.session.running() == {}
    assert set(made.drop) >= ALL_KICKS


def test_asking_for_features_stops_nothing_where_none_were_ever_negotiated() -> None:
    session = replace(running(0, 1, features=FEATURES & ~F_PROTOCOL_FEATURES), protocol_features=0)
    assert change(session, Request.GET_FEATURES) == Change(session)


def test_setting_features_takes_them_and_stops_the_rings_but_leaves_them_enabled() -> None:
    made = change(running(0, 1), Request.SET_FEATURES, u64(F_PROTOCOL_FEATURES | RingFeature.VERSION_1))
    assert made.session.features == F_PROTOCOL_FEATURES | RingFeature.VERSION_1
    assert made.session.running() == {}
    assert [vring.enabled for vring in made.session.vrings] == [True, True, False, False, False]
    assert set(made.drop) >= ALL_KICKS
    assert made.session.vrings[0].state.base == 7


def test_a_feature_that_was_not_offered_is_refused() -> None:
    missing = [bit for bit in range(64) if not 1 << bit & FEATURES]
    assert refused_bits(Request.SET_FEATURES, F_PROTOCOL_FEATURES, missing) == missing


def refused_bits(request_number: Request, others: int, bits: list[int]) -> list[int]:
    refused = []
    for bit in bits:
        try:
            change(Session(), request_number, u64(others | 1 << bit))
        except FrontEndError as error:
            assert f"features {1 << bit:#x} were acknowledged but not offered" in str(error)  # noqa: PT017
            refused.append(bit)
    return refused


def test_setting_protocol_features_takes_them_and_nothing_else() -> None:
    session = running(0)
    made = change(session, Request.SET_PROTOCOL_FEATURES, u64(ProtocolFeature.REPLY_ACK))
    assert made == Change(replace(session, protocol_features=ProtocolFeature.REPLY_ACK))


def test_a_protocol_feature_that_was_not_offered_is_refused() -> None:
    missing = [bit for bit in range(64) if not 1 << bit & PROTOCOL_FEATURES]
    assert refused_bits(Request.SET_PROTOCOL_FEATURES, ProtocolFeature.CONFIG, missing) == missing


def test_the_backend_channel_is_kept_under_its_name() -> None:
    made = change(Session(), Request.SET_BACKEND_REQ_FD, fds=(9,))
    assert made.store == {BACKEND_CHANNEL: 9}


@pytest.mark.parametrize("fds", [(), (8, 9)])
def test_the_backend_channel_is_one_descriptor(fds: tuple[int, ...]) -> None:
    with pytest.raises(FrontEndError, match=f"{len(fds)} descriptors, not 1"):
        change(Session(), Request.SET_BACKEND_REQ_FD, fds=fds)


@pytest.mark.parametrize("room_for", [0, 2, 8])
def test_a_memory_table_may_have_room_for_more_regions_than_it_has(room_for: int) -> None:
    made = change(Session(), Request.SET_MEM_TABLE, memory_table([LOW], room_for=room_for), (9,))
    assert made.session.regions == (place_of(LOW),)
    assert made.store == {memory_name(place_of(LOW)): 9}


def test_a_memory_table_replaces_all_regions() -> None:
    before = replace(Session(), regions=(place_of(LOW),))
    made = change(before, Request.SET_MEM_TABLE, memory_table([HIGH]), (9,))
    assert made.session.regions == (place_of(HIGH),)
    assert made.store == {memory_name(place_of(HIGH)): 9}
    assert made.drop == (memory_name(place_of(LOW)),)


def test_a_memory_table_that_keeps_a_region_brings_its_descriptor_anew() -> None:
    before = replace(Session(), regions=(place_of(LOW),))
    made = change(before, Request.SET_MEM_TABLE, memory_table([LOW, HIGH]), (8, 9))
    assert made.session.regions == (place_of(LOW), place_of(HIGH))
    assert made.store == {memory_name(place_of(LOW)): 8, memory_name(place_of(HIGH)): 9}
    assert made.drop == ()


def test_a_memory_table_may_be_empty() -> None:
    before = replace(Session(), regions=(place_of(LOW),))
    made = change(before, Request.SET_MEM_TABLE, memory_table([]))
    assert made.session.regions == ()
    assert made.drop == (memory_name(place_of(LOW)),)


@pytest.mark.parametrize("fds", [(), (9,), (7, 8, 9)])
def test_a_memory_table_needs_a_descriptor_for_each_region(fds: tuple[int, ...]) -> None:
    with pytest.raises(FrontEndError, match=f"2 regions came with {len(fds)} descriptors"):
        change(Session(), Request.SET_MEM_TABLE, memory_table([LOW, HIGH]), fds)


def test_a_memory_table_has_eight_regions_at_most() -> None:
    regions = [LOW._replace(guest_address=number * MIB) for number in range(9)]
    with pytest.raises(FrontEndError, match="9 regions"):
        change(Session(), Request.SET_MEM_TABLE, memory_table(regions), tuple(range(9)))
    made = change(Session(), Request.SET_MEM_TABLE, memory_table(regions[:8]), tuple(range(8)))
    assert len(made.session.regions) == 8


def test_a_memory_table_shorter_than_its_count_is_refused() -> None:
    with pytest.raises(FrontEndError, match="39 bytes of payload, needs 40"):
        change(Session(), Request.SET_MEM_TABLE, memory_table([LOW])[:-1], (9,))


def test_the_same_region_twice_in_a_table_is_refused() -> None:
    with pytest.raises(FrontEndError, match="same region twice"):
        change(Session(), Request.SET_MEM_TABLE, memory_table([LOW, LOW]), (8, 9))


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"memory_size": 0}, "is empty"),
        ({"guest_address": (1 << 44) - MIB + 4096}, "above 0x100000000000"),
        ({"guest_address": (1 << 64) - 4096}, "above 0x100000000000"),
        ({"user_address": (1 << 64) - 4096}, "passes 2\\*\\*64"),
        ({"mmap_offset": (1 << 64) - 4096}, "passes 2\\*\\*64"),
        ({"guest_address": 512}, "not whole pages"),
        ({"memory_size": MIB + 1}, "not whole pages"),
        ({"user_address": 4095}, "not whole pages"),
        ({"mmap_offset": 2048}, "not whole pages"),
    ],
)
def test_a_region_that_cannot_be_is_refused(wrong: dict[str, int], why: str) -> None:
    region = LOW._replace(**wrong)
    with pytest.raises(FrontEndError, match=why):
        change(Session(), Request.ADD_MEM_REG, single_region(region), (9,))
    with pytest.raises(FrontEndError, match=why):
        change(Session(), Request.SET_MEM_TABLE, memory_table([region]), (9,))


def test_a_region_is_added_behind_the_others() -> None:
    before = replace(Session(), regions=(place_of(LOW),))
    made = change(before, Request.ADD_MEM_REG, single_region(HIGH), (9,))
    assert made.session.regions == (place_of(LOW), place_of(HIGH))
    assert made.store == {memory_name(place_of(HIGH)): 9}
    assert made.drop == ()


@pytest.mark.parametrize("fds", [(), (8, 9)])
def test_a_region_to_add_is_one_descriptor(fds: tuple[int, ...]) -> None:
    with pytest.raises(FrontEndError, match=f"{len(fds)} descriptors, not 1"):
        change(Session(), Request.ADD_MEM_REG, single_region(LOW), fds)


def test_a_region_that_is_there_cannot_be_added() -> None:
    before = replace(Session(), regions=(place_of(LOW),))
    with pytest.raises(FrontEndError, match="is there already"):
        change(before, Request.ADD_MEM_REG, single_region(LOW), (9,))


def test_slots_run_out() -> None:
    places = tuple(RegionPlace(number * MIB, MIB, 0, 0) for number in range(MAX_MEMORY_SLOTS))
    beyond = single_region(LOW._replace(guest_address=MAX_MEMORY_SLOTS * MIB))
    with pytest.raises(FrontEndError, match="all 128 memory slots"):
        change(replace(Session(), regions=places), Request.ADD_MEM_REG, beyond, (9,))
    made = change(replace(Session(), regions=places[:-1]), Request.ADD_MEM_REG, beyond, (9,))
    assert len(made.session.regions) == MAX_MEMORY_SLOTS


@pytest.mark.parametrize("fds", [(), (9,)])
def test_a_region_is_removed_by_its_addresses_and_size_whatever_the_offset(fds: tuple[int, ...]) -> None:
    before = replace(Session(), regions=(place_of(LOW), place_of(HIGH)))
    made = change(before, Request.REM_MEM_REG, single_region(HIGH._replace(mmap_offset=0)), fds)
    assert made.session.regions == (place_of(LOW),)
    assert made.drop == (memory_name(place_of(HIGH)),)
    assert made.store == {}


@pytest.mark.parametrize("field", ["guest_address", "memory_size", "user_address"])
def test_a_region_that_is_not_there_cannot_be_removed(field: str) -> None:
    other = HIGH._replace(**{field: getattr(HIGH, field) + 4096})
    with pytest.raises(FrontEndError, match="there is no memory region"):
        change(replace(Session(), regions=(place_of(HIGH),)), Request.REM_MEM_REG, single_region(other))


def test_setting_a_size_takes_it_and_stops_the_ring() -> None:
    made = change(running(0, 1), Request.SET_VRING_NUM, vring_state(0, 256))
    assert made.session.vrings[0].size == 256
    assert set(made.session.running()) == {1}
    assert made.drop == (kick_name(0),)


@pytest.mark.parametrize("size", [0, 3, 127, 65536, 0xFFFFFFFF])
def test_a_size_that_no_ring_has_is_refused(size: int) -> None:
    with pytest.raises(FrontEndError, match="queue size"):
        change(Session(), Request.SET_VRING_NUM, vring_state(0, size))


def test_setting_addresses_takes_them_and_stops_the_ring() -> None:
    new = address(1, descriptor=0x10000)
    made = change(running(0, 1), Request.SET_VRING_ADDR, VRING_ADDRESS.pack(new))
    assert made.session.vrings[1].address == new
    assert set(made.session.running()) == {0}
    assert made.drop == (kick_name(1),)


def test_the_log_address_of_a_ring_is_not_looked_at() -> None:
    new = address(log=(1 << 64) - 1)
    assert change(Session(), Request.SET_VRING_ADDR, VRING_ADDRESS.pack(new)).session.vrings[0].address == new


@pytest.mark.parametrize(("part", "alignment"), [("descriptor", 16), ("available", 2), ("used", 4)])
def test_a_ring_part_that_is_not_aligned_is_refused(part: str, alignment: int) -> None:
    wrong = address(**{part: 0x1000 + alignment // 2})
    with pytest.raises(FrontEndError, match=f"is not aligned to {alignment} bytes"):
        change(Session(), Request.SET_VRING_ADDR, VRING_ADDRESS.pack(wrong))
    right = address(**{part: 0x1000 + alignment})
    assert change(Session(), Request.SET_VRING_ADDR, VRING_ADDRESS.pack(right)).session.vrings[0].address == right


@pytest.mark.parametrize("base", [0, 1, 0xFFFF])
def test_setting_a_position_takes_it_as_the_front_ends_and_stops_the_ring(base: int) -> None:
    made = change(running(0), Request.SET_VRING_BASE, vring_state(0, base))
    assert (made.session.vrings[0].state.base, made.session.vrings[0].renewed) == (base, True)
    assert made.session.running() == {}


def test_a_position_with_more_than_sixteen_bits_is_refused() -> None:
    with pytest.raises(FrontEndError, match="more than 16 bits"):
        change(Session(), Request.SET_VRING_BASE, vring_state(0, 0x10000))


def test_asking_for_a_position_stops_the_ring_and_keeps_its_error_descriptor() -> None:
    made = change(running(0, 1), Request.GET_VRING_BASE, vring_state(0))
    assert set(made.session.running()) == {1}
    assert made.session.vrings[0].enabled
    assert made.drop == (kick_name(0),)


def test_a_ring_that_was_never_set_up_may_be_asked_for_its_position() -> None:
    assert change(Session(), Request.GET_VRING_BASE, vring_state(4)).session == Session()


def test_a_ring_is_enabled_and_disabled_and_stays_started() -> None:
    disabled = change(running(0, 1), Request.SET_VRING_ENABLE, vring_state(0, 0))
    assert set(disabled.session.running()) == {1}
    assert disabled.drop == ()
    enabled = change(disabled.session, Request.SET_VRING_ENABLE, vring_state(0, 1))
    assert enabled.session == running(0, 1)


def test_a_ring_that_was_never_set_up_may_be_enabled() -> None:
    made = change(Session(features=F_PROTOCOL_FEATURES), Request.SET_VRING_ENABLE, vring_state(4, 1))
    assert made.session.vrings[4].enabled
    assert made.session.running() == {}


def test_enabling_by_anything_but_one_is_refused() -> None:
    with pytest.raises(FrontEndError, match="not 2"):
        change(Session(), Request.SET_VRING_ENABLE, vring_state(0, 2))


def test_a_kick_descriptor_starts_the_ring() -> None:
    stopped = running(0).with_vring(0, started=False)
    made = change(stopped, Request.SET_VRING_KICK, vring_fd(0), (9,))
    assert made == Change(running(0), {kick_name(0): 9})


def test_a_ring_that_would_have_to_be_polled_is_refused() -> None:
    with pytest.raises(FrontEndError, match="would have to be polled"):
        change(running(0), Request.SET_VRING_KICK, vring_fd(0, none=True))


@pytest.mark.parametrize(
    ("request_number", "name"), [(Request.SET_VRING_CALL, call_name), (Request.SET_VRING_ERR, error_name)]
)
def test_call_and_error_descriptors_are_kept_or_dropped_and_nothing_else_changes(request_number, name) -> None:
    session = running(0, 1)
    assert change(session, request_number, vring_fd(1), (9,)) == Change(session, {name(1): 9})
    assert change(session, request_number, vring_fd(1, none=True)) == Change(session, drop=(name(1),))


@pytest.mark.parametrize("request_number", [Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR])
@pytest.mark.parametrize("fds", [(), (8, 9)])
def test_a_doorbell_is_one_descriptor(request_number: Request, fds: tuple[int, ...]) -> None:
    with pytest.raises(FrontEndError, match=f"{len(fds)} descriptors, not 1"):
        change(Session(), request_number, vring_fd(0), fds)


@pytest.mark.parametrize(
    ("request_number", "payload", "fds"),
    [
        (Request.SET_VRING_NUM, vring_state(MAX_QUEUES, 128), ()),
        (Request.SET_VRING_BASE, vring_state(MAX_QUEUES, 0), ()),
        (Request.GET_VRING_BASE, vring_state(MAX_QUEUES, 0), ()),
        (Request.SET_VRING_ENABLE, vring_state(MAX_QUEUES, 1), ()),
        (Request.SET_VRING_ADDR, VRING_ADDRESS.pack(address(MAX_QUEUES)), ()),
        (Request.SET_VRING_KICK, vring_fd(MAX_QUEUES), (9,)),
        (Request.SET_VRING_CALL, vring_fd(0xFF), (9,)),
        (Request.SET_VRING_ERR, vring_fd(MAX_QUEUES), (9,)),
    ],
)
def test_a_ring_beyond_the_last_is_refused(request_number: Request, payload: bytes, fds: tuple[int, ...]) -> None:
    with pytest.raises(FrontEndError, match="of a balloon, which has 5"):
        change(Session(), request_number, payload, fds)


def test_what_is_written_to_configuration_space_is_passed_on_with_its_place() -> None:
    made = change(running(0), Request.SET_CONFIG, config_piece(4, b"\1\2\3\4", flags=1))
    assert made == Change(running(0), config_write=(4, b"\1\2\3\4"))


@pytest.mark.parametrize(
    "payload",
    [
        config_piece(0, bytes(16))[:-1],
        config_piece(0, bytes(16)) + b"\0",
        config_piece(250, bytes(8)),
        config_piece(0xFFFFFFFF, bytes(4)),
        bytes(11),
    ],
)
def test_a_write_that_does_not_fit_configuration_space_is_refused(payload: bytes) -> None:
    with pytest.raises(FrontEndError):
        change(Session(), Request.SET_CONFIG, payload)


def test_configuration_space_may_be_written_to_its_very_end() -> None:
    assert change(Session(), Request.SET_CONFIG, config_piece(252, b"abcd")).config_write == (252, b"abcd")


@pytest.mark.parametrize("request_number", [Request.RESET_DEVICE, Request.RESET_OWNER])
def test_a_reset_stops_and_disables_all_rings_and_keeps_the_rest(request_number: Request) -> None:
    before = running(0, 1, 2)
    made = change(before, request_number)
    assert made.session.running() == {}
    assert not any(vring.enabled or vring.started for vring in made.session.vrings)
    assert (made.session.features, made.session.protocol_features) == (before.features, before.protocol_features)
    assert made.session.regions == before.regions
    assert set(made.drop) >= ALL_KICKS


@pytest.mark.parametrize(
    "request_number", [0, Request.SET_LOG_BASE, Request.VRING_KICK, Request.SET_STATUS, 41, 0xFFFFFFFF]
)
def test_an_unknown_message_is_refused(request_number: int) -> None:
    with pytest.raises(FrontEndError, match=f"message {request_number} is not one"):
        change(Session(), request_number)


@pytest.mark.parametrize("request_number", [Request.SET_FEATURES, Request.GET_FEATURES, Request.SET_OWNER])
def test_an_unusable_message_is_refused_with_the_reason(request_number: Request) -> None:
    unusable = received(request_number, u64(0), unusable="it is too large")
    with pytest.raises(FrontEndError, match=f"message {request_number}: it is too large"):
        change_of(Session(), unusable, OFFER)


@pytest.mark.parametrize(
    ("request_number", "payload", "fds"),
    [
        (Request.SET_FEATURES, u64(0), ()),
        (Request.SET_PROTOCOL_FEATURES, u64(0), ()),
        (Request.ADD_MEM_REG, single_region(LOW), (9,)),
        (Request.REM_MEM_REG, single_region(LOW), ()),
        (Request.SET_VRING_NUM, vring_state(0, 128), ()),
        (Request.SET_VRING_ADDR, VRING_ADDRESS.pack(address()), ()),
        (Request.SET_VRING_BASE, vring_state(0, 0), ()),
        (Request.GET_VRING_BASE, vring_state(0, 0), ()),
        (Request.SET_VRING_ENABLE, vring_state(0, 1), ()),
        (Request.SET_VRING_KICK, vring_fd(0), (9,)),
        (Request.SET_VRING_CALL, vring_fd(0), (9,)),
        (Request.SET_VRING_ERR, vring_fd(0), (9,)),
    ],
)
def test_a_payload_of_another_length_is_refused(request_number: Request, payload: bytes, fds: tuple[int, ...]) -> None:
    for wrong in (b"", payload[:-1], payload + b"\0"):
        with pytest.raises(FrontEndError):
            change(Session(), request_number, wrong, fds)


sessions = st.sampled_from(
    [
        Session(),
        running(0, 1, 2),
        running(0, 1, features=FEATURES & ~F_PROTOCOL_FEATURES),
        replace(Session(), regions=(place_of(LOW), place_of(HIGH))),
    ]
)
payloads = st.one_of(
    st.binary(max_size=128),
    st.lists(st.sampled_from([0, 1, 2, 5, 128, 4096, 1 << 16, 1 << 32, 1 << 63]), max_size=12).map(
        lambda words: b"".join(word.to_bytes(8, "little") for word in words)
    ),
)


@examples()
@given(
    session=sessions,
    request_number=st.one_of(st.sampled_from(sorted(RULES)), st.integers(0, 0xFFFFFFFF)),
    payload=payloads,
    fds=st.integers(0, 10).map(lambda count: tuple(range(100, 100 + count))),
    unusable=st.sampled_from((None, "too large")),
)
def test_any_message_makes_a_change_or_is_refused(session, request_number, payload, fds, unusable) -> None:
    message = received(request_number, payload, fds, unusable=unusable)
    try:
        made = change_of(session, message, OFFER)
    except FrontEndError:
        return
    assert set(made.store.values()) <= set(fds)
    assert len(set(made.store.values())) == len(made.store)
    assert not made.store.keys() & set(made.drop)
    assert made.session.regions == session.regions or {memory_name(place) for place in made.session.regions} <= (
        {memory_name(place) for place in session.regions} | made.store.keys()
    )

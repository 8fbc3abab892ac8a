import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_front_end import config_piece, u64, vring_state
from support.messages import received
from support.properties import examples

from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.payloads import CONFIG_HEADER, ConfigHeader
from protocol.vhost_user.requests import Request
from vballoond.transport.vhost_user.changes import RULES, Offer
from vballoond.transport.vhost_user.replies import reply_to
from vballoond.transport.vhost_user.session import Session
from vballoond.virtqueue.state import RingState

OFFER = Offer(F_PROTOCOL_FEATURES | 0x1_3000_0013, ProtocolFeature.REPLY_ACK | ProtocolFeature.MQ)
WITH_ACK = Session(protocol_features=ProtocolFeature.REPLY_ACK)
QUESTIONS = {
    Request.GET_FEATURES,
    Request.GET_PROTOCOL_FEATURES,
    Request.GET_QUEUE_NUM,
    Request.GET_MAX_MEM_SLOTS,
    Request.GET_VRING_BASE,
    Request.GET_CONFIG,
}


def config_space(offset: int, length: int) -> bytes:
    """What stands there is its own place, and behind the end there are zeros."""
    return bytes(range(16))[offset : offset + length].ljust(length, b"\0")


def answer(session: Session, request: int, payload: bytes = b"", *, need_reply: bool = False, refused: bool = False):
    message = received(request, payload, need_reply=need_reply)
    return reply_to(message, session, OFFER, config_space, refused=refused)


@pytest.mark.parametrize(
    ("request_number", "number"),
    [
        (Request.GET_FEATURES, OFFER.features),
        (Request.GET_PROTOCOL_FEATURES, OFFER.protocol_features),
        (Request.GET_QUEUE_NUM, 5),
        (Request.GET_MAX_MEM_SLOTS, 128),
    ],
)
@pytest.mark.parametrize("need_reply", [False, True])
def test_numbers_are_answered_once_whether_an_acknowledgement_is_wanted_or_not(
    request_number: Request, number: int, need_reply: bool
) -> None:
    assert answer(WITH_ACK, request_number, need_reply=need_reply) == u64(number)
    assert answer(Session(), request_number) == u64(number)


@pytest.mark.parametrize("request_number", sorted(set(RULES) - QUESTIONS))
def test_what_has_no_reply_of_its_own_is_acknowledged_where_that_is_wanted(request_number: int) -> None:
    assert answer(WITH_ACK, request_number, need_reply=True) == u64(0)
    assert answer(WITH_ACK, request_number, need_reply=True, refused=True) == u64(1)


@pytest.mark.parametrize("request_number", sorted(set(RULES) - QUESTIONS))
def test_nothing_is_answered_that_nobody_waits_for(request_number: int) -> None:
    assert answer(WITH_ACK, request_number) is None
    assert answer(WITH_ACK, request_number, refused=True) is None
    # Without REPLY_ACK the flag means nothing.
    assert answer(Session(), request_number, need_reply=True) is None
    assert answer(Session(), request_number, need_reply=True, refused=True) is None


@pytest.mark.parametrize("request_number", [0, 6, 35, 39, 41, 0xFFFFFFFF])
def test_an_unknown_message_is_refused_where_somebody_waits(request_number: int) -> None:
    assert answer(WITH_ACK, request_number, need_reply=True, refused=True) == u64(1)
    assert answer(WITH_ACK, request_number, refused=True) is None


def test_a_position_is_answered_from_the_session() -> None:
    session = Session().with_vring(2, state=RingState(0xFFFE))
    assert answer(session, Request.GET_VRING_BASE, vring_state(2)) == vring_state(2, 0xFFFE)


def test_a_ring_that_was_never_set_up_is_at_position_zero() -> None:
    assert answer(Session(), Request.GET_VRING_BASE, vring_state(4)) == vring_state(4, 0)


def test_a_question_for_a_ring_that_cannot_be_is_answered_all_the_same() -> None:
    assert answer(Session(), Request.GET_VRING_BASE, vring_state(77), refused=True) == vring_state(77, 0)
    assert len(answer(Session(), Request.GET_VRING_BASE, b"", refused=True)) == 8


@pytest.mark.parametrize(
    ("offset", "length"),
    [(0, 16), (0, 4), (0, 8), (0, 12), (4, 4), (8, 8), (15, 1), (16, 4), (252, 4), (0, 256)],
)
def test_configuration_space_is_answered_in_the_size_that_was_asked_for(offset: int, length: int) -> None:
    payload = answer(Session(), Request.GET_CONFIG, config_piece(offset, bytes(length)))
    assert CONFIG_HEADER.unpack_from(payload, 0) == ConfigHeader(offset, length, 0)
    assert payload[12:] == config_space(offset, length)
    assert len(payload) == 12 + length


def test_the_flags_of_a_configuration_question_come_back() -> None:
    payload = answer(Session(), Request.GET_CONFIG, config_piece(0, bytes(4), flags=1))
    assert CONFIG_HEADER.unpack_from(payload, 0).flags == 1


@pytest.mark.parametrize("payload", [b"", bytes(11), config_piece(256, b"\0"), config_piece(0xFFFFFFFF, bytes(4))])
def test_a_configuration_question_that_cannot_be_answered_gets_no_payload(payload: bytes) -> None:
    assert answer(Session(), Request.GET_CONFIG, payload) == b""


@examples()
@given(
    session=st.sampled_from([Session(), WITH_ACK]),
    request_number=st.one_of(st.sampled_from(sorted(RULES)), st.integers(0, 0xFFFFFFFF)),
    payload=st.binary(max_size=64),
    need_reply=st.booleans(),
    refused=st.booleans(),
)
def test_a_question_is_always_answered_and_nothing_else_unasked(
    session, request_number, payload, need_reply, refused
) -> None:
    made = answer(session, request_number, payload, need_reply=need_reply, refused=refused)
    if request_number in QUESTIONS:
        assert made is not None
    elif need_reply and session is WITH_ACK:
        assert made == u64(int(refused))
    else:
        assert made is None

import asyncio
import contextlib
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import open_descriptors
from support.fake_front_end import message, u64
from support.properties import examples

from protocol.vhost_user.header import MAX_MESSAGE_FDS, MAX_PAYLOAD_BYTES, MESSAGE_HEADER, MessageHeader
from protocol.vhost_user.requests import Request
from vballoond.errors import FrontEndError
from vballoond.state.live_words import LIVE_BYTES, LiveWords
from vballoond.transport.vhost_user.channel import Channel, Message, open_staging
from vballoond.transport.vhost_user.descriptors import close_all

FEATURES = message(Request.SET_FEATURES, u64(0x1_3000_0013))
OWNER = message(Request.SET_OWNER)


@contextlib.contextmanager
def channel_of(connection: socket.socket) -> Iterator[Channel]:
    """A channel with a pipe and words of its own, which nobody keeps."""
    staging = open_staging()
    channel = Channel(connection, staging, LiveWords(memoryview(bytearray(LIVE_BYTES))))
    try:
        yield channel
    finally:
        channel.close()
        os.close(staging)


@pytest.fixture
async def ends() -> AsyncIterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, channel_of(theirs) as channel:
        yield channel, ours


@pytest.fixture
def files() -> Iterator[list[int]]:
    fds = [os.memfd_create(f"file-{number}") for number in range(MAX_MESSAGE_FDS + 1)]
    yield fds
    close_all(fds)


def identity(fd: int) -> tuple[int, int]:
    stat = os.fstat(fd)
    return stat.st_dev, stat.st_ino


async def take(channel: Channel) -> tuple[MessageHeader, bytes, list[tuple[int, int]]]:
    """Take the next message; its descriptors are closed and told by what they were of."""
    taken = await channel.peek()
    assert taken is not None
    identities = [identity(fd) for fd in taken.fds]
    close_all(taken.fds)
    await channel.consume(taken)
    return taken.header, taken.payload, identities


async def begun(channel: Channel) -> "asyncio.Task[object]":
    """Begin to wait for a message, until nothing more can be read."""
    task = asyncio.create_task(channel.peek())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


async def test_a_message_has_its_header_and_payload(ends) -> None:
    channel, front_end = ends
    front_end.sendall(FEATURES)

    header, payload, fds = await take(channel)

    assert header == MessageHeader(Request.SET_FEATURES, 1, 8)
    assert payload == u64(0x1_3000_0013)
    assert fds == []


async def test_a_message_may_come_before_or_while_it_is_waited_for(ends) -> None:
    channel, front_end = ends
    task = await begun(channel)
    front_end.sendall(OWNER)
    taken = await task
    assert taken.header.request == Request.SET_OWNER
    assert taken.payload == b""


@pytest.mark.parametrize("cut", [1, 11, 12, 13, len(FEATURES) - 1])
async def test_a_message_in_two_pieces_is_one_message(ends, cut: int) -> None:
    channel, front_end = ends
    front_end.sendall(FEATURES[:cut])
    task = await begun(channel)
    front_end.sendall(FEATURES[cut:])
    taken = await task
    assert (taken.header.request, taken.payload) == (Request.SET_FEATURES, FEATURES[12:])


async def test_descriptors_come_with_the_first_piece(ends, files) -> None:
    channel, front_end = ends
    socket.send_fds(front_end, [FEATURES[:5]], files[:3])
    task = await begun(channel)
    front_end.sendall(FEATURES[5:14])
    for _ in range(5):
        await asyncio.sleep(0)
    front_end.sendall(FEATURES[14:])
    taken = await task

    assert taken.payload == FEATURES[12:]
    assert [identity(fd) for fd in taken.fds] == [identity(fd) for fd in files[:3]]
    close_all(taken.fds)


async def test_received_descriptors_are_not_inherited_by_programs(ends, files) -> None:
    channel, front_end = ends
    os.set_inheritable(files[0], True)
    socket.send_fds(front_end, [OWNER], files[:1])
    taken = await channel.peek()
    assert [os.get_inheritable(fd) for fd in taken.fds] == [False]
    close_all(taken.fds)


async def test_messages_in_one_write_are_as_many_as_they_are(ends) -> None:
    channel, front_end = ends
    front_end.sendall(FEATURES + OWNER + FEATURES)

    taken = [await take(channel) for _ in range(3)]

    assert [header.request for header, _, _ in taken] == [
        Request.SET_FEATURES,
        Request.SET_OWNER,
        Request.SET_FEATURES,
    ]
    assert [payload for _, payload, _ in taken] == [FEATURES[12:], b"", FEATURES[12:]]


async def test_descriptors_of_a_write_with_several_messages_are_given_to_none_of_the_later(ends, files) -> None:
    channel, front_end = ends
    before = open_descriptors()
    socket.send_fds(front_end, [FEATURES + OWNER + FEATURES], files[:2])

    fds = [(await take(channel))[2] for _ in range(3)]

    assert fds[1:] == [[], []]
    assert open_descriptors() == before


async def test_each_message_that_brings_descriptors_gets_its_own(ends, files) -> None:
    channel, front_end = ends
    socket.send_fds(front_end, [FEATURES], files[:1])
    socket.send_fds(front_end, [OWNER], files[1:3])
    socket.send_fds(front_end, [FEATURES], files[3:4])

    fds = [(await take(channel))[2] for _ in range(3)]

    assert fds == [[identity(files[0])], [identity(files[1]), identity(files[2])], [identity(files[3])]]


async def test_descriptors_of_the_message_behind_do_not_join_those_of_one_in_pieces(ends, files) -> None:
    channel, front_end = ends
    socket.send_fds(front_end, [FEATURES[:5]], files[:1])
    front_end.sendall(FEATURES[5:])
    socket.send_fds(front_end, [OWNER], files[1:2])

    fds = [(await take(channel))[2] for _ in range(2)]

    assert fds == [[identity(files[0])], [identity(files[1])]]


async def test_descriptors_of_the_message_behind_are_not_given_to_one_that_has_none(ends, files) -> None:
    channel, front_end = ends
    front_end.sendall(FEATURES)
    front_end.sendall(OWNER)
    # Linux shows these to whoever peeks at no more than the messages before.
    socket.send_fds(front_end, [OWNER], files[:1])

    fds = [(await take(channel))[2] for _ in range(3)]

    assert fds == [[], [], [identity(files[0])]]


@examples()
@given(
    payloads=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 260), max_size=8),
)
def test_however_the_stream_is_cut_the_messages_are_the_same(payloads: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(message(number + 1, payload) for number, payload in enumerate(payloads))
    edges = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})

    async def read_all() -> list[bytes]:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, channel_of(theirs) as channel:
            for start, end in itertools.pairwise(edges):
                ours.sendall(stream[start:end])
            return [(await take(channel))[1] for _ in payloads]

    assert asyncio.run(read_all()) == payloads


async def test_the_largest_payload_is_taken(ends) -> None:
    channel, front_end = ends
    payload = bytes(range(256)) * (MAX_PAYLOAD_BYTES // 256)
    front_end.sendall(message(Request.SET_CONFIG, payload))
    taken = await channel.peek()
    assert taken.unusable is None
    assert taken.payload == payload


async def test_an_oversize_payload_is_read_away_and_the_stream_goes_on(ends) -> None:
    channel, front_end = ends
    front_end.sendall(message(Request.SET_CONFIG, bytes(MAX_PAYLOAD_BYTES + 1)) + FEATURES)

    refused = await channel.peek()
    await channel.consume(refused)

    assert refused.unusable is not None
    assert refused.header.size == MAX_PAYLOAD_BYTES + 1
    assert refused.payload == b""
    assert (await take(channel))[1] == FEATURES[12:]


async def test_descriptors_of_an_oversize_message_are_closed(ends, files) -> None:
    channel, front_end = ends
    before = open_descriptors()
    socket.send_fds(front_end, [message(Request.SET_CONFIG, bytes(MAX_PAYLOAD_BYTES + 1))], files[:4])
    refused = await channel.peek()
    await channel.consume(refused)
    assert refused.fds == ()
    assert open_descriptors() == before


async def test_an_oversize_payload_may_come_in_pieces(ends) -> None:
    channel, front_end = ends
    whole = message(Request.SET_CONFIG, bytes(MAX_PAYLOAD_BYTES + 100))
    front_end.sendall(whole[:50])
    refused = await channel.peek()
    consumed = asyncio.create_task(channel.consume(refused))
    for _ in range(5):
        await asyncio.sleep(0)
    front_end.sendall(whole[50:])
    await consumed

    task = await begun(channel)
    front_end.sendall(FEATURES)
    async with asyncio.timeout(5):
        assert (await task).payload == FEATURES[12:]


@pytest.mark.parametrize("version", [0, 2, 3])
async def test_another_version_ends_the_stream(ends, version: int) -> None:
    channel, front_end = ends
    front_end.sendall(message(Request.SET_OWNER, version=version))
    with pytest.raises(FrontEndError, match=f"version {version}"):
        await channel.peek()


@pytest.mark.parametrize("sent", [b"", OWNER[:1], FEATURES[:12], FEATURES[:-1]])
async def test_the_stream_may_end_anywhere(ends, files, sent: bytes) -> None:
    channel, front_end = ends
    before = open_descriptors()
    if sent:
        socket.send_fds(front_end, [sent], files[:2])
    front_end.shutdown(socket.SHUT_WR)
    assert await channel.peek() is None
    assert open_descriptors() == before


async def test_a_stream_that_ends_inside_an_oversize_payload_has_ended(ends) -> None:
    channel, front_end = ends
    front_end.sendall(message(Request.SET_CONFIG, bytes(MAX_PAYLOAD_BYTES + 1))[:-1])
    front_end.shutdown(socket.SHUT_WR)
    await channel.consume(await channel.peek())
    assert await channel.peek() is None


async def test_as_many_descriptors_as_are_allowed_come_whole(ends, files) -> None:
    channel, front_end = ends
    socket.send_fds(front_end, [OWNER], files[:MAX_MESSAGE_FDS])
    assert len((await take(channel))[2]) == MAX_MESSAGE_FDS


async def test_more_descriptors_make_a_message_unusable_and_all_are_closed(ends, files) -> None:
    channel, front_end = ends
    before = open_descriptors()
    socket.send_fds(front_end, [FEATURES], files[: MAX_MESSAGE_FDS + 1])
    front_end.sendall(OWNER)
    refused = await channel.peek()
    assert refused.header.request == Request.SET_FEATURES
    assert refused.unusable == "it came with more than 32 descriptors"
    assert refused.fds == ()
    assert open_descriptors() == before
    await channel.consume(refused)
    assert (await take(channel))[0].request == Request.SET_OWNER


async def test_a_peeked_message_stays_until_it_is_consumed(ends, files) -> None:
    channel, front_end = ends
    socket.send_fds(front_end, [FEATURES], files[:1])
    front_end.sendall(OWNER)

    first = await channel.peek()
    second = await channel.peek()

    assert (first.header, first.payload) == (second.header, second.payload)
    assert first.fds != second.fds
    assert identity(first.fds[0]) == identity(second.fds[0]) == identity(files[0])
    await channel.consume(second)
    assert (await take(channel))[0].request == Request.SET_OWNER
    # Those that were peeked at are duplicates, and still open.
    close_all([*first.fds, *second.fds])


async def test_waiting_for_the_rest_of_a_message_can_be_given_up(ends, files) -> None:
    channel, front_end = ends
    before = open_descriptors()
    socket.send_fds(front_end, [FEATURES[:14]], files[:2])
    task = await begun(channel)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert open_descriptors() == before


async def test_descriptors_of_a_message_that_breaks_off_are_closed(ends, files) -> None:
    channel, front_end = ends
    before = open_descriptors()
    front_end.sendall(OWNER)
    await channel.answer(await channel.peek(), u64(0))
    socket.send_fds(front_end, [FEATURES[:14]], files[:2])
    task = await begun(channel)
    # A reply that was never read makes closing a reset.
    front_end.close()
    with pytest.raises(ConnectionError):
        await task
    assert open_descriptors() == before - 1


async def test_a_front_end_that_closed_its_end_has_hung_up_whatever_it_left(ends) -> None:
    channel, front_end = ends
    front_end.sendall(FEATURES)
    assert not channel.hung_up()
    front_end.close()
    assert channel.hung_up()
    assert (await take(channel))[0].request == Request.SET_FEATURES
    assert channel.hung_up()


async def test_a_reply_repeats_the_request_and_has_no_other_flag_than_reply(ends) -> None:
    channel, front_end = ends
    front_end.sendall(message(Request.GET_FEATURES))
    await channel.answer(await channel.peek(), u64(0x123))
    answer = front_end.recv(100)
    assert MESSAGE_HEADER.unpack(answer[:12]) == MessageHeader(Request.GET_FEATURES, 0x5, 8)
    assert answer[12:] == u64(0x123)


# Answers, staged for a process that may have to send them.


class Answering:
    """One front-end; channels of processes, one after the other, with the pipe and the words that outlive them."""

    def __init__(self) -> None:
        self.front_end, self._connection = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self.front_end.setblocking(False)
        self.staging = open_staging()
        self.live = LiveWords(memoryview(bytearray(LIVE_BYTES)))

    @contextlib.contextmanager
    def process(self) -> Iterator[Channel]:
        channel = Channel(self._connection.dup(), self.staging, self.live)
        try:
            yield channel
        finally:
            channel.close()

    async def killed_in_answer(self, method: str) -> None:
        """Have a process look at the next message and answer it, and die where it would call a method."""
        with self.process() as channel:

            async def dies(*_: object) -> None:
                raise Killed

            taken = await channel.peek()
            setattr(channel, method, dies)
            with contextlib.suppress(Killed):
                await channel.answer(taken, u64(1))

    def received(self) -> bytes:
        try:
            return self.front_end.recv(1000)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        self.front_end.close()
        self._connection.close()
        os.close(self.staging)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    yield made
    made.close()


ANSWER = MESSAGE_HEADER.pack(MessageHeader(Request.GET_FEATURES, 0x5, 8)) + u64(1)


async def test_an_answer_leaves_nothing_staged(answering: Answering) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    with answering.process() as channel:
        await channel.answer(await channel.peek(), u64(1))
    assert answering.received() == ANSWER
    with pytest.raises(BlockingIOError):
        os.read(answering.staging, 1)


async def test_a_message_without_an_answer_is_consumed_and_nothing_is_staged(answering: Answering) -> None:
    answering.front_end.send(OWNER + FEATURES)
    with answering.process() as channel:
        await channel.answer(await channel.peek(), None)
        assert (await channel.peek()).header.request == Request.SET_FEATURES
    assert answering.received() == b""
    assert answering.live.answering == 0


@pytest.mark.parametrize("method", ["consume", "_send"])
async def test_an_answer_that_is_due_is_sent_once_and_its_message_is_gone(answering: Answering, method: str) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    await answering.killed_in_answer(method)
    assert answering.received() == b""
    with answering.process() as channel:
        await channel.settle()
        assert answering.received() == ANSWER
        answering.front_end.send(OWNER)
        assert (await channel.peek()).header.request == Request.SET_OWNER
    with answering.process() as channel:
        await channel.settle()
        assert answering.received() == b""


async def test_without_an_answer_that_is_due_the_message_is_left_to_be_handled(answering: Answering) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    with answering.process() as channel:
        await channel.peek()
    with answering.process() as channel:
        await channel.settle()
        assert (await channel.peek()).header.request == Request.GET_FEATURES
    assert answering.received() == b""


async def test_a_message_that_came_behind_an_answer_that_is_due_is_not_taken_for_the_answered_one(
    answering: Answering,
) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    await answering.killed_in_answer("_send")
    answering.front_end.send(OWNER)
    with answering.process() as channel:
        await channel.settle()
        assert answering.received() == ANSWER
        assert (await channel.peek()).header.request == Request.SET_OWNER


async def test_descriptors_of_an_answered_message_are_closed_with_it(answering: Answering, files) -> None:
    socket.send_fds(answering.front_end, [message(Request.GET_FEATURES)], files[:3])
    with answering.process() as channel:

        async def dies(*_: object) -> None:
            raise Killed

        taken = await channel.peek()
        close_all(taken.fds)
        channel.consume = dies
        with contextlib.suppress(Killed):
            await channel.answer(taken, u64(1))
    with answering.process() as channel:
        before = open_descriptors()
        await channel.settle()
        assert open_descriptors() == before
    assert answering.received() == ANSWER


async def test_an_answer_waits_until_the_front_end_has_room_for_it(answering: Answering) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    with answering.process() as channel:
        taken = await channel.peek()
        with contextlib.suppress(BlockingIOError):
            while True:
                channel._socket.send(bytes(1 << 16))
        task = asyncio.create_task(channel.answer(taken, u64(1)))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not task.done()
        received = b""
        async with asyncio.timeout(5):
            while not received.endswith(ANSWER):
                received += answering.received()
                await asyncio.sleep(0)
            await task
    assert not received.removesuffix(ANSWER).strip(b"\0")


async def test_an_answer_that_nobody_will_read_ends_the_connection(answering: Answering) -> None:
    answering.front_end.send(message(Request.GET_FEATURES))
    await answering.killed_in_answer("_send")
    answering.front_end.close()
    with answering.process() as channel, pytest.raises(OSError, match=r"Broken pipe|reset"):
        await channel.settle()


@examples()
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_a_message_is_known_again_by_all_of_it(one: bytes, other: bytes) -> None:
    def checksum(payload: bytes, request: int = 1) -> int:
        return Message(MessageHeader(request, 1, len(payload)), payload, ()).checksum

    assert checksum(one) != 0
    assert (checksum(one) == checksum(other)) == (one == other)
    assert checksum(one) != checksum(one, request=2)


def test_the_received_message_says_whether_an_answer_is_wanted() -> None:
    async def wanted(flags: int) -> bool:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        with ours, channel_of(theirs) as channel:
            ours.sendall(MESSAGE_HEADER.pack(MessageHeader(Request.SET_OWNER, flags, 0)))
            return (await channel.peek()).need_reply

    assert not asyncio.run(wanted(0x1))
    assert asyncio.run(wanted(0x9))

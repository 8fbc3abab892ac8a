from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vballoond.cli import server_sent_events
from vballoond.cli.server_sent_events import MAX_EVENT_BYTES, MAX_RETRY_MS, Event, EventError, EventParser

ENDINGS = st.sampled_from(["\n", "\r\n", "\r"])
VALUES = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), max_size=8)
LINES = st.one_of(
    st.tuples(st.sampled_from(["data", "event", "id", "retry", "other", ""]), VALUES).map(": ".join),
    st.sampled_from(["", "", "data", "data:x", ":", "event: a", "\ufeffdata: 1"]),
)
STREAMS = st.lists(st.tuples(LINES, ENDINGS).map("".join), max_size=20).map(lambda lines: "".join(lines).encode())


def whole(stream: bytes) -> tuple[list[Event], str, int]:
    parser = EventParser()
    return parser.feed(stream), parser.last_id, parser.retry_ms


@given(STREAMS, st.lists(st.integers(0, 200)))
def test_how_the_bytes_are_cut_makes_no_difference(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    parser = EventParser()
    events = [event for begin, end in pairwise(places) for event in parser.feed(stream[begin:end])]
    assert (events, parser.last_id, parser.retry_ms) == whole(stream)


@given(STREAMS)
def test_byte_by_byte_is_as_all_at_once(stream: bytes) -> None:
    parser = EventParser()
    events = [event for byte in stream for event in parser.feed(bytes([byte]))]
    assert (events, parser.last_id, parser.retry_ms) == whole(stream)


@given(st.lists(st.tuples(VALUES.filter(bool), st.lists(VALUES, min_size=1), VALUES)), ENDINGS)
def test_what_is_written_is_read(events: list[tuple[str, list[str], str]], ending: str) -> None:
    written = "".join(
        ending.join([f"id: {number}", f"event: {kind}", *(f"data: {line}" for line in data), "", ""])
        for kind, data, number in events
    )
    expected = [Event(kind, "\n".join(data), number) for kind, data, number in events]
    assert whole(written.encode())[0] == expected


@given(st.lists(st.binary(max_size=50)))
def test_garbage_is_no_defect(pieces: list[bytes]) -> None:
    parser = EventParser()
    for piece in pieces:
        parser.feed(piece)


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data: 1\n\n", [Event("message", "1")]),
        (b"data\n\n", [Event("message", "")]),
        (b"data:  1 \n\n", [Event("message", " 1 ")]),
        (b"event: a\n\ndata: 1\n\n", [Event("message", "1")]),
        (b"id: 7\ndata: 1\n\ndata: 2\n\n", [Event("message", "1", "7"), Event("message", "2", "7")]),
        (b"id: 7\nid: 8\0\ndata: 1\n\n", [Event("message", "1", "7")]),
        (b": heartbeat\n\nother: 1\ndata: 1\n\n", [Event("message", "1")]),
        ("\ufeffdata: ü\n\n".encode(), [Event("message", "ü")]),
        (b"data: 1\n", []),
    ],
)
def test_events_are_read_as_the_standard_says(stream: bytes, events: list[Event]) -> None:
    assert whole(stream)[0] == events


def test_an_id_counts_once_its_event_is_whole() -> None:
    parser = EventParser("R-1")
    assert parser.last_id == "R-1"
    assert parser.feed(b"id: R-2\ndata: 1\n") == []
    assert parser.last_id == "R-1"
    assert parser.feed(b"\n") == [Event("message", "1", "R-2")]
    assert parser.last_id == "R-2"


@pytest.mark.parametrize(
    ("written", "retry_ms"), [(b"5", 5), (b"99999", MAX_RETRY_MS), (b"soon", 1000), (b"-1", 1000), (b"9" * 500, 1000)]
)
def test_how_long_to_wait_is_taken_within_bounds(written: bytes, retry_ms: int) -> None:
    assert whole(b"retry: " + written + b"\n\n")[2] == retry_ms


@pytest.mark.parametrize("piece", [b"x" * 4096, b"data: x\n" * 512, b"data\n" * 512, b"data\n:\n" * 512])
def test_no_more_is_kept_than_an_event_may_have(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_sent_events, "MAX_EVENT_BYTES", 1 << 18)
    parser = EventParser()
    with pytest.raises(EventError, match="larger than 262144 bytes"):  # noqa: PT012 (any of them may be too much)
        for _ in range((1 << 18) // 256):
            parser.feed(piece)


def test_an_event_may_have_four_mebibytes() -> None:
    whole_event = b"data:" + b"x" * (MAX_EVENT_BYTES - 5)
    EventParser().feed(whole_event)
    with pytest.raises(EventError, match="larger than 4194304 bytes"):
        EventParser().feed(whole_event + b"x")


def test_comments_may_go_on_for_ever() -> None:
    parser = EventParser()
    for _ in range(3):
        parser.feed(b": a comment of some length\n" * (MAX_EVENT_BYTES // 40))
    assert parser.feed(b"data: 1\n\n") == [Event("message", "1")]

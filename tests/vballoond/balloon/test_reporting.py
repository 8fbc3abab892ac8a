from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from vballoond.balloon.counters import Counters
from vballoond.balloon.device import BalloonDevice
from vballoond.balloon.effects import CompleteRequest, ReleaseFrames
from vballoond.balloon.facts import ConfigWritten, MemoryKnown, Negotiated, Request
from vballoond.balloon.reporting import MAX_REPORTED_FRAMES, reported_ranges
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.virtqueue.chain import Buffer

SPACE = FrameSpace((FrameRange(0, 160), FrameRange(192, 1 << 20)))
FREE = (Buffer(192 * 4096, 64 * 4096),)
COMPLETED = CompleteRequest(QueueRole.REPORTING, 3)


def device(features: int) -> BalloonDevice:
    made = BalloonDevice()
    made.handle(MemoryKnown(SPACE))
    made.handle(Negotiated(features))
    return made


def report(buffers: tuple[Buffer, ...]) -> Request:
    return Request(QueueRole.REPORTING, 3, b"", datetime(2026, 1, 1, tzinfo=UTC), buffers)


def write_poison(made: BalloonDevice, value: int) -> None:
    made.handle(ConfigWritten(BALLOON_CONFIG.offset_of("poison_val"), value.to_bytes(4, "little")))


def test_reported_memory_is_given_back_before_the_request_is_completed() -> None:
    made = device(BalloonFeature.PAGE_REPORTING)
    assert made.handle(report(FREE)) == (ReleaseFrames((FrameRange(192, 64),)), COMPLETED)
    assert made.counters.reported_frames == 64
    assert made.frame_map.held_frames == 0


def test_poisoned_memory_is_left_alone_and_the_request_completed() -> None:
    made = device(BalloonFeature.PAGE_REPORTING | BalloonFeature.PAGE_POISON)
    write_poison(made, 0xAAAAAAAA)
    assert made.handle(report(FREE)) == (COMPLETED,)


def test_a_poison_value_of_zero_allows_giving_back() -> None:
    made = device(BalloonFeature.PAGE_REPORTING | BalloonFeature.PAGE_POISON)
    write_poison(made, 0)
    assert made.handle(report(FREE)) == (ReleaseFrames((FrameRange(192, 64),)), COMPLETED)


def test_a_poison_value_without_the_feature_says_nothing() -> None:
    made = device(BalloonFeature.PAGE_REPORTING)
    write_poison(made, 0xAAAAAAAA)
    assert ReleaseFrames((FrameRange(192, 64),)) in made.handle(report(FREE))


def test_what_is_not_whole_frames_is_skipped_and_the_rest_given_back() -> None:
    counters = Counters()
    odd = (Buffer(4095, 8192), Buffer(4096, 100), *FREE)
    assert reported_ranges(SPACE, odd, counters) == (FrameRange(192, 64),)
    assert counters.odd_bytes == 8292


def test_a_hole_and_what_lies_beyond_memory_are_skipped() -> None:
    counters = Counters()
    across_the_hole = Buffer(150 * 4096, 50 * 4096)
    beyond = Buffer(1 << 50, 1 << 30)
    assert reported_ranges(SPACE, (across_the_hole, beyond), counters) == (FrameRange(150, 10), FrameRange(192, 8))


def test_an_empty_request_is_completed() -> None:
    assert device(BalloonFeature.PAGE_REPORTING).handle(report(())) == (COMPLETED,)


def test_one_request_gives_back_no_more_than_the_bound() -> None:
    buffers = (Buffer(192 * 4096, (1 << 20) * 4096),) * 8
    ranges = reported_ranges(SPACE, buffers, Counters())
    assert sum(part.count for part in ranges) == MAX_REPORTED_FRAMES


@given(st.lists(st.builds(Buffer, st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1)), max_size=20))
def test_nothing_outside_of_memory_is_ever_given_back(buffers: list[Buffer]) -> None:
    for part in reported_ranges(SPACE, buffers, Counters()):
        assert any(span.first <= part.first and part.end <= span.end for span in SPACE.spans)

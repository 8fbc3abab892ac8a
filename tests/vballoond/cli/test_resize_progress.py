from typing import Any

import pytest
from support.fake_daemon import MIB, resize

from vballoond.cli.balloon_event import BalloonEvent
from vballoond.cli.resize_progress import ResizeProgress


def at(second: int) -> str:
    return f"2026-01-02T03:04:{second:02}Z"


def event(kind: str, second: int = 0, balloon: str = "vm1", **data: Any) -> BalloonEvent:
    return BalloonEvent(kind, "", at(second), balloon, data)


def sizes(second: int, actual_mib: int, balloon: str = "vm1") -> BalloonEvent:
    return event("sizes", second, balloon, actual_bytes=actual_mib * MIB)


def begun(**changes: Any) -> ResizeProgress:
    seen = {"target_bytes": 512 * MIB, **changes}
    return ResizeProgress("vm1", seen["target_bytes"]).take(event("resize-begun", resize=resize(**seen)))


def after(progress: ResizeProgress, *events: BalloonEvent) -> ResizeProgress:
    for one in events:
        progress = progress.take(one)
    return progress


def test_before_it_begins_nothing_is_known() -> None:
    progress = after(ResizeProgress("vm1", 512 * MIB), sizes(1, 256))
    assert (progress.number, progress.share, progress.rate_bytes_per_s, progress.remaining_s) == (None, 0, 0, None)


def test_sizes_give_share_rate_and_estimate() -> None:
    progress = after(begun(), sizes(1, 64), sizes(2, 128))
    assert progress.share == 0.25
    assert progress.rate_bytes_per_s == 64 * MIB
    assert progress.remaining_s == 6


def test_a_balloon_that_shrinks_comes_nearer_too() -> None:
    progress = after(begun(from_bytes=512 * MIB, target_bytes=0), sizes(2, 384))
    assert (progress.share, progress.rate_bytes_per_s, progress.remaining_s) == (0.25, 64 * MIB, 6)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    progress = after(begun(), sizes(1, 100), sizes(20, 110), sizes(25, 160))
    assert progress.rate_bytes_per_s == 10 * MIB


def test_what_moves_away_from_the_target_has_no_rate() -> None:
    progress = after(begun(from_bytes=128 * MIB), sizes(1, 96), sizes(2, 64))
    assert (progress.rate_bytes_per_s, progress.remaining_s) == (0, None)


def test_a_stall_is_told_until_it_moves_again() -> None:
    stalled = after(begun(), sizes(1, 64), event("resize-stalled", 4, resize=resize(stalled="asleep")))
    assert (stalled.stalled, stalled.rate_bytes_per_s, stalled.remaining_s) == ("asleep", 0, None)
    moving = after(stalled, event("resize-moving", 5, resize=resize()))
    assert (moving.stalled, moving.actual_bytes) == (None, 64 * MIB)
    assert moving.rate_bytes_per_s > 0


@pytest.mark.parametrize(
    "other",
    [
        sizes(1, 64, "vm2"),
        event("resize-stalled", 1, "vm2", resize=resize(stalled="asleep")),
        event("resize-stalled", 1, resize=resize(id=2, stalled="asleep")),
        event("sizes", 1, actual_bytes=None),
        event("state", 1, state="paused"),
    ],
)
def test_what_is_of_others_changes_nothing(other: BalloonEvent) -> None:
    assert begun().take(other) == begun()


def test_a_resize_to_another_target_is_not_this_one() -> None:
    waiting = ResizeProgress("vm1", 512 * MIB)
    assert waiting.take(event("resize-begun", resize=resize(target_bytes=MIB))) == waiting
    assert waiting.take(event("resize-stalled", resize=resize(stalled="asleep"))) == waiting


def test_the_answer_tells_as_well_as_events() -> None:
    progress = ResizeProgress("vm1", 512 * MIB).told(resize(id=9, from_bytes=MIB))
    assert (progress.number, progress.from_bytes, progress.actual_bytes) == (9, MIB, MIB)


def test_a_way_of_no_length_is_done() -> None:
    assert begun(from_bytes=512 * MIB).share == 1.0


def test_no_more_points_are_kept_than_are_needed() -> None:
    progress = begun()
    for number in range(1000):
        progress = progress.take(BalloonEvent("sizes", "", "2026-01-02T03:04:05Z", "vm1", {"actual_bytes": number}))
    assert len(progress.samples) < 100

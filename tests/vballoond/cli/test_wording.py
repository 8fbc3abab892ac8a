import time

import pytest

from vballoond.cli.wording import (
    clock_time,
    date_and_time,
    duration,
    resize_in_words,
    seconds_between,
    size,
    size_argument,
    time_of,
)
from vballoond.sizes import parse_size

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.4, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (47 * 3600, "47 h 0 min"),
        (48 * 3600, "2 days"),
    ],
)
def test_a_duration_has_two_parts_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("value", [0, 4096, MIB, 512 * MIB, 512 * MIB + 4096, (1 << 42) + 4096])
def test_a_size_for_a_command_is_exact(value: int) -> None:
    assert parse_size(size_argument(value)) == value


def test_a_size_that_nobody_knows_is_a_question() -> None:
    assert (size(None), size(0), size(MIB)) == ("?", "0 B", "1 MiB")


def test_moments_are_shown_by_the_clock_here() -> None:
    assert clock_time("2026-01-02T03:04:05.6Z") == "03:04:05"
    assert date_and_time("2026-01-02T03:04:05+01:00") == "2026-01-02 02:04:05"
    assert seconds_between("2026-01-02T03:04:05Z", "2026-01-02T03:04:06.5Z") == 1.5


@pytest.mark.parametrize("moment", [None, "", "soon", 7, "2026-01-02T03:04:05"])
def test_what_is_no_moment_is_none(moment) -> None:
    assert time_of(moment) is None
    assert (clock_time(moment), date_and_time(moment)) == ("--:--:--", "-")
    assert seconds_between(moment, "2026-01-02T03:04:05Z") is None
    assert seconds_between("2026-01-02T03:04:05Z", moment) is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "#7 under way, 3 MiB/s"),
        ({"stalled": "asleep"}, "#7 stalled: asleep"),
        ({"done": True}, "#7 done"),
        ({"done": True, "outcome": "done", "ended_at": "2026-01-02T03:04:08Z"}, "#7 done after 3.0 s"),
        ({"outcome": "superseded", "stalled": "asleep"}, "#7 superseded"),
    ],
)
def test_a_resize_is_told(changes: dict, text: str) -> None:
    resize = {
        "id": 7,
        "started_at": "2026-01-02T03:04:05Z",
        "rate_bytes_per_s": 3 * MIB,
        "stalled": None,
        "done": False,
    }
    assert resize_in_words({**resize, **changes}) == text


def test_no_resize_is_told_too() -> None:
    assert resize_in_words(None) == "none yet"

import io
from typing import Any

import pytest
from rich.console import Console

from vballoond.cli.tables import print_balloon, print_balloons, print_frames

BALLOON: dict[str, Any] = {
    "name": "vm1",
    "transport": "vhost-user",
    "state": "running",
    "reason": None,
    "memory_bytes": 1 << 30,
    "target_bytes": 512 << 20,
    "actual_bytes": 256 << 20,
    "held_frames": 65536,
    "resident_bytes": 768 << 20,
    "reclaimed_bytes": 1 << 20,
    "features": {"offered": [], "negotiated": ["stats", "version-1"]},
    "resize": None,
    "counters": {"inflate_requests": 256, "guest_errors": 0},
}
RESIZE = {
    "id": 7,
    "target_bytes": 512 << 20,
    "started_at": "2026-01-02T03:04:05Z",
    "rate_bytes_per_s": 3 << 20,
    "stalled": None,
    "done": False,
}


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=1000, highlight=False)


def printed(console: Console) -> list[str]:
    return console.file.getvalue().splitlines()


def details(console: Console, **changes: Any) -> dict[str, str]:
    print_balloon(console, {**BALLOON, **changes})
    return {line[:11].strip(): line[11:].strip() for line in printed(console)}


def test_balloons_are_a_table(console) -> None:
    waiting = {**BALLOON, "name": "vm2", "state": "waiting", "memory_bytes": None, "resident_bytes": None}
    print_balloons(console, [BALLOON, waiting])
    assert [line.split() for line in printed(console)] == [
        ["NAME", "STATE", "MEMORY", "TARGET", "ACTUAL", "RESIDENT", "RECLAIMED"],
        ["vm1", "running", "1", "GiB", "512", "MiB", "256", "MiB", "768", "MiB", "1", "MiB"],
        ["vm2", "waiting", "?", "512", "MiB", "256", "MiB", "?", "1", "MiB"],
    ]


def test_no_balloons_are_a_heading(console) -> None:
    print_balloons(console, [])
    assert len(printed(console)) == 1


def test_a_balloon_is_told_in_full(console) -> None:
    assert details(console) == {
        "name": "vm1",
        "transport": "vhost-user",
        "state": "running",
        "memory": "1 GiB",
        "target": "512 MiB",
        "actual": "256 MiB",
        "held frames": "65536",
        "resident": "768 MiB of the host's memory now",
        "reclaimed": "1 MiB given back so far",
        "negotiated": "stats version-1",
        "resize": "none yet",
        "counters": "inflate_requests=256",
    }


def test_a_broken_balloon_says_why_whatever_the_words(console) -> None:
    shown = details(console, state="broken", reason="inflateq: [bold]7[/bold] of [/]")
    assert shown["state"] == "broken: inflateq: [bold]7[/bold] of [/]"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "#7 under way, 3 MiB/s"),
        ({"stalled": "the guest is asleep"}, "#7 stalled: the guest is asleep"),
        ({"done": True}, "#7 done"),
    ],
)
def test_a_resize_is_told(console, changes: dict[str, Any], text: str) -> None:
    assert details(console, resize={**RESIZE, **changes})["resize"] == text


def test_what_is_not_there_is_a_dash(console) -> None:
    shown = details(console, features={"offered": [], "negotiated": []}, counters={"guest_errors": 0})
    assert (shown["negotiated"], shown["counters"]) == ("-", "-")


def test_frames_are_a_table_of_ranges(console) -> None:
    ranges = [{"first": 16, "count": 256, "state": "ballooned"}, {"first": 4096, "count": 1, "state": "ballooned"}]
    frames = {"name": "vm1", "frame_bytes": 4096, "frames": 262144, "held_frames": 257, "ranges": ranges}
    print_frames(console, frames)
    assert [line.split() for line in printed(console)] == [
        ["vm1:", "257", "of", "262144", "frames", "ballooned"],
        ["FIRST", "LAST", "FRAMES", "SIZE", "STATE"],
        ["0x10", "0x10f", "256", "1", "MiB", "ballooned"],
        ["0x1000", "0x1000", "1", "4", "KiB", "ballooned"],
    ]


def test_an_empty_map_is_one_line(console) -> None:
    print_frames(console, {"name": "vm1", "frame_bytes": 4096, "frames": 9, "held_frames": 0, "ranges": []})
    assert printed(console) == ["vm1: 0 of 9 frames ballooned"]

"""Overview and details, as lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_daemon import DONE, MIB, balloon, resize

from vballoond.cli.balloon_event import BalloonEvent
from vballoond.cli.watch.details import detail_lines, map_room
from vballoond.cli.watch.frame_cells import FrameCells
from vballoond.cli.watch.overview import overview_lines
from vballoond.cli.watch.world import World

STALLED = {"resize": resize(stalled="the guest is asleep"), "target_bytes": 512 * MIB, "actual_bytes": 128 * MIB}
NO_MAP = "no map: of an older daemon"


def world(*balloons: dict[str, Any]) -> World:
    made = World("http://127.0.0.1:8750", lambda: 100.0)
    made.read(balloons or [balloon("vm1"), balloon("vm2", state="waiting", memory_bytes=None, resident_bytes=None)])
    made.sample()
    return made


def happen(made: World, kind: str = "state", name: str | None = "vm1", **data: Any) -> None:
    made.take(BalloonEvent(kind, "", "2026-01-02T03:04:05Z", name, {"state": "running", **data}))


def overview(made: World, width: int = 80, height: int = 24) -> list[str]:
    return [line.plain.rstrip() for line in overview_lines(made, width, height)]


def details(
    made: World, frames: FrameCells | str = NO_MAP, width: int = 80, height: int = 24, colour=False
) -> list[str]:
    return [line.plain.rstrip() for line in detail_lines(made, "vm1", frames, width, height, colour=colour)]


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 40), st.integers(0, 30))
def test_an_overview_fits_every_terminal(width: int, height: int, balloons: int, events: int) -> None:
    made = world(*(balloon(f"a-rather-long-name-{number}", **STALLED) for number in range(balloons)))
    for _ in range(events):
        happen(made)
    lines = overview_lines(made, width, height)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)


@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 5000), st.booleans())
def test_details_fit_every_terminal(width: int, height: int, cells: int, colour: bool) -> None:
    made = world(balloon("vm1", **STALLED, reason="x" * 300))
    made.heard("vm1", {"age_s": 1, "statistics": {f"tag_{number}": number << 20 for number in range(16)}})
    lines = detail_lines(made, "vm1", FrameCells(0, cells, 1, "", bytearray(cells)), width, height, colour=colour)
    assert len(lines) == height
    assert all(line.cell_len <= width for line in lines)


def test_an_overview_has_a_line_for_each_balloon() -> None:
    lines = overview(world())
    assert lines[0].split() == ["2", "balloons", "http://127.0.0.1:8750"]
    assert lines[1].split() == ["NAME", "STATE", "MEMORY", "ACTUAL", "TARGET", "RESIDENT"]
    assert lines[2].split()[:2] == ["vm1", "running"]
    assert lines[2].split()[-8:] == ["1", "GiB", "0", "B", "0", "B", "768", "MiB"]
    assert lines[3].split() == ["vm2", "waiting", "?", "0", "B", "0", "B", "?"]
    assert lines[-1].endswith("q leaves")


def test_an_overview_says_what_is_the_matter() -> None:
    made = world(balloon("vm1", **STALLED), balloon("vm2", state="broken", reason="a [loop]"), balloon("vm3"))
    lines = overview(made)
    assert lines[3].strip() == "stalled: the guest is asleep"
    assert lines[5].strip() == "a [loop]"
    assert lines[6].startswith("vm3")


def test_an_overview_says_how_long_it_takes_yet() -> None:
    made = world(balloon("vm1"))
    happen(made, "resize-begun", resize=resize())
    made.take(BalloonEvent("sizes", "", "2026-01-02T03:04:07Z", "vm1", {"actual_bytes": 128 * MIB}))
    assert overview(made)[3].strip() == "64 MiB/s, 6.0 s left"
    happen(made, "resize-done", resize=resize(**DONE))
    assert "left" not in overview(made)[3]


def test_an_overview_has_the_newest_events_first() -> None:
    made = world()
    happen(made, state="waiting")
    happen(made, state="running")
    happen(made, "events-lost", None)
    newest = [line.split()[1:3] for line in overview(made)[5:8]]
    assert newest == [["-", "events"], ["vm1", "running"], ["vm1", "waiting"]]


def test_more_balloons_than_fit_are_told() -> None:
    lines = overview(world(*(balloon(f"vm{number}") for number in range(40))))
    assert sum(line.startswith("vm") for line in lines) == 13
    assert lines[15].startswith("… and more")


def test_an_overview_of_nothing_says_how_to_have_one() -> None:
    made = World("unix:api.sock", lambda: 0.0)
    assert "'vballoond add NAME --memory 1GiB'" in overview(made)[2]
    assert "0 balloons" in overview(made)[0]


@pytest.mark.parametrize("view", [overview, details])
def test_a_daemon_that_is_lost_is_said_and_what_was_seen_stays(view) -> None:
    made = world()
    made.lost = "connection refused"
    lines = view(made)
    assert "out of date, connection refused; it is tried again" in lines[0]
    assert any("768 MiB" in line for line in lines)


def test_details_tell_sizes_resize_and_events() -> None:
    made = world(balloon("vm1", **STALLED, reclaimed_bytes=2 * MIB), balloon("vm2"))
    happen(made)
    happen(made, "broken", "vm2", reason="not ours")
    lines = details(made)
    assert lines[0].split()[:2] == ["vm1", "vhost-user"]
    assert lines[1] == "state     running  2 MiB reclaimed so far  stats"
    assert lines[2] == "sizes     memory 1 GiB  target 512 MiB  actual 128 MiB  resident 768 MiB"
    assert "#1 to 512 MiB, 0 B/s" in lines[4]
    assert lines[5].strip() == "stalled: the guest is asleep"
    assert lines[11] == f"frames    {NO_MAP}"
    assert lines[12].split()[1:] == ["running"]
    assert not any("not ours" in line for line in lines)


def test_details_draw_curves() -> None:
    made = world(balloon("vm1", actual_bytes=1024 * MIB, resident_bytes=0))
    lines = details(made)
    assert lines[6].split() == ["actual", "█", "1", "GiB"]
    assert lines[7].split() == ["resident", "▁", "0", "B"]


def test_details_show_statistics_with_age_and_doubt() -> None:
    made = world(balloon("vm1"))
    assert details(made)[8] == "guest     has sent no statistics"
    said = {"major_faults": 7, "free_memory": 300 * MIB, "swap_in": 0}
    made.heard("vm1", {"age_s": 2, "statistics": said, "doubtful": {"free_memory": "too much"}})
    assert details(made)[8] == "guest     2.0 s ago:  free_memory? 300 MiB  major_faults 7"


def test_details_draw_the_map() -> None:
    frames = FrameCells(0x100, 2048, 16, "", bytearray([254] * 80 + [0] * 48), migrated=3)
    lines = details(world(), frames)
    assert lines[11] == "frames    2048 from 0x100 on, a cell is 64 KiB; 3 balloon pages have moved"
    assert lines[12:14] == ["█" * 80, "·" * 48]
    assert details(world(), frames, colour=True)[12] == "▀" * 80


def test_a_map_of_a_guest_that_is_not_there_says_so() -> None:
    assert details(world(), FrameCells(0, 0, 1, ""))[11] == "frames    no memory is known yet"


def test_a_balloon_that_is_gone_is_told() -> None:
    made = world()
    happen(made, "balloon-removed")
    lines = details(made)
    assert lines[1] == "there is no balloon 'vm1' any more"
    assert lines[3].split()[1:] == ["removed"]


@pytest.mark.parametrize(("colour", "cells"), [(False, 560), (True, 1120)])
def test_a_map_has_what_the_rest_leaves(colour: bool, cells: int) -> None:
    assert map_room(80, 24, colour=colour) == (7, cells)
    assert map_room(80, 10, colour=colour) == (0, 0)

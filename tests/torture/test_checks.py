"""What ``make torture`` looks at between its kills is able to find something."""

import os
from pathlib import Path
from typing import Any

import pytest

from torture import checks
from torture.checks import check_descriptors, check_log, check_map, check_reached
from torture.holders import open_descriptors
from torture.violation import Violation
from torture.visitors import Visitor

MIB = 1 << 20


class FakeApi:
    """Answers with these ranges of held frames."""

    def __init__(self, *ranges: tuple[int, int]) -> None:
        self._ranges = ranges

    async def get(self, path: str) -> Any:
        assert path == "/v1/balloons/vm1/frames"
        return {"ranges": [{"first": first, "count": count} for first, count in self._ranges]}


class FakeGuest:
    """Counts these frames as ballooned, of so many that it can tell of, and has logged ``log``."""

    def __init__(self, *frames: int, covered: int = 1 << 20, log: str = "") -> None:
        self._frames, self._covered, self._log = set(frames), covered, log

    async def ballooned_frames(self) -> tuple[set[int], int]:
        return self._frames, self._covered

    async def complaints(self) -> str:
        return self._log


def balloon(**changes: int) -> dict[str, int]:
    return {"target_bytes": 2 * MIB, "actual_bytes": 2 * MIB, "held_frames": 512, **changes}


def test_a_target_is_reached_only_where_all_numbers_say_so() -> None:
    check_reached(balloon(), 2)
    for wrong in (balloon(target_bytes=MIB), balloon(actual_bytes=MIB), balloon(held_frames=511)):
        with pytest.raises(Violation, match="2 MiB are said to be reached"):
            check_reached(wrong, 2)


async def test_a_map_that_is_not_the_guests_is_found() -> None:
    await check_map(FakeApi((5, 2), (9, 1)), "vm1", FakeGuest(5, 6, 9))
    with pytest.raises(Violation, match="has 1 frames that its guest has not, and misses 0 of 2"):
        await check_map(FakeApi((5, 2), (9, 1)), "vm1", FakeGuest(5, 6))
    with pytest.raises(Violation, match="has 0 frames that its guest has not, and misses 1 of 4"):
        await check_map(FakeApi((5, 2), (9, 1)), "vm1", FakeGuest(5, 6, 9, 10))


async def test_a_guest_that_tells_of_too_little_is_no_witness() -> None:
    await check_map(FakeApi((5, 2), (9000, 1)), "vm1", FakeGuest(5, 6, covered=8000))
    with pytest.raises(Violation, match="tells of 8000"):
        await check_map(FakeApi((5, 2), (90000, 1)), "vm1", FakeGuest(5, 6, covered=8000))


async def test_what_a_kernel_logs_is_found() -> None:
    await check_log("vm1", FakeGuest(log="[9.0] clocksource: Marking clocksource tsc unstable\n"))
    with pytest.raises(Violation, match="hung task"):
        await check_log("vm1", FakeGuest(log="clocksource\n[9.0] hung task"))


async def test_descriptors_that_stay_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_SETTLED_S", 0.0)
    await check_descriptors("keeper", ["a", "b"], lambda: ["b", "c"])
    with pytest.raises(Violation, match=r"3 descriptors in the keeper, where there were 2: new are \['b'\], gone are"):
        await check_descriptors("keeper", ["a", "b"], lambda: ["a", "b", "b"])


async def test_descriptors_that_are_still_being_closed_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_LOOK_S", 0.0)
    seen = iter([["a", "b"], ["a"]])
    await check_descriptors("worker", ["a"], lambda: next(seen))


def test_the_descriptors_of_a_process_are_seen(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w"):
        assert str(tmp_path / "file") in open_descriptors(os.getpid())
    assert str(tmp_path / "file") not in open_descriptors(os.getpid())


@pytest.mark.parametrize(
    ("line", "held"),
    [
        ("", False),
        ('{"balloon":"visitor1","event":"front-end connected"}\n', False),
        ('{"balloon":"visitor0","event":"front-end connected"}\n', True),
        ('{"balloon":"visitor0","event":"front-end taken over"}\n', True),
    ],
)
def test_a_guest_may_lose_only_a_connection_that_no_holder_had(tmp_path: Path, line: str, held: bool) -> None:
    log = tmp_path / "log"
    before = '{"balloon":"visitor0","event":"front-end connected"}\n'
    log.write_text(before + line)
    visitor = Visitor(None, None, "visitor0", tmp_path / "socket", log)
    if held:
        with pytest.raises(Violation, match="visitor0 lost a connection that the holder had"):
            visitor._lost(len(before))
    else:
        visitor._lost(len(before))
        assert visitor.too_early == 1

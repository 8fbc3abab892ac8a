from typing import Any

import pytest
from support.fake_daemon import DONE, MIB, balloon, resize

from vballoond.cli.resize_outcome import not_reached, reached, summary
from vballoond.sizes import parse_size


def at_256(state: str = "running", **changes: Any) -> dict[str, Any]:
    return balloon(
        state=state, target_bytes=512 * MIB, actual_bytes=256 * MIB, resize=resize(**changes), resident_bytes=None
    )


@pytest.mark.parametrize(
    ("changes", "right"),
    [
        ({}, False),
        (DONE, True),
        ({"outcome": "settled", "done": True}, True),
        ({"outcome": "settled", "done": False}, True),
        ({"outcome": "expired", "done": False}, False),
        ({"outcome": "expired", "done": True}, False),
        ({"outcome": "superseded", "done": True}, False),
    ],
)
def test_done_and_settled_are_reached(changes: dict[str, Any], right: bool) -> None:
    assert reached(at_256(**changes)) is right


def test_a_daemon_that_names_no_outcome_is_understood() -> None:
    old = {"id": 1, "target_bytes": 0, "stalled": None, "done": True}
    assert reached(balloon(resize=old))
    assert not reached(balloon(resize={**old, "done": False}))


def test_a_summary_is_one_line() -> None:
    assert summary(at_256(**DONE)) == "vm1: 256 MiB of 512 MiB, done; the guest takes 0 B of the host"
    assert summary(at_256()) == "vm1: 256 MiB of 512 MiB, under way"
    assert summary(at_256(stalled="asleep")) == "vm1: 256 MiB of 512 MiB, asleep"
    settled = {**at_256(outcome="settled", done=True), "target_bytes": 256 * MIB}
    assert summary(settled) == (
        "vm1: 256 MiB of 256 MiB, settled for less than 512 MiB; the guest takes 0 B of the host"
    )


@pytest.mark.parametrize(
    ("state", "changes", "why", "step"),
    [
        ("running", {}, "it is at 256 MiB and moves", "it goes on: 'vballoond watch vm1'"),
        ("running", {"stalled": "no memory", "stall": "guest-out-of-memory"}, "no memory", "--settle"),
        ("running", {"stalled": "it is slow", "stall": "guest-slow"}, "it is slow", "'vballoond set vm1 256MiB'"),
        ("running", {"stalled": "the host", "stall": "host-slow"}, "the host", "the host is slow"),
        ("running", {"stalled": "nothing moves"}, "nothing moves", "'vballoond set vm1 256MiB'"),
        (
            "running",
            {"stalled": "no memory", "stall": "guest-out-of-memory", "settle": True},
            "no memory",
            "settles by",
        ),
        ("waiting", {"stalled": "no driver", "stall": "no-driver"}, "no driver", "kept until a driver comes"),
        ("waiting", {"stalled": "no driver"}, "no driver", "kept until a driver comes"),
        ("paused", {"stalled": "paused", "stall": "paused"}, "paused", "resume the VM"),
        ("broken", {"stalled": "broken", "stall": "broken"}, "broken", "boot the guest"),
    ],
)
def test_what_is_not_reached_is_explained(state: str, changes: dict[str, Any], why: str, step: str) -> None:
    message, next_step = not_reached(at_256(state, **changes), 30)
    assert message == f"vm1 has not reached 512 MiB within 30 s: {why}"
    assert step in next_step


def test_a_deadline_is_named() -> None:
    message, _ = not_reached(at_256(outcome="expired", stalled="no memory"), 30)
    assert message == "vm1 has not reached 512 MiB by its deadline: no memory"


def test_the_next_step_can_be_typed() -> None:
    shown = {**at_256(stalled="no memory"), "actual_bytes": 256 * MIB + 4096}
    _, next_step = not_reached(shown, 30)
    command, size = next_step.split("'")[1].rsplit(" ", 1)
    assert command == "vballoond set vm1"
    assert parse_size(size) == 256 * MIB + 4096

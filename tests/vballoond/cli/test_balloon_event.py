import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fake_daemon import DONE, MIB, resize

from vballoond.cli.balloon_event import _SENTENCES, BalloonEvent, balloon_event
from vballoond.cli.server_sent_events import Event

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=8), part, max_size=3),
    max_leaves=8,
)


def event(kind: str, **data: Any) -> BalloonEvent:
    told = balloon_event(Event(kind, json.dumps({"at": "2026-01-02T03:04:05Z", "balloon": "vm1", **data}), "R-7"))
    assert told is not None
    return told


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        (event("balloon-removed"), "removed"),
        (event("negotiated", features=["stats", "ring-packed"]), "the driver takes stats ring-packed"),
        (event("negotiated", features=[]), "the driver takes no features"),
        (event("state", state="broken", reason="a loop"), "broken: a loop"),
        (event("state", state="running", reason=None), "running"),
        (event("broken", reason="a loop"), "broken by its driver: a loop"),
        (event("resize-begun", resize=resize()), "resize #1 to 512 MiB from 0 B"),
        (event("resize-stalled", resize=resize(stalled="asleep")), "resize #1 to 512 MiB stalled: asleep"),
        (event("resize-done", resize=resize(**DONE)), "resize #1: 512 MiB reached after 4.0 s"),
        (event("target-clamped", target_bytes=2 * MIB, limit_bytes=MIB), "target 2 MiB is more than fits: 1 MiB"),
        (
            event("sizes", actual_bytes=MIB, target_bytes=2 * MIB, resident_bytes=None),
            "1 MiB of 2 MiB, takes ? of the host",
        ),
        (
            event(
                "statistics", statistics={"statistics": {"total_memory": 8 * MIB, "free_memory": MIB, "oom_kill": 0}}
            ),
            "free 1 MiB, total 8 MiB",
        ),
        (event("statistics", statistics={"statistics": {}}), "statistics"),
        (event("of-the-future", depth=7), "of-the-future"),
        (event("resize-begun"), "resize-begun"),
    ],
)
def test_an_event_is_a_sentence(told: BalloonEvent, sentence: str) -> None:
    assert told.sentence() == sentence


@given(st.sampled_from(sorted(_SENTENCES)), st.dictionaries(st.sampled_from(["resize", "state", "statistics"]), JSON))
def test_whatever_an_event_holds_it_can_be_told(kind: str, data: dict[str, Any]) -> None:
    assert isinstance(event(kind, **data).sentence(), str)


def test_an_event_is_one_flat_object_for_scripts() -> None:
    assert event("broken", reason="a loop").as_json() == {
        "id": "R-7",
        "event": "broken",
        "at": "2026-01-02T03:04:05Z",
        "balloon": "vm1",
        "reason": "a loop",
    }


def test_what_a_balloon_is_names_it() -> None:
    assert event("balloon-added", balloon={"name": "vm2"}).balloon == "vm2"
    assert event("events-lost", balloon=None).balloon is None


@pytest.mark.parametrize("data", ["", "[]", "7", "no"])
def test_what_is_no_object_is_no_event(data: str) -> None:
    assert balloon_event(Event("state", data)) is None


@given(JSON)
def test_any_data_is_read_or_left(data: Any) -> None:
    told = balloon_event(Event("state", json.dumps(data)))
    assert (told is not None) == isinstance(data, dict)

from datetime import UTC, datetime, timedelta

import pytest
from structlog.testing import capture_logs
from support.backend_rig import settled
from support.fake_front_end import RING_FEATURES
from support.in_process_driver import DEFLATE, INFLATE, driven

from protocol.balloon.features import BalloonFeature
from vballoond.balloon.counters import Counters
from vballoond.balloon.facts import Fact, HintingStarted, HintingStopped, QueueStarted, Request
from vballoond.balloon.hinting import Hinting, HintingStage
from vballoond.service.hinting_log import ended_round

AT = datetime(2026, 1, 1, tzinfo=UTC)
START = HintingStarted(AT, acknowledge_on_stop=True)
BEGUN = Hinting().start(AT, acknowledge_on_stop=True)
REQUEST = object.__new__(Request)
QUEUE = object.__new__(QueueStarted)


def said(before: Hinting, after: Hinting, fact: Fact) -> str | None:
    ended = ended_round(before, after, fact, AT + timedelta(seconds=2.5))
    return None if ended is None else ended["outcome"]


def test_a_round_that_goes_on_is_not_spoken_of() -> None:
    running = BEGUN.command(BEGUN.command_id.to_bytes(4, "little"), Counters())
    assert running.stage is HintingStage.RUNNING
    assert said(Hinting(), BEGUN, START) is None
    assert said(BEGUN, running, REQUEST) is None
    assert said(running.done(), running.done().done(), HintingStopped()) is None
    assert said(running.done(), running.done().start(AT, acknowledge_on_stop=True), START) is None


@pytest.mark.parametrize(
    ("stage", "after", "fact", "outcome"),
    [
        (HintingStage.RUNNING, "done", REQUEST, "done"),
        (HintingStage.ENDED, "done", HintingStopped(), "done"),
        (HintingStage.RUNNING, "done", HintingStopped(), "stopped"),
        (HintingStage.REQUESTED, "done", HintingStopped(), "stopped"),
        (HintingStage.RUNNING, "start", START, "superseded"),
        (HintingStage.RUNNING, "reset", QUEUE, "abandoned"),
    ],
)
def test_a_round_that_is_over_is_spoken_of_once(stage: HintingStage, after: str, fact: Fact, outcome: str) -> None:
    before = Hinting(stage, 7, hinted_frames=3, started_at=AT)
    now = before.start(AT, acknowledge_on_stop=True) if after == "start" else getattr(before, after)()
    assert ended_round(before, now, fact, AT + timedelta(seconds=2.5)) == {
        "round": 7,
        "outcome": outcome,
        "hinted_bytes": 3 * 4096,
        "duration_s": 2.5,
    }
    assert said(now, now, fact) is None


async def test_a_balloon_says_when_a_round_is_over() -> None:
    with capture_logs() as logs:
        async with driven(features=["must-tell-host", "free-page-hint"]) as (service, driver):
            driver.load(INFLATE, DEFLATE, 2, features=RING_FEATURES | BalloonFeature.FREE_PAGE_HINT)
            service.start_hinting(acknowledge_on_stop=True)
            await settled(service)
            service.stop_hinting()
            service.stop_hinting()
    (line,) = [line for line in logs if line["event"] == "hinting done"]
    assert (line["balloon"], line["log_level"], line["outcome"]) == ("demo", "info", "stopped")
    assert line.keys() >= {"round", "hinted_bytes", "duration_s"}

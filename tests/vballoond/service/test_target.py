import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, Driver, driven

from vballoond.balloon.resize import STALL_AFTER_S, Author, Outcome, Terms
from vballoond.events.log import EventLog
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.service.target import LOOK_S

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LONG_S = STALL_AFTER_S + 2 * LOOK_S


class Heard(EventLog):
    """Notes what it is told."""

    def __init__(self) -> None:
        super().__init__("run", lambda: NOW)
        self.told: list[tuple[str, dict[str, Any]]] = []

    def publish(self, kind: str, balloon: str | None = None, **data: Any) -> None:
        assert balloon == "demo"
        self.told.append((kind, data))
        super().publish(kind, balloon, **data)

    def of(self, prefix: str) -> list[str]:
        return [kind for kind, _ in self.told if kind.startswith(prefix)]

    def last(self, kind: str) -> dict[str, Any]:
        return next(data for told, data in reversed(self.told) if told == kind)


@dataclass
class Rig:
    service: BalloonService
    driver: Driver
    events: Heard
    moved: list[int] = field(default_factory=list)

    async def give(self, first: int, count: int, actual: int) -> None:
        """The driver inflates some frames and says how many it has."""
        self.driver.request(INFLATE, pfns(range(2000 + first, 2000 + first + count)))
        await settled(self.service)
        self.driver.used(INFLATE)
        self.driver.write_actual(actual)

    async def try_in_vain(self, seconds: float, actual: int) -> None:
        """The driver looks for memory, as Linux's does five times a second."""
        for _ in range(int(seconds * 5)):
            self.driver.write_actual(actual)
            await asyncio.sleep(0.2)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    events, moved = Heard(), []
    async with driven(events=events, moved=lambda: moved.append(1)) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        yield Rig(service, driver, events, moved)


async def test_a_resize_is_told_from_its_beginning_to_its_end(rig: Rig) -> None:
    rig.service.set_target(10)
    await rig.give(0, 10, actual=10)
    assert rig.events.of("resize") == ["resize-begun", "resize-done"]
    begun, done = rig.events.last("resize-begun")["resize"], rig.events.last("resize-done")["resize"]
    assert (begun["id"], begun["target_bytes"], begun["outcome"]) == (1, 40960, None)
    assert (done["id"], done["reached_bytes"], done["outcome"], done["progress"]) == (1, 40960, "done", 1.0)


async def test_a_newer_target_supersedes_an_older_one_and_each_is_told(rig: Rig) -> None:
    rig.service.set_target(10)
    rig.service.set_target(20)
    assert sorted(rig.events.of("resize")) == ["resize-begun", "resize-begun", "resize-superseded"]
    assert rig.events.last("resize-superseded")["resize"]["id"] == 1
    assert rig.events.last("resize-superseded")["resize"]["outcome"] == "superseded"


async def test_a_resize_that_is_done_is_not_superseded(rig: Rig) -> None:
    rig.service.set_target(0)
    rig.service.set_target(0)
    assert rig.events.of("resize") == ["resize-begun", "resize-done"] * 2


async def test_a_stall_is_told_once_with_its_reason_and_so_is_its_end(rig: Rig) -> None:
    rig.service.set_target(100)
    await rig.give(0, 10, actual=10)
    await rig.try_in_vain(LONG_S * 3, actual=10)
    assert rig.events.of("resize-s") == ["resize-stalled"]
    stalled = rig.events.last("resize-stalled")["resize"]
    assert (stalled["stall"], stalled["stalled"]) == (
        "guest-out-of-memory",
        "the guest finds no more free memory to give",
    )
    await rig.give(10, 5, actual=15)
    await asyncio.sleep(LOOK_S)
    assert rig.events.of("resize")[-1] == "resize-moving"
    assert rig.service.target.stalls == {"guest-out-of-memory": 1}


async def test_a_guest_that_is_not_heard_stalls_for_another_reason_than_one_that_has_no_memory(rig: Rig) -> None:
    rig.service.set_target(100)
    await rig.give(0, 10, actual=10)
    await asyncio.sleep(LONG_S)
    assert rig.events.last("resize-stalled")["resize"]["stall"] == "guest-silent"
    await rig.try_in_vain(2 * LOOK_S, actual=10)
    assert rig.events.last("resize-stalled")["resize"]["stall"] == "guest-out-of-memory"
    assert rig.service.target.stalls == {"guest-silent": 1, "guest-out-of-memory": 1}


async def test_a_target_without_a_driver_is_told_to_stall_at_the_first_look() -> None:
    events = Heard()
    async with driven(events=events) as (service, _):
        service.set_target(10)
        await asyncio.sleep(LOOK_S)
        assert events.last("resize-stalled")["resize"]["stall"] == "no-driver"


async def test_a_resize_that_settles_moves_the_target_to_what_was_reached(rig: Rig) -> None:
    number = rig.service.set_target(100, Terms(settle=True))
    await rig.give(0, 30, actual=30)
    await rig.try_in_vain(LONG_S, actual=30)
    resize = rig.service.resizing.find(number)
    assert (resize.outcome, resize.target_frames, resize.actual_frames) == (Outcome.SETTLED, 100, 30)
    assert rig.service.target_frames == 30
    assert rig.driver.config_interrupts == 2
    assert rig.moved == [1]
    assert rig.events.of("resize")[-2:] == ["resize-stalled", "resize-settled"]
    assert rig.events.last("sizes")["target_bytes"] == 30 * 4096


async def test_what_settled_is_not_settled_again(rig: Rig) -> None:
    rig.service.set_target(100, Terms(settle=True))
    await rig.try_in_vain(LONG_S * 3, actual=0)
    assert rig.events.of("resize-settled") == ["resize-settled"]


@pytest.mark.parametrize("silent", [True, False])
async def test_a_guest_that_may_go_on_is_not_settled_without_a_deadline(rig: Rig, *, silent: bool) -> None:
    rig.service.set_target(100, Terms(settle=True))
    if not silent:
        for index in list(rig.service.running_queues):
            rig.service.stop_queue(index)
    await asyncio.sleep(60)
    assert not rig.service.resizing.current.over
    assert rig.service.target_frames == 100


async def test_at_its_deadline_a_resize_expires_and_the_target_stays(rig: Rig) -> None:
    number = rig.service.set_target(100, Terms(deadline_s=2.5))
    waiting = asyncio.create_task(rig.service.resizing.wait(number, 600))
    await asyncio.sleep(2.4)
    assert not waiting.done()
    await asyncio.sleep(0.1)
    assert await waiting
    assert rig.service.resizing.current.outcome is Outcome.EXPIRED
    assert rig.service.target_frames == 100
    assert rig.events.of("resize") == ["resize-begun", "resize-expired"]
    assert rig.moved == []


async def test_at_its_deadline_a_resize_that_settles_does_so_whatever_the_reason() -> None:
    events, moved = Heard(), []
    async with driven(events=events, moved=lambda: moved.append(1)) as (service, _):
        service.set_target(100, Terms(settle=True, deadline_s=30))
        await asyncio.sleep(30)
        assert service.resizing.current.outcome is Outcome.SETTLED
        assert service.target_frames == 0
        assert moved == [1]


async def test_a_resize_with_a_deadline_is_not_settled_before(rig: Rig) -> None:
    rig.service.set_target(100, Terms(settle=True, deadline_s=60))
    await rig.try_in_vain(50, actual=0)
    assert not rig.service.resizing.current.over


async def test_a_deadline_does_not_outlive_its_resize(rig: Rig) -> None:
    rig.service.set_target(100, Terms(deadline_s=5))
    rig.service.set_target(200)
    await asyncio.sleep(20)
    assert not rig.service.resizing.current.over


async def test_nothing_is_looked_at_once_all_is_over(rig: Rig) -> None:
    rig.service.set_target(0)
    assert rig.service.target._look_handle is None
    rig.service.set_target(5)
    assert rig.service.target._look_handle is not None
    await rig.service.stop()
    assert rig.service.target._look_handle is None


async def test_a_target_that_is_clamped_is_told_and_kept() -> None:
    events, moved = Heard(), []
    async with driven(events=events, moved=lambda: moved.append(1), memory="1GiB") as (service, driver):
        service.set_target(1 << 18)
        driver.load(INFLATE, DEFLATE)
        assert events.last("target-clamped") == {"target_bytes": 1 << 30, "limit_bytes": 16 << 20}
        assert (service.target_frames, moved) == (4096, [1])
        assert [resize.by for resize in service.resizing] == [Author.DAEMON, Author.OPERATOR]


class GatedOffload(Offload):
    """Holds up what is run outside of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        await self.gate.wait()
        return await super().run(call, *args, **kwargs)


async def test_a_host_that_takes_long_to_give_memory_back_is_the_reason() -> None:
    events, offload = Heard(), GatedOffload()
    async with driven(events=events, offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        service.set_target(4096)
        driver.request(INFLATE, pfns(range(2000, 2200, 2)))
        await asyncio.sleep(LONG_S)
        assert events.last("resize-stalled")["resize"]["stall"] == "host-slow"
        offload.gate.set()
        await settled(service)
        assert service.turn_lasts_s() == 0


async def test_each_resize_is_one_line_in_the_log_when_it_is_over(rig: Rig) -> None:
    with capture_logs() as logs:
        rig.service.set_target(10)
        rig.service.set_target(20)
        rig.service.set_target(0)
    lines = [(line["event"], line["resize"]) for line in logs if line["event"].startswith("resize")]
    assert sorted(lines) == [("resize done", 3), ("resize superseded", 1), ("resize superseded", 2)]


async def test_the_line_of_a_resize_has_all_that_came_of_it(rig: Rig) -> None:
    rig.service.set_target(100, Terms(deadline_s=5))
    with capture_logs() as logs:
        await rig.give(0, 10, actual=10)
        await asyncio.sleep(5)
    (line,) = [line for line in logs if line["event"].startswith("resize")]
    assert line == {
        "event": "resize expired",
        "log_level": "info",
        "balloon": "demo",
        "resize": 1,
        "target_bytes": 100 * 4096,
        "reached_bytes": 10 * 4096,
        "duration_s": 5.0,
        "rate_bytes_per_s": line["rate_bytes_per_s"],
    }

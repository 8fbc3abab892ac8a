import asyncio
import itertools
import os
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.backend_rig import settled
from support.fact_log import FactLog
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, driven, held

from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from vballoond.balloon.facts import ConfigWritten, Fact, Request
from vballoond.clock import Clock
from vballoond.memory.guest_memory import GuestMemory
from vballoond.offload import Offload
from vballoond.service.serving import TURN_CHAINS, TURN_S


class GatedOffload(Offload):
    """Counts what is run outside of the loop, and holds it up while the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        await self.gate.wait()
        return await super().run(call, *args, **kwargs)


async def test_a_busy_queue_does_not_keep_the_others_waiting() -> None:
    facts = FactLog()
    async with driven(facts=facts) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        for number in range(100):
            driver.request(INFLATE, pfns([first + number]))
        driver.request(DEFLATE, pfns([first]))
        await settled(service)
        roles = [fact.role for fact in facts.of(Request)]
        assert TURN_CHAINS == 64
        assert roles == [QueueRole.INFLATE] * 64 + [QueueRole.DEFLATE] + [QueueRole.INFLATE] * 36
        assert held(service) == [(first + 1, 99)]


async def test_a_turn_that_took_long_ends_behind_its_buffer() -> None:
    facts, now_s = FactLog(), itertools.count(step=TURN_S)
    async with driven(facts=facts, clock=Clock(lambda: next(now_s))) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        for number in range(4):
            driver.request(INFLATE, pfns([first + number]))
            driver.request(DEFLATE, pfns([first + number]))
        await settled(service)
        roles = [fact.role for fact in facts.of(Request)]
        assert roles == [QueueRole.INFLATE, QueueRole.DEFLATE] * 4


async def test_a_defect_of_the_daemon_breaks_the_balloon_and_is_logged() -> None:
    def defect(fact: Fact) -> None:
        if isinstance(fact, Request):
            raise ZeroDivisionError("of all things")

    async with driven(facts=defect) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        with capture_logs() as logs:
            driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
            await settled(service)
        assert service.state_name == "broken"
        assert service.broken_reason == "inflateq: a defect of the daemon; its log has the details"
        failed = [line for line in logs if line["event"] == "request failed"]
        assert [(line["log_level"], line["exc_info"]) for line in failed] == [("error", True)]
        # The buffer is the ring's again: nothing was done about it.
        assert service.stop_queue(INFLATE).base == 0


async def test_every_buffer_comes_back_and_in_order(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    heads = [driver.request(INFLATE, pfns([first + number])) for number in range(128)]
    await settled(service)
    assert [driver.used(INFLATE) for _ in heads] == heads
    assert driver.used(INFLATE) is None


async def test_a_spurious_kick_is_harmless(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    for _ in range(3):
        driver.device.kick(INFLATE)
        service.kick(77)
        await settled(service)
    assert service.state_name == "running"
    assert service.device.counters.inflate_requests == 0


@pytest.mark.parametrize(
    ("frames", "calls"),
    [
        (range(256), 0),
        (range(0, 128, 2), 0),
        (range(0, 130, 2), 1),
    ],
)
async def test_many_holes_are_punched_outside_of_the_loop(frames: range, calls: int) -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        driver.guest.touch(first, 256)
        driver.request(INFLATE, pfns(first + frame for frame in frames))
        await settled(service)
        assert offload.calls == calls
        assert service.releasing.reclaimed_bytes == len(frames) * FRAME_BYTES
        assert driver.used(INFLATE) is not None


async def test_a_buffer_comes_back_only_after_its_frames_were_given_back() -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        driver.guest.touch(first, 256)
        offload.gate.clear()
        head = driver.request(INFLATE, pfns(range(first, first + 200, 2)))
        for _ in range(10):
            await asyncio.sleep(0)
        assert offload.calls == 1
        assert driver.used(INFLATE) is None
        # The balloon can be asked and set meanwhile.
        service.set_target(7)
        assert driver.device.read_config(0, 4) == (7).to_bytes(4, "little")
        offload.gate.set()
        await settled(service)
        assert driver.used(INFLATE) == head
        assert service.releasing.reclaimed_bytes == 100 * FRAME_BYTES


async def test_stopping_finishes_what_is_under_way() -> None:
    offload = GatedOffload()
    async with driven(offload=offload) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        first = driver.guest.first_free_pfn()
        offload.gate.clear()
        head = driver.request(INFLATE, pfns(range(first, first + 200, 2)))
        for _ in range(10):
            await asyncio.sleep(0)
        stopping = asyncio.create_task(service.stop())
        for _ in range(10):
            await asyncio.sleep(0)
        assert not stopping.done()
        offload.gate.set()
        await stopping
        assert driver.used(INFLATE) == head
        driver.request(INFLATE, pfns([first]))
        await settled(service)
        assert driver.used(INFLATE) is None


async def test_memory_that_cannot_be_given_back_is_told_and_the_driver_goes_on(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    driver.guest.touch(first, 4)
    writable = driver.region.fd
    driver.region.fd = os.open(f"/proc/self/fd/{writable}", os.O_RDONLY)
    with capture_logs() as logs:
        heads = [driver.request(INFLATE, pfns([first + number])) for number in range(3)]
        await settled(service)
    assert [driver.used(INFLATE) for _ in heads] == heads
    assert held(service) == [(first, 3)]
    assert service.releasing.reclaimed_bytes == 0
    assert service.device.counters.release_errors == 3
    assert "fallocate(PUNCH_HOLE)" in service.releasing.problem
    assert len([line for line in logs if line["event"] == "memory cannot be given back"]) == 1
    assert service.state_name == "running"
    os.close(driver.region.fd)
    driver.region.fd = writable

    driver.request(INFLATE, pfns([first + 3]))
    await settled(service)
    assert service.releasing.problem is None
    assert service.releasing.reclaimed_bytes == FRAME_BYTES


async def test_a_problem_with_memory_is_over_when_its_front_end_has_gone(alone) -> None:
    alone.releasing.problem = "sealed"
    alone.disconnect()
    assert alone.releasing.problem is None


async def test_frames_that_are_in_the_balloon_already_are_given_back_again(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    for _ in range(2):
        driver.guest.touch(first, 1)
        driver.request(INFLATE, pfns([first]))
        await settled(service)
    assert service.releasing.reclaimed_bytes == 2 * FRAME_BYTES
    assert service.device.counters.repeated_frames == 1


async def test_what_a_queue_stops_at_is_where_it_goes_on(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    first = driver.guest.first_free_pfn()
    for number in range(5):
        driver.request(INFLATE, pfns([first + number]))
    await settled(service)
    assert service.stop_queue(INFLATE).base == 5
    assert service.stop_queue(DEFLATE).base == 0
    assert service.state_name == "paused"


async def test_memory_is_not_changed_under_a_queue_that_runs(pair) -> None:
    service, driver = pair
    driver.load(INFLATE, DEFLATE)
    with pytest.raises(AssertionError):
        service.set_memory(GuestMemory())


async def test_every_fact_is_observed() -> None:
    facts = FactLog()
    async with driven(facts=facts) as (service, driver):
        driver.load(INFLATE, DEFLATE)
        driver.write_actual(3)
        driver.request(INFLATE, pfns([5000]))
        await settled(service)
        service.set_target(9)
    assert [type(fact).__name__ for fact in facts.facts] == [
        "MemoryKnown",
        "Negotiated",
        "QueueStarted",
        "QueueStarted",
        "ConfigWritten",
        "Request",
        "TargetSet",
        "QueueStopped",
        "QueueStopped",
        "MemoryKnown",
        "Negotiated",
    ]
    assert facts.of(ConfigWritten) == [ConfigWritten(4, (3).to_bytes(4, "little"))]

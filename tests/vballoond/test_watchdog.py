import asyncio
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from support.backend_rig import running_service, vhost_user_settings
from support.fake_holder import FakeHolder

from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.watchdog import Watchdog, interval_of

Probes = list[Callable[[], Awaitable[None]]]


class Manager(FakeHolder):
    """Counts what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.fed = 0

    async def watchdog(self) -> None:
        self.fed += 1


class Clock:
    """Passes time when it is asked to sleep, and lets the test say for how long that goes on."""

    def __init__(self, manager: Manager, times: int) -> None:
        self.slept: list[float] = []
        self._manager = manager
        self._times = times

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        assert self._manager.fed == len(self.slept)
        if len(self.slept) == self._times:
            raise asyncio.CancelledError
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("environ", "interval_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "own"}, 0.5),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
    ids=str,
)
def test_the_interval_is_what_the_service_manager_says(environ: dict[str, str], interval_s: float | None) -> None:
    environ = {key: str(os.getpid()) if value == "own" else value for key, value in environ.items()}
    assert interval_of(environ) == interval_s


async def test_it_is_fed_three_times_in_an_interval() -> None:
    manager = Manager()
    clock = Clock(manager, 4)
    with pytest.raises(asyncio.CancelledError):
        await Watchdog(manager, Offload(), list, clock.sleep).run(30)
    assert clock.slept == [10] * 4


async def _comes_to_nothing(manager: Manager, feeding: asyncio.Task[None]) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    assert (feeding.done(), manager.fed) == (False, 0)


async def test_an_executor_that_hangs_starves_it() -> None:
    manager, hang = Manager(), Event()
    with ThreadPoolExecutor(1) as executor:
        executor.submit(hang.wait)
        feeding = asyncio.create_task(Watchdog(manager, Offload(executor), list).feed())
        await _comes_to_nothing(manager, feeding)
        hang.set()
        await feeding
    assert manager.fed == 1


def watchdog(manager: Manager, *services: BalloonService) -> Watchdog:
    return Watchdog(manager, Offload(), lambda: [service.came_round for service in services])


async def test_balloons_that_are_served_feed_it() -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as one, running_service(vhost_user_settings()) as other:
        for times in range(1, 4):
            await watchdog(manager, one, other).feed()
            assert manager.fed == times


async def test_a_balloon_that_is_broken_feeds_it_all_the_same() -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as service:
        service.break_off("a hostile driver")
        await watchdog(manager, service).feed()
    assert manager.fed == 1


@pytest.mark.parametrize("hanging", [0, 1])
async def test_a_balloon_whose_task_has_failed_starves_it(hanging: int) -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as one, running_service(vhost_user_settings()) as other:
        broken = (one, other)[hanging]
        task = broken._serving._task
        assert task is not None
        task.cancel()
        await asyncio.wait({task})
        feeding = asyncio.create_task(watchdog(manager, one, other).feed())
        await _comes_to_nothing(manager, feeding)
        feeding.cancel()


async def test_a_balloon_that_is_stopped_meanwhile_starves_nobody() -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as service, running_service(vhost_user_settings()) as other:
        async with service.lock:
            service._queues[0] = _Kicked()
            feeding = asyncio.create_task(watchdog(manager, service, other).feed())
            await _comes_to_nothing(manager, feeding)
            service._queues.clear()
            stopping = asyncio.create_task(service.stop())
        await stopping
        await feeding
    assert manager.fed == 1


async def test_a_balloon_that_was_stopped_before_starves_nobody() -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as service:
        await service.stop()
        await watchdog(manager, service).feed()
    assert manager.fed == 1


async def test_a_turn_that_does_not_end_starves_it() -> None:
    manager = Manager()
    async with running_service(vhost_user_settings()) as service:
        async with service.lock:
            service._queues[0] = _Kicked()
            feeding = asyncio.create_task(watchdog(manager, service).feed())
            await _comes_to_nothing(manager, feeding)
            service._queues.clear()
        await feeding
    assert manager.fed == 1


class _Kicked:
    """A queue that wants its turn."""

    kicked = True

import asyncio
import os
import time

import pytest
from support.virtual_time import JumpingLoop


async def test_the_loop_of_these_tests_is_the_one_whose_clock_jumps() -> None:
    assert isinstance(asyncio.get_running_loop(), JumpingLoop)


async def test_an_hour_passes_at_once() -> None:
    loop = asyncio.get_running_loop()
    began, really_began = loop.time(), time.process_time()
    await asyncio.sleep(3600)
    assert loop.time() - began == 3600
    assert time.process_time() - really_began < 60


async def test_timers_come_in_their_order_each_at_its_time() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    seen: list[tuple[float, str]] = []
    for delay, name in ((5, "third"), (1, "first"), (2, "second")):
        loop.call_later(delay, lambda name=name: seen.append((loop.time() - began, name)))
    await asyncio.sleep(10)
    assert seen == [(1, "first"), (2, "second"), (5, "third")]


async def test_time_stands_still_while_there_is_something_to_do() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    loop.call_later(1, lambda: None)
    for _ in range(100):
        await asyncio.sleep(0)
    assert loop.time() == began


async def test_what_can_be_read_comes_before_the_next_timer() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    fd = os.eventfd(1, os.EFD_NONBLOCK)
    ready = asyncio.Event()
    loop.add_reader(fd, ready.set)
    async with asyncio.timeout(5):
        await ready.wait()
    assert loop.time() == began
    loop.remove_reader(fd)
    os.close(fd)


async def test_what_takes_too_long_times_out_on_time() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30):
            await asyncio.Event().wait()
    assert loop.time() - began == 30

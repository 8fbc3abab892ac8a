import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from vballoond.offload import Offload


@pytest.fixture(params=["inline", "threads"])
def offload(request) -> Iterator[Offload]:
    if request.param == "inline":
        yield Offload()
        return
    with ThreadPoolExecutor(1) as executor:
        yield Offload(executor)


def add(left: int, right: int, *, times: int = 1) -> int:
    return (left + right) * times


async def test_what_a_call_returns_is_returned(offload) -> None:
    assert await offload.run(add, 2, 3) == 5
    assert await offload.run(add, 2, right=3, times=10) == 50


async def test_what_a_call_raises_is_raised(offload) -> None:
    with pytest.raises(ZeroDivisionError):
        await offload.run(divmod, 1, 0)


async def test_a_call_runs_in_place_where_there_is_no_executor() -> None:
    assert await Offload().run(threading.get_ident) == threading.get_ident()


async def test_the_event_loop_goes_on_while_a_call_blocks() -> None:
    released = threading.Event()
    with ThreadPoolExecutor(1) as executor:
        running = asyncio.create_task(Offload(executor).run(released.wait))
        await asyncio.sleep(0)
        assert not running.done()
        # Were the call made in the loop, nobody would come here to release it.
        released.set()
        assert await running


async def test_calls_run_in_the_threads_of_the_executor() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="offload") as executor:
        assert (await Offload(executor).run(threading.current_thread)).name.startswith("offload")

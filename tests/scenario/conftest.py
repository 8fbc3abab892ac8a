import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.logging_state import logging_as_before
from support.virtual_time import JumpingLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    del config, item
    return {"virtual": JumpingLoop}


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with logging_as_before():
        yield

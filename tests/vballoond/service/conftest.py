"""Everything here runs in virtual time."""

from collections.abc import Callable
from typing import Any

from support.virtual_time import JumpingLoop


def pytest_asyncio_loop_factories(config: Any, item: Any) -> dict[str, Callable[[], JumpingLoop]]:
    del config, item
    return {"virtual": JumpingLoop}

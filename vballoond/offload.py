"""Calls that may take over a millisecond leave the event loop, all through one executor that tests can replace."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Offload:
    """Runs blocking calls.

    Args:
        executor: Where they run. None: inline, as virtual time needs it.
    """

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor: Final = executor

    async def run(self, call: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        """Return what ``call`` returns; what it raises is raised here."""
        if self._executor is None:
            return call(*args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._executor, lambda: call(*args, **kwargs))

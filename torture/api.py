"""The daemon's HTTP API, for a client whose daemon may die at any instant: what is cut off is asked again."""

import asyncio
import time
from pathlib import Path
from typing import Any, Final

import aiohttp

from .plan import BOUND_S
from .violation import Violation

_REACHED_S: Final = 90.0  # for a target, whatever is killed meanwhile
_WAIT_S: Final = 20
_AGAIN_S: Final = 0.01


class Api:
    """The API on ``socket``."""

    def __init__(self, socket: Path) -> None:
        self._socket: Final = socket

    async def get(self, path: str) -> Any:
        """Return what is at ``path``.

        Raises:
            Violation: Nobody answers for long.
        """
        status, body = await self._ask("GET", path)
        if status != 200:
            raise Violation(f"GET {path} is answered {status}: {body}")
        return body

    async def show(self, name: str) -> Any:
        """Return a balloon."""
        return await self.get(f"/v1/balloons/{name}")

    async def reach(self, name: str, target_mib: int) -> Any:
        """Set a target and wait until it is reached, over as many lives of the daemon as it takes; return the balloon.

        Raises:
            Violation: It is not reached.
        """
        ends_s = time.monotonic() + _REACHED_S
        while time.monotonic() < ends_s:
            status, balloon = await self._ask(
                "PATCH", f"/v1/balloons/{name}", {"target_mib": target_mib}, {"Prefer": f"wait={_WAIT_S}"}
            )
            if status == 200:
                return balloon
            if status != 202:
                raise Violation(f"a target of {target_mib} MiB for {name} is answered {status}: {balloon}")
        raise Violation(f"{target_mib} MiB for {name} not reached within {_REACHED_S:g} s: {await self.show(name)}")

    async def until(self, name: str, state: str) -> None:
        """Wait for a balloon's state.

        Raises:
            Violation: It does not come to it.
        """
        ends_s = time.monotonic() + BOUND_S
        while (balloon := await self.show(name))["state"] != state:
            if time.monotonic() > ends_s:
                raise Violation(f"{name} does not become {state}: {balloon}")
            await asyncio.sleep(_AGAIN_S)

    async def _ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        ends_s = time.monotonic() + BOUND_S + _WAIT_S
        while True:
            try:
                return await self._ask_once(method, path, body, headers)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                if time.monotonic() > ends_s:
                    raise Violation(f"{method} {path} is not answered: {error!r}") from error
            await asyncio.sleep(_AGAIN_S)

    async def _ask_once(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> tuple[int, Any]:
        connector = aiohttp.UnixConnector(str(self._socket), force_close=True)
        timeout = aiohttp.ClientTimeout(total=BOUND_S + _WAIT_S)
        async with (
            aiohttp.ClientSession("http://localhost", connector=connector, timeout=timeout) as session,
            session.request(method, path, json=body, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

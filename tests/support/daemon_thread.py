"""A daemon in a thread of this process, for clients that know nothing of asyncio."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from vballoond.config.models import Settings
from vballoond.daemon import Daemon

_PATIENCE_S = 60


@contextmanager
def daemon_thread(settings: Settings) -> Iterator[str]:
    """A daemon that serves; gives its address. What it fails of is raised here."""
    started = threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["stop"] = stop = asyncio.Event()
        told["loop"] = asyncio.get_running_loop()
        try:
            async with Daemon(settings) as daemon:
                told["url"] = daemon.api_url
                started.set()
                await stop.wait()
        except BaseException as error:  # noqa: BLE001 (it is raised where somebody waits for it)
            told["error"] = error
        finally:
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="daemon")
    thread.start()
    try:
        assert started.wait(_PATIENCE_S)
        if "url" in told:
            yield told["url"]
    finally:
        told["loop"].call_soon_threadsafe(told["stop"].set)
        thread.join(_PATIENCE_S)
    if "error" in told:
        raise told["error"]

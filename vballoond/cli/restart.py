"""Waiting for the process that takes over."""

import time
from collections.abc import Callable
from typing import Final

from .client import Client, ClientError

_PATIENCE_S: Final = 30.0
_PAUSE_S: Final = 0.05


def successor(
    client: Client,
    before: int,
    now_s: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Return the process that answers in the place of ``before``, once it does.

    Raises:
        ClientError: None does.
    """
    ends_at_s = now_s() + _PATIENCE_S
    while True:
        try:
            pid = int(client.get("/healthz").json("pid")["pid"])
        except ClientError:
            pid = before  # its socket waits for whoever comes, but an answer can be cut off
        if pid != before:
            return pid
        if now_s() >= ends_at_s:
            raise ClientError(f"no process has taken over from {before} within {_PATIENCE_S:g} s: see the daemon's log")
        sleep(_PAUSE_S)

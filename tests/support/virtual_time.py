"""An event loop whose clock jumps: where nothing is left to do but to wait, the next timer is due."""

import asyncio


class JumpingLoop(asyncio.SelectorEventLoop):
    """Sleeping for an hour takes no time. Blocking calls must run inline, or the clock runs away from them."""

    def __init__(self) -> None:
        super().__init__()
        self._now_s = 0.0

    def time(self) -> float:
        return self._now_s

    def _run_once(self) -> None:
        # asyncio's own, private names: tests/vballoond/service/test_virtual_time.py shows that they still mean this.
        if not self._ready and self._scheduled and not self._selector.select(0):
            due = [handle._when for handle in self._scheduled if not handle.cancelled()]
            self._now_s = max(self._now_s, min(due, default=self._now_s))
        super()._run_once()

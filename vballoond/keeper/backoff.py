"""How long to wait before the next worker."""


class Backoff:
    """How long to wait before the next worker: at first not at all, then from 0.1 s doubling up to 5 s."""

    def __init__(self) -> None:
        self._pause_s = 0.0

    def next_s(self, ready_s: float) -> float:
        """Return the pause behind a worker that was ready for ``ready_s``; after 10 s it begins anew."""
        pause_s = 0.0 if ready_s >= 10 else self._pause_s
        self._pause_s = min(max(2 * pause_s, 0.1), 5.0)
        return pause_s

"""Kernel threads and their time, as generators: what sleeps in Linux yields here.

A thread yields a :class:`WaitQueue` to sleep until it is woken, or a number of seconds. The model has no time of its
own: whoever runs it says what time it is, so it runs as fast as its events come, in real or in virtual time.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Generator
from typing import Final, TypeAlias

COND_RESCHED: Final = 0.0
"""Slept for by a thread that has worked for long, so that others have their turn."""


class WaitQueue:
    """Threads that wait for something; each looks again for itself when it is woken."""

    def __init__(self) -> None:
        self.sleepers: Final[deque[Thread]] = deque()


Thread: TypeAlias = Generator[WaitQueue | float, None, None]


class Work:
    """A work item: queued twice before it runs, it runs once; queued while it runs, it runs again after."""

    def __init__(self, function: Callable[[], Thread]) -> None:
        self.function: Final = function
        self.idle: Final = WaitQueue()
        self.pending = False
        self.running = False


class Kernel:
    """Runs threads until all of them sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.running: Thread | None = None
        """The thread that runs; None outside of :meth:`run`, as in an interrupt."""
        self.before_sleep: Final[list[Callable[[], None]]] = []
        """Called when a thread goes to sleep, as that thread."""
        self._runnable: Final[deque[Thread]] = deque()
        self._timers: Final[list[tuple[float, int, Thread]]] = []
        self._order: Final = itertools.count()

    def spawn(self, thread: Thread) -> None:
        """Start a thread; it first runs at the next :meth:`run`."""
        self._runnable.append(thread)

    def wake(self, queue: WaitQueue) -> None:
        """Wake all threads that sleep on ``queue``."""
        self._runnable.extend(queue.sleepers)
        queue.sleepers.clear()

    def queue_work(self, work: Work) -> None:
        """Have ``work`` run once more than it has."""
        if not work.pending:
            work.pending = True
            if not work.running:
                self.spawn(self._work(work))

    def cancel_work(self, work: Work) -> Thread:
        """Have ``work`` not run again, and sleep until it does not run."""
        work.pending = False
        yield from wait_event(work.idle, lambda: not work.running)

    def run(self, now_s: float, most_steps: int | None = None) -> float | None:
        """Run until all threads sleep; return when the first of them wants to be run again, if any does.

        With ``most_steps``, return earlier after so many steps: ``now_s``, if there is more to do. A step is what a
        thread does from one sleep to the next, however short that is: see :data:`COND_RESCHED`.
        """
        self.now_s = now_s
        steps = itertools.count() if most_steps is None else range(most_steps)
        for _ in steps:
            while self._timers and self._timers[0][0] <= now_s:
                self._runnable.append(heapq.heappop(self._timers)[2])
            if not self._runnable:
                return self._timers[0][0] if self._timers else None
            self._step(self._runnable.popleft())
        return now_s

    def _step(self, thread: Thread) -> None:
        self.running = thread
        try:
            slept_on = next(thread)
            for check in self.before_sleep:
                check()
        except StopIteration:
            return
        finally:
            self.running = None
        if isinstance(slept_on, WaitQueue):
            slept_on.sleepers.append(thread)
        else:
            heapq.heappush(self._timers, (self.now_s + slept_on, next(self._order), thread))

    def _work(self, work: Work) -> Thread:
        work.running = True
        while work.pending:
            work.pending = False
            yield from work.function()
        work.running = False
        self.wake(work.idle)


def wait_event(queue: WaitQueue, condition: Callable[[], bool]) -> Thread:
    """Sleep until ``condition`` holds; it is looked at whenever ``queue`` is woken."""
    while not condition():
        yield queue

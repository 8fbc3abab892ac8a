"""Workers: each does steps in a thread of its own, and what a step does follows from seed, name and number alone."""

import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from .finding import Finding

Note = Callable[[str], None]
"""Takes down what is about to be done."""

GoOn = Callable[[int], bool]
"""Says whether there is to be another step, given how many this round had."""

_REMEMBERED: Final = 12
_SLICE_S: Final = 0.0002


class Worker(Protocol):
    """Someone who talks to the daemon."""

    @property
    def name(self) -> str:
        """Who it is; the balloon that it is about, where it is about one."""

    def step(self, random: Random, note: Note) -> None:
        """Do something, and raise a :class:`Finding` where the daemon fails at it."""

    def rest(self) -> None:
        """Let go of everything that the daemon has of this worker."""


@dataclass
class Diary:
    """What a worker has done."""

    steps: int = 0
    actions: deque[str] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True, slots=True)
class Failure:
    """What was found by whom, and in which step."""

    worker: str
    step: int
    reason: str


class Crew:
    """Workers who work at the same time.

    Args:
        workers: Who; a name each.
        seed: Of everything random.
    """

    def __init__(self, workers: Sequence[Worker], seed: int) -> None:
        self.workers: Final = workers
        self.diaries: Final = {worker.name: Diary() for worker in workers}
        self._seed: Final = seed

    def round(self, go_on: GoOn) -> list[Failure]:
        """Have all of them do steps for as long as they are to go on, and rest; the first failure ends it for all."""
        failures: list[Failure] = []
        threads = [
            threading.Thread(target=self._work, args=(worker, go_on, failures), name=worker.name)
            for worker in self.workers
        ]
        # A worker mostly waits for answers, and must not then wait for another worker's time slice as well.
        before_s = sys.getswitchinterval()
        sys.setswitchinterval(_SLICE_S)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before_s)
        return failures

    def _work(self, worker: Worker, go_on: GoOn, failures: list[Failure]) -> None:
        diary = self.diaries[worker.name]
        done = 0
        try:
            while not failures and go_on(done):
                self._step(worker, diary)
                done += 1
            worker.rest()
        except Finding as finding:
            failures.append(Failure(worker.name, diary.steps, str(finding)))
        except Exception:  # noqa: BLE001 (who looks for defects has some)
            failures.append(Failure(worker.name, diary.steps, traceback.format_exc()))
        finally:
            if failures:
                worker.rest()

    def _step(self, worker: Worker, diary: Diary) -> None:
        note = diary.actions.append
        note(f"-- step {diary.steps}")
        worker.step(Random(f"{self._seed}/{worker.name}/{diary.steps}"), note)
        diary.steps += 1

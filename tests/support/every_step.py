"""Lives of one balloon in which a worker dies at a chosen step, many at a time; and the steps there are to choose from.

Environment variables, for ``tests/vballoond/test_every_step.py``:

    EVERY_STEP=all      the first and the last time that each line is reached, and one in between
    EVERY_STEP=SECONDS  so many of them as a machine with nothing else to do tries in that time (40)
    EVERY_STEP_SEED=N   chooses others
    EVERY_STEP_ONLY="balloon/inflate.py:49#2 transport/vhost_user/channel.py:134#1"
                        only this: each step is where one worker dies, in their order
"""

import asyncio
import os
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from support.dying_worker import Step
from support.whole_life import Life, settings_of
from support.worker_lives import Lives, SmallHolder, Zygote

SEED: Final = int(os.environ.get("EVERY_STEP_SEED", "1"))
ONLY: Final = os.environ.get("EVERY_STEP_ONLY", "")
_AT_ONCE: Final = 3
_LIVES_PER_S: Final = 9  # on two CPUs
_PATIENCE_S: Final = 60.0
_LISTENER: Final = "vm1/listen"
_WRONG: Final = re.compile(r"Traceback|set aside|not kept|refused|failed|broken|\[error")

Deaths = tuple[Step, ...]
Recorded = list[tuple[str, int, int]]


@dataclass(frozen=True)
class Setting:
    """``sizes`` are those of the inflate, deflate and statistics queues."""

    ring: str
    sizes: tuple[int, int, int]


class Stage:
    """Where lives are lived.

    Args:
        zygote: Forks the workers.
        directory: For sockets and logs.
        setting: The guest's.
    """

    def __init__(self, zygote: Zygote, directory: Path, setting: Setting) -> None:
        self.not_reached: list[Deaths] = []
        self._zygote = zygote
        self._directory = directory
        self._setting = setting
        self._count = 0

    async def record(self, *deaths: Step) -> Recorded:
        """Return the lines that a worker reaches that does not die, behind those that do."""
        return await self._live(deaths, record=True)

    async def try_all(self, chosen: Sequence[Deaths]) -> list[str]:
        """Live a life with each of the ``chosen`` deaths; return what went wrong."""
        places = asyncio.Semaphore(_AT_ONCE)
        failures: list[str] = []

        async def one(number: int, deaths: Deaths) -> None:
            async with places:
                if len(failures) < 5:
                    failures.extend(await self._try(deaths, look_around=bool(number % 2)))

        await asyncio.gather(*(one(number, deaths) for number, deaths in enumerate(chosen)))
        return failures

    async def _try(self, deaths: Deaths, *, look_around: bool) -> list[str]:
        try:
            await self._live(deaths, look_around=look_around)
        except (AssertionError, OSError, TimeoutError, EOFError) as error:
            return [f"{self._setting}, look_around={look_around}: {' '.join(map(str, deaths))}: {error!r}"]
        return []

    async def _live(self, deaths: Deaths, *, record: bool = False, look_around: bool = False) -> Recorded:
        self._count += 1
        socket = self._directory / f"{self._count}.sock"
        log = socket.with_suffix(".log")
        life, holder = Life(self._setting.ring, socket, self._setting.sizes), SmallHolder()

        async def bereft() -> None:
            """Alone, the driver may find what was used although nobody notified it, and go on to its next request."""
            if look_around:
                life.look_around()
                for _ in range(5):
                    await asyncio.sleep(0)

        try:
            settings = settings_of(self._setting.ring, socket)
            async with (
                asyncio.timeout(_PATIENCE_S),
                Lives(self._zygote, holder, settings, deaths, bereft, log, record=record) as lives,
            ):
                await life.live(lives)
                reached = await lives.ask("reached") if record else []
                await nothing_left(holder)
                if len(lives.died) < len(deaths):
                    self.not_reached.append(deaths)
            said = log.read_text()
            assert not _WRONG.search(said), said
        except (AssertionError, TimeoutError, OSError) as error:
            said = "".join(line for line in log.read_text().splitlines(keepends=True)[-30:])
            raise AssertionError(f"in the phase {life.phase!r}: {error!r}\n{said}") from error
        finally:
            life.close()
            holder.close()
        return reached


async def nothing_left(holder: SmallHolder) -> None:
    """The holder has the listening socket, and nothing of a front-end that has gone."""
    async with asyncio.timeout(_PATIENCE_S):
        while holder.store.names != [_LISTENER]:
            await asyncio.sleep(0)
            holder.take()


def chosen(
    recorded: Recorded, *, seconds: float, before: Deaths = (), known: Iterable[tuple[str, int]] = ()
) -> list[Deaths]:
    """Return the deaths to try: behind those of ``before``, at lines that are not ``known``.

    Args:
        recorded: The lines that are reached, and how often.
        seconds: What they may take where no more are wanted.
        before: Where the workers before die.
        known: Lines to leave out.
    """
    if ONLY:
        return 2 * [tuple(map(Step.parse, ONLY.split()))]
    chance = random.Random(SEED)
    left_out = set(known)
    steps = [
        Step(file, line, occurrence)
        for file, line, count in recorded
        if (file, line) not in left_out
        for occurrence in sorted({1, count, chance.randint(1, count)})
    ]
    chance.shuffle(steps)
    wanted = os.environ.get("EVERY_STEP", "40")
    if wanted != "all":
        steps = steps[: int(float(wanted) / 60 * seconds * _LIVES_PER_S)]
    return [(*before, step) for step in steps]


def first_deaths(recorded: Recorded, count: int) -> list[Step]:
    """Return steps at which a worker may die first, so that the next one has much to take over."""
    steps = [Step(file, line, times // 2) for file, line, times in recorded if times >= 6]
    return random.Random(SEED).sample(steps, count)

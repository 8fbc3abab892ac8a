from random import Random

from fuzz.finding import Finding
from fuzz.worker import Crew, Note


class Recorder:
    """Notes a random number in each step, and finds something in step ``finds``."""

    def __init__(self, name: str = "recorder", finds: int | None = None) -> None:
        self.name = name
        self.numbers: list[int] = []
        self.rests = 0
        self._finds = finds

    def step(self, random: Random, note: Note) -> None:
        if len(self.numbers) == self._finds:
            raise Finding("something")
        self.numbers.append(random.getrandbits(32))
        note(f"number {self.numbers[-1]}")

    def rest(self) -> None:
        self.rests += 1


def numbers_of(seed: int, name: str = "recorder", steps: int = 4) -> list[int]:
    worker = Recorder(name)
    assert Crew([worker], seed).round(lambda done: done < steps) == []
    return worker.numbers


def test_a_seed_brings_every_step_back() -> None:
    assert numbers_of(1) == numbers_of(1)
    assert len({*numbers_of(1), *numbers_of(2), *numbers_of(1, "another")}) == 12


def test_a_step_can_be_done_by_itself() -> None:
    worker = Recorder()
    crew = Crew([worker], 1)
    crew.diaries["recorder"].steps = 3
    crew.round(lambda done: done < 1)
    assert worker.numbers == numbers_of(1)[3:]


def test_steps_go_on_from_round_to_round_and_workers_rest_between() -> None:
    worker = Recorder()
    crew = Crew([worker], 1)
    for _ in range(2):
        crew.round(lambda done: done < 2)
    assert worker.numbers == numbers_of(1)
    assert (worker.rests, crew.diaries["recorder"].steps) == (2, 4)


def test_a_finding_ends_the_round_for_all_and_says_where_it_was() -> None:
    finder, other = Recorder("finder", finds=2), Recorder("other")
    crew = Crew([finder, other], 1)
    (failure,) = crew.round(lambda _: True)
    assert (failure.worker, failure.step, failure.reason) == ("finder", 2, "something")
    assert finder.rests == 1
    assert other.rests >= 1
    assert crew.diaries["finder"].actions[-1] == "-- step 2"


def test_a_defect_of_the_fuzzer_is_shown_with_its_traceback() -> None:
    worker = Recorder()
    worker.numbers = None  # type: ignore[assignment]
    (failure,) = Crew([worker], 1).round(lambda _: True)
    assert failure.reason.startswith("Traceback")

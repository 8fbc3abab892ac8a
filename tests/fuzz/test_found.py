"""What is wrong with a daemon is found: here one that is well is looked at with a wrong memory of it."""

from collections.abc import Iterator
from random import Random

import pytest

from fuzz.finding import Finding
from fuzz.run import Run
from fuzz.well_behaved import WellBehaved


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Run(1, tmp_path_factory.mktemp("fuzz"), ["well-split"]) as running:
        yield running


@pytest.fixture
def guest(run: Run) -> Iterator[WellBehaved]:
    """A guest that has reached a target which is not 0, and has not left."""
    (worker,) = run.crew.workers
    assert isinstance(worker, WellBehaved)
    worker.step(Random(1), lambda _: None)
    assert worker._held
    worker._check(len(worker._held))
    yield worker
    worker.rest()


def found_by(guest: WellBehaved) -> str:
    with pytest.raises(Finding) as found:
        guest._check(len(guest._held))
    return str(found.value)


def test_frames_that_the_map_has_wrong(guest: WellBehaved) -> None:
    guest._held[0] = guest._free[0]
    assert found_by(guest).startswith("the map is wrong about 2 frames")


def test_memory_that_changed(guest: WellBehaved) -> None:
    guest._vm.ram.write(guest._free[0] * 4096, bytes(8))
    assert found_by(guest) == f"the memory of 1 frames is not as it must be, the first is {guest._free[0]}"


def test_memory_that_was_not_given_back(guest: WellBehaved) -> None:
    guest._use(guest._held[:3])
    assert found_by(guest).startswith("the memory of 3 frames is not as it must be")


def test_a_target_that_is_not_the_balloons_size(guest: WellBehaved) -> None:
    guest._held.pop()
    assert found_by(guest).startswith("a balloon that reached its target is")


def test_a_line_that_is_no_log(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run.daemon.log, "wrong", ["Exception ignored in: <function f>"])
    with pytest.raises(Finding, match="the daemon logs: Exception ignored"):
        run.round(lambda _: True)


def test_a_descriptor_that_is_left_open(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fuzz.run.PATIENCE_S", 0.0)
    first = run.account.usages[0]
    monkeypatch.setattr(run.account, "usages", [first._replace(descriptors=first.descriptors - 1)])
    with pytest.raises(Finding, match="before all came"):
        run.round(lambda _: False)

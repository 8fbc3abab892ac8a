from dataclasses import replace

import pytest
from support.sweeps import Notes, broken_job, file_job, small_jobs

from vballoond.errors import OperatorError
from vballoond.lab.simulation.sweep.here import run_here

pytestmark = pytest.mark.long

dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
on_dask = pytest.importorskip("vballoond.lab.simulation.sweep.on_dask")


@pytest.fixture
def cluster(tmp_path, request):
    with (
        dask.config.set({"distributed.worker.daemon": False, "temporary-directory": str(tmp_path)}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=request.param,
            dashboard_address="127.0.0.1:0",
            host="127.0.0.1",
            protocol="tcp://",
            local_directory=str(tmp_path),
        ) as cluster,
    ):
        yield cluster


def compare(cluster) -> None:
    jobs = [*small_jobs(), file_job()]
    here, there = Notes(), Notes()
    run_here(jobs, here, processes=1)
    on_dask.run_on_dask([*jobs, broken_job()], there, scheduler=cluster.scheduler_address)
    assert there.results == here.results
    assert len({result.decisions for result in there.results.values()}) == 5
    assert "no policy 'gone'" in there.failures[broken_job().key]


@pytest.mark.parametrize("cluster", [False], indirect=True, ids=["threads"])
def test_two_workers_come_to_the_same_as_this_process(cluster) -> None:
    compare(cluster)


@pytest.mark.long
@pytest.mark.parametrize("cluster", [True], indirect=True, ids=["processes"])
def test_two_workers_of_their_own_processes_come_to_the_same_as_this_process(cluster) -> None:
    compare(cluster)


def test_a_scheduler_that_is_none_is_told(monkeypatch) -> None:
    monkeypatch.setattr(on_dask, "_CONNECT_S", 0.5)
    for address in ("tcp://127.0.0.1:1", "'nonsense://x'"):
        with pytest.raises(OperatorError, match=f"no Dask scheduler at {address}"):
            on_dask.run_on_dask([], Notes(), scheduler=address.strip("'"))


class LostFuture:
    """What Dask has of a run when the scheduler is gone."""

    key = f"vballoond-{broken_job().attempt}"

    def exception(self):
        raise distributed.client.FutureCancelledError(self.key, "scheduler-connection-lost")


def test_a_scheduler_that_goes_is_told(monkeypatch) -> None:
    class Client:
        loop = None

        def submit(self, *_, **__):
            return LostFuture()

    monkeypatch.setattr(on_dask._DASK, "as_completed", lambda futures, **_: futures)
    with pytest.raises(OperatorError, match="the connection to the Dask scheduler is lost"):
        on_dask.run_with(Client(), [broken_job()], Notes())


class DoneFuture:
    """What Dask has of a run that has ended."""

    def __init__(self, key: str) -> None:
        self.key, self.released = key, False

    def exception(self) -> None:
        return None

    def result(self):
        assert not self.released
        return self.key

    def release(self) -> None:
        self.released = True


class DoneClient:
    """Has all runs done at once."""

    loop = None

    def __init__(self) -> None:
        self.futures = []

    def submit(self, _, __, key):
        self.futures.append(DoneFuture(key))
        return self.futures[-1]


def test_a_run_is_not_kept_on_the_cluster_once_it_was_told(monkeypatch) -> None:
    monkeypatch.setattr(on_dask._DASK, "as_completed", lambda futures, **_: futures)
    client, notes = DoneClient(), Notes()
    on_dask.run_with(client, small_jobs(), notes)
    assert len(notes.results) == 4
    assert all(future.released for future in client.futures)


def test_two_commands_share_a_run_on_the_cluster_only_if_they_ask_for_the_same(monkeypatch) -> None:
    monkeypatch.setattr(on_dask._DASK, "as_completed", lambda futures, **_: futures)
    client, job = DoneClient(), small_jobs()[0]
    for asked in (job, job, replace(job, time_limit_s=0.5), replace(job, program="another")):
        on_dask.run_with(client, [asked], Notes())
    first, again, hurried, other = [future.key for future in client.futures]
    assert first == again
    assert len({first, hurried, other}) == 3

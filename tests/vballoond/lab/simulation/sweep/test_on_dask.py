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

    key = f"vballoond-{broken_job().key}"

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

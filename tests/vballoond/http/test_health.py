import os

HEALTHY = {"ready": True, "problems": []}


async def test_the_daemon_is_alive_and_says_which_process_it_is(api) -> None:
    assert await api.get("/healthz") == {"pid": os.getpid(), "keeper_pid": None}


async def test_a_daemon_that_can_do_its_work_is_ready(api) -> None:
    assert await api.get("/readyz") == HEALTHY


async def test_a_daemon_that_cannot_give_memory_back_is_not_ready_and_names_no_guest(api, balloons) -> None:
    balloons.demo.releasing.problem = "the file is sealed"
    assert await api.get("/readyz", 503) == {
        "ready": False,
        "problems": ["memory of 1 balloon(s) cannot be given back; the log says why"],
    }
    balloons.demo.releasing.problem = None
    assert await api.get("/readyz") == HEALTHY

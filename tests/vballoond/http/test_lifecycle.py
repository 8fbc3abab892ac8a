"""/v1/reload and /v1/restart, over a daemon that does what the test says."""

import os
from typing import Any

import pytest
from support.api import Api

from vballoond.errors import OperatorError
from vballoond.http.app import build_app
from vballoond.offload import Offload
from vballoond.registry import Registry


class Daemon:
    """What the API asks of the daemon."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.restarts = 0
        self.done = ["balloon 'vm1' added", "log level debug"]
        self.error: OperatorError | None = None

    async def remember(self) -> None: ...

    async def reload(self) -> list[str]:
        if self.error is not None:
            raise self.error
        return self.done

    def restart(self) -> None:
        if self.error is not None:
            raise self.error
        self.restarts += 1


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def api(daemon: Daemon, aiohttp_client: Any) -> Api:
    return Api(await aiohttp_client(build_app(Registry(), Offload(), control=daemon)))


async def test_a_reload_answers_what_was_done(api: Api, daemon: Daemon) -> None:
    answer = await api.ask("POST", "/v1/reload")
    assert (answer.status, answer.json()) == (200, {"done": daemon.done})
    daemon.done = []
    assert (await api.ask("POST", "/v1/reload")).json() == {"done": []}


async def test_a_reload_of_what_is_wrong_is_refused(api: Api, daemon: Daemon) -> None:
    daemon.error = OperatorError("nothing was changed: it is wrong", status=422, code="bad-configuration")
    problem = await api.refused("POST", "/v1/reload", 422, "bad-configuration")
    assert problem["detail"] == "nothing was changed: it is wrong"


async def test_a_restart_answers_from_which_process_another_takes_over(api: Api, daemon: Daemon) -> None:
    answer = await api.ask("POST", "/v1/restart")
    assert (answer.status, answer.json(), daemon.restarts) == (202, {"pid": os.getpid()}, 1)


async def test_a_restart_that_guests_would_notice_is_refused(api: Api, daemon: Daemon) -> None:
    daemon.error = OperatorError("guests would notice", status=409, code="no-keeper")
    problem = await api.refused("POST", "/v1/restart", 409, "no-keeper")
    assert problem["detail"] == "guests would notice"


@pytest.mark.parametrize("path", ["/v1/reload", "/v1/restart"])
async def test_neither_is_done_by_looking(api: Api, daemon: Daemon, path: str) -> None:
    assert (await api.ask("GET", path)).status == 405
    assert daemon.restarts == 0


async def test_neither_is_done_without_the_token(daemon: Daemon, aiohttp_client: Any) -> None:
    api = Api(await aiohttp_client(build_app(Registry(), Offload(), control=daemon, token="secret")))
    for path in ("/v1/reload", "/v1/restart"):
        await api.refused("POST", path, 401, "no-token")
    assert daemon.restarts == 0


async def test_what_is_not_as_it_was_asked_for_is_a_problem(api: Api, daemon: Daemon) -> None:
    daemon.problems = ["the disk is full", "a balloon is missing"]
    assert await api.get("/readyz", 503) == {"ready": False, "problems": daemon.problems}
    daemon.problems = []
    assert await api.get("/readyz") == {"ready": True, "problems": []}


async def test_where_there_is_no_daemon_nothing_is_reloaded_and_nobody_takes_over(aiohttp_client: Any) -> None:
    api = Api(await aiohttp_client(build_app(Registry(), Offload())))
    assert (await api.ask("POST", "/v1/reload")).json() == {"done": []}
    await api.refused("POST", "/v1/restart", 409, "no-keeper")

import asyncio
import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs
from support.api import Api
from yarl import URL

from vballoond.http.app import build_app
from vballoond.http.request_log import MAX_PATH_CHARACTERS, REQUESTS, log_requests
from vballoond.offload import Offload

TOKEN = "correct horse battery staple"
DEMO = "/v1/balloons/demo"


def said_of_requests(logs: list[Any]) -> list[dict[str, Any]]:
    return [dict(line) for line in logs if line["event"] == "request done"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PATCH", DEMO, {"target_mib": 1}, 202),
        ("PATCH", DEMO, {"target_mib": "one"}, 400),
        ("PATCH", "/v1/balloons/nobody", {"target_mib": 1}, 404),
        ("POST", "/v1/restart", None, 409),
        ("DELETE", "/no/such/path", None, 404),
        ("POST", "/healthz", None, 405),
    ],
)
async def test_what_may_change_something_is_one_line(api, method: str, path: str, body: object, status: int) -> None:
    with capture_logs() as logs:
        assert (await api.ask(method, path, json=body)).status == status
    (line,) = said_of_requests(logs)
    assert line.pop("duration_s") >= 0
    assert line == {
        "event": "request done",
        "log_level": "info",
        "method": method,
        "path": path,
        "status": status,
        "remote": "127.0.0.1",
    }


async def test_what_reads_is_one_line_for_whoever_looks_closely(api) -> None:
    with capture_logs() as logs:
        await api.get("/v1/balloons")
        await api.get("/v1/balloons/nobody", 404)
    assert [(line["log_level"], line["status"]) for line in said_of_requests(logs)] == [("debug", 200), ("debug", 404)]


@pytest.mark.parametrize("token", [TOKEN, "another"])
@pytest.mark.parametrize("body", [b'{"target_mib": 1}', b'{"token": "%s"}' % TOKEN.encode(), TOKEN.encode()])
async def test_a_token_is_in_no_line(balloons, aiohttp_client, token: str, body: bytes) -> None:
    client = await aiohttp_client(build_app(balloons.registry, Offload(), token=TOKEN, read_token="another"))
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with capture_logs() as logs:
        for method in ("PATCH", "GET"):
            await Api(client).ask(method, f"{DEMO}?token={token}", data=body, headers=headers)
    assert len(said_of_requests(logs)) == 2
    assert token not in str(logs)


async def test_a_long_path_is_cut_short(api) -> None:
    with capture_logs() as logs:
        await api.ask("POST", "/" + "x" * 2 * MAX_PATH_CHARACTERS)
    (line,) = said_of_requests(logs)
    assert line["path"] == "/" + "x" * (MAX_PATH_CHARACTERS - 1)


async def test_a_path_is_logged_as_it_came(balloons, aiohttp_client) -> None:
    client = await aiohttp_client(build_app(balloons.registry, Offload()))
    with capture_logs() as logs:
        assert (await client.post(URL("/v1/%1b%5b2J%0afoo?token=secret", encoded=True))).status == 404
    (line,) = said_of_requests(logs)
    assert line["path"] == "/v1/%1b%5b2J%0afoo"


async def test_over_a_unix_socket_it_says_which_user_asked(balloons, tmp_path: Path) -> None:
    runner = web.AppRunner(build_app(balloons.registry, Offload()), access_log=None)
    await runner.setup()
    with socket.socket(socket.AF_UNIX) as listener, capture_logs() as logs:
        listener.bind(str(tmp_path / "api.sock"))
        await web.SockSite(runner, listener).start()
        connector = aiohttp.UnixConnector(str(tmp_path / "api.sock"))
        async with aiohttp.ClientSession("http://localhost", connector=connector) as session:
            await Api(session).ask("POST", "/v1/restart")
        await runner.cleanup()
    (line,) = said_of_requests(logs)
    assert (line["remote"], line["uid"]) == ("unix", os.getuid())


async def test_a_request_without_an_answer_is_a_line_too(aiohttp_client) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.Response:
        del request
        begun.set()
        await ended.wait()
        raise asyncio.CancelledError

    app = web.Application(middlewares=[log_requests])
    app[REQUESTS] = Counter()
    app.router.add_post("/", wait)
    client = await aiohttp_client(app)
    with capture_logs() as logs:
        asked = asyncio.create_task(client.post("/"))
        await begun.wait()
        ended.set()
        with pytest.raises(aiohttp.ClientError):
            await asked
    (line,) = said_of_requests(logs)
    assert line["status"] is None
    assert app[REQUESTS] == {("POST", "none"): 1}

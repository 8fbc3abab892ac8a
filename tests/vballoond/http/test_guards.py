import asyncio
import re
import socket
from typing import Any

import pytest
from aiohttp import web
from support.api import Api
from support.virtual_time import JumpingLoop

from vballoond.http.app import MAX_BODY_BYTES, build_app
from vballoond.http.guards import BODY_S, OPEN_PATHS, READING, accepted_hosts
from vballoond.http.routes import ROUTES
from vballoond.offload import Offload
from vballoond.registry import Registry

TOKEN = "correct horse battery staple"
READ_TOKEN = "a horse of another colour"
OPEN = ["/healthz", "/readyz", "/"]
SHUT = ["/v1/balloons", "/v1/balloons/demo", "/v1/balloons/demo/frames", "/openapi.json", "/no/such/path", "/healthz/"]


@pytest.fixture
def guarded(balloons, aiohttp_client):
    """Gives the API with the guards that it is asked for."""

    async def build(**guards: Any) -> Api:
        return Api(await aiohttp_client(build_app(balloons.registry, Offload(), **guards)))

    return build


def test_any_host_name_is_answered_on_a_unix_socket() -> None:
    assert accepted_hosts(None, ["elsewhere"]) is None


def test_names_of_this_host_the_listen_address_and_configured_ones_are_answered() -> None:
    assert accepted_hosts("192.0.2.1", ["Host.Example"]) == {
        "localhost",
        "127.0.0.1",
        "[::1]",
        "192.0.2.1",
        "host.example",
    }


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1:1234", "[::1]", "[::1]:8750", "Host.Example", "host.example:1"]
)
async def test_a_known_host_name_is_answered_with_or_without_a_port(guarded, host: str) -> None:
    api = await guarded(hosts=accepted_hosts("127.0.0.1", ["host.example"]))
    assert (await api.ask("GET", "/v1/balloons", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "evil.example:8750", "[::2]", "host.example:x"]
)
@pytest.mark.parametrize("path", ["/v1/balloons", "/", "/healthz", "/no/such/path"])
async def test_a_foreign_host_name_is_turned_away_everywhere(guarded, host: str, path: str) -> None:
    api = await guarded(hosts=accepted_hosts("127.0.0.1", ["host.example"]))
    problem = await api.refused("GET", path, 403, "foreign-host", headers={"Host": host})
    assert "http.hosts" in problem["detail"]


async def test_nothing_is_done_for_a_foreign_host(guarded, balloons) -> None:
    api = await guarded(hosts=accepted_hosts("127.0.0.1", []))
    headers = {"Host": "evil.example"}
    path = "/v1/balloons/demo"
    await api.refused("PATCH", path, 403, "foreign-host", json={"target_mib": 1}, headers=headers)
    assert balloons.demo.resizing.current is None


async def test_any_host_name_is_answered_where_none_are_given(guarded) -> None:
    api = await guarded(hosts=None)
    assert (await api.ask("GET", "/v1/balloons", headers={"Host": "anything"})).status == 200


async def say(client: Any, *lines: str) -> str:
    """Say ``lines`` as they are, instead of what a client would; return the answer."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write("".join(f"{line}\r\n" for line in (*lines, "Connection: close", "")).encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_whoever_names_no_host_is_turned_away(balloons, aiohttp_client) -> None:
    hosts = accepted_hosts("127.0.0.1", [])
    client = await aiohttp_client(build_app(balloons.registry, Offload(), hosts=hosts))
    answer = await say(client, "GET /v1/balloons HTTP/1.0")
    assert answer.startswith("HTTP/1.0 403 ")
    assert '"code": "foreign-host"' in answer
    assert "has no Host" in answer
    answer = await say(client, "GET /v1/balloons HTTP/1.0", "Host: localhost")
    assert answer.startswith("HTTP/1.0 200 ")


async def test_whoever_names_no_host_is_answered_where_none_are_given(balloons, aiohttp_client) -> None:
    client = await aiohttp_client(build_app(balloons.registry, Offload(), hosts=None))
    assert (await say(client, "GET /v1/balloons HTTP/1.0")).startswith("HTTP/1.0 200 ")


@pytest.mark.parametrize("path", SHUT)
async def test_the_token_is_wanted_for_whatever_tells_of_guests(guarded, path: str) -> None:
    api = await guarded(token=TOKEN)
    answer = await api.ask("GET", path)
    assert (answer.status, answer.json()["code"]) == (401, "no-token")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", OPEN)
async def test_the_token_is_not_wanted_for_what_tells_nothing(guarded, path: str) -> None:
    api = await guarded(token=TOKEN)
    assert (await api.ask("GET", path)).status == 200


async def test_the_token_is_wanted_before_anything_is_done(guarded, balloons) -> None:
    api = await guarded(token=TOKEN)
    await api.refused("PATCH", "/v1/balloons/demo", 401, "no-token", json={"target_mib": 1})
    assert balloons.demo.resizing.current is None


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_whoever_has_the_token_is_answered(guarded, scheme: str) -> None:
    api = await guarded(token=TOKEN)
    assert (await api.ask("GET", "/v1/balloons", headers={"Authorization": f"{scheme} {TOKEN}"})).status == 200


@pytest.mark.parametrize(
    "header",
    ["", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe4\xf6"],
)
async def test_whoever_has_another_token_is_turned_away(guarded, header: str) -> None:
    api = await guarded(token=TOKEN)
    await api.refused("GET", "/v1/balloons", 401, "no-token", headers={"Authorization": header})


async def test_a_token_in_the_address_does_not_count(guarded) -> None:
    api = await guarded(token=TOKEN)
    await api.refused("GET", f"/v1/balloons?token={TOKEN}&access_token={TOKEN}", 401, "no-token")


def example_of(route: Any) -> str:
    """A path of the route."""
    return re.sub(r"\{\w+\}", "1", route.path.replace("{name}", "demo"))


async def test_every_route_is_guarded(guarded) -> None:
    api = await guarded(token=TOKEN, read_token=READ_TOKEN)
    for route in ROUTES:
        path = example_of(route)
        if route.path not in OPEN_PATHS:
            await api.refused(route.method, path, 401, "no-token")
        if route.method not in READING:
            headers = {"Authorization": f"Bearer {READ_TOKEN}"}
            await api.refused(route.method, path, 403, "read-only-token", headers=headers)
            headers = {"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}
            await api.refused(route.method, path, 403, "cross-site", headers=headers)


# A token that only reads.


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_whoever_has_the_token_that_reads_may_read(balloons, aiohttp_client, method: str) -> None:
    client = await aiohttp_client(build_app(balloons.registry, Offload(), token=TOKEN, read_token=READ_TOKEN))
    async with client.request(method, "/v1/balloons", headers={"Authorization": f"Bearer {READ_TOKEN}"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("method", ["PATCH", "POST", "PUT", "DELETE", "PROPFIND"])
async def test_whoever_has_the_token_that_reads_may_not_write(guarded, balloons, method: str) -> None:
    api = await guarded(token=TOKEN, read_token=READ_TOKEN)
    headers = {"Authorization": f"Bearer {READ_TOKEN}"}
    problem = await api.refused(
        method, "/v1/balloons/demo", 403, "read-only-token", json={"target_mib": 1}, headers=headers
    )
    assert "http.token_file" in problem["detail"]
    assert balloons.demo.resizing.current is None


async def test_whoever_has_the_token_may_write_beside_one_that_reads(guarded) -> None:
    api = await guarded(token=TOKEN, read_token=READ_TOKEN)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert (await api.ask("PATCH", "/v1/balloons/demo", json={"target_mib": 1}, headers=headers)).status == 202


# Other sites.

FOREIGN = [
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "Cross-Site", "Origin": "http://localhost"},
    {"Origin": "http://evil.example"},
    {"Origin": "http://localhost:3000"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
]
OWN = [
    {},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"},
    {"Sec-Fetch-Site": "none"},
    {"Origin": "http://localhost"},
    {"Origin": "https://LOCALHOST"},
]


@pytest.mark.parametrize("said", FOREIGN, ids=str)
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/v1/balloons/demo", b'{"target_mib": 1}'),
        ("POST", "/v1/reload", b""),
        ("POST", "/v1/restart", b"a=b"),
        ("DELETE", "/v1/balloons/demo/hinting", b""),
    ],
)
async def test_another_sites_page_changes_nothing(guarded, balloons, said, method: str, path: str, body: bytes) -> None:
    api = await guarded()
    headers = {"Host": "localhost", "Content-Type": "text/plain", **said}
    await api.refused(method, path, 403, "cross-site", data=body, headers=headers)
    assert balloons.demo.resizing.current is None


@pytest.mark.parametrize("said", OWN, ids=str)
async def test_what_is_no_other_sites_page_may_change_something(guarded, said) -> None:
    api = await guarded()
    headers = {"Host": "localhost", **said}
    assert (await api.ask("PATCH", "/v1/balloons/demo", json={"target_mib": 1}, headers=headers)).status == 202


@pytest.mark.parametrize("said", [*FOREIGN, *OWN], ids=str)
@pytest.mark.parametrize("path", ["/v1/balloons", "/v1/nothing"])
async def test_no_answer_lets_another_site_read_it(guarded, said, path: str) -> None:
    api = await guarded()
    answer = await api.ask("GET", path, headers={"Host": "localhost", **said})
    assert answer.status == (200 if path == "/v1/balloons" else 404)
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_browser_that_asks_whether_it_may_gets_no_leave(guarded) -> None:
    api = await guarded()
    headers = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PATCH"}
    answer = await api.ask("OPTIONS", "/v1/balloons/demo", headers=headers)
    assert answer.status == 405
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


# Bodies.


@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/reload"), ("DELETE", "/v1/balloons/demo/hinting")])
async def test_a_body_that_nobody_wants_is_bounded_too(guarded, method: str, path: str) -> None:
    api = await guarded()
    await api.refused(method, path, 413, "too-large", data=bytes(MAX_BODY_BYTES + 1))


def test_a_body_that_does_not_end_is_waited_for_no_longer_than_that() -> None:
    async def main() -> str:
        app = build_app(Registry(), Offload())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.001)
        await runner.setup()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            host, port = listener.getsockname()
            await web.SockSite(runner, listener).start()
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"POST /v1/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfew")
            answer = (await reader.readuntil(b"}")).decode()
            assert asyncio.get_running_loop().time() == pytest.approx(BODY_S, abs=1)
            writer.close()
            await runner.cleanup()
        return answer

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        answer = runner.run(main())
    assert answer.startswith("HTTP/1.1 408 ")
    assert '"code": "slow-body"' in answer

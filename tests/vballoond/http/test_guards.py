import asyncio
from typing import Any

import pytest
from support.api import Api

from vballoond.http.app import build_app
from vballoond.http.guards import accepted_hosts
from vballoond.http.routes import ROUTES
from vballoond.offload import Offload

TOKEN = "correct horse battery staple"
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


async def test_every_route_is_guarded(guarded) -> None:
    api = await guarded(token=TOKEN)
    for route in ROUTES:
        if route.path not in OPEN:
            await api.refused(route.method, route.path.replace("{name}", "demo"), 401, "no-token")

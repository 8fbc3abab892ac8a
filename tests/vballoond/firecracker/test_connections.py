"""What clients see of HTTP: status lines, headers, bodies, and how long a connection lasts. In virtual time."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.firecracker_client import Client, client

from vballoond.firecracker.connections import IDLE_S, MAX_BODY_BYTES, MAX_CONNECTIONS, STUCK_S, Connections
from vballoond.firecracker.faults import FaultError

TOO_LARGE = (
    "Request payload with size {} is larger than the limit of 51200 allowed by server.\n"
    "All previous unanswered requests will be dropped."
)

NO_HTTP = "Invalid request. What is due is HTTP/1.1 with a Host, and a header of at most 64 fields of 8192 bytes"
NO_BODY = "Invalid request. Its body did not come, or not as it was announced"


async def echo(method: str, target: str, body: bytes) -> Mapping[str, Any] | None:
    match target:
        case "/nothing":
            return None
        case "/refused":
            raise FaultError("no")
        case "/defect":
            raise KeyError("a defect")
        case "/much":
            return {"much": "x" * (8 << 20)}
    return {"method": method, "target": target, "body": body.decode()}


@asynccontextmanager
async def connections(path: Path, most: int = MAX_CONNECTIONS) -> AsyncIterator[Connections]:
    made = Connections(echo, most)
    server = await asyncio.get_running_loop().create_unix_server(made, str(path))
    try:
        yield made
    finally:
        server.close()
        made.pre_shutdown()
        await made.shutdown(1)


@pytest.fixture
async def asking(socket_path: Path) -> AsyncIterator[Client]:
    async with connections(socket_path), client(socket_path) as connected:
        yield connected


async def test_an_answer_has_the_headers_that_clients_expect(asking: Client) -> None:
    answer = await asking.ask("PUT", "/here", {"a": 1})
    assert (answer.status, answer.json()) == (200, {"method": "PUT", "target": "/here", "body": '{"a": 1}'})
    assert answer.headers["server"] == "Firecracker API"
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "keep-alive"
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "transfer-encoding" not in answer.headers


async def test_nothing_to_show_is_204_without_body_or_its_headers(asking: Client) -> None:
    answer = await asking.ask("PATCH", "/nothing")
    assert (answer.status, answer.body) == (204, b"")
    assert not {"content-length", "content-type", "transfer-encoding"} & answer.headers.keys()
    assert answer.headers["server"] == "Firecracker API"
    assert answer.headers["connection"] == "keep-alive"


async def test_a_fault_is_400_with_one_field(asking: Client) -> None:
    answer = await asking.ask("PUT", "/refused", {"a": 1})
    assert (answer.status, answer.body) == (400, b'{"fault_message":"no"}')
    assert answer.headers["server"] == "Firecracker API"


async def test_a_connection_is_kept_after_every_answer(asking: Client) -> None:
    for path in ("/here", "/nothing", "/refused", "/defect", "/here"):
        with capture_logs():
            await asking.ask("GET", path)


async def test_a_target_with_scheme_and_host_comes_as_it_was_sent(asking: Client) -> None:
    answer = await asking.ask("GET", "http://localhost/balloon?a=%41")
    assert answer.json()["target"] == "http://localhost/balloon?a=%41"


async def test_requests_that_are_sent_at_once_are_answered_in_their_order(asking: Client) -> None:
    asking.writer.write(b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % number for number in range(100)))
    assert [(await asking.answer()).json()["target"] for _ in range(100)] == [f"/{number}" for number in range(100)]


async def test_a_client_that_wants_the_connection_closed_has_it_closed(asking: Client) -> None:
    answer = await asking.ask("GET", "/here", Connection="close")
    assert answer.headers["connection"] == "close"
    assert await asking.is_closed()


async def test_a_defect_of_ours_is_500_and_logged(asking: Client) -> None:
    with capture_logs() as logged:
        answer = await asking.ask("GET", "/defect")
    assert (answer.status, answer.fault) == (500, "Internal Server Error")
    assert [line["event"] for line in logged] == ["request failed"]


async def test_the_largest_body_is_taken(asking: Client) -> None:
    answer = await asking.ask("PUT", "/here", b"x" * MAX_BODY_BYTES)
    assert len(answer.json()["body"]) == 51200


async def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(asking: Client) -> None:
    answer = await asking.send(
        b"PUT /here HTTP/1.1\r\nHost: x\r\nContent-Length: 51201\r\nExpect: 100-continue\r\n\r\n"
    )
    assert (answer.status, answer.fault) == (400, TOO_LARGE.format(51201))
    assert answer.headers["connection"] == "close"
    assert await asking.is_closed()


async def test_a_body_in_chunks_is_refused_where_it_becomes_too_large(asking: Client) -> None:
    head = b"PUT /here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await asking.send(head + b"c801\r\n" + b"x" * 51201 + b"\r\n")
    assert (answer.status, answer.fault) == (400, TOO_LARGE.format(51201))
    assert await asking.is_closed()


async def test_a_body_in_chunks_is_taken(asking: Client) -> None:
    head = b"PUT /here HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await asking.send(head + b"1\r\n{\r\n1\r\n}\r\n0\r\n\r\n")
    assert answer.json()["body"] == "{}"


async def test_a_client_that_asks_first_whether_to_send_its_body_is_told(asking: Client) -> None:
    go_on = await asking.send(b"PUT /here HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
    assert (go_on.status, go_on.body) == (100, b"")
    answer = await asking.send(b"{}")
    assert (answer.status, answer.json()["body"]) == (200, "{}")


async def test_a_body_that_is_packed_is_taken_as_it_is(asking: Client) -> None:
    answer = await asking.ask("PUT", "/here", b"{}", **{"Content-Encoding": "gzip"})
    assert answer.json()["body"] == "{}"


@pytest.mark.parametrize(
    "garbage",
    [b"\x16\x03\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nno field\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"],
)
async def test_what_is_no_http_is_refused_and_ends_the_connection(asking: Client, garbage: bytes) -> None:
    answer = await asking.send(garbage)
    assert (answer.status, answer.fault) == (400, NO_HTTP)
    assert answer.headers["server"] == "Firecracker API"
    assert await asking.is_closed()


@pytest.mark.parametrize(
    "head", [b"GET /" + b"x" * 9000, b"GET / HTTP/1.1\r\nA: " + b"x" * 9000, b"GET / HTTP/1.1" + b"\r\nA: b" * 100]
)
async def test_a_header_beyond_all_bounds_is_refused(asking: Client, head: bytes) -> None:
    answer = await asking.send(head + b"\r\n\r\n")
    assert (answer.status, answer.fault) == (400, NO_HTTP)


async def test_a_body_that_does_not_come_is_not_waited_for(asking: Client) -> None:
    answer = await asking.send(b"PUT /here HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
    assert (answer.status, answer.fault) == (400, NO_BODY)
    assert asyncio.get_running_loop().time() >= 10
    assert await asking.is_closed()


async def test_a_client_that_has_gone_in_the_middle_of_a_body_leaves_nothing(socket_path: Path) -> None:
    async with connections(socket_path) as made:
        async with client(socket_path) as asking:
            asking.writer.write(b"PUT /here HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{")
            await asking.writer.drain()
        with capture_logs() as logged:
            await asyncio.sleep(5)
        assert made.connections == []
        assert logged == []


async def test_a_connection_that_is_not_used_is_closed_at_last(asking: Client) -> None:
    await asking.ask("GET", "/here")
    began = asyncio.get_running_loop().time()
    assert await asking.is_closed()
    assert IDLE_S <= asyncio.get_running_loop().time() - began < 2 * IDLE_S


async def test_a_request_that_is_begun_and_never_ended_is_not_waited_for(asking: Client) -> None:
    asking.writer.write(b"GET / HT")
    assert await asking.is_closed()
    assert asyncio.get_running_loop().time() < 2 * IDLE_S


async def test_an_answer_that_nobody_takes_is_given_up(socket_path: Path) -> None:
    async with connections(socket_path) as made, client(socket_path) as asking:
        asking.writer.write(b"GET /much HTTP/1.1\r\nHost: x\r\n\r\n")
        asking.writer.transport.pause_reading()
        await asyncio.sleep(STUCK_S / 2)
        assert len(made.connections) == 1
        await asyncio.sleep(STUCK_S)
        assert made.connections == []


async def test_one_connection_too_many_is_told_so_and_others_go_on(socket_path: Path) -> None:
    async with connections(socket_path, most=2), client(socket_path) as first, client(socket_path) as second:
        await first.ask("GET", "/here")
        await second.ask("GET", "/here")
        async with client(socket_path) as third:
            answer = await third.answer()
            assert (answer.status, answer.fault) == (503, "Too many open connections")
            assert answer.headers["connection"] == "close"
            assert await third.is_closed()
        assert (await first.ask("GET", "/here")).status == 200
        await second.ask("GET", "/here", Connection="close")
        assert await second.is_closed()
        async with client(socket_path) as fourth:
            assert (await fourth.ask("GET", "/here")).status == 200


def test_there_is_room_for_more_connections_than_firecracker_has() -> None:
    assert MAX_CONNECTIONS >= 10


async def test_text_beyond_ascii_is_answered_in_json(asking: Client) -> None:
    answer = await asking.ask("PUT", "/here", "ä".encode())
    assert json.loads(answer.body)["body"] == "ä"

"""Connections at their bounds, in virtual time, over a Unix socket whose client says what it wants byte by byte."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from structlog.testing import capture_logs
from support.virtual_time import JumpingLoop

from vballoond.bounded_connection import MAX_FIELDS, MAX_LINE_BYTES
from vballoond.http.connections import (
    IDLE_S,
    STUCK_S,
    Connections,
    Edge,
    count_as_busy,
)

ASK = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def say_yes(request: web.Request) -> web.Response:
    del request
    return web.Response(text="yes")


class Client:
    """One connection, and what was said over it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self) -> tuple[int, bytes]:
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-le"))
        return int(head.split()[1]), await self._reader.readexactly(length)

    async def rest(self) -> bytes:
        """What comes until the other side closes."""
        try:
            return await self._reader.read()
        except ConnectionResetError:
            return b""

    def close(self) -> None:
        self._writer.close()


class Rig:
    def __init__(self, path: Path, connections: Connections) -> None:
        self.path = path
        self.connections = connections
        self.clients: list[Client] = []

    async def connect(self) -> Client:
        client = Client(*await asyncio.open_unix_connection(self.path))
        self.clients.append(client)
        return client

    async def until_open(self, number: int) -> None:
        """Wait until there are so many connections."""
        async with asyncio.timeout(3600):
            while len(self.connections) != number:  # noqa: ASYNC110 (time is virtual)
                await asyncio.sleep(0.25)


@asynccontextmanager
async def edge(path: Path, handler: Handler = say_yes, most: int = 100) -> AsyncIterator[Rig]:
    app = web.Application(middlewares=[count_as_busy])
    app.router.add_get("/", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.001)
    await runner.setup()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path / "api.sock"))
        site = Edge(runner, listener, lambda server: Connections(server, most))
        await site.start()
        rig = Rig(path / "api.sock", site.connections)
        try:
            yield rig
        finally:
            for client in rig.clients:
                client.close()
            await runner.cleanup()


def in_virtual_time(main: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await main()

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(run())


def now_s() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("said", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "])
def test_a_header_that_does_not_end_ends_the_connection(tmp_path: Path, said: bytes) -> None:
    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            await client.say(said)
            assert await client.rest() == b""
            assert now_s() == pytest.approx(IDLE_S, abs=2)
            await rig.until_open(0)

    in_virtual_time(main)


def test_a_header_that_comes_drop_by_drop_has_no_longer_than_one_that_does_not_come(tmp_path: Path) -> None:
    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            with contextlib.suppress(ConnectionError):
                for drop in ASK[:20].ljust(1000, b"x"):
                    await client.say(bytes([drop]))
                    await asyncio.sleep(1)
            assert now_s() == pytest.approx(IDLE_S, abs=3)

    in_virtual_time(main)


def test_a_connection_that_asks_nothing_more_is_closed(tmp_path: Path) -> None:
    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            await asyncio.sleep(IDLE_S - 2)
            await client.say(ASK)
            assert await client.answer() == (200, b"yes")
            await asyncio.sleep(IDLE_S - 2)
            await client.say(ASK)
            assert await client.answer() == (200, b"yes")
            assert await client.rest() == b""
            assert now_s() == pytest.approx(3 * IDLE_S - 4, abs=2)

    in_virtual_time(main)


def test_whoever_takes_nothing_of_an_answer_is_cut_off(tmp_path: Path) -> None:
    async def say_much(request: web.Request) -> web.Response:
        del request
        return web.Response(body=bytes(8 << 20))

    async def main() -> None:
        async with edge(tmp_path, say_much) as rig:
            with socket.socket(socket.AF_UNIX) as stubborn:
                stubborn.connect(str(rig.path))
                stubborn.sendall(ASK)
                await rig.until_open(1)
                await rig.until_open(0)
                assert now_s() == pytest.approx(STUCK_S, abs=1)

    in_virtual_time(main)


def test_whoever_takes_a_large_answer_gets_it(tmp_path: Path) -> None:
    async def say_much(request: web.Request) -> web.Response:
        del request
        return web.Response(body=bytes(8 << 20))

    async def main() -> None:
        async with edge(tmp_path, say_much) as rig:
            client = await rig.connect()
            await client.say(ASK)
            assert await client.answer() == (200, bytes(8 << 20))
            await asyncio.sleep(IDLE_S / 2)
            await client.say(ASK)
            assert (await client.answer())[0] == 200
            await asyncio.sleep(STUCK_S - 1)  # what was begun for the answers before is over
            assert len(rig.connections) == 1

    in_virtual_time(main)


def test_the_connection_that_has_waited_longest_makes_room_for_a_new_one(tmp_path: Path) -> None:
    async def main() -> None:
        async with edge(tmp_path, most=2) as rig:
            first, second = await rig.connect(), await rig.connect()
            await first.say(ASK)
            await first.answer()
            third = await rig.connect()
            assert await second.rest() == b""
            for client in (first, third):
                await client.say(ASK)
                assert (await client.answer())[0] == 200
            assert len(rig.connections) == 2

    in_virtual_time(main)


def test_where_every_connection_is_being_answered_a_new_one_is_refused(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def take_long(request: web.Request) -> web.Response:
        begun.set()
        await go_on.wait()
        return await say_yes(request)

    async def main() -> None:
        async with edge(tmp_path, take_long, most=1) as rig:
            busy = await rig.connect()
            await busy.say(ASK)
            await begun.wait()
            refused = await rig.connect()
            status, body = await refused.answer()
            assert status == 503
            problem = json.loads(body)
            assert (problem["status"], problem["code"]) == (503, "too-many-connections")
            assert await refused.rest() == b""
            go_on.set()
            assert (await busy.answer())[0] == 200
            again = await rig.connect()  # in the place of the one that waits now
            await again.say(ASK)
            assert (await again.answer())[0] == 200
            assert await busy.rest() == b""

    in_virtual_time(main)


def test_a_connection_that_has_gone_leaves_its_place(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def take_long(request: web.Request) -> web.Response:
        del request
        begun.set()
        await asyncio.sleep(3600)
        return web.Response()

    async def main() -> None:
        async with edge(tmp_path, take_long, most=1) as rig:
            client = await rig.connect()
            await client.say(ASK)
            await begun.wait()
            client.close()
            await rig.until_open(0)

    in_virtual_time(main)


@pytest.mark.parametrize(
    "said",
    [
        b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * MAX_LINE_BYTES),
        b"GET / HTTP/1.1\r\nAuthorization: Bearer %s\r\n\r\n" % (b"secret" * MAX_LINE_BYTES),
        b"GET / HTTP/1.1\r\n%s: x\r\n\r\n" % (b"secret" * MAX_LINE_BYTES),
        b"GET / HTTP/1.1\r\n%s\r\n" % b"".join(b"X-%d: secret\r\n" % number for number in range(MAX_FIELDS + 2)),
    ],
    ids=["address", "value", "name", "fields"],
)
def test_a_header_that_is_too_large_is_a_problem_that_says_so(tmp_path: Path, said: bytes) -> None:
    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            await client.say(said)
            status, body = await client.answer()
            assert (status, json.loads(body)["code"]) == (431, "header-too-large")
            assert b"secret" not in body
            assert await client.rest() == b""

    with capture_logs() as logs:
        in_virtual_time(main)
    assert len(logs) == 1
    assert "secret" not in str(logs)


@pytest.mark.parametrize("extra", [b"x" * (MAX_LINE_BYTES - 100), b""])
def test_a_header_at_the_bound_is_read(tmp_path: Path, extra: bytes) -> None:
    fields = b"".join(b"X-%d: %s\r\n" % (number, extra) for number in range(MAX_FIELDS - 1))

    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            await client.say(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + fields + b"\r\n")
            assert (await client.answer())[0] == 200

    in_virtual_time(main)


@pytest.mark.parametrize(
    "said",
    [b"secret\r\n\r\n", b"\x16\x03\x01\x02secret\r\n\r\n", b"GET secret HTTP/9.9\r\n\r\n", b"GET / secret\r\n\r\n"],
)
def test_what_is_no_http_is_a_problem_that_says_so(tmp_path: Path, said: bytes) -> None:
    async def main() -> None:
        async with edge(tmp_path) as rig:
            client = await rig.connect()
            await client.say(said)
            status, body = await client.answer()
            assert (status, json.loads(body)["code"]) == (400, "not-http")
            assert await client.rest() == b""

    with capture_logs() as logs:
        in_virtual_time(main)
    assert "secret" not in str(logs)

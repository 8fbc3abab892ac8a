"""A client of a Firecracker-shaped socket that sees each byte: no library makes up for what an answer lacks."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vballoond.firecracker.firecracker_socket import FirecrackerSocket
from vballoond.holder.no_holder import NoHolder
from vballoond.service.balloon_service import BalloonService


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def fault(self) -> str:
        """The one field of an answer that refuses."""
        assert self.status >= 400, self
        assert self.headers["content-type"].partition(";")[0] == "application/json"
        (name, message), *more = self.json().items()
        assert (name, more) == ("fault_message", [])
        return message


class Client:
    """One connection, which is kept from request to request."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader: Final = reader
        self.writer: Final = writer

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Send a request as curl and Python's requests do, a body as JSON; bytes go as they are."""
        data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = {"Host": "localhost", "Accept": "application/json", **headers}
        if data:
            fields |= {"Content-Type": "application/json", "Content-Length": str(len(data))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data)

    async def send(self, data: bytes) -> Answer:
        self.writer.write(data)
        await self.writer.drain()
        return await self.answer()

    async def answer(self) -> Answer:
        """Read one answer and no byte more."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        version, status, *_ = status_line.split(" ")
        assert version in ("HTTP/1.1", "HTTP/1.0")  # what was no HTTP/1.1 is not answered so
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(status), headers, body)

    async def get(self, path: str) -> Any:
        answer = await self.ask("GET", path)
        assert answer.status == 200, answer
        return answer.json()

    async def done(self, method: str, path: str, body: Any = None) -> None:
        """Ask for what is answered with 204 and nothing else."""
        answer = await self.ask(method, path, body)
        assert (answer.status, answer.body) == (204, b""), answer

    async def refused(self, method: str, path: str, body: Any = None) -> str:
        """Ask for what is refused; return why."""
        answer = await self.ask(method, path, body)
        assert answer.status == 400, answer
        return answer.fault

    async def is_closed(self) -> bool:
        """Whether the other side has closed the connection, all of whose answers were read."""
        return await self.reader.read() == b""

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@asynccontextmanager
async def client(path: Path) -> AsyncIterator[Client]:
    connected = Client(*await asyncio.open_unix_connection(path))
    try:
        yield connected
    finally:
        await connected.close()


class Memory:
    """Counts how often what was set is kept."""

    def __init__(self) -> None:
        self.times = 0

    async def remember(self) -> None:
        self.times += 1


@asynccontextmanager
async def answered(
    service: BalloonService, path: Path, memory: Memory | None = None, holder: Any = None, left_fd: int | None = None
) -> AsyncIterator[FirecrackerSocket]:
    """A balloon's Firecracker-shaped socket at ``path``."""
    service.settings = service.settings.model_copy(update={"firecracker_socket": path})
    remember = (memory or Memory()).remember
    socket = FirecrackerSocket(service, remember, left_fd, holder or NoHolder())
    await socket.listen()
    await socket.serve()
    try:
        yield socket
    finally:
        await socket.stop()

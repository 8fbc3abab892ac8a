"""A worker that does what a test tells it, a line of JSON at a time, on the socket that CONTROL names.

Its first line says who it is and what it was started with. ``support.worker_control`` is the other end.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vballoond.holder.holder import Holder
from vballoond.holder.no_holder import NoHolder
from vballoond.keeper import same_file

_TOLD = ("NOTIFY_SOCKET", "FDSTORE", "VBALLOOND_KEEPER_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")


def _pipe(content: str) -> int:
    reader, writer = os.pipe()
    os.write(writer, content.encode())
    os.close(writer)
    return reader


def _memory_file(content: str) -> int:
    fd = os.memfd_create("worker")
    os.pwrite(fd, content.encode(), 0)
    return fd


_MAKERS: dict[str, Callable[[str], int]] = {
    "pipe": _pipe,
    "memory": _memory_file,
    "eventfd": lambda content: os.eventfd(int(content), os.EFD_NONBLOCK),
}


def _content(fd: int) -> str:
    """Whatever of ours this is, what is in it."""
    kind = str(Path(f"/proc/self/fd/{fd}").readlink())
    if "eventfd" in kind:
        return str(os.eventfd_read(fd))
    return (os.pread(fd, 4096, 0) if "memfd" in kind else os.read(fd, 4096)).decode()


class Commands:
    def __init__(self, holder: Holder | NoHolder) -> None:
        self.holder = holder
        self.fds = holder.inherited()
        self.signals: asyncio.Queue[int] = asyncio.Queue()

    def make(self, kind: str, contents: dict[str, str]) -> None:
        """Make a descriptor of each name, with its content."""
        self.fds |= {name: _MAKERS[kind](content) for name, content in contents.items()}

    def alias(self, name: str, of: str) -> None:
        """Name a duplicate of a descriptor."""
        self.fds[name] = os.dup(self.fds[of])

    def contents(self) -> dict[str, str]:
        return {name: _content(fd) for name, fd in self.fds.items()}

    def inheritable(self) -> list[str]:
        return [name for name, fd in self.fds.items() if os.get_inheritable(fd)]

    def copies(self) -> list[int]:
        """How many descriptors of each open file there are in this process."""
        fds = [int(path.name) for path in Path("/proc/self/fd").iterdir()]
        return [sum(same_file(fd, ours) for fd in fds) for ours in self.fds.values()]

    async def store(self, names: list[str]) -> bool:
        await self.holder.store({name: self.fds[name] for name in names})
        return self.holder.alive

    async def store_each(self, names: list[str]) -> bool:
        """As many stores under way as there are names."""
        await asyncio.gather(*(self.holder.store({name: self.fds[name]}) for name in names))
        return self.holder.alive

    def remove(self, names: list[str]) -> None:
        self.holder.remove(names)

    async def ready(self) -> None:
        await self.holder.ready()

    def alive(self) -> bool:
        return self.holder.alive

    def send(self, text: str, names: list[str]) -> None:
        """Send bytes (given as latin-1), with descriptors, not by way of the holder's client."""
        _send(text, [self.fds[name] for name in names])

    def send_each_and_die(self, names: list[str]) -> None:
        for name in names:
            self.send(f"FDSTORE=1\nFDNAME={name}\nFDPOLL=0", [name])
        os.kill(os.getpid(), signal.SIGKILL)

    def child_sends(self, text: str, name: str) -> None:
        """Have a child process send that."""
        fd = self.fds[name]
        command = [sys.executable, __file__, "send", text, str(fd)]
        subprocess.run(command, pass_fds=[fd], check=True)

    def catch(self, numbers: list[int]) -> None:
        for number in numbers:
            asyncio.get_running_loop().add_signal_handler(number, self.signals.put_nowait, number)

    async def caught(self) -> int:
        return await self.signals.get()

    def exit(self, status: int) -> None:
        os._exit(status)


def _send(text: str, fds: list[int]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
        socket.send_fds(sender, [text.encode("latin-1")], fds)


async def main() -> None:
    told = {key: os.environ[key] for key in _TOLD if key in os.environ}
    commands = Commands(Holder.from_environ(os.environ))
    reader, writer = await asyncio.open_unix_connection(os.environ["CONTROL"])
    said: Any = {"pid": os.getpid(), "names": list(commands.fds), "environ": told}
    while True:
        writer.write(json.dumps(said).encode() + b"\n")
        line = await reader.readline()
        if not line:
            return
        command, arguments = json.loads(line)
        said = getattr(commands, command)(*arguments)
        if asyncio.iscoroutine(said):
            said = await said


if __name__ == "__main__":
    if sys.argv[1:2] == ["send"]:
        _send(sys.argv[2], [int(sys.argv[3])])
    else:
        asyncio.run(main())

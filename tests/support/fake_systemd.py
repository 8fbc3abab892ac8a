"""What systemd does for a service with a descriptor store: Type=notify, NotifyAccess=main, FileDescriptorStoreMax=.

Its rules: of one open file description only the first descriptor is kept; the newest is passed first; a full store
closes what comes; a barrier is a message of its own; whoever is not the main process is not heard.
"""

import asyncio
import os
import socket
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from vballoond.keeper import same_file

_CONTROL_BYTES = socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12)
_PATIENCE_S = 30

# Between fork and exec of a service: its descriptors from 3 on, and its own process id.
_EXEC = """
import fcntl, os, sys
fds = [int(fd) for fd in sys.argv[1].split()]
moved = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3 + len(fds)) for fd in fds]
for place, fd in enumerate(moved, 3):
    os.dup2(fd, place)
for fd in set(fds) - set(range(3, 3 + len(fds))):
    os.set_inheritable(fd, False)
if fds:
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


@dataclass(frozen=True)
class _Stored:
    name: str
    fd: int


class FakeSystemd:
    """One service, which is started once for each :meth:`start` or :meth:`replaced`.

    Args:
        notify: Where NOTIFY_SOCKET is to be.
        command: The service.
        environ: What it is started with.
        capacity: FileDescriptorStoreMax=.
    """

    def __init__(self, notify: Path, command: list[str], environ: dict[str, str], capacity: int) -> None:
        self.ready = asyncio.Event()
        self.status_text = ""
        self.process: asyncio.subprocess.Process | None = None
        self._path = notify
        self._command = command
        self._environ = environ
        self._capacity = capacity
        self._store: list[_Stored] = []

    async def __aenter__(self) -> Self:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(str(self._path))
        asyncio.get_running_loop().add_reader(self._socket, self._take_messages)
        return self

    async def __aexit__(self, *details: object) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()
        self.vanish()
        for stored in self._store:
            os.close(stored.fd)

    @property
    def names(self) -> list[str]:
        """What is stored, as it will be passed."""
        return [stored.name for stored in self._store]

    def vanish(self) -> None:
        """Listen no more."""
        if self._socket.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
        self._path.unlink(missing_ok=True)

    async def start(self) -> None:
        """Start the service with what is stored."""
        environ = self._environ | {"NOTIFY_SOCKET": str(self._path), "FDSTORE": str(self._capacity)}
        fds = [stored.fd for stored in self._store]
        if fds:
            environ |= {"LISTEN_FDS": str(len(fds)), "LISTEN_FDNAMES": ":".join(self.names)}
        launch = (sys.executable, "-S", "-E", "-c", _EXEC, " ".join(map(str, fds)))
        self.ready.clear()
        self.process = await asyncio.create_subprocess_exec(*launch, *self._command, env=environ, pass_fds=fds)

    async def replaced(self) -> None:
        """Wait for the end of the service, hear what it said last, and start it again."""
        assert self.process is not None
        async with asyncio.timeout(_PATIENCE_S):
            await self.process.wait()
        self._take_messages()
        await self.start()

    def _take_messages(self) -> None:
        while True:
            try:
                data, control, flags, _ = self._socket.recvmsg(4096, _CONTROL_BYTES, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            pid, fds = 0, []
            for _, kind, content in control:
                if kind == socket.SCM_CREDENTIALS:
                    pid = struct.unpack("iII", content)[0]
                else:
                    fds += struct.unpack(f"{len(content) // 4}i", content)
            heard = self.process is not None and pid == self.process.pid
            if heard and not flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
                fds = self._do(data.decode(errors="replace").split("\n"), fds)
            for fd in fds:
                os.close(fd)

    def _do(self, tags: list[str], fds: list[int]) -> list[int]:
        """Do what a message says; return the descriptors that are not kept."""
        if "BARRIER=1" in tags:
            return fds
        name = next((tag.removeprefix("FDNAME=") for tag in tags if tag.startswith("FDNAME=")), None)
        valid = name is not None and len(name) <= 255 and all(" " <= char < "\x7f" and char != ":" for char in name)
        if "READY=1" in tags:
            self.ready.set()
        self.status_text = next((tag[7:] for tag in tags if tag.startswith("STATUS=")), self.status_text)
        if "FDSTOREREMOVE=1" in tags and valid:
            for stored in [stored for stored in self._store if stored.name == name]:
                self._store.remove(stored)
                os.close(stored.fd)
        if "FDSTORE=1" not in tags:
            return fds
        return [fd for fd in fds if not self._keep(name if valid else "stored", fd)]

    def _keep(self, name: str, fd: int) -> bool:
        if len(self._store) >= self._capacity or any(same_file(stored.fd, fd) for stored in self._store):
            return False
        self._store.insert(0, _Stored(name, fd))
        return True

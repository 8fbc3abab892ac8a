"""The Firecracker-shaped sockets of all balloons that have one.

Rules of this file:

* A socket that cannot be had is no reason to do without its balloon, unless somebody asks for just this: it is a
  problem, which is said, and tried again at the next change.
* What an earlier process left of a socket that is wanted no more is closed, and removed from where it is.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from ..config.models import BalloonSettings
from ..errors import StartError
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..service.balloon_service import BalloonService
from ..transport.vhost_user.left import firecracker_name
from ..unix_socket import discard

if TYPE_CHECKING:
    from .firecracker_socket import FirecrackerSocket

Place = tuple[Path | None, int, str | None]


class FirecrackerSockets:
    """Opens and closes them, by the names of their balloons.

    Args:
        remember: Returns once what is set is kept.
        holder: Has them for a process after this one.
    """

    def __init__(self, remember: Callable[[], Awaitable[None]], holder: Holder | NoHolder) -> None:
        self.problems: Final[dict[str, str]] = {}
        """Why one that is wanted is not there, by the name of its balloon."""
        self._remember: Final = remember
        self._holder: Final = holder
        self._open: Final[dict[str, tuple[Place, FirecrackerSocket]]] = {}
        self._wanting: Final[dict[str, BalloonService]] = {}

    async def listen(self, service: BalloonService, left_fd: int | None = None, *, needed: bool = False) -> None:
        """Have the socket of a balloon, if it is to have one.

        Args:
            service: The balloon.
            left_fd: The socket as an earlier process left it.
            needed: Whether one that cannot be had is an error, and not only a problem.

        Raises:
            StartError: It is needed and cannot be had; nothing is left behind.
        """
        name = service.settings.name
        self.problems.pop(name, None)
        if service.settings.firecracker_socket is None:
            self.forget(name, left_fd)
            return
        self._wanting[name] = service
        # It brings aiohttp: where nobody wants such a socket, no guest waits for that after a restart.
        from .firecracker_socket import FirecrackerSocket  # noqa: PLC0415

        socket = FirecrackerSocket(service, self._remember, left_fd, self._holder)
        try:
            await socket.listen()
        except StartError as error:
            if needed:
                del self._wanting[name]
                raise
            self.problems[name] = error.detail
            structlog.get_logger().error("no socket for clients of Firecracker", balloon=name, reason=error.detail)
            return
        self._open[name] = _place(service.settings), socket

    async def serve(self, name: str) -> None:
        """Answer on the socket of a balloon, where it has one."""
        if name in self._open:
            _, socket = self._open[name]
            await socket.serve()

    async def follow(self, service: BalloonService) -> None:
        """Have the socket where the balloon's settings say now, and nowhere else."""
        name = service.settings.name
        if name in self._open:
            place, _ = self._open[name]
            if place == _place(service.settings):
                return
        await self.close(name)
        await self.listen(service)
        await self.serve(name)

    async def mend(self) -> list[str]:
        """Try again to have those that could not be had; return what came of it, for people."""
        done = []
        for name, service in [(name, self._wanting[name]) for name in self.problems]:
            await self.listen(service)
            await self.serve(name)
            still = self.problems.get(name)
            done.append(
                f"balloon {name!r} has its socket for clients of Firecracker again"
                if still is None
                else f"balloon {name!r} still has no socket for clients of Firecracker: {still}"
            )
        return done

    async def close(self, name: str) -> None:
        """Answer nobody any more, and remove the socket, where there is one."""
        self.problems.pop(name, None)
        self._wanting.pop(name, None)
        if name in self._open:
            _, socket = self._open.pop(name)
            await socket.stop()

    async def close_all(self) -> None:
        """Close them all."""
        for name in list(self._open):
            await self.close(name)

    def forget(self, name: str, left_fd: int | None) -> None:
        """Close and remove what an earlier process left, if it did."""
        if left_fd is not None:
            discard(left_fd)
            self._holder.remove([firecracker_name(name)])
            structlog.get_logger().info("socket for clients of Firecracker removed", balloon=name)


def _place(settings: BalloonSettings) -> Place:
    return settings.firecracker_socket, settings.socket_mode, settings.socket_group

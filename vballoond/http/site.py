"""Where the API is served: its socket first, which a second daemon meets, and the application once there is one.

Rules of this file:

* What only answers are made of, aiohttp and all handlers, is near half of what a daemon imports. After a restart guests
  do not wait for it: it is imported once they are served, and beside them, in a thread.
"""

from contextlib import AsyncExitStack, ExitStack
from typing import TYPE_CHECKING, Final

from ..config.models import HttpSettings
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..offload import Offload
from .listen import check_http, left_api_socket, open_api_socket
from .tokens import Tokens

if TYPE_CHECKING:
    import socket

    from .answering import Answer, MakeApp

API: Final = "api"
"""By which name the holder has the socket."""


class Site:
    """The API's place.

    Args:
        holder: Has its socket for a process after this one.
    """

    def __init__(self, holder: Holder | NoHolder) -> None:
        self.url = ""
        """Where it is found; empty while it is not."""
        self._holder: Final = holder
        self._socket: socket.socket | None = None
        self._host: str | None = None
        self._hosts: tuple[str, ...] = ()
        self._tokens = Tokens()
        self._opened: Final = AsyncExitStack()

    async def listen(self, settings: HttpSettings, left_fd: int | None = None) -> None:
        """Have the socket.

        Args:
            settings: Where it is to be, and who may ask.
            left_fd: It, as an earlier process left it; where it is another one, it is closed.

        Raises:
            StartError: It cannot be had; nothing is left behind.
        """
        _, self._tokens = check_http(settings)
        left = None if left_fd is None else left_api_socket(settings, left_fd)
        if left is None:
            # It may be in the way of the new one for as long as the holder has it.
            self._holder.remove([API])
            await self._holder.store({})
        with ExitStack() as stack:
            listener, address = open_api_socket(settings, stack, left)
            await self._holder.store({API: listener.fileno()})
            self._host, self._hosts = address.host, settings.hosts
            self._opened.enter_context(stack.pop_all())
        self._socket = listener
        self.url = f"unix:{address.path}" if address.path else f"http://{address.host}:{listener.getsockname()[1]}"

    async def serve(self, make_app: "MakeApp", offload: Offload) -> None:
        """Answer, where there is a socket, with what ``make_app`` makes; ``offload`` is where it is imported."""
        answer = await offload.run(_import_answer)
        if self._socket is not None:
            await answer(make_app, self._socket, (self._host, self._hosts), self._tokens, self._opened)

    async def close(self) -> None:
        """Answer no more, and remove the socket."""
        self.url = ""
        self._socket = None
        await self._opened.aclose()


def _import_answer() -> "Answer":
    from .answering import answer  # noqa: PLC0415 (see the rules of this file)

    return answer

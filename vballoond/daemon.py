"""The daemon: its parts put together, from a configuration to a clean end."""

import asyncio
import resource
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Final, Self

import structlog
from aiohttp import web

from .clock import Clock
from .config.models import BalloonSettings, Settings
from .errors import StartError
from .http.app import build_app
from .http.guards import accepted_hosts
from .http.listen import open_api_socket, read_token
from .lab.in_process_guest import InProcessGuest
from .offload import Offload
from .registry import Registry
from .service.balloon_service import BalloonService, Observer
from .transport.vhost_user.listener import Listener

_SHUTDOWN_S: Final = 2.0  # how long the API's open requests may go on after a signal

ObserverFor = Callable[[str], Observer | None]


def _no_observer(name: str) -> None:
    del name


class Daemon:
    """All balloons of a configuration, and the API.

    Use it as an asynchronous context manager: entering opens every socket and starts every guest, leaving ends all and
    removes the sockets. Where entering fails, nothing is left behind.

    Args:
        settings: The configuration.
        observer_for: Gives a balloon's observer by its name, for tests and traces.

    Raises:
        StartError: On entering: a port, a socket or a token file cannot be had.
    """

    def __init__(self, settings: Settings, observer_for: ObserverFor = _no_observer) -> None:
        self.registry: Final = Registry()
        self.api_url = ""
        self._settings: Final = settings
        self._observer_for: Final = observer_for
        self._stack: Final = AsyncExitStack()
        self._guests: Final[dict[str, InProcessGuest]] = {}

    async def __aenter__(self) -> Self:
        async with self._stack:
            executor = self._stack.enter_context(ThreadPoolExecutor(thread_name_prefix="offload"))
            self._offload = Offload(executor)
            # The API's address first: it is what a second daemon on the same configuration meets.
            token = read_token(self._settings.http.token_file)
            listener, address = open_api_socket(self._settings.http, self._stack.enter_context(ExitStack()))
            for balloon in self._settings.balloon:
                await self._add(balloon)
            hosts = accepted_hosts(address.host, self._settings.http.hosts)
            app = build_app(self.registry, self._offload, hosts=hosts, token=token)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            self._stack.push_async_callback(runner.cleanup)
            await web.SockSite(runner, listener).start()
            self.api_url = (
                f"unix:{address.path}" if address.path else f"http://{address.host}:{listener.getsockname()[1]}"
            )
            self._opened = self._stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        await self._opened.aclose()

    def guest(self, name: str) -> InProcessGuest:
        """Return the modelled guest behind an in-process balloon."""
        return self._guests[name]

    async def _add(self, settings: BalloonSettings) -> None:
        loop = asyncio.get_running_loop()
        observer = self._observer_for(settings.name)
        service = BalloonService(settings, Clock(loop.time), self._offload, observer)
        service.start()
        self._stack.push_async_callback(service.stop)
        if settings.transport == "vhost-user":
            listener = Listener(service)
            self._stack.push_async_callback(listener.stop)
            listener.start()
        else:
            try:
                guest = await InProcessGuest.make(service, self._offload)
            except OSError as error:
                raise StartError(f"no memory for balloon {settings.name!r}: {error.strerror}", exit_status=1) from error
            self._guests[settings.name] = guest
            self._stack.push_async_callback(guest.stop)
            guest.start()
        self.registry.add(service)


async def serve(settings: Settings, announce: Callable[[Daemon], None]) -> None:
    """Run the daemon until SIGINT or SIGTERM; ``announce`` is called once everything is open.

    Raises:
        StartError: It could not start; nothing is left behind.
    """
    _raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    async with Daemon(settings) as daemon:
        announce(daemon)
        structlog.get_logger().info("serving", api=daemon.api_url, balloons=len(daemon.registry))
        await ended.wait()
        structlog.get_logger().info("ending on a signal")


def _raise_descriptor_limit() -> None:
    """A guest costs a dozen descriptors, with hot-plugged memory hundreds: have as many as the host allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

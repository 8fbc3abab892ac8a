"""The daemon: its parts put together, from a configuration to a clean end."""

import asyncio
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import Final, Self

import structlog
from aiohttp import web

from .config.models import Settings
from .errors import OperatorError, StartError
from .fleet import Fleet, ObserverFor
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .http.app import build_app
from .http.guards import accepted_hosts
from .http.listen import Address, left_api_socket, open_api_socket, read_token
from .logs import configure_logs
from .offload import Offload
from .registry import Registry
from .service.balloon_service import Observer
from .state.disk import Disk
from .transport.vhost_user.left import sort_out

_API: Final = "api"
_LAST_ANSWERS_S: Final = 0.05  # for the answer to whoever asked for a restart
_SHUTDOWN_S: Final = 2.0  # how long the API's open requests may go on after a signal


def _no_observer(name: str) -> Observer | None:
    del name
    return None


class Daemon:
    """All balloons of a configuration, and the API.

    Use it as an asynchronous context manager: entering opens every socket and starts every guest, leaving ends all and
    removes the sockets. Where entering fails, nothing is left behind.

    Args:
        settings: The configuration.
        observer_for: Gives a balloon's observer by its name, for tests and traces.
        holder: Has every descriptor for the process after this one, and those of the one before.
        load: Reads the configuration anew; None: it stays as it is.

    Raises:
        StartError: On entering: a port, a socket, a token file or the state directory cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        observer_for: ObserverFor = _no_observer,
        holder: Holder | NoHolder | None = None,
        load: Callable[[], Settings] | None = None,
    ) -> None:
        self.registry: Final = Registry()
        self.api_url = ""
        self.restarting: Final = asyncio.Event()
        """Set when another process is to take over."""
        self._settings = settings
        self._holder: Final = holder or NoHolder()
        self._load: Final = load or (lambda: settings)
        self._observer_for: Final = observer_for
        self._reloading: Final = asyncio.Lock()
        self._stack: Final = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with self._stack:
            executor = self._stack.enter_context(ThreadPoolExecutor(thread_name_prefix="offload"))
            offload = Offload(executor)
            # The API's address first: it is what a second daemon on the same configuration meets.
            token = read_token(self._settings.http.token_file)
            inherited = self._holder.inherited()
            stack = self._stack.enter_context(ExitStack())
            listener, address = await self._api_socket(inherited.pop(_API, None), stack)
            self.disk = Disk(self._settings.state.directory, offload)
            self._stack.callback(self.disk.close)
            self.fleet = Fleet(self.registry, offload, self._holder, self.disk, self._observer_for)
            self._stack.push_async_callback(self.fleet.close)
            await self.fleet.open(self._settings.balloon, sort_out(inherited))
            hosts = accepted_hosts(address.host, self._settings.http.hosts)
            app = build_app(self.registry, offload, self._holder, self, hosts=hosts, token=token)
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

    @property
    def state_problem(self) -> str | None:
        """Why what is set now is not on disk; None where it is, or need not be."""
        return self.disk.problem

    async def remember(self) -> None:
        """Return once what is set now is on disk, or cannot be: ``disk.problem`` says."""
        await self.disk.keep(self.fleet.kept())

    async def reload(self) -> list[str]:
        """Read the configuration anew and follow it; return what was done, for people.

        Raises:
            OperatorError: It is wrong, and nothing has changed.
        """
        async with self._reloading:
            try:
                settings = self._load()
            except StartError as error:
                detail = f"nothing was changed: {error.detail}"
                raise OperatorError(detail, status=422, code="bad-configuration") from error
            done = await self.fleet.apply(settings.balloon)
            done += self._follow_the_rest(settings)
            self._settings = settings
            await self.remember()
        for line in done:
            structlog.get_logger().info("reloaded", what=line)
        return done

    def _follow_the_rest(self, settings: Settings) -> list[str]:
        done = []
        if settings.log != self._settings.log:
            configure_logs(settings.log.level)
            done.append(f"log level {settings.log.level}")
        later = [part for part in ("http", "state") if getattr(settings, part) != getattr(self._settings, part)]
        return done + [f"[{part}] counts from the next start on: vballoond restart" for part in later]

    def restart(self) -> None:
        """Have another process take over; no guest notices.

        Raises:
            OperatorError: There is none that would.
        """
        if not self._holder.alive:
            raise OperatorError(
                "there is no keeper or service manager that would start another process: guests would notice",
                status=409,
                code="no-keeper",
            )
        self.restarting.set()

    async def _api_socket(self, left_fd: int | None, stack: ExitStack) -> tuple[socket.socket, Address]:
        left = None if left_fd is None else left_api_socket(self._settings.http, left_fd)
        if left is None:
            # It may be in the way of the new one for as long as the holder has it.
            self._holder.remove([_API])
            await self._holder.store({})
        listener, address = open_api_socket(self._settings.http, stack, left)
        await self._holder.store({_API: listener.fileno()})
        return listener, address


async def serve(load: Callable[[], Settings], announce: Callable[[Daemon], None], holder: Holder | NoHolder) -> None:
    """Run the daemon until SIGINT or SIGTERM; ``announce`` is called once everything is open for the first time.

    Where another process is to take over, this one ends on the spot, as if it were killed: that is how it is tried.

    Raises:
        StartError: It could not start; nothing is left behind.
    """
    _raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    log = structlog.get_logger()
    async with Daemon(load(), holder=holder, load=load) as daemon:
        if not holder.inherited():
            announce(daemon)
        reloads = _Reloads(daemon, holder)
        loop.add_signal_handler(signal.SIGHUP, reloads.begin)
        await holder.ready()
        log.info("serving", api=daemon.api_url, balloons=len(daemon.registry))
        waiting = {asyncio.create_task(event.wait()) for event in (ended, daemon.restarting)}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        if not ended.is_set():
            await asyncio.sleep(_LAST_ANSWERS_S)
            log.info("ending for the next process")
            os._exit(0)
        log.info("ending on a signal")


class _Reloads:
    """Reloads on SIGHUP, one after the other, and says so to the service manager (sd_notify(3), RELOADING=1)."""

    def __init__(self, daemon: Daemon, holder: Holder | NoHolder) -> None:
        self._daemon: Final = daemon
        self._holder: Final = holder
        self._tasks: Final[set[asyncio.Task[None]]] = set()

    def begin(self) -> None:
        """Reload soon."""
        task = asyncio.get_running_loop().create_task(self._reload(), name="reload")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        await self._holder.notify(RELOADING="1", MONOTONIC_USEC=str(time.monotonic_ns() // 1000))
        try:
            await self._daemon.reload()
        except OperatorError as error:
            structlog.get_logger().error("configuration not reloaded", reason=error.detail)
        await self._holder.ready()


def _raise_descriptor_limit() -> None:
    """A guest costs a dozen descriptors, with hot-plugged memory hundreds: have as many as the host allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

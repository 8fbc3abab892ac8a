"""The daemon: its parts put together, from a configuration to a clean end."""

import asyncio
import os
import resource
import secrets
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import structlog

from .at_run_time import AT_RUN_TIME, AtRunTime
from .clock import Clock
from .config.bounds import admit
from .config.models import BalloonSettings, Settings
from .configuration import CONFIGURATION, Configuration
from .errors import OperatorError, StartError
from .events.log import EventLog
from .fleet import Fleet, ObserverFor
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .http.site import API, Site
from .http.tokens import Tokens
from .logs import configure_logs
from .offload import Offload
from .registry import Registry
from .runner.host_memory import ReadHost, read_proc
from .runner.kept import POLICY
from .runner.kept import begin as what_is_kept
from .runner.kept import keep as keep_policy
from .runner.runner import MakeScripts, PolicyRunner, separate_scripts
from .service.balloon_service import BalloonService
from .service.served_balloon import Observer
from .state.disk import Disk
from .transport.vhost_user.left import sort_out
from .watchdog import Watchdog, interval_of

if TYPE_CHECKING:
    from aiohttp import web

    from .http.answering import BuildApp

_LAST_ANSWERS_S: Final = 0.05  # for the answer to whoever asked for a restart


def _no_observer(name: str) -> Observer | None:
    del name
    return None


class Daemon:
    """All balloons of a configuration, and the API.

    Use it as an asynchronous context manager: entering opens every socket and starts every guest, leaving ends all and
    removes the sockets. Where entering fails, nothing is left behind.

    Where it goes on after another process, guests wait for it: what cannot be had then is a problem, and no error.

    Args:
        settings: The configuration.
        observer_for: Gives a balloon's observer by its name, for tests and traces.
        holder: Has every descriptor for the process after this one, and those of the one before.
        configuration: Where ``settings`` are from, and can be read anew; None: they stay as they are.
        read_host: Reads the host's memory, for policies.
        make_scripts: Gives whom to ask for a policy's plan.
        offload: Where calls run that take long; None: in threads of its own.

    Raises:
        StartError: On entering: a port, a socket, a token file or the state directory cannot be had.
    """

    def __init__(
        self,
        settings: Settings,
        observer_for: ObserverFor = _no_observer,
        holder: Holder | NoHolder | None = None,
        configuration: Configuration | None = None,
        read_host: ReadHost = read_proc,
        make_scripts: MakeScripts = separate_scripts,
        offload: Offload | None = None,
    ) -> None:
        self.registry: Final = Registry()
        self.restarting: Final = asyncio.Event()
        """Set when another process is to take over."""
        self._settings = settings
        self._holder: Final = holder or NoHolder()
        self._configuration: Final = configuration or Configuration(lambda: settings, self._holder)
        self._observer_for: Final = observer_for
        self._read_host: Final = read_host
        self._make_scripts: Final = make_scripts
        self._own_offload: Final = offload
        self._reloading: Final = asyncio.Lock()
        self._stack: Final = AsyncExitStack()
        self._site: Final = Site(self._holder)
        self._at_run_time: Final = AtRunTime(self._holder)
        self._remembering: Final[set[asyncio.Task[None]]] = set()
        self.events: Final = EventLog(secrets.token_hex(4), lambda: datetime.now(UTC))
        """What happens to balloons."""

    async def __aenter__(self) -> Self:
        async with self._stack:
            executor = self._stack.enter_context(ThreadPoolExecutor(thread_name_prefix="offload"))
            self.offload = self._own_offload or Offload(executor)
            inherited = self._holder.inherited()
            again = bool(inherited)
            # The API's address first: it is what a second daemon on the same configuration meets.
            await self._listen(inherited.pop(API, None), again=again)
            if (configuration := inherited.pop(CONFIGURATION, None)) is not None:
                os.close(configuration)
            at_run_time_fd = inherited.pop(AT_RUN_TIME, None)
            policy_fd = inherited.pop(POLICY, None)
            self.disk = Disk(self._settings.state.directory, self.offload, again=again)
            self._stack.push_async_callback(self.disk.close)
            self._at_run_time.begin(at_run_time_fd, self.disk.content.added)
            self.policies = self._make_policies(policy_fd)
            self.fleet = Fleet(
                *(self.registry, self.offload, self._holder, self.disk, self._observer_for, self.events),
                self._remember_soon,
            )
            self._stack.push_async_callback(self.fleet.close)
            configured = self._at_run_time.left_of(self._settings.balloon)
            added = self._at_run_time.beside(self._settings.balloon)
            await self.fleet.open(configured, sort_out(inherited), added, again=again)
            await self._configuration.keep(self._settings)
            await self._at_run_time.keep()
            self.policies.start()
            self._stack.push_async_callback(self.policies.close)
            self._stack.push_async_callback(self._site.close)
            await self._site.serve(self._make_app, self.offload)
            self._opened = self._stack.pop_all()
        return self

    async def __aexit__(self, *details: object) -> None:
        await asyncio.gather(*self._remembering)
        await self._opened.aclose()

    @property
    def api_url(self) -> str:
        """Where the API is found; empty where it is not served."""
        return self._site.url

    @property
    def problems(self) -> list[str]:
        """What is not as it was asked for, a sentence for each, which names no guest."""
        problems = []
        if self.disk.problem is not None:
            problems.append("what is set now is not kept on disk; the log says why")
        if missing := len(self.fleet.problems):
            problems.append(f"{missing} balloon(s) are not there or cannot be connected to; the log says why")
        if self._configuration.problem is not None:
            problems.append("the configuration is wrong, so the one of before counts; 'vballoond reload' says why")
        return problems

    async def remember(self) -> None:
        """Return once what is set now is kept, and on disk or cannot be: ``disk.problem`` says."""
        await self.policies.keep_what_was_set()

    async def _write_down(self) -> None:
        await self.disk.keep(replace(self.fleet.kept(), **self._kept_beside))

    @property
    def _kept_beside(self) -> dict[str, Any]:
        return {"added": self._at_run_time.added, "policy": self.policies.kept().data()}

    async def add(self, settings: BalloonSettings) -> BalloonService:
        """Add a balloon at run time, and keep that it is there; return it.

        Raises:
            OperatorError: It is outside of what the configuration allows, or cannot be had; nothing has changed.
        """
        async with self._reloading:
            admitted = admit(settings, self._settings.http, self._at_run_time.added)
            service = await self.fleet.add(admitted)
            self._at_run_time.add(admitted)
            await self._keep_what_is_there()
        return service

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a balloon, and keep that it is gone. ``force`` retires one that has a front-end.

        Raises:
            OperatorError: There is none, or it has a front-end; nothing has changed.
        """
        async with self._reloading:
            await self.fleet.remove(name, force=force)
            self._at_run_time.remove(name)
            await self._keep_what_is_there()

    async def _keep_what_is_there(self) -> None:
        await self._at_run_time.keep()
        await self.remember()

    def _remember_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self.remember(), name="remember")
        self._remembering.add(task)
        task.add_done_callback(self._remembering.discard)

    async def reload(self) -> list[str]:
        """Read the configuration anew and follow it; return what was done, for people.

        Raises:
            OperatorError: It is wrong, and nothing has changed.
        """
        began_s = asyncio.get_running_loop().time()
        async with self._reloading:
            try:
                settings = self._configuration.read()
            except StartError as error:
                detail = f"nothing was changed: {error.detail}"
                raise OperatorError(detail, status=422, code="bad-configuration") from error
            self._at_run_time.configured_anew(settings.balloon)
            done = await self.fleet.apply([*settings.balloon, *self._at_run_time.beside(settings.balloon)])
            done += await self._follow_the_rest(settings)
            self._settings = settings
            self._configuration.problem = None
            await self._configuration.keep(settings)
            await self._keep_what_is_there()
        duration_s = round(asyncio.get_running_loop().time() - began_s, 6)
        structlog.get_logger().info("reloaded", what=done, duration_s=duration_s)
        return done

    async def _follow_the_rest(self, settings: Settings) -> list[str]:
        done = []
        done += await self.policies.follow(settings.policy)
        if settings.log != self._settings.log:
            configure_logs(settings.log.level)
            done.append(f"log level {settings.log.level}")
        later = [part for part in ("http", "state") if getattr(settings, part) != getattr(self._settings, part)]
        if not self.api_url:
            done.append(await self._serve_at_last(settings))
            later = [part for part in later if part != "http"]
        return done + [f"[{part}] counts from the next start on: vballoond restart" for part in later]

    def restart(self) -> None:
        """Have another process take over; no guest notices.

        Raises:
            OperatorError: There is none that would.
        """
        if not self.outlived:
            raise OperatorError(
                "there is no keeper or service manager that would start another process: guests would notice",
                status=409,
                code="no-keeper",
            )
        self.restarting.set()

    @property
    def outlived(self) -> bool:
        """Whether a process after this one can go on with what guests need, as far as is known."""
        return self._holder.alive and self._holder.capacity != 0

    def _make_app(self, build_app: "BuildApp", hosts: frozenset[str] | None, tokens: Tokens) -> "web.Application":
        return build_app(
            *(self.registry, self.offload, self._holder, self, self.events, self.policies), hosts=hosts, tokens=tokens
        )

    def _make_policies(self, left_fd: int | None) -> PolicyRunner:
        return PolicyRunner(
            *(self._settings.policy, self.registry, self.offload, self.events),
            Clock(asyncio.get_running_loop().time),
            left=what_is_kept(left_fd, self.disk.content.policy),
            read_host=self._read_host,
            make_scripts=self._make_scripts,
            keep=lambda kept: keep_policy(kept, self._holder),
            remember=self._write_down,
        )

    async def _listen(self, left_fd: int | None, *, again: bool) -> None:
        # What is opened here is closed by whoever closes the site, or when entering fails.
        self._stack.push_async_callback(self._site.close)
        try:
            await self._site.listen(self._settings.http, left_fd)
        except StartError as error:
            if not again:
                raise
            structlog.get_logger().critical("the API is not served; a reload tries again", reason=error.detail)

    async def _serve_at_last(self, settings: Settings) -> str:
        try:
            await self._site.listen(settings.http)
        except StartError as error:
            structlog.get_logger().critical("the API is still not served", reason=error.detail)
            return f"the API is still not served: {error.detail}"
        await self._site.serve(self._make_app, self.offload)
        return f"the API is served at {self.api_url}"


async def serve(load: Callable[[], Settings], announce: Callable[[Daemon], None], holder: Holder | NoHolder) -> None:
    """Run the daemon until SIGINT or SIGTERM; ``announce`` is called once everything is open for the first time.

    Where another process is to take over, this one ends on the spot, as if it were killed: that is how it is tried. So
    it does on a signal of a service manager that keeps what guests need, and decides what becomes of it.

    Raises:
        StartError: It could not start; nothing is left behind.
    """
    _raise_descriptor_limit()
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)  # the configuration is only about to be read
    configuration = Configuration(load, holder)
    settings = configuration.begin()
    configure_logs(settings.log.level)
    log = structlog.get_logger()
    async with Daemon(settings, holder=holder, configuration=configuration) as daemon:
        if not holder.inherited():
            announce(daemon)
        reloads = _Reloads(daemon, holder)
        loop.add_signal_handler(signal.SIGHUP, reloads.begin)
        await holder.ready()
        log.info("serving", api=daemon.api_url, balloons=len(daemon.registry))
        watching = asyncio.create_task(_watch(daemon, holder), name="watchdog")
        waiting = {asyncio.create_task(event.wait()) for event in (ended, daemon.restarting)}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in (*waiting, watching):
            task.cancel()
        managed = daemon.outlived and holder.keeper_pid is None
        if managed or not ended.is_set():
            await asyncio.sleep(_LAST_ANSWERS_S)
            await daemon.disk.close()
            log.info("ending for the next process")
            os._exit(0)
        log.info("ending on a signal")


async def _watch(daemon: Daemon, holder: Holder | NoHolder) -> None:
    interval_s = interval_of(os.environ)
    if interval_s is not None:
        probes = Watchdog(holder, daemon.offload, lambda: [service.came_round for service in daemon.fleet.services])
        await probes.run(interval_s)


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

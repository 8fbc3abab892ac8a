"""The balloons that the daemon runs: added, changed and retired while it does.

Rules of this file:

* A balloon that is to go while a front-end is connected is *retired*: nobody new may connect, its target is 0, it is no
  longer listed, and its connection is answered until the front-end closes it. Closing it can cost a VM its life.
* What an earlier process left of a balloon that is configured no more is retired likewise, with the settings that were
  kept with its connection, and so is what it had retired itself. Such a connection may have the name of a balloon that
  there is again, so their numbers are counted over all balloons.
* Whatever a change asks for that cannot be had is reported, and everything else is done. So it is when a process goes
  on where another was: the guests of all other balloons wait for it. It is tried again at the next change.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import ValidationError

from protocol.balloon.page_frames import FRAME_BYTES

from .balloon.resize import Author
from .clock import Clock
from .config.models import BalloonSettings
from .errors import OperatorError, StartError, StateError
from .events.log import EventLog
from .firecracker.firecracker_sockets import FirecrackerSockets
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .offload import Offload
from .registry import Registry
from .service.balloon_service import BalloonService
from .service.served_balloon import Observer
from .state.disk import Disk, DiskState, KeptBalloon
from .transport.vhost_user.left import LeftBalloon, LeftConnection, listener_name
from .transport.vhost_user.listener import Listener
from .unix_socket import discard

if TYPE_CHECKING:
    from .lab.in_process_guest import InProcessGuest

ObserverFor = Callable[[str], Observer | None]

_APPLIED_WHILE_RUNNING: Final = {
    "vhost-user": frozenset(
        {"features", "ring", "stats_interval_s", "discard", "require_sealed_memory", "min", "max", "memory"}
        | {"firecracker_socket", "shares", "priority"}
    ),
    "in-process": frozenset({"firecracker_socket", "shares", "priority"}),
}
"""Keys of a balloon that can change under its guest; features and ring count from the next connection on."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A balloon with what reaches its guest, and the settings that it was given; what it has now was set since."""

    service: BalloonService
    reached_by: "Listener | InProcessGuest"
    configured: BalloonSettings

    async def stop(self) -> None:
        await self.reached_by.stop()
        await self.service.stop()


class Fleet:
    """All balloons of a daemon.

    Args:
        registry: Where those are listed that are not retired.
        offload: Where long calls run.
        holder: Has every descriptor for the process after this one.
        disk: Has what was set at run time.
        observer_for: Gives a balloon's observer by its name.
        events: Is told what happens to balloons.
        moved: Called where a target was moved by the daemon itself.
    """

    def __init__(
        self,
        registry: Registry,
        offload: Offload,
        holder: Holder | NoHolder,
        disk: Disk,
        observer_for: ObserverFor,
        events: EventLog,
        moved: Callable[[], None],
    ) -> None:
        self._registry: Final = registry
        self._offload: Final = offload
        self._holder: Final = holder
        self._disk: Final = disk
        self._observer_for: Final = observer_for
        self._events: Final = events
        self._moved: Final = moved
        self._running: Final[dict[str, _Running]] = {}
        self._missing: Final[dict[str, str]] = {}
        self._retired: Final[dict[asyncio.Task[None], _Running]] = {}
        self._firecracker: Final = FirecrackerSockets(self._remember, holder)
        self._serials: Iterator[int] = count(1)

    async def open(
        self,
        configured: Sequence[BalloonSettings],
        left: Mapping[str, LeftBalloon],
        added: Iterable[BalloonSettings] = (),
        *,
        again: bool = False,
    ) -> None:
        """Begin with the balloons of the configuration, and with what was left of others.

        Args:
            configured: What there is to be.
            left: What an earlier process left.
            added: What there is to be beside the configuration. One that cannot be had is a problem, and no error.
            again: Whether there was an earlier process. Then one that cannot be had is a problem, and no error.

        Raises:
            StartError: One of those that are configured cannot be had.
        """
        self._serials = count(max((balloon.last_serial for balloon in left.values()), default=0) + 1)
        remaining = dict(left)
        needed = () if again else configured
        for settings in [*configured, *added]:
            own = remaining.pop(settings.name, LeftBalloon())
            if settings.transport != "vhost-user":
                remaining[settings.name] = replace(own, firecracker=None)
                own = LeftBalloon(firecracker=own.firecracker)
            if settings in needed:
                await self._add(settings, own, needed=True)
            else:
                await self._try(settings, own)
            for connection in own.retired:
                await self._see_off_left(settings.name, connection)
        for name, balloon in remaining.items():
            self._discard_socket(name, balloon)
            own_connection = [] if balloon.connection is None else [balloon.connection]
            for connection in (*own_connection, *balloon.retired):
                await self._see_off_left(name, connection)

    async def close(self) -> None:
        """End everything, and leave nothing behind."""
        await self._firecracker.close_all()
        for task, running in list(self._retired.items()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await running.stop()
        for running in reversed(list(self._running.values())):
            await running.stop()
        self._running.clear()

    def guest(self, name: str) -> "InProcessGuest":
        """Return the modelled guest behind an in-process balloon."""
        reached_by = self._running[name].reached_by
        assert not isinstance(reached_by, Listener)
        return reached_by

    @property
    def services(self) -> list[BalloonService]:
        """All that are served, those that are listed no more among them."""
        return [running.service for running in (*self._running.values(), *self._retired.values())]

    @property
    def problems(self) -> dict[str, str]:
        """Why a balloon that is configured is not there, or nobody can connect to it, by its name."""
        return self._firecracker.problems | self._missing | self._deaf

    @property
    def _deaf(self) -> dict[str, str]:
        reached = {name: running.reached_by for name, running in self._running.items()}
        return {name: by.problem for name, by in reached.items() if isinstance(by, Listener) and by.problem is not None}

    async def apply(self, configured: Iterable[BalloonSettings]) -> list[str]:
        """Run these balloons and no others; return what was done and what could not be, for people."""
        wanted = {settings.name: settings for settings in configured}
        gone = [name for name in self._running if name not in wanted]
        for name in self._missing.keys() - wanted.keys():
            del self._missing[name]
        done = [await self._retire(name) for name in gone]
        for name, settings in wanted.items():
            running = self._running.get(name)
            if running is None:
                done.append(await self._try(settings))
            elif running.configured != settings:
                done.append(await self._change(running, settings))
        done += [await self._mend(name) for name in self._deaf]
        return done + await self._firecracker.mend()

    async def add(self, settings: BalloonSettings) -> BalloonService:
        """Add a balloon; return it.

        Raises:
            OperatorError: 409, there is one of this name, or it cannot be had; nothing has changed.
        """
        name = settings.name
        if name in self._running or name in self._missing:
            there_is = f"there is a balloon {name!r} already"
            raise OperatorError(
                f"{there_is}, which cannot be had: {self._missing[name]}" if name in self._missing else there_is,
                status=409,
                code="name-taken",
            )
        try:
            await self._add(settings, needed=True)
        except StartError as error:
            raise OperatorError(error.detail, status=409, code="cannot-be-added") from error
        return self._registry.find(name)

    async def remove(self, name: str, *, force: bool) -> str:
        """Remove a balloon; return what was done. ``force`` retires one that has a front-end.

        Raises:
            OperatorError: There is none (404), or a front-end is connected (409).
        """
        if self._missing.pop(name, None) is not None:
            return f"balloon {name!r} removed"
        self._registry.find(name)
        reached_by = self._running[name].reached_by
        if isinstance(reached_by, Listener) and reached_by.occupied and not force:
            raise OperatorError(
                f"a front-end is connected to balloon {name!r}, and closing its connection could cost the VM its life: "
                "stop the VM, or have the balloon retired with ?force=true",
                status=409,
                code="connected",
            )
        return await self._retire(name)

    def kept(self) -> DiskState:
        """Return what was set at run time, as it is to be found on disk."""
        before = self._disk.content.balloons
        missing = {name: before[name] for name in self._missing if name in before}
        present = {name: _kept(running) for name, running in self._running.items()}
        return replace(self._disk.content, balloons=missing | present)

    async def _remember(self) -> None:
        await self._disk.keep(self.kept())

    async def _add(self, settings: BalloonSettings, left: LeftBalloon | None = None, *, needed: bool = False) -> None:
        service = self._service(settings)
        service.start()
        try:
            await self._firecracker.listen(service, left.firecracker if left else None, needed=needed)
            reached_by = await self._reach(service, left)
        except BaseException:
            await self._firecracker.close(settings.name)
            await service.stop()
            raise
        self._running[settings.name] = _Running(service, reached_by, settings)
        self._registry.add(service)
        self._events.publish("balloon-added", settings.name)
        self._set_again(service)
        await self._firecracker.serve(settings.name)

    def _service(self, settings: BalloonSettings) -> BalloonService:
        clock = Clock(asyncio.get_running_loop().time)
        observer = self._observer_for(settings.name)
        return BalloonService(settings, clock, self._offload, observer, self._events, self._moved)

    async def _reach(self, service: BalloonService, left: LeftBalloon | None) -> "Listener | InProcessGuest":
        if service.settings.transport == "vhost-user":
            listener = Listener(service, self._holder, left, self._serials)
            await listener.start()
            return listener
        try:
            # Compiled code takes longer to import than all else, and after a restart real guests wait for it.
            from .lab.in_process_guest import InProcessGuest  # noqa: PLC0415

            guest = await InProcessGuest.make(service, self._offload)
        except OSError as error:
            name = service.settings.name
            raise StartError(f"no memory for balloon {name!r}: {error.strerror}", exit_status=1) from error
        guest.start()
        return guest

    def _set_again(self, service: BalloonService) -> None:
        """Set what had been set at run time."""
        kept = self._disk.content.balloons.get(service.settings.name, KeptBalloon())
        if kept.features is not None:
            service.change_settings(service.settings.model_copy(update={"features": kept.features}))
        if kept.stats_interval_s is not None:
            service.set_statistics_interval(kept.stats_interval_s)
        if kept.target_bytes is not None and kept.target_bytes != service.target_frames * FRAME_BYTES:
            frames = min(kept.target_bytes, service.limit_bytes()) // FRAME_BYTES
            service.set_target(frames, by=Author.DAEMON)

    async def _change(self, running: _Running, settings: BalloonSettings) -> str:
        before = running.configured
        differ = {key for key in BalloonSettings.model_fields if getattr(before, key) != getattr(settings, key)}
        if differ <= _APPLIED_WHILE_RUNNING[settings.transport]:
            set_since = {} if "features" in differ else {"features": running.service.settings.features}
            running.service.change_settings(settings.model_copy(update=set_since))
            self._running[settings.name] = replace(running, configured=settings)
            await self._firecracker.follow(running.service)
            self._events.publish("balloon-changed", settings.name, keys=sorted(differ))
            return f"balloon {settings.name!r} changed: {', '.join(sorted(differ))}"
        retired = await self._retire(settings.name)
        return f"{', '.join(sorted(differ))} of {settings.name!r} changed: {retired}; {await self._try(settings)}"

    async def _try(self, settings: BalloonSettings, left: LeftBalloon | None = None) -> str:
        name = settings.name
        self._missing.pop(name, None)
        try:
            await self._add(settings, left)
        except StartError as error:
            self._missing[name] = error.detail
            if left is not None:
                self._holder.remove(left.stale)
                self._holder.remove([listener_name(name)])
            structlog.get_logger().error("balloon not added", balloon=name, reason=error.detail)
            return f"balloon {name!r} not added: {error.detail}"
        return f"balloon {name!r} added"

    async def _mend(self, name: str) -> str:
        listener = self._running[name].reached_by
        assert isinstance(listener, Listener)
        try:
            await listener.mend()
        except StartError as error:
            return f"balloon {name!r} still cannot be connected to: {error.detail}"
        return f"balloon {name!r} can be connected to again"

    async def _retire(self, name: str) -> str:
        running = self._running.pop(name)
        self._registry.remove(name)
        await self._firecracker.close(name)
        if isinstance(running.reached_by, Listener) and running.reached_by.occupied:
            running.reached_by.retire()
            self._see_off_soon(running)
            self._events.publish("balloon-retired", name)
            return f"balloon {name!r} retired: its front-end is served until it goes"
        await running.stop()
        self._events.publish("balloon-removed", name)
        return f"balloon {name!r} removed"

    def _see_off_soon(self, running: _Running) -> None:
        task = asyncio.create_task(self._see_off(running), name=f"retired {running.service.settings.name}")
        self._retired[task] = running
        task.add_done_callback(lambda task: self._retired.pop(task, None))

    async def _see_off(self, running: _Running) -> None:
        assert isinstance(running.reached_by, Listener)
        await running.reached_by.ended()
        await running.service.stop()
        running.service.log.info("retired balloon gone")

    async def _see_off_left(self, name: str, left: LeftConnection) -> None:
        """Serve a connection of an earlier process until it goes."""
        try:
            settings = _settings_of(name, left)
        except ValidationError as error:
            structlog.get_logger().error("connection of an earlier process closed", balloon=name, reason=str(error))
            left.close()
            self._holder.remove(left.names(name))
            return
        service = self._service(settings)
        service.start()
        service.retire()
        listener = Listener(service, self._holder, LeftBalloon(connection=left), self._serials)
        await listener.start()
        self._see_off_soon(_Running(service, listener, settings))
        service.log.info("balloon of an earlier process retired")

    def _discard_socket(self, name: str, left: LeftBalloon) -> None:
        self._firecracker.forget(name, left.firecracker)
        if left.listener is not None:
            discard(left.listener)
            self._holder.remove([listener_name(name)])
        self._holder.remove(left.stale)


def _kept(running: _Running) -> KeptBalloon:
    service, configured = running.service, running.configured
    interval_s, features = service.statistics_interval_s, service.settings.features
    return KeptBalloon(
        service.target_frames * FRAME_BYTES,
        interval_s if interval_s != configured.stats_interval_s else None,
        features if features != configured.features else None,
    )


def _settings_of(name: str, left: LeftConnection) -> BalloonSettings:
    """Return the settings that were kept with a connection; where they are lost, what it needs to be answered at all.

    Raises:
        ValidationError: It has a name that no balloon can have.
    """
    try:
        return BalloonSettings.model_validate({**left.kept().settings, "name": name})
    except (StateError, ValidationError) as error:
        structlog.get_logger().error("settings of an earlier process are lost", balloon=name, reason=str(error))
        return BalloonSettings(name=name, transport="vhost-user", socket=_NOWHERE)


_NOWHERE: Final = Path("/nonexistent")

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from pydantic import ValidationError

from protocol.balloon.page_frames import FRAME_BYTES

from .clock import Clock
from .config.models import BalloonSettings
from .errors import StartError, StateError
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .offload import Offload
from .registry import Registry
from .service.balloon_service import BalloonService, Observer
from .state.disk import Disk, DiskState, KeptBalloon
from .transport.vhost_user.left import LeftBalloon, LeftConnection, listener_name
from .transport.vhost_user.listener import Listener
from .unix_socket import discard

if TYPE_CHECKING:
    from .lab.in_process_guest import InProcessGuest

ObserverFor = Callable[[str], Observer | None]

_APPLIED_WHILE_RUNNING: Final = frozenset(
    {"features", "ring", "stats_interval_s", "discard", "require_sealed_memory", "min", "max", "memory"}
)
"""Keys of a virtual machine's balloon that can change under it; features and ring count from the next connection on."""


@dataclass(frozen=True, slots=True)
class _Running:
    """A balloon with what reaches its guest."""

    service: BalloonService
    reached_by: "Listener | InProcessGuest"

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
    """

    def __init__(
        self, registry: Registry, offload: Offload, holder: Holder | NoHolder, disk: Disk, observer_for: ObserverFor
    ) -> None:
        self._registry: Final = registry
        self._offload: Final = offload
        self._holder: Final = holder
        self._disk: Final = disk
        self._observer_for: Final = observer_for
        self._running: Final[dict[str, _Running]] = {}
        self._missing: Final[dict[str, str]] = {}
        self._retired: Final[dict[asyncio.Task[None], _Running]] = {}
        self._serials: Iterator[int] = count(1)

    async def open(
        self, configured: Iterable[BalloonSettings], left: Mapping[str, LeftBalloon], *, again: bool = False
    ) -> None:
        """Begin with the balloons of the configuration, and with what was left of others.

        Args:
            configured: What there is to be.
            left: What an earlier process left.
            again: Whether there was an earlier process. Then one that cannot be had is a problem, and no error.

        Raises:
            StartError: One of those that are configured cannot be had.
        """
        self._serials = count(max((balloon.last_serial for balloon in left.values()), default=0) + 1)
        remaining = dict(left)
        for settings in configured:
            own = remaining.pop(settings.name, LeftBalloon()) if settings.transport == "vhost-user" else LeftBalloon()
            if again:
                await self._try(settings, own)
            else:
                await self._add(settings, own)
            for connection in own.retired:
                await self._see_off_left(settings.name, connection)
        for name, balloon in remaining.items():
            self._discard_socket(name, balloon)
            own_connection = [] if balloon.connection is None else [balloon.connection]
            for connection in (*own_connection, *balloon.retired):
                await self._see_off_left(name, connection)

    async def close(self) -> None:
        """End everything, and leave nothing behind."""
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
        reached = {name: running.reached_by for name, running in self._running.items()}
        deaf = {name: by.problem for name, by in reached.items() if isinstance(by, Listener) and by.problem is not None}
        return self._missing | deaf

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
            elif running.service.settings != settings:
                done.append(await self._change(running, settings))
        return done + [await self._mend(name) for name in self.problems if name not in self._missing]

    def kept(self) -> DiskState:
        """Return what was set at run time, as it is to be found on disk."""
        before = self._disk.content.balloons
        missing = {name: before[name] for name in self._missing if name in before}
        present = {service.settings.name: _kept(service) for service in self._registry}
        return replace(self._disk.content, balloons=missing | present)

    async def _add(self, settings: BalloonSettings, left: LeftBalloon | None = None) -> None:
        service = self._service(settings)
        service.start()
        try:
            reached_by = await self._reach(service, left)
        except BaseException:
            await service.stop()
            raise
        self._running[settings.name] = _Running(service, reached_by)
        self._registry.add(service)
        self._set_again(service)

    def _service(self, settings: BalloonSettings) -> BalloonService:
        clock = Clock(asyncio.get_running_loop().time)
        return BalloonService(settings, clock, self._offload, self._observer_for(settings.name))

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
        if kept.stats_interval_s is not None:
            service.set_statistics_interval(kept.stats_interval_s)
        if kept.target_bytes is not None and kept.target_bytes != service.target_frames * FRAME_BYTES:
            service.set_target(min(kept.target_bytes, service.limit_bytes()) // FRAME_BYTES)

    async def _change(self, running: _Running, settings: BalloonSettings) -> str:
        before = running.service.settings
        differ = {key for key in BalloonSettings.model_fields if getattr(before, key) != getattr(settings, key)}
        if settings.transport == before.transport == "vhost-user" and differ <= _APPLIED_WHILE_RUNNING:
            running.service.change_settings(settings)
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
        if isinstance(running.reached_by, Listener) and running.reached_by.occupied:
            running.reached_by.retire()
            self._see_off_soon(running)
            return f"balloon {name!r} retired: its front-end is served until it goes"
        await running.stop()
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
        self._see_off_soon(_Running(service, listener))
        service.log.info("balloon of an earlier process retired")

    def _discard_socket(self, name: str, left: LeftBalloon) -> None:
        if left.listener is not None:
            discard(left.listener)
            self._holder.remove([listener_name(name)])
        self._holder.remove(left.stale)


def _kept(service: BalloonService) -> KeptBalloon:
    interval_s = service.statistics_interval_s
    return KeptBalloon(
        service.target_frames * FRAME_BYTES, interval_s if interval_s != service.settings.stats_interval_s else None
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

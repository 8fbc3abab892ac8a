"""The balloons that the daemon runs: added, changed and retired while it does.

Rules of this file:

* A balloon that is to go while a front-end is connected is *retired*: nobody new may connect, its target is 0, it is no
  longer listed, and its connection is answered until the front-end closes it. Closing it can cost a VM its life.
* What an earlier process left of a balloon that is configured no more is retired likewise, with the settings that were
  kept with its connection.
* Whatever a change asks for that cannot be had is reported, and everything else is done.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from .state.guest_file import GuestFile
from .transport.vhost_user.kept import KeptConnection
from .transport.vhost_user.left import LeftBalloon
from .transport.vhost_user.listener import Listener

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
        self._retired: Final[dict[asyncio.Task[None], _Running]] = {}

    async def open(self, configured: Iterable[BalloonSettings], left: Mapping[str, LeftBalloon]) -> None:
        """Begin with the balloons of the configuration, and with what was left of others.

        Raises:
            StartError: One of those that are configured cannot be had.
        """
        remaining = dict(left)
        for settings in configured:
            await self._add(settings, remaining.pop(settings.name, None))
        for name, balloon in remaining.items():
            await self._take_over_retired(name, balloon)

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

    async def apply(self, configured: Iterable[BalloonSettings]) -> list[str]:
        """Run these balloons and no others; return what was done and what could not be, for people."""
        wanted = {settings.name: settings for settings in configured}
        gone = [name for name in self._running if name not in wanted]
        done = [await self._retire(name) for name in gone]
        for name, settings in wanted.items():
            running = self._running.get(name)
            if running is None:
                done.append(await self._try(name, "added", settings))
            elif running.service.settings != settings:
                done.append(await self._change(running, settings))
        return done

    def kept(self) -> DiskState:
        """Return what was set at run time, as it is to be found on disk."""
        return DiskState({service.settings.name: _kept(service) for service in self._registry})

    async def _add(self, settings: BalloonSettings, left: LeftBalloon | None = None) -> _Running:
        loop = asyncio.get_running_loop()
        service = BalloonService(settings, Clock(loop.time), self._offload, self._observer_for(settings.name))
        service.start()
        try:
            reached_by = await self._reach(service, left)
        except BaseException:
            await service.stop()
            raise
        running = self._running[settings.name] = _Running(service, reached_by)
        self._registry.add(service)
        self._set_again(service)
        return running

    async def _reach(self, service: BalloonService, left: LeftBalloon | None) -> "Listener | InProcessGuest":
        if service.settings.transport == "vhost-user":
            listener = Listener(service, self._holder, left)
            await listener.start()
            return listener
        # Compiled code takes longer to import than all else, and after a restart real guests wait for it.
        from .lab.in_process_guest import InProcessGuest  # noqa: PLC0415

        try:
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
        await self._retire(settings.name)
        return await self._try(settings.name, f"begun again, for {', '.join(sorted(differ))}", settings)

    async def _try(self, name: str, what: str, settings: BalloonSettings) -> str:
        try:
            await self._add(settings)
        except StartError as error:
            structlog.get_logger().error("balloon not added", balloon=name, reason=error.detail)
            return f"balloon {name!r} not added: {error.detail}"
        return f"balloon {name!r} {what}"

    async def _retire(self, name: str) -> str:
        running = self._running.pop(name)
        self._registry.remove(name)
        if isinstance(running.reached_by, Listener) and running.service.connected:
            running.reached_by.retire()
            running.service.set_target(0)
            task = asyncio.create_task(self._see_off(running), name=f"retired {name}")
            self._retired[task] = running
            task.add_done_callback(lambda task: self._retired.pop(task, None))
            return f"balloon {name!r} retired: its front-end is served until it goes"
        await running.stop()
        return f"balloon {name!r} removed"

    async def _see_off(self, running: _Running) -> None:
        assert isinstance(running.reached_by, Listener)
        await running.reached_by.ended()
        await running.service.stop()
        running.service.log.info("retired balloon gone")

    async def _take_over_retired(self, name: str, left: LeftBalloon) -> None:
        try:
            await self._add(_settings_of(left), left)
        except (StateError, StartError) as error:
            structlog.get_logger().error("balloon of an earlier process set aside", balloon=name, reason=str(error))
            left.close()
            self._holder.remove(left.names)
            return
        structlog.get_logger().info(await self._retire(name))


def _kept(service: BalloonService) -> KeptBalloon:
    interval_s = service.statistics_interval_s
    return KeptBalloon(
        service.target_frames * FRAME_BYTES, interval_s if interval_s != service.settings.stats_interval_s else None
    )


def _settings_of(left: LeftBalloon) -> BalloonSettings:
    """Return the settings that were kept with a connection.

    Raises:
        StateError: There is none, or they are damaged.
    """
    if left.connection is None or left.connection.state is None:
        raise StateError("there is no connection to go on with")
    file = GuestFile(left.connection.state)
    try:
        return BalloonSettings.model_validate(KeptConnection.from_json(file.read()).settings)
    except ValidationError as error:
        raise StateError(f"the settings that were kept: {error}") from error
    finally:
        file.close()

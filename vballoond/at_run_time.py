"""Balloons that users of the API add and remove while the daemon runs, and what is kept of that.

Rules of this file:

* What is added is there beside the configuration until it is removed. It outlives the worker, since the holder has it,
  and everything else, since the disk has it.
* What the configuration says of a name counts before what was added under it.
* A configured balloon that is removed stays away until the configuration is read anew: by a reload or a first start.
"""

import os
from collections.abc import Iterable
from typing import Final

import structlog
from pydantic import BaseModel, ConfigDict

from .config.models import BalloonSettings
from .errors import StateError
from .holder.holder import Holder
from .holder.no_holder import NoHolder
from .state.settings_file import keep_settings, read_settings_file

AT_RUN_TIME: Final = "at-run-time"
"""By which name the holder has it."""


class Changes(BaseModel):
    """What differs from the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    added: tuple[BalloonSettings, ...] = ()
    removed: tuple[str, ...] = ()


class AtRunTime:
    """Knows what was added and removed.

    Args:
        holder: Has it for a process after this one.
    """

    def __init__(self, holder: Holder | NoHolder) -> None:
        self._holder: Final = holder
        self._added: dict[str, BalloonSettings] = {}
        self._removed: set[str] = set()

    @property
    def added(self) -> tuple[BalloonSettings, ...]:
        """The balloons that were added, in their order."""
        return tuple(self._added.values())

    def begin(self, left_fd: int | None, on_disk: Iterable[BalloonSettings]) -> None:
        """Begin with what an earlier process left: ``left_fd``, which is closed, or without that what is on disk."""
        changes = Changes(added=tuple(on_disk))
        if left_fd is not None:
            try:
                changes = read_settings_file(left_fd, Changes)
            except StateError as error:
                structlog.get_logger().error("what was added at run time is as it is on disk", reason=str(error))
            finally:
                os.close(left_fd)
        self._added = {settings.name: settings for settings in changes.added}
        self._removed = set(changes.removed)

    def left_of(self, configured: Iterable[BalloonSettings]) -> list[BalloonSettings]:
        """Return those of the configuration that were not removed."""
        return [settings for settings in configured if settings.name not in self._removed]

    def beside(self, configured: Iterable[BalloonSettings]) -> list[BalloonSettings]:
        """Return those that are there beside the configuration."""
        names = {settings.name for settings in self.left_of(configured)}
        return [settings for settings in self.added if settings.name not in names]

    def configured_anew(self, configured: Iterable[BalloonSettings]) -> None:
        """The configuration was read: what it names is there again, and as it says."""
        self._removed.clear()
        for settings in configured:
            self._added.pop(settings.name, None)

    def add(self, settings: BalloonSettings) -> None:
        """A balloon was added."""
        self._added[settings.name] = settings

    def remove(self, name: str) -> None:
        """A balloon was removed."""
        if self._added.pop(name, None) is None:
            self._removed.add(name)

    async def keep(self) -> None:
        """Have it with the holder; where that cannot be, it is logged."""
        changes = Changes(added=self.added, removed=tuple(sorted(self._removed)))
        await keep_settings(changes, self._holder, AT_RUN_TIME, otherwise="what was added at run time is not kept")

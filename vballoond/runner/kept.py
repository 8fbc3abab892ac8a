"""What of policies outlives the process: with the holder, so that a restart changes nothing, and on disk.

Rules of this file:

* It is one JSON object. What cannot be read counts as never kept, and is said: balloons go on with their targets.
* A policy that was set through the API counts before the configuration's, until that names another one.
"""

import json
import os
from typing import Any, Final

import structlog
from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from ..config.policy import PolicySettings
from ..errors import StateError
from ..holder.holder import Holder
from ..holder.no_holder import NoHolder
from ..policy.reservations import Book
from ..state.settings_file import keep_settings, read_settings_file
from .acting import Acting

POLICY: Final = "policy"
"""By which name the holder has it."""


class Chosen(BaseModel):
    """A policy that was chosen, its settings, and what it remembers."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: str
    settings: dict[str, JsonValue] = {}
    memory: JsonValue = {}

    @classmethod
    def of(cls, acting: Acting) -> "Chosen":
        """Return what is kept of a policy at work."""
        return cls(name=acting.name, settings=dict(acting.settings), memory=acting.memory)

    @property
    def acting(self) -> Acting:
        """The policy at work again."""
        return Acting(self.name, self.settings, self.memory)


class Kept(BaseModel):
    """All that is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    configured: dict[str, JsonValue] | None = None
    """What the configuration named meanwhile."""
    active: Chosen | None = None
    shadow: Chosen | None = None
    book: Book = Book()
    by_hand_until_s: dict[str, float] = {}

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data, for the disk."""
        return self.model_dump(mode="json")

    def active_under(self, settings: PolicySettings) -> Acting:
        """Return who acts: who did, unless the configuration names another one by now."""
        if self.active is not None and self.configured == configured(settings):
            return self.active.acting
        return Acting(settings.name, settings.settings)

    def hands_under(self, settings: PolicySettings) -> dict[str, float]:
        """Return what is left alone, and until when: nothing any more where the configuration names another policy."""
        return self.by_hand_until_s if self.configured == configured(settings) else {}


def configured(settings: PolicySettings) -> dict[str, JsonValue]:
    """Return what the configuration says of who acts."""
    return {"name": settings.name, "settings": dict(settings.settings)}


def begin(left_fd: int | None, on_disk: dict[str, Any] | None) -> Kept:
    """Return what an earlier process left: ``left_fd``, which is closed, or without that what is on disk."""
    try:
        if left_fd is not None:
            return read_settings_file(left_fd, Kept)
        return Kept() if on_disk is None else Kept.model_validate_json(json.dumps(on_disk))
    except (StateError, ValidationError) as error:
        structlog.get_logger().error("what was kept of policies is set aside", reason=str(error)[:1000])
        return Kept()
    finally:
        if left_fd is not None:
            os.close(left_fd)


async def keep(kept: Kept, holder: Holder | NoHolder) -> None:
    """Have it with the holder; where that cannot be, it is logged."""
    await keep_settings(kept, holder, POLICY, otherwise="what policies know is not kept")

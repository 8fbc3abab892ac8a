"""What the API asks of the daemon as a whole."""

from typing import Final, Protocol

from .config.models import BalloonSettings
from .errors import OperatorError
from .service.balloon_service import BalloonService

_NO_DAEMON: Final = OperatorError("these balloons are as they are", status=409, code="no-daemon")


class Control(Protocol):
    """Implemented by the daemon."""

    @property
    def problems(self) -> list[str]:
        """What is not as it was asked for, a sentence for each, which names no guest."""

    async def remember(self) -> None:
        """Return once what is set now is on disk, or cannot be."""

    async def reload(self) -> list[str]:
        """Read the configuration anew and follow it; return what was done, for people.

        Raises:
            OperatorError: It is wrong, and nothing has changed.
        """

    async def add(self, settings: BalloonSettings) -> BalloonService:
        """Add a balloon at run time, and keep that it is there; return it.

        Raises:
            OperatorError: It cannot be had, and nothing has changed.
        """

    async def remove(self, name: str, *, force: bool) -> None:
        """Remove a balloon, and keep that it is gone. ``force`` retires one that has a front-end.

        Raises:
            OperatorError: There is none, or it has a front-end; nothing has changed.
        """

    def restart(self) -> None:
        """Have another process take over; no guest notices.

        Raises:
            OperatorError: There is none that would.
        """


class NoControl:
    """Stands in where the API serves balloons without a daemon around them."""

    problems: Final[list[str]] = []

    async def remember(self) -> None:
        """Nothing is kept."""

    async def reload(self) -> list[str]:
        """There is no configuration."""
        return []

    async def add(self, settings: BalloonSettings) -> BalloonService:
        """There is nowhere to add it to."""
        del settings
        raise _NO_DAEMON

    async def remove(self, name: str, *, force: bool) -> None:
        """There is nowhere to remove it from."""
        del name, force
        raise _NO_DAEMON

    def restart(self) -> None:
        """There is nobody else."""
        raise OperatorError("there is no process that would take over", status=409, code="no-keeper")

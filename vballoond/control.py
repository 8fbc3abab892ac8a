"""What the API asks of the daemon as a whole."""

from typing import Final, Protocol

from .errors import OperatorError


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

    def restart(self) -> None:
        """There is nobody else."""
        raise OperatorError("there is no process that would take over", status=409, code="no-keeper")

"""The balloons of the daemon, by name."""

from collections.abc import Iterator
from typing import Final

from .errors import OperatorError
from .service.balloon_service import BalloonService


class Registry:
    """Finds balloons; in the order in which they were added."""

    def __init__(self) -> None:
        self._balloons: Final[dict[str, BalloonService]] = {}

    def __iter__(self) -> Iterator[BalloonService]:
        return iter(self._balloons.values())

    def __len__(self) -> int:
        return len(self._balloons)

    def add(self, service: BalloonService) -> None:
        """List a balloon; its name must be new."""
        assert service.settings.name not in self._balloons
        self._balloons[service.settings.name] = service

    def remove(self, name: str) -> None:
        """List a balloon no more; it must be listed."""
        del self._balloons[name]

    def find(self, name: str) -> BalloonService:
        """Return the balloon ``name``.

        Raises:
            OperatorError: 404, naming those that there are.
        """
        service = self._balloons.get(name)
        if service is None:
            known = ", ".join(sorted(self._balloons)) or "none"
            raise OperatorError(f"there is no balloon {name!r}; there are: {known}", status=404, code="no-such-balloon")
        return service

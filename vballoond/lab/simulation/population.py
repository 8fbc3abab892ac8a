"""Which guests there are: each comes and goes in its time, or when the reservation that it waits for is ready."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .host_scenario import GuestTable, HostScenario, guest_names
from .page_guest import PageGuest


@dataclass(frozen=True, slots=True)
class _Due:
    name: str
    table: GuestTable
    start_s: float
    stop_s: float | None


class Population:
    """The guests of one run.

    Args:
        scenario: Says who comes when.
        seed: Of the run.
        gone: Is told of each guest that goes, while it can still be asked.
    """

    def __init__(self, scenario: HostScenario, seed: int, gone: Callable[[PageGuest], None]) -> None:
        self._seed: Final = seed
        self._gone: Final = gone
        self._waiting: Final = {table.name: table for table in scenario.guest if table.waits}
        self._due = sorted(
            (due for table in scenario.guest if not table.waits for due in _times(table)),
            key=lambda due: due.start_s,
        )
        self._stops_s: Final[dict[str, float | None]] = {}
        self.guests: Final[dict[str, PageGuest]] = {}
        """Those that are there, by name, in the order in which they came."""

    def at(self, now_s: float) -> None:
        """Start and end whoever is due.

        Raises:
            OSError: This machine has not got the memory for a guest.
        """
        for name, stop_s in list(self._stops_s.items()):
            if stop_s is not None and stop_s <= now_s:
                self._end(name)
        while self._due and self._due[0].start_s <= now_s:
            due = self._due.pop(0)
            if due.stop_s is None or due.stop_s > now_s:
                self._start(due.name, due.table, now_s, due.stop_s)

    def come(self, name: str, now_s: float) -> None:
        """Start a guest that waited for this; whether it has gone already is no matter."""
        table = self._waiting.pop(name, None)
        if table is not None:
            self._start(name, table, now_s, table.stop_s)

    def close(self) -> None:
        """End all."""
        for name in list(self.guests):
            self._end(name)

    def _start(self, name: str, table: GuestTable, now_s: float, stop_s: float | None) -> None:
        self.guests[name] = PageGuest(name, table, self._seed, now_s)
        self._stops_s[name] = stop_s

    def _end(self, name: str) -> None:
        guest = self.guests.pop(name)
        del self._stops_s[name]
        try:
            self._gone(guest)
        finally:
            guest.close()


def _times(table: GuestTable) -> list[_Due]:
    return [
        _Due(
            name,
            table,
            table.start_s + number * table.stagger_s,
            None if table.stop_s is None else table.stop_s + number * table.stagger_s,
        )
        for number, name in enumerate(guest_names(table))
    ]

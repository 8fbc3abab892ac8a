"""The newest records of what was decided (``explain``).

Rules of this file:

* The log is bounded in bytes and in records; the oldest go. It keeps records packed: they are much alike.
* Where a guest is spoken of is known without unpacking anything, which for all records takes seconds.
* It may be read by one thread while another appends.
"""

import json
import zlib
from array import array
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Final

MAX_RECORDS: Final = 10_000
MAX_LOG_BYTES: Final = 16 << 20
_FORGET_EVERY: Final = 1000
"""So many records may go before the numbers of those that went are forgotten: 8 bytes for each guest of each."""


class DecisionLog:
    """The newest records, numbered from 1."""

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._max_records: Final = max_records
        self._max_bytes: Final = max_bytes
        self._packed: Final[deque[tuple[int, bytes]]] = deque()
        """Numbers without a gap, so that a place in it can be reckoned."""
        self._bytes = 0
        self._last = 0
        self._about: dict[str, array[int]] = {}
        """By guest, the numbers of the records that speak of it, ascending; some of them may have gone."""

    def append(self, record: Mapping[str, Any]) -> int:
        """Keep a record, which is plain JSON data; return its number. One that is too large alone is not kept."""
        number = self._last + 1
        packed = zlib.compress(json.dumps(record, allow_nan=False).encode(), level=1)
        for guest in _spoken_of(record):
            self._about.setdefault(guest, array("Q")).append(number)
        self._packed.append((number, packed))
        self._last = number
        self._bytes += len(packed)
        while len(self._packed) > self._max_records or self._bytes > self._max_bytes:
            self._bytes -= len(self._packed.popleft()[1])
        if number % _FORGET_EVERY == 0:
            self._forget_those_gone()
        return number

    def __len__(self) -> int:
        return len(self._packed)

    def newest_first(self, guest: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and records, from the newest on; those that speak of ``guest``, if it is given."""
        packed = tuple(self._packed)
        first = packed[0][0] if packed else 0
        numbers = (number for number, _ in packed) if guest is None else self._about.get(guest, ())
        for number in sorted(numbers, reverse=True):
            if first <= number < first + len(packed):
                yield number, json.loads(zlib.decompress(packed[number - first][1]))

    def _forget_those_gone(self) -> None:
        first = self._last - len(self._packed) + 1
        left = {
            guest: array("Q", (each for each in numbers if each >= first)) for guest, numbers in self._about.items()
        }
        self._about = {guest: numbers for guest, numbers in left.items() if numbers}


def _spoken_of(record: Mapping[str, Any]) -> set[str]:
    alerted = (alert["guest"] for alert in record.get("alerts", ()) if alert["guest"] is not None)
    return {*(decision["balloon"] for decision in record.get("decisions", ())), *alerted}

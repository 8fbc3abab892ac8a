"""The record of what was decided, with what went in and why: for the API, for people, and to be played again.

Rules of this file:

* A record is plain JSON data, and holds the whole view, so that another policy can be asked about the same instant.
* The log is bounded in bytes and in records; the oldest go. It keeps records packed: they are much alike.
"""

import json
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

from .guard.decision import Decisions
from .plan import Plan
from .view import View, view_data

MAX_RECORDS: Final = 10_000
MAX_LOG_BYTES: Final = 16 << 20


@dataclass(frozen=True, slots=True)
class Round:
    """One question to a policy and what came of it. ``shadow``: it was asked beside the acting one, and not heard."""

    at: datetime
    policy: str
    settings: Mapping[str, Any]
    view: View
    plan: Plan | None
    """None: it failed."""
    decisions: Decisions | None = None
    error: str | None = None
    shadow: bool = False
    took_s: float | None = None

    def data(self) -> dict[str, Any]:
        """Return it as plain JSON data."""
        plan, decisions = self.plan, self.decisions
        return {
            "at": self.at.isoformat(),
            "policy": self.policy,
            "settings": dict(self.settings),
            "shadow": self.shadow,
            "took_s": self.took_s,
            "error": self.error,
            "view": view_data(self.view),
            "wishes": [asdict(wish) for wish in plan.wishes] if plan else [],
            "reserves": [asdict(reserve) for reserve in plan.reserves] if plan else [],
            "decisions": [decision.data() for decision in decisions.explanations] if decisions else [],
            "orders": [asdict(order) for order in decisions.orders] if decisions else [],
            "alerts": [asdict(alert) for alert in (decisions.alerts if decisions else plan.alerts if plan else ())],
        }


class DecisionLog:
    """The newest records, numbered from 1."""

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_LOG_BYTES) -> None:
        self._max_records: Final = max_records
        self._max_bytes: Final = max_bytes
        self._packed: Final[deque[tuple[int, bytes]]] = deque()
        self._bytes = 0
        self._last = 0

    def append(self, record: Mapping[str, Any]) -> int:
        """Keep a record, which is plain JSON data; return its number. One that is too large alone is not kept."""
        self._last += 1
        packed = zlib.compress(json.dumps(record, allow_nan=False).encode(), level=1)
        self._packed.append((self._last, packed))
        self._bytes += len(packed)
        while len(self._packed) > self._max_records or self._bytes > self._max_bytes:
            self._bytes -= len(self._packed.popleft()[1])
        return self._last

    def __len__(self) -> int:
        return len(self._packed)

    def newest_first(self, before: int | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and records, from the newest on, or from the one before the number ``before``."""
        for number, packed in reversed(tuple(self._packed)):
            if before is None or number < before:
                yield number, json.loads(zlib.decompress(packed))

    def of_guest(self, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield numbers and decisions about one guest, from the newest on."""
        for number, record in self.newest_first():
            for decision in record["decisions"]:
                if decision["balloon"] == name:
                    yield number, decision

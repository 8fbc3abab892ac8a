"""Memory statistics: virtio 1.4 section 5.5.6.3.

Rules of this file:

* The driver makes one buffer available with its statistics in it; the device keeps it, and returns it when it wants
  newer ones. So a buffer is always an answer, and a returned buffer is the question.
* Unknown tags are ignored, any order is accepted (5.5.6.3.2); a tail shorter than an entry is ignored (see
  ``protocol.balloon.statistics``).
* Statistics are a guest's claim. They are kept with the time at which they came, and nothing here believes them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from protocol.balloon.statistics import STATISTIC, StatisticTag

MAX_STATISTICS: Final = 256
"""Entries read of one buffer. There are 16 tags; a driver that repeats them costs no more than this."""

_TAGS: Final = {tag.value: tag for tag in StatisticTag}


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the driver said last, and when; ``before`` is what it had said before that."""

    values: Mapping[StatisticTag, int]
    arrived_at: datetime
    before: Mapping[StatisticTag, int] = field(default_factory=dict)


def parse_statistics(data: bytes) -> dict[StatisticTag, int]:
    """Return the known statistics in ``data``; of a tag that stands twice, the last."""
    entries = STATISTIC.iter_unpack(data[: MAX_STATISTICS * STATISTIC.size])
    return {_TAGS[entry.tag]: entry.val for entry in entries if entry.tag in _TAGS}

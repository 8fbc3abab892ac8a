"""What one run of compaction knows: Linux's struct compact_control, and the results that a run can have."""

from enum import IntEnum, auto
from typing import Final, NamedTuple

import numpy as np

from .page_flags import Migratetype
from .zone import ORDERS, Array

COMPACT_CLUSTER_MAX: Final = 32
"""Pages of a pageblock that are isolated first, and migrated, before all that are left of it are."""

VIA_COMPACT_MEMORY: Final = -1
"""An order that no block has: the whole zone is compacted, as /proc/sys/vm/compact_memory asks."""

_BATCH_ROOM: Final = 1 << (ORDERS - 1)  # a pageblock is no larger
_FREE_PAGES_ROOM: Final = 4096  # pages isolated at a time: at most a few pageblocks' worth


class CompactResult(IntEnum):
    """How a run ended, least first."""

    SKIPPED = 0
    """Too little memory is free, or what is free is not fragmented."""
    DEFERRED = 1
    CONTINUE = 2
    COMPLETE = 3
    """The scanners met, and all of the zone was scanned."""
    PARTIAL_SKIPPED = 4
    """The scanners met, having begun in the middle."""
    CONTENDED = 5
    """No free page was left to migrate to."""
    SUCCESS = 6
    """A free block of the order is there."""


class Need(IntEnum):
    """Why compiled code returns: what only an owner of pages can do."""

    NOTHING = 0
    """The run has ended."""
    ISOLATE = 1
    """``CANDIDATE`` may be isolated by its owner."""
    PUT_BACK = 2
    """The owned pages of the batch are to go back."""
    MIGRATE = 3
    """The owned pages of the batch are to be migrated."""


class Answer(IntEnum):
    """What the owner of a candidate said."""

    NONE_YET = 0
    ISOLATED = 1
    REFUSED = 2


class Cc(IntEnum):
    """Indices of the plain numbers of a run."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        del name, start, last_values
        return count

    ORDER = auto()
    MIGRATETYPE = auto()
    """What the allocation is to be: :class:`Migratetype`."""
    MODE = auto()
    DIRECT = auto()
    WHOLE_ZONE = auto()
    IGNORE_SKIP_HINT = auto()
    MIGRATE_PFN = auto()
    FREE_PFN = auto()
    ITERATION_START = auto()
    """Where the migrate scanner was before the batch."""
    LAST_MIGRATED_PFN = auto()
    """Where it was before the last batch of which something was migrated; 0 too where there was none of late."""
    RESCAN = auto()
    """Whether a batch came of the pageblock already: all that is left of it is taken at once."""
    NR_LRU = auto()
    NR_OWNED = auto()
    BATCH = auto()
    """How many pages were isolated, of both kinds: so many free pages are wanted."""
    NR_FREE_PAGES = auto()
    CANDIDATE = auto()
    ANSWER = auto()
    """What came of it: :class:`Answer`."""
    AFTER_BATCH = auto()
    """Whether a batch was migrated of which the consequences are to be drawn."""
    IN_BLOCK = auto()
    """Whether a pageblock is being scanned, from ``LOW_PFN`` to ``END_PFN``."""
    LOW_PFN = auto()
    END_PFN = auto()
    NEXT_SKIP_PFN = auto()
    BLOCK_ISOLATED = auto()
    FROM_BLOCK_START = auto()
    OUT_OF_FREE_PAGES = auto()
    FAILED = auto()
    """Pages of the batch that could not be migrated."""
    RESULT = auto()


class CompactControl(NamedTuple):
    """One run. Pages of the page cache and of processes are moved by compiled code, owned ones by their owners."""

    lru_pages: Array
    """int32: isolated in this batch."""
    owned_pages: Array
    """int32: isolated in this batch by their owners."""
    free_pages: Array
    """int32, a stack: allocated to be migrated to."""
    numbers: Array
    """int64: :class:`Cc`."""


def make_control(
    order: int,
    mode: int,
    *,
    direct: bool,
    whole_zone: bool,
    ignore_skip_hint: bool,
    migratetype: int = Migratetype.MOVABLE,
) -> CompactControl:
    """Return a run that has not begun."""
    numbers = np.zeros(len(Cc), dtype=np.int64)
    numbers[Cc.ORDER] = order
    numbers[Cc.MIGRATETYPE] = migratetype
    numbers[Cc.MODE] = mode
    numbers[Cc.DIRECT] = direct
    numbers[Cc.WHOLE_ZONE] = whole_zone
    numbers[Cc.IGNORE_SKIP_HINT] = ignore_skip_hint
    return CompactControl(
        np.zeros(_BATCH_ROOM, dtype=np.int32),
        np.zeros(_BATCH_ROOM, dtype=np.int32),
        np.zeros(_FREE_PAGES_ROOM, dtype=np.int32),
        numbers,
    )

"""What a guest counts: the lines of /proc/vmstat that ballooning, reclaim and compaction move."""

from enum import IntEnum, auto


class VmEvent(IntEnum):
    """Indices of the counters; the name in lower case is the line's name."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        del name, start, last_values
        return count

    BALLOON_INFLATE = auto()
    BALLOON_DEFLATE = auto()
    BALLOON_MIGRATE = auto()
    COMPACT_BALLOON_ISOLATED = auto()
    """This and the next two: the interface of 2012, by the names of its last version."""
    COMPACT_BALLOON_MIGRATED = auto()
    COMPACT_BALLOON_RETURNED = auto()
    COMPACT_STALL = auto()
    COMPACT_SUCCESS = auto()
    COMPACT_FAIL = auto()
    COMPACT_MIGRATE_SCANNED = auto()
    COMPACT_FREE_SCANNED = auto()
    COMPACT_ISOLATED = auto()
    PGMIGRATE_SUCCESS = auto()
    PGMIGRATE_FAIL = auto()
    ALLOCSTALL = auto()
    PGSCAN_KSWAPD = auto()
    PGSCAN_DIRECT = auto()
    PGSTEAL_KSWAPD = auto()
    PGSTEAL_DIRECT = auto()
    SLABS_SCANNED = auto()
    PGFAULT = auto()
    PGMAJFAULT = auto()
    PSWPIN = auto()
    PSWPOUT = auto()
    THP_FAULT_ALLOC = auto()
    THP_FAULT_FALLBACK = auto()
    OOM_KILL = auto()

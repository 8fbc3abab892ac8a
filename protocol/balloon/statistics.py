"""Memory statistics: virtio 1.4 section 5.5.6.3 and, for the tags above 9, Linux 6.12's virtio_balloon.h.

Section 5.5.6.3.1 wants a buffer whose size is a multiple of 6 bytes, which is an erratum: an entry has 10 bytes.
"""

from enum import IntEnum
from typing import Final, NamedTuple

from construct import Int16ul, Int64ul

from ..layout import Layout


class StatisticTag(IntEnum):
    """Section 5.5.6.3.4. Sizes, scans and reclaims are in bytes; faults, allocations, kills and stalls are counts."""

    SWAP_IN = 0
    SWAP_OUT = 1
    MAJOR_FAULTS = 2
    MINOR_FAULTS = 3
    FREE_MEMORY = 4
    TOTAL_MEMORY = 5
    AVAILABLE_MEMORY = 6
    DISK_CACHES = 7
    HUGETLB_ALLOCATIONS = 8
    HUGETLB_FAILURES = 9
    OOM_KILL = 10
    ALLOC_STALL = 11
    ASYNC_SCAN = 12
    DIRECT_SCAN = 13
    ASYNC_RECLAIM = 14
    DIRECT_RECLAIM = 15


class Statistic(NamedTuple):
    """One packed entry of 10 bytes."""

    tag: int
    val: int


STATISTIC: Final = Layout(Statistic, tag=Int16ul, val=Int64ul)

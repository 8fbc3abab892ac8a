"""The page array of a guest and its free lists, as arrays that compiled code works on.

One zone: on a 64-bit guest nearly all memory is in one, and what zones are for (devices that reach little memory) does
not concern a balloon. A frame costs 14 bytes here, and a byte in the device's frame map.

Lists are Linux's list_head: circular and doubly linked, so that a page leaves its list without a walk. A page's links
stand at its frame number, those of a list's head behind all frames.
"""

from enum import IntEnum, auto
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from .page_flags import Migratetype, PageFlag
from .vm_events import VmEvent

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

ORDERS: Final = 11
"""Orders of free blocks: 0 to 10, a frame to 4 MiB (MAX_ORDER before Linux 6.4)."""

PAGEBLOCK_ORDER: Final = 9
"""Of x86-64 with transparent huge pages; user-mode Linux, which has none, groups by ``ORDERS - 1``."""

MIGRATETYPES: Final = len(Migratetype)

MAX_MAPPINGS: Final = 192
"""Mappings whose pages stand on lists: files, anonymous memory of processes, balloons."""

UNLINKED: Final = -1
"""A page's links while it is on no list; as LIST_POISON, so that whoever takes it off twice is found out."""

_FREE_LISTS: Final = ORDERS * MIGRATETYPES
_USED_ENTRIES: Final = 1 << 16


class MappingId(IntEnum):
    """Mappings that every guest has. Others are registered (``MemMap.register``)."""

    NONE = 0
    FILE = 1
    """Page cache of all files together."""
    SLAB = 2
    """Reclaimable slab: not a mapping in Linux, but a list here."""
    FIRST_REGISTERED = 3


class ZoneCount(IntEnum):
    """Indices of a zone's plain numbers."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[int]) -> int:
        del name, start, last_values
        return count

    FRAMES = auto()
    PAGEBLOCK_ORDER = auto()
    FREE = auto()
    MANAGED = auto()
    """What the allocator has in all: MemTotal."""
    WMARK_MIN = auto()
    WMARK_LOW = auto()
    WMARK_HIGH = auto()
    KSWAPD_WOKEN = auto()
    FILE = auto()
    ANON = auto()
    SLAB = auto()
    UNMOVABLE = auto()
    """Pages of the kernel's that workloads took: the first so many of ``unmovable``."""
    COMPACT_MIGRATE_ASYNC = auto()
    """Where the migrate scanner goes on: compact_cached_migrate_pfn[]."""
    COMPACT_MIGRATE_SYNC = auto()
    COMPACT_FREE = auto()
    COMPACT_CONSIDERED = auto()
    COMPACT_DEFER_SHIFT = auto()
    COMPACT_ORDER_FAILED = auto()
    COMPACT_BLOCKSKIP_FLUSH = auto()
    MIGRATE_FAIL_PPM = auto()
    """Of a million pages that are to be migrated, how many cannot be: pinned, under I/O, dirty for long."""
    USED = auto()
    """Blocks that came into use: as many as there is room for stand in ``used``, the others are marked."""
    USED_WANTED = auto()
    """Whether ``used`` is kept at all."""


class Zone(NamedTuple):
    """All of a guest's page frames. ``frames`` of each but where it says otherwise."""

    flags: Array
    """uint16: :class:`PageFlag`."""
    refcount: Array
    """uint8."""
    order: Array
    """uint8: of the free or compound block that begins here."""
    mapping: Array
    """uint16: :class:`MappingId`."""
    next: Array
    """int32, and the lists' heads behind."""
    prev: Array
    """int32, and the lists' heads behind."""
    block_type: Array
    """uint8, one a pageblock: :class:`Migratetype`."""
    block_skip: Array
    """uint8, one a pageblock: PB_migrate_skip."""
    nr_free: Array
    """int64, one an order: free blocks of it."""
    counts: Array
    """int64: :class:`ZoneCount`."""
    events: Array
    """int64: :class:`VmEvent`."""
    random: Array
    """uint64, one: the state of the guest's own chance."""
    unmovable: Array
    """int32: the kernel's pages that workloads may free again, in any order."""
    used: Array
    """int32: blocks that came into use since the host was last told; a frame, or ~frame of a whole pageblock."""


def make_zone(frames: int, *, pageblock_order: int = PAGEBLOCK_ORDER, seed: int = 1) -> Zone:
    """Return a zone of which every frame is reserved; ``buddy.free_boot_memory`` makes it usable."""
    blocks = -(-frames >> pageblock_order)
    links = frames + _FREE_LISTS + MAX_MAPPINGS
    zone = Zone(
        flags=np.full(frames, PageFlag.RESERVED, dtype=np.uint16),
        refcount=np.ones(frames, dtype=np.uint8),
        order=np.zeros(frames, dtype=np.uint8),
        mapping=np.zeros(frames, dtype=np.uint16),
        next=np.full(links, UNLINKED, dtype=np.int32),
        prev=np.full(links, UNLINKED, dtype=np.int32),
        block_type=np.full(blocks, Migratetype.MOVABLE, dtype=np.uint8),
        block_skip=np.zeros(blocks, dtype=np.uint8),
        nr_free=np.zeros(ORDERS, dtype=np.int64),
        counts=np.zeros(len(ZoneCount), dtype=np.int64),
        events=np.zeros(len(VmEvent), dtype=np.int64),
        random=np.array([seed * 0x9E3779B97F4A7C15 % (1 << 64) or 1], dtype=np.uint64),
        unmovable=np.zeros(max(64, frames // 16), dtype=np.int32),
        used=np.zeros(min(_USED_ENTRIES, frames // 32), dtype=np.int32),
    )
    zone.next[frames:] = zone.prev[frames:] = np.arange(frames, links, dtype=np.int32)
    zone.counts[ZoneCount.FRAMES] = frames
    zone.counts[ZoneCount.PAGEBLOCK_ORDER] = pageblock_order
    zone.counts[ZoneCount.COMPACT_FREE] = (blocks - 1) << pageblock_order
    zone.counts[ZoneCount.COMPACT_ORDER_FAILED] = ORDERS
    return zone


def bytes_of(zone: Zone) -> int:
    """Return what the zone's arrays take of the host's memory when all of them were touched."""
    return sum(array.nbytes for array in zone)

"""What a page frame is at the moment: the flags of Linux's struct page that ballooning and compaction look at.

A frame that belongs to a larger free or compound block carries nothing itself: its block's first frame does, with the
block's order. So whoever walks over frames steps by blocks.
"""

from enum import IntEnum


class PageFlag(IntEnum):
    """Bits of a page's flags; those that Linux keeps elsewhere in struct page say where.

    An IntEnum, since compiled code knows no IntFlag: what is made of several is a plain number.
    """

    LOCKED = 1 << 0
    """PG_locked: the page lock."""
    LRU = 1 << 1
    """On the list of its mapping, from which reclaim and compaction take it."""
    ANON = 1 << 2
    """The mapping is an anon_vma (PAGE_MAPPING_ANON)."""
    MAPPED = 1 << 3
    """In some process's page table (_mapcount)."""
    SLAB = 1 << 4
    SWAP_CACHE = 1 << 5
    RESERVED = 1 << 6
    """The kernel's image and its boot-time memory."""
    BUDDY = 1 << 7
    """The first frame of a free block (page type)."""
    HEAD = 1 << 8
    """The first frame of a compound page."""
    OFFLINE = 1 << 9
    """Ballooned, as /proc/kpageflags shows it since Linux 5.1 (page type)."""
    MOVABLE = 1 << 10
    """The mapping is a table of movable operations (PAGE_MAPPING_MOVABLE)."""
    ISOLATED = 1 << 11
    """PG_isolated: taken from its movable_operations, to be migrated."""
    REPORTED = 1 << 12
    """PG_reported: free, and the host knows."""
    PRIVATE = 1 << 13
    """The mapping is something else than an address space: what looks like one there must not be followed."""
    UNTOLD = 1 << 14
    """The model's own: came into use, and the host was not told yet (``in_use``)."""


class Migratetype(IntEnum):
    """What an allocation says of its page, and what most pages of a pageblock are."""

    UNMOVABLE = 0
    MOVABLE = 1
    RECLAIMABLE = 2

"""Page cache, slab, and the kernel's own pages: memory that the guest as a whole fills.

Each function takes one page after the other and returns how many it got: fewer than asked for where memory ran out.
"""

from collections.abc import Callable
from typing import TypeAlias

from .alloc import alloc_pages
from .buddy import free_pages
from .chance import random_below
from .compiled import compiled
from .in_use import note_used
from .linked_list import list_add, mapping_list
from .page_flags import Migratetype, PageFlag
from .zone import MappingId, Zone, ZoneCount

Take: TypeAlias = Callable[[Zone, int], int]


@compiled
def add_file_pages(zone: Zone, pages: int) -> int:
    """Read ``pages`` of files: the youngest of page cache, from which reclaim takes the oldest."""
    head = mapping_list(zone, MappingId.FILE.value)
    for done in range(pages):
        pfn = alloc_pages(zone, 0, Migratetype.MOVABLE.value)
        if pfn < 0:
            return done
        zone.flags[pfn] = PageFlag.LRU
        zone.mapping[pfn] = MappingId.FILE
        list_add(zone, pfn, head)
        zone.counts[ZoneCount.FILE] += 1
        note_used(zone, pfn, 0)
    return pages


@compiled
def add_slab_pages(zone: Zone, pages: int) -> int:
    """Allocate reclaimable slab: inodes and directory entries."""
    head = mapping_list(zone, MappingId.SLAB.value)
    for done in range(pages):
        pfn = alloc_pages(zone, 0, Migratetype.RECLAIMABLE.value)
        if pfn < 0:
            return done
        zone.flags[pfn] = PageFlag.SLAB
        list_add(zone, pfn, head)
        zone.counts[ZoneCount.SLAB] += 1
        note_used(zone, pfn, 0)
    return pages


@compiled
def add_kernel_pages(zone: Zone, pages: int) -> int:
    """Allocate pages of the kernel's that nothing can move: page tables, stacks, buffers."""
    for done in range(pages):
        held = zone.counts[ZoneCount.UNMOVABLE]
        if held == len(zone.unmovable):
            return done
        pfn = alloc_pages(zone, 0, Migratetype.UNMOVABLE.value)
        if pfn < 0:
            return done
        zone.unmovable[held] = pfn
        zone.counts[ZoneCount.UNMOVABLE] = held + 1
        note_used(zone, pfn, 0)
    return pages


@compiled
def free_kernel_pages(zone: Zone, pages: int) -> int:
    """Free pages of the kernel's, any of them."""
    for done in range(pages):
        held = zone.counts[ZoneCount.UNMOVABLE]
        if not held:
            return done
        victim = random_below(zone, held)
        pfn = zone.unmovable[victim]
        zone.unmovable[victim] = zone.unmovable[held - 1]
        zone.counts[ZoneCount.UNMOVABLE] = held - 1
        free_pages(zone, pfn, 0)
    return pages


@compiled
def churn_kernel_pages(zone: Zone, events: int, low: int, high: int) -> None:
    """Allocate or free one of the kernel's pages ``events`` times, by chance, so that it holds ``low`` to ``high``."""
    for _ in range(events):
        held = zone.counts[ZoneCount.UNMOVABLE]
        if held < low or (held < high and random_below(zone, 2)):
            add_kernel_pages(zone, 1)
        else:
            free_kernel_pages(zone, 1)

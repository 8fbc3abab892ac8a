"""Anonymous memory of processes, in the order in which it was faulted in. The guest has no swap: only exit frees it."""

from .alloc import alloc_pages
from .buddy import free_pages
from .compiled import compiled
from .in_use import note_used
from .linked_list import list_add, list_del, list_empty, mapping_list
from .page_flags import Migratetype, PageFlag
from .vm_events import VmEvent
from .zone import Zone, ZoneCount


@compiled
def fault_in(zone: Zone, mapping: int, pages: int) -> int:
    """Touch ``pages`` new ones; return how many there were: fewer where memory ran out."""
    head = mapping_list(zone, mapping)
    for done in range(pages):
        pfn = alloc_pages(zone, 0, Migratetype.MOVABLE.value)
        if pfn < 0:
            return done
        zone.flags[pfn] = PageFlag.LRU | PageFlag.ANON | PageFlag.MAPPED
        zone.mapping[pfn] = mapping
        list_add(zone, pfn, head)
        zone.counts[ZoneCount.ANON] += 1
        zone.events[VmEvent.PGFAULT] += 1
        note_used(zone, pfn, 0)
    return pages


@compiled
def unmap(zone: Zone, mapping: int, pages: int) -> int:
    """Free ``pages`` of the process, the last faulted in first; return how many it had."""
    head = mapping_list(zone, mapping)
    for done in range(pages):
        if list_empty(zone, head):
            return done
        pfn = zone.next[head]
        list_del(zone, pfn)
        free_pages(zone, pfn, 0)
        zone.counts[ZoneCount.ANON] -= 1
    return pages

"""Linux's list_head over a zone's links: circular, doubly linked, an entry on one list at a time.

``head`` is a list's head, ``entry`` a frame number: see ``free_list`` and ``mapping_list`` for the former.
"""

from typing import Final

from .compiled import compiled
from .zone import MIGRATETYPES, ORDERS, UNLINKED, Zone

_MAPPING_LISTS: Final = ORDERS * MIGRATETYPES


@compiled
def free_list(zone: Zone, order: int, migratetype: int) -> int:
    """Return the head of the free blocks of an order and type."""
    return len(zone.flags) + order * MIGRATETYPES + migratetype


@compiled
def mapping_list(zone: Zone, mapping: int) -> int:
    """Return the head of a mapping's pages."""
    return len(zone.flags) + _MAPPING_LISTS + mapping


@compiled
def list_empty(zone: Zone, head: int) -> bool:
    """Say whether nothing is on the list."""
    return bool(zone.next[head] == head)


@compiled
def list_add(zone: Zone, entry: int, head: int) -> None:
    """Put ``entry`` behind ``head``: it is the first of the list then."""
    first = zone.next[head]
    zone.next[entry] = first
    zone.prev[entry] = head
    zone.prev[first] = entry
    zone.next[head] = entry


@compiled
def list_add_tail(zone: Zone, entry: int, head: int) -> None:
    """Put ``entry`` before ``head``: it is the last of the list then."""
    list_add(zone, entry, zone.prev[head])


@compiled
def list_del(zone: Zone, entry: int) -> None:
    """Take ``entry`` off its list."""
    after, before = zone.next[entry], zone.prev[entry]
    zone.prev[after] = before
    zone.next[before] = after
    zone.next[entry] = UNLINKED
    zone.prev[entry] = UNLINKED

"""Bugs that the interface had when it was young, each of which can be had again: to see that tests would see them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KnownBugs:
    """Bugs of the interface of 2012. All are off unless asked for, and Linux has mended all of them."""

    new_page_loses_mapping: bool = False
    """Migration takes the generic path, which clears the new page's mapping: each page migrates once only."""
    isolation_needs_lru_lock: bool = False
    """The scanner isolates balloon pages only if it holds lru_lock by chance, because of other pages nearby."""
    walks_without_lock: bool = False
    """Dequeueing walks the list without pages_lock: it may take a page that has just been isolated."""
    follows_odd_mappings: bool = False
    """Pages that use their mapping for something else, anonymous or private, have it followed all the same."""
    puts_leftovers_on_lru: bool = False
    """What an aborted migration leaves isolated goes to the LRU lists instead of back to the balloon."""


NO_BUGS = KnownBugs()

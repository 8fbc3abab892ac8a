"""Which of a balloon's lines /proc/vmstat has: a counter that is configured out is absent, not zero."""

from typing import Final

from ..mm.vm_events import VmEvent
from .kconfig import Kconfig

_OF_2012: Final = frozenset(
    {VmEvent.COMPACT_BALLOON_ISOLATED, VmEvent.COMPACT_BALLOON_MIGRATED, VmEvent.COMPACT_BALLOON_RETURNED}
)
_OF_BALLOON: Final = frozenset({VmEvent.BALLOON_INFLATE, VmEvent.BALLOON_DEFLATE})
_OF_MIGRATION: Final = frozenset({VmEvent.BALLOON_MIGRATE})

BALLOON_COUNTERS: Final = _OF_2012 | _OF_BALLOON | _OF_MIGRATION
"""All that there have ever been."""


def existing_counters(kconfig: Kconfig) -> frozenset[VmEvent]:
    """Return which of ``BALLOON_COUNTERS`` a kernel has."""
    if kconfig.generation == "2012":
        return _OF_2012 if kconfig.balloon_compaction else frozenset()
    of_balloon = _OF_BALLOON if kconfig.balloon else frozenset()
    return of_balloon | _OF_MIGRATION if kconfig.balloon_compaction else of_balloon

"""When memory has run out: Linux's mm/oom_kill.c.

Rules of this file:

* Those who registered a notifier are asked first; if they give anything, nothing is killed.
* Else the process with the most memory goes. Nothing else in the guest is touched.
"""

from typing import Final, Protocol

from ..kernel import Thread
from .mem_map import MemMap
from .vm_events import VmEvent


class Victim(Protocol):
    """A process that may be killed."""

    def resident_frames(self) -> int:
        """Return what killing it would give."""

    def kill(self) -> None:
        """Free all its memory at once, and end it."""


class OomKiller:
    """Finds memory when an allocation that must not fail has found none."""

    def __init__(self, mm: MemMap) -> None:
        self.victims: Final[list[Victim]] = []
        self._mm: Final = mm

    def out_of_memory(self) -> Thread:
        """Ask the notifiers, one after the other; kill the largest process if none of them gave anything."""
        freed = 0
        for notifier in list(self._mm.oom_notifiers):
            freed += yield from notifier()
        if freed or not self.victims:
            return
        victim = max(self.victims, key=lambda process: process.resident_frames())
        self._mm.count_vm_event(VmEvent.OOM_KILL)
        victim.kill()

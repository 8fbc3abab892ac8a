"""Which locks a thread holds, and whether it may take another: Linux's lockdep, for the locks of ballooning.

The order (linux-mm, v12 of the balloon compaction series): balloon_lock, then a page's lock, then pages_lock. Two page
locks are held at once only while a page is migrated, and the second is taken by trylock. A trylock waits for nothing,
so the order does not bind it; a spinlock may not be held across a sleep.
"""

from collections.abc import Hashable
from enum import IntEnum
from typing import Final

from ..errors import KernelBugError, LockOrderError
from ..kernel import Kernel, Thread


class LockClass(IntEnum):
    """Kinds of locks, outermost first."""

    BALLOON_LOCK = 0
    """A mutex of the driver's: serialises requests to the host."""
    PAGE_LOCK = 1
    """PG_locked."""
    PAGES_LOCK = 2
    """A spinlock, interrupts off: the balloon's list of pages and its count of isolated ones."""


class Lockdep:
    """The locks that each of a kernel's threads holds. Every rule that is broken raises at once.

    Args:
        kernel: Says which thread runs.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel: Final = kernel
        self._held: Final[dict[Thread | None, list[tuple[LockClass, Hashable]]]] = {}
        kernel.before_sleep.append(self._check_sleep)

    def acquired(self, lock_class: LockClass, lock: Hashable = None, *, trylock: bool = False) -> None:
        """The running thread has taken a lock.

        Raises:
            LockOrderError: It holds one that must be taken later.
        """
        if not trylock:
            self.check_order(lock_class)
        self._held.setdefault(self._kernel.running, []).append((lock_class, lock))

    def check_order(self, lock_class: LockClass) -> None:
        """The running thread is about to take a lock, and to wait for it if need be.

        Raises:
            LockOrderError: It holds one that must be taken later.
        """
        held = self._held.get(self._kernel.running)
        if held and any(taken >= lock_class for taken, _ in held):
            raise LockOrderError(f"{lock_class.name} taken behind {', '.join(taken.name for taken, _ in held)}")

    def released(self, lock_class: LockClass, lock: Hashable = None) -> None:
        """The running thread has let go of a lock.

        Raises:
            KernelBugError: It did not hold it.
        """
        held = self._held.get(self._kernel.running, [])
        if (lock_class, lock) not in held:
            raise KernelBugError(f"{lock_class.name} released by a thread that does not hold it")
        held.remove((lock_class, lock))
        if not held:
            del self._held[self._kernel.running]

    def holds(self, lock_class: LockClass, lock: Hashable = None) -> bool:
        """Say whether the running thread holds a lock."""
        return (lock_class, lock) in self._held.get(self._kernel.running, ())

    def assert_held(self, lock_class: LockClass, lock: Hashable = None) -> None:
        """Demand that the running thread holds a lock.

        Raises:
            KernelBugError: It does not.
        """
        if not self.holds(lock_class, lock):
            raise KernelBugError(f"{lock_class.name} is not held where it must be")

    def _check_sleep(self) -> None:
        held = self._held.get(self._kernel.running, ())
        if any(lock_class is LockClass.PAGES_LOCK for lock_class, _ in held):
            raise LockOrderError("a thread sleeps with PAGES_LOCK, a spinlock")

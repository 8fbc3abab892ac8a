"""A spinlock of the balloon's: spin_lock_irqsave() to spin_unlock_irqrestore() as a with statement."""

from collections.abc import Hashable
from typing import Final

from ..mm.lockdep import LockClass, Lockdep


class SpinLock:
    """A pages_lock. Threads of the model change at sleeps only, so it is never contended; its rules are checked.

    Args:
        lockdep: Checks them.
        name: Two locks of the same name are the same lock.
    """

    def __init__(self, lockdep: Lockdep, name: Hashable) -> None:
        self._lockdep: Final = lockdep
        self._name: Final = name

    def __enter__(self) -> None:
        self._lockdep.acquired(LockClass.PAGES_LOCK, self._name)

    def __exit__(self, *exception: object) -> None:
        self._lockdep.released(LockClass.PAGES_LOCK, self._name)

    def assert_held(self) -> None:
        """Demand that the running thread holds it: lockdep_assert_held()."""
        self._lockdep.assert_held(LockClass.PAGES_LOCK, self._name)

"""The order in which a device uses buffers: any, or with IN_ORDER the one in which they came (2.7.9, 2.8.8)."""

from collections import deque
from typing import Final


class AnyOrder:
    """Without IN_ORDER: nothing to keep, nothing to check."""

    def taken(self, head: int) -> None:
        """A buffer was taken from the ring."""

    def untaken(self) -> None:
        """The last one was given back to it, unused."""

    def used(self, head: int) -> None:
        """A buffer is about to be used."""


class InOrder(AnyOrder):
    """With IN_ORDER a driver may take a buffer back without looking which it is: another one would be its undoing."""

    def __init__(self) -> None:
        self._heads: Final[deque[int]] = deque()

    def taken(self, head: int) -> None:
        """A buffer was taken from the ring."""
        self._heads.append(head)

    def untaken(self) -> None:
        """The last one was given back to it, unused."""
        self._heads.pop()

    def used(self, head: int) -> None:
        """A buffer is about to be used: the oldest, or the device is wrong."""
        oldest = self._heads.popleft()
        assert head == oldest, f"buffer {head} is used before {oldest}, in spite of IN_ORDER"

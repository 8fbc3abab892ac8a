"""A holder of descriptors in the test's own process, which outlives the "processes" that a test makes and ends.

It keeps what the keeper keeps: duplicates, each under a name, of one open file only the first.
"""

import asyncio
import fcntl
import os
from collections.abc import Iterable, Mapping
from typing import Final, Self

from vballoond.keeper import DescriptorStore, valid_name


class FakeHolder:
    """One process's side of it, as ``holder.Holder`` is; :meth:`successor` is that of the next process.

    ``alive`` may be set: what a process does whose holder is gone. ``stores`` and ``removals`` are what this side was
    told, in order.
    """

    capacity: Final = None
    keeper_pid: Final = None

    def __init__(self, kept: DescriptorStore | None = None) -> None:
        self.alive = True
        self.stores: Final[list[str]] = []
        self.removals: Final[list[str]] = []
        self._kept: Final = kept or DescriptorStore(1000)

    def successor(self) -> Self:
        """Cut this side off, as a process that is killed; return the next one's."""
        self.alive = False
        return type(self)(self._kept)

    @property
    def names(self) -> list[str]:
        """By which names it has descriptors."""
        return sorted(self._kept.names)

    @property
    def files(self) -> dict[str, int]:
        """Its own descriptors, by name."""
        return dict(zip(self._kept.names, self._kept.fds, strict=True))

    def replace(self, name: str, fd: int) -> None:
        """Have another open file under a name: what a stranger might have left there. ``fd`` stays the caller's."""
        self._kept.remove(name)
        self._kept.add(name, _duplicate(fd))

    def lose(self, name: str) -> None:
        """Have a descriptor no more, unasked."""
        self._kept.remove(name)

    def inherited(self) -> dict[str, int]:
        """As a process that starts now gets them."""
        return {name: _duplicate(fd) for name, fd in self.files.items()}

    async def store(self, named: Mapping[str, int]) -> None:
        assert all(map(valid_name, named))
        if self.alive:
            for name, fd in named.items():
                self.stores.append(name)
                assert self._kept.add(name, _duplicate(fd))
        await asyncio.sleep(0)

    def remove(self, names: Iterable[str]) -> None:
        if self.alive:
            for name in names:
                assert valid_name(name)
                self.removals.append(name)
                self._kept.remove(name)

    async def notify(self, **fields: str) -> None:
        pass

    async def ready(self) -> None:
        pass

    async def status(self, text: str) -> None:
        pass

    async def watchdog(self) -> None:
        pass

    def close(self) -> None:
        """Close what is kept."""
        for name in self.names:
            self._kept.remove(name)


def _duplicate(fd: int) -> int:
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)


def is_open(fd: int) -> bool:
    """Say whether this process has a descriptor of this number."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

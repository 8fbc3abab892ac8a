"""The open descriptors of one connection, by name."""

import contextlib
import os
from collections.abc import Iterable, Mapping
from typing import Final


class Descriptors:
    """Owns descriptors: each is closed when its name is dropped, given to another, or the whole is closed."""

    def __init__(self) -> None:
        self._fds: Final[dict[str, int]] = {}

    def __getitem__(self, name: str) -> int:
        return self._fds[name]

    def __len__(self) -> int:
        return len(self._fds)

    @property
    def named(self) -> Mapping[str, int]:
        """All of them."""
        return self._fds

    def get(self, name: str) -> int | None:
        """Return the descriptor of that name, if there is one."""
        return self._fds.get(name)

    def store(self, named: Mapping[str, int]) -> None:
        """Take over descriptors under their names; those that had the names are closed."""
        self.drop(named)
        self._fds.update(named)

    def drop(self, names: Iterable[str]) -> None:
        """Close the descriptors of these names, where there are any."""
        for name in names:
            if name in self._fds:
                close_quietly(self._fds.pop(name))

    def close(self) -> None:
        """Close all."""
        self.drop(list(self._fds))


def close_quietly(fd: int) -> None:
    """Close ``fd``; an error of the far end, which close can report, is not ours."""
    with contextlib.suppress(OSError):
        os.close(fd)


def close_all(fds: Iterable[int]) -> None:
    """Close each of ``fds``."""
    for fd in fds:
        close_quietly(fd)

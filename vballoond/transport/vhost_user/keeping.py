"""Having a connection outlive this process: its descriptors with the holder, its state in memory files there.

Rules of this file:

* The holder has a descriptor before the state names it, and the state names it no more before the holder lets go of it.
  So whatever a state names is there, and what no state names is a leftover.
* A holder keeps one descriptor of each open file. A second name for it is an alias, in the state alone.
* A name that the holder was given is never given again: it may still have the one before.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from ...holder.holder import Holder
from ...holder.no_holder import NoHolder
from ...keeper import same_file
from ...state.guest_file import GuestFile
from .kept import KeptConnection

STATE: Final = "state"
CONNECTION: Final = "connection"
REPLY: Final = "reply"


class Keeping:
    """Keeps one connection.

    Args:
        holder: Has the descriptors.
        prefix: With which all names of this connection begin there.
        file: Its state.
        inherited: What the holder has of it from an earlier process.
    """

    def __init__(self, holder: Holder | NoHolder, prefix: str, file: GuestFile, inherited: Iterable[str] = ()) -> None:
        self.file: Final = file
        self.names: Mapping[str, str] = {}
        self._holder: Final = holder
        self._prefix: Final = prefix
        self._count = max(map(_count_of, inherited), default=0)
        self._given: Final[set[str]] = set()
        self._due: Final[set[str]] = set()
        self._fixed: Final = frozenset(f"{prefix}{name}" for name in (STATE, CONNECTION, REPLY))

    async def store(self, named: Mapping[str, int], known: Mapping[str, int]) -> dict[str, str]:
        """Return once the holder has the descriptors ``named``; the result says by which names.

        Args:
            named: New ones.
            known: Those that this connection has so far.
        """
        held = {self.names[name]: fd for name, fd in known.items() if name in self.names}
        given: dict[str, str] = {}
        new: dict[str, int] = {}
        for name, fd in named.items():
            alias = next((stored for stored, other in (held | new).items() if same_file(fd, other)), None)
            given[name] = alias or self._new_name()
            if alias is None:
                new[given[name]] = fd
        if new:
            self._given.update(new)
            await self._holder.store(new)
        return given

    def write(self, kept: KeptConnection) -> None:
        """Write the state down, and let go of what it names no more.

        Raises:
            StateError: It is too long; what was written before stays.
        """
        named = set(kept.names.values())
        self._due.update(named)
        self.file.write(kept.to_json())
        self._let_go_of(self._due - named)
        self.names = kept.names

    def end(self) -> None:
        """Let go of everything: the connection is over."""
        # Of that first: a process that finds the connection wants its state too (``left``).
        connection = f"{self._prefix}{CONNECTION}"
        self._let_go_of([connection, *((self._fixed | self._due | self._given) - {connection})])

    def _let_go_of(self, names: Collection[str]) -> None:
        if names:
            self._holder.remove(names)
        self._due.difference_update(names)
        self._given.difference_update(names)

    def _new_name(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count}"


def _count_of(stored: str) -> int:
    _, _, count = stored.rpartition("/")
    return int(count) if count.isascii() and count.isdecimal() else 0

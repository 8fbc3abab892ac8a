"""The state of one connection: what seldom changes as a text, what changes with every request as words."""

from collections.abc import Mapping
from typing import Any, Final

from ..errors import StateError
from .live_words import LiveWords
from .sealed_file import make_sealed, map_sealed
from .slots import Slots
from .versioned import parse_versioned, versioned

_SLOTS_AT: Final = 4096
_SLOT_BYTES: Final = 1 << 16  # 128 memory regions take a quarter
_FILE_BYTES: Final = _SLOTS_AT + 2 * _SLOT_BYTES


class GuestFile:
    """Opened by its descriptor, which stays the caller's and is not needed any more afterwards.

    Raises:
        StateError: It is no such file.
    """

    def __init__(self, fd: int) -> None:
        self._mapping: Final = map_sealed(fd)
        if len(self._mapping) != _FILE_BYTES:
            raise StateError(f"a file of kept state has {len(self._mapping)} bytes, not {_FILE_BYTES}")
        memory = memoryview(self._mapping)
        self.live: Final = LiveWords(memory[:_SLOTS_AT])
        self._slots: Final = Slots(memory[_SLOTS_AT:])
        memory.release()

    def close(self) -> None:
        """Unmap the file. No ring may write there any more."""
        self.live.close()
        self._slots.close()
        self._mapping.close()

    def write(self, content: Mapping[str, Any]) -> None:
        """Replace the text by ``content``, plain JSON data.

        Raises:
            StateError: It is too long; what was there stays.
        """
        self._slots.write(versioned(content))

    def read(self) -> dict[str, Any]:
        """Return the newest content, which its writer may have meant or not: only its version was looked at.

        Raises:
            StateError: There is none that is whole, or it is of another version.
        """
        text = self._slots.read()
        if text is None:
            raise StateError("no state was kept, or it is damaged: its checksum is wrong")
        return parse_versioned(text)


def make_guest_file() -> int:
    """Return the descriptor of a new file; the caller closes it."""
    return make_sealed("vballoond-guest", _FILE_BYTES)

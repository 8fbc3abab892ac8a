"""A text that is replaced as a whole: whenever the writer dies, the text before or the new one is found.

Rules of this file:

* There are two slots. A text is written into the one that does not hold the newest, with a number one higher and a
  checksum over all. A reader takes the slot with the highest number whose checksum is right.
* A number has 63 bits at most, which nobody counts up to: a higher one is a stranger's.
"""

import zlib
from typing import Final, NamedTuple

from construct import Int32ul, Int64ul

from protocol.layout import Layout

from ..errors import StateError


class SlotHeader(NamedTuple):
    """Stands before each text. The checksum is over number, length and text."""

    number: int
    length: int
    checksum: int


_MAX_NUMBER: Final = (1 << 63) - 1
SLOT_HEADER: Final = Layout(SlotHeader, number=Int64ul, length=Int32ul, checksum=Int32ul)


class Slots:
    """Two slots in memory that outlives the process.

    Args:
        memory: Both of them, each half of it.
    """

    def __init__(self, memory: memoryview) -> None:
        half = len(memory) // 2
        self._slots: Final = (memory[:half], memory[half : 2 * half])
        self.capacity_bytes: Final = half - SLOT_HEADER.size
        contents = [_content(slot) for slot in self._slots]
        self._newest = contents.index(max(contents))
        self._number, _ = contents[self._newest]

    def close(self) -> None:
        """Let go of the memory."""
        for slot in self._slots:
            slot.release()

    def write(self, text: bytes) -> None:
        """Replace the text.

        Raises:
            StateError: It is longer than ``capacity_bytes``; the text before stays.
        """
        if len(text) > self.capacity_bytes:
            raise StateError(f"{len(text)} bytes of state, where there is room for {self.capacity_bytes}")
        number = self._number + 1
        slot = self._slots[1 - self._newest]
        # A write of the same number may have broken off here: none of its text must become whole by this header.
        slot[: SLOT_HEADER.size] = bytes(SLOT_HEADER.size)
        slot[SLOT_HEADER.size : SLOT_HEADER.size + len(text)] = text
        slot[: SLOT_HEADER.size] = SLOT_HEADER.pack(SlotHeader(number, len(text), _checksum(number, text)))
        self._number, self._newest = number, 1 - self._newest

    def read(self) -> bytes | None:
        """Return the newest text that is whole; None where there is none."""
        number, text = max(map(_content, self._slots))
        return text if number else None


def _content(slot: memoryview) -> tuple[int, bytes]:
    """Return number and text of a slot, 0 and nothing where it is not whole."""
    header = SLOT_HEADER.unpack_from(slot, 0)
    text = bytes(slot[SLOT_HEADER.size : SLOT_HEADER.size + header.length])
    damaged = len(text) < header.length or _checksum(header.number, text) != header.checksum
    if damaged or header.number > _MAX_NUMBER:
        return 0, b""
    return header.number, text


def _checksum(number: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(number.to_bytes(8, "little") + len(text).to_bytes(4, "little")))

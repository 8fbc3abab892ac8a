"""Numbers that change with every request: each is stored by one instruction, so none is ever found torn.

Rules of this file:

* The words are native and aligned (``protocol.shared_words``). Nobody else looks at them while this process lives, so
  nothing but their order counts, and a process that is killed has done its stores in their order.
* Numbers that belong together are written so that each state in between means something: see the methods.
"""

from typing import Final, NamedTuple

from construct import Int32ul, Int64ul

from protocol.balloon.config_space import BalloonConfig
from protocol.balloon.queues import MAX_QUEUES
from protocol.layout import Layout
from protocol.shared_words import words32

from ..virtqueue.state import RingState


class DeviceWords(NamedTuple):
    """What a device keeps besides its rings. ``answering`` is the checksum of the message whose answer is staged."""

    reclaimed_bytes: int
    num_pages: int
    actual: int
    free_page_hint_cmd_id: int
    poison_val: int
    answering: int
    reserved: int


class RingWords(NamedTuple):
    """A :class:`RingState` of a packed ring."""

    base: int
    publishing: int


DEVICE_WORDS: Final = Layout(
    DeviceWords,
    reclaimed_bytes=Int64ul,
    num_pages=Int32ul,
    actual=Int32ul,
    free_page_hint_cmd_id=Int32ul,
    poison_val=Int32ul,
    answering=Int32ul,
    reserved=Int32ul,
)
RING_WORDS: Final = Layout(RingWords, base=Int32ul, publishing=Int32ul)
LIVE_BYTES: Final = DEVICE_WORDS.size + MAX_QUEUES * RING_WORDS.size

_CONFIG_WORD: Final = DEVICE_WORDS.offset_of("num_pages") // 4
_ANSWERING_WORD: Final = DEVICE_WORDS.offset_of("answering") // 4


class LiveWords:
    """All of one connection's.

    Args:
        memory: ``LIVE_BYTES`` of memory that outlives the process, aligned to 8 bytes.
    """

    def __init__(self, memory: memoryview) -> None:
        self._words: Final = words32(memory[:LIVE_BYTES])
        self._longs: Final = memory[: DEVICE_WORDS.size].cast("Q")
        self._rings: Final = tuple(LiveRing(self._of_ring(index)) for index in range(MAX_QUEUES))

    def close(self) -> None:
        """Let go of the memory."""
        for ring in self._rings:
            ring.close()
        self._words.release()
        self._longs.release()

    @property
    def config(self) -> BalloonConfig:
        """The configuration space. Its fields say nothing of each other, so each is stored for itself."""
        return BalloonConfig(*self._words[_CONFIG_WORD : _CONFIG_WORD + len(BalloonConfig._fields)])

    @config.setter
    def config(self, config: BalloonConfig) -> None:
        for number, value in enumerate(config, _CONFIG_WORD):
            self._words[number] = value

    @property
    def reclaimed_bytes(self) -> int:
        """What was freed so far."""
        return self._longs[0]

    @reclaimed_bytes.setter
    def reclaimed_bytes(self, value: int) -> None:
        self._longs[0] = value

    @property
    def answering(self) -> int:
        """The checksum of the message whose answer is staged, if one is."""
        return self._words[_ANSWERING_WORD]

    @answering.setter
    def answering(self, value: int) -> None:
        self._words[_ANSWERING_WORD] = value

    def ring(self, index: int) -> "LiveRing":
        """Return the state of a ring, to be written and read back."""
        return self._rings[index]

    def _of_ring(self, index: int) -> memoryview:
        first = (DEVICE_WORDS.size + index * RING_WORDS.size) // 4
        return self._words[first : first + RING_WORDS.size // 4]


class LiveRing:
    """A packed ring's state. Implements ``virtqueue.state.RingRecord``.

    Between both stores of :meth:`published` a used buffer seems to be on its way, but not where the ring stands: that
    says that it is history (``virtqueue.packed.caught_up``).
    """

    def __init__(self, words: memoryview) -> None:
        self._words: Final = words

    def close(self) -> None:
        """Let go of the memory."""
        self._words.release()

    def publishing(self, mark: int) -> None:
        """A used buffer is about to be published, which ``mark`` tells of."""
        self._words[1] = mark

    def published(self, base: int) -> None:
        """It was; the ring stands at ``base`` now."""
        self._words[0] = base
        self._words[1] = 0

    @property
    def state(self) -> RingState:
        """What was written last. Not looked at yet: it may be anything."""
        return RingState(self._words[0], publishing=self._words[1])

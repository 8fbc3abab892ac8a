from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.balloon.queues import QueueRole
from vballoond.balloon.counters import Counters
from vballoond.balloon.device import BalloonDevice
from vballoond.balloon.effects import CompleteRequest, ConfigChanged, ReleaseFrames
from vballoond.balloon.facts import HintingStarted, HintingStopped, MemoryKnown, QueueStarted, QueueStopped, Request
from vballoond.balloon.hinting import FIRST_CMD_ID, MAX_CMD_ID, Hinting, HintingStage
from vballoond.errors import GuestError, StateError
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.virtqueue.chain import Buffer

AT = datetime(2026, 1, 1, tzinfo=UTC)
BLOCK = 1 << 22
SPACE = FrameSpace((FrameRange(0, 4096), FrameRange(8192, 4096)))


class Hinted:
    """A device with a driver that hints."""

    def __init__(self) -> None:
        self.device = BalloonDevice()
        self.device.handle(MemoryKnown(SPACE))
        self.device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=True))

    def start(self, *, acknowledge_on_stop: bool = True):
        return self.device.handle(HintingStarted(AT, acknowledge_on_stop))

    def command(self, command_id: int):
        data = command_id.to_bytes(4, "little")
        return self.device.handle(Request(QueueRole.FREE_PAGE, 5, data, AT))

    def list(self, *buffers: Buffer):
        return self.device.handle(Request(QueueRole.FREE_PAGE, 6, b"", AT, buffers))

    @property
    def config(self) -> int:
        return int.from_bytes(self.device.read_config(8, 4), "little")

    @property
    def stage(self) -> HintingStage:
        return self.device.state.hinting.stage

    @property
    def frames(self) -> int:
        return self.device.state.hinting.hinted_frames


def test_a_round_from_its_request_to_its_end() -> None:
    made = Hinted()
    assert (made.config, made.stage) == (0, HintingStage.STOPPED)
    assert made.start() == (ConfigChanged(),)
    assert (made.config, made.stage) == (2, HintingStage.REQUESTED)
    assert made.command(2) == (CompleteRequest(QueueRole.FREE_PAGE, 5),)
    assert made.stage is HintingStage.RUNNING
    assert made.list(Buffer(0, BLOCK)) == (CompleteRequest(QueueRole.FREE_PAGE, 6),)
    assert made.list(Buffer(BLOCK, BLOCK)) == (CompleteRequest(QueueRole.FREE_PAGE, 6),)
    assert made.command(0) == (ConfigChanged(), CompleteRequest(QueueRole.FREE_PAGE, 5))
    assert (made.config, made.stage, made.frames) == (1, HintingStage.DONE, 2048)


def test_the_driver_keeps_its_pages_free_until_it_is_told_if_that_is_wanted() -> None:
    made = Hinted()
    made.start(acknowledge_on_stop=False)
    made.command(2)
    assert made.command(0) == (CompleteRequest(QueueRole.FREE_PAGE, 5),)
    assert (made.config, made.stage) == (2, HintingStage.ENDED)
    assert made.device.handle(HintingStopped()) == (ConfigChanged(),)
    assert (made.config, made.stage) == (1, HintingStage.DONE)


def test_nothing_is_ever_given_back_for_a_hint() -> None:
    made = Hinted()
    made.start()
    effects = [*made.command(2), *made.list(Buffer(0, BLOCK)), *made.command(0)]
    assert not [effect for effect in effects if isinstance(effect, ReleaseFrames)]
    assert made.device.frame_map.held_frames == 0


def test_an_id_is_not_used_again() -> None:
    made = Hinted()
    seen = []
    for _ in range(5):
        made.start()
        seen.append(made.config)
    assert seen == [2, 3, 4, 5, 6]


def test_hints_under_an_earlier_id_are_ignored() -> None:
    made = Hinted()
    made.start()
    made.command(2)
    made.list(Buffer(0, BLOCK))
    made.start()
    assert made.frames == 0
    made.list(Buffer(0, BLOCK))
    made.command(0)
    made.command(2)
    assert (made.frames, made.stage, made.config) == (0, HintingStage.REQUESTED, 3)
    assert made.device.counters.stale_hints == 3
    made.command(3)
    made.list(Buffer(0, BLOCK))
    assert made.frames == 1024


@pytest.mark.parametrize("what", ["before any round", "after done"])
def test_hints_that_nobody_asked_for_are_ignored_and_come_back(what: str) -> None:
    made = Hinted()
    if what == "after done":
        made.start()
        made.device.handle(HintingStopped())
    for command_id in (0, 1, 2, 99):
        assert made.command(command_id) == (CompleteRequest(QueueRole.FREE_PAGE, 5),)
    assert made.list(Buffer(0, BLOCK)) == (CompleteRequest(QueueRole.FREE_PAGE, 6),)
    assert made.device.state.hinting.hinted_frames == 0
    assert made.device.counters.stale_hints == 5


def test_stopping_without_a_round_says_nothing() -> None:
    made = Hinted()
    assert made.device.handle(HintingStopped()) == ()
    assert made.config == 0


@pytest.mark.parametrize("data", [b"", b"\2\0\0", b"\2\0\0\0\0"])
def test_a_command_has_four_bytes(data: bytes) -> None:
    made = Hinted()
    made.start()
    before = made.device.state
    with pytest.raises(GuestError, match=f"command of {len(data)} bytes"):
        made.device.handle(Request(QueueRole.FREE_PAGE, 5, data, AT))
    assert made.device.state == before


@pytest.mark.parametrize(
    ("buffer", "frames"),
    [
        (Buffer(0, 4096), 1),
        (Buffer(1, 4096), 0),
        (Buffer(1, 8191), 1),
        (Buffer(4095 * 4096, BLOCK), 1),
        (Buffer(4096 * 4096, BLOCK), 0),
        (Buffer(8191 * 4096, 8192), 1),
        (Buffer(2**64 - 4096, 8192), 0),
        (Buffer(0, 0), 0),
    ],
)
def test_whole_frames_of_the_guest_count(buffer: Buffer, frames: int) -> None:
    made = Hinted()
    made.start()
    made.command(2)
    made.list(buffer)
    assert made.frames == frames


def test_a_driver_cannot_hint_more_than_it_has() -> None:
    made = Hinted()
    made.start()
    made.command(2)
    for _ in range(10):
        made.list(Buffer(0, 1 << 25), Buffer(0, 1 << 25))
    assert made.frames == SPACE.frames


def test_another_driver_finds_no_round_and_ids_go_on() -> None:
    made = Hinted()
    made.start()
    made.command(2)
    made.device.handle(QueueStopped(QueueRole.FREE_PAGE))
    made.device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=True))
    assert (made.config, made.stage) == (0, HintingStage.STOPPED)
    made.start()
    assert made.config == 3


def test_a_queue_that_stops_and_goes_on_keeps_its_round() -> None:
    made = Hinted()
    made.start()
    made.command(2)
    made.device.handle(QueueStopped(QueueRole.FREE_PAGE))
    made.device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=False))
    made.list(Buffer(0, BLOCK))
    assert (made.stage, made.frames) == (HintingStage.RUNNING, 1024)


def test_ids_begin_again_behind_the_last_one() -> None:
    last = Hinting(command_id=MAX_CMD_ID)
    assert last.start(AT, acknowledge_on_stop=True).command_id == FIRST_CMD_ID


COMMANDS = st.one_of(
    st.tuples(st.just("start"), st.booleans()),
    st.tuples(st.just("stop"), st.just(0)),
    st.tuples(st.just("command"), st.integers(0, 6)),
    st.tuples(st.just("list"), st.integers(0, 16383)),
    st.tuples(st.just("restart"), st.booleans()),
)


@given(st.lists(COMMANDS, max_size=40))
def test_whatever_comes_only_the_current_round_counts(steps) -> None:
    made, valid, expected = Hinted(), False, 0
    for what, value in steps:
        match what:
            case "start":
                made.start(acknowledge_on_stop=value)
                valid, expected = False, 0
            case "stop":
                made.device.handle(HintingStopped())
                valid = False
            case "command":
                if value == made.device.state.hinting.command_id and made.stage is HintingStage.REQUESTED:
                    valid = True
                elif value == 0:
                    valid = False
                made.command(value)
            case "list":
                made.list(Buffer(value * 4096, 4096))
                inside = value < 4096 or 8192 <= value < 12288
                expected += valid and inside
            case _:
                made.device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=value))
                if value:
                    valid, expected = False, 0
        assert made.frames == expected
        assert made.config == made.device.state.hinting.config_value
        assert (made.stage is HintingStage.RUNNING) == valid


def test_the_frames_are_counted_over_all_rounds() -> None:
    counters = Counters()
    running = Hinting(HintingStage.RUNNING, 7)
    for _ in range(3):
        running = running.hinted((Buffer(0, BLOCK),), SPACE, counters)
    assert counters.hinted_frames == 3072


# What somebody else wrote down.


@pytest.mark.parametrize("hinting", [Hinting(), Hinting(HintingStage.DONE, MAX_CMD_ID, hinted_frames=SPACE.frames)])
def test_a_round_that_can_be_is_let_through(hinting: Hinting) -> None:
    hinting.check(SPACE)


@pytest.mark.parametrize(
    ("hinting", "why"),
    [
        (Hinting(command_id=0), "command ID 0"),
        (Hinting(command_id=-1), "command ID -1"),
        (Hinting(command_id=MAX_CMD_ID + 1), f"command ID {MAX_CMD_ID + 1}"),
        (Hinting(hinted_frames=-1), f"-1 hinted frames, of a memory of {SPACE.frames}"),
        (Hinting(hinted_frames=SPACE.frames + 1), f"{SPACE.frames + 1} hinted frames"),
    ],
)
def test_a_round_that_never_is_so_is_refused(hinting: Hinting, why: str) -> None:
    with pytest.raises(StateError, match=why):
        hinting.check(SPACE)


@given(st.lists(COMMANDS, max_size=20))
def test_every_round_that_comes_about_can_be_gone_on_with(steps) -> None:
    made = Hinted()
    for what, value in steps:
        match what:
            case "start":
                made.start(acknowledge_on_stop=value)
            case "stop":
                made.device.handle(HintingStopped())
            case "command":
                made.command(value)
            case "list":
                made.list(Buffer(value * 4096, 1 << 24))
            case _:
                made.device.handle(QueueStarted(QueueRole.FREE_PAGE, fresh=value))
        after = BalloonDevice()
        after.restore(made.device.state, made.device.frame_map)
        assert after.state.hinting == made.device.state.hinting
        assert after.read_config(8, 4) == made.device.read_config(8, 4)

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.balloon.config_space import BALLOON_CONFIG, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, Statistic, StatisticTag
from vballoond.balloon.device import BalloonDevice, DeviceState
from vballoond.balloon.effects import CompleteRequest, ConfigChanged, ReleaseFrames
from vballoond.balloon.facts import (
    ConfigWritten,
    MemoryKnown,
    Negotiated,
    QueueStarted,
    QueueStopped,
    Request,
    StatisticsDue,
    TargetSet,
)
from vballoond.balloon.frame_map import FrameMap
from vballoond.balloon.hinting import Hinting, HintingStage
from vballoond.errors import StateError
from vballoond.memory.frames import FrameRange, FrameSpace
from vballoond.virtqueue.chain import Buffer

INFLATE, DEFLATE, STATS, FREE_PAGE, REPORTING = QueueRole
SPACE = FrameSpace((FrameRange(0, 64), FrameRange(128, 64)))
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE_O_CLOCK = datetime(2026, 1, 1, 13, tzinfo=UTC)
ALL = FrameRange(0, 1 << 32)


def pfns(*frames: int) -> bytes:
    return np.array(frames, dtype="<u4").tobytes()


def statistics(**values: int) -> bytes:
    return b"".join(STATISTIC.pack(Statistic(StatisticTag[name], value)) for name, value in values.items())


def request(role: QueueRole, head: int, data: bytes, at: datetime = NOON) -> Request:
    return Request(role, head, data, at)


@pytest.fixture
def device():
    """A device whose driver was just loaded."""
    made = BalloonDevice()
    made.handle(MemoryKnown(SPACE))
    for role in (INFLATE, DEFLATE, STATS):
        made.handle(QueueStarted(role, fresh=True))
    return made


# Inflating and deflating.


def test_inflated_frames_are_released_before_the_request_is_completed(device):
    effects = device.handle(request(INFLATE, 7, pfns(5, 3, 4, 130)))
    assert effects == (ReleaseFrames((FrameRange(3, 3), FrameRange(130, 1))), CompleteRequest(INFLATE, 7))
    assert device.frame_map.ranges(ALL) == (FrameRange(3, 3), FrameRange(130, 1))


def test_an_inflate_request_without_frames_of_the_guest_is_completed_all_the_same(device):
    assert device.handle(request(INFLATE, 1, pfns(100, 0xFFFFFFFF))) == (CompleteRequest(INFLATE, 1),)
    assert device.handle(request(INFLATE, 2, b"")) == (CompleteRequest(INFLATE, 2),)
    assert device.frame_map.held_frames == 0


def test_frames_inflated_again_are_released_again(device):
    device.handle(request(INFLATE, 0, pfns(3)))
    assert device.handle(request(INFLATE, 0, pfns(3))) == (
        ReleaseFrames((FrameRange(3, 1),)),
        CompleteRequest(INFLATE, 0),
    )
    assert device.frame_map.held_frames == 1


def test_deflating_asks_nothing_of_the_host(device):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    assert device.handle(request(DEFLATE, 9, pfns(2))) == (CompleteRequest(DEFLATE, 9),)
    assert device.frame_map.ranges(ALL) == (FrameRange(1, 1), FrameRange(3, 1))


def test_more_than_the_target_may_be_inflated(device):
    device.handle(TargetSet(1))
    device.handle(request(INFLATE, 0, pfns(1)))
    assert device.handle(request(INFLATE, 0, pfns(2)))[0] == ReleaseFrames((FrameRange(2, 1),))
    assert device.frame_map.held_frames == 2


# Reporting.


def report(head: int, *buffers: tuple[int, int]) -> Request:
    """Report free memory, each piece by its first frame and how many there are."""
    writable = tuple(Buffer(first * 4096, count * 4096) for first, count in buffers)
    return Request(REPORTING, head, b"", NOON, writable)


def test_reported_frames_are_released_before_the_request_is_completed_and_never_held(device):
    effects = device.handle(report(3, (8, 8), (128, 2)))
    assert effects == (ReleaseFrames((FrameRange(8, 8), FrameRange(128, 2))), CompleteRequest(REPORTING, 3))
    assert device.frame_map.held_frames == 0


def test_a_report_without_frames_of_the_guest_is_completed_all_the_same(device):
    assert device.handle(report(3, (64, 8))) == (CompleteRequest(REPORTING, 3),)


@pytest.mark.parametrize(
    ("features", "poison_val", "released"),
    [
        (BalloonFeature.PAGE_POISON, 0xAAAAAAAA, False),
        (BalloonFeature.PAGE_POISON, 0, True),
        (BalloonFeature(0), 0xAAAAAAAA, True),
    ],
)
def test_reported_pages_that_must_keep_their_poison_are_not_released(device, features, poison_val, released):
    device.handle(Negotiated(BalloonFeature.PAGE_REPORTING | features))
    device.handle(ConfigWritten(12, poison_val.to_bytes(4, "little")))
    effects = device.handle(report(3, (8, 8)))
    assert effects[-1] == CompleteRequest(REPORTING, 3)
    assert (ReleaseFrames((FrameRange(8, 8),)) in effects) == released


# The configuration space.


def test_the_configuration_space_is_read_in_any_piece_with_zeros_behind_it(device):
    device.handle(TargetSet(0x11223344))
    device.handle(ConfigWritten(0, BALLOON_CONFIG.pack(BalloonConfig(0, 0x55667788, 0, 0x99AABBCC))))
    whole = BALLOON_CONFIG.pack(BalloonConfig(0x11223344, 0x55667788, 0, 0x99AABBCC))

    assert device.read_config(0, 16) == whole
    assert device.read_config(0, 8) == whole[:8]
    assert device.read_config(5, 2) == whole[5:7]
    assert device.read_config(12, 8) == whole[12:] + bytes(4)
    assert device.read_config(0, 256) == whole.ljust(256, b"\0")
    assert device.read_config(252, 4) == bytes(4)
    assert device.read_config(16, 0) == b""


def test_actual_is_taken_from_a_write_of_its_four_bytes(device):
    assert device.handle(ConfigWritten(4, (1234).to_bytes(4, "little"))) == ()
    assert device.state.config.actual == 1234


def test_of_a_write_of_the_whole_region_only_the_drivers_own_fields_count(device):
    device.handle(TargetSet(100))
    device.handle(ConfigWritten(0, BALLOON_CONFIG.pack(BalloonConfig(99, 50, 77, 0xAAAAAAAA))))
    assert device.state.config == BalloonConfig(100, 50, 0, 0xAAAAAAAA)


@given(offset=st.integers(0, 20) | st.integers(0, 300), data=st.binary(max_size=40))
@example(offset=18, data=bytes(8))
def test_a_write_anywhere_changes_the_drivers_bytes_that_it_covers_and_nothing_else(offset, data):
    device = BalloonDevice()
    device.handle(TargetSet(0x01020304))
    image = bytearray(device.read_config(0, 16))
    for at in (4, 5, 6, 7, 12, 13, 14, 15):
        if offset <= at < offset + len(data):
            image[at] = data[at - offset]

    assert device.handle(ConfigWritten(offset, data)) == ()
    assert device.read_config(0, 16) == image


def test_every_write_is_counted(device):
    for _ in range(3):
        device.handle(ConfigWritten(4, bytes(4)))
    assert device.counters.config_writes == 3


# The target.


def test_a_new_target_is_announced(device):
    assert device.handle(TargetSet(512)) == (ConfigChanged(),)
    assert device.state.config.num_pages == 512
    assert device.handle(TargetSet(0)) == (ConfigChanged(),)


def test_the_target_that_it_has_already_is_not_announced_again(device):
    device.handle(TargetSet(512))
    assert device.handle(TargetSet(512)) == ()


def test_a_target_that_fills_its_field_is_kept_whole(device):
    device.handle(TargetSet(0xFFFFFFFF))
    assert device.read_config(0, 4) == b"\xff\xff\xff\xff"


# Starting and stopping.


def _inflate_some(device: BalloonDevice) -> None:
    device.handle(TargetSet(3))
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(ConfigWritten(0, BALLOON_CONFIG.pack(BalloonConfig(0, 3, 0, 0xAAAAAAAA))))
    device.handle(request(STATS, 0, statistics(FREE_MEMORY=4096)))


def test_a_fresh_start_clears_map_and_actual_and_keeps_the_target(device):
    _inflate_some(device)
    assert device.handle(QueueStarted(INFLATE, fresh=True)) == ()

    assert device.frame_map.held_frames == 0
    assert device.frame_map.ranges(ALL) == ()
    assert device.frame_map.space == SPACE
    assert device.state.config == BalloonConfig(num_pages=3, actual=0, poison_val=0xAAAAAAAA)
    assert device.state.statistics is None


def test_a_start_that_is_not_fresh_keeps_everything(device):
    _inflate_some(device)
    before = device.state
    for role in (INFLATE, DEFLATE, STATS):
        assert device.handle(QueueStarted(role, fresh=False)) == ()

    assert device.state == before
    assert device.frame_map.ranges(ALL) == (FrameRange(1, 3),)


@pytest.mark.parametrize("role", [DEFLATE, STATS])
def test_only_a_fresh_inflateq_means_a_new_driver(device, role):
    _inflate_some(device)
    device.handle(QueueStarted(role, fresh=True))
    assert device.frame_map.held_frames == device.state.config.actual == 3
    assert device.state.statistics is not None


def test_stopping_keeps_what_is_inflated(device):
    _inflate_some(device)
    for role in (INFLATE, DEFLATE, STATS):
        assert device.handle(QueueStopped(role)) == ()
    assert device.state.running == frozenset()
    assert device.frame_map.held_frames == device.state.config.actual == device.state.config.num_pages == 3


def test_it_knows_which_queues_run(device):
    assert device.state.running == {INFLATE, DEFLATE, STATS}
    device.handle(QueueStopped(DEFLATE))
    assert device.state.running == {INFLATE, STATS}
    device.handle(QueueStopped(DEFLATE))
    device.handle(QueueStarted(DEFLATE, fresh=True))
    assert device.state.running == {INFLATE, DEFLATE, STATS}


def test_frames_that_stay_in_memory_stay_held_when_it_changes(device):
    device.handle(request(INFLATE, 0, pfns(0, 1, 63, 128)))
    assert device.handle(MemoryKnown(FrameSpace((FrameRange(1, 150),)))) == ()
    assert device.frame_map.ranges(ALL) == (FrameRange(1, 1), FrameRange(63, 1), FrameRange(128, 1))


def test_without_memory_nothing_is_held_and_nothing_is_released(device):
    device.handle(request(INFLATE, 0, pfns(1)))
    device.handle(MemoryKnown(FrameSpace()))
    assert device.frame_map.held_frames == 0
    assert device.handle(request(INFLATE, 5, pfns(0, 1, 0xFFFFFFFF))) == (CompleteRequest(INFLATE, 5),)
    assert device.handle(request(DEFLATE, 6, pfns(0, 1, 0xFFFFFFFF))) == (CompleteRequest(DEFLATE, 6),)


# Statistics.


def test_a_statistics_buffer_is_held_until_newer_ones_are_due(device):
    assert device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096))) == ()
    assert device.state.held_statistics_head == 4
    assert device.handle(StatisticsDue()) == (CompleteRequest(STATS, 4),)
    assert device.state.held_statistics_head is None
    assert device.handle(StatisticsDue()) == ()


def test_statistics_come_with_the_time_of_their_arrival_and_replace_the_earlier_ones(device):
    device.handle(request(STATS, 0, statistics(FREE_MEMORY=1, SWAP_IN=2), NOON))
    device.handle(StatisticsDue())
    assert device.state.statistics.values == {StatisticTag.FREE_MEMORY: 1, StatisticTag.SWAP_IN: 2}
    device.handle(request(STATS, 0, statistics(FREE_MEMORY=3), ONE_O_CLOCK))
    assert device.state.statistics.values == {StatisticTag.FREE_MEMORY: 3}
    assert device.state.statistics.arrived_at == ONE_O_CLOCK
    assert device.counters.statistics_updates == 2


def test_a_driver_that_offers_a_second_statistics_buffer_gets_the_first_one_back(device):
    device.handle(request(STATS, 1, statistics(FREE_MEMORY=1)))
    assert device.handle(request(STATS, 2, statistics(FREE_MEMORY=2))) == (CompleteRequest(STATS, 1),)
    assert device.handle(StatisticsDue()) == (CompleteRequest(STATS, 2),)


def test_the_buffer_with_head_zero_is_held_as_any_other(device):
    device.handle(request(STATS, 0, b""))
    assert device.handle(request(STATS, 1, b"")) == (CompleteRequest(STATS, 0),)


def _stop_and_go_on(device: BalloonDevice, *, fresh: bool = False) -> None:
    for role in (INFLATE, DEFLATE, STATS):
        device.handle(QueueStopped(role))
    for role in (INFLATE, DEFLATE, STATS):
        device.handle(QueueStarted(role, fresh=fresh))


def test_a_buffer_that_comes_again_after_a_stop_is_no_news(device):
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), NOON))
    _stop_and_go_on(device)
    assert device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), ONE_O_CLOCK)) == ()
    assert device.state.statistics.arrived_at == NOON
    assert device.counters.statistics_updates == 1
    assert device.handle(StatisticsDue()) == (CompleteRequest(STATS, 4),)


def test_the_same_buffer_is_news_when_it_was_returned_in_between(device):
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), NOON))
    _stop_and_go_on(device)
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), ONE_O_CLOCK))
    device.handle(StatisticsDue())
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), ONE_O_CLOCK))
    assert device.state.statistics.arrived_at == ONE_O_CLOCK
    assert device.counters.statistics_updates == 2


@pytest.mark.parametrize(("head", "free"), [(5, 4096), (4, 8192)])
def test_another_buffer_or_other_statistics_after_a_stop_are_news(device, head, free):
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), NOON))
    _stop_and_go_on(device)
    device.handle(request(STATS, head, statistics(FREE_MEMORY=free), ONE_O_CLOCK))
    assert device.state.statistics.arrived_at == ONE_O_CLOCK
    assert device.counters.statistics_updates == 2


def test_the_buffer_of_a_new_driver_is_news_though_it_looks_the_same(device):
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), NOON))
    _stop_and_go_on(device, fresh=True)
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096), ONE_O_CLOCK))
    assert device.state.statistics.arrived_at == ONE_O_CLOCK


def test_a_stop_of_the_statsq_gives_its_held_buffer_back_to_the_ring(device):
    device.handle(request(STATS, 4, statistics(FREE_MEMORY=4096)))
    assert device.handle(QueueStopped(STATS)) == ()
    assert device.state.held_statistics_head is None
    assert device.handle(StatisticsDue()) == ()
    assert device.state.statistics.values == {StatisticTag.FREE_MEMORY: 4096}


@pytest.mark.parametrize("role", [INFLATE, DEFLATE])
def test_a_stop_of_another_queue_leaves_the_statistics_buffer_held(device, role):
    device.handle(request(STATS, 4, b""))
    device.handle(QueueStopped(role))
    assert device.handle(StatisticsDue()) == (CompleteRequest(STATS, 4),)


def test_a_device_begins_without_anything():
    device = BalloonDevice()
    assert device.read_config(0, 16) == bytes(16)
    assert device.frame_map.held_frames == 0
    assert device.state.running == frozenset()
    assert device.handle(StatisticsDue()) == ()


# Going on from another device.


def test_a_device_goes_on_from_what_its_driver_and_operator_wrote(device):
    device.handle(TargetSet(40))
    device.handle(ConfigWritten(4, (7).to_bytes(4, "little")))
    device.handle(request(INFLATE, 0, pfns(3, 4, 130)))
    device.handle(request(STATS, 5, statistics(FREE_MEMORY=1)))

    after = BalloonDevice()
    after.restore(device.state, device.frame_map)

    assert after.state == DeviceState(device.state.config, hinting=device.state.hinting)
    assert (after.state.config.num_pages, after.state.config.actual) == (40, 7)
    assert after.frame_map.ranges(ALL) == (FrameRange(3, 2), FrameRange(130, 1))
    assert after.handle(request(DEFLATE, 1, pfns(3))) == (CompleteRequest(DEFLATE, 1),)
    assert after.frame_map.held_frames == 2


def test_the_command_id_is_that_of_the_round_whatever_else_was_written():
    after = BalloonDevice()
    hinting = Hinting(HintingStage.RUNNING, 9)
    after.restore(DeviceState(BalloonConfig(free_page_hint_cmd_id=77), hinting=hinting), FrameMap(SPACE))
    assert after.read_config(8, 4) == (9).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("state", "why"),
    [
        (DeviceState(hinting=Hinting(command_id=0)), "command ID 0"),
        (DeviceState(BalloonConfig(num_pages=1 << 32)), "num_pages of 4294967296"),
        (DeviceState(BalloonConfig(actual=-1)), "actual of -1"),
        (DeviceState(BalloonConfig(poison_val=1 << 40)), "poison_val of"),
    ],
)
def test_a_state_that_no_device_has_is_refused_and_nothing_changes(device, state, why):
    device.handle(request(INFLATE, 0, pfns(3)))
    before = (device.state, device.frame_map)
    with pytest.raises(StateError, match=why):
        device.restore(state, FrameMap())
    assert (device.state, device.frame_map) == before


def test_which_frames_are_held_is_noted_from_then_on(device):
    device.handle(request(INFLATE, 0, pfns(3, 130)))
    noted = np.zeros(SPACE.frames, dtype=np.uint8)
    device.note_held_in(noted)
    device.handle(request(INFLATE, 0, pfns(4)))
    device.handle(request(DEFLATE, 0, pfns(130)))
    assert FrameMap(SPACE, noted).ranges(ALL) == (FrameRange(3, 2),)
    device.handle(QueueStarted(INFLATE, fresh=True))
    assert not noted.any()


# Pages of the balloon that move.


def moved(device: BalloonDevice) -> list[tuple[int, int]]:
    assert device.counters.migrated_frames == len(device.migrations.newest)
    return [(move.from_pfn, move.to_pfn) for move in device.migrations.newest]


def test_an_inflate_and_a_deflate_of_a_frame_each_are_a_migration(device):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    before = device.frame_map.version
    device.handle(request(INFLATE, 0, pfns(130)))
    device.handle(request(DEFLATE, 0, pfns(2)))
    assert moved(device) == [(2, 130)]
    assert device.migrations.since(before)[0].version == device.frame_map.version
    assert (device.counters.inflated_frames, device.counters.deflated_frames) == (4, 1)


@pytest.mark.parametrize(
    "between",
    [
        ConfigWritten(4, (1).to_bytes(4, "little")),
        request(INFLATE, 0, pfns(7, 8)),
        request(DEFLATE, 0, pfns(3, 1)),
        QueueStopped(DEFLATE),
        MemoryKnown(FrameSpace((FrameRange(0, 140),))),
    ],
)
def test_whatever_comes_between_makes_them_two_requests(device, between):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(request(INFLATE, 0, pfns(130)))
    device.handle(between)
    device.handle(request(DEFLATE, 0, pfns(2)))
    assert moved(device) == []


@pytest.mark.parametrize("between", [TargetSet(9), StatisticsDue(), Request(REPORTING, 0, b"", NOON)])
def test_what_is_no_step_of_the_driver_with_its_pages_does_not_part_them(device, between):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(request(INFLATE, 0, pfns(130)))
    device.handle(between)
    device.handle(request(DEFLATE, 0, pfns(2)))
    assert moved(device) == [(2, 130)]


@pytest.mark.parametrize("pair", [(130, 63), (1, 2), (100, 2), (130, 100)])
def test_only_frames_that_came_and_went_have_moved(device, pair):
    """Of a frame that was held, or was not, or is not the guest's, nothing is said."""
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(request(INFLATE, 0, pfns(pair[0])))
    device.handle(request(DEFLATE, 0, pfns(pair[1])))
    assert moved(device) == []


def test_a_new_driver_has_moved_nothing(device):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(request(INFLATE, 0, pfns(130)))
    device.handle(request(DEFLATE, 0, pfns(2)))
    device.handle(QueueStarted(INFLATE, fresh=True))
    assert list(device.migrations.newest) == []
    assert device.counters.migrated_frames == 1


# Whoever watches the map.


class Watcher:
    def __init__(self, device: BalloonDevice) -> None:
        self.calls = 0
        self.device = device
        device.watch_map(self.changed)

    def changed(self) -> None:
        self.calls += 1


@pytest.mark.parametrize(
    "fact",
    [
        request(INFLATE, 0, pfns(5)),
        request(DEFLATE, 0, pfns(2)),
        QueueStarted(INFLATE, fresh=True),
        MemoryKnown(FrameSpace((FrameRange(0, 4),))),
    ],
)
def test_a_watcher_is_called_once_at_the_next_change(device, fact):
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    watcher = Watcher(device)
    device.handle(fact)
    assert watcher.calls == 1
    device.handle(request(INFLATE, 0, pfns(1, 2, 3)))
    device.handle(request(DEFLATE, 0, pfns(1, 2, 3)))
    assert watcher.calls == 1
    device.watch_map(watcher.changed)
    device.handle(request(INFLATE, 0, pfns(1, 2)))
    assert watcher.calls == 2


def test_a_map_that_others_note_or_left_behind_is_another_one(device):
    watcher = Watcher(device)
    before = device.frame_map.version
    device.note_held_in(np.zeros(SPACE.frames, dtype=np.uint8))
    assert watcher.calls == 1
    assert device.frame_map.born > before
    device.watch_map(watcher.changed)
    device.restore(DeviceState(), FrameMap(SPACE))
    assert watcher.calls == 2


def test_what_changes_nothing_calls_nobody_nor_does_who_watches_no_more(device):
    device.handle(request(INFLATE, 0, pfns(1)))
    watcher = Watcher(device)
    device.handle(request(INFLATE, 0, pfns(1)))
    device.handle(request(DEFLATE, 0, pfns(2)))
    device.handle(TargetSet(5))
    device.unwatch_map(watcher.changed)
    device.handle(request(INFLATE, 0, pfns(2)))
    assert watcher.calls == 0

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import vhost_user_settings
from support.fake_device import OFFERED, Bench, bench
from support.plain_device import NOON, PlainDevice, entries
from support.properties import examples

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.balloon.statistics import STATISTIC, StatisticTag
from protocol.split_ring import DESCRIPTOR, Descriptor
from protocol.virtio import RingFeature
from vballoond.balloon.effects import CompleteRequest
from vballoond.balloon.statistics import Statistics
from vballoond.transport.features import offered_features

WITH_STATS = RingFeature.VERSION_1 | BalloonFeature.STATS_VQ
every_kernel = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])


def taken(data: bytes) -> dict[StatisticTag, int]:
    """Return what the device made of a buffer, the first of its driver."""
    device = PlainDevice(WITH_STATS)
    assert device.request(QueueRole.STATS, data) == ()
    return device.state.statistics.values


def sent(made: Bench) -> Descriptor:
    """Return the descriptor of the buffer that is available; there must be one, of one descriptor."""
    ring = made.driver._queues._rings[QueueRole.STATS]
    ((index,),) = ring._in_flight.values()
    return DESCRIPTOR.unpack_from(ring._table, index * DESCRIPTOR.size)


def content(made: Bench) -> list[tuple[int, int]]:
    """Return what stands in the buffer that is available."""
    with made.guest.ram.view(sent(made).addr, sent(made).len) as view:
        return list(STATISTIC.iter_unpack(bytes(view)))


# The device.


@pytest.mark.clause(8, "5.5.6.3.2", "MUST ignore statistics of unknown tags")
@pytest.mark.parametrize("tag", [16, 17, 0x100, 0xFFFF])
def test_an_unknown_tag_changes_nothing(tag):
    known = (StatisticTag.FREE_MEMORY, 4096), (StatisticTag.SWAP_IN, 1)
    assert taken(entries(known[0], (tag, 5), known[1])) == dict(known)


@pytest.mark.clause(9, "5.5.6.3.2", "MUST accept statistics in any order")
@examples(20)
@given(order=st.permutations(list(StatisticTag)))
def test_the_order_of_statistics_means_nothing(order):
    assert taken(entries(*((tag, 100 + tag) for tag in order))) == {tag: 100 + tag for tag in StatisticTag}


@pytest.mark.clause(10, "5.5.6.3.3", "a legacy driver's statistics MUST be taken in its own byte order", "legacy")
def test_the_one_byte_order_there_is_is_the_guests_own():
    assert offered_features(vhost_user_settings()) & RingFeature.VERSION_1
    assert sys.byteorder == "little"
    assert taken(bytes([4, 0, 1, 2, 0, 0, 0, 0, 0, 0])) == {StatisticTag.FREE_MEMORY: 0x201}


@pytest.mark.clause(11, "5.5.6.3.3", "the first buffer of a legacy driver SHOULD be ignored", "legacy")
def test_version_1_is_offered_and_the_first_buffer_counts():
    assert offered_features(vhost_user_settings()) & RingFeature.VERSION_1
    device = PlainDevice(BalloonFeature.STATS_VQ)
    device.request(QueueRole.STATS, entries((StatisticTag.FREE_MEMORY, 1)))
    assert device.state.statistics == Statistics({StatisticTag.FREE_MEMORY: 1}, NOON)


@pytest.mark.clause(43, "5.5.6.3.1", "(the device takes a buffer of any length)")
@pytest.mark.parametrize("tail", range(10))
def test_a_tail_shorter_than_an_entry_is_left_out(tail):
    assert taken(entries((StatisticTag.FREE_MEMORY, 4096)) + b"\1" * tail) == {StatisticTag.FREE_MEMORY: 4096}


@pytest.mark.clause(39, "5.5.6.3.1", "(the device gives back the first of two)")
def test_the_device_holds_one_buffer_at_a_time():
    device = PlainDevice(WITH_STATS)
    device.request(QueueRole.STATS, b"")
    (given_back,) = device.request(QueueRole.STATS, b"")
    assert isinstance(given_back, CompleteRequest)


# The driver.


@every_kernel
@pytest.mark.clause(39, "5.5.6.3.1", "MUST have one statistics buffer available at most")
def test_there_is_one_buffer_however_often_statistics_are_asked_for(interface):
    with bench(interface=interface) as made:
        for _ in range(5):
            assert sent(made)
            made.device.ask_for_statistics()
            made.settle()


@every_kernel
@pytest.mark.clause(40, "5.5.6.3.1", "MUST make a statistics buffer available once it is initialised")
def test_the_device_has_statistics_as_soon_as_there_is_a_driver(interface):
    with bench(interface=interface) as made:
        assert len(made.seen("statsq")) == 1
        assert made.device.order("statsq", "driver_ok") == ["driver_ok", "statsq"]


@pytest.mark.clause(41, "5.5.6.3.1", "MUST make a buffer available again when the device has used it")
@pytest.mark.parametrize("offered", [OFFERED, OFFERED & ~RingFeature.EVENT_IDX])
def test_a_used_buffer_comes_back(offered):
    with bench(offered=offered) as made:
        for rounds in range(2, 5):
            made.device.ask_for_statistics()
            made.settle()
            assert len(made.seen("statsq")) == rounds


@every_kernel
@pytest.mark.clause(42, "5.5.6.3.1", "MUST write the buffer anew before making it available")
def test_nothing_of_what_stood_in_the_buffer_is_left(interface):
    with bench(interface=interface) as made:
        first = content(made)
        made.guest.ram.write(sent(made).addr, b"\xff" * sent(made).len)
        made.device.ask_for_statistics()
        made.settle()
        assert content(made) == first


@every_kernel
@pytest.mark.clause(43, "5.5.6.3.1", "MUST make the buffer a multiple of 6 bytes long", "not met")
def test_the_buffer_is_whole_entries_of_10_bytes(interface):
    with bench(interface=interface) as made:
        assert sent(made).len == 10 * len(made.seen("statsq")[0])


@pytest.mark.clause(44, "5.5.6.3.1", "MAY list statistics in any order", "used")
def test_the_newest_kernel_lists_tags_out_of_their_order():
    with bench(interface="2026") as made:
        tags = [tag for tag, _ in content(made)]
        assert tags != sorted(tags)


@every_kernel
@pytest.mark.clause(45, "5.5.6.3.1", "MAY leave statistics out", "used")
def test_a_kernel_without_hugetlb_has_no_statistics_of_it(interface):
    with bench(interface=interface) as made:
        assert not {tag for tag, _ in content(made)} & {8, 9}


@every_kernel
@pytest.mark.clause(46, "5.5.6.3.1", "MUST list the same statistics always")
def test_every_buffer_has_the_same_tags(interface):
    with bench(interface=interface) as made:
        for frames in (200, 0, 100):
            made.resize(frames)
            made.device.ask_for_statistics()
            made.settle()
        assert len({tuple(seen) for seen in made.seen("statsq")}) == 1
        assert len(made.seen("statsq")) == 4

import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, bench

from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount
from protocol.balloon.features import BalloonFeature
from protocol.balloon.statistics import StatisticTag
from protocol.virtio import RingFeature

every_ring = pytest.mark.parametrize(
    "offered", [OFFERED & ~RingFeature.EVENT_IDX, OFFERED], ids=["flags", "event index"]
)


def frames(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


@every_ring
def test_statistics_come_back_newer_as_often_as_they_are_asked_for(offered):
    with bench(offered=offered) as made:
        for faults in range(1, 9):
            made.guest.mm.events[VmEvent.PGMAJFAULT] = faults
            made.device.ask_for_statistics()
            made.settle()
            assert [seen[StatisticTag.MAJOR_FAULTS] for seen in made.seen("statsq")] == frames(0, faults + 1)


def test_statistics_say_how_memory_is_used_in_bytes():
    """D8: the values of Linux 6.1."""
    with bench(1000) as made:
        made.guest.use_memory(100, 50)
        made.guest.mm.events[VmEvent.PSWPIN] = 1
        made.guest.mm.events[VmEvent.PSWPOUT] = 2
        made.guest.mm.events[VmEvent.PGFAULT] = 3
        made.resize(200)
        made.device.ask_for_statistics()
        made.settle()
        managed = 1000 - FIRST_FREE_PFN - 200
        free = managed - 100
        low, high = (int(made.guest.zone.counts[mark]) for mark in (ZoneCount.WMARK_LOW, ZoneCount.WMARK_HIGH))
        assert made.seen("statsq")[-1] == {
            StatisticTag.SWAP_IN: 4096,
            StatisticTag.SWAP_OUT: 8192,
            StatisticTag.MAJOR_FAULTS: 0,
            StatisticTag.MINOR_FAULTS: 3,
            StatisticTag.FREE_MEMORY: free * 4096,
            StatisticTag.TOTAL_MEMORY: managed * 4096,
            StatisticTag.AVAILABLE_MEMORY: (free - high + 100 - min(50, low)) * 4096,
            StatisticTag.DISK_CACHES: 100 * 4096,
        }


@pytest.mark.parametrize(
    ("interface", "tags"),
    [
        ("2012", [0, 1, 2, 3, 4, 5]),
        ("2022", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("2026", [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 4, 5, 6, 7]),
    ],
)
def test_every_kernel_has_its_tags_and_their_order(interface, tags):
    """D8; clause 46: the same subset always."""
    with bench(interface=interface) as made:
        made.device.ask_for_statistics()
        made.settle()
        assert [list(seen) for seen in made.seen("statsq")] == [tags, tags]


@pytest.mark.parametrize(
    ("event", "tag", "unit"),
    [
        (VmEvent.OOM_KILL, StatisticTag.OOM_KILL, 1),
        (VmEvent.ALLOCSTALL, StatisticTag.ALLOC_STALL, 1),
        (VmEvent.PGSCAN_KSWAPD, StatisticTag.ASYNC_SCAN, 4096),
        (VmEvent.PGSCAN_DIRECT, StatisticTag.DIRECT_SCAN, 4096),
        (VmEvent.PGSTEAL_KSWAPD, StatisticTag.ASYNC_RECLAIM, 4096),
        (VmEvent.PGSTEAL_DIRECT, StatisticTag.DIRECT_RECLAIM, 4096),
    ],
)
def test_the_newest_kernel_says_what_reclaim_did(event, tag, unit):
    with bench(interface="2026") as made:
        made.guest.mm.events[event] = 7
        made.device.ask_for_statistics()
        made.settle()
        said = made.seen("statsq")[-1]
        assert [said[of_reclaim] for of_reclaim in range(10, 16)].count(0) == 5
        assert said[tag] == 7 * unit


def test_with_deflate_on_oom_ballooned_memory_counts_as_the_guests():
    """D9."""
    with bench(1000, offered=OFFERED | BalloonFeature.DEFLATE_ON_OOM) as made:
        made.resize(200)
        made.resize(100)
        assert made.guest.mm.counts[ZoneCount.MANAGED] == 1000 - FIRST_FREE_PFN


def test_without_a_statsq_there_are_none():
    with bench(offered=OFFERED & ~BalloonFeature.STATS_VQ) as made:
        made.resize(10)
        assert made.seen("statsq") == []


def test_statistics_are_answered_while_an_inflate_request_waits():
    with bench() as made:
        made.device.answers = False
        made.resize(10)
        made.device.ask_for_statistics()
        made.settle()
        assert len(made.seen("statsq")) == 2
        assert made.seen("actual") == []

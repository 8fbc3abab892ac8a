import pytest
from support.fake_device import OFFERED, Bench, bench

from guest_driver.mm.page_flags import PageFlag
from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature

FRAMES = 96 * 1024
REPORTING = OFFERED | BalloonFeature.PAGE_REPORTING


def reported(made: Bench) -> list[tuple[int, int]]:
    return [block for report in made.seen("reporting_vq") for block in report]


@pytest.mark.parametrize("offered", [REPORTING & ~RingFeature.EVENT_IDX, REPORTING], ids=["flags", "event index"])
def test_free_memory_is_reported_two_seconds_after_loading_in_buffers_of_at_most_32_blocks(offered):
    """D13."""
    with bench(FRAMES, offered=offered) as made:
        free = made.guest.counts.free
        made.run_for(1.9)
        assert reported(made) == []
        made.run_for(0.2)
        assert reported(made)
        assert all(len(report) <= 32 for report in made.seen("reporting_vq"))
        made.run_for(60)
        assert free - sum(count for _, count in reported(made)) < 1024
        assert made.guest.counts.free == free


def test_without_the_feature_nothing_is_reported():
    with bench(FRAMES) as made:
        made.run_for(60)
        assert reported(made) == []


def test_what_the_host_knows_is_not_reported_again_until_it_was_used():
    with bench(FRAMES, offered=REPORTING) as made:
        made.run_for(60)
        made.device.log.clear()
        made.run_for(60)
        assert reported(made) == []
        made.resize(4096)
        made.resize(0)
        made.run_for(60)
        assert 4096 <= sum(count for _, count in reported(made)) < 3 * 4096


def test_blocks_are_nobodys_until_the_host_has_answered():
    """Clause 62."""
    with bench(FRAMES, offered=REPORTING) as made:
        free = made.guest.counts.free
        made.device.answers = False
        made.run_for(10)
        (report,) = made.seen("reporting_vq")
        assert made.guest.counts.free == free - sum(count for _, count in report)
        assert all(made.guest.mm.flags[page] == PageFlag.HEAD for page, _ in report)
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.guest.counts.free == free
        assert all(made.guest.mm.flags[page] == PageFlag.BUDDY | PageFlag.REPORTED for page, _ in report)


def test_removing_waits_for_the_report_that_is_under_way():
    with bench(FRAMES, offered=REPORTING) as made:
        made.device.answers = False
        made.run_for(10)
        made.start(made.driver.remove())
        made.run_for(10)
        assert made.device.order("reset") == []
        made.device.answers = True
        made.device.answer()
        made.run_for(10)
        assert made.device.order("reset") == ["reset"]
        assert len(made.seen("reporting_vq")) < 40
        assert made.settle() is None


def test_a_frozen_guest_reports_nothing_and_a_restored_one_what_was_freed_since():
    with bench(FRAMES, offered=REPORTING) as made:
        made.resize(8192)
        made.run_for(60)
        made.start(made.driver.freeze())
        made.run_for(0.01)
        made.device.log.clear()
        made.run_for(60)
        assert made.device.log == []
        made.device.set_target(0)
        made.driver.restore()
        made.run_for(60)
        assert sum(count for _, count in reported(made)) >= 8192


def test_freezing_waits_for_the_report_that_is_under_way():
    with bench(FRAMES, offered=REPORTING) as made:
        made.device.answers = False
        made.run_for(2)
        made.start(made.driver.freeze())
        made.run_for(10)
        assert made.device.order("reset") == []
        made.device.answer()
        made.settle()
        made.device.answers = True
        made.device.answer()
        made.run_for(10)
        assert made.device.order("reset") == ["reset"]


def test_inflating_goes_on_while_a_report_waits_and_the_other_way_round():
    with bench(FRAMES, offered=REPORTING) as made:
        made.device.answers = False
        made.run_for(2)
        assert len(made.seen("reporting_vq")) == 1
        made.resize(10)
        assert len(made.seen("inflateq")) == 1

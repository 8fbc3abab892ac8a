from support.fake_device import OFFERED, bench

from protocol.balloon.features import BalloonFeature

WITH_OOM = OFFERED | BalloonFeature.DEFLATE_ON_OOM


def test_without_the_feature_nobody_asks_the_balloon():
    with bench() as made:
        assert made.guest.mm.oom_notifiers == []


def test_256_pages_come_back_and_actual_is_written():
    """D9."""
    with bench(offered=WITH_OOM) as made:
        made.resize(600)
        free = made.guest.counts.free
        made.device.log.clear()
        (notifier,) = made.guest.mm.oom_notifiers
        assert made.start(notifier()) == [256]
        assert made.device.order("deflateq", "actual") == ["deflateq", "actual"]
        assert made.seen("actual") == [344]
        assert made.guest.counts.free == free + 256


def test_a_small_balloon_gives_what_it_has_and_an_empty_one_nothing():
    with bench(offered=WITH_OOM) as made:
        made.resize(10)
        (notifier,) = made.guest.mm.oom_notifiers
        assert made.start(notifier()) == [10]
        assert made.start(notifier()) == [0]
        assert made.seen("actual") == [10, 0, 0]
        assert len(made.seen("deflateq")) == 1


def test_pages_that_came_back_are_taken_again_when_the_device_says_something_next():
    """D9: the target stands."""
    with bench(offered=WITH_OOM) as made:
        made.resize(300)
        (notifier,) = made.guest.mm.oom_notifiers
        made.start(notifier())
        made.run_for(10)
        assert made.driver.num_pages == 44
        made.driver.config_interrupt()
        made.settle()
        assert made.driver.num_pages == 300


def test_who_wants_memory_waits_for_the_host():
    with bench(offered=WITH_OOM) as made:
        made.resize(300)
        made.device.answers = False
        (notifier,) = made.guest.mm.oom_notifiers
        freed = made.start(notifier())
        assert freed == []
        made.device.answer()
        made.settle()
        assert freed == [256]

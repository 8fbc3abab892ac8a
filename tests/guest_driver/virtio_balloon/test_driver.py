import errno
from dataclasses import replace

import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, Bench, bench

from guest_driver.virtio_balloon import DriverOptions, ProbeError
from guest_driver.virtio_balloon.features import validated
from protocol.balloon.features import BalloonFeature
from protocol.virtio import RingFeature

_ALWAYS = int(RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ)
_SINCE_2012 = int(BalloonFeature.DEFLATE_ON_OOM | BalloonFeature.FREE_PAGE_HINT | BalloonFeature.PAGE_REPORTING)
ALL_FEATURES = sum(BalloonFeature) | sum(RingFeature)

EVERYTHING = ALL_FEATURES & ~int(RingFeature.RING_PACKED | RingFeature.IN_ORDER)

every_interface = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
every_ring = pytest.mark.parametrize(
    "offered", [OFFERED & ~RingFeature.EVENT_IDX, OFFERED], ids=["flags", "event index"]
)


@pytest.mark.parametrize(
    ("interface", "taken"),
    [
        ("2012", _ALWAYS),
        ("2022", _ALWAYS | _SINCE_2012),
        ("2026", _ALWAYS | _SINCE_2012 | RingFeature.IN_ORDER),
    ],
)
def test_of_the_features_on_offer_it_takes_those_that_it_knows(interface, taken):
    assert validated(ALL_FEATURES, DriverOptions(interface)) == taken | RingFeature.RING_PACKED
    with bench(
        offered=ALL_FEATURES & ~int(RingFeature.RING_PACKED | RingFeature.IN_ORDER), interface=interface
    ) as made:
        assert made.driver.features == made.device.accepted == taken & ~int(RingFeature.IN_ORDER)


@pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
@pytest.mark.parametrize("never", [RingFeature.INDIRECT_DESC, RingFeature.ACCESS_PLATFORM])
def test_what_validate_clears_is_never_taken(interface, never):
    """D12."""
    assert not validated(never, DriverOptions(interface))


def test_it_takes_no_feature_that_is_not_on_offer():
    with bench(offered=RingFeature.VERSION_1) as made:
        assert made.driver.features == RingFeature.VERSION_1
        assert made.seen("set_up_queue") == [0, 1]


def test_it_sets_up_its_queues_after_the_features_and_before_driver_ok():
    with bench() as made:
        assert made.seen("set_up_queue") == [0, 1, 2]
        assert made.device.order("accept_features", "set_up_queue", "driver_ok") == [
            "accept_features",
            *["set_up_queue"] * 3,
            "driver_ok",
        ]


@every_ring
def test_the_statsq_is_primed_and_kicked_before_driver_ok(offered):
    with bench(offered=offered) as made:
        assert made.device.order("kick", "driver_ok", "statsq") == ["kick", "driver_ok", "statsq"]
        assert made.seen("kick") == [2]


def test_without_a_target_nothing_is_asked_or_written():
    with bench() as made:
        assert made.device.order("inflateq", "deflateq", "actual") == []


def test_a_target_that_is_there_already_is_followed():
    with bench(num_pages=10) as made:
        assert made.seen("actual") == [10]
        assert made.driver.num_pages == 10


# Unloading.


def _remove(made: Bench) -> None:
    made.device.log.clear()
    made.guest.kernel.spawn(made.driver.remove())
    made.run_for(1)


@every_ring
def test_removing_gives_every_page_back_then_says_so_then_resets(offered):
    with bench(offered=offered) as made:
        free = made.guest.counts.free
        made.resize(600)
        _remove(made)
        assert [len(pfns) for pfns in made.seen("deflateq")] == [256, 256, 88]
        assert made.device.order("deflateq", "actual", "reset") == [*["deflateq"] * 3, "actual", "reset"]
        assert made.seen("actual") == [0]
        assert made.guest.counts.free == free
        assert made.driver.num_pages == 0


def test_removing_an_empty_balloon_says_so_and_resets():
    with bench() as made:
        _remove(made)
        assert made.device.order("deflateq", "actual", "reset") == ["actual", "reset"]


def test_a_target_that_is_set_after_the_removal_is_not_followed():
    with bench() as made:
        _remove(made)
        made.resize(10)
        made.driver.queue_interrupt(0)
        made.settle()
        assert made.seen("inflateq") == []


def test_removing_waits_for_the_request_that_is_under_way():
    with bench() as made:
        made.device.answers = False
        made.resize(600)
        _remove(made)
        assert made.device.order("inflateq", "deflateq", "actual", "reset") == []
        made.device.answers = True
        made.device.answer()
        made.run_for(1)
        assert made.device.order("inflateq", "deflateq", "actual", "reset") == ["actual", "deflateq", "actual", "reset"]
        assert made.seen("actual") == [256, 0]


def test_removing_out_of_pages_waits_for_the_attempt_that_is_under_way():
    with bench(FIRST_FREE_PFN + 100) as made:
        made.resize(150)
        _remove(made)
        assert made.settle() is None
        assert made.device.order("inflateq", "deflateq", "reset") == ["inflateq", "deflateq", "reset"]


def test_a_target_that_is_set_right_before_the_removal_runs_is_not_followed_after():
    with bench() as made:
        made.resize(10)
        made.device.log.clear()
        made.guest.kernel.spawn(made.driver.remove())
        made.device.set_target(20)
        made.run_for(1)
        assert made.device.order("inflateq", "deflateq", "reset") == ["deflateq", "reset"]
        assert made.driver.num_pages == 0


def test_statistics_that_are_asked_for_at_the_last_moment_do_not_outlive_the_driver():
    with bench() as made:
        made.resize(10)
        made.device.answers = False
        _remove(made)
        made.device.answer()
        made.device.ask_for_statistics()
        made.settle()
        assert made.device.order("deflateq", "actual", "reset") == ["deflateq", "actual", "reset"]


def test_removing_waits_for_a_reset_that_takes_its_time():
    with bench() as made:
        made.device.resets_at_once = False
        made.guest.kernel.spawn(_then(made.driver.remove(), removed := []))
        made.run_for(1)
        assert removed == [True]


def _then(thread, done):
    yield from thread
    done.append(True)


@every_interface
def test_removing_leaves_nothing_with_the_guest(interface):
    """D15."""
    with bench(offered=EVERYTHING, interface=interface) as made:
        made.resize(300)
        made.start(made.driver.remove())
        made.run_for(3)
        assert made.guest.mm.oom_notifiers == made.guest.mm.shrinkers == []
        assert made.settle() is None
        assert made.guest.mm._mappings == {}


# Binding that fails.


@pytest.mark.parametrize(
    ("feature", "queue_size", "reason"),
    [
        (BalloonFeature.FREE_PAGE_HINT, 1, "a free_page_vq of less than 2 entries"),
        (BalloonFeature.PAGE_REPORTING, 16, "a reporting_vq of less than 32 entries"),
    ],
)
def test_a_ring_that_is_too_small_for_its_use_fails_the_probe(feature, queue_size, reason):
    """D11, D13: -ENOSPC."""
    with bench() as made:
        _remove(made)
        made.device._offered = OFFERED | feature | BalloonFeature.DEFLATE_ON_OOM
        made.guest.options = replace(made.guest.options, queue_size=queue_size)
        with pytest.raises(ProbeError, match=reason) as failed:
            made.guest.load_driver(made.device)
        assert failed.value.errno == errno.ENOSPC
        assert made.guest.balloon is None
        assert made.guest.mm.oom_notifiers == made.guest.mm.shrinkers == []
        assert made.guest.mm._mappings == {}
        assert made.device.order("reset", "driver_ok") == ["reset", "reset"]


def test_free_pages_are_reported_to_one_device_only():
    with bench() as made:
        _remove(made)
        made.guest.page_reporting.register(lambda _: iter(()))
        made.device._offered = OFFERED | BalloonFeature.PAGE_REPORTING
        with pytest.raises(ProbeError, match="another device") as failed:
            made.guest.load_driver(made.device)
        assert failed.value.errno == errno.EBUSY


def test_a_device_that_does_not_agree_to_the_features_fails_the_probe():
    with bench() as made:
        _remove(made)
        made.device.log.clear()
        made.device.agrees = False
        with pytest.raises(ProbeError, match="refuses features 0x1") as failed:
            made.guest.load_driver(made.device)
        assert failed.value.errno == errno.ENODEV
        assert [seen.what for seen in made.device.log] == ["accept_features"]
        assert made.guest.balloon is None
        assert made.guest.mm.oom_notifiers == made.guest.mm.shrinkers == []
        assert made.guest.mm._mappings == {}


def test_without_version_1_there_is_nothing_to_agree_to():
    """The legacy interface has no FEATURES_OK."""
    with bench() as made:
        _remove(made)
        made.device.agrees = False
        made.device._offered = OFFERED & ~RingFeature.VERSION_1
        made.guest.load_driver(made.device)
        assert made.device.order("driver_ok") == ["driver_ok"]


# Hibernating.


@every_ring
@every_interface
def test_a_frozen_balloon_is_empty_and_a_restored_one_follows_the_target_again(offered, interface):
    """D15: the device survives a reset with the balloon logically empty."""
    with bench(offered=offered, interface=interface) as made:
        free = made.guest.counts.free
        made.resize(300)
        made.device.log.clear()
        made.start(made.driver.freeze())
        made.run_for(0.01)
        assert made.device.order("deflateq", "actual", "reset") == ["deflateq", "deflateq", "actual", "reset"]
        assert (made.seen("actual"), made.guest.counts.free, made.driver.num_pages) == ([0], free, 0)
        made.device.log.clear()
        made.device.set_target(40)
        made.settle()
        assert made.device.log == []
        made.driver.restore()
        made.settle()
        assert made.device.order("accept_features", "set_up_queue", "driver_ok", "inflateq") == [
            "accept_features",
            *["set_up_queue"] * 3,
            "driver_ok",
            "inflateq",
        ]
        assert made.seen("actual") == [0, 40]
        made.device.ask_for_statistics()
        made.settle()
        assert len(made.seen("statsq")) == 2


def test_a_balloon_whose_features_are_refused_when_it_is_restored_stays_frozen():
    with bench() as made:
        made.start(made.driver.freeze())
        made.run_for(0.01)
        made.device.log.clear()
        made.device.agrees = False
        with pytest.raises(ProbeError, match="refuses features") as failed:
            made.driver.restore()
        assert failed.value.errno == errno.ENODEV
        made.resize(10)
        assert [seen.what for seen in made.device.log] == ["accept_features"]
        made.device.agrees = True
        made.driver.restore()
        made.settle()
        assert made.driver.num_pages == 10


def test_a_balloon_without_a_target_writes_its_size_when_it_is_restored():
    with bench() as made:
        made.start(made.driver.freeze())
        made.run_for(0.01)
        made.device.log.clear()
        made.driver.restore()
        made.settle()
        assert made.seen("actual") == [0]


def test_a_balloon_can_hibernate_again_and_again_in_the_same_memory():
    with bench() as made:
        for number in range(50):
            made.resize(number)
            made.start(made.driver.freeze())
            made.run_for(0.01)
            made.driver.restore()
            made.settle()
        assert made.driver.num_pages == 49


def test_what_was_registered_stays_with_the_guest_over_a_freeze():
    with bench(offered=EVERYTHING) as made:
        made.start(made.driver.freeze())
        made.run_for(0.01)
        assert len(made.guest.mm.oom_notifiers) == len(made.guest.mm.shrinkers) == 1

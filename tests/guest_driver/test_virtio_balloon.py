import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, Bench, bench

from protocol.balloon.features import BalloonFeature
from protocol.balloon.statistics import StatisticTag
from protocol.virtio import RingFeature

ALL_FEATURES = sum(BalloonFeature) | sum(RingFeature)

every_ring = pytest.mark.parametrize(
    "offered", [OFFERED & ~RingFeature.EVENT_IDX, OFFERED], ids=["flags", "event index"]
)


def frames(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


# Loading.


def test_of_the_features_on_offer_it_takes_those_that_it_knows():
    with bench(offered=ALL_FEATURES & ~int(RingFeature.RING_PACKED)) as made:
        assert made.driver.features == made.device.accepted
        assert made.driver.features == (
            RingFeature.VERSION_1
            | RingFeature.EVENT_IDX
            | BalloonFeature.MUST_TELL_HOST
            | BalloonFeature.STATS_VQ
            | BalloonFeature.DEFLATE_ON_OOM
        )


def test_it_takes_no_feature_that_is_not_on_offer():
    with bench(offered=RingFeature.VERSION_1) as made:
        assert made.driver.features == RingFeature.VERSION_1
        assert made.device.seen("set_up_queue") == [0, 1]


def test_it_sets_up_its_queues_after_the_features_and_before_driver_ok():
    with bench() as made:
        assert made.device.seen("set_up_queue") == [0, 1, 2]
        assert made.device.order("accept_features", "set_up_queue", "driver_ok") == [
            "accept_features",
            *["set_up_queue"] * 3,
            "driver_ok",
        ]


@every_ring
def test_the_statsq_is_primed_and_kicked_before_driver_ok(offered):
    with bench(offered=offered) as made:
        assert made.device.order("kick", "driver_ok", "statsq") == ["kick", "driver_ok", "statsq"]
        assert made.device.seen("kick") == [2]


def test_without_a_target_nothing_is_asked_or_written():
    with bench() as made:
        assert made.device.order("inflateq", "deflateq", "actual") == []


def test_a_target_that_is_there_already_is_followed():
    with bench(num_pages=10) as made:
        assert made.device.seen("actual") == [10]
        assert made.driver.num_pages == 10


# Inflating.


@every_ring
def test_frames_go_in_requests_of_256_and_the_remainder_and_actual_is_written_after_each(offered):
    with bench(offered=offered) as made:
        made.resize(600)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256, 256, 88]
        assert made.device.seen("actual") == [256, 512, 600]
        assert made.device.order("inflateq", "actual") == ["inflateq", "actual"] * 3


def test_frames_are_listed_in_the_reverse_order_of_their_allocation():
    with bench() as made:
        made.resize(300)
        assert made.device.seen("inflateq") == [
            frames(FIRST_FREE_PFN, 256)[::-1],
            frames(FIRST_FREE_PFN + 256, 44)[::-1],
        ]


def test_a_request_of_exactly_256_is_one_request():
    with bench() as made:
        made.resize(256)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256]
        assert made.device.seen("actual") == [256]


def test_inflated_pages_are_not_the_guests_any_more():
    with bench() as made:
        free = made.guest.pages.counts.free
        made.resize(300)
        assert made.guest.pages.counts.free == free - 300
        assert made.guest.vmstat.balloon_inflate == 300


def test_it_waits_for_each_buffer_before_it_goes_on():
    with bench() as made:
        made.device.answers = False
        made.resize(600)
        made.run_for(10)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256]
        assert made.device.seen("actual") == []
        made.device.answer()
        made.settle()
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256, 256]
        assert made.device.seen("actual") == [256]


def test_an_interrupt_without_its_buffer_is_not_taken_for_an_answer():
    with bench() as made:
        made.device.answers = False
        made.resize(10)
        made.driver.queue_interrupt(0)
        made.settle()
        assert made.device.seen("actual") == []


def test_a_target_that_it_has_reached_is_not_written_again():
    with bench() as made:
        made.resize(10)
        made.resize(10)
        made.driver.config_interrupt()
        made.settle()
        assert made.device.seen("actual") == [10]


def test_a_target_that_changes_on_the_way_is_followed_from_the_next_request():
    with bench() as made:
        made.device.answers = False
        made.resize(1000)
        made.device.set_target(300)
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256, 44]
        assert made.device.seen("actual") == [256, 300]


def test_a_target_that_falls_below_on_the_way_is_followed_down():
    with bench() as made:
        made.device.answers = False
        made.resize(1000)
        made.device.set_target(100)
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.device.seen("actual") == [256, 100]
        assert len(made.device.seen("deflateq")[0]) == 156


# Deflating.


@every_ring
def test_pages_come_back_in_requests_of_256_and_the_remainder(offered):
    with bench(offered=offered) as made:
        made.resize(600)
        made.device.log.clear()
        made.resize(10)
        assert [len(pfns) for pfns in made.device.seen("deflateq")] == [256, 256, 78]
        assert made.device.seen("actual") == [344, 88, 10]
        assert made.device.order("deflateq", "actual") == ["deflateq", "actual"] * 3


def test_the_page_that_was_enqueued_last_comes_back_first():
    with bench() as made:
        made.resize(4)
        made.resize(6)
        made.resize(1)
        first = FIRST_FREE_PFN
        assert made.device.seen("inflateq") == [[first + 3, first + 2, first + 1, first], [first + 5, first + 4]]
        assert made.device.seen("deflateq") == [[first + 4, first + 5, first, first + 1, first + 2]]


def test_pages_are_the_guests_again_only_when_the_host_has_said_so():
    with bench() as made:
        made.resize(100)
        free = made.guest.pages.counts.free
        made.device.answers = False
        made.resize(40)
        assert made.guest.pages.counts.free == free
        assert made.device.seen("actual") == [100]
        made.device.answer()
        made.settle()
        assert made.guest.pages.counts.free == free + 60
        assert made.guest.vmstat.balloon_deflate == 60
        assert made.device.seen("actual") == [100, 40]


def test_every_page_that_was_inflated_comes_back():
    with bench() as made:
        free = made.guest.pages.counts.free
        made.resize(900)
        made.resize(0)
        inflated = [pfn for pfns in made.device.seen("inflateq") for pfn in pfns]
        deflated = [pfn for pfns in made.device.seen("deflateq") for pfn in pfns]
        assert sorted(inflated) == sorted(deflated) == frames(FIRST_FREE_PFN, 900)
        assert made.guest.pages.counts.free == free
        assert made.driver.num_pages == 0


# A guest without memory to spare.

FREE = 100
FULL = FIRST_FREE_PFN + FREE


def _attempts(made: Bench) -> list[tuple[float, int]]:
    return [(pytest.approx(seen.at_s), seen.value) for seen in made.device.log if seen.what == "actual"]


def test_out_of_pages_it_sleeps_200_ms_before_it_sends_what_it_has():
    with bench(FULL) as made:
        made.resize(FREE + 50)
        assert made.device.seen("inflateq") == []
        made.run_for(0.19)
        assert made.device.seen("inflateq") == []
        made.run_for(0.02)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [FREE]
        assert _attempts(made) == [(0.2, FREE)]


def test_out_of_pages_it_tries_again_every_200_ms_for_as_long_as_the_target_stands():
    with bench(FULL) as made:
        made.resize(FREE + 50)
        made.run_for(1.1)
        assert _attempts(made) == [(0.2 * attempt, FREE) for attempt in range(1, 6)]
        assert len(made.device.seen("inflateq")) == 1
        made.run_for(60)
        assert len(_attempts(made)) == pytest.approx(61.1 / 0.2, abs=1)


def test_a_page_that_somebody_frees_is_taken_at_the_next_attempt():
    with bench(FULL) as made:
        pfn = made.guest.pages.alloc_page()
        made.resize(FREE)
        made.run_for(0.5)
        made.guest.pages.free_page(pfn)
        made.run_for(0.5)
        assert made.device.seen("inflateq")[1:] == [[pfn]]
        assert made.device.seen("actual")[-1] == made.driver.num_pages == FREE


def test_out_of_pages_it_comes_to_rest_when_the_target_falls_to_what_it_has():
    with bench(FULL) as made:
        made.resize(FREE + 50)
        made.run_for(1)
        made.resize(FREE)
        made.run_for(1)
        assert made.settle() is None
        assert made.driver.num_pages == FREE


def test_full_requests_are_not_slept_over():
    with bench(FIRST_FREE_PFN + 300) as made:
        made.resize(400)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256]
        made.run_for(0.2)
        assert [len(pfns) for pfns in made.device.seen("inflateq")] == [256, 44]


# Statistics.


@every_ring
def test_statistics_come_back_newer_as_often_as_they_are_asked_for(offered):
    with bench(offered=offered) as made:
        for faults in range(1, 9):
            made.guest.vmstat.pgmajfault = faults
            made.device.ask_for_statistics()
            made.settle()
            assert [seen[StatisticTag.MAJOR_FAULTS] for seen in made.device.seen("statsq")] == frames(0, faults + 1)


def test_statistics_say_how_memory_is_used_in_bytes():
    with bench(1000) as made:
        made.guest.use_memory(100, 50)
        made.guest.vmstat.pswpin, made.guest.vmstat.pswpout, made.guest.vmstat.pgfault = 1, 2, 3
        made.resize(200)
        made.device.ask_for_statistics()
        made.settle()
        free = 1000 - FIRST_FREE_PFN - 100 - 200
        assert made.device.seen("statsq")[-1] == {
            StatisticTag.SWAP_IN: 4096,
            StatisticTag.SWAP_OUT: 8192,
            StatisticTag.MAJOR_FAULTS: 0,
            StatisticTag.MINOR_FAULTS: 3,
            StatisticTag.FREE_MEMORY: free * 4096,
            StatisticTag.TOTAL_MEMORY: 800 * 4096,
            StatisticTag.AVAILABLE_MEMORY: (free + 100) * 4096,
            StatisticTag.DISK_CACHES: 100 * 4096,
        }


def test_with_deflate_on_oom_ballooned_memory_counts_as_the_guests():
    with bench(1000, offered=OFFERED | BalloonFeature.DEFLATE_ON_OOM) as made:
        made.resize(200)
        assert made.driver.managed_frames == 1000


def test_statistics_are_answered_while_an_inflate_request_waits():
    with bench() as made:
        made.device.answers = False
        made.resize(10)
        made.device.ask_for_statistics()
        made.settle()
        assert len(made.device.seen("statsq")) == 2
        assert made.device.seen("actual") == []


# Unloading.


def _remove(made: Bench) -> None:
    made.device.log.clear()
    made.guest.kernel.spawn(made.driver.remove())
    made.run_for(1)


@every_ring
def test_removing_gives_every_page_back_then_says_so_then_resets(offered):
    with bench(offered=offered) as made:
        free = made.guest.pages.counts.free
        made.resize(600)
        _remove(made)
        assert [len(pfns) for pfns in made.device.seen("deflateq")] == [256, 256, 88]
        assert made.device.order("deflateq", "actual", "reset") == [*["deflateq"] * 3, "actual", "reset"]
        assert made.device.seen("actual") == [0]
        assert made.guest.pages.counts.free == free
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
        assert made.device.seen("inflateq") == []


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
        assert made.device.seen("actual") == [256, 0]


def test_removing_out_of_pages_waits_for_the_attempt_that_is_under_way():
    with bench(FULL) as made:
        made.resize(FREE + 50)
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

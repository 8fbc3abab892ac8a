import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, Bench, bench, spare_frames

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.zone import ZoneCount
from guest_driver.virtio_balloon import ARRAY_PFNS_MAX
from protocol.virtio import RingFeature

every_ring = pytest.mark.parametrize(
    "offered", [OFFERED & ~RingFeature.EVENT_IDX, OFFERED], ids=["flags", "event index"]
)


def frames(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


# Inflating.


@every_ring
def test_frames_go_in_requests_of_256_and_the_remainder_and_actual_is_written_after_each(offered):
    with bench(offered=offered) as made:
        made.resize(600)
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256, 256, 88]
        assert made.seen("actual") == [256, 512, 600]
        assert made.device.order("inflateq", "actual") == ["inflateq", "actual"] * 3


def test_frames_are_listed_in_the_reverse_order_of_their_allocation():
    with bench() as made:
        made.resize(300)
        assert made.seen("inflateq") == [
            frames(FIRST_FREE_PFN, 256)[::-1],
            frames(FIRST_FREE_PFN + 256, 44)[::-1],
        ]


def test_a_request_of_exactly_256_is_one_request():
    with bench() as made:
        made.resize(256)
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256]
        assert made.seen("actual") == [256]


def test_inflated_pages_are_not_the_guests_any_more():
    with bench() as made:
        free = made.guest.counts.free
        made.resize(300)
        assert made.guest.counts.free == free - 300
        assert made.guest.vmstat()["balloon_inflate"] == 300


def test_it_waits_for_each_buffer_before_it_goes_on():
    with bench() as made:
        made.device.answers = False
        made.resize(600)
        made.run_for(10)
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256]
        assert made.seen("actual") == []
        made.device.answer()
        made.settle()
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256, 256]
        assert made.seen("actual") == [256]


def test_an_interrupt_without_its_buffer_is_not_taken_for_an_answer():
    with bench() as made:
        made.device.answers = False
        made.resize(10)
        made.driver.queue_interrupt(0)
        made.settle()
        assert made.seen("actual") == []


def test_a_target_that_it_has_reached_is_not_written_again():
    with bench() as made:
        made.resize(10)
        made.resize(10)
        made.driver.config_interrupt()
        made.settle()
        assert made.seen("actual") == [10]


def test_a_target_that_changes_on_the_way_is_followed_from_the_next_request():
    with bench() as made:
        made.device.answers = False
        made.resize(1000)
        made.device.set_target(300)
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256, 44]
        assert made.seen("actual") == [256, 300]


def test_a_target_that_falls_below_on_the_way_is_followed_down():
    with bench() as made:
        made.device.answers = False
        made.resize(1000)
        made.device.set_target(100)
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.seen("actual") == [256, 100]
        assert len(made.seen("deflateq")[0]) == 156


# Deflating.


@every_ring
def test_pages_come_back_in_requests_of_256_and_the_remainder(offered):
    with bench(offered=offered) as made:
        made.resize(600)
        made.device.log.clear()
        made.resize(10)
        assert [len(pfns) for pfns in made.seen("deflateq")] == [256, 256, 78]
        assert made.seen("actual") == [344, 88, 10]
        assert made.device.order("deflateq", "actual") == ["deflateq", "actual"] * 3


def test_the_page_that_was_enqueued_last_comes_back_first():
    with bench() as made:
        made.resize(4)
        made.resize(6)
        made.resize(1)
        first = FIRST_FREE_PFN
        assert made.seen("inflateq") == [[first + 3, first + 2, first + 1, first], [first + 5, first + 4]]
        assert made.seen("deflateq") == [[first + 4, first + 5, first, first + 1, first + 2]]


def test_pages_are_the_guests_again_only_when_the_host_has_said_so():
    with bench() as made:
        made.resize(100)
        free = made.guest.counts.free
        made.device.answers = False
        made.resize(40)
        assert made.guest.counts.free == free
        assert made.seen("actual") == [100]
        made.device.answer()
        made.settle()
        assert made.guest.counts.free == free + 60
        assert made.guest.vmstat()["balloon_deflate"] == 60
        assert made.seen("actual") == [100, 40]


def test_every_page_that_was_inflated_comes_back():
    with bench() as made:
        free = made.guest.counts.free
        made.resize(900)
        made.resize(0)
        inflated = [pfn for pfns in made.seen("inflateq") for pfn in pfns]
        deflated = [pfn for pfns in made.seen("deflateq") for pfn in pfns]
        assert sorted(inflated) == sorted(deflated) == frames(FIRST_FREE_PFN, 900)
        assert made.guest.counts.free == free
        assert made.driver.num_pages == 0


# A guest without memory to spare.

FULL = FIRST_FREE_PFN + 100
FREE = spare_frames(FULL)


def _attempts(made: Bench) -> list[tuple[float, int]]:
    return [(pytest.approx(seen.at_s), seen.value) for seen in made.device.log if seen.what == "actual"]


def test_out_of_pages_it_sleeps_200_ms_before_it_sends_what_it_has():
    with bench(FULL) as made:
        made.resize(FREE + 50)
        assert made.seen("inflateq") == []
        made.run_for(0.19)
        assert made.seen("inflateq") == []
        made.run_for(0.02)
        assert [len(pfns) for pfns in made.seen("inflateq")] == [FREE]
        assert _attempts(made) == [(0.2, FREE)]


def test_out_of_pages_it_tries_again_every_200_ms_for_as_long_as_the_target_stands():
    with bench(FULL) as made:
        made.resize(FREE + 50)
        made.run_for(1.1)
        assert _attempts(made) == [(0.2 * attempt, FREE) for attempt in range(1, 6)]
        assert len(made.seen("inflateq")) == 1
        made.run_for(60)
        assert len(_attempts(made)) == pytest.approx(61.1 / 0.2, abs=1)


def test_a_page_that_somebody_frees_is_taken_at_the_next_attempt():
    with bench(FULL) as made:
        pfn = made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        made.resize(FREE)
        made.run_for(0.5)
        made.guest.mm.put_page(pfn)
        made.run_for(0.5)
        assert made.seen("inflateq")[1:] == [[pfn]]
        assert made.seen("actual")[-1] == made.driver.num_pages == FREE


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
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256]
        made.run_for(0.2)
        assert [len(pfns) for pfns in made.seen("inflateq")] == [256, spare_frames(FIRST_FREE_PFN + 300) - 256]


def test_page_cache_makes_room_for_the_balloon():
    with bench(2048) as made:
        made.guest.use_memory(kept_frames=1000, passing_frames=0)
        made.resize(spare_frames(2048) - 100)
        assert made.driver.num_pages == spare_frames(2048) - 100
        assert made.guest.counts.cached < 200


# The generations of the interface.


every_interface = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
either_configuration = pytest.mark.parametrize("balloon_compaction", [True, False], ids=["compaction", "no compaction"])


@every_interface
@either_configuration
def test_every_interface_fills_and_leaks_alike(interface, balloon_compaction):
    with bench(interface=interface, balloon_compaction=balloon_compaction) as made:
        free, managed = made.guest.counts.free, made.guest.mm.counts[ZoneCount.MANAGED]
        made.resize(900)
        assert (made.guest.counts.free, made.guest.mm.counts[ZoneCount.MANAGED]) == (free - 900, managed - 900)
        inflated = {pfn for pfns in made.seen("inflateq") for pfn in pfns}
        assert len(inflated) == 900
        assert len(made.driver.pages) == made.driver.num_pages == 900
        made.resize(0)
        assert (made.guest.counts.free, made.guest.mm.counts[ZoneCount.MANAGED]) == (free, managed)
        assert sorted(pfn for pfns in made.seen("deflateq") for pfn in pfns) == sorted(inflated)
        assert made.seen("actual") == [256, 512, 768, 900, 644, 388, 132, 0]
        assert made.guest.mm.warnings == []


@every_interface
def test_an_interface_that_allocates_under_the_lock_lists_frames_in_order_and_the_others_in_reverse(interface):
    with bench(interface=interface) as made:
        made.resize(10)
        (listed,) = made.seen("inflateq")
        assert listed == frames(FIRST_FREE_PFN, 10)[:: 1 if interface == "2012" else -1]


@pytest.mark.parametrize(("interface", "sleeps_with_lock"), [("2012", True), ("2022", False), ("2026", False)])
def test_out_of_pages_only_the_first_interface_sleeps_with_balloon_lock(interface, sleeps_with_lock):
    with bench(FULL, interface=interface) as made:
        made.resize(FREE + 50)
        leak = made.start(made.driver._sizing.leak_balloon(1))
        assert leak == ([] if sleeps_with_lock else [0])


@pytest.mark.parametrize("interface", ["2022", "2026"])
def test_pages_are_released_before_balloon_lock_is(interface):
    with bench(interface=interface) as made:
        made.resize(10)
        released, lock = [], made.driver._sizing._lock
        release = made.driver.pages.release
        made.driver.pages.release = lambda page: (released.append(lock._locked), release(page))
        made.resize(7)
        assert released == [True] * 3


def test_the_first_interface_releases_pages_behind_balloon_lock():
    with bench(interface="2012") as made:
        made.resize(10)
        released, lock = [], made.driver._sizing._lock
        release = made.driver.pages.release
        made.driver.pages.release = lambda page: (released.append(lock._locked), release(page))
        made.resize(7)
        assert released == [False] * 3


@every_interface
def test_while_all_pages_are_isolated_it_tries_again_and_others_run(interface):
    with bench(interface=interface) as made:
        made.resize(1)
        (page,) = made.seen("inflateq")[0]
        operations = made.guest.mm.page_mapping(page)
        assert operations.isolate(page)
        made.resize(0)
        assert made.driver.num_pages == made.driver.pages.isolated_pages == 1
        made.start(operations.putback(page))
        made.run_for(0.01)
        assert made.seen("deflateq") == [[page]]
        assert made.settle() is None


def test_a_request_lists_no_more_than_the_specification_of_linux_allows():
    with bench(4096) as made:
        made.resize(3000)
        assert max(len(pfns) for pfns in made.seen("inflateq")) == ARRAY_PFNS_MAX

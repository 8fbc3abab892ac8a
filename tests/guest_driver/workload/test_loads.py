import itertools

import pytest
from support.workload_guest import WorkloadGuest

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.zone import ZoneCount
from guest_driver.workload.loads import Anonymous, Build, FileCache, Hog, Idle, Job, KernelChurn, Slab, Spike
from guest_driver.workload.machine import RESTART_S


def test_files_are_read_at_their_rate() -> None:
    with WorkloadGuest() as made:
        made.run(4.05, FileCache(mib_per_s=2.5))
        assert made.mib(ZoneCount.FILE) == pytest.approx(10, abs=0.3)


def test_page_cache_gives_way_to_itself_when_memory_is_full() -> None:
    with WorkloadGuest() as made:
        made.run(30.0, FileCache(mib_per_s=10))
        assert made.guest.mm.counts[ZoneCount.FREE] >= made.guest.mm.counts[ZoneCount.WMARK_MIN]
        assert made.vmstat("pgsteal_kswapd") > 0
        assert made.vmstat("oom_kill") == 0


def test_slab_stops_at_its_share() -> None:
    with WorkloadGuest() as made:
        made.run(20.0, Slab(mib_per_s=2, at_most_share=0.1))
        assert made.mib(ZoneCount.SLAB) == pytest.approx(6.4, abs=0.1)


def test_the_kernel_holds_between_its_two_shares() -> None:
    with WorkloadGuest() as made:
        made.run(5.0, KernelChurn(events_per_s=2000, low_share=0.02, high_share=0.04))
        assert 0.02 * 64 - 0.1 <= made.mib(ZoneCount.UNMOVABLE) <= 0.04 * 64 + 0.1


def test_a_job_grows_to_its_size_and_then_its_memory_is_free_again() -> None:
    with WorkloadGuest() as made:
        largest = []
        for step in range(1, 200):
            made.run(step * 0.1, *([Job(min_mib=8, max_mib=8, grows_for_s=4, huge_pages=0)] if step == 1 else []))
            largest.append(made.mib(ZoneCount.ANON))
        assert max(largest) == pytest.approx(8, abs=0.3)
        assert any(later < earlier - 6 for earlier, later in itertools.pairwise(largest))


def test_a_program_takes_its_memory_in_its_time_and_keeps_it() -> None:
    with WorkloadGuest() as made:
        made.run(2.0, Anonymous(mib=16, grows_for_s=4))
        assert made.mib(ZoneCount.ANON) == pytest.approx(8, abs=1)
        made.run(20.0)
        assert made.mib(ZoneCount.ANON) == 16


def test_huge_pages_are_taken_where_there_are_any() -> None:
    with WorkloadGuest() as made:
        made.run(5.0, Anonymous(mib=16, grows_for_s=1, huge_pages=True))
        assert made.vmstat("thp_fault_alloc") == 8
        assert made.vmstat("thp_fault_fallback") == 0


def test_small_pages_stand_in_for_huge_ones_that_are_not_to_be_had() -> None:
    with WorkloadGuest(mib=32) as made:
        pages = []
        while (page := made.guest.mm.alloc_page(Gfp.HIGHUSER)) is not None:
            pages.append(page)
        for page in pages:
            if page % 512 != 256:  # a page of the kernel's in each block leaves none whole
                made.guest.mm.put_page(page)
        made.run(20.0, Anonymous(mib=16, grows_for_s=10, huge_pages=True))
        assert made.vmstat("thp_fault_alloc") == 0
        assert made.vmstat("thp_fault_fallback") == 8
        assert made.mib(ZoneCount.ANON) == 16


def test_a_spike_comes_and_goes() -> None:
    with WorkloadGuest() as made:
        seen = []
        for step in range(1, 60):
            made.run(float(step), *([Spike(mib=20, hold_s=5, every_s=10)] if step == 1 else []))
            seen.append(made.mib(ZoneCount.ANON))
        assert {0.0, 20.0} <= set(seen)


def test_a_leak_is_killed_and_begun_again() -> None:
    with WorkloadGuest() as made:
        made.run(4.0, Hog(mib_per_s=32))
        assert made.vmstat("oom_kill") == 1
        assert made.mib(ZoneCount.ANON) == 0
        made.run(3.0 + RESTART_S)
        assert made.mib(ZoneCount.ANON) > 0


def test_an_idle_guest_stays_nearly_empty() -> None:
    with WorkloadGuest() as made:
        made.run(100.0, Idle())
        assert 0 < made.mib(ZoneCount.FILE) < 8
        assert made.mib(ZoneCount.ANON) == 0


def test_a_build_uses_all_kinds_of_memory() -> None:
    with WorkloadGuest(mib=256) as made:
        made.run(20.0, Build(jobs=3))
        for kind in (ZoneCount.FILE, ZoneCount.ANON, ZoneCount.SLAB, ZoneCount.UNMOVABLE):
            assert made.mib(kind) > 0.5


def test_the_same_seed_gives_the_same_guest() -> None:
    def counted(seed: int) -> dict[str, int]:
        with WorkloadGuest(mib=128, seed=seed) as made:
            made.run(60.0, Build(jobs=2), Spike(mib=30, every_s=20, hold_s=5))
            return made.guest.vmstat()

    assert counted(7) == counted(7)
    assert counted(7) != counted(8)


def test_a_job_begins_with_its_huge_pages() -> None:
    with WorkloadGuest() as made:
        made.run(3.0, Job(min_mib=8, max_mib=8, grows_for_s=2, huge_pages=2))
        assert made.vmstat("thp_fault_alloc") >= 2

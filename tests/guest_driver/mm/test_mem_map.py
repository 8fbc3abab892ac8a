import pytest
from support.mm import booted, check_zone, memory_of, start

from guest_driver.errors import KernelBugError, LockOrderError
from guest_driver.mm.lockdep import LockClass
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.page_cache import add_file_pages
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import MAX_MAPPINGS, MappingId, ZoneCount


@pytest.fixture
def mm():
    return memory_of(booted(2048))


@pytest.fixture
def page(mm):
    return mm.alloc_page(Gfp.HIGHUSER)


def test_mappings_are_known_by_their_numbers(mm, page):
    first, second = object(), object()
    numbers = [mm.register(first), mm.register(second)]
    assert numbers == [MappingId.FIRST_REGISTERED, MappingId.FIRST_REGISTERED + 1]
    assert mm.page_mapping(page) is None
    mm.mapping[page] = numbers[1]
    assert mm.page_mapping(page) is second


def test_a_number_that_is_free_again_is_given_again(mm):
    number = mm.register(object())
    mm.register(object())
    mm.unregister(number)
    assert mm.register(object()) == number


def test_there_are_so_many_mappings_and_no_more(mm):
    for _ in range(MAX_MAPPINGS - MappingId.FIRST_REGISTERED):
        mm.register(object())
    with pytest.raises(KernelBugError, match="more mappings"):
        mm.register(object())


def test_a_mapping_with_pages_stays(mm, page):
    owner = object()
    number = mm.register(owner)
    mm.mapping[page] = number
    mm.list_add(page, mm.mapping_list(number))
    with pytest.raises(KernelBugError, match="with pages on its list"):
        mm.unregister(number)
    assert mm.page_mapping(page) is owner


def test_what_is_not_registered_cannot_be_unregistered(mm):
    with pytest.raises(KernelBugError, match="not registered"):
        mm.unregister(9)


def test_the_last_reference_that_is_put_frees_the_page(mm, page):
    mm.get_page(page)
    mm.put_page(page)
    assert page in check_zone(mm.zone).plain
    mm.put_page(page)
    assert check_zone(mm.zone).plain == set()


def test_nobody_refers_to_a_free_page(mm, page):
    mm.put_page(page)
    with pytest.raises(KernelBugError, match="which is free"):
        mm.get_page(page)
    assert not mm.get_page_unless_zero(page)
    assert not mm.refcount[page]


def test_a_page_in_use_can_be_referred_to(mm, page):
    assert mm.get_page_unless_zero(page)
    assert mm.refcount[page] == 2


def test_a_page_is_not_put_once_too_often(mm, page):
    mm.put_page(page)
    with pytest.raises(KernelBugError, match="once too often"):
        mm.put_page(page)


@pytest.mark.parametrize("flag", [PageFlag.LOCKED, PageFlag.ISOLATED, PageFlag.MOVABLE, PageFlag.OFFLINE, PageFlag.LRU])
def test_a_page_that_is_something_still_is_not_freed(mm, page, flag):
    mm.flags[page] |= flag
    with pytest.raises(KernelBugError, match="freed with flags"):
        mm.put_page(page)
    assert mm.refcount[page] == 1


def test_a_page_with_a_mapping_is_not_freed(mm, page):
    mm.mapping[page] = int(MappingId.FILE)
    with pytest.raises(KernelBugError, match="and mapping 1"):
        mm.put_page(page)


def test_a_page_on_a_list_is_not_freed(mm, page):
    mm.list_add(page, mm.mapping_list(5))
    with pytest.raises(KernelBugError, match="freed with flags"):
        mm.put_page(page)


def test_a_page_is_locked_by_one_at_a_time(mm, page):
    assert mm.trylock_page(page)
    assert not mm.trylock_page(page)
    mm.unlock_page(page)
    assert mm.trylock_page(page)


def test_a_page_that_is_not_locked_cannot_be_unlocked(mm, page):
    with pytest.raises(KernelBugError, match="released"):
        mm.unlock_page(page)


def test_who_waits_for_a_page_lock_sleeps_until_it_is_let_go(mm, page):
    log = []

    def locker(name):
        yield from mm.lock_page(page)
        log.append(name)
        mm.unlock_page(page)

    assert mm.trylock_page(page)
    outcomes = [start(mm.kernel, locker(name)) for name in "ab"]
    assert log == []
    mm.unlock_page(page)
    mm.kernel.run(0)
    assert log == ["a", "b"]
    assert all(outcome.done for outcome in outcomes)
    assert not mm.flags[page] & PageFlag.LOCKED


def test_a_page_lock_that_is_free_is_not_slept_for(mm, page):
    assert start(mm.kernel, mm.lock_page(page)).done


def test_a_second_page_lock_is_not_waited_for_even_if_that_would_not_end(mm, page):
    def locks_twice():
        yield from mm.lock_page(page)
        yield from mm.lock_page(page)

    with pytest.raises(LockOrderError):
        start(mm.kernel, locks_twice())


def test_a_page_lock_is_not_waited_for_behind_the_spinlock(mm, page):
    mm.lockdep.acquired(LockClass.PAGES_LOCK)
    with pytest.raises(LockOrderError):
        next(mm.lock_page(page))


def test_the_page_put_on_a_list_last_is_first(mm):
    pages = [mm.alloc_page(Gfp.MOVABLE) for _ in range(3)]
    head = mm.mapping_list(7)
    assert mm.list_empty(head)
    for pfn in pages:
        mm.list_add(pfn, head)
    assert mm.list_pages(head) == pages[::-1]
    assert mm.list_first(head) == pages[2]
    assert [mm.list_next(pfn) for pfn in pages] == [head, pages[0], pages[1]]
    mm.list_del(pages[1])
    assert mm.list_pages(head) == [pages[2], pages[0]]
    assert not mm.list_empty(head)


def test_a_page_is_on_one_list(mm, page):
    mm.list_add(page, mm.mapping_list(7))
    with pytest.raises(KernelBugError, match="second list"):
        mm.list_add(page, mm.mapping_list(8))
    assert mm.list_empty(mm.mapping_list(8))


def test_a_page_on_no_list_cannot_be_taken_off_one(mm, page):
    with pytest.raises(KernelBugError, match="not on"):
        mm.list_del(page)


@pytest.mark.parametrize(("gfp", "migratetype"), [(Gfp.HIGHUSER, "UNMOVABLE"), (Gfp.HIGHUSER_MOVABLE, "MOVABLE")])
def test_a_page_comes_from_a_pageblock_of_its_type(mm, gfp, migratetype):
    page = mm.alloc_page(gfp)
    assert mm.refcount[page] == 1
    assert mm.zone.block_type[page >> 9] == Migratetype[migratetype]


def test_allocations_fail_as_often_as_a_test_wants(mm):
    mm.failing_allocations = 2
    got = [mm.alloc_page(Gfp.MOVABLE) for _ in range(3)]
    assert got[:2] == [None, None]
    assert got[2] is not None


def test_memory_that_ran_out_gives_none(mm):
    mm.counts[ZoneCount.WMARK_MIN] = mm.counts[ZoneCount.WMARK_LOW] = 2048
    assert mm.alloc_page(Gfp.MOVABLE) is None


@pytest.mark.parametrize(("gfp", "reclaims"), [(Gfp.MOVABLE, 3), (Gfp.MOVABLE | Gfp.NORETRY, 1)])
def test_noretry_reclaims_once(mm, gfp, reclaims):
    add_file_pages(mm.zone, 1000)
    mm.counts[ZoneCount.WMARK_MIN] = mm.counts[ZoneCount.WMARK_LOW] = 2048 - 1000 + 70
    assert (mm.alloc_page(gfp) is None) == (reclaims == 1)
    assert mm.events[VmEvent.ALLOCSTALL] == reclaims


def test_a_block_is_freed_as_what_it_was_allocated(mm):
    block = mm.alloc_pages(Gfp.MOVABLE, 4)
    with pytest.raises(KernelBugError, match="block of order 4 freed as one of order 3"):
        mm.free_pages(block, 3)
    mm.free_pages(block, 4)
    assert not check_zone(mm.zone).compound


def test_the_total_the_counters_and_the_warnings_are_kept(mm):
    mm.adjust_managed_page_count(-3)
    mm.count_vm_event(VmEvent.BALLOON_INFLATE)
    mm.count_vm_event(VmEvent.BALLOON_INFLATE, 4)
    mm.warn("strange")
    assert mm.zone.counts[ZoneCount.MANAGED] == 2045
    assert mm.zone.events[VmEvent.BALLOON_INFLATE] == 5
    assert mm.warnings == ["strange"]

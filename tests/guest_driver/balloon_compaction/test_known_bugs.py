"""Bugs of the interface of 2012: each is seen where it is switched on, and is not there where it is not."""

import pytest
from support.balloon_interface import PAGEBLOCK_ORDER, RETRY, Balloon, other_thread, run

from guest_driver.balloon_compaction import KnownBugs
from guest_driver.balloon_compaction.preempt import Step
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.reclaim import drop_caches
from guest_driver.mm.zone import MappingId


def balloon_with(**bugs):
    return Balloon("2012", known_bugs=KnownBugs(**bugs))


def test_all_are_off_unless_asked_for():
    assert not any(getattr(KnownBugs(), name) for name in KnownBugs.__slots__)


# B1.


def migrate_repeatedly(balloon, times):
    """Return how often a page could be migrated."""
    (page,) = balloon.inflate()
    for done in range(times):
        if not balloon.isolate(page):
            return done
        _, page = run(balloon.mm, balloon.migrate(page))
    return times


def test_a_page_migrates_again_and_again():
    """B1."""
    balloon = balloon_with()
    assert migrate_repeatedly(balloon, 5) == 5
    balloon.check()


def test_a_new_page_without_its_mapping_never_migrates_again():
    """B1, on."""
    balloon = balloon_with(new_page_loses_mapping=True)
    assert migrate_repeatedly(balloon, 5) == 1
    assert len(balloon.listed) == 1
    assert balloon.deflate() is not None


# B2.


def scan_a_block_of_balloon_pages(balloon, *, lru_page):
    """Return how many pages of a block are isolated; the scanner takes lru_lock when it first meets an LRU page."""
    size = 1 << PAGEBLOCK_ORDER
    pages = sorted(balloon.inflate(size))
    block = range(pages[0] >> PAGEBLOCK_ORDER << PAGEBLOCK_ORDER, (pages[-1] >> PAGEBLOCK_ORDER) + 1 << PAGEBLOCK_ORDER)
    assert list(block) == pages
    isolated, lru_locked = 0, False
    for page in block:
        isolated += balloon.pages._interface.balloon_page_scanned(page, lru_locked=lru_locked)
        lru_locked |= page == lru_page
    return isolated


def test_a_block_of_nothing_but_balloon_pages_is_isolated():
    """B2."""
    balloon = balloon_with()
    assert scan_a_block_of_balloon_pages(balloon, lru_page=None) == 1 << PAGEBLOCK_ORDER
    balloon.check()


def test_balloon_pages_that_wait_for_lru_lock_are_passed_over():
    """B2, on."""
    assert scan_a_block_of_balloon_pages(balloon_with(isolation_needs_lru_lock=True), lru_page=None) == 0


def test_balloon_pages_behind_one_on_an_lru_list_are_not():
    """B2, on."""
    balloon = balloon_with(isolation_needs_lru_lock=True)
    first = min(balloon.inflate())
    balloon.deflate()
    isolated = scan_a_block_of_balloon_pages(balloon, lru_page=first)
    assert isolated == (1 << PAGEBLOCK_ORDER) - 1


def test_the_scanner_leaves_other_pages_alone():
    """B2."""
    balloon = balloon_with()
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    assert not balloon.pages._interface.balloon_page_scanned(page, lru_locked=True)
    assert balloon.mm.refcount[page] == 1
    (page,) = balloon.inflate()
    balloon.mm.flags[page] |= PageFlag.MAPPED
    assert not balloon.pages._interface.balloon_page_scanned(page, lru_locked=True)
    assert balloon.listed == [page]


# B3. What interleaves correctly is in test_interleaving.py.


def test_a_walk_without_lock_dequeues_a_page_that_was_just_isolated():
    """B3, on: the page is dequeued and isolated at once, and the balloon's count is wrong for ever."""
    balloon = balloon_with(walks_without_lock=True)
    page, _ = balloon.inflate(2)
    target = balloon.listed[0]

    def isolate(step):
        if step == Step.DEQUEUE_PICKED:
            balloon.bdi.preempt = None
            with other_thread(balloon.mm):
                assert balloon.isolate(target)

    balloon.bdi.preempt = isolate
    assert balloon.pages.dequeue() == target
    assert balloon.pages.isolated_pages == 1
    assert balloon.mm.refcount[target] == 2
    with pytest.raises(AssertionError):
        balloon.check()
    assert balloon.listed == [page]


def test_a_walk_without_lock_follows_a_page_that_left_the_list():
    """B3, on: the next page was remembered, and is gone."""
    balloon = balloon_with(walks_without_lock=True)
    balloon.inflate(2)
    first, second = balloon.listed
    balloon.mm.trylock_page(first)

    def dequeue_both(step):
        if step == Step.DEQUEUE_PICKED:
            balloon.bdi.preempt = None
            balloon.mm.unlock_page(first)
            with other_thread(balloon.mm):
                assert balloon.isolate(first)
                assert balloon.isolate(second)
                assert balloon.mm.trylock_page(first)
                assert balloon.mm.trylock_page(second)

    balloon.bdi.preempt = dequeue_both
    with pytest.raises(KernelBugError, match="LIST_POISON"):
        balloon.pages.dequeue()


def test_alone_a_walk_without_lock_does_no_harm():
    """B3, on: which is why nobody saw it."""
    balloon = balloon_with(walks_without_lock=True)
    pages = balloon.inflate(3)
    assert [balloon.pages.dequeue() for _ in range(3)] == pages[::-1]
    with pytest.raises(KernelBugError, match="empty balloon"):
        balloon.pages.dequeue()


# B4.


def page_with_odd_mapping(balloon, flag, mapping):
    """Return a page of somebody else's, who uses its mapping otherwise."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    balloon.mm.flags[page] |= flag
    balloon.mm.mapping[page] = mapping
    return page


@pytest.mark.parametrize("flag", [PageFlag.ANON, PageFlag.PRIVATE])
def test_what_looks_like_a_balloons_mapping_is_not_followed(flag):
    """B4."""
    balloon = balloon_with()
    lookalike = page_with_odd_mapping(balloon, flag, balloon.bdi.mapping.number)
    anon_vma = page_with_odd_mapping(balloon, flag, balloon.mm.register(object()))
    nobodys = page_with_odd_mapping(balloon, flag, 200)
    assert not any(balloon.pages._interface.balloon_page_movable(page) for page in (lookalike, anon_vma, nobodys))


@pytest.mark.parametrize("flag", [PageFlag.ANON, PageFlag.PRIVATE])
def test_an_odd_mapping_that_is_followed_is_an_oops(flag):
    """B4, on."""
    balloon = balloon_with(follows_odd_mappings=True)
    for mapping in (balloon.mm.register(object()), 200):
        page = page_with_odd_mapping(balloon, flag, mapping)
        with pytest.raises(KernelBugError, match="no address_space"):
            balloon.pages._interface.balloon_page_movable(page)


@pytest.mark.parametrize("flag", [PageFlag.ANON, PageFlag.PRIVATE])
def test_an_odd_mapping_that_looks_right_is_taken_for_a_balloons(flag):
    """B4, on."""
    balloon = balloon_with(follows_odd_mappings=True)
    page = page_with_odd_mapping(balloon, flag, balloon.bdi.mapping.number)
    assert balloon.pages._interface.balloon_page_movable(page)


@pytest.mark.parametrize("bug", [False, True])
@pytest.mark.parametrize("mapping", [MappingId.NONE, MappingId.FILE, MappingId.SLAB])
def test_mappings_that_every_guest_has_are_never_odd(bug, mapping):
    """B4."""
    balloon = balloon_with(follows_odd_mappings=bug)
    assert not balloon.pages._interface.balloon_page_movable(page_with_odd_mapping(balloon, PageFlag.LRU, mapping))


# B5.


def abort_a_batch(balloon):
    """Isolate three pages, fail with the second, and put back what is left."""
    pages = balloon.inflate(3)
    assert all(balloon.isolate(page) for page in pages)
    balloon.outcomes = ["move", RETRY]
    for page in pages[:2]:
        run(balloon.mm, balloon.migrate(page))
    run(balloon.mm, balloon.ops(pages[2]).putback(pages[2]))
    return pages


def test_what_an_aborted_batch_leaves_goes_back_to_the_balloon():
    """B5, S26."""
    balloon = balloon_with()
    abort_a_batch(balloon)
    assert len(balloon.pages) == 3
    assert balloon.pages.isolated_pages == 0
    balloon.check()
    assert all(balloon.deflate() for _ in range(3))


def test_what_is_left_on_the_lru_lists_never_comes_back():
    """B5, on: the balloon cannot deflate, and reclaim frees what the host has."""
    balloon = balloon_with(puts_leftovers_on_lru=True)
    pages = abort_a_batch(balloon)
    assert balloon.deflate() is not None
    assert balloon.pages.isolated_pages == 2
    assert balloon.deflate() is None
    assert balloon.mm.flags[pages[1]] & balloon.mm.flags[pages[2]] & PageFlag.LRU
    free = balloon.free
    drop_caches(balloon.mm.zone, slab=False)
    assert balloon.free == free + 2

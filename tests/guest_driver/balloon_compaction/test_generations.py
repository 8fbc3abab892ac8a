"""What holds of the interface whatever its generation, with and without its Kconfig option."""

import errno

import pytest
from support.balloon_interface import GENERATIONS, PAGEBLOCK_ORDER, RETRY, Balloon, finish, run

from guest_driver.balloon_compaction import make_balloon_pages
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MIGRATEPAGE_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import Migratetype, PageFlag
from guest_driver.mm.zone import UNLINKED, MappingId


@pytest.fixture(params=GENERATIONS)
def generation(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["on", "off"])
def enabled(request):
    return request.param


@pytest.fixture
def either(generation, enabled):
    """A balloon of a generation in one of its configurations."""
    return Balloon(generation, balloon_compaction=enabled)


@pytest.fixture
def balloon(generation):
    """A balloon whose pages can be moved."""
    return Balloon(generation)


# Inflating and deflating.


def test_a_balloon_inflates_and_deflates_fully(either):
    """S25: with the option off too."""
    free = either.free
    pages = either.inflate(40)
    assert len(set(pages)) == 40
    assert len(either.pages) == 40
    assert either.free == free - 40
    assert sorted(either.deflate() for _ in range(40)) == sorted(pages)
    assert len(either.pages) == 0
    assert either.free == free
    either.pages.close()


def test_pages_leave_the_list_in_the_reverse_of_the_order_in_which_they_came(either):
    """S8: list_add at the head."""
    pages = either.inflate(3)
    enqueued = pages if either.pages.alloc_under_lock else pages[::-1]
    assert either.listed == enqueued[::-1]
    assert [either.pages.dequeue() for _ in range(3)] == enqueued[::-1]


def test_a_page_in_the_balloon_has_one_reference_and_so_has_a_dequeued_one(either):
    """S16, S23."""
    (page,) = either.inflate()
    assert either.mm.refcount[page] == 1
    assert not either.mm.flags[page] & PageFlag.LOCKED
    assert either.pages.dequeue() == page
    assert either.mm.refcount[page] == 1
    assert not either.mm.flags[page] & PageFlag.LOCKED
    either.pages.release(page)
    assert either.mm.refcount[page] == 0


def test_a_failed_allocation_changes_nothing(either):
    """S16."""
    either.inflate(2)
    free, listed = either.free, either.listed
    either.mm.failing_allocations = 1
    assert either.pages.alloc() is None
    assert (either.free, either.listed, len(either.pages)) == (free, listed, 2)
    assert either.inflate()


def test_a_page_just_allocated_that_is_locked_is_a_bug(generation, enabled, monkeypatch):
    """S16: BUG_ON(!trylock_page()), which is gone in 2026."""
    balloon = Balloon(generation, balloon_compaction=enabled)
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    monkeypatch.setattr(balloon.mm, "alloc_page", lambda _gfp: page)
    assert balloon.mm.trylock_page(page)
    if generation == "2026":
        assert balloon.inflate() == [page]
        return
    with pytest.raises(KernelBugError, match="just allocated, is locked"):
        balloon.inflate()


def test_pages_are_taken_where_their_kind_stands(either, enabled):
    """S13: what cannot be moved must not stand among what can."""
    (page,) = either.inflate()
    expected = Migratetype.MOVABLE if enabled else Migratetype.UNMOVABLE
    assert either.mm.zone.block_type[page >> PAGEBLOCK_ORDER] == expected


def test_what_an_allocation_may_do(either, generation, enabled, monkeypatch):
    """S16: 2012 had lost NOWARN."""
    asked = []
    monkeypatch.setattr(either.mm, "alloc_page", asked.append)
    either.pages.alloc()
    kind = Gfp.HIGHUSER_MOVABLE if enabled else Gfp.HIGHUSER
    nowarn = Gfp(0) if generation == "2012" else Gfp.NOWARN
    assert asked == [kind | Gfp.NOMEMALLOC | Gfp.NORETRY | nowarn]


def test_marks_of_a_page_in_the_balloon(either, generation, enabled):
    """S8: with the option off a page has no identity; 2012 marks none, later ones are offline in either case."""
    (page,) = either.inflate()
    flags = 0
    if generation != "2012":
        flags = PageFlag.OFFLINE | PageFlag.MOVABLE if enabled else PageFlag.OFFLINE
    assert either.mm.flags[page] == flags
    assert (either.mm.mapping[page] >= MappingId.FIRST_REGISTERED) == enabled
    either.pages.dequeue()
    assert (either.mm.flags[page], either.mm.mapping[page]) == (0, MappingId.NONE)


# Dequeueing what is not there.


def test_an_empty_balloon_has_no_page_to_give_and_that_is_a_bug(either):
    """S20 (c)."""
    with pytest.raises(KernelBugError, match="empty balloon"):
        either.pages.dequeue()


def test_while_all_are_isolated_there_is_none_to_give(balloon):
    """S20 (a)."""
    (page,) = balloon.inflate()
    assert balloon.isolate(page)
    assert balloon.pages.dequeue() is None
    run(balloon.mm, balloon.ops(page).putback(page))
    assert balloon.pages.dequeue() == page


def test_locked_pages_are_passed_over(either, generation):
    """S20 (b): but in 2026, when nobody cares for the page lock."""
    either.inflate(3)
    first, second, third = either.listed
    either.mm.trylock_page(first)
    either.mm.trylock_page(third)
    if generation == "2026":
        assert either.pages.dequeue() == first
        return
    assert either.pages.dequeue() == second
    assert either.pages.dequeue() is None
    assert either.listed == [first, third]
    either.mm.unlock_page(third)
    assert either.pages.dequeue() == third


# Without the option.


@pytest.mark.parametrize("generation", GENERATIONS)
def test_without_the_option_compaction_finds_nothing(generation):
    """S11, S17: off."""
    balloon = Balloon(generation, balloon_compaction=False)
    (page,) = balloon.inflate()
    assert balloon.ops(page) is None
    assert not balloon.mm.flags[page] & PageFlag.MOVABLE


# Isolating and putting back.


def test_compaction_reaches_a_page_through_one_table_of_operations(balloon):
    """R3."""
    (page,) = balloon.inflate()
    ops = balloon.ops(page)
    assert ops.movable(page)
    assert all(callable(getattr(ops, name)) for name in ("isolate", "putback", "migrate"))


def test_an_isolated_page_is_off_the_list_and_has_two_references(balloon):
    """S17 (e), S23."""
    first, page, last = balloon.inflate(3)
    assert balloon.isolate(page)
    assert balloon.mm.refcount[page] == 2
    assert sorted(balloon.listed) == sorted([first, last])
    assert balloon.mm.list_next(page) == UNLINKED
    assert balloon.pages.isolated_pages == 1
    assert len(balloon.pages) == 2
    assert not balloon.mm.flags[page] & PageFlag.LOCKED
    balloon.check()


def test_an_isolated_page_is_not_isolated_again(balloon):
    """S17 (c)."""
    (page,) = balloon.inflate()
    assert balloon.isolate(page)
    assert not balloon.isolate(page)
    assert (balloon.mm.refcount[page], balloon.pages.isolated_pages) == (2, 1)
    balloon.check()


def test_a_free_page_is_not_isolated(balloon):
    """S17 (a)."""
    (page,) = balloon.inflate()
    ops, free = balloon.ops(page), balloon.free
    balloon.deflate()
    assert not ops.isolate(page)
    assert balloon.mm.refcount[page] == 0
    assert balloon.free == free + 1


def test_a_locked_page_is_not_isolated(balloon):
    """S17 (b)."""
    (page,) = balloon.inflate()
    balloon.mm.trylock_page(page)
    assert not balloon.isolate(page)
    assert balloon.mm.refcount[page] == 1
    balloon.check()


def test_a_page_that_is_put_back_is_the_next_to_be_dequeued(balloon):
    """S18."""
    pages = balloon.inflate(3)
    assert balloon.isolate(pages[1])
    run(balloon.mm, balloon.ops(pages[1]).putback(pages[1]))
    assert balloon.listed[0] == pages[1]
    assert balloon.pages.isolated_pages == 0
    balloon.check()
    assert balloon.pages.dequeue() == pages[1]


def test_putting_back_waits_for_the_page_lock(balloon):
    """S18: lock_page(), not a try."""
    (page,) = balloon.inflate()
    balloon.isolate(page)
    balloon.mm.trylock_page(page)
    balloon.mm.kernel.spawn(balloon.ops(page).putback(page))
    balloon.mm.kernel.run(0)
    assert balloon.pages.isolated_pages == 1
    balloon.mm.unlock_page(page)
    balloon.mm.kernel.run(0)
    assert balloon.pages.isolated_pages == 0
    balloon.check()


def test_balloons_of_one_guest_keep_their_pages_apart(balloon, generation):
    """S4: several devices."""
    other = Balloon(generation)
    other.mm = balloon.mm

    other.pages = make_balloon_pages(generation, balloon.mm, other.migratepage)
    (page,), (others,) = balloon.inflate(), other.inflate()
    assert balloon.isolate(page)
    assert (balloon.pages.isolated_pages, other.pages.isolated_pages) == (1, 0)
    assert other.isolate(others)
    _, newpage = run(other.mm, other.migrate(others))
    assert other.listed == [newpage]
    assert balloon.listed == []
    assert balloon.calls == []
    run(balloon.mm, balloon.ops(page).putback(page))
    balloon.check()
    other.check()


# Migrating.


def test_after_a_migration_the_new_page_is_first_on_the_list_and_the_old_one_free(balloon, generation):
    """S21 and the rules of ``mm.movable``."""
    page, other = balloon.inflate(2)
    free = balloon.free
    balloon.isolate(page)
    rc, newpage = run(balloon.mm, balloon.migrate(page))
    assert rc == (MIGRATEPAGE_BALLOON_SUCCESS if generation == "2012" else MIGRATEPAGE_SUCCESS)
    assert balloon.mm.refcount[page] == 0
    assert balloon.mm.refcount[newpage] == 1
    assert balloon.listed == [newpage, other]
    assert balloon.free == free
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert balloon.calls == [(newpage, page, MigrateMode.SYNC)]
    balloon.check()


def test_a_migration_that_fails_leaves_the_page_isolated(balloon, generation):
    """S19, S26: the result is passed on."""
    (page,) = balloon.inflate()
    balloon.isolate(page)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    balloon.outcomes = [-errno.EIO]
    balloon.mm.trylock_page(page)
    assert finish(balloon.ops(page).migrate(newpage, page, MigrateMode.ASYNC)) == -errno.EIO
    assert balloon.pages.isolated_pages == 1
    assert (balloon.mm.refcount[page], balloon.mm.refcount[newpage]) == (2, 1)
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert bool(balloon.mm.flags[page] & PageFlag.ISOLATED) == (generation != "2012")
    balloon.check()


def test_a_page_whose_migration_failed_can_be_migrated_later(balloon):
    """S26."""
    (page,) = balloon.inflate()
    balloon.outcomes = [RETRY]
    balloon.isolate(page)
    rc, _ = run(balloon.mm, balloon.migrate(page))
    assert rc == RETRY
    assert balloon.listed == [page]
    balloon.check()
    balloon.isolate(page)
    _, newpage = run(balloon.mm, balloon.migrate(page))
    assert balloon.listed == [newpage]
    balloon.check()


def test_a_migrated_page_can_be_dequeued_and_freed(balloon):
    (page,) = balloon.inflate()
    free = balloon.free
    balloon.isolate(page)
    _, newpage = run(balloon.mm, balloon.migrate(page))
    assert balloon.deflate() == newpage
    assert balloon.free == free + 1
    balloon.pages.close()


def test_while_the_host_is_told_the_new_page_is_nobody_elses(balloon, generation):
    """Rusty Russell on 5/7: the host may take its time, with the page lock held."""
    (page,) = balloon.inflate()
    balloon.isolate(page)
    balloon.outcomes = ["sleep"]
    balloon.mm.kernel.spawn(balloon.migrate(page))
    balloon.mm.kernel.run(0)
    ((newpage, _, _),) = balloon.calls
    assert balloon.mm.flags[page] & PageFlag.LOCKED
    assert balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert not balloon.isolate(newpage)
    assert balloon.listed == ([] if generation == "2026" else [newpage])
    assert balloon.pages.dequeue() is None
    balloon.mm.kernel.wake(balloon.host)
    balloon.mm.kernel.run(0)
    assert balloon.listed == [newpage]
    balloon.check()


# The end.


def test_a_balloon_that_is_closed_has_no_further_use(either):
    """R2."""
    either.pages.close()
    for use in (either.pages.alloc, either.pages.dequeue, either.pages.close):
        with pytest.raises(KernelBugError, match="use of a balloon"):
            use()


def test_a_balloon_with_pages_is_not_closed(either):
    either.inflate()
    with pytest.raises(KernelBugError, match="1 pages in it"):
        either.pages.close()
    assert either.deflate()
    either.pages.close()


def test_an_isolated_page_keeps_the_balloon_open(balloon):
    (page,) = balloon.inflate()
    balloon.isolate(page)
    with pytest.raises(KernelBugError, match="1 pages in it"):
        balloon.pages.close()


def test_closing_gives_back_what_the_interface_took(either, generation, enabled):
    """S3, S6: a mapping number is free again."""
    either.pages.close()

    for _ in range(600):
        make_balloon_pages(generation, either.mm, either.migratepage, balloon_compaction=enabled).close()

import pytest
from support.balloon_interface import Balloon, finish, other_thread, run

from guest_driver.balloon_compaction.preempt import Step
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import PageFlag


@pytest.fixture(params=["2022", "2026"])
def balloon(request):
    return Balloon(request.param)


def isolated_page(balloon):
    (page,) = balloon.inflate()
    assert balloon.isolate(page)
    return page


def test_an_isolated_page_is_marked_by_the_core_until_it_is_back(balloon):
    page = isolated_page(balloon)
    ops = balloon.ops(page)
    assert balloon.mm.flags[page] == PageFlag.OFFLINE | PageFlag.MOVABLE | PageFlag.ISOLATED
    assert not ops.movable(page)
    run(balloon.mm, ops.putback(page))
    assert balloon.mm.flags[page] == PageFlag.OFFLINE | PageFlag.MOVABLE
    assert ops.movable(page)


def test_a_page_without_operations_is_not_isolated(balloon):
    (page,) = balloon.inflate()
    ops = balloon.ops(page)
    stranger = balloon.mm.alloc_page(Gfp.HIGHUSER)
    steps = []
    balloon.bdi.preempt = steps.append
    assert not ops.movable(stranger)
    assert not ops.isolate(stranger)
    assert balloon.mm.refcount[stranger] == 1
    assert Step.ISOLATE_LOCKED not in steps, "the lock of a stranger's page is left alone"


def test_an_extra_reference_does_not_keep_a_page_from_being_isolated(balloon):
    """Since 4.8 the flag says that it is isolated, not its references."""
    (page,) = balloon.inflate()
    balloon.mm.get_page(page)
    assert balloon.isolate(page)
    assert balloon.mm.refcount[page] == 3


def test_a_page_that_is_no_longer_the_owners_is_given_up(balloon):
    page = isolated_page(balloon)
    ops = balloon.ops(page)
    balloon.pages._interface.balloon_page_finalize(page)
    run(balloon.mm, ops.putback(page))
    assert balloon.mm.refcount[page] == 1
    assert balloon.mm.flags[page] == 0
    assert balloon.listed == []


def test_a_page_that_its_owner_released_needs_no_migration(balloon):
    page = isolated_page(balloon)
    ops, newpage = balloon.ops(page), balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    balloon.pages._interface.balloon_page_finalize(page)
    balloon.mm.trylock_page(page)
    assert finish(ops.migrate(newpage, page, MigrateMode.SYNC)) == MIGRATEPAGE_SUCCESS
    assert balloon.calls == []
    assert (balloon.mm.refcount[newpage], balloon.mm.flags[newpage], balloon.mm.flags[page]) == (1, 0, PageFlag.LOCKED)


@pytest.mark.parametrize("locked_by_core", [True, False])
def test_both_pages_are_locked_while_the_driver_moves_them(balloon, locked_by_core):
    page = isolated_page(balloon)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    balloon.mm.trylock_page(page)
    if locked_by_core:
        balloon.mm.trylock_page(newpage)
    balloon.outcomes = ["sleep"]
    thread = balloon.ops(page).migrate(newpage, page, MigrateMode.SYNC)
    assert next(thread) is balloon.host
    assert balloon.mm.flags[page] & balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert finish(thread) == MIGRATEPAGE_SUCCESS
    assert bool(balloon.mm.flags[newpage] & PageFlag.LOCKED) == locked_by_core
    assert not balloon.mm.flags[newpage] & PageFlag.ISOLATED


def test_an_unlocked_page_is_not_migrated(balloon):
    page = isolated_page(balloon)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    with pytest.raises(KernelBugError, match="PAGE_LOCK is not held"):
        finish(balloon.ops(page).migrate(newpage, page, MigrateMode.SYNC))


def test_a_new_page_that_another_thread_has_locked_is_a_bug(balloon):
    page = isolated_page(balloon)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    balloon.mm.trylock_page(page)
    with other_thread(balloon.mm):
        balloon.mm.trylock_page(newpage)
    with pytest.raises(KernelBugError, match="PAGE_LOCK is not held"):
        finish(balloon.ops(page).migrate(newpage, page, MigrateMode.SYNC))


def test_who_wins_against_a_release_frees_the_page(balloon):
    """S17 (f)."""
    (page,) = balloon.inflate()
    free = balloon.free

    def release(step):
        if step == Step.ISOLATE_REFERENCED:
            with other_thread(balloon.mm):
                balloon.deflate()

    balloon.bdi.preempt = release
    assert not balloon.isolate(page)
    assert balloon.free == free + 1

"""Who holds what, and in which order: checked by lockdep in every test; here that it would be found out."""

import pytest
from support.balloon_interface import GENERATIONS, Balloon, finish, run

from guest_driver.errors import KernelBugError, LockOrderError
from guest_driver.mm.lockdep import LockClass
from guest_driver.mm.mem_map import Gfp


@pytest.fixture(params=[True, False], ids=["on", "off"])
def balloon(request):
    return Balloon("2012", balloon_compaction=request.param)


@pytest.mark.parametrize("locks", ["none", "page", "list"])
def test_a_page_is_inserted_under_both_locks(balloon, locks):
    """R4, R12, S22: instead of a barrier."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    hold(balloon, page, locks)
    with pytest.raises(KernelBugError, match="is not held"):
        balloon.pages._interface.balloon_page_insert(page, balloon.bdi.mapping, balloon.bdi)
    assert balloon.listed == []


@pytest.mark.parametrize("locks", ["none", "page", "list"])
def test_a_page_is_deleted_under_both_locks(balloon, locks):
    """R5, R12, S22."""
    (page,) = balloon.inflate()
    hold(balloon, page, locks)
    with pytest.raises(KernelBugError, match="is not held"):
        balloon.pages._interface.balloon_page_delete(page, balloon.bdi)
    assert balloon.listed == [page]


def hold(balloon, page, locks):
    if locks == "page":
        balloon.mm.trylock_page(page)
    if locks == "list":
        balloon.bdi.pages_lock.__enter__()


def test_the_list_lock_is_behind_the_page_lock(balloon):
    """S22, R12."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    with balloon.bdi.pages_lock, pytest.raises(LockOrderError, match="PAGE_LOCK taken behind PAGES_LOCK"):
        finish(balloon.mm.lock_page(page))


@pytest.mark.parametrize("generation", ["2022", "2026"])
def test_later_a_page_is_inserted_under_the_list_lock(generation):
    balloon = Balloon(generation)
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    with pytest.raises(KernelBugError, match="PAGES_LOCK is not held"):
        balloon.pages._interface.balloon_page_insert(balloon.bdi, page)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_spinlock_is_not_taken_twice(generation):
    bdi = Balloon(generation).bdi
    with bdi.pages_lock, pytest.raises(LockOrderError):
        bdi.pages_lock.__enter__()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_spinlock_is_let_go_of_when_something_goes_wrong_behind_it(generation):
    balloon = Balloon(generation)
    with pytest.raises(KernelBugError):
        balloon.pages.dequeue()
    assert balloon.inflate()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_everything_may_be_done_under_the_drivers_mutex(generation):
    """S22: balloon_lock is the outermost."""
    balloon = Balloon(generation)
    balloon.mm.lockdep.acquired(LockClass.BALLOON_LOCK)
    page, _ = balloon.inflate(2)
    balloon.isolate(page)
    run(balloon.mm, balloon.ops(page).putback(page))
    assert balloon.deflate() == page
    balloon.mm.lockdep.released(LockClass.BALLOON_LOCK)


@pytest.mark.parametrize("generation", GENERATIONS)
def test_no_lock_is_left_behind(generation):
    balloon = Balloon(generation)
    pages = balloon.inflate(3)
    balloon.isolate(pages[0])
    balloon.isolate(pages[0])
    run(balloon.mm, balloon.migrate(pages[0]))
    balloon.deflate()
    balloon.mm.lockdep.acquired(LockClass.BALLOON_LOCK)

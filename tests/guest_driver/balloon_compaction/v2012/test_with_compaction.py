from errno import EAGAIN

import pytest
from support.balloon_interface import Balloon, finish, other_thread, run

from guest_driver.balloon_compaction.preempt import Step
from guest_driver.balloon_compaction.v2012.address_space import mapping_clear_balloon, mapping_set_balloon
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.zone import MappingId


@pytest.fixture
def balloon():
    return Balloon("2012")


@pytest.fixture
def interface(balloon):
    return balloon.pages._interface


# Inserting and deleting.


def test_an_inserted_page_is_first_and_has_the_mapping(balloon, interface):
    """S8."""
    (old,) = balloon.inflate()
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    balloon.mm.trylock_page(page)
    with balloon.bdi.pages_lock:
        interface.balloon_page_insert(page, balloon.bdi.mapping, balloon.bdi)
    assert balloon.listed == [page, old]
    assert balloon.mm.mapping[page] == balloon.bdi.mapping.number


def test_a_deleted_page_is_no_balloon_page(balloon, interface):
    """S9."""
    page, other = balloon.inflate(2)
    balloon.mm.trylock_page(page)
    with balloon.bdi.pages_lock:
        interface.balloon_page_delete(page, balloon.bdi)
    assert balloon.listed == [other]
    assert balloon.mm.mapping[page] == MappingId.NONE
    assert not interface.balloon_page_movable(page)
    assert not interface.is_movable_balloon_page(page)


def test_a_page_that_is_not_in_a_balloon_cannot_be_deleted(balloon, interface):
    """S9."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    balloon.mm.trylock_page(page)
    with balloon.bdi.pages_lock, pytest.raises(KernelBugError):
        interface.balloon_page_delete(page, balloon.bdi)


# Recognising.


def test_a_balloon_page_is_known_by_the_flag_of_its_mapping(balloon, interface):
    """S10."""
    (page,) = balloon.inflate()
    assert interface.is_movable_balloon_page(page)
    balloon.bdi.mapping.flags = 0
    assert not interface.is_movable_balloon_page(page)


@pytest.mark.parametrize("flag", [PageFlag.SLAB, PageFlag.SWAP_CACHE, PageFlag.ANON, PageFlag.MAPPED])
def test_pages_that_use_their_mapping_otherwise_are_none(balloon, interface, flag):
    """S11, R7: each of the four."""
    (page,) = balloon.inflate()
    assert interface.balloon_page_movable(page)
    balloon.mm.flags[page] |= flag
    assert not interface.balloon_page_movable(page)
    assert interface.is_movable_balloon_page(page)


def test_recognising_takes_no_lock(balloon, interface):
    """S11."""
    (page,) = balloon.inflate()
    balloon.mm.trylock_page(page)
    assert interface.balloon_page_movable(page)


def test_a_page_knows_its_device(balloon, interface):
    """S12."""
    (page,) = balloon.inflate()
    assert interface.balloon_page_device(page) is balloon.bdi
    balloon.pages.dequeue()
    assert interface.balloon_page_device(page) is None


def test_the_answer_without_a_lock_may_be_stale_and_is_asked_again_under_it(balloon, interface):
    """R6, S11, S17 (d): so no barrier is needed."""
    (page,) = balloon.inflate()

    def dequeue(step):
        if step == Step.ISOLATE:
            balloon.bdi.preempt = None
            with other_thread(balloon.mm):
                assert balloon.pages.dequeue() == page

    balloon.bdi.preempt = dequeue
    assert interface.balloon_page_movable(page)
    assert not interface.balloon_page_isolate(page)
    assert balloon.mm.refcount[page] == 1
    assert balloon.bdi.isolated_pages == 0


# Isolating.


def test_who_wins_against_a_release_frees_the_page(balloon, interface):
    """S17 (f): else it would leak."""
    (page,) = balloon.inflate()
    free = balloon.free

    def release(step):
        if step == Step.ISOLATE_REFERENCED:
            with other_thread(balloon.mm):
                balloon.deflate()
            assert balloon.mm.refcount[page] == 1
            assert balloon.free == free

    balloon.bdi.preempt = release
    assert not interface.balloon_page_isolate(page)
    assert balloon.mm.refcount[page] == 0
    assert balloon.free == free + 1


def test_a_page_that_somebody_else_refers_to_is_not_isolated(balloon, interface):
    """S17: page_count() == 2, the balloon's and the isolating thread's."""
    (page,) = balloon.inflate()
    balloon.mm.get_page(page)
    assert not interface.balloon_page_isolate(page)
    assert balloon.mm.refcount[page] == 2
    balloon.mm.put_page(page)
    assert interface.balloon_page_isolate(page)


def test_a_page_whose_mapping_is_no_balloons_is_not_isolated(balloon, interface):
    """S17: the check is made again, and is not of the references alone."""
    (page,) = balloon.inflate()
    mapping_clear_balloon(balloon.bdi.mapping)
    assert not interface.balloon_page_isolate(page)
    assert (balloon.listed, balloon.mm.refcount[page]) == ([page], 1)
    mapping_set_balloon(balloon.bdi.mapping)
    assert interface.balloon_page_isolate(page)


# Putting back.


def test_what_is_no_balloon_page_is_not_put_back(balloon, interface):
    """S18: a warning, and no reference and no count changes."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    run(balloon.mm, interface.balloon_page_putback(page))
    assert len(balloon.mm.warnings) == 1
    assert balloon.mm.refcount[page] == 1
    assert not balloon.mm.flags[page] & PageFlag.LOCKED
    assert (balloon.listed, balloon.bdi.isolated_pages) == ([], 0)


# Migrating.


def migration(balloon, *, isolated=True):
    (page,) = balloon.inflate()
    if isolated:
        balloon.isolate(page)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
    balloon.mm.trylock_page(page)
    return page, newpage


def test_success_is_told_apart_from_that_of_other_pages(balloon, interface):
    """S21, S19: 1, and the new page has the reference that it was allocated with."""
    page, newpage = migration(balloon)
    assert finish(interface.balloon_page_migrate(newpage, page, MigrateMode.SYNC)) == MIGRATEPAGE_BALLOON_SUCCESS
    assert (balloon.mm.refcount[page], balloon.mm.refcount[newpage]) == (2, 1)
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert balloon.mm.flags[page] & PageFlag.LOCKED
    assert MIGRATEPAGE_BALLOON_SUCCESS == 1


def test_a_locked_page_to_migrate_to_is_a_bug(balloon, interface):
    """S19."""
    page, newpage = migration(balloon)
    balloon.mm.trylock_page(newpage)
    with pytest.raises(KernelBugError, match="to migrate to"):
        finish(interface.balloon_page_migrate(newpage, page, MigrateMode.SYNC))


def test_what_is_no_balloon_page_is_not_migrated(balloon, interface):
    """S19: -EAGAIN and a warning, and the new page is unlocked."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    newpage = balloon.mm.alloc_page(Gfp.HIGHUSER)
    assert finish(interface.balloon_page_migrate(newpage, page, MigrateMode.SYNC)) == -EAGAIN
    assert len(balloon.mm.warnings) == 1
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED
    assert balloon.calls == []


def test_without_operations_nothing_migrates(balloon, interface):
    """S19: the result is -EAGAIN unless the driver says otherwise."""
    page, newpage = migration(balloon)
    balloon.bdi.mapping.a_ops = None
    assert finish(interface.balloon_page_migrate(newpage, page, MigrateMode.SYNC)) == -EAGAIN
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED


@pytest.mark.parametrize("rc", [-EAGAIN, -5, 0, 1])
def test_what_the_driver_says_is_passed_on(balloon, interface, rc):
    """S19."""
    page, newpage = migration(balloon)
    balloon.outcomes = [rc]
    assert finish(interface.balloon_page_migrate(newpage, page, MigrateMode.ASYNC)) == rc
    assert balloon.calls == [(newpage, page, MigrateMode.ASYNC)]
    assert not balloon.mm.flags[newpage] & PageFlag.LOCKED

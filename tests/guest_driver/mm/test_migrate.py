import errno

import pytest
from support.mm import Owner, booted, check_zone, laid_out, memory_of, run, start

from guest_driver.errors import KernelBugError
from guest_driver.mm.compact_control import Cc, make_control
from guest_driver.mm.compact_zone import release_freepages
from guest_driver.mm.migrate import isolate, migrate_owned, put_back_owned
from guest_driver.mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount

PAGES = [100, 200, 300]
BLOCK = 512
MIDDLES = range(256, 4 * BLOCK, BLOCK)


class Rig:
    """Four pageblocks, none free as a whole, and three owned pages in the first that a run has isolated to migrate."""

    def __init__(self, mode=MigrateMode.SYNC, *, direct=False, frames=4 * BLOCK):
        self.mm = memory_of(laid_out(frames, [*PAGES, *MIDDLES[: frames // BLOCK]]))
        self.zone = self.mm.zone
        self.owner = Owner(self.mm)
        self.cc = make_control(-1, mode, direct=direct, whole_zone=True, ignore_skip_hint=True)
        self.cc.numbers[Cc.FREE_PFN] = frames - BLOCK
        self.cc.numbers[Cc.BATCH] = len(PAGES)
        for page in PAGES:
            self.owner.adopt(page)
            assert isolate(self.mm, page)
            self.cc.owned_pages[self.cc.numbers[Cc.NR_OWNED]] = page
            self.cc.numbers[Cc.NR_OWNED] += 1

    def migrate(self):
        run(self.mm.kernel, migrate_owned(self.mm, self.cc))

    def start(self):
        return start(self.mm.kernel, migrate_owned(self.mm, self.cc))

    def settle(self):
        """Free what was not used, and demand that no page is lost."""
        release_freepages(self.zone, self.cc)
        census = check_zone(self.zone)
        assert census.plain <= set(MIDDLES)
        assert census.owned == self.owner.pages
        assert all(self.zone.refcount[page] == 1 for page in census.owned)
        assert not self.owner.isolated
        assert self.cc.numbers[Cc.NR_OWNED] == 0

    def event(self, event):
        return int(self.mm.events[event])


def test_pages_of_no_operations_are_not_isolated():
    mm = memory_of(booted(BLOCK))
    mm.mapping[5] = mm.register(object())
    assert mm.movable_operations(5) is None
    assert not isolate(mm, 5)


def test_a_page_that_its_owner_does_not_call_movable_is_not_isolated():
    rig = Rig()
    rig.mm.mapping[400] = rig.owner.mapping
    assert not isolate(rig.mm, 400)


def test_pages_go_to_the_top_the_last_isolated_first():
    rig = Rig()
    rig.migrate()
    old, new = zip(*rig.owner.migrations, strict=True)
    assert old == (300, 200, 100)
    assert new == (1791, 1790, 1789)
    rig.settle()
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 3
    assert rig.event(VmEvent.PGMIGRATE_FAIL) == 0
    assert check_zone(rig.zone).free[0] == 8


def test_a_page_can_be_migrated_again_and_again():
    """B1: each page of 2012 migrated only once."""
    rig = Rig()
    for _ in range(4):
        rig.migrate()
        rig.cc.numbers[Cc.FREE_PFN] = 3 * BLOCK
        for number, page in enumerate(sorted(rig.owner.pages)):
            assert isolate(rig.mm, page)
            rig.cc.owned_pages[number] = page
        rig.cc.numbers[Cc.NR_OWNED] = 3
    assert len(rig.owner.migrations) == 12
    run(rig.mm.kernel, put_back_owned(rig.mm, rig.cc))
    rig.settle()


def test_balloon_success_leaves_the_new_page_the_reference_it_was_allocated_with():
    """S21."""
    rig = Rig()
    rig.owner.answers = [MIGRATEPAGE_BALLOON_SUCCESS] * 3
    rig.migrate()
    rig.settle()
    assert not rig.owner.pages & set(PAGES)


def test_a_page_that_somebody_refers_to_after_its_migration_is_a_bug():
    rig = Rig()
    rig.mm.get_page(300)
    with pytest.raises(KernelBugError, match="page 300 was migrated"):
        rig.migrate()


def test_again_is_tried_ten_times_and_the_page_put_back():
    rig = Rig()
    rig.owner.answers = [-errno.EAGAIN] * 100
    rig.migrate()
    assert len(rig.owner.migrations) == 30
    assert rig.owner.put_back == [300, 200, 100]
    assert rig.event(VmEvent.PGMIGRATE_FAIL) == rig.cc.numbers[Cc.FAILED] == 3
    rig.settle()


def test_again_can_be_a_success_later():
    rig = Rig()
    rig.owner.answers = [-errno.EAGAIN] * 5
    rig.migrate()
    assert [old for old, _ in rig.owner.migrations] == [300, 200, 100, 300, 200, 100, 300, 200]
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 3
    assert not rig.owner.put_back
    rig.settle()


def test_the_page_that_was_not_used_is_the_next_to_be_handed_out():
    rig = Rig()
    rig.owner.answers = [-errno.EAGAIN]
    rig.migrate()
    assert [new for _, new in rig.owner.migrations] == [1791, 1791, 1790, 1789]


def test_another_error_is_final():
    rig = Rig()
    rig.owner.answers = [-errno.EBUSY]
    rig.migrate()
    assert len(rig.owner.migrations) == 3
    assert rig.owner.put_back == [300]
    assert rig.event(VmEvent.PGMIGRATE_FAIL) == 1
    rig.settle()


def test_a_partial_batch_goes_back_to_its_owner():
    """B5, S26."""
    rig = Rig()
    rig.owner.answers = [0, -errno.EINVAL, -errno.EINVAL]
    rig.migrate()
    assert rig.owner.put_back == [200, 100]
    assert len(rig.owner.pages) == 3
    rig.settle()


def test_with_no_page_to_migrate_to_the_rest_is_not_tried():
    rig = Rig(frames=BLOCK)  # there is nothing above the block that is being emptied
    rig.migrate()
    assert rig.owner.migrations == []
    assert rig.cc.numbers[Cc.OUT_OF_FREE_PAGES]
    assert rig.event(VmEvent.PGMIGRATE_FAIL) == 1
    assert sorted(rig.owner.put_back) == PAGES
    rig.settle()


@pytest.mark.parametrize("mode", [MigrateMode.SYNC, MigrateMode.SYNC_LIGHT])
def test_a_page_lock_is_waited_for_from_the_fourth_pass_on(mode):
    rig = Rig(mode)
    rig.owner.answers = [-errno.EAGAIN] * 6  # the other two, in the first three passes
    assert rig.mm.trylock_page(200)
    outcome = rig.start()
    assert not outcome.done
    assert [old for old, _ in rig.owner.migrations] == [300, 100, 300, 100, 300, 100, 300]
    rig.mm.unlock_page(200)
    rig.mm.kernel.run(0)
    assert outcome.done
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 3
    rig.settle()


@pytest.mark.parametrize(("mode", "direct"), [(MigrateMode.ASYNC, False), (MigrateMode.SYNC_LIGHT, True)])
def test_a_page_lock_is_never_waited_for_without_blocking_or_while_allocating(mode, direct):
    rig = Rig(mode, direct=direct)
    assert rig.mm.trylock_page(200)
    outcome = rig.start()
    assert rig.event(VmEvent.PGMIGRATE_FAIL) == 1
    rig.mm.unlock_page(200)
    rig.mm.kernel.run(0)  # putting back waits for the lock in any mode
    assert outcome.done
    assert rig.owner.put_back == [200]
    rig.settle()


def test_a_page_freed_by_its_owner_while_isolated_is_freed_for_good():
    rig = Rig()
    rig.owner.isolated.remove(200)
    rig.owner.free(200)
    rig.migrate()
    assert [old for old, _ in rig.owner.migrations] == [300, 100]
    assert rig.event(VmEvent.PGMIGRATE_SUCCESS) == 3
    rig.settle()


def test_a_page_disowned_while_isolated_is_let_go_of_once_it_cannot_be_migrated():
    rig = Rig()
    rig.owner.isolated.remove(200)
    rig.owner.disown(200)
    rig.migrate()
    assert rig.zone.refcount[200] == 1
    assert not rig.zone.flags[200] & int(PageFlag.ISOLATED)
    rig.mm.put_page(200)
    rig.settle()


def test_an_owner_that_sleeps_lets_other_threads_run():
    rig = Rig()
    rig.owner.slow = True
    outcome = rig.start()
    log = []

    def other():
        log.append(rig.mm.trylock_page(300))
        yield 0.0

    start(rig.mm.kernel, other())
    assert log == [False]  # the old page is locked all the while
    assert not outcome.done
    while not outcome.done:
        rig.mm.kernel.wake(rig.owner.host)
        rig.mm.kernel.run(0)
    rig.settle()


def test_what_is_put_back_goes_the_last_isolated_first():
    rig = Rig()
    run(rig.mm.kernel, put_back_owned(rig.mm, rig.cc))
    assert rig.owner.put_back == [300, 200, 100]
    rig.settle()


def test_free_memory_near_the_min_watermark_is_not_taken():
    rig = Rig()
    rig.zone.counts[ZoneCount.WMARK_MIN] = rig.zone.counts[ZoneCount.FREE] - 256
    rig.migrate()
    assert rig.owner.migrations == []
    assert rig.cc.numbers[Cc.OUT_OF_FREE_PAGES]
    rig.settle()

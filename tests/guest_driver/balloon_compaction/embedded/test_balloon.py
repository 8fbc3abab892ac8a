"""The functions of 2022 and 2026 that :class:`BalloonPages` does not call, or not in every way."""

import errno

import pytest
from support.balloon_interface import Balloon, finish, other_thread, run

from guest_driver.balloon_compaction.preempt import Step
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount


@pytest.fixture(params=["2022", "2026"])
def balloon(request):
    return Balloon(request.param)


@pytest.fixture
def interface(balloon):
    return balloon.pages._interface


def test_a_new_device_info_is_empty(balloon):
    assert (balloon.listed, balloon.bdi.isolated_pages, balloon.bdi.held) == ([], 0, 0)
    assert not balloon.bdi.adjust_managed_page_count


def test_pages_are_enqueued_as_a_list(balloon, interface):
    pages = [interface.balloon_page_alloc() for _ in range(5)]
    assert interface.balloon_page_list_enqueue(balloon.bdi, pages) == 5
    assert balloon.listed == pages[::-1]
    assert interface.balloon_page_list_enqueue(balloon.bdi, []) == 0
    balloon.check()


def test_no_more_pages_are_dequeued_than_were_asked_for(balloon, interface):
    balloon.inflate(5)
    listed = balloon.listed
    assert interface.balloon_page_list_dequeue(balloon.bdi, 2) == listed[1::-1]
    assert balloon.listed == listed[2:]
    assert len(interface.balloon_page_list_dequeue(balloon.bdi, 9)) == 3
    assert interface.balloon_page_list_dequeue(balloon.bdi, 9) == []
    assert balloon.mm.events[VmEvent.BALLOON_DEFLATE] == 5


def test_what_is_no_balloon_page_is_put_back_with_a_warning(balloon, interface):
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    interface.putback_page(page)
    assert len(balloon.mm.warnings) == 1
    assert (balloon.listed, balloon.bdi.isolated_pages) == ([], 0)


# 2022.


def test_in_2022_every_device_has_its_own_lock():
    balloon = Balloon("2022")
    other = balloon.pages._interface.balloon_devinfo_init(balloon.migratepage)
    with other.pages_lock, pytest.raises(KernelBugError):
        balloon.bdi.pages_lock.assert_held()


def test_in_2022_what_was_not_copied_cannot_be_migrated():
    balloon = Balloon("2022")
    (page,) = balloon.inflate()
    balloon.isolate(page)
    rc, _ = run(balloon.mm, balloon.migrate(page, MigrateMode.SYNC_NO_COPY))
    assert rc == -errno.EINVAL
    assert balloon.calls == []
    assert balloon.listed == [page]
    balloon.check()


def test_in_2022_the_old_page_is_offline_until_the_host_was_told_of_it():
    balloon = Balloon("2022")
    (page,) = balloon.inflate()
    balloon.isolate(page)
    balloon.outcomes = ["sleep"]
    balloon.mm.kernel.spawn(balloon.migrate(page))
    balloon.mm.kernel.run(0)
    ((newpage, _, _),) = balloon.calls
    assert balloon.mm.flags[page] & balloon.mm.flags[newpage] & PageFlag.OFFLINE
    assert (balloon.mm.refcount[page], balloon.mm.refcount[newpage]) == (2, 2)
    assert balloon.pages.isolated_pages == 0
    assert balloon.mm.events[VmEvent.BALLOON_MIGRATE] == 1


def test_in_2022_the_page_lock_keeps_a_page_in_the_balloon_while_it_is_isolated():
    balloon = Balloon("2022")
    (page,) = balloon.inflate()
    dequeued = []

    def dequeue(step):
        if step == Step.ISOLATE_CHECKED:
            balloon.bdi.preempt = None
            with other_thread(balloon.mm):
                dequeued.append(balloon.pages.dequeue())

    balloon.bdi.preempt = dequeue
    assert balloon.isolate(page)
    assert dequeued == [None]
    balloon.check()


def test_in_2022_a_page_of_no_balloon_is_not_isolated_from_one():
    balloon = Balloon("2022")
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    with pytest.raises(KernelBugError, match="PAGE_LOCK"):
        balloon.pages._interface.isolate_page(page)
    balloon.mm.trylock_page(page)
    with pytest.raises(KernelBugError, match="not of"):
        balloon.pages._interface.isolate_page(page)
    assert finish(balloon.pages._interface.migrate_page(page, page, MigrateMode.SYNC)) == -errno.EAGAIN


# 2026.


def test_in_2026_there_is_one_lock():
    balloon = Balloon("2026")
    other = balloon.pages._interface.balloon_devinfo_init(balloon.migratepage)
    with other.pages_lock:
        balloon.bdi.pages_lock.assert_held()


def test_in_2026_a_page_that_was_deflated_meanwhile_is_not_isolated():
    """Though whoever isolates it has its lock: that no longer says anything."""
    balloon = Balloon("2026")
    (page,) = balloon.inflate()
    free = balloon.free

    def deflate(step):
        if step == Step.ISOLATE_CHECKED:
            balloon.bdi.preempt = None
            with other_thread(balloon.mm):
                assert balloon.deflate() == page

    balloon.bdi.preempt = deflate
    assert not balloon.isolate(page)
    assert balloon.pages.isolated_pages == 0
    assert balloon.free == free + 1


def test_in_2026_the_guest_changes_after_the_host_was_told():
    balloon = Balloon("2026")
    (page,) = balloon.inflate()
    balloon.isolate(page)
    balloon.outcomes = ["sleep"]
    balloon.mm.kernel.spawn(balloon.migrate(page))
    balloon.mm.kernel.run(0)
    ((newpage, _, _),) = balloon.calls
    assert balloon.mm.flags[newpage] == PageFlag.LOCKED
    assert (balloon.mm.refcount[page], balloon.mm.refcount[newpage]) == (2, 1)
    assert balloon.pages.isolated_pages == 1
    assert balloon.mm.events[VmEvent.BALLOON_MIGRATE] == 0
    balloon.mm.kernel.wake(balloon.host)
    balloon.mm.kernel.run(0)
    assert balloon.mm.events[VmEvent.BALLOON_MIGRATE] == 1
    assert balloon.pages.isolated_pages == 0


def test_in_2026_a_page_that_only_left_is_deflated():
    """-ENOENT: the old page is deflated, the new one was not inflated."""
    balloon = Balloon("2026")
    page, other = balloon.inflate(2)
    free = balloon.free
    balloon.isolate(page)
    balloon.outcomes = [-errno.ENOENT]
    rc, newpage = run(balloon.mm, balloon.migrate(page))
    assert rc == MIGRATEPAGE_SUCCESS
    assert balloon.listed == [other]
    assert (balloon.mm.refcount[page], balloon.mm.refcount[newpage]) == (0, 0)
    assert balloon.free == free + 1
    assert balloon.mm.events[VmEvent.BALLOON_DEFLATE] == 1
    assert balloon.mm.events[VmEvent.BALLOON_MIGRATE] == 0
    balloon.check()


@pytest.mark.parametrize("adjusts", [True, False])
def test_in_2026_the_interface_accounts_for_memory_if_it_is_to(adjusts):
    balloon = Balloon("2026")
    balloon.bdi.adjust_managed_page_count = adjusts
    managed = balloon.mm.counts[ZoneCount.MANAGED]

    def missing():
        return managed - balloon.mm.counts[ZoneCount.MANAGED]

    page, _, _ = balloon.inflate(3)
    assert missing() == (3 if adjusts else 0)
    balloon.isolate(page)
    _, page = run(balloon.mm, balloon.migrate(page))
    assert missing() == (3 if adjusts else 0)
    balloon.isolate(page)
    balloon.outcomes = [-errno.ENOENT]
    run(balloon.mm, balloon.migrate(page))
    assert missing() == (2 if adjusts else 0)
    balloon.deflate()
    assert missing() == (1 if adjusts else 0)


def test_in_2026_what_is_no_balloon_page_is_not_migrated():
    balloon = Balloon("2026")
    page, newpage = (balloon.mm.alloc_page(Gfp.HIGHUSER) for _ in range(2))
    assert finish(balloon.pages._interface.migrate_page(newpage, page, MigrateMode.SYNC)) == -errno.EAGAIN
    assert len(balloon.mm.warnings) == 1
    assert not balloon.pages._interface.isolate_page(page)

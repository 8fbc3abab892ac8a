import errno

import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, Bench, bench

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_BALLOON_SUCCESS, MIGRATEPAGE_SUCCESS, MigrateMode
from guest_driver.mm.page_flags import Migratetype
from guest_driver.mm.zone import ZoneCount
from protocol.balloon.features import BalloonFeature

every_interface = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])

PAGE = FIRST_FREE_PFN + 3


def isolated(made: Bench) -> int:
    """Take a page from the balloon as compaction does; return the page that is to stand for it."""
    mm = made.guest.mm
    assert mm.page_mapping(PAGE).isolate(PAGE)
    return mm.alloc_page(Gfp.HIGHUSER_MOVABLE)


def migrate(made: Bench, newpage: int, mode: MigrateMode = MigrateMode.SYNC):
    """Do what the core of migration does around the owner's operations."""
    mm = made.guest.mm
    assert mm.trylock_page(PAGE)
    rc = yield from mm.page_mapping(PAGE).migrate(newpage, PAGE, mode)
    mm.unlock_page(PAGE)
    if rc >= 0:
        mm.put_page(PAGE)
        mm.put_page(PAGE if rc == MIGRATEPAGE_BALLOON_SUCCESS else newpage)
    return rc


@every_interface
def test_the_new_page_is_inflated_then_the_old_one_deflated_in_requests_of_one_frame(interface):
    with bench(interface=interface) as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.log.clear()
        (rc,) = made.start(migrate(made, newpage))
        assert rc == (MIGRATEPAGE_BALLOON_SUCCESS if interface == "2012" else MIGRATEPAGE_SUCCESS)
        assert made.device.order("inflateq", "deflateq", "actual") == ["inflateq", "deflateq"]
        assert (made.seen("inflateq"), made.seen("deflateq")) == ([[newpage]], [[PAGE]])
        assert made.driver.num_pages == len(made.driver.pages) == 10
        assert made.driver.pages.isolated_pages == 0
        assert made.guest.mm.refcount[PAGE] == 0
        assert made.guest.mm.refcount[newpage] == 1


@every_interface
@pytest.mark.parametrize("deflate_on_oom", [0, BalloonFeature.DEFLATE_ON_OOM], ids=["", "deflate on oom"])
def test_a_migration_changes_neither_total_nor_free_memory(interface, deflate_on_oom):
    with bench(offered=OFFERED | deflate_on_oom, interface=interface) as made:
        made.resize(10)
        free, managed = made.guest.counts.free, made.guest.mm.counts[ZoneCount.MANAGED]
        made.start(migrate(made, isolated(made)))
        assert (made.guest.counts.free, made.guest.mm.counts[ZoneCount.MANAGED]) == (free, managed)
        made.resize(0)
        assert made.guest.counts.free == free + 10
        assert [sum(map(len, made.seen(queue))) for queue in ("inflateq", "deflateq")] == [11, 11]


@every_interface
def test_each_request_of_a_migration_is_waited_for(interface):
    with bench(interface=interface) as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.answers = False
        made.device.log.clear()
        rc = made.start(migrate(made, newpage))
        assert (made.device.order("inflateq", "deflateq"), rc) == (["inflateq"], [])
        made.device.answer()
        made.settle()
        assert (made.device.order("inflateq", "deflateq"), rc) == (["inflateq", "deflateq"], [])
        made.device.answer()
        made.settle()
        assert len(rc) == 1


@every_interface
def test_while_a_request_is_under_way_a_migration_is_told_to_come_again(interface):
    """Section 2.4: balloon_lock is tried only."""
    with bench(interface=interface) as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.answers = False
        made.resize(20)
        made.device.log.clear()
        assert made.start(migrate(made, newpage)) == [-errno.EAGAIN]
        assert made.device.log == []
        assert made.driver.pages.isolated_pages == 1
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.start(migrate(made, newpage))[0] >= 0


@every_interface
def test_during_a_migration_nothing_else_is_sent_and_the_target_is_followed_after_it(interface):
    with bench(interface=interface) as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.answers = False
        made.device.log.clear()
        made.start(migrate(made, newpage))
        made.resize(5)
        assert made.device.order("inflateq", "deflateq") == ["inflateq"]
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.device.order("inflateq", "deflateq") == ["inflateq", "deflateq", "deflateq"]
        assert made.seen("deflateq")[0] == [PAGE]
        assert made.seen("actual") == [5]


def test_a_mode_that_a_balloon_does_not_know_is_refused():
    with bench() as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.log.clear()
        rc = made.start(made.driver._migration.migratepage(newpage, PAGE, MigrateMode.SYNC_NO_COPY))
        assert (rc, made.device.log) == ([-errno.EINVAL], [])
        assert not made.driver._sizing._lock._locked


@pytest.mark.parametrize(("interface", "after"), [("2012", ["inflateq"]), ("2022", ["inflateq", "deflateq"])])
def test_the_old_page_leaves_the_balloon_before_or_after_the_host_knows(interface, after):
    """Section 2.4: 2012 deletes it before the deflation is told; 2022 finalizes it at the end, without balloon_lock."""
    with bench(interface=interface) as made:
        made.resize(10)
        newpage = isolated(made)
        made.device.log.clear()
        said, pages = [], made.driver.pages
        finish = pages.finish_migration

        def finish_migration(page: int) -> None:
            said.append((made.device.order("inflateq", "deflateq"), made.driver._sizing._lock._locked))
            finish(page)

        pages.finish_migration = finish_migration
        made.start(migrate(made, newpage))
        assert said == [(after, interface == "2012")]


@every_interface
@pytest.mark.parametrize(
    ("balloon_compaction", "block_type"), [(True, Migratetype.MOVABLE), (False, Migratetype.UNMOVABLE)]
)
def test_pages_of_a_balloon_are_taken_as_movable_only_where_they_can_be_moved(
    interface, balloon_compaction, block_type
):
    """S13."""
    with bench(interface=interface, balloon_compaction=balloon_compaction) as made:
        made.resize(1)
        assert made.guest.zone.block_type[made.seen("inflateq")[0][0] >> 9] == block_type

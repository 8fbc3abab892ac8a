"""A host that does not answer: what waits for it, and what goes on."""

import errno

import pytest
from support.fake_device import FIRST_FREE_PFN, OFFERED, Bench, bench

from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MigrateMode
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole

FRAMES = 96 * 1024
EVERYTHING = OFFERED | BalloonFeature.DEFLATE_ON_OOM | BalloonFeature.FREE_PAGE_HINT | BalloonFeature.PAGE_REPORTING

every_interface = pytest.mark.parametrize("interface", ["2012", "2022", "2026"])


def hung(made: Bench) -> None:
    """Have the host leave an inflate request unanswered."""
    made.resize(100)
    made.device.answers = False
    made.resize(1000)
    made.device.log.clear()
    made.device.set_target(0)
    made.run_for(1)


@every_interface
def test_the_size_stays_where_it_was(interface):
    with bench(interface=interface) as made:
        hung(made)
        made.run_for(3600)
        assert made.device.order("inflateq", "deflateq", "actual") == []
        made.device.answers = True
        made.device.answer()
        made.settle()
        assert made.driver.num_pages == 0


@every_interface
def test_migration_is_told_to_come_again(interface):
    with bench(interface=interface) as made:
        made.resize(100)
        page = made.seen("inflateq")[0][0]
        assert made.guest.mm.page_mapping(page).isolate(page)
        hung(made)
        newpage = made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        assert made.guest.mm.trylock_page(page)
        made.guest.mm.unlock_page(page)
        moving = made.driver._migration.migratepage(newpage, page, MigrateMode.SYNC)
        assert made.start(moving) == [-errno.EAGAIN]


def test_who_is_out_of_memory_waits():
    with bench(offered=EVERYTHING) as made:
        hung(made)
        (notifier,) = made.guest.mm.oom_notifiers
        freed = made.start(notifier())
        made.run_for(3600)
        assert freed == []


@every_interface
def test_statistics_and_programs_go_on(interface):
    with bench(interface=interface) as made:
        hung(made)
        for _ in range(3):
            made.device.ask_for_statistics()
            made.settle()
        assert len(made.seen("statsq")) == 3
        made.guest.use_memory(kept_frames=100, passing_frames=50)
        assert made.guest.counts.cached == 100


def test_hinting_and_reporting_wait_for_their_own_queues_only():
    with bench(FRAMES, offered=EVERYTHING) as made:
        hung(made)
        made.device.set_command(2)
        made.run_for(3)
        assert made.seen("free_page_vq")[0] == 2
        assert made.seen("free_page_vq")[-1] == 0
        made.device.set_command(1)
        made.run_for(3)
        assert len(made.seen("reporting_vq")) == 1
        assert made.driver.hinting.blocks == 0


def test_another_guest_does_not_notice():
    with bench() as slow, bench() as other:
        hung(slow)
        other.resize(700)
        assert other.driver.num_pages == 700


def test_removing_waits_for_the_host():
    with bench() as made:
        hung(made)
        made.start(made.driver.remove())
        made.run_for(3600)
        assert made.device.order("reset") == []


def test_a_migration_that_the_host_does_not_answer_stalls_the_size_too():
    """The remark on v11 5/7: tell_host() sleeps under the page lock."""
    with bench() as made:
        made.resize(10)
        page = made.seen("inflateq")[0][0]
        assert made.guest.mm.page_mapping(page).isolate(page)
        newpage = made.guest.mm.alloc_page(Gfp.HIGHUSER_MOVABLE)
        made.device.answers = False
        moving = made.start(made.driver._migration.migratepage(newpage, page, MigrateMode.SYNC))
        made.resize(20)
        made.device.ask_for_statistics()
        made.settle()
        assert moving == []
        assert made.seen("inflateq")[1:] == [[newpage]]
        assert len(made.seen("statsq")) == 2


def test_nothing_is_sent_without_balloon_lock():
    """There is one array of frame numbers: a second request would overwrite the first one's."""
    with bench() as made, pytest.raises(KernelBugError, match="BALLOON_LOCK is not held"):
        made.start(made.driver._host.tell(QueueRole.INFLATE, [FIRST_FREE_PFN]))

import pytest
from support.balloon_interface import Balloon, finish

from guest_driver.mm.mem_map import Gfp
from guest_driver.mm.movable import MIGRATEPAGE_SUCCESS, MigrateMode
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import MappingId


@pytest.fixture
def balloon():
    return Balloon("2012", balloon_compaction=False)


@pytest.fixture
def interface(balloon):
    return balloon.pages._interface


def test_inserting_and_deleting_change_the_list_only(balloon, interface):
    """S8, S9: off; a mapping is left as it is."""
    page = balloon.mm.alloc_page(Gfp.HIGHUSER)
    balloon.mm.mapping[page] = MappingId.SLAB
    balloon.mm.trylock_page(page)
    with balloon.bdi.pages_lock:
        interface.balloon_page_insert(page, None, balloon.bdi)
        assert balloon.listed == [page]
        assert balloon.mm.mapping[page] == MappingId.SLAB
        interface.balloon_page_delete(page, balloon.bdi)
    assert balloon.listed == []
    assert balloon.mm.mapping[page] == MappingId.SLAB


def test_the_stubs(balloon, interface):
    """S11, S13, S15, S17, S18, S19: off."""
    page, newpage = balloon.inflate(2)
    before = (balloon.listed, balloon.mm.refcount[page], balloon.mm.flags[page], balloon.mm.flags[newpage])
    assert not interface.balloon_page_movable(page)
    assert not interface.balloon_page_isolate(page)
    assert finish(interface.balloon_page_putback(page)) is None
    assert finish(interface.balloon_page_migrate(newpage, page, MigrateMode.SYNC)) == MIGRATEPAGE_SUCCESS == 0
    assert interface.balloon_mapping_gfp_mask() == Gfp.HIGHUSER
    assert not interface.balloon_compaction_check()
    assert before == (balloon.listed, balloon.mm.refcount[page], balloon.mm.flags[page], balloon.mm.flags[newpage])
    assert balloon.calls == []


def test_nothing_is_counted(balloon, interface):
    """S14."""
    interface.balloon_event_count(VmEvent.COMPACT_BALLOON_ISOLATED)
    assert not any(balloon.mm.events)


def test_deflation_does_not_take_pages_for_isolated(balloon):
    """S20 and "fix deflation when compaction is disabled" (2014)."""
    balloon.inflate(8)
    assert all(balloon.pages.dequeue() is not None for _ in range(8))

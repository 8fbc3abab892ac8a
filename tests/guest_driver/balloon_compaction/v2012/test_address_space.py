from errno import ENOMEM, EOPNOTSUPP

import pytest
from support.balloon_interface import make_mem_map

from guest_driver.balloon_compaction.err_ptr import ErrPtr
from guest_driver.balloon_compaction.generations import interface_2012
from guest_driver.balloon_compaction.v2012.address_space import (
    AS_BALLOON_MAP,
    GFP_BITS_SHIFT,
    AddressSpaceOperations,
    mapping_balloon,
    mapping_clear_balloon,
    mapping_gfp_mask,
    mapping_set_balloon,
    mapping_set_gfp_mask,
)
from guest_driver.balloon_compaction.v2012.pages import BalloonPages2012
from guest_driver.errors import KernelBugError
from guest_driver.mm.mem_map import Gfp

A_OPS = AddressSpaceOperations(lambda *_arguments: iter(()))


@pytest.fixture
def interface():
    return interface_2012(make_mem_map(), enabled=True)


@pytest.fixture
def bdi(interface):
    return interface.balloon_devinfo_alloc(None)


@pytest.fixture
def mapping(interface, bdi):
    return interface.balloon_mapping_alloc(bdi, A_OPS)


def test_what_a_mapping_is_made_of(interface, bdi, mapping):
    """S4: all five effects."""
    assert mapping_balloon(mapping)
    assert mapping_gfp_mask(mapping) == Gfp.HIGHUSER_MOVABLE
    assert mapping.a_ops is A_OPS
    assert mapping.private_data is bdi
    assert bdi.mapping is mapping
    assert mapping.flags == 1 << AS_BALLOON_MAP | int(interface.balloon_mapping_gfp_mask())


def test_without_memory_there_is_an_error_and_no_effect(interface, bdi):
    """S4."""
    interface.failing_kmallocs = 1
    assert interface.balloon_mapping_alloc(bdi, A_OPS) == ErrPtr(-ENOMEM)
    assert bdi.mapping is None


def test_several_devices_have_a_mapping_each(interface, bdi, mapping):
    """S4."""
    other = interface.balloon_devinfo_alloc(None)
    others = interface.balloon_mapping_alloc(other, A_OPS)
    pages = [interface.balloon_page_enqueue(bdi), interface.balloon_page_enqueue(other)]
    assert mapping.number != others.number
    assert [interface.balloon_page_device(page) for page in pages] == [bdi, other]


def test_the_flag_stands_above_the_gfp_mask():
    """S7."""
    assert AS_BALLOON_MAP == GFP_BITS_SHIFT + 4


def test_the_flag_is_set_and_cleared_and_the_mask_stays(mapping):
    """S7."""
    mapping_clear_balloon(mapping)
    assert not mapping_balloon(mapping)
    assert mapping_gfp_mask(mapping) == Gfp.HIGHUSER_MOVABLE
    mapping_set_balloon(mapping)
    mapping_set_gfp_mask(mapping, Gfp.HIGHUSER)
    assert mapping_balloon(mapping)
    assert mapping_gfp_mask(mapping) == Gfp.HIGHUSER


def test_no_mapping_is_no_balloons():
    """S7: mapping_balloon(NULL)."""
    assert not mapping_balloon(None)


def test_a_freed_mapping_is_found_no_more(interface, mapping):
    """S6."""
    page = interface.mm.alloc_page(Gfp.HIGHUSER)
    interface.mm.mapping[page] = mapping.number
    assert interface.balloon_page_movable(page)
    interface.balloon_mapping_free(mapping)
    assert not interface.balloon_page_movable(page)
    interface.balloon_mapping_free(None)


def test_an_error_is_not_to_be_freed(interface):
    """S6: only the stub is that kind."""
    with pytest.raises(KernelBugError, match="kfree"):
        interface.balloon_mapping_free(ErrPtr(-ENOMEM))


def test_off_there_is_no_mapping_and_that_is_no_failure():
    """S5, S6: freeing the error is harmless."""
    interface = interface_2012(make_mem_map(), enabled=False)
    bdi = interface.balloon_devinfo_alloc(None)
    error = interface.balloon_mapping_alloc(bdi, A_OPS)
    assert error == ErrPtr(-EOPNOTSUPP)
    assert bdi.mapping is None
    interface.balloon_mapping_free(error)


# What a driver makes of the errors.


def probe(interface):
    return BalloonPages2012(interface, lambda *_arguments: iter(()))


def test_a_driver_lives_without_the_option():
    """S5: -EOPNOTSUPP is the feature off."""
    pages = probe(interface_2012(make_mem_map(), enabled=False))
    assert pages.b_dev_info.mapping is None
    assert pages.alloc() is not None


def test_a_driver_gives_its_operations_only_if_they_will_be_used(monkeypatch):
    """S15."""
    given = []
    for enabled in (True, False):
        interface = interface_2012(make_mem_map(), enabled=enabled)
        assert interface.balloon_compaction_check() == enabled
        monkeypatch.setattr(interface, "balloon_mapping_alloc", lambda _bdi, a_ops: given.append(a_ops))
        probe(interface)
    assert given[0] is not None
    assert given[1:] == [None]


def test_any_other_error_is_fatal_and_leaves_nothing_behind(interface, monkeypatch):
    """S5: -ENOMEM of the mapping: the device info is freed."""
    freed = []
    monkeypatch.setattr(interface, "balloon_mapping_alloc", lambda _bdi, _a_ops: ErrPtr(-ENOMEM))
    free = interface.balloon_devinfo_free
    monkeypatch.setattr(interface, "balloon_devinfo_free", lambda container: (free(container), freed.append(container)))
    with pytest.raises(OSError, match="memory") as failure:
        probe(interface)
    assert failure.value.errno == ENOMEM
    assert [container.b_dev_info for container in freed] == [None]


def test_without_memory_for_the_device_info_there_is_no_driver(interface):
    """S2."""
    interface.failing_kmallocs = 1
    with pytest.raises(OSError, match="memory"):
        probe(interface)

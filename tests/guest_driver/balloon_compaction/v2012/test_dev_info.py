from errno import ENOMEM

import pytest
from support.balloon_interface import make_mem_map

from guest_driver.balloon_compaction.err_ptr import ErrPtr
from guest_driver.balloon_compaction.generations import interface_2012
from guest_driver.errors import KernelBugError


class Container:
    b_dev_info = None


@pytest.fixture(params=[True, False], ids=["on", "off"])
def interface(request):
    return interface_2012(make_mem_map(), enabled=request.param)


@pytest.fixture
def container(interface):
    container = Container()
    container.b_dev_info = interface.balloon_devinfo_alloc(container)
    return container


def test_a_new_device_info_is_empty_and_points_to_its_driver(interface, container):
    """S1, S2: in both states of the option."""
    bdi = container.b_dev_info
    assert bdi.balloon_device is container
    assert bdi.mapping is None
    assert bdi.isolated_pages == 0
    assert interface.mm.list_pages(bdi.pages) == []
    with bdi.pages_lock:
        bdi.pages_lock.assert_held()


def test_without_memory_there_is_an_error_and_not_none(interface):
    """S2: ERR_PTR(-ENOMEM)."""
    interface.failing_kmallocs = 1
    assert interface.balloon_devinfo_alloc(object()) == ErrPtr(-ENOMEM)
    assert not isinstance(interface.balloon_devinfo_alloc(object()), ErrPtr)


def test_freeing_leaves_no_pointer_behind(interface, container):
    """S3, R2."""
    interface.balloon_devinfo_free(container)
    assert container.b_dev_info is None


def test_freeing_twice_is_found_out(interface, container):
    """S3, R2."""
    interface.balloon_devinfo_free(container)
    with pytest.raises(KernelBugError, match="freed twice"):
        interface.balloon_devinfo_free(container)


def test_a_pointer_that_was_kept_is_of_no_use(interface, container):
    """R2: use after free blows up at once, and corrupts nothing."""
    bdi = container.b_dev_info
    interface.balloon_devinfo_free(container)
    free = interface.mm.counts[:]
    for use in (
        lambda: bdi.isolated_pages,
        lambda: setattr(bdi, "isolated_pages", 1),
        lambda: interface.balloon_page_dequeue(bdi),
        lambda: interface.balloon_mapping_alloc(bdi, None) and bdi.mapping,
    ):
        with pytest.raises(KernelBugError, match="use after free"):
            use()
    assert interface.mm.counts == free


def test_a_device_info_with_pages_is_not_freed(interface, container):
    """S3."""
    interface.balloon_page_enqueue(container.b_dev_info)
    with pytest.raises(KernelBugError, match="pages on its list"):
        interface.balloon_devinfo_free(container)

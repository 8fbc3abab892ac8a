import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from guest_driver.pages import FreeList, PageCounts


@pytest.fixture
def pages():
    """Ten frames, of which three are the kernel's."""
    return FreeList(10, 3)


def test_the_lowest_frame_above_the_kernels_is_handed_out_first(pages):
    assert [pages.alloc_page() for _ in range(8)] == [3, 4, 5, 6, 7, 8, 9, None]


def test_with_no_page_left_there_is_none_until_one_is_freed(pages):
    taken = [pages.alloc_page() for _ in range(7)]
    assert pages.alloc_page() is None
    pages.free_page(taken[2])
    assert pages.alloc_page() == taken[2]
    assert pages.alloc_page() is None


def test_what_was_freed_last_is_handed_out_first(pages):
    for _ in range(4):
        pages.alloc_page()
    pages.free_page(4)
    pages.free_page(6)
    assert [pages.alloc_page() for _ in range(3)] == [6, 4, 7]


def test_frames_are_counted_by_their_use(pages):
    assert pages.counts == PageCounts(total=10, free=7, cached=0)
    pages.alloc_page()
    pages.cached_frames = 1
    assert pages.counts == PageCounts(total=10, free=6, cached=1)


def test_what_programs_keep_is_page_cache_and_what_they_free_is_on_top_again(pages):
    pages.alloc_page()
    pages.use(2, 3)
    assert pages.counts == PageCounts(total=10, free=4, cached=2)
    assert [pages.alloc_page() for _ in range(2)] == [6, 7]


@pytest.mark.parametrize(("kept", "passing", "cached"), [(20, 5, 7), (5, 20, 5), (0, 20, 0)])
def test_programs_get_at_most_what_is_free(pages, kept, passing, cached):
    for _ in range(2):
        pages.use(kept, passing)
        kept = 0
    assert pages.counts == PageCounts(total=10, free=7 - cached, cached=cached)


def test_pages_are_plain_integers(pages):
    assert type(pages.alloc_page()) is int


@examples(100)
@given(total=st.integers(1, 40), kernel=st.integers(0, 40), choices=st.lists(st.integers(0, 100), max_size=120))
def test_no_frame_is_ever_in_two_hands(total, kernel, choices):
    kernel = min(kernel, total)
    pages, taken = FreeList(total, kernel), []
    for choice in choices:
        if choice % 3 == 0 and taken:
            pages.free_page(taken.pop(choice % len(taken)))
        elif (pfn := pages.alloc_page()) is not None:
            assert pfn not in taken
            assert kernel <= pfn < total
            taken.append(pfn)
        assert pages.counts.free == total - kernel - len(taken)

"""Whatever is allocated and freed, in whatever order: no frame is lost or had twice."""

from hypothesis import given
from hypothesis import strategies as st
from support.mm import booted, check_zone
from support.properties import examples

from guest_driver.mm.buddy import free_pages, rmqueue
from guest_driver.mm.zone import ORDERS

allocations = st.tuples(st.integers(0, ORDERS - 1), st.integers(0, 2))
frees = st.integers(0, 1 << 16)
steps = st.lists(st.one_of(allocations, allocations, frees), max_size=60)


@examples(60)
@given(frames=st.integers(1, 3000), pageblock_order=st.sampled_from([9, 10]), steps=steps)
def test_all_frames_are_free_or_held_once(frames, pageblock_order, steps):
    zone = booted(frames, pageblock_order=pageblock_order)
    held: dict[int, int] = {}
    for step in steps:
        if isinstance(step, tuple):
            pfn = rmqueue(zone, *step)
            if pfn >= 0:
                held[pfn] = step[0]
        elif held:
            pfn = sorted(held)[step % len(held)]
            free_pages(zone, pfn, held.pop(pfn))
        census = check_zone(zone)
        assert census.compound | dict.fromkeys(census.plain, 0) == held
        assert sum(1 << order for order in (*census.free.values(), *held.values())) == frames
    for pfn, order in held.items():
        free_pages(zone, pfn, order)
    assert check_zone(zone).free == check_zone(booted(frames)).free


@examples(40)
@given(order=st.integers(0, ORDERS - 1), wanted=st.integers(0, 2), steps=steps)
def test_a_block_is_had_if_one_is_free_and_only_then(order, wanted, steps):
    zone = booted(2048)
    for step in steps:
        if isinstance(step, tuple):
            rmqueue(zone, *step)
    there = any(zone.nr_free[order:])
    assert (rmqueue(zone, order, wanted) >= 0) == there

from support.policy_views import MIB, a_guest, a_view

from vballoond.policy import Fragmentation
from vballoond.policy.builtin.huge_pages import HugePages

SETTINGS = HugePages.Settings()
IN_PIECES = Fragmentation(free_huge_share=0.0, unusable_index=0.9)
IN_BLOCKS = Fragmentation(free_huge_share=1.0, unusable_index=0.0)


def moves(*guests, available, **view):
    """Return by how many MiB each balloon is wished to change, on a host of 10,000 MiB."""
    plan = HugePages().plan(a_view(*guests, total=10_000, available=available, **view), SETTINGS)
    before = {guest.name: guest.actual_bytes for guest in guests}
    return {wish.guest: (wish.target_bytes - before[wish.guest]) / MIB for wish in plan.wishes}


def scattered(name="pieces", **more):
    return a_guest(name, memory=1000, free=more.pop("free", 300), fragmentation=IN_PIECES, **more)


def whole(name="blocks", **more):
    return a_guest(name, memory=1000, free=more.pop("free", 300), fragmentation=IN_BLOCKS, **more)


def test_what_lies_in_pieces_is_taken_and_huge_blocks_are_not():
    assert moves(scattered(), whole(), available=1900) == {"pieces": 100}


def test_guests_give_in_proportion_to_the_pieces_that_they_have():
    # 50 stay free in each: 250 and 150 are in pieces, and 200 are needed.
    assert moves(scattered("a", free=300), scattered("b", free=200), available=1800) == {"a": 125, "b": 75}


def test_critically_short_huge_blocks_are_taken_too_in_whole_huge_pages():
    taken = moves(scattered(), whole(), available=400)
    assert taken["blocks"] == 250
    assert taken["pieces"] == 250


def test_not_yet_critical_it_rather_leaves_the_host_short():
    assert moves(whole(), available=501) == {}
    assert moves(whole(), available=499) == {"blocks": 250}


def test_a_guest_whose_compaction_moves_balloon_pages_is_let_finish():
    assert moves(scattered(migrated_frames_per_s=513.0), available=1900) == {}
    assert moves(scattered(migrated_frames_per_s=512.0), available=1900) == {"pieces": 100}


def test_critically_short_even_that_one_gives():
    assert moves(scattered(migrated_frames_per_s=9999.0), available=100) == {"pieces": 250}


def test_of_a_guest_that_does_not_tell_half_is_supposed_to_lie_in_pieces():
    assert moves(a_guest(memory=1000, free=400), available=1000) == {"vm1": 200}


def test_a_twentieth_of_the_guest_stays_free():
    assert moves(scattered(free=60), available=1000) == {"pieces": 10}


def test_between_the_marks_nothing_moves():
    assert moves(scattered(balloon=100), available=2000) == {}
    assert moves(scattered(balloon=100), available=2500) == {}


def test_what_is_left_over_goes_first_to_where_blocks_are_lacking():
    guests = (
        whole(balloon=300),
        scattered(balloon=300, free=10),
        whole("failing", balloon=300, rates={"hugetlb_failures": 1.0}),
    )
    assert moves(*guests, available=2600) == {"failing": -100}
    assert moves(*guests, available=2800) == {"failing": -256, "pieces": -44}


def test_it_is_given_in_whole_huge_pages():
    assert moves(scattered(balloon=301), available=2505) == {"pieces": -4}

from datetime import UTC, datetime, timedelta

import pytest

from vballoond.balloon.resize import STALL_AFTER_S, Outcome, Resize, Terms

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
FRAME = 4096


@pytest.fixture
def resize():
    """From nothing to 1000 frames, begun at second 100."""
    return Resize.begin(7, 1000, 0, NOON, 100.0)


def test_a_resize_begins_with_nothing_moved(resize):
    assert (resize.id, resize.target_frames, resize.started_at) == (7, 1000, NOON)
    assert not resize.done
    assert resize.rate_bytes_per_s() == 0


def test_it_is_done_when_driver_and_map_have_the_target(resize):
    assert resize.observe(1000, 1000, 100.5).done


@pytest.mark.parametrize(("actual", "held"), [(1000, 999), (1000, 1001), (999, 1000), (999, 999), (1001, 1001), (0, 0)])
def test_it_is_not_done_while_either_has_something_else(resize, actual, held):
    assert not resize.observe(actual, held, 100.5).done


def test_a_resize_to_where_the_balloon_is_is_done_at_once():
    assert Resize.begin(1, 10, 10, NOON, 100.0).observe(10, 10, 100.0).done


def test_what_comes_after_it_was_done_changes_nothing(resize):
    done = resize.observe(1000, 1000, 101.0)
    assert done.observe(0, 0, 500.0) is done
    assert not done.stalled(500.0)


def test_the_rate_is_that_of_the_last_second(resize):
    later = resize.observe(100, 100, 101.0)
    assert later.rate_bytes_per_s() == 100 * FRAME
    later = later.observe(400, 400, 103.0)
    assert later.rate_bytes_per_s() == 150 * FRAME


def test_within_a_second_the_rate_stays_what_it_was(resize):
    early = resize.observe(200, 200, 100.9)
    assert early.rate_bytes_per_s() == 0
    assert early.observe(300, 300, 101.0).rate_bytes_per_s() == 300 * FRAME


def test_the_rate_of_a_balloon_that_shrinks_is_positive():
    shrinking = Resize.begin(1, 0, 1000, NOON, 0.0).observe(500, 500, 1.0)
    assert shrinking.rate_bytes_per_s() == 500 * FRAME


def test_the_rate_of_a_balloon_that_stands_still_falls_to_nothing(resize):
    moved = resize.observe(100, 100, 101.0)
    assert moved.observe(100, 100, 102.0).rate_bytes_per_s() == 0


def test_once_done_the_rate_is_that_of_the_last_stretch(resize):
    assert resize.observe(1000, 1000, 100.25).rate_bytes_per_s() == 4000 * FRAME
    later = resize.observe(500, 500, 101.0).observe(1000, 1000, 101.5)
    assert later.rate_bytes_per_s() == 1000 * FRAME


def test_a_resize_that_is_done_in_no_time_has_no_rate(resize):
    assert resize.observe(1000, 1000, 100.0).rate_bytes_per_s() == 0


def test_it_is_stalled_when_nothing_moved_for_too_long(resize):
    assert not resize.stalled(100.0 + STALL_AFTER_S - 0.1)
    assert resize.stalled(100.0 + STALL_AFTER_S)


def test_any_move_of_the_driver_begins_the_wait_anew(resize):
    moved = resize.observe(1, 1, 103.0)
    assert not moved.stalled(103.0 + STALL_AFTER_S - 0.1)
    assert moved.stalled(103.0 + STALL_AFTER_S)


def test_looking_without_a_move_does_not_begin_the_wait_anew(resize):
    looked = resize.observe(0, 0, 103.0).observe(0, 12, 103.5)
    assert looked.stalled(100.0 + STALL_AFTER_S)


def test_a_stalled_resize_goes_on_when_the_guest_does(resize):
    assert resize.stalled(200.0)
    assert not resize.observe(5, 5, 200.0).stalled(200.0)


def begun(target, actual, **terms):
    return Resize.begin(1, target, actual, NOON, 100.0, Terms(**terms))


def test_progress_is_the_share_of_the_way():
    assert begun(1000, 0).progress() == 0
    assert begun(1000, 0).observe(250, 250, 101).progress() == 0.25
    assert begun(200, 1000).observe(400, 400, 101).progress() == 0.75
    assert begun(1000, 0).observe(1000, 1000, 101).progress() == 1


def test_a_balloon_that_goes_the_other_way_has_made_no_progress():
    assert begun(1000, 500).observe(100, 100, 101).progress() == 0
    assert begun(1000, 500).observe(2000, 2000, 101).progress() == 1


def test_a_way_of_nothing_is_done_where_driver_and_map_agree():
    assert begun(5, 5).progress() == 1
    assert begun(5, 5).observe(4, 4, 101).progress() == 0


def test_the_end_is_expected_by_the_rate_of_now():
    moving = begun(1000, 0).observe(100, 100, 101.0)
    assert moving.expected_at(101.0) == NOON + timedelta(seconds=1 + 9)
    assert moving.expected_at(102.0) == NOON + timedelta(seconds=2 + 9)


def test_no_end_is_expected_where_nothing_moves():
    assert begun(1000, 0).expected_at(100.0) is None
    still = begun(1000, 0).observe(100, 100, 101.0)
    assert still.expected_at(103.0) is None
    assert still.rate_bytes_per_s(103.0) == 0
    assert begun(10, 0).observe(10, 10, 101.0).expected_at(101.0) is None


def test_an_end_beyond_all_calendars_is_the_last_day_of_them():
    slow = begun(1 << 32, 0).observe(1, 1, 3100.0)
    assert slow.expected_at(3100.0).year == 9999


def test_it_is_late_from_its_deadline_on():
    resize = begun(10, 0, deadline_s=5.0)
    assert not resize.late(104.9)
    assert resize.late(105.0)
    assert not begun(10, 0).late(1e9)
    assert not resize.observe(10, 10, 101.0).late(200.0)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_it_ends_once(outcome):
    ended = begun(10, 0).end(outcome, 103.0)
    assert (ended.outcome, ended.at(ended.ended_at_s)) == (outcome, NOON + timedelta(seconds=3))
    assert ended.end(Outcome.SUPERSEDED, 104.0) is ended
    assert ended.done == (outcome is Outcome.DONE)
    assert not ended.stalled(500.0)

import json
from dataclasses import replace

import pytest
from hypothesis import given
from support.policy_views import MIB, a_guest, a_view, views
from support.properties import examples

from vballoond.policy.view import GuestStatistics, GuestView, read_view, view_data, view_json


@given(view=views())
@examples(80)
def test_any_view_comes_back_from_json_as_it_was(view):
    assert read_view(view_json(view)) == view


@given(view=views())
@examples(30)
def test_its_plain_data_is_the_same_json(view):
    assert read_view(json.dumps(view_data(view))) == view


def test_sizes_of_others_are_the_memory_without_the_balloon():
    guest = a_guest(memory=1000, balloon=300, target=400, least=100, most=700)
    assert guest.size_bytes == 700 * MIB
    assert guest.target_size_bytes == 600 * MIB
    assert (guest.smallest_bytes, guest.largest_bytes) == (300 * MIB, 900 * MIB)


@pytest.mark.parametrize(("size", "balloon"), [(500, 500), (200, 700), (0, 700), (2000, 100), (900.5, 100)])
def test_a_size_wished_for_is_a_balloon_within_the_bounds(size, balloon):
    guest = a_guest(memory=1000, least=100, most=700)
    assert guest.balloon_for(size * MIB) == balloon * MIB


def test_a_guest_cannot_claim_more_free_memory_than_it_has():
    guest = a_guest(memory=1000, balloon=300, free=5000)
    assert guest.free_bytes == guest.available_bytes == 700 * MIB


def test_available_memory_is_what_is_free_where_the_guest_does_not_say():
    guest = replace(a_guest(memory=1000), statistics=GuestStatistics(values={"free_memory": 5 * MIB}))
    assert guest.available_bytes == 5 * MIB


def test_statistics_that_are_stale_say_nothing():
    statistics = GuestStatistics(values={"free_memory": 1}, rates_per_s={"oom_kill": 1.0}, stale=True)
    guest = replace(a_guest(), statistics=statistics)
    assert (guest.free_bytes, guest.rate("oom_kill")) == (None, 0.0)


def test_what_is_spare_is_above_reserve_and_reservations():
    host = a_view(available=1000, reserve_bytes=300, reserved_bytes=900).host
    assert host.spare_bytes == -200 * MIB
    assert host.unreserved_bytes == 100 * MIB
    assert a_view(available=100, reserved_bytes=900).host.unreserved_bytes == 0


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["host", "total_bytes"], -1, "host.total_bytes: Input should be greater than or equal to 0"),
        (["host", "total_bytes"], "1", "host.total_bytes: Input should be a valid integer"),
        (["guests", 0, "name"], "../x", "guests.0.name: String should match"),
        (["guests", 0, "state"], "asleep", "guests.0.state: Input should be 'new', 'running'"),
        (["guests", 0, "max_bytes"], 1 << 40, "must rise in this order"),
        (["guests", 0, "colour"], "red", "guests.0.colour: Unexpected keyword argument"),
        (["guests", 1, "name"], "vm1", "there are two guests 'vm1'"),
        (["now_s"], 1e300, "now_s: Input should be less than or equal to"),
    ],
)
def test_a_snapshot_that_is_wrong_is_refused_with_the_field(path, value, message):
    data = view_data(a_view(a_guest("vm1"), a_guest("vm2")))
    place = data
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=r"^not a snapshot: ") as refused:
        read_view(json.dumps(data))
    assert message in str(refused.value)


def test_a_number_that_is_none_is_refused():
    text = view_json(a_view()).replace(b'"now_s":1000.0', b'"now_s":NaN')
    with pytest.raises(ValueError, match="not a snapshot"):
        read_view(text)


def test_only_guests_that_follow_are_able():
    states = ("new", "running", "paused", "broken", "silent", "stalled")
    view = a_view(*(a_guest(f"vm-{state}", state=state) for state in states))
    assert [guest.name for guest in view.able] == ["vm-running"]


def test_bounds_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match=r"guest 'x': min_bytes \(2\), max_bytes \(1\)"):
        GuestView(name="x", memory_bytes=4, min_bytes=2, max_bytes=1, target_bytes=0, actual_bytes=0)

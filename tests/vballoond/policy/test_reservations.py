from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter
from support.policy_views import GIB, MIB, a_guest, a_view
from support.properties import examples

from vballoond.errors import OperatorError
from vballoond.policy.reservations import (
    CLAIMED_FOR_S,
    MAX_ENDED,
    MAX_OPEN,
    Book,
    ask,
    cancel,
    claim,
    held_bytes,
    step,
)

BOOK = TypeAdapter(Book)


class Asked:
    """One reservation over time."""

    def __init__(self, wanted, *, within_s=60.0, keep_s=300.0, **view):
        self.view = {"now_s": 0, "total": 4096, **view}
        self.book, made = ask(Book(), a_view(**self.view), wanted * MIB, within_s=within_s, keep_s=keep_s)
        self.id = made.id

    def at(self, now_s, available, *guests):
        """Return the state at a time, with so many MiB available."""
        self.seen = a_view(*guests, **(self.view | {"now_s": now_s, "available": available}))
        self.book, self.changed = step(self.book, self.seen)
        return self.now.state

    @property
    def now(self):
        return self.book.get(self.id)


SPARING = a_guest("vm1", memory=4096, balloon=0)


def test_memory_that_is_there_is_ready_at_once():
    asked = Asked(1000)
    assert asked.now.state == "asked"
    assert asked.at(0, 1000) == "ready"
    assert [item.state for item in asked.changed] == ["ready"]
    assert asked.at(1, 1000) == "ready"
    assert asked.changed == ()


def test_memory_that_is_not_is_gathered_and_says_what_is_in_the_way():
    asked = Asked(1000)
    assert asked.at(0, 400, SPARING) == "gathering"
    assert asked.now.gathered_bytes == 400 * MIB
    assert asked.now.reason == "400 MiB of 1000 MiB is there; guests that follow may give 4 GiB more"
    assert asked.at(10, 999, SPARING) == "gathering"
    assert asked.at(20, 1000, SPARING) == "ready"
    assert asked.now.reason is None


def test_what_is_asked_for_is_held_back_from_the_first_moment():
    asked = Asked(1000)
    assert held_bytes(asked.book, a_view(), slush_bytes=0) == 1000 * MIB


def test_a_little_more_is_held_back_for_what_stops_short():
    asked = Asked(1000)
    assert held_bytes(asked.book, a_view()) == 1009 * MIB
    assert held_bytes(cancel(asked.book, asked.id, 0.0), a_view()) == 0


def test_the_reserve_of_the_host_is_not_counted():
    asked = Asked(1000, reserve_bytes=500)
    assert asked.at(0, 1499, SPARING) == "gathering"
    assert asked.at(1, 1500, SPARING) == "ready"


def test_what_guests_may_still_take_back_is_not_counted():
    taking = a_guest("vm1", memory=4096, balloon=600, target=100)
    asked = Asked(1000)
    assert asked.at(0, 1499, taking) == "gathering"
    assert asked.at(1, 1500, taking) == "ready"


def test_who_asked_first_is_served_first():
    view = a_view(SPARING, now_s=0, total=4096, available=1200)
    book, one = ask(Book(), view, 1000 * MIB, within_s=60)
    book, other = ask(book, view, 500 * MIB, within_s=60)
    book, _ = step(book, view)
    assert (book.get(one.id).state, book.get(other.id).state) == ("ready", "gathering")
    assert book.get(other.id).gathered_bytes == 200 * MIB
    assert held_bytes(book, view) == 1509 * MIB


def test_it_fails_at_its_time_and_says_what_was_there():
    asked = Asked(1000, within_s=30)
    assert asked.at(0, 400, SPARING) == "gathering"
    assert asked.at(29.9, 500, SPARING) == "gathering"
    assert asked.at(30, 600, SPARING) == "failed"
    assert asked.now.reason.startswith("the time is over: 600 MiB of 1000 MiB is there; guests that follow may give")
    assert held_bytes(asked.book, asked.seen) == 0


def test_memory_that_comes_just_in_time_is_ready():
    asked = Asked(1000, within_s=30)
    assert asked.at(30, 1000) == "ready"


def test_what_no_guest_can_give_fails_after_a_while():
    stuck = replace(SPARING, state="stalled")
    asked = Asked(1000, within_s=3600)
    assert asked.at(0, 400, stuck) == "gathering"
    assert asked.at(19, 400, stuck) == "gathering"
    assert asked.at(20, 400, stuck) == "failed"
    assert "it cannot be done: 400 MiB" in asked.now.reason
    assert "nothing is to be had of vm1 (stalled)" in asked.now.reason


def test_a_guest_that_boots_will_give_and_is_waited_for():
    boots = replace(SPARING, state="new")
    asked = Asked(1000, within_s=120)
    for now_s in range(0, 120, 5):
        assert asked.at(now_s, 400, boots) == "gathering"
    # Now it gives nothing, and that is said.
    why = "400 MiB of 1000 MiB is there; guests that follow may give 0 B more, and nothing is to be had of vm1 (new)"
    assert asked.now.reason == why
    assert asked.at(120, 400, boots) == "failed"
    assert asked.now.reason == f"the time is over: {why}"


def test_one_that_boots_and_will_not_give_enough_is_not_waited_for():
    boots = a_guest("vm1", memory=4096, balloon=100, most=699, state="new")
    asked = Asked(1000, within_s=3600)
    asked.at(0, 400, boots)
    assert asked.at(20, 400, boots) == "failed"


def test_hope_that_comes_back_begins_the_while_anew():
    stuck = replace(SPARING, state="stalled")
    asked = Asked(1000, within_s=3600)
    for now_s, guest in ((0, stuck), (19, SPARING), (20, stuck), (39, stuck)):
        assert asked.at(now_s, 400, guest) == "gathering"
    assert asked.at(40, 400, stuck) == "failed"


def test_what_guests_may_give_at_the_most_is_their_bounds():
    bounded = a_guest("vm1", memory=4096, balloon=100, most=699)
    asked = Asked(1000, within_s=3600)
    asked.at(0, 400, bounded)
    assert asked.at(20, 400, bounded) == "failed"
    asked = Asked(1000, within_s=3600)
    asked.at(0, 400, replace(bounded, max_bytes=700 * MIB))
    assert asked.at(20, 400, replace(bounded, max_bytes=700 * MIB)) == "gathering"


def test_nobody_claims_it():
    asked = Asked(1000, keep_s=50)
    asked.at(10, 1000)
    assert asked.at(59, 1000) == "ready"
    assert asked.at(60, 1000) == "expired"
    assert asked.now.reason == "nobody claimed it within 50 s"
    assert held_bytes(asked.book, asked.seen) == 0


def test_it_stays_ready_when_somebody_takes_of_it_and_says_what_is_there():
    asked = Asked(1000)
    assert asked.at(0, 1500) == "ready"
    assert asked.now.gathered_bytes == 1000 * MIB
    assert asked.at(100, 300, SPARING) == "ready"
    assert asked.now.gathered_bytes == 300 * MIB
    assert held_bytes(asked.book, asked.seen) == 1009 * MIB


def test_claimed_memory_is_let_go():
    asked = Asked(1000)
    asked.at(0, 1000)
    asked.book = claim(asked.book, asked.id, 5.0)
    assert asked.now.state == "claimed"
    assert held_bytes(asked.book, asked.seen) == 0


def test_claimed_for_a_guest_it_is_held_until_that_has_touched_it():
    asked = Asked(1000)
    asked.at(0, 1000)
    asked.book = claim(asked.book, asked.id, 5.0, "new")

    def held(now_s, *guests):
        return held_bytes(asked.book, a_view(*guests, now_s=now_s)) // MIB

    assert held(6) == 1000
    assert held(10, a_guest("new", memory=1000, resident_bytes=300 * MIB)) == 700
    assert held(10, a_guest("new", memory=1000)) == 1000
    assert held(10, a_guest("new", memory=2000, resident_bytes=1500 * MIB)) == 0
    assert held(5 + CLAIMED_FOR_S) == 0


def test_only_what_is_ready_can_be_claimed():
    asked = Asked(1000)
    with pytest.raises(OperatorError, match="reservation 1 is asked, not ready") as refused:
        claim(asked.book, asked.id, 0.0)
    assert refused.value.status == 409
    with pytest.raises(OperatorError, match="there is no reservation 9") as refused:
        claim(asked.book, 9, 0.0)
    assert refused.value.status == 404


def test_a_cancelled_one_holds_nothing():
    asked = Asked(1000)
    asked.book = cancel(asked.book, asked.id, 1.0)
    assert (asked.now.state, asked.now.reason) == ("expired", "it was cancelled")
    assert held_bytes(asked.book, a_view()) == 0
    assert cancel(asked.book, asked.id, 2.0) == asked.book


def test_a_purpose_is_one_line_that_can_be_printed():
    with pytest.raises(OperatorError) as refused:
        ask(Book(), a_view(), MIB, within_s=1, purpose="vm7\x1b[31m")
    assert (refused.value.status, refused.value.code) == (422, "invalid-purpose")


@pytest.mark.parametrize(
    ("wanted", "said"), [(0, "0 B"), (-1, "-1 B"), (13 * GIB, "13 GiB"), (12 * GIB + 1, "12 GiB"), (10**400, "so much")]
)
def test_more_than_there_can_be_is_refused(wanted, said):
    with pytest.raises(OperatorError) as refused:
        ask(Book(), a_view(total=16384, reserve_bytes=4096), wanted, within_s=1)
    assert (refused.value.status, refused.value.extra) == (422, {"limit_bytes": 12 * GIB})
    assert refused.value.detail == f"{said} cannot be reserved: this host has 12 GiB above its reserve"


@pytest.mark.parametrize(
    "times", [{"within_s": -1}, {"within_s": 1e9}, {"within_s": 1, "keep_s": 0}, {"within_s": float("nan")}]
)
def test_times_out_of_range_are_refused(times):
    with pytest.raises(OperatorError, match="a reservation waits and is kept for up to 86400 s"):
        ask(Book(), a_view(), 1, **times)


def test_there_is_an_end_to_reservations():
    book = Book()
    for _ in range(MAX_OPEN):
        book, _ = ask(book, a_view(), 1, within_s=1)
    with pytest.raises(OperatorError, match="there are 64 reservations already"):
        ask(book, a_view(), 1, within_s=1)


def test_old_ends_are_forgotten():
    book, last = Book(), None
    for _ in range(MAX_ENDED + 10):
        book, last = ask(book, a_view(), 1, within_s=1)
        book = cancel(book, last.id, 0.0)
        book, _ = step(book, a_view())
    assert len(book.reservations) == MAX_ENDED
    assert book.get(last.id).id == MAX_ENDED + 10


@given(moments=st.lists(st.tuples(st.integers(0, 2000), st.floats(0, 40), st.integers(0, 4)), max_size=12))
@examples(60)
def test_what_is_ready_was_there_and_the_book_comes_back_from_json(moments):
    book, now_s = Book(), 0.0
    for available, passed_s, what in moments:
        now_s += passed_s
        view = a_view(SPARING, now_s=now_s, total=4096, available=available)
        if what == 1:
            book, _ = ask(book, view, 300 * MIB, within_s=60, keep_s=50)
        ready = [item for item in book.reservations if item.state == "ready"]
        if what == 2 and ready:
            book = claim(book, ready[0].id, now_s, "vm1")
        book, changed = step(book, view)
        now_ready = sum(item.wanted_bytes for item in changed if item.state == "ready")
        assert now_ready <= available * MIB
        assert BOOK.validate_json(BOOK.dump_json(book)) == book

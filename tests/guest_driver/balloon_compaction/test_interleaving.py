"""Two threads in the interface at once: one is interrupted at each of its steps, the other does something whole.

B3, S17, S20, S26: whatever happens, nothing is lost, nothing is counted twice, and the balloon deflates fully after.
"""

import pytest
from support.balloon_interface import GENERATIONS, Balloon, finish, other_thread

from guest_driver.balloon_compaction.preempt import Step
from guest_driver.mm.page_flags import PageFlag

PAGES = 3
INTERRUPTED = {
    "dequeue": [Step.DEQUEUE, Step.DEQUEUE_DELETED, Step.DEQUEUE_UNLOCKED, Step.DEQUEUE_FOUND_NONE],
    "isolate": [
        Step.ISOLATE,
        Step.ISOLATE_REFERENCED,
        Step.ISOLATE_LOCKED,
        Step.ISOLATE_CHECKED,
        Step.ISOLATE_TAKEN,
        Step.ISOLATE_REFUSED,
    ],
    "putback": [Step.PUTBACK_LOCKED, Step.PUTBACK_LISTED],
}


class Race:
    """A balloon with one page isolated and the others on the list."""

    def __init__(self, generation):
        self.balloon = Balloon(generation)
        self.total_free = self.balloon.free
        self.balloon.inflate(PAGES)
        self.listed = self.balloon.listed
        self.isolated = {self.listed.pop()}
        assert self.balloon.isolate(*self.isolated)
        self.ops = self.balloon.ops(self.listed[0])

    # What a thread can do, whole.

    def dequeue(self):
        if self.balloon.bdi.held:
            self.balloon.deflate()

    def dequeue_all(self):
        while len(self.balloon.pages) and self.balloon.deflate() is not None:
            pass

    def isolate(self):
        self.isolate_page(self.listed[0])

    def isolate_all(self):
        for page in self.listed:
            self.isolate_page(page)

    def isolate_page(self, page):
        if self.ops.isolate(page):
            self.isolated.add(page)

    def putback(self):
        for page in sorted(self.isolated):
            if not self.balloon.mm.flags[page] & PageFlag.LOCKED:  # else this thread would sleep
                self.isolated.discard(page)
                finish(self.ops.putback(page))

    def migrate(self):
        for page in sorted(self.isolated):
            if not self.balloon.mm.flags[page] & PageFlag.LOCKED:
                self.isolated.discard(page)
                finish(self.balloon.migrate(page))

    def check_at_rest(self):
        self.balloon.check()
        assert self.balloon.pages.isolated_pages == len(self.isolated)
        assert all(self.balloon.mm.refcount[page] == 2 for page in self.isolated)
        self.putback()
        self.dequeue_all()
        assert self.balloon.free == self.total_free
        self.balloon.pages.close()


INTRUSIONS = ["dequeue", "dequeue_all", "isolate", "isolate_all", "putback", "migrate"]


@pytest.mark.parametrize("intrusion", INTRUSIONS)
@pytest.mark.parametrize(("operation", "step"), [(name, step) for name, steps in INTERRUPTED.items() for step in steps])
@pytest.mark.parametrize("generation", GENERATIONS)
def test_whatever_comes_in_between(generation, operation, step, intrusion):
    """B3, S26."""
    race = Race(generation)

    def preempt(reached):
        if reached == step:
            race.balloon.bdi.preempt = None
            with other_thread(race.balloon.mm):
                getattr(race, intrusion)()

    race.balloon.bdi.preempt = preempt
    getattr(race, operation)()
    race.balloon.bdi.preempt = None
    race.check_at_rest()


@pytest.mark.parametrize("operation", INTERRUPTED)
@pytest.mark.parametrize("generation", GENERATIONS)
def test_the_steps_come_in_order(generation, operation):
    race = Race(generation)
    steps = []
    race.balloon.bdi.preempt = steps.append
    getattr(race, operation)()
    left_out = {Step.DEQUEUE_FOUND_NONE, Step.ISOLATE_REFUSED}
    if generation != "2012":
        left_out.add(Step.DEQUEUE_DELETED)  # pages_lock is held there
    assert steps == [step for step in INTERRUPTED[operation] if step not in left_out]


@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_dequeue_that_finds_none_is_no_bug_while_one_comes_back(generation):
    """S20 (a), between its two critical sections."""
    race = Race(generation)
    race.isolate_all()
    steps = []

    def putback(step):
        steps.append(step)
        if step == Step.DEQUEUE_FOUND_NONE:
            race.balloon.bdi.preempt = None
            with other_thread(race.balloon.mm):
                race.putback()

    race.balloon.bdi.preempt = putback
    assert race.balloon.pages.dequeue() is None
    assert steps[-1] == Step.DEQUEUE_FOUND_NONE
    race.check_at_rest()

"""Any sequence of what drivers and compaction do with a balloon, in every generation."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from support.balloon_interface import GENERATIONS, RETRY, Balloon, run
from support.properties import examples

from guest_driver.errors import KernelBugError
from guest_driver.mm.page_flags import PageFlag

COUNTS = st.integers(1, 8)
SPARE_PAGES = 32
CHOICES = st.integers(0, 1000)


class BalloonMachine(RuleBasedStateMachine):
    """A driver, compaction, and at most one migration whose host has not answered."""

    generation = ""

    def __init__(self):
        super().__init__()
        self.balloon = Balloon(self.generation)
        self.free_at_first = self.balloon.free
        self.isolated = []
        self.dequeued = []
        self.moving = ()
        self.expected_held = 0

    def idle(self):
        return not self.moving

    @precondition(lambda self: self.idle() and self.balloon.free > SPARE_PAGES)
    @rule(count=COUNTS)
    def enqueue(self, count):
        self.expected_held += len(self.balloon.inflate(count))

    @precondition(idle)
    @rule(fail=st.booleans())
    def enqueue_fails(self, fail):
        self.balloon.mm.failing_allocations = int(fail)
        if fail:
            assert self.balloon.pages.alloc() is None

    @precondition(idle)
    @rule()
    def dequeue(self):
        if not self.expected_held:
            with pytest.raises(KernelBugError):
                self.balloon.pages.dequeue()
            return
        first = self.balloon.listed[0] if len(self.balloon.pages) else None
        assert self.balloon.pages.dequeue() == first
        if first is not None:
            self.expected_held -= 1
            self.dequeued.append(first)

    @rule()
    def release(self):
        while self.dequeued:
            self.balloon.pages.release(self.dequeued.pop())

    @precondition(lambda self: self.balloon.listed)
    @rule(choice=CHOICES)
    def isolate(self, choice):
        listed = self.balloon.listed
        page = listed[choice % len(listed)]
        assert self.balloon.isolate(page) == (page not in self.moving)
        if page not in self.moving:
            self.isolated.append(page)

    @precondition(lambda self: self.isolated or self.dequeued)
    @rule(choice=CHOICES)
    def isolate_what_is_not_on_the_list(self, choice):
        others = self.isolated + self.dequeued
        assert not self.balloon.isolate(others[choice % len(others)])

    @precondition(lambda self: self.isolated)
    @rule(choice=CHOICES)
    def putback(self, choice):
        page = self.isolated.pop(choice % len(self.isolated))
        run(self.balloon.mm, self.balloon.ops(page).putback(page))
        assert self.balloon.listed[0] == page

    @precondition(lambda self: self.isolated)
    @rule(choice=CHOICES, outcome=st.sampled_from(["move", "sleep", RETRY]))
    def migrate(self, choice, outcome):
        page = self.isolated.pop(choice % len(self.isolated))
        # The host answers one request at a time: the driver's mutex is taken meanwhile.
        self.balloon.outcomes = [RETRY if self.moving else outcome]
        free, sleeps = self.balloon.free, self.balloon.outcomes == ["sleep"]
        self.balloon.mm.kernel.spawn(self.balloon.migrate(page))
        self.balloon.mm.kernel.run(0)
        newpage = self.balloon.calls[-1][0]
        if sleeps:
            self.moving = (page, newpage)
            return
        assert self.balloon.free == free
        assert self.balloon.listed[0] == (newpage if outcome == "move" and not self.moving else page)

    @precondition(lambda self: self.moving)
    @rule()
    def host_answers(self):
        page, newpage = self.moving
        self.balloon.mm.kernel.wake(self.balloon.host)
        self.balloon.mm.kernel.run(0)
        self.moving = ()
        assert self.balloon.mm.refcount[page] == 0
        assert self.balloon.mm.refcount[newpage] == 1
        assert newpage in self.balloon.listed

    @invariant()
    def conserved(self):
        """S26: those whose migration sleeps are counted once."""
        listed, isolated = self.balloon.listed, self.balloon.pages.isolated_pages
        assert self.balloon.bdi.held == self.expected_held == len(listed) + isolated
        assert len(self.balloon.pages) == len(listed)
        sleeping = 1 if self.moving and self.generation == "2026" else 0
        assert isolated == len(self.isolated) + sleeping
        in_use = self.expected_held + len(self.dequeued) + (1 if self.moving else 0)
        assert self.balloon.free == self.free_at_first - in_use

    @invariant()
    def references(self):
        """S23."""
        mm = self.balloon.mm
        at_rest = [page for page in self.balloon.listed if page not in self.moving]
        assert {mm.refcount[page] for page in at_rest + self.dequeued} <= {1}
        assert {mm.refcount[page] for page in self.isolated} <= {2}

    @invariant()
    def marks(self):
        mm, later = self.balloon.mm, self.generation != "2012"
        on_list = PageFlag.OFFLINE | PageFlag.MOVABLE if later else 0
        at_rest = [page for page in self.balloon.listed if page not in self.moving]
        assert {mm.flags[page] for page in at_rest} <= {on_list}
        assert {mm.flags[page] for page in self.isolated} <= {on_list | (PageFlag.ISOLATED if later else 0)}
        assert {mm.flags[page] for page in self.dequeued} <= {0}
        assert not mm.warnings

    def teardown(self):
        if self.moving:
            self.host_answers()
        while self.isolated:
            self.putback(0)
        self.release()
        for _ in range(len(self.balloon.pages)):
            self.balloon.deflate()
        assert self.balloon.free == self.free_at_first
        self.balloon.pages.close()


@pytest.mark.parametrize("generation", GENERATIONS)
def test_no_sequence_loses_a_page(generation):
    """S23, S26."""
    machine = type(f"BalloonMachine{generation}", (BalloonMachine,), {"generation": generation})
    run_state_machine_as_test(machine, settings=examples(60))

"""All that a guest, its driver, compaction and a slow host can do, in any order: nothing is lost, both maps agree."""

import sys

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.properties import examples
from support.whole_guest import Host, WholeGuest

from guest_driver.mm.compaction import alloc_high_order, compact_memory
from guest_driver.mm.page_flags import Migratetype, PageFlag
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import DeviceStatus, RingFeature

pytestmark = pytest.mark.long

CHOICES = st.integers(0, 10_000)
PAGES = st.integers(1, 800)
DURATIONS_S = st.sampled_from([0.0, 0.01, 0.25, 2.5])
OPTIONAL = (
    RingFeature.EVENT_IDX,
    RingFeature.RING_PACKED,
    RingFeature.IN_ORDER,
    BalloonFeature.DEFLATE_ON_OOM,
    BalloonFeature.PAGE_REPORTING,
)
FEATURES = st.tuples(*(st.sampled_from((0, int(feature))) for feature in OPTIONAL)).map(sum)
EVERY = st.integers(2, 40)
MEANWHILE = st.sampled_from([None, Host.SERVES_LATE, Host.ANSWERS_LATE])
"""Whether the driver first has to wait for the host in the middle of a request, and for what."""

MAX_ASLEEP = 4


class WholeGuestMachine(RuleBasedStateMachine):
    """One guest; its interface and whether balloon pages can be migrated are the class's."""

    interface = "2022"
    balloon_compaction = True

    def __init__(self):
        super().__init__()
        self.whole = None

    @initialize(
        mib=st.sampled_from([8, 12]),
        pageblock_order=st.sampled_from([5, 9]),
        features=FEATURES,
        frames=st.sampled_from([0, 300, 1500]),
        every=EVERY,
    )
    def boot(self, mib, pageblock_order, features, frames, every):
        self.whole = WholeGuest(
            mib,
            features,
            interface=self.interface,
            balloon_compaction=self.balloon_compaction,
            pageblock_order=pageblock_order,
        )
        self.whole.resize(frames)
        if frames > 1000:
            self.scatter(every, Host.PROMPT)

    def loaded(self):
        return self.whole.guest.balloon is not None

    def under_way(self):
        return self.whole.guest.balloon.num_pages != self.whole.device.device.state.config.num_pages

    def have_it_wait(self, host):
        """Change the balloon's size by a little, on a host that does not answer."""
        if host is not None and self.loaded():
            self.whole.device.host = host
            self.whole.resize(self.whole.guest.balloon.num_pages + 10)

    def may_start(self):
        return len(self.whole.threads.asleep) < MAX_ASLEEP

    # The host.

    @rule(frames=st.one_of(st.integers(0, 600), st.integers(0, 4096)))
    def set_target(self, frames):
        self.whole.resize(frames)

    @rule(frames=st.integers(0, 2048), steps=st.integers(1, 60))
    def set_target_and_stop_the_driver_at_it(self, frames, steps):
        self.whole.device.set_target(frames * FRAME_BYTES)
        self.whole.step(steps)

    @rule(steps=st.integers(1, 10))
    def step(self, steps):
        self.whole.step(steps)

    @rule(host=st.sampled_from(Host))
    def change_host(self, host):
        self.whole.device.host = host

    @precondition(lambda self: self.whole.device.withheld)
    @rule(which=CHOICES)
    def answer_one(self, which):
        self.whole.device.release(which)
        self.whole.run()

    @precondition(lambda self: self.whole.device.withheld)
    @rule(times=st.integers(2, 60))
    def answer_several(self, times):
        """What the driver asks next is withheld again."""
        for _ in range(times):
            if self.whole.device.withheld:
                self.whole.device.release(0)
                self.whole.run()

    @precondition(lambda self: self.whole.device.resetting)
    @rule()
    def finish_reset(self):
        self.whole.device.finish_reset()
        self.whole.run()

    @rule()
    def ask_for_statistics(self):
        self.whole.device.ask_for_statistics()
        self.whole.run()

    # Time, and the guest's programs.

    @rule(duration_s=DURATIONS_S)
    def run(self, duration_s):
        self.whole.run(duration_s)

    @rule(files=st.integers(0, 800), slab=st.integers(0, 100), churn=st.integers(0, 300))
    def guest_at_work(self, files, slab, churn):
        machine = self.whole.machine
        machine.read_files(mib=files / 256)
        machine.look_up_files(mib=slab / 256)
        machine.churn_kernel(churn, low_share=0.0, high_share=0.1)
        self.whole.run()

    @rule(slab=st.booleans())
    def drop_caches(self, slab):
        self.whole.machine.drop_caches(slab=slab)

    @precondition(may_start)
    @rule(which=CHOICES, frames=PAGES, huge=st.booleans())
    def touch(self, which, frames, huge):
        processes = self.whole.processes
        processes[:] = [process for process in processes if not process.killed]
        if which % 3 == 0 or not processes:
            processes.append(self.whole.machine.process())
        process = processes[which % len(processes)]
        self.whole.threads.start(process.fault_in_huge() if huge else process.fault_in(frames))

    @precondition(lambda self: self.whole.processes)
    @rule(which=CHOICES, frames=PAGES, ends=st.booleans())
    def unmap(self, which, frames, ends):
        process = self.whole.processes[which % len(self.whole.processes)]
        if ends:
            process.kill()
        else:
            process.unmap(frames)
        self.whole.run()

    @precondition(may_start)
    @rule(meanwhile=MEANWHILE)
    def out_of_memory(self, meanwhile):
        self.have_it_wait(meanwhile)
        self.whole.threads.start(self.whole.machine.oom.out_of_memory())

    # Compaction.

    @precondition(may_start)
    @rule(meanwhile=MEANWHILE)
    def compact(self, meanwhile):
        self.have_it_wait(meanwhile)
        self.whole.threads.start(compact_memory(self.whole.mm))

    @precondition(may_start)
    @rule(order=st.sampled_from([2, 5, 9]), migratetype=st.sampled_from(Migratetype), noretry=st.booleans())
    def allocate(self, order, migratetype, noretry):
        self.whole.allocate(order, alloc_high_order(self.whole.mm, order, int(migratetype), noretry=noretry))

    @precondition(lambda self: self.whole.blocks)
    @rule(which=CHOICES)
    def free(self, which):
        page = sorted(self.whole.blocks)[which % len(self.whole.blocks)]
        self.whole.mm.free_pages(page, self.whole.blocks.pop(page))

    @precondition(lambda self: self.loaded() and self.whole.listed)
    @rule(which=CHOICES)
    def isolate(self, which):
        listed = self.whole.listed
        page = listed[which % len(listed)]
        locked = self.whole.mm.flags[page] & PageFlag.LOCKED
        assert self.whole.isolate(page) == (self.balloon_compaction and not locked)

    @precondition(lambda self: self.loaded() and len(self.whole.listed) > 40)
    @rule(every=EVERY, host=st.sampled_from(Host))
    def scatter(self, every, host):
        """Have the driver deflate all pages but some of those in between, which are isolated meanwhile."""
        for page in sorted(self.whole.listed)[::every]:
            self.whole.isolate(page)
        self.whole.resize(len(self.whole.isolated))
        for page in list(self.whole.isolated):
            self.whole.put_back(page)
        self.whole.device.host = host

    @precondition(lambda self: self.whole.isolated)
    @rule(which=CHOICES)
    def isolate_again(self, which):
        page = self.whole.isolated[which % len(self.whole.isolated)]
        assert not self.whole.isolate(page)

    @precondition(lambda self: self.whole.isolated)
    @rule(which=CHOICES)
    def put_back(self, which):
        page = self.whole.isolated[which % len(self.whole.isolated)]
        # A driver that was stopped in the middle of a resize goes on meanwhile, and may take the page at once.
        goes_on = self.whole.removing or not self.loaded() or self.under_way()
        self.whole.put_back(page)
        assert goes_on or self.whole.listed[0] == page

    @precondition(lambda self: self.whole.isolated and self.may_start())
    @rule(which=CHOICES)
    def migrate(self, which):
        self.whole.migrate(self.whole.isolated[which % len(self.whole.isolated)])

    # The driver.

    @precondition(lambda self: self.loaded() and not self.whole.removing)
    @rule()
    def remove(self):
        self.whole.remove()

    @precondition(lambda self: not self.loaded() and self.whole.device.status() == DeviceStatus(0))
    @rule()
    def load(self):
        self.whole.load()

    @rule()
    def come_to_rest(self):
        self.whole.come_to_rest()

    @invariant()
    def nothing_is_lost(self):
        if self.whole is not None:
            self.whole.check()

    def teardown(self):
        if self.whole is None:
            return
        try:
            if sys.exc_info()[0] is None:
                self.whole.shut_down()
        finally:
            self.whole.close()


@pytest.mark.timeout(600)  # to shrink what fails may take hypothesis five minutes
@pytest.mark.parametrize("balloon_compaction", [True, False])
@pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
def test_whatever_happens_the_guest_and_the_device_agree(interface, balloon_compaction):
    """S22, S23, S26; 5.5.6.1."""
    machine = type(
        f"WholeGuestMachine{interface}",
        (WholeGuestMachine,),
        {"interface": interface, "balloon_compaction": balloon_compaction},
    )
    run_state_machine_as_test(machine, settings=settings(examples(12), stateful_step_count=45))


@pytest.mark.parametrize("interface", ["2022", "2026"])
def test_a_driver_stays_until_whoever_ran_out_of_memory_has_its_answer(interface):
    """unregister_oom_notifier() waits for calls under way: the device would forget what they wait for."""
    whole = WholeGuest(8, int(BalloonFeature.DEFLATE_ON_OOM), interface=interface)
    try:
        whole.resize(200)  # the notifier gives all of it, and nothing is left for remove() to wait for
        whole.device.host = Host.SERVES_LATE
        whole.threads.start(whole.machine.oom.out_of_memory())
        whole.remove()
        whole.run(1.0)
        assert whole.guest.balloon is not None
        whole.shut_down()
    finally:
        whole.close()

"""A whole modelled guest with the real device on real rings, on a host that may be slow, and what must hold of both.

Rules of this file:

* What the guest has in its balloon is read from its own page flags, mappings and lists, never from the device.
* A host that is slow either does not look at a request, or carries it out and does not say so. Requests of different
  queues are let go of in any order; the driver has at most one for its size under way at a time.
"""

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

import numpy as np
from support.mm import Census, Outcome, check_zone, start

from guest_driver.guest import Guest
from guest_driver.kernel import Thread, WaitQueue
from guest_driver.mm import compact_zone, migrate
from guest_driver.mm.compact_control import VIA_COMPACT_MEMORY, Cc, make_control
from guest_driver.mm.lockdep import LockClass
from guest_driver.mm.movable import MigrateMode
from guest_driver.mm.page_flags import PageFlag
from guest_driver.mm.vm_events import VmEvent
from guest_driver.mm.zone import ZoneCount
from guest_driver.virtio_balloon.state import ARRAY_PFNS_MAX
from guest_driver.virtual_time import run_until
from guest_driver.workload.machine import Machine
from guest_driver.workload.process import Process, ProcessKilledError
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME
from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature
from vballoond.balloon.facts import Fact, Request, StatisticsDue
from vballoond.lab.direct_device import DirectDevice
from vballoond.memory.frames import FrameRange

ALWAYS_OFFERED: Final = RingFeature.VERSION_1 | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ
SIZING: Final = (QueueRole.INFLATE, QueueRole.DEFLATE)
LONG_ENOUGH_S: Final = 2.5
"""For whatever in the guest does not wait for the host; page reporting looks every two seconds."""

_DROPS: Final = 40  # each leaves about half of slab, which is in use just then


class Host(Enum):
    """What the host does with requests as they come."""

    PROMPT = "answers at once"
    SERVES_LATE = "does not look at them"
    ANSWERS_LATE = "carries them out, and does not say so"


@dataclass(eq=False)
class Withheld:
    """A request that waits for the host; carried out already, if there is nothing left to serve."""

    role: QueueRole
    head: int
    pfns: frozenset[int]
    unserved: Request | None = None


class SlowDevice(DirectDevice):
    """The real device, of which the answers can be withheld."""

    def __init__(self, guest: Guest, features: int) -> None:
        self.host = Host.PROMPT
        self.withheld: list[Withheld] = []
        self.told_before: frozenset[int] = frozenset()
        """What the request for the size named that came before the last one."""
        self.resetting = False
        self._told: frozenset[int] = frozenset()
        super().__init__(guest, features)

    @property
    def sizing(self) -> Withheld | None:
        """The request for the balloon's size that is under way: the driver may have one."""
        requests = [each for each in self.withheld if each.role in SIZING]
        assert len(requests) <= 1, f"two requests from under one balloon_lock: {requests}"
        return requests[0] if requests else None

    @property
    def held(self) -> set[int]:
        """The frames that the device holds."""
        picture = self.device.frame_map.picture(FrameRange(0, self._guest.total_frames))
        return set(np.flatnonzero(np.frombuffer(picture, dtype=np.uint8)).tolist())

    def release(self, which: int) -> None:
        """Have the host do its next step for one of the requests that wait; it may wait for another then."""
        request = self.withheld.pop(which % len(self.withheld))
        if request.unserved is not None:
            super()._feed(request.unserved)
        else:
            super()._complete(request.role, request.head)

    def catch_up(self) -> None:
        """Answer all that waits, and at once from now on."""
        self.host = Host.PROMPT
        while self.withheld:
            self.release(0)
        if self.resetting:
            self.finish_reset()

    def ask_for_statistics(self) -> None:
        """Return the statistics buffer, if the driver's is here."""
        self._feed(StatisticsDue())

    def reset(self) -> None:
        waited_for = [each.role for each in self.withheld if each.role is not QueueRole.STATS]
        assert not waited_for, f"the device is reset under requests that threads wait for: {waited_for}"
        self.resetting = True
        if self.host is Host.PROMPT:
            self.finish_reset()

    def finish_reset(self) -> None:
        """Let go of the rings, and of what they held."""
        super().reset()
        self.withheld.clear()
        self.resetting = False

    def close(self) -> None:
        self.host = Host.PROMPT
        self.withheld.clear()
        super().close()

    def _feed(self, fact: Fact) -> None:
        if isinstance(fact, Request):
            pfns = _pfns(fact)
            if fact.role in SIZING:
                self.told_before, self._told = self._told, pfns
            if self.host is Host.SERVES_LATE:
                self.withheld.append(Withheld(fact.role, fact.head, pfns, fact))
                return
        super()._feed(fact)

    def _complete(self, role: QueueRole, head: int) -> None:
        if self.host is not Host.ANSWERS_LATE:
            super()._complete(role, head)
            return
        self.withheld.append(Withheld(role, head, self._told if role in SIZING else frozenset()))


def _pfns(request: Request) -> frozenset[int]:
    return frozenset(PAGE_FRAME.array(request.data)["pfn"].tolist()) if request.role in SIZING else frozenset()


@dataclass
class Threads:
    """Threads that a test has started, and those of them that have not ended."""

    guest: Guest
    asleep: list[Outcome] = field(default_factory=list)

    def start(self, thread: Generator[WaitQueue | float, None, Any]) -> Outcome:
        """Run a thread until it sleeps or ends. A process that is killed meanwhile ends too."""
        outcome = start(self.guest.kernel, _until_killed(thread))
        self.asleep.append(outcome)
        self.reap()
        return outcome

    def reap(self) -> None:
        """Forget those that have ended."""
        self.asleep = [each for each in self.asleep if not each.done]


def _until_killed(thread: Generator[WaitQueue | float, None, Any]) -> Generator[WaitQueue | float, None, Any]:
    try:
        return (yield from thread)
    except ProcessKilledError:
        return None


class WholeGuest:
    """A guest, its programs, its balloon driver and the device, in virtual time.

    Args:
        mib: Memory.
        features: What the device offers besides ``ALWAYS_OFFERED``.
        guest: Arguments of :class:`Guest`.
    """

    def __init__(self, mib: int, features: int = 0, **guest: Any) -> None:
        self.guest: Final = Guest(mib << 20, **guest)
        self.mm: Final = self.guest.mm
        self.machine: Final = Machine(self.mm)
        self.device: Final = SlowDevice(self.guest, int(ALWAYS_OFFERED) | features)
        self.threads: Final = Threads(self.guest)
        self.isolated: Final[list[int]] = []
        """Pages that the test has isolated by hand."""
        self.blocks: Final[dict[int, int]] = {}
        """Blocks that the test has allocated, and their orders."""
        self.processes: Final[list[Process]] = []
        self.removing = False
        self._managed_frames: Final = self.mm.counts[ZoneCount.MANAGED]
        self._free_at_boot: Final = check_zone(self.guest.zone).free
        self.load()

    @property
    def pages(self) -> Any:
        """The driver's balloon pages."""
        assert self.guest.balloon is not None
        return self.guest.balloon.pages

    @property
    def bdi(self) -> Any:
        """The device info of the interface."""
        return self.pages.b_dev_info if self.guest.options.interface == "2012" else self.pages.vb_dev_info

    @property
    def listed(self) -> list[int]:
        """The pages on the balloon's list, the first one first."""
        return self.mm.list_pages(self.bdi.pages)

    # What may happen to it.

    def run(self, duration_s: float = 0.0) -> None:
        """Let time pass, and threads run until they sleep."""
        run_until(self.guest.kernel, self.guest.kernel.now_s + duration_s)
        self.threads.reap()

    def step(self, steps: int) -> None:
        """Let threads run so far only: one may stop where it lets others run."""
        self.guest.kernel.run(self.guest.kernel.now_s, steps)
        self.threads.reap()

    def resize(self, frames: int) -> None:
        """Want a balloon of so many frames, and let the driver follow as far as it can at once."""
        self.device.set_target(frames * FRAME_BYTES)
        self.run()

    def load(self) -> None:
        """Insert the driver's module."""
        self.guest.load_driver(self.device)
        self.run()

    def remove(self) -> None:
        """Remove the driver's module; it is gone when it has given everything back."""
        balloon = self.guest.balloon
        assert balloon is not None
        self.removing = True

        def remove() -> Thread:
            yield from balloon.remove()
            self.guest.balloon, self.removing = None, False

        self.threads.start(remove())

    def isolate(self, page: int) -> bool:
        """Isolate a page of the balloon by hand."""
        if not migrate.isolate(self.mm, page):
            return False
        self.isolated.append(page)
        return True

    def put_back(self, page: int) -> None:
        """Give a page back to the balloon that was isolated by hand."""
        self.isolated.remove(page)
        operations = self.mm.movable_operations(page)
        assert operations is not None
        self.threads.start(operations.putback(page))

    def migrate(self, page: int) -> None:
        """Migrate a page that was isolated by hand; if that fails it goes back to the balloon."""
        self.isolated.remove(page)
        cc = make_control(VIA_COMPACT_MEMORY, MigrateMode.SYNC, direct=False, whole_zone=True, ignore_skip_hint=True)

        def moving() -> Thread:
            compact_zone.begin(self.guest.zone, cc)
            cc.owned_pages[0], cc.numbers[Cc.NR_OWNED], cc.numbers[Cc.BATCH] = page, 1, 1
            yield from migrate.migrate_owned(self.mm, cc)
            compact_zone.release_freepages(self.guest.zone, cc)

        self.threads.start(moving())

    def allocate(self, order: int, thread: Generator[WaitQueue | float, None, int | None]) -> None:
        """Allocate a block in a thread, and keep it."""

        def allocating() -> Thread:
            page = yield from thread
            if page is not None:
                self.blocks[page] = order

        self.threads.start(allocating())

    def come_to_rest(self) -> None:
        """Have the host answer and nobody hold anything of the balloon's, until every thread has ended."""
        self.device.catch_up()
        for page in list(self.isolated):
            self.put_back(page)
        self.run(LONG_ENOUGH_S)
        assert not self.threads.asleep, "a thread waits for nothing that could still come"
        held = {lock_class for locks in self.mm.lockdep._held.values() for lock_class, _ in locks}
        assert held <= ({LockClass.BALLOON_LOCK} if self._works else set())  # 2012: it waits for memory with the lock

    def shut_down(self) -> None:
        """Give everything back, and demand that the guest is as it was at boot."""
        self.come_to_rest()
        self.check()
        for process in self.processes:
            process.kill()
        for page, order in self.blocks.items():
            self.mm.free_pages(page, order)
        self.blocks.clear()
        if self.guest.balloon is not None:
            self.remove()
            self.come_to_rest()
        self.machine.churn_kernel(self.guest.total_frames, low_share=0, high_share=0)
        for _ in range(_DROPS):
            self.machine.drop_caches(slab=True)
        self.check()
        # Free blocks merge into the same blocks, whatever was done with them meanwhile.
        assert check_zone(self.guest.zone).free == self._free_at_boot
        assert self.mm.counts[ZoneCount.MANAGED] == self._managed_frames

    def close(self) -> None:
        """Power off."""
        self.device.close()
        self.guest.close()

    # What must hold of it between any two steps.

    def check(self) -> Census:
        """Demand that no frame is lost, that lists agree with flags and the device's map with the guest's."""
        assert self.mm.warnings == []
        self._check_locks()
        census = self._census()
        assert census.owned == self.in_balloon()
        if self.guest.balloon is None:
            assert not self.device.held
            assert self.device.device.state.config.actual == 0 or self.device.resetting
        else:
            self._check_list()
            self._check_map()
            self._check_size()
        self._check_loose(census)
        return census

    def in_balloon(self) -> set[int]:
        """Return the balloon's pages by the guest's own marks: those that are isolated, or being migrated, too."""
        zone = self.guest.zone
        if self.guest.options.interface != "2012":
            return set(np.flatnonzero(zone.flags & int(PageFlag.OFFLINE)).tolist())
        if self.guest.balloon is None or self.pages.b_dev_info is None:
            return set()
        if self.bdi.mapping is None:
            return set(self.listed)
        return set(np.flatnonzero(zone.mapping == self.bdi.mapping.number).tolist())

    def _census(self) -> Census:
        """Take a balloon page's list for its mapping: in 2012 it has another, and without compaction none."""
        zone = self.guest.zone
        if self.guest.balloon is None or self.in_balloon() == set():
            return check_zone(zone)
        mapping = zone.mapping.copy()
        mapping[self.listed] = getattr(self.bdi, "list_number", None) or self.bdi.number
        return check_zone(zone._replace(mapping=mapping))

    def _check_locks(self) -> None:
        """Page locks by their flags are those that threads hold; nobody holds a spinlock while nobody runs."""
        held = [lock for locks in self.mm.lockdep._held.values() for lock in locks]
        pages = {name for lock_class, name in held if lock_class is LockClass.PAGE_LOCK}
        assert pages == set(np.flatnonzero(self.guest.zone.flags & int(PageFlag.LOCKED)).tolist())
        assert not [lock for lock in held if lock[0] is LockClass.PAGES_LOCK]
        assert len([lock for lock in held if lock[0] is LockClass.BALLOON_LOCK]) <= 1

    def _check_list(self) -> None:
        """Enqueued less dequeued are those on the list and those isolated; S23, S26."""
        listed, bdi, refcount = self.listed, self.bdi, self.mm.refcount
        assert len(self.pages) == len(listed)
        assert bdi.held == len(listed) + bdi.isolated_pages
        assert set(listed) | set(self.isolated) <= self.in_balloon()
        assert not set(listed) & set(self.isolated)
        still = [page for page in listed if not self.mm.flags[page] & PageFlag.LOCKED]
        assert all(refcount[page] == 1 for page in still)
        assert all(refcount[page] == 2 for page in self.isolated)
        if not self.threads.asleep:
            assert bdi.isolated_pages == len(self.isolated)
        self._check_counters()

    def _check_counters(self) -> None:
        events, bdi = self.mm.events, self.bdi
        if self.guest.options.interface != "2012":
            assert events[VmEvent.BALLOON_INFLATE] - events[VmEvent.BALLOON_DEFLATE] == bdi.held
            return
        gone = events[VmEvent.COMPACT_BALLOON_MIGRATED] + events[VmEvent.COMPACT_BALLOON_RETURNED]
        assert events[VmEvent.COMPACT_BALLOON_ISOLATED] - gone == bdi.isolated_pages

    def _check_map(self) -> None:
        """The device holds what the guest has in its balloon, but for what the driver is just about to tell it."""
        device, mine = self.device.held, self.in_balloon()
        request = self.device.sizing
        if request is not None:
            migrating = self.device.told_before if len(request.pfns) == 1 else frozenset()
            assert device ^ mine <= request.pfns | migrating
            assert all(self.mm.refcount[page] for page in request.pfns), "a page is free before the host has answered"
            return
        untold, gone = mine - device, device - mine
        assert not untold or not gone
        if self._idle():
            assert device == mine
        elif self.removing:
            assert len(untold | gone) <= ARRAY_PFNS_MAX
        else:
            assert len(untold) - len(gone) in {0, self._unsaid}

    @property
    def _unsaid(self) -> int:
        """By how much the balloon is larger than the driver has written."""
        assert self.guest.balloon is not None
        return self.guest.balloon.num_pages - self.device.device.state.config.actual

    def _check_size(self) -> None:
        """``actual`` is what the driver has, but for the request that it is at; so is MemTotal."""
        balloon, request = self.guest.balloon, self.device.sizing
        assert balloon is not None
        assert balloon.num_pages == self.bdi.held
        under_way = ARRAY_PFNS_MAX if self._works else 0
        if request is not None:
            under_way = len(request.pfns)
            if not self.removing:
                assert self._unsaid in ({0, 1, -1} if under_way == 1 else {under_way, -under_way})
                assert self._unsaid or len(self.device.held) >= balloon.num_pages, (
                    "the balloon looks smaller than it is"
                )
        assert self.removing or abs(self._unsaid) <= under_way
        deflates_on_oom = balloon.features & BalloonFeature.DEFLATE_ON_OOM
        missing = self._managed_frames - self.mm.counts[ZoneCount.MANAGED]
        assert 0 <= missing - (0 if deflates_on_oom else balloon.num_pages) <= (0 if deflates_on_oom else under_way)

    def _check_loose(self, census: Census) -> None:
        """Pages without a mark are the kernel's, the test's, or in somebody's hands: while there is somebody."""
        kernels = self.guest.zone.unmovable[: self.mm.counts[ZoneCount.UNMOVABLE]].tolist()
        loose = census.plain - set(kernels) - self.blocks.keys()
        huge = dict(self._huge_pages())
        blocks = {page: order for page, order in self.blocks.items() if order}
        assert {page: census.compound.get(page) for page in huge | blocks} == huge | blocks
        if self._idle():
            assert not loose
            assert census.compound == huge | blocks

    def _huge_pages(self) -> Iterable[tuple[int, int]]:
        order = self.mm.counts[ZoneCount.PAGEBLOCK_ORDER]
        return ((page, order) for process in self.processes for page in process._huge_pages)

    @property
    def _works(self) -> bool:
        """Whether a thread of the driver's that sizes the balloon is at it."""
        balloon = self.guest.balloon
        return balloon is not None and (balloon._sizing.work.running or balloon._sizing.work.pending)

    def _idle(self) -> bool:
        return not self.threads.asleep and not self.device.withheld and not self._works

import pytest
from support.workload_guest import WorkloadGuest

from guest_driver.kernel import Thread
from guest_driver.mm.zone import ZoneCount
from guest_driver.workload.machine import Machine
from guest_driver.workload.process import ProcessKilledError


class Scripted:
    """A load of a few lines, as a user writes it."""

    def __init__(self) -> None:
        self.ticks = 0

    def run(self, machine: Machine) -> Thread:
        editor = machine.process()
        while True:
            machine.read_files(mib=1)
            yield from editor.fault_in(machine.frames(mib=0.5))
            self.ticks += 1
            yield 1.0


def test_a_load_is_a_few_lines_of_python() -> None:
    with WorkloadGuest() as made:
        load = Scripted()
        made.run(4.5, load)
        assert load.ticks == 5
        assert made.mib(ZoneCount.FILE) == 5
        assert made.mib(ZoneCount.ANON) == 2.5


def test_stopping_ends_loads_and_their_processes() -> None:
    with WorkloadGuest() as made:
        load = Scripted()
        made.run(4.5, load)
        made.machine.stop()
        made.run(20.0)
        assert load.ticks == 5
        assert made.mib(ZoneCount.ANON) == 0


def test_a_part_is_stopped_without_the_others() -> None:
    with WorkloadGuest() as made:
        stays, goes = Scripted(), Scripted()
        part = made.machine.part()
        part.start(goes)
        made.run(2.5, stays)
        part.stop()
        made.run(5.5)
        assert (stays.ticks, goes.ticks) == (6, 3)
        assert made.mib(ZoneCount.ANON) == 3


def test_fractions_of_pages_are_not_lost() -> None:
    with WorkloadGuest() as made:
        for _ in range(1024):
            made.machine.read_files(mib=1 / 1024)
        assert made.mib(ZoneCount.FILE) == 1


def test_the_largest_process_is_killed_and_the_one_that_asked_gets_its_memory() -> None:
    with WorkloadGuest() as made:
        small, large = made.machine.process(), made.machine.process()
        finished = []

        def asks() -> Thread:
            yield from large.fault_in(50 * 256)
            yield from small.fault_in(20 * 256)
            finished.append(small.resident_frames())

        made.guest.kernel.spawn(asks())
        made.run(1.0)
        assert finished == [20 * 256]
        assert large.killed
        assert not small.killed
        assert made.vmstat("oom_kill") == 1


def test_a_killed_process_gets_no_more_memory() -> None:
    with WorkloadGuest() as made:
        process = made.machine.process()
        process.kill()
        with pytest.raises(ProcessKilledError):
            next(process.fault_in(1), None)
        process.kill()


def test_whoever_can_give_pages_is_asked_before_anything_is_killed() -> None:
    with WorkloadGuest() as made:
        spare = [made.guest.mm.alloc_page(0) for _ in range(30 * 256)]
        asked = []

        def notifier():
            asked.append(len(spare))
            for _ in range(256):
                made.guest.mm.put_page(spare.pop())
            return 256
            yield

        made.guest.mm.oom_notifiers.append(notifier)
        process = made.machine.process()
        made.guest.kernel.spawn(process.fault_in(40 * 256))
        made.run(1.0)
        assert asked
        assert process.resident_frames() == 40 * 256
        assert made.vmstat("oom_kill") == 0


def test_frames_that_come_into_use_are_noted_for_the_host() -> None:
    with WorkloadGuest() as made:
        made.guest.mm.counts[ZoneCount.USED_WANTED] = 1
        made.machine.read_files(mib=1)
        assert made.guest.mm.counts[ZoneCount.USED] == 256


def test_dropping_caches_leaves_no_page_cache() -> None:
    with WorkloadGuest() as made:
        made.machine.read_files(mib=10)
        made.machine.drop_caches()
        assert made.mib(ZoneCount.FILE) == 0

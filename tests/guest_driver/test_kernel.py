from collections.abc import Iterator

import pytest

from guest_driver.kernel import COND_RESCHED, Kernel, Thread, WaitQueue, Work, wait_event


@pytest.fixture
def kernel():
    return Kernel()


def noting(log: list, name: str, *sleeps: WaitQueue | float) -> Thread:
    """Note each time that it runs; sleep in between."""
    log.append(name)
    for sleep in sleeps:
        yield sleep
        log.append(name)


def test_a_thread_first_runs_when_the_kernel_does(kernel):
    log = []
    kernel.spawn(noting(log, "a"))
    assert log == []
    kernel.run(0)
    assert log == ["a"]


def test_threads_run_in_the_order_in_which_they_were_spawned(kernel):
    log = []
    for name in "abc":
        kernel.spawn(noting(log, name))
    kernel.run(0)
    assert log == ["a", "b", "c"]


def test_with_nothing_to_do_nobody_wants_to_be_run(kernel):
    assert kernel.run(5.0) is None
    assert kernel.now_s == 5.0


def test_a_thread_sleeps_until_its_queue_is_woken(kernel):
    log, queue, other = [], WaitQueue(), WaitQueue()
    kernel.spawn(noting(log, "a", queue))
    assert kernel.run(0) is None
    kernel.wake(other)
    kernel.run(1)
    assert log == ["a"]
    kernel.wake(queue)
    assert log == ["a"]
    kernel.run(1)
    assert log == ["a", "a"]


def test_waking_wakes_all_sleepers_in_order_and_once(kernel):
    log, queue = [], WaitQueue()
    for name in "abc":
        kernel.spawn(noting(log, name, queue, queue))
    kernel.run(0)
    log.clear()
    kernel.wake(queue)
    kernel.run(0)
    assert log == ["a", "b", "c"]
    kernel.run(0)
    assert log == ["a", "b", "c"]


def test_a_wake_is_not_remembered_for_those_who_come_later(kernel):
    log, queue = [], WaitQueue()
    kernel.wake(queue)
    kernel.spawn(noting(log, "a", queue))
    kernel.run(0)
    assert log == ["a"]


def test_a_thread_sleeps_for_a_time(kernel):
    log = []
    kernel.spawn(noting(log, "a", 0.2, 0.3))
    assert kernel.run(10.0) == pytest.approx(10.2)
    assert kernel.run(10.1) == pytest.approx(10.2)
    assert log == ["a"]
    due_s = kernel.run(10.0) or 0
    assert kernel.run(due_s) == pytest.approx(10.5)
    assert log == ["a", "a"]
    assert kernel.run(11.0) is None
    assert log == ["a", "a", "a"]


def test_sleepers_are_woken_by_their_times_and_equal_times_in_order(kernel):
    log = []
    for name, sleep in (("late", 3.0), ("first", 1.0), ("second", 1.0), ("soon", 0.5)):
        kernel.spawn(noting(log, name, sleep))
    assert kernel.run(0) == 0.5
    log.clear()
    kernel.run(10)
    assert log == ["soon", "first", "second", "late"]


def test_threads_that_wake_each_other_run_in_one_go(kernel):
    log, ping, pong = [], WaitQueue(), WaitQueue()

    def player(name: str, mine: WaitQueue, others: WaitQueue) -> Iterator[WaitQueue]:
        for _ in range(3):
            yield mine
            log.append(name)
            kernel.wake(others)

    kernel.spawn(player("ping", ping, pong))
    kernel.spawn(player("pong", pong, ping))
    kernel.run(0)
    kernel.wake(ping)
    kernel.run(0)
    assert log == ["ping", "pong"] * 3


# Work items.


def test_work_runs_once_however_often_it_is_queued_before(kernel):
    log = []
    work = Work(lambda: noting(log, "w"))
    for _ in range(3):
        kernel.queue_work(work)
    kernel.run(0)
    assert log == ["w"]
    assert not work.pending
    assert not work.running


def test_work_can_be_queued_again_when_it_has_run(kernel):
    log = []
    work = Work(lambda: noting(log, "w"))
    for _ in range(3):
        kernel.queue_work(work)
        kernel.run(0)
    assert log == ["w"] * 3


def test_work_that_is_queued_while_it_runs_runs_once_more_after(kernel):
    log, queue = [], WaitQueue()
    work = Work(lambda: noting(log, "w", queue))
    kernel.queue_work(work)
    kernel.run(0)
    assert work.running
    kernel.queue_work(work)
    kernel.queue_work(work)
    kernel.run(0)
    assert log == ["w"]
    kernel.wake(queue)
    kernel.run(0)
    assert log == ["w", "w", "w"]
    kernel.wake(queue)
    kernel.run(0)
    assert log == ["w"] * 4
    assert not work.running


def test_work_may_queue_itself(kernel):
    log = []

    def function() -> Thread:
        log.append("w")
        if len(log) < 3:
            kernel.queue_work(work)
        yield 0.0

    work = Work(function)
    kernel.queue_work(work)
    for _ in range(5):
        kernel.run(0)
    assert log == ["w"] * 3


def test_who_waits_for_work_is_woken_when_it_is_idle(kernel):
    log, queue = [], WaitQueue()
    work = Work(lambda: noting(log, "w", queue))

    def waiter() -> Thread:
        yield from wait_event(work.idle, lambda: not work.running)
        log.append("idle")

    kernel.queue_work(work)
    kernel.run(0)
    kernel.spawn(waiter())
    kernel.run(0)
    assert log == ["w"]
    kernel.wake(queue)
    kernel.run(0)
    assert log == ["w", "w", "idle"]


# Waiting for an event.


def test_an_event_that_is_there_already_is_not_waited_for(kernel):
    log = []

    def thread() -> Thread:
        yield from wait_event(WaitQueue(), lambda: True)
        log.append("went on")

    kernel.spawn(thread())
    kernel.run(0)
    assert log == ["went on"]


def test_a_wake_without_the_event_is_slept_over(kernel):
    log, queue, happened = [], WaitQueue(), []

    def thread() -> Thread:
        yield from wait_event(queue, lambda: bool(happened))
        log.append("went on")

    kernel.spawn(thread())
    for _ in range(3):
        kernel.run(0)
        kernel.wake(queue)
    kernel.run(0)
    assert log == []
    happened.append(True)
    kernel.run(0)
    assert log == []
    kernel.wake(queue)
    kernel.run(0)
    assert log == ["went on"]


def test_a_run_of_so_many_steps_says_that_there_is_more_to_do() -> None:
    kernel, steps = Kernel(), []

    def works() -> Thread:
        for step in range(5):
            steps.append(step)
            yield COND_RESCHED

    kernel.spawn(works())
    assert kernel.run(7.0, most_steps=3) == 7.0
    assert steps == [0, 1, 2]
    assert kernel.run(7.0) is None
    assert steps == [0, 1, 2, 3, 4]


def test_threads_that_reschedule_take_turns() -> None:
    kernel, steps = Kernel(), []

    def works(name: str) -> Thread:
        for _ in range(2):
            steps.append(name)
            yield COND_RESCHED

    kernel.spawn(works("a"))
    kernel.spawn(works("b"))
    kernel.run(0.0)
    assert steps == ["a", "b", "a", "b"]

import pytest

from guest_driver.errors import KernelBugError, LockOrderError
from guest_driver.kernel import Kernel, WaitQueue
from guest_driver.mm.lockdep import LockClass, Lockdep


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def lockdep(kernel):
    return Lockdep(kernel)


def test_locks_are_taken_outermost_first(lockdep):
    for lock_class in LockClass:
        lockdep.acquired(lock_class, "a")
    assert all(lockdep.holds(lock_class, "a") for lock_class in LockClass)


@pytest.mark.parametrize(
    ("held", "taken"),
    [(held, taken) for held in LockClass for taken in LockClass if taken <= held],
)
def test_a_lock_behind_one_of_its_own_kind_or_an_inner_one_is_out_of_order(lockdep, held, taken):
    lockdep.acquired(held, "a")
    with pytest.raises(LockOrderError, match=f"{taken.name} taken behind {held.name}"):
        lockdep.acquired(taken, "b")
    assert not lockdep.holds(taken, "b")


@pytest.mark.parametrize("lock_class", LockClass)
def test_a_trylock_waits_for_nothing_so_any_order_will_do(lockdep, lock_class):
    lockdep.acquired(LockClass.PAGES_LOCK, "a")
    lockdep.acquired(lock_class, "b", trylock=True)
    assert lockdep.holds(lock_class, "b")


def test_the_innermost_lock_held_counts_whatever_locks_are_named_by(lockdep):
    lockdep.acquired(LockClass.PAGE_LOCK, 7)
    lockdep.acquired(LockClass.PAGE_LOCK, "not to be compared with 7", trylock=True)
    lockdep.acquired(LockClass.PAGES_LOCK, object())
    with pytest.raises(LockOrderError):
        lockdep.acquired(LockClass.PAGE_LOCK, 8)


def test_a_lock_released_is_not_held(lockdep):
    lockdep.acquired(LockClass.PAGES_LOCK, 1)
    lockdep.released(LockClass.PAGES_LOCK, 1)
    assert not lockdep.holds(LockClass.PAGES_LOCK, 1)
    lockdep.acquired(LockClass.BALLOON_LOCK)


@pytest.mark.parametrize("lock", [1, 2])
def test_what_is_not_held_cannot_be_released(lockdep, lock):
    lockdep.acquired(LockClass.PAGE_LOCK, 3)
    with pytest.raises(KernelBugError, match="released by a thread that does not hold it"):
        lockdep.released(LockClass.PAGE_LOCK, lock)


def test_a_lock_can_be_demanded(lockdep):
    lockdep.acquired(LockClass.PAGE_LOCK, 3)
    lockdep.assert_held(LockClass.PAGE_LOCK, 3)
    with pytest.raises(KernelBugError, match="not held where it must be"):
        lockdep.assert_held(LockClass.PAGE_LOCK, 4)


def test_each_thread_holds_locks_of_its_own(kernel, lockdep):
    queue = WaitQueue()

    def holder():
        lockdep.acquired(LockClass.PAGE_LOCK, 1)
        yield queue
        lockdep.released(LockClass.PAGE_LOCK, 1)

    def other():
        assert not lockdep.holds(LockClass.PAGE_LOCK, 1)
        lockdep.acquired(LockClass.BALLOON_LOCK)
        yield queue
        lockdep.released(LockClass.BALLOON_LOCK)

    kernel.spawn(holder())
    kernel.spawn(other())
    kernel.run(0)
    with pytest.raises(KernelBugError):
        lockdep.released(LockClass.PAGE_LOCK, 1)
    kernel.wake(queue)
    kernel.run(0)


def sleeper(lockdep, lock_class, sleep):
    lockdep.acquired(lock_class)
    yield sleep


@pytest.mark.parametrize("sleep", [WaitQueue(), 1.0])
def test_nobody_sleeps_with_a_spinlock(kernel, lockdep, sleep):
    kernel.spawn(sleeper(lockdep, LockClass.PAGES_LOCK, sleep))
    with pytest.raises(LockOrderError, match="sleeps with PAGES_LOCK"):
        kernel.run(0)


@pytest.mark.parametrize("lock_class", [LockClass.BALLOON_LOCK, LockClass.PAGE_LOCK])
def test_other_locks_may_be_slept_with(kernel, lockdep, lock_class):
    kernel.spawn(sleeper(lockdep, lock_class, 1.0))
    assert kernel.run(0) == 1.0

from collections import deque
from collections.abc import Callable
from itertools import count, takewhile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.interleaving import interrupt
from support.properties import examples
from support.ring_pair import RingPair, ring_pair

from guest_driver import split_ring as driver_ring
from protocol.split_ring import need_event
from vballoond.virtqueue import split
from vballoond.virtqueue.chain import Buffer, Chain

both_ways = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event index"])


class Traffic:
    """A driver and a device, each of which sleeps when it finds nothing to do, until the other one wakes it.

    Every method is one step of one of them, and does nothing where its party could not take it now.
    """

    def __init__(self, pair: RingPair) -> None:
        self.driver, self.device = pair.driver, pair.device
        self.sent: list[int] = []
        self.taken: list[Chain] = []
        self.returned: list[int] = []
        self.device_awake = self.driver_awake = True
        self._in_flight: deque[int] = deque()
        self._arming = self._unasked = self._unnotified = False

    def add(self) -> None:
        """The driver makes a buffer available."""
        if len(self.sent) - len(self.returned) < self.driver.geometry.queue_size:
            self.sent.append(self.driver.add(0x10000 + len(self.sent), len(self.sent)))
            self._unasked = True

    def kick(self) -> None:
        """The driver asks whether the device wants to hear of it, and kicks."""
        if self._unasked:
            self._unasked = False
            self.device_awake = self.driver.should_kick() or self.device_awake

    def pop(self) -> None:
        """The device takes a buffer."""
        if self.device_awake:
            chain = self.device.pop()
            self._arming = chain is None
            if chain is not None:
                self.taken.append(chain)
                self._in_flight.append(chain.head)

    def arm(self) -> None:
        """The device, which found none, asks for a kick and goes to sleep."""
        if self._arming:
            self._arming = False
            self.device_awake = self.device.enable_kicks()

    def push(self) -> None:
        """The device returns a buffer."""
        if self._in_flight:
            self.device.push(self._in_flight.popleft())
            self._unnotified = True

    def notify(self) -> None:
        """The device asks whether the driver wants to hear of it, and interrupts."""
        if self._unnotified:
            self._unnotified = False
            self.driver_awake = self.device.should_notify() or self.driver_awake

    def reap(self) -> None:
        """The driver takes a buffer back, or goes to sleep if there is none."""
        if self.driver_awake:
            head = self.driver.get_used()
            if head is None:
                self.driver_awake = False
            else:
                self.returned.append(head)

    def settle(self) -> None:
        """Let both go on until both sleep."""
        while self._unasked or self.device_awake or self._in_flight or self._unnotified or self.driver_awake:
            for step in (self.kick, self.pop, self.arm, self.push, self.notify, self.reap):
                step()

    def check(self) -> None:
        """Every buffer was taken once and came back once, in order."""
        assert [chain.head for chain in self.taken] == self.sent
        assert [chain.readable for chain in self.taken] == [(Buffer(0x10000 + n, n),) for n in range(len(self.sent))]
        assert self.returned == self.sent


STEPS = (Traffic.add, Traffic.kick, Traffic.pop, Traffic.arm, Traffic.push, Traffic.notify, Traffic.reap)


@both_ways
@examples(300)
@given(
    size=st.sampled_from([1, 2, 4, 8]),
    steps=st.lists(st.sampled_from(STEPS), max_size=150),
)
@example(size=1, steps=[Traffic.add, Traffic.kick, Traffic.pop, Traffic.push, Traffic.notify, Traffic.reap] * 4)
def test_every_buffer_comes_back_once_in_order_and_no_wake_up_is_lost(event_idx, size, steps):
    with ring_pair(size, event_idx=event_idx) as pair:
        traffic = Traffic(pair)
        for step in steps:
            step(traffic)
        traffic.settle()
        traffic.check()


@both_ways
def test_buffers_come_back_in_order_over_the_wrap_of_both_indices(event_idx):
    with ring_pair(256, event_idx=event_idx) as pair:
        for batch in range(65536 // 200 + 2):
            sent = [pair.driver.add(batch, 4) for _ in range(200)]
            assert pair.driver.should_kick()
            for head in sent:
                chain = pair.device.pop()
                assert chain is not None
                assert chain.head == head
                pair.device.push(head)
            assert pair.device.pop() is None
            assert not pair.device.enable_kicks()
            assert pair.device.should_notify()
            assert [pair.driver.get_used() for _ in range(201)] == [*sent, None]


def test_with_event_index_neither_is_woken_for_what_it_will_find_anyway():
    with ring_pair(8, event_idx=True) as pair:
        pair.device.enable_kicks()
        kicks = [(pair.driver.add(n, 4), pair.driver.should_kick())[1] for n in range(3)]
        heads = [pair.device.pop().head for _ in range(3)]
        assert pair.driver.get_used() is None
        notifications = [(pair.device.push(head), pair.device.should_notify())[1] for head in heads]

    assert kicks == notifications == [True, False, False]


# In the tests below one party's call is interrupted by the other at every step there is. Whoever is about to sleep must
# either see what the other did, or be woken for it.

Race = Callable[[RingPair], tuple[Callable[[], bool], Callable[[], bool]]]


def _outcome(race: Race, module: str, step: int) -> tuple[bool, bool] | None:
    """Return what the call and its interruption at ``step`` came to; None where the call has no such step."""
    with ring_pair(4, event_idx=True) as pair:
        call, intrusion = race(pair)
        intruded: list[bool] = []
        returned, came_in_between = interrupt(call, module, step, lambda: intruded.append(intrusion()))
        return (returned, intruded[0]) if came_in_between else None


def _outcomes(race: Race, module: str) -> list[tuple[bool, bool]]:
    every = (_outcome(race, module, step) for step in count())
    return [outcome for outcome in takewhile(lambda outcome: outcome is not None, every) if outcome is not None]


def _driver_adds(pair: RingPair) -> bool:
    """Say whether the device is kicked for it."""
    pair.driver.add(0, 4)
    return pair.driver.should_kick()


def _device_pushes(pair: RingPair) -> bool:
    """Say whether the driver is interrupted for it."""
    pair.device.push(pair.device.pop().head)
    return pair.device.should_notify()


def _driver_finds(pair: RingPair) -> bool:
    return pair.driver.get_used() is not None


def _one_went_round(pair: RingPair) -> None:
    """Bring the ring to where the device found no further buffer and the driver took the first one back."""
    pair.driver.add(0, 4)
    pair.driver.should_kick()
    _device_pushes(pair)
    _driver_finds(pair)


def test_no_buffer_is_lost_that_is_added_while_the_device_asks_for_kicks():
    def race(pair):
        _one_went_round(pair)
        return pair.device.enable_kicks, lambda: _driver_adds(pair)

    outcomes = _outcomes(race, split.__name__)
    assert all(seen or kicked for seen, kicked in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


def test_no_buffer_is_lost_when_the_device_asks_for_kicks_while_it_is_added():
    def race(pair):
        _one_went_round(pair)
        return lambda: _driver_adds(pair), pair.device.enable_kicks

    outcomes = _outcomes(race, driver_ring.__name__)
    assert all(kicked or seen for kicked, seen in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


def test_no_used_buffer_is_lost_that_is_returned_while_the_driver_looks_for_it():
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        return lambda: _driver_finds(pair), lambda: _device_pushes(pair)

    outcomes = _outcomes(race, driver_ring.__name__)
    assert all(found or notified for found, notified in outcomes)
    assert {found for found, _ in outcomes} == {False, True}


def test_no_used_buffer_is_lost_when_the_driver_looks_for_it_while_it_is_returned():
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        return lambda: _device_pushes(pair), lambda: _driver_finds(pair)

    outcomes = _outcomes(race, split.__name__)
    assert all(notified or found for notified, found in outcomes)
    assert {found for _, found in outcomes} == {False, True}


def test_no_used_buffer_is_lost_that_is_returned_while_the_driver_takes_back_the_one_before_it():
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        _driver_adds(pair)
        _device_pushes(pair)
        return lambda: len(list(iter(pair.driver.get_used, None))) == 2, lambda: _device_pushes(pair)

    outcomes = _outcomes(race, driver_ring.__name__)
    assert all(found or notified for found, notified in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


def test_the_event_rule_of_both_halves_is_the_one_of_the_protocol():
    assert driver_ring.need_event is split.need_event is need_event

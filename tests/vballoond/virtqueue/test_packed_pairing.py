from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import count, takewhile

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.interleaving import interrupt
from support.properties import examples
from support.ring_pair import RAM_BYTES, RingPair

from guest_driver import packed_ring as driver_ring
from guest_driver.packed_ring import PackedDriverRing, PackedRingAddresses
from guest_driver.ram import Ram
from protocol.packed_ring import FRESH_BASE, PackedRingGeometry, decode_base, need_event
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.virtqueue import packed
from vballoond.virtqueue.chain import Buffer, Chain
from vballoond.virtqueue.packed import PackedRing, PackedRingParts

both_ways = pytest.mark.parametrize("event_idx", [False, True], ids=["flags", "event index"])


@contextmanager
def packed_pair(queue_size: int, *, event_idx: bool) -> Iterator[RingPair]:
    """Set up a ring of up to 1024 entries in memory of its own."""
    geometry = PackedRingGeometry(queue_size)
    addresses = PackedRingAddresses(descriptor_ring=0x0, driver_event=0x4000, device_event=0x8000)
    with closing(Ram(RAM_BYTES)) as ram:
        place = RegionPlace(guest_address=0, size_bytes=RAM_BYTES, user_address=0, file_offset=0)
        with (
            closing(PackedDriverRing(ram, geometry, addresses, event_idx=event_idx)) as driver,
            closing(MappedRegion(place, ram.fd)) as region,
        ):
            memory = GuestMemory([region])
            parts = PackedRingParts(
                memory.user_view(addresses.descriptor_ring, geometry.descriptor_ring_bytes),
                memory.user_view(addresses.driver_event, geometry.driver_event_bytes),
                memory.user_view(addresses.device_event, geometry.device_event_bytes),
            )
            with closing(PackedRing(geometry, parts, memory, event_idx=event_idx)) as device:
                yield RingPair(driver, device, ram, memory)


class Traffic:
    """A driver and a device, each of which sleeps when it finds nothing to do, until the other one wakes it.

    Every method is one step of one of them, and does nothing where its party could not take it now.
    """

    def __init__(self, pair: RingPair) -> None:
        self.driver, self.device = pair.driver, pair.device
        self.sent: list[int] = []
        self.taken: list[Chain] = []
        self.pushed: list[Chain] = []
        self.returned: list[int] = []
        self.device_awake = self.driver_awake = True
        self._in_flight: list[Chain] = []
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
                self._in_flight.append(chain)

    def arm(self) -> None:
        """The device, which found none, asks for a kick and goes to sleep."""
        if self._arming:
            self._arming = False
            self.device_awake = self.device.enable_kicks()

    def unpop(self) -> None:
        """The device, which did not get to it, gives the last buffer back."""
        if self._in_flight and self._in_flight[-1] is self.taken[-1]:
            self.device.unpop()
            self._in_flight.pop()
            self.taken.pop()
            self.device_awake = True

    def push(self) -> None:
        """The device returns the first buffer that it took."""
        self._push(0)

    def push_last(self) -> None:
        """The device returns the last buffer that it took."""
        self._push(-1)

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
        """Every buffer was taken once and in order, and came back once, when it was returned."""
        assert [chain.head for chain in self.taken] == self.sent
        assert [chain.readable for chain in self.taken] == [(Buffer(0x10000 + n, n),) for n in range(len(self.sent))]
        assert sorted(chain.readable for chain in self.pushed) == [chain.readable for chain in self.taken]
        assert self.returned == [chain.head for chain in self.pushed]

    def _push(self, which: int) -> None:
        if self._in_flight:
            chain = self._in_flight.pop(which)
            self.device.push(chain.head)
            self.pushed.append(chain)
            self._unnotified = True


ROUND = (Traffic.add, Traffic.kick, Traffic.pop, Traffic.push, Traffic.notify, Traffic.reap)
STEPS = (*ROUND, Traffic.arm, Traffic.push_last, Traffic.unpop)


@both_ways
@examples(300)
@given(
    size=st.sampled_from([1, 2, 3, 5, 7, 8]),
    steps=st.lists(st.sampled_from(STEPS), max_size=200),
    laps=st.integers(0, 3),
)
@example(size=1, steps=list(ROUND), laps=5)
@example(size=3, steps=[Traffic.add, Traffic.add, *ROUND, Traffic.pop, Traffic.arm, Traffic.reap], laps=3)
def test_every_buffer_comes_back_once_and_no_wake_up_is_lost(event_idx, size, steps, laps):
    with packed_pair(size, event_idx=event_idx) as pair:
        traffic = Traffic(pair)
        for step in steps * (laps + 1):
            step(traffic)
        traffic.settle()
        traffic.check()


@both_ways
@pytest.mark.parametrize("size", [1, 3, 5, 7, 128])
def test_buffers_come_back_over_hundreds_of_laps(event_idx, size):
    batch = max(1, size * 2 // 3)
    with packed_pair(size, event_idx=event_idx) as pair:
        for _ in range(1000 if size < 128 else 100):
            sent = [pair.driver.add(0, 4) for _ in range(batch)]
            assert pair.driver.should_kick()
            taken = [pair.device.pop().head for _ in sent]
            assert taken == sent
            for head in reversed(taken):
                pair.device.push(head)
            assert pair.device.pop() is None
            assert not pair.device.enable_kicks()
            assert pair.device.should_notify()
            assert [pair.driver.get_used() for _ in range(batch + 1)] == [*reversed(sent), None]
        assert pair.device.next_avail not in {0, FRESH_BASE}


@both_ways
def test_a_held_buffer_is_given_back_wherever_the_ring_wraps(event_idx):
    with packed_pair(3, event_idx=event_idx) as pair:
        for _ in range(7 * 3):
            head = pair.driver.add(0x100, 8)
            before = pair.device.next_avail
            assert pair.device.pop().head == head
            pair.device.unpop()
            assert decode_base(pair.device.next_avail, 3) == decode_base(before, 3)
            assert pair.device.pop().head == head
            pair.device.push(head)
            assert pair.driver.get_used() == head


@pytest.mark.parametrize("size", [3, 8])
def test_with_event_index_neither_is_woken_for_what_it_will_find_anyway(size):
    with packed_pair(size, event_idx=True) as pair:
        for _ in range(5):
            pair.device.enable_kicks()
            kicks = [(pair.driver.add(n, 4), pair.driver.should_kick())[1] for n in range(3)]
            heads = [pair.device.pop().head for _ in range(3)]
            assert pair.driver.get_used() is None
            notifications = [(pair.device.push(head), pair.device.should_notify())[1] for head in heads]
            assert kicks == notifications == [True, False, False]
            assert [pair.driver.get_used() for _ in range(4)] == [*heads, None]


# In the tests below one party's call is interrupted by the other at every step there is. Whoever is about to sleep must
# either see what the other did, or be woken for it. The ring wraps in some of them.

Race = Callable[[RingPair], tuple[Callable[[], bool], Callable[[], bool]]]

each_size = pytest.mark.parametrize("size", [2, 3, 4])


def _outcome(race: Race, size: int, module: str, step: int) -> tuple[bool, bool] | None:
    """Return what the call and its interruption at ``step`` came to; None where the call has no such step."""
    with packed_pair(size, event_idx=True) as pair:
        call, intrusion = race(pair)
        intruded: list[bool] = []
        returned, came_in_between = interrupt(call, module, step, lambda: intruded.append(intrusion()))
        return (returned, intruded[0]) if came_in_between else None


def _outcomes(race: Race, size: int, module: str) -> list[tuple[bool, bool]]:
    every = (_outcome(race, size, module, step) for step in count())
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
    pair.device.enable_kicks()


@each_size
def test_no_buffer_is_lost_that_is_added_while_the_device_asks_for_kicks(size):
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        _device_pushes(pair)
        return pair.device.enable_kicks, lambda: _driver_adds(pair)

    outcomes = _outcomes(race, size, packed.__name__)
    assert all(seen or kicked for seen, kicked in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


@each_size
def test_no_buffer_is_lost_when_the_device_asks_for_kicks_while_it_is_added(size):
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        _device_pushes(pair)
        return lambda: _driver_adds(pair), pair.device.enable_kicks

    outcomes = _outcomes(race, size, driver_ring.__name__)
    assert all(kicked or seen for kicked, seen in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


@each_size
def test_no_used_buffer_is_lost_that_is_returned_while_the_driver_looks_for_it(size):
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        return lambda: _driver_finds(pair), lambda: _device_pushes(pair)

    outcomes = _outcomes(race, size, driver_ring.__name__)
    assert all(found or notified for found, notified in outcomes)
    assert {found for found, _ in outcomes} == {False, True}


@each_size
def test_no_used_buffer_is_lost_when_the_driver_looks_for_it_while_it_is_returned(size):
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        return lambda: _device_pushes(pair), lambda: _driver_finds(pair)

    outcomes = _outcomes(race, size, packed.__name__)
    assert all(notified or found for notified, found in outcomes)
    assert {found for _, found in outcomes} == {False, True}


@each_size
def test_no_used_buffer_is_lost_that_is_returned_while_the_driver_takes_back_the_one_before_it(size):
    def race(pair):
        _one_went_round(pair)
        _driver_adds(pair)
        _driver_adds(pair)
        _device_pushes(pair)
        return lambda: len(list(iter(pair.driver.get_used, None))) == 2, lambda: _device_pushes(pair)

    outcomes = _outcomes(race, size, driver_ring.__name__)
    assert all(found or notified for found, notified in outcomes)
    assert set(outcomes) >= {(True, False), (False, True)}


def test_the_event_rule_of_both_halves_is_the_one_of_the_protocol():
    assert driver_ring.need_event is packed.need_event is need_event

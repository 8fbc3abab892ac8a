"""Split rings: when the device notifies the driver, and when it wants to be notified."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.backend_rig import settled
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, driven
from support.properties import examples
from support.raw_ring import DATA, RawRing, raw_ring


def offer_buffers(ring: RawRing, count: int) -> None:
    """Make buffers of 4 bytes available, and have the device take them."""
    for head in range(count):
        ring.describe(head, DATA + 4 * head, 4)
    ring.offer(*range(count))
    assert [ring.device.pop().head for _ in range(count)] == list(range(count))


# 2.7.7: notifying the driver.


@pytest.mark.clause(76, "2.7.7.2", "without EVENT_IDX MUST notify while the flags are 0, whatever used_event says")
@pytest.mark.parametrize("used_event", [0, 1, 5, 0xFFFF])
def test_flags_of_0_ask_for_every_notification(used_event):
    with raw_ring() as ring:
        offer_buffers(ring, 3)
        ring.ask_for_interrupt_at(used_event)
        for head in range(3):
            ring.device.push(head)
            assert ring.device.should_notify()


@pytest.mark.clause(76, "2.7.7.2", "without EVENT_IDX SHOULD NOT notify while the flags are 1")
@pytest.mark.parametrize("used_event", [0, 1, 5, 0xFFFF])
def test_flags_of_1_ask_for_none(used_event):
    with raw_ring() as ring:
        offer_buffers(ring, 3)
        ring.ask_for_interrupt_at(used_event)
        ring.set_avail_flags(1)
        for head in range(3):
            ring.device.push(head)
            assert not ring.device.should_notify()


@pytest.mark.clause(76, "2.7.7.2", "with EVENT_IDX MUST ignore the flags, and notify when used_event is reached")
@examples(50)
@given(
    flags=st.integers(0, 1),
    start=st.sampled_from([0, 100, 0xFFFA, 0xFFFF]),
    asked=st.integers(0, 7),
    batches=st.lists(st.integers(1, 3), min_size=1, max_size=4),
)
def test_the_batch_in_which_used_event_lies_is_notified_of(flags, start, asked, batches):
    with raw_ring(next_avail=start, event_idx=True) as ring:
        ring.set_avail_flags(flags)
        ring.ask_for_interrupt_at((start + asked) % 65536)
        done = 0
        for batch in batches:
            for _ in range(batch):
                ring.device.push(0)
            assert ring.device.should_notify() == (done <= asked < done + batch)
            done += batch


# 2.7.10: notifying the device.


@pytest.mark.clause(78, "2.7.10.2", "MUST have 0 or 1 in the used ring's flags, and 0 with EVENT_IDX")
@pytest.mark.parametrize("event_idx", [False, True])
def test_the_flags_of_the_used_ring_are_0(event_idx):
    """So a driver may always kick; with EVENT_IDX avail_event says when it should."""
    with raw_ring(event_idx=event_idx) as ring:
        for _ in range(3):
            offer_buffers(ring, 1)
            ring.device.push(0)
            assert not ring.device.enable_kicks()
            assert ring.used_flags == 0
            assert ring.avail_event == (ring.avail_idx if event_idx else 0)


@pytest.mark.clause(78, "2.7.10.2", "MUST stand kicks for which there is nothing to do")
async def test_a_kick_without_a_buffer_changes_nothing():
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE)
        for _ in range(5):
            driver.device.kick(INFLATE)
            driver.device.kick(DEFLATE)
            await settled(service)
        assert (service.state_name, driver.queue_interrupts) == ("running", [])
        head = driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
        await settled(service)
        assert driver.used(INFLATE) == head

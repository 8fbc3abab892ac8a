import pytest
from support.memory_files import guest_memory

from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.errors import GuestError
from vballoond.transport.virtio_set_up import VirtioSetUp

VERSION_1, STATS = RingFeature.VERSION_1, BalloonFeature.STATS_VQ
OFFERED = VERSION_1 | RingFeature.EVENT_IDX | RingFeature.RING_PACKED | STATS
FOUND = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
AGREED = FOUND | DeviceStatus.FEATURES_OK


def set_up(*choices: int) -> VirtioSetUp:
    made = VirtioSetUp(int(OFFERED))
    for features in choices:
        made.accept_features(features)
    return made


def test_a_device_that_no_driver_has_found_has_no_status() -> None:
    assert set_up().status() == DeviceStatus(0)


@pytest.mark.parametrize(
    "features",
    [
        pytest.param(OFFERED, id="all"),
        pytest.param(VERSION_1, id="as few as there may be"),
        pytest.param(0, id="none, by the legacy interface"),
        pytest.param(STATS | RingFeature.EVENT_IDX, id="some, by the legacy interface"),
    ],
)
def test_a_choice_of_what_is_offered_is_agreed_to(features: int) -> None:
    assert set_up(features).status() == AGREED


@pytest.mark.parametrize(
    "features",
    [
        pytest.param(OFFERED | BalloonFeature.PAGE_REPORTING, id="of the balloon"),
        pytest.param(OFFERED | RingFeature.IN_ORDER, id="of the rings"),
        pytest.param(OFFERED | 1 << 63, id="of nothing that there is"),
        pytest.param(OFFERED | 1 << 64, id="beyond the first 64"),
        pytest.param(OFFERED & ~VERSION_1, id="without VERSION_1 above bit 31"),
    ],
)
def test_a_choice_that_cannot_be_honoured_is_not_agreed_to(features: int) -> None:
    assert set_up(features).status() == FOUND


def test_a_driver_that_was_refused_may_choose_again() -> None:
    assert set_up(1 << 63, OFFERED).status() == AGREED


def test_what_was_agreed_on_stays() -> None:
    with guest_memory((0, 1 << 20)) as memory:
        made = set_up(VERSION_1, OFFERED, 1 << 63)
        assert made.status() == AGREED
        made.set_up_queue(0, 8, 0, 0x1000, 0x2000)
        made.set_up_queue(1, 8, 0x3000, 0x4000, 0x5000)
        made.set_up_queue(2, 8, 0x6000, 0x7000, 0x8000)  # which has a role by STATS_VQ only
        queues = made._set_driver_ok(memory)
        assert {index: queue.role for index, queue in queues.items()} == {0: QueueRole.INFLATE, 1: QueueRole.DEFLATE}
        assert made.status() == AGREED | DeviceStatus.DRIVER_OK
        assert made._set_driver_ok(memory) == {}
        for queue in queues.values():
            queue.ring.close()


def test_no_queue_runs_without_an_agreement() -> None:
    for made in (set_up(), set_up(1 << 63)):
        made.set_up_queue(0, 8, 0, 0x1000, 0x2000)
        with guest_memory((0, 1 << 20)) as memory, pytest.raises(GuestError, match="no FEATURES_OK"):
            made._set_driver_ok(memory)
        made._forget_driver()
        assert made.status() == DeviceStatus(0)


@pytest.mark.parametrize(("size", "at"), [(8, 1 << 40), (7, 0), (8, 8)])
def test_a_ring_that_cannot_be_is_an_error_of_the_drivers_and_leaves_none_open(size: int, at: int) -> None:
    made = set_up(VERSION_1)
    made.set_up_queue(0, 8, 0x3000, 0x4000, 0x5000)
    made.set_up_queue(1, size, at, 0x1000, 0x2000)
    with guest_memory((0, 1 << 20)) as memory, pytest.raises(GuestError):
        made._set_driver_ok(memory)


def test_a_reset_forgets_features_and_queues() -> None:
    made = set_up(OFFERED)
    made.set_up_queue(0, 7, 0, 0x1000, 0x2000)  # none that a split ring may have
    made._forget_driver()
    made.accept_features(VERSION_1)
    with guest_memory((0, 1 << 20)) as memory:
        assert made._set_driver_ok(memory) == {}

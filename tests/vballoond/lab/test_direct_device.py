from typing import Self

import pytest

from guest_driver.guest import Guest
from guest_driver.virtual_time import run_until
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.errors import GuestError
from vballoond.lab.direct_device import DirectDevice
from vballoond.memory.frames import FrameRange

MIB = 1 << 20
SPLIT = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ
PACKED = SPLIT | RingFeature.RING_PACKED


class Direct:
    """A guest of 32 MiB on a device that answers at once."""

    def __init__(self, features: int = SPLIT, *, discard: bool = False) -> None:
        self.guest = Guest(32 * MIB)
        self.device = DirectDevice(self.guest, features, discard=discard)

    def __enter__(self) -> Self:
        self.guest.load_driver(self.device)
        return self

    def __exit__(self, *details: object) -> None:
        self.device.close()
        self.guest.close()

    def resize(self, mib: int) -> None:
        self.device.set_target(mib * MIB)
        run_until(self.guest.kernel, self.guest.kernel.now_s + 1)

    def held(self) -> int:
        return self.device.device.frame_map.held_frames


@pytest.mark.parametrize("features", [SPLIT, PACKED])
def test_a_target_is_followed_at_once(features: int) -> None:
    with Direct(features) as made:
        for mib in (8, 3, 20, 0):
            made.resize(mib)
            assert made.held() == mib * 256
            assert made.device.device.state.config.actual == mib * 256
        assert made.device.device.counters.inflate_requests == (8 + 17) * 256 // 256
        assert made.device.device.counters.guest_errors == 0


def test_driver_ok_a_second_time_changes_nothing() -> None:
    with Direct() as made:
        made.device.driver_ok()
        made.resize(4)
        assert made.held() == 4 * 256


def test_a_driver_that_takes_what_was_not_offered_is_refused() -> None:
    made = Direct()
    try:
        made.device.accept_features(SPLIT | BalloonFeature.PAGE_REPORTING)
        assert not made.device.status() & DeviceStatus.FEATURES_OK
        with pytest.raises(GuestError, match="no FEATURES_OK"):
            made.device.driver_ok()
    finally:
        made.device.close()
        made.guest.close()


def test_statistics_are_held_as_by_any_device() -> None:
    with Direct() as made:
        assert made.device.device.state.held_statistics_head is not None
        assert QueueRole.STATS in made.device.device.state.running


def test_memory_is_given_back_where_that_is_wanted() -> None:
    for discard in (True, False):
        with Direct(discard=discard) as made:
            made.guest.use_memory(0, 16 * 256)
            before = made.device.resident_bytes()
            made.resize(8)
            assert (made.device.resident_bytes() < before - 7 * MIB) == discard


def test_a_driver_leaves_and_comes_again() -> None:
    with Direct() as made:
        made.resize(4)
        assert made.guest.balloon is not None
        made.guest.kernel.spawn(made.guest.balloon.remove())
        run_until(made.guest.kernel, made.guest.kernel.now_s + 1)
        assert made.device.status() == DeviceStatus(0)
        assert made.held() == 0
        made.guest.load_driver(made.device)
        run_until(made.guest.kernel, made.guest.kernel.now_s + 1)
        assert made.held() == 4 * 256


def test_a_fresh_driver_finds_an_empty_map() -> None:
    with Direct() as made:
        made.resize(4)
        window = FrameRange(0, made.guest.total_frames)
        assert sum(part.count for part in made.device.device.frame_map.ranges(window)) == 1024

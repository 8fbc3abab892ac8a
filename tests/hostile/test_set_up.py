"""What a driver may get wrong before and while it says DRIVER_OK, on the in-process transport."""

import pytest
from support.backend_rig import running_service, settled
from support.in_process_driver import DEFLATE, INFLATE, driven

from protocol.virtio import DeviceStatus, RingFeature
from vballoond.config.models import BalloonSettings
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.offload import Offload


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_driver_ok_a_second_time_changes_nothing(ring: str) -> None:
    keys = {"name": "g", "transport": "in-process", "memory": "32MiB", "ring": ring, "stats_interval_s": 5}
    async with running_service(BalloonSettings.model_validate(keys)) as service:
        lab = await InProcessGuest.make(service, Offload())
        lab.start()
        try:
            await lab.booted()
            await settled(service)
            updates = service.device.counters.statistics_updates
            lab._device.driver_ok()
            await settled(service)
            assert service.device.counters.statistics_updates == updates
            service._statistics_due()
            await settled(service)
            assert service.device.counters.statistics_updates == updates + 1
            assert service.state_name == "running"
        finally:
            await lab.stop()


@pytest.mark.parametrize(
    ("size", "descriptors", "driver_area", "device_area"),
    [
        pytest.param(8, 1 << 40, 0x1000, 0x2000, id="outside memory"),
        pytest.param(8, (1 << 64) - 16, 0x1000, 0x2000, id="wraps"),
        pytest.param(8, 0, (16 << 20) - 8, 0x2000, id="ends outside memory"),
        pytest.param(7, 0, 0x1000, 0x2000, id="size that is no power of two"),
        pytest.param(0, 0, 0x1000, 0x2000, id="size of 0"),
        pytest.param(8, 8, 0x1000, 0x2000, id="table not aligned"),
        pytest.param(8, 0, 0x1001, 0x2000, id="available ring not aligned"),
        pytest.param(8, 0, 0x1000, 0x2002, id="used ring not aligned"),
    ],
)
async def test_a_ring_that_cannot_be_breaks_the_balloon(
    size: int, descriptors: int, driver_area: int, device_area: int
) -> None:
    async with driven() as (service, driver):
        driver.device.accept_features(RingFeature.VERSION_1)
        driver.device.set_up_queue(INFLATE, size, descriptors, driver_area, device_area)
        driver.device.driver_ok()
        await settled(service)
        assert service.state_name == "broken"
        assert driver.device.status() & DeviceStatus.NEEDS_RESET
        driver.device.reset()
        await settled(service)
        driver.load(INFLATE, DEFLATE)
        assert service.state_name == "running"

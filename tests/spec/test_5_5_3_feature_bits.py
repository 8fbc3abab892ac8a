import pytest
from support.backend_rig import settled, vhost_user_settings
from support.fake_device import OFFERED, bench
from support.fake_front_end import pfns
from support.in_process_driver import DEFLATE, INFLATE, driven, held

from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.transport.features import offered_features

LEGACY = int(RingFeature.EVENT_IDX)
"""What a driver takes that does not know of VERSION_1, nor of MUST_TELL_HOST."""


@pytest.mark.clause(1, "5.5.3.2", "MAY refuse a driver that does not take MUST_TELL_HOST", "not used")
async def test_a_driver_without_must_tell_host_is_served():
    async with driven(features=["must-tell-host"]) as (service, driver):
        assert driver.device.device_features() & BalloonFeature.MUST_TELL_HOST
        driver.load(INFLATE, DEFLATE, features=RingFeature.VERSION_1 | RingFeature.EVENT_IDX)
        assert driver.device.status() & DeviceStatus.FEATURES_OK
        driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
        await settled(service)
        assert len(held(service)) == 1


@pytest.mark.clause(2, "5.5.3.2.1", "a transitional device MUST serve a driver without MUST_TELL_HOST", "legacy")
async def test_version_1_is_offered_and_who_takes_no_feature_of_the_balloon_is_served():
    assert offered_features(vhost_user_settings()) & RingFeature.VERSION_1
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE, features=LEGACY)
        assert service.negotiated_features == LEGACY
        first = driver.guest.first_free_pfn()
        heads = [driver.request(INFLATE, pfns([first, first + 1])), driver.request(DEFLATE, pfns([first]))]
        await settled(service)
        assert [driver.used(INFLATE), driver.used(DEFLATE)] == heads
        assert held(service) == [(first + 1, 1)]


@pytest.mark.clause(3, "5.5.3.2.1", "a legacy driver SHOULD be able to use memory before it tells", "legacy")
async def test_memory_that_is_used_before_it_is_deflated_is_not_touched():
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE, features=LEGACY)
        first = driver.guest.first_free_pfn()
        driver.request(INFLATE, pfns([first]))
        await settled(service)
        driver.guest.ram.write(first * FRAME_BYTES, b"used")
        driver.request(DEFLATE, pfns([first]))
        await settled(service)
        with driver.guest.ram.view(first * FRAME_BYTES, 4) as view:
            assert bytes(view) == b"used"


@pytest.mark.clause(22, "5.5.3.1", "SHOULD take MUST_TELL_HOST where it is offered")
@pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
def test_the_driver_takes_must_tell_host(interface):
    with bench(interface=interface) as made:
        assert made.device.accepted & BalloonFeature.MUST_TELL_HOST


@pytest.mark.clause(23, "5.5.3.1", "SHOULD leave PAGE_POISON where it does not write poison_val")
@pytest.mark.parametrize(("guest", "writes"), [({}, 0), ({"page_poisoning": True}, 1), ({"init_on_free": True}, 1)])
def test_page_poison_is_taken_by_a_driver_that_writes_the_value_only(guest, writes):
    with bench(offered=OFFERED | BalloonFeature.PAGE_POISON, **guest) as made:
        assert bool(made.device.accepted & BalloonFeature.PAGE_POISON) == bool(writes)
        assert len(made.seen("poison_val")) == writes


@pytest.mark.clause(24, "5.5.3.1", "MUST NOT take PAGE_REPORTING alone where reported pages have to keep their content")
@pytest.mark.parametrize("guest", [{"page_poisoning": True}, {"init_on_free": True}])
@pytest.mark.parametrize("poison", [BalloonFeature(0), BalloonFeature.PAGE_POISON])
def test_a_guest_that_fills_its_free_pages_reports_them_only_to_a_host_that_knows(guest, poison):
    with bench(offered=OFFERED | BalloonFeature.PAGE_REPORTING | poison, **guest) as made:
        assert bool(made.device.accepted & BalloonFeature.PAGE_REPORTING) == bool(poison)

"""What every virtio device must do: sections 2.1 to 2.6 and 3.4."""

import asyncio

import pytest
from support.backend_rig import BackendRig, backend_rig, settled, vhost_user_settings
from support.fake_front_end import (
    DONE,
    REFUSED,
    RING_FEATURES,
    FakeFrontEnd,
    pfns,
    qemu_connect,
    qemu_start,
    qemu_stop,
    u64,
)
from support.in_process_driver import DEFLATE, INFLATE, STATS, WITH_STATS, Driver, driven, held

from protocol.balloon.config_space import BALLOON_CONFIG, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole
from protocol.split_ring import IDX_WORD
from protocol.vhost_user.features import F_PROTOCOL_FEATURES
from protocol.vhost_user.requests import Request
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.config.models import FEATURE_NAMES
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.features import offered_features
from vballoond.virtqueue.packed import PackedRing
from vballoond.virtqueue.split import SplitRing

RING_RESET, SUSPEND = 1 << 40, 1 << 43
"""Features that are not implemented (sections 2.6.1 and 3.4)."""


def break_ring(driver: Driver, index: int = INFLATE) -> None:
    """Say that more buffers are available than the ring has room for."""
    driver.guest.queues[index].ring._avail[IDX_WORD] = 0x8000
    driver.device.kick(index)


async def reset(service: BalloonService, driver: Driver) -> None:
    driver.device.reset()
    await settled(service)
    assert driver.device.status() == DeviceStatus(0)


async def connected(rig: BackendRig) -> tuple[FakeFrontEnd, int]:
    """Connect as QEMU does; return the front-end and the features on offer."""
    vm = rig.connect(rig.guest(INFLATE, DEFLATE))
    return vm, await qemu_connect(vm)


def memory_of(driver: Driver) -> bytes:
    """Return all that the driver's rings and buffers lie in."""
    with driver.guest.ram.view(0, driver.guest.first_free_pfn() * 4096) as view:
        return bytes(view)


@pytest.mark.clause(66, "2.1.2", "MUST NOT use buffers or notify of any before DRIVER_OK")
async def test_buffers_of_before_driver_ok_are_looked_at_when_it_has_come():
    async with driven() as (service, driver):
        driver.set_up(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        head = driver.request(STATS, bytes(10))
        driver.request(INFLATE, pfns([driver.guest.first_free_pfn()]))
        before = memory_of(driver)
        await settled(service)
        assert memory_of(driver) == before
        assert (driver.queue_interrupts, held(service), service.device.state.statistics) == ([], [], None)
        driver.device.driver_ok()
        await settled(service)
        assert driver.queue_interrupts == [INFLATE]
        assert service.device.state.held_statistics_head == head


@pytest.mark.clause(67, "2.1.2", "SHOULD set NEEDS_RESET where it cannot go on; after DRIVER_OK MUST say so")
async def test_a_balloon_that_was_broken_needs_a_reset_and_says_so():
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE)
        assert not driver.device.status() & DeviceStatus.NEEDS_RESET
        break_ring(driver)
        await settled(service)
        assert driver.device.status() & DeviceStatus.NEEDS_RESET
        assert driver.config_interrupts == 1


@pytest.mark.clause(68, "2.2.2", "MUST NOT offer what it does not implement, or what needs something it does not offer")
@pytest.mark.parametrize("ring", ["split", "packed"])
@pytest.mark.parametrize("features", [[], list(FEATURE_NAMES)], ids=["none", "all"])
def test_what_is_offered_is_implemented(ring, features):
    """None of these needs another one (sections 5.5.3 and 6)."""
    implemented = {RingFeature.VERSION_1, RingFeature.EVENT_IDX, RingFeature.INDIRECT_DESC, RingFeature.IN_ORDER}
    implemented |= {RingFeature.RING_PACKED} if ring == "packed" else set()
    implemented |= set(BalloonFeature) if features else set()
    offered = offered_features(vhost_user_settings(ring=ring, features=features))
    assert not offered & ~sum(implemented)
    assert offered & RingFeature.VERSION_1


@pytest.mark.clause(68, "2.2.2", "MUST NOT agree to features that it did not offer")
@pytest.mark.parametrize("unknown", [RingFeature.RING_PACKED, BalloonFeature.PAGE_REPORTING, RING_RESET, 1 << 63])
async def test_features_that_were_not_offered_are_refused(unknown):
    async with backend_rig() as rig:
        vm, offered = await connected(rig)
        assert not offered & unknown
        wanted = RING_FEATURES | F_PROTOCOL_FEATURES
        assert await vm.acknowledged(Request.SET_FEATURES, u64(wanted | unknown)) == REFUSED
        assert rig.backend.session.features == 0
        assert await vm.acknowledged(Request.SET_FEATURES, u64(wanted)) == DONE


@pytest.mark.clause(68, "2.2.2", "MUST NOT set FEATURES_OK for a choice that it cannot honour")
@pytest.mark.parametrize("unknown", [RingFeature.RING_PACKED, BalloonFeature.PAGE_REPORTING, RING_RESET, 1 << 63])
async def test_in_process_features_that_were_not_offered_are_refused(unknown):
    async with driven() as (service, driver):
        assert not driver.device.device_features() & unknown
        driver.set_up(INFLATE, DEFLATE, features=RING_FEATURES | unknown)
        assert driver.device.status() == DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
        driver.device.driver_ok()
        assert driver.device.status() & DeviceStatus.NEEDS_RESET
        assert (service.state_name, service.negotiated_features) == ("broken", 0)
        await reset(service, driver)
        driver.load(INFLATE, DEFLATE)
        assert driver.device.status() & DeviceStatus.FEATURES_OK


@pytest.mark.clause(68, "2.2.2", "SHOULD NOT refuse features that it agreed to before")
async def test_the_same_features_are_agreed_to_after_every_reset():
    async with driven() as (service, driver):
        for _ in range(3):
            driver.load(INFLATE, DEFLATE, features=WITH_STATS)
            assert driver.device.status() & DeviceStatus.FEATURES_OK
            assert service.negotiated_features == WITH_STATS
            break_ring(driver)
            await settled(service)
            await reset(service, driver)


@pytest.mark.clause(69, "2.4.1", "MUST read 0 as its status when a reset is complete, and not before")
async def test_a_reset_is_complete_when_nothing_is_under_way_any_more():
    async with driven() as (service, driver):
        driver.load(INFLATE, DEFLATE)
        async with service.lock:  # as held for a turn on a queue
            driver.device.reset()
            await asyncio.sleep(1)
            assert driver.device.status() != DeviceStatus(0)
        await settled(service)
        assert driver.device.status() == DeviceStatus(0)


@pytest.mark.clause(69, "2.4.1", "MUST NOT touch queues or notify after a reset")
async def test_after_a_reset_the_device_leaves_the_rings_alone():
    async with driven(stats_interval_s=5) as (service, driver):
        driver.load(INFLATE, DEFLATE, STATS, features=WITH_STATS)
        driver.request(STATS, bytes(10))
        await settled(service)
        await reset(service, driver)
        interrupts = driver.queue_interrupts.copy()
        for index in (INFLATE, DEFLATE, STATS):
            driver.request(index, pfns([driver.guest.first_free_pfn()]))
        before = memory_of(driver)
        await asyncio.sleep(60)
        assert memory_of(driver) == before
        assert driver.queue_interrupts == interrupts
        assert held(service) == []


@pytest.mark.clause(69, "2.4.1", "nor over vhost-user, where a reset stops the rings")
async def test_rings_that_a_front_end_stopped_are_left_alone():
    async with backend_rig() as rig:
        vm, _ = await connected(rig)
        await qemu_start(vm, RING_FEATURES)
        await qemu_stop(vm)
        vm.guest.queues[INFLATE].request(pfns([vm.guest.first_free_pfn()]))
        rig.service.kick(INFLATE)
        await settled(rig.service)
        assert vm.guest.queues[INFLATE].ring.get_used() is None


@pytest.mark.clause(70, "2.5.2", "MUST let the driver read the configuration space before FEATURES_OK")
async def test_every_field_can_be_read_before_features_are_agreed_on():
    async with driven(features=list(FEATURE_NAMES)) as (service, driver):
        service.set_target(77)
        assert not driver.device.status() & DeviceStatus.FEATURES_OK
        assert BALLOON_CONFIG.unpack(driver.device.read_config(0, 16)) == BalloonConfig(num_pages=77)


@pytest.mark.clause(70, "2.5.2", "and tells of a change; the generation is the transport's")
async def test_a_changed_field_is_announced_and_read():
    async with backend_rig() as rig:
        vm, _ = await connected(rig)
        assert BALLOON_CONFIG.unpack(await vm.config()).num_pages == 0
        await qemu_start(vm, RING_FEATURES)
        rig.service.set_target(77)
        await vm.config_change()
        assert BALLOON_CONFIG.unpack(await vm.config()).num_pages == 77


def offered_at_most() -> int:
    settings = [vhost_user_settings(ring=ring, features=list(FEATURE_NAMES)) for ring in ("split", "packed")]
    return offered_features(settings[0]) | offered_features(settings[1])


@pytest.mark.clause(71, "2.6.1.1", "MUST reset a single queue where RING_RESET is offered", "not offered")
def test_ring_reset_is_not_offered():
    assert not offered_at_most() & RING_RESET


@pytest.mark.clause(72, "3.4", "MUST stop in every detail where SUSPEND is offered", "not offered")
async def test_suspend_is_not_offered_and_its_status_bit_is_never_set():
    assert not offered_at_most() & SUSPEND
    async with driven() as (_, driver):
        driver.load(INFLATE, DEFLATE)
        assert not driver.device.status() & 16


@pytest.mark.clause(68, "2.2.2", "and serves the ring format that was agreed on")
@pytest.mark.parametrize(("offered", "kind"), [("split", SplitRing), ("packed", PackedRing)])
async def test_a_ring_is_of_the_format_that_was_agreed_on(offered, kind):
    async with driven(ring=offered) as (service, driver):
        packed = RingFeature.RING_PACKED if offered == "packed" else 0
        driver.load(INFLATE, DEFLATE, features=RingFeature.VERSION_1 | packed)
        assert isinstance(service._queues[INFLATE].ring, kind)
        assert service._queues[INFLATE].role is QueueRole.INFLATE

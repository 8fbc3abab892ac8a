"""The modelled guest on the whole device, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.backend_rig import running_service

from guest_driver.mm.zone import ZoneCount
from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.virtio import RingFeature
from vballoond.balloon.hinting import HintingStage
from vballoond.config.models import BalloonSettings
from vballoond.errors import StartError
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.memory.frames import FrameRange
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService

MEMORY_FRAMES = (64 << 20) // FRAME_BYTES


@asynccontextmanager
async def booted(**keys: object) -> AsyncIterator[tuple[BalloonService, InProcessGuest]]:
    settings = BalloonSettings.model_validate({"name": "g", "transport": "in-process", "memory": "64MiB", **keys})
    async with running_service(settings) as service:
        lab = await InProcessGuest.make(service, Offload())
        lab.start()
        try:
            await lab.booted()
            yield service, lab
        finally:
            await lab.stop()


async def resize(service: BalloonService, frames: int) -> None:
    assert await service.resizing.wait(service.set_target(frames), 60)


def held(service: BalloonService) -> set[int]:
    frame_map = service.device.frame_map
    ranges = frame_map.ranges(FrameRange(0, frame_map.space.end))
    return {pfn for part in ranges for pfn in range(part.first, part.end)}


@pytest.mark.parametrize("ring", ["split", "packed"])
@pytest.mark.parametrize("features", [(), ("stats",), ("must-tell-host", "stats", "page-poison", "deflate-on-oom")])
async def test_every_format_and_feature_leads_to_the_same_map(ring: str, features: tuple[str, ...]) -> None:
    maps = []
    for keys in ({}, {"ring": ring, "features": features}):
        async with booted(**keys) as (service, _):
            for frames in (5000, 300, 1000):
                await resize(service, frames)
            maps.append(held(service))
            await resize(service, 0)
            assert held(service) == set()
    assert maps[0] == maps[1]
    assert len(maps[0]) == 1000


async def test_half_of_its_memory_is_touched_and_what_is_taken_of_that_comes_back() -> None:
    async with booted() as (service, _):
        touched = service.memory.resident_bytes()
        assert touched == pytest.approx(MEMORY_FRAMES // 2 * FRAME_BYTES, rel=0.05)
        await resize(service, MEMORY_FRAMES // 4)
        assert service.releasing.reclaimed_bytes == MEMORY_FRAMES // 4 * FRAME_BYTES
        assert service.memory.resident_bytes() == touched - service.releasing.reclaimed_bytes


async def test_a_guest_without_memory_to_spare_stalls_and_says_so() -> None:
    async with booted() as (service, _):
        number = service.set_target(MEMORY_FRAMES)
        assert not await service.resizing.wait(number, 30)
        assert service.target.stall().code == "guest-out-of-memory"
        assert 0 < service.actual_frames < MEMORY_FRAMES


async def test_statistics_keep_coming() -> None:
    async with booted(stats_interval_s=5) as (service, _):
        assert not await service.resizing.wait(service.set_target(MEMORY_FRAMES), 100)
        assert service.device.counters.statistics_updates >= 20


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_the_driver_leaves_and_its_balloon_is_empty(ring: str) -> None:
    async with booted(ring=ring) as (service, lab):
        await resize(service, 700)
        await lab.remove_driver()
        assert (service.state_name, service.actual_frames, held(service)) == ("paused", 0, set())


@pytest.mark.parametrize("interface", ["2012", "2022", "2026"])
async def test_each_generation_of_the_interface_inflates_and_deflates(interface: str) -> None:
    async with booted(interface=interface) as (service, lab):
        await resize(service, 3000)
        assert len(held(service)) == 3000
        assert lab.guest.options.interface == interface
        await resize(service, 0)
        assert held(service) == set()


async def test_the_host_is_charged_for_what_programs_use(tmp_path: Path) -> None:
    script = tmp_path / "reads.py"
    script.write_text("def run(machine):\n    machine.read_files(mib=20)\n    yield 1000.0\n")
    async with booted(workload=str(script)) as (service, lab):
        before = service.memory.resident_bytes()
        await asyncio.sleep(1)
        assert lab.guest.counts.cached == MEMORY_FRAMES // 4 + 20 * 256
        # A quarter of memory was touched and is free: that is used first, and is charged already.
        assert service.memory.resident_bytes() == before + (20 * 256 - MEMORY_FRAMES // 4) * FRAME_BYTES


async def test_huge_pages_are_charged_whole(tmp_path: Path) -> None:
    script = tmp_path / "huge.py"
    script.write_text("def run(machine):\n    yield from machine.process().fault_in_huge()\n    yield 1000.0\n")
    async with booted(workload=str(script)) as (service, lab):
        before = service.memory.resident_bytes()
        await asyncio.sleep(1)
        assert lab.guest.vmstat()["thp_fault_alloc"] == 1
        assert before <= service.memory.resident_bytes() <= before + 512 * FRAME_BYTES


async def test_a_busy_guest_follows_its_targets() -> None:
    async with booted(workload="build", memory="256MiB") as (service, lab):
        await asyncio.sleep(30)
        for frames in (20000, 1000, 30000, 0):
            await resize(service, frames)
            balloon = lab.guest.balloon
            assert balloon is not None
            assert len(held(service)) == service.actual_frames == balloon.num_pages == frames
            await asyncio.sleep(10)
        assert lab.guest.vmstat()["pgfault"] > 0


async def test_frames_are_shown_as_the_guest_sees_them() -> None:
    async with booted(workload="build") as (service, lab):
        await resize(service, 2000)
        await asyncio.sleep(30)
        assert service.guest_view is not None
        states = service.guest_view(FrameRange(0, MEMORY_FRAMES))
        assert states.count(FrameState.BALLOONED) == 2000
        assert states.count(FrameState.FREE) == lab.guest.counts.free
        assert states.count(FrameState.RECLAIMABLE) == lab.guest.mm.counts[ZoneCount.SLAB]
        assert states.count(FrameState.MOVABLE) == (lab.guest.counts.cached + lab.guest.mm.counts[ZoneCount.ANON])
        piece = service.guest_view(FrameRange(777, 3000))
        assert piece == states[777:3777]


@pytest.mark.parametrize("workload", ["storm", "/nowhere/load.toml"])
async def test_a_workload_that_cannot_be_read_is_refused_at_the_start(workload: str) -> None:
    with pytest.raises(StartError, match="balloon 'g': ") as refused:
        async with booted(workload=workload):
            pass
    assert refused.value.exit_status == 2


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_free_memory_is_hinted_and_nothing_of_it_is_given_back(ring: str) -> None:
    features = ("must-tell-host", "stats", "free-page-hint", "page-reporting", "page-poison")
    async with booted(ring=ring, features=features) as (service, lab):
        free = lab.guest.counts.free
        before = service.releasing.reclaimed_bytes
        service.start_hinting(acknowledge_on_stop=False)
        await asyncio.sleep(1)
        hinting = service.device.state.hinting
        assert hinting.stage is HintingStage.ENDED
        # Blocks of 4 MiB, and not below the lowest watermark.
        assert free - 3 * 1024 - lab.guest.mm.counts[ZoneCount.WMARK_MIN] < hinting.hinted_frames <= free
        assert lab.guest.counts.free == free - hinting.hinted_frames
        assert service.releasing.reclaimed_bytes == before
        service.stop_hinting()
        await asyncio.sleep(1)
        assert lab.guest.counts.free == free
        assert service.device.state.hinting.stage is HintingStage.DONE
        await resize(service, 2000)
        assert len(held(service)) == 2000


@pytest.mark.parametrize("ring", ["split", "packed"])
async def test_buffers_are_used_in_order_where_the_driver_counts_on_it(ring: str) -> None:
    features = ("must-tell-host", "stats", "free-page-hint", "page-reporting")
    async with booted(ring=ring, features=features, interface="2026", memory="512MiB") as (service, _):
        assert service.negotiated_features & RingFeature.IN_ORDER
        for frames in (5000, 300, 4000, 0):
            service.start_hinting(acknowledge_on_stop=True)
            await resize(service, frames)
            await asyncio.sleep(3)
            assert len(held(service)) == frames
        assert service.device.counters.statistics_updates > 1
        assert service.device.counters.reported_frames > 0
        assert service.state_name == "running"

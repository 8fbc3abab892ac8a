"""What each hostile driver comes to: its own balloon completes the buffer or breaks, and nothing else notices."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from support.backend_rig import open_descriptors, running_service, settled

from guest_driver.hostile import ATTACKS, Attack
from guest_driver.hostile.driver import (
    FILE_BYTES,
    LOWER,
    SPARE,
    UPPER,
    HostileDriver,
    areas_of,
    pfns,
    ring_by_hand,
)
from guest_driver.hostile.ring_by_hand import FORMATS, RingByHand, RingFormat
from guest_driver.ram import Ram
from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.config.models import BalloonSettings
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.memory.frames import FrameRange
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.offload import Offload
from vballoond.service.balloon_service import BalloonService
from vballoond.transport.in_process import InProcessDevice

REASONS: Final = {
    "descriptor_loop": "inflateq: .* more than 8 descriptors",
    "descriptor_that_follows_itself": "inflateq: .* more than 8 descriptors",
    "chain_past_the_ring": "inflateq: .* more than 8 descriptors",
    "next_out_of_range": "inflateq: descriptor 65535 in a table of 8",
    "chain_of_32768_descriptors": "inflateq: .* more than 1024 descriptors",
    "nested_indirect_table": "inflateq: an indirect table holds an indirect descriptor",
    "indirect_table_not_negotiated": "inflateq: .* INDIRECT_DESC was not negotiated",
    "indirect_table_with_next": "inflateq: .* both INDIRECT and NEXT",
    "indirect_table_of_half_a_descriptor": "inflateq: an indirect table of 24 bytes",
    "empty_indirect_table": "inflateq: an indirect table of 0 bytes",
    "indirect_table_of_4_gib": "inflateq: an indirect table of 4294963200 bytes",
    "indirect_table_outside_memory": "inflateq: 16 bytes at guest address 0x1000000 are not in guest memory",
    "loop_in_an_indirect_table": "inflateq: .* more than 2 descriptors",
    "next_out_of_an_indirect_table": "inflateq: descriptor 5 in a table of 2",
    "address_outside_memory": "inflateq: 4 bytes at guest address 0x1000000 are not in guest memory",
    "address_in_a_hole": "inflateq: 4 bytes at guest address 0x800000 are not in guest memory",
    "buffer_that_runs_into_a_hole": "inflateq: 8 bytes at guest address 0x7ffffc are not in guest memory",
    "address_that_wraps": "inflateq: 8 bytes at guest address 0xfffffffffffffffc are not in guest memory",
    "length_of_4_gib": "inflateq: a buffer of 4294967295 bytes is larger",
    "request_larger_than_any_driver_sends": "inflateq: a buffer of 16388 bytes is larger",
    "readable_behind_writable": "inflateq: .* a readable descriptor behind a writable one",
    "available_index_jump": "inflateq: the available index is 9 ahead in a queue of 8",
    "available_index_backwards": "inflateq: the available index is 65535 ahead in a queue of 8",
    "head_out_of_range": "inflateq: head 8 in a queue of 8",
    "its_own_ring_in_the_balloon": "inflateq: the available index is 65535 ahead in a queue of 8",
    "list_that_is_available_in_part": "inflateq: descriptor 1, number 1 of a list, is not available",
    "list_that_was_used_in_part": "inflateq: descriptor 1, number 1 of a list, is not available",
    "list_over_two_laps": "inflateq: descriptor 1, number 1 of a list, is not available",
    "list_longer_than_the_ring": "inflateq: a list from descriptor 0 has more than 8 descriptors",
    "more_in_flight_than_the_ring_has": "statsq: 9 descriptors in flight in a queue of 8",
    "id_beyond_the_queue": "inflateq: buffer id 8 in a queue of 8",
    "id_twice_in_flight": "statsq: buffer id 0 was made available again before it was used",
    "table_at_the_beginning_of_a_list": "inflateq: an indirect descriptor in a list of 2",
    "table_at_the_end_of_a_list": "inflateq: an indirect descriptor in a list of 2",
}
"""Why an attack that breaks the balloon does."""

COUNTED: Final = {
    "array_of_odd_length": {"odd_bytes": 3, "inflated_frames": 16},
    "array_of_less_than_a_number": {"odd_bytes": 2, "inflated_frames": 0},
    "deflate_of_frames_beyond_memory": {"foreign_frames": 3, "deflated_frames": 0},
    "deflate_of_frames_never_inflated": {"repeated_frames": 16, "deflated_frames": 0},
    "frames_at_the_end_of_all_numbers": {"foreign_frames": 3, "inflated_frames": 0},
    "frames_beyond_memory": {"foreign_frames": 16, "inflated_frames": 16},
    "frames_in_a_hole": {"foreign_frames": 3, "inflated_frames": 0},
    "frames_listed_twice": {"repeated_frames": 32, "inflated_frames": 16},
    "flags_rewritten_while_the_device_has_the_buffer": {"statistics_updates": 2},
    "id_given_again_before_it_came_back": {"repeated_frames": 32, "inflated_frames": 16},
    "its_own_descriptors_in_the_balloon": {"inflated_frames": 1},
    "descriptors_marked_as_used": {"inflate_requests": 0},
    "flags_of_used_after_publishing": {"inflate_requests": 0},
    "table_with_flags_of_the_ring": {"inflate_requests": 1, "inflated_frames": 16},
    "head_that_is_in_flight": {"repeated_frames": 32, "inflated_frames": 16},
    "readable_where_writable_is_due": {"reporting_requests": 1, "reported_frames": 0},
    "report_of_4_gib": {"reporting_requests": 1, "reported_frames": 16},
    "report_of_part_of_a_frame": {"odd_bytes": FRAME_BYTES, "reported_frames": 0},
    "report_that_wraps": {"reporting_requests": 1, "reported_frames": 0},
    "two_statistics_buffers": {"statistics_updates": 2},
    "statistics_flood": {"statistics_updates": 256},
    "statistics_nobody_knows": {"statistics_updates": 1},
    "config_scribble": {"config_writes": 1},
    "writable_where_readable_is_due": {"inflate_requests": 1, "inflated_frames": 0},
}
"""What the balloon counts of an attack that it gets over."""

FEATURES: Final = RingFeature.VERSION_1 | BalloonFeature.STATS_VQ | BalloonFeature.PAGE_REPORTING
NUMBERS: Final = {role: index for index, role in compact_roles(FEATURES).items()}
TARGET_FRAMES: Final = 7
FILLING: Final = b"\xa5"


class HostileGuest:
    """A guest with a hole in its memory, in a file that is larger than both; its driver has queues that run."""

    def __init__(self, service: BalloonService, attack: Attack, ring_format: RingFormat) -> None:
        self.ram: Final = Ram(FILE_BYTES, "hostile")
        self.ram.write(0, FILLING * FILE_BYTES)
        self.regions: Final = [
            MappedRegion(RegionPlace(part.start, len(part), part.start, part.start), self.ram.fd)
            for part in (LOWER, UPPER)
        ]
        self.rings: dict[QueueRole, RingByHand] = {}
        self.interrupts: list[int] = []
        self.offers_again = False
        self.device: Final = InProcessDevice(service, GuestMemory(self.regions), self)
        self.features: Final = FEATURES | attack.features(ring_format)
        self._attack: Final = attack
        self._service: Final = service

    def queue_interrupt(self, index: int) -> None:
        self.interrupts.append(index)
        if self.offers_again:
            self.rings[QueueRole.INFLATE].add_again()

    def config_interrupt(self) -> None:
        pass

    async def load(self) -> HostileDriver:
        """Set up fresh queues and have them run, up to where the attack begins."""
        self.close_rings()
        self.device.accept_features(self.features)
        for role, index in NUMBERS.items():
            self.rings[role] = ring_by_hand(self.ram, areas_of(index), self._attack.queue_size, self.features)
            self.device.set_up_queue(index, self._attack.queue_size, *areas_of(index))
        self.device.driver_ok()
        driver = HostileDriver(self.ram, self.rings, self.kick, self.device.write_config)
        if self._attack.held:
            driver.give_statistics()
            await served(self._service)
            assert self._service.device.state.held_statistics_head is not None
        return driver

    def kick(self, role: QueueRole) -> None:
        self.device.kick(NUMBERS.get(role, len(NUMBERS)))

    def picture(self) -> bytearray:
        """The whole file, but for what is the device's to write."""
        with self.ram.view(0, FILE_BYTES) as view:
            picture = bytearray(view)
        for ring in self.rings.values():
            for address, length in ring.device_parts:
                picture[address : address + length] = bytes(length)
        return picture

    def close_rings(self) -> None:
        for ring in self.rings.values():
            ring.close()
        self.rings.clear()

    async def close(self) -> None:
        await self.device.close(self._unmap)
        self.close_rings()
        self.ram.close()

    def _unmap(self) -> None:
        for region in self.regions:
            region.close()


@asynccontextmanager
async def attacked(attack: Attack, ring_format: RingFormat) -> AsyncIterator[tuple[BalloonService, HostileGuest]]:
    settings = BalloonSettings.model_validate(
        {
            "name": "hostile",
            "transport": "in-process",
            "memory": "16MiB",
            "ring": ring_format,
            "stats_interval_s": 0,
            "features": ["must-tell-host", "stats", "page-reporting"],
        }
    )
    async with running_service(settings) as service:
        guest = HostileGuest(service, attack, ring_format)
        try:
            yield service, guest
        finally:
            await guest.close()


@asynccontextmanager
async def neighbour() -> AsyncIterator[BalloonService]:
    settings = BalloonSettings.model_validate({"name": "neighbour", "transport": "in-process", "memory": "32MiB"})
    async with running_service(settings) as service:
        guest = await InProcessGuest.make(service, Offload())
        guest.start()
        try:
            await guest.booted()
            yield service
        finally:
            await guest.stop()


async def reaches(service: BalloonService, frames: int) -> bool:
    reached = await service.resizing.wait(service.set_target(frames), 60)
    return reached and service.device.frame_map.held_frames == frames


async def served(service: BalloonService) -> None:
    """Let all the turns happen that a full queue of 256 takes."""
    for _ in range(5):
        await settled(service)


def held(service: BalloonService) -> list[int]:
    ranges = service.device.frame_map.ranges(FrameRange(0, service.device.frame_map.space.end))
    return [pfn for part in ranges for pfn in range(part.first, part.end)]


CASES: Final = [(attack, ring_format) for attack in ATTACKS for ring_format in attack.formats]
NOTHING_YET: Final = next(attack for attack in ATTACKS if attack.name == "empty_array")
"""An attack that asks for nothing in particular, for a guest in which another thing is tried."""

every_attack = pytest.mark.parametrize(
    ("attack", "ring_format"), CASES, ids=[f"{attack.name}-{ring_format}" for attack, ring_format in CASES]
)
every_format = pytest.mark.parametrize("ring_format", FORMATS)


def test_every_attack_names_its_rule_and_is_expected() -> None:
    names = [attack.name for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert {attack.name for attack in ATTACKS if attack.completes is None} == REASONS.keys()
    assert set(names) >= COUNTED.keys()
    for attack in ATTACKS:
        assert (attack.breach.__doc__ or "").startswith(f"{attack.section}: "), attack.name


@every_attack
async def test_the_buffer_comes_back_or_the_balloon_breaks_and_says_why(
    attack: Attack, ring_format: RingFormat
) -> None:
    async with attacked(attack, ring_format) as (service, guest):
        driver = await guest.load()
        await served(service)
        attack.breach(driver)
        await served(service)
        broken = bool(guest.device.status() & DeviceStatus.NEEDS_RESET)
        if attack.completes is None:
            assert (service.state_name, broken) == ("broken", True)
            assert re.match(REASONS[attack.name], service.broken_reason or "")
            assert service.device.counters.guest_errors == 1
        else:
            assert (service.state_name, service.broken_reason, broken) == ("running", None, False)
            assert service.device.counters.guest_errors == 0
            assert driver.rings[attack.role].used_count == attack.completes
            assert guest.interrupts == [NUMBERS[attack.role]] * attack.completes


@every_attack
async def test_no_other_memory_is_touched(attack: Attack, ring_format: RingFormat) -> None:
    async with attacked(attack, ring_format) as (service, guest):
        driver = await guest.load()
        service.set_target(TARGET_FRAMES)
        await served(service)
        attack.breach(driver)
        expected = guest.picture()
        for pfn in attack.gives:
            expected[pfn * FRAME_BYTES : (pfn + 1) * FRAME_BYTES] = bytes(FRAME_BYTES)
        await served(service)
        assert guest.picture() == expected
        assert set(held(service)) <= set(attack.gives)


@every_attack
async def test_what_the_device_says_of_itself_stays(attack: Attack, ring_format: RingFormat) -> None:
    async with attacked(attack, ring_format) as (service, guest):
        driver = await guest.load()
        service.set_target(TARGET_FRAMES)
        attack.breach(driver)
        await served(service)
        config = BALLOON_CONFIG.unpack(guest.device.read_config(0, BALLOON_CONFIG.size))
        assert (config.num_pages, config.free_page_hint_cmd_id) == (TARGET_FRAMES, 0)
        counted = COUNTED.get(attack.name, {})
        assert {name: getattr(service.device.counters, name) for name in counted} == counted


@every_attack
async def test_the_guest_beside_it_reaches_its_target(attack: Attack, ring_format: RingFormat) -> None:
    async with neighbour() as beside, attacked(attack, ring_format) as (service, guest):
        driver = await guest.load()
        await served(service)
        assert await reaches(beside, 300)
        attack.breach(driver)
        assert await reaches(beside, 600)
        await served(service)
        assert await reaches(beside, 100)
        assert beside.state_name == "running"
        assert beside.device.counters.guest_errors == 0


@every_attack
async def test_no_descriptor_is_left_open(attack: Attack, ring_format: RingFormat) -> None:
    before_all = open_descriptors()
    async with attacked(attack, ring_format) as (service, guest):
        driver = await guest.load()
        await served(service)
        before = open_descriptors()
        attack.breach(driver)
        await served(service)
        assert open_descriptors() == before
    assert open_descriptors() == before_all


@every_attack
async def test_fresh_queues_mend_the_balloon(attack: Attack, ring_format: RingFormat) -> None:
    async with attacked(attack, ring_format) as (service, guest):
        attack.breach(await guest.load())
        await served(service)
        guest.device.reset()
        await served(service)
        assert guest.device.status() == DeviceStatus(0)
        driver = await guest.load()
        await served(service)
        assert (service.state_name, service.broken_reason, held(service)) == ("running", None, [])
        driver.request(QueueRole.INFLATE, pfns(SPARE))
        await served(service)
        assert held(service) == list(SPARE)
        driver.request(QueueRole.DEFLATE, pfns(SPARE))
        await served(service)
        assert (held(service), service.state_name) == ([], "running")
        assert [driver.rings[role].used_count for role in (QueueRole.INFLATE, QueueRole.DEFLATE)] == [1, 1]


@every_format
async def test_a_driver_that_always_has_another_buffer_does_not_keep_others_from_their_target(
    ring_format: RingFormat,
) -> None:
    async with neighbour() as beside, attacked(NOTHING_YET, ring_format) as (service, guest):
        driver = await guest.load()
        guest.offers_again = True
        driver.request(QueueRole.INFLATE, pfns(SPARE))
        assert await reaches(beside, 3000)
        requests = service.device.counters.inflate_requests
        assert await reaches(beside, 500)
        assert service.device.counters.inflate_requests > requests > 0
        assert service.state_name == "running"


@every_format
async def test_a_broken_balloon_serves_nothing_however_often_it_is_kicked(ring_format: RingFormat) -> None:
    async with attacked(NOTHING_YET, ring_format) as (service, guest):
        driver = await guest.load()
        driver.one(QueueRole.INFLATE, UPPER.stop, 4)
        await served(service)
        assert service.state_name == "broken"
        for role in NUMBERS:
            driver.request(role, b"")
        await served(service)
        assert [ring.used_count for ring in driver.rings.values()] == [0, 0, 0, 0]
        assert service.device.counters.guest_errors == 1

"""What each hostile driver comes to where its balloon is behind a vhost-user connection."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import pytest
from support.backend_rig import BackendRig, backend_rig, open_descriptors, settled
from support.fake_front_end import DONE, FakeFrontEnd, FakeGuest

from fuzz.front_end import config_write
from fuzz.vm import Monitor
from guest_driver.hostile import ATTACKS, Attack
from guest_driver.hostile.driver import FILE_BYTES, LOWER, UPPER, HostileDriver, areas_of, ring_by_hand
from guest_driver.hostile.ring_by_hand import RingFormat
from guest_driver.ram import Ram
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.virtio import RingFeature
from vballoond.memory.frames import FrameRange

FEATURES: Final = RingFeature.VERSION_1 | BalloonFeature.STATS_VQ | BalloonFeature.PAGE_REPORTING
NUMBERS: Final = {role: index for index, role in compact_roles(FEATURES).items()}
CASES: Final = [(attack, ring_format) for attack in ATTACKS for ring_format in attack.formats]

HARMLESS: Final = next(attack for attack in ATTACKS if attack.name == "frames_listed_twice")

every_attack = pytest.mark.parametrize(
    ("attack", "ring_format"), CASES, ids=[f"{attack.name}-{ring_format}" for attack, ring_format in CASES]
)


class HostileMachine:
    """A virtual machine whose monitor keeps all rules, and whose driver is about to break one."""

    def __init__(self, vm: FakeFrontEnd, attack: Attack, ring_format: RingFormat) -> None:
        features = int(FEATURES) | attack.features(ring_format)
        self._vm: Final = vm
        self._ram: Final = Ram(FILE_BYTES, "hostile")
        self.rings: Final = {
            role: ring_by_hand(self._ram, areas_of(index), attack.queue_size, features)
            for role, index in NUMBERS.items()
        }
        areas = {index: areas_of(index) for index in NUMBERS.values()}
        self.monitor: Final = Monitor(self._ram, (LOWER, UPPER), features, attack.queue_size, areas)
        self.driver: Final = HostileDriver(self._ram, self.rings, self._kick, self._write_config)

    async def start(self) -> None:
        """Have the rings served."""
        for said in self.monitor.conversation(table=True):
            assert await self._vm.acknowledged(said.request, said.payload, said.fds) == DONE

    def calls(self, role: QueueRole) -> int:
        """How often the driver was notified of a queue."""
        return _rung(self.monitor.doorbells[NUMBERS[role]].call)

    def errors(self) -> list[int]:
        """How often each ring was said to be broken."""
        return [_rung(doorbells.error) for doorbells in self.monitor.doorbells.values()]

    def close(self) -> None:
        for ring in self.rings.values():
            ring.close()
        self.monitor.close()
        self._ram.close()

    def _kick(self, role: QueueRole) -> None:
        if role in NUMBERS:
            self.monitor.kick(NUMBERS[role])

    def _write_config(self, offset: int, data: bytes) -> None:
        said = config_write(offset, data)
        self._vm.send(said.request, said.payload)


def _rung(doorbell: int) -> int:
    try:
        return os.eventfd_read(doorbell)
    except BlockingIOError:
        return 0


@asynccontextmanager
async def machine(
    rig: BackendRig, attack: Attack, ring_format: RingFormat, unused: FakeGuest | None = None
) -> AsyncIterator[tuple[FakeFrontEnd, HostileMachine]]:
    vm = rig.connect(unused)  # a front-end of the rig's has a guest, which is not this one
    made = HostileMachine(vm, attack, ring_format)
    try:
        await made.start()
        await caught_up(rig, vm)
        if attack.held:
            made.driver.give_statistics()
            await caught_up(rig, vm)
            assert rig.service.device.state.held_statistics_head is not None
        yield vm, made
    finally:
        await rig.disconnect(vm)
        made.close()


async def caught_up(rig: BackendRig, vm: FakeFrontEnd) -> None:
    """Let everything happen that a full queue of 256 takes."""
    for _ in range(5):
        await vm.caught_up()
        await settled(rig.service)


def offering(ring_format: RingFormat) -> dict[str, object]:
    return {"ring": ring_format, "features": ["must-tell-host", "stats", "page-reporting"]}


@every_attack
async def test_the_buffer_comes_back_or_the_balloon_breaks_and_the_connection_goes_on(
    attack: Attack, ring_format: RingFormat
) -> None:
    async with backend_rig(**offering(ring_format)) as rig:
        async with machine(rig, attack, ring_format) as (vm, made):
            attack.breach(made.driver)
            await caught_up(rig, vm)
            if attack.completes is None:
                assert rig.service.state_name == "broken"
                assert (rig.service.broken_reason or "").startswith(f"{attack.role.value}: ")
                assert made.errors() == [1] * len(NUMBERS)
            else:
                assert (rig.service.state_name, rig.service.broken_reason) == ("running", None)
                assert made.rings[attack.role].used_count == attack.completes
                assert made.calls(attack.role) == attack.completes
                assert not any(made.errors())
        assert (rig.service.state_name, rig.service.connected) == ("waiting", False)


@every_attack
async def test_nothing_is_left_of_it_for_the_machine_after(attack: Attack, ring_format: RingFormat) -> None:
    async with backend_rig(**offering(ring_format)) as rig:
        unused = rig.guest()
        before = open_descriptors()
        async with machine(rig, attack, ring_format, unused) as (vm, made):
            opened = open_descriptors()
            attack.breach(made.driver)
            await caught_up(rig, vm)
            assert open_descriptors() == opened
        assert open_descriptors() == before
        async with machine(rig, HARMLESS, ring_format, unused) as (vm, made):
            HARMLESS.breach(made.driver)
            await caught_up(rig, vm)
            assert (rig.service.state_name, made.rings[HARMLESS.role].used_count) == ("running", HARMLESS.completes)
            assert held(rig) == list(HARMLESS.gives)


def held(rig: BackendRig) -> list[int]:
    ranges = rig.service.device.frame_map.ranges(FrameRange(0, FILE_BYTES >> 12))
    return [pfn for part in ranges for pfn in range(part.first, part.end)]

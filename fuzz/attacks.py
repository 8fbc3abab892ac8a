"""The hostile drivers of ``guest_driver.hostile``, over vhost-user: each comes to what it is expected to come to."""

import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from random import Random
from typing import Final

from guest_driver.hostile import ATTACKS
from guest_driver.hostile.attack import Attack
from guest_driver.hostile.driver import FILE_BYTES, LOWER, UPPER, HostileDriver, areas_of, ring_by_hand
from guest_driver.hostile.ring_by_hand import RingByHand
from guest_driver.ram import Ram
from protocol.balloon.features import BalloonFeature
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.vhost_user.header import VERSION, MessageFlag
from protocol.virtio import RingFeature

from .api import Api
from .finding import Finding
from .front_end import PATIENCE_S, FrontEnd, config_write
from .vm import Monitor
from .worker import Note

_FEATURES: Final = int(RingFeature.VERSION_1 | BalloonFeature.STATS_VQ | BalloonFeature.PAGE_REPORTING)
_POLL_S: Final = 0.005


class Attacks:
    """Performs one on the balloon at ``path``, which asks for no statistics by itself, in each step."""

    def __init__(self, name: str, path: Path, api: Api) -> None:
        self.name: Final = name
        self._path: Final = path
        self._api: Final = api
        self._address: Final = f"/v1/balloons/{name}"

    def step(self, random: Random, note: Note) -> None:
        """Load a hostile driver, and see what comes of it."""
        attack = random.choice(ATTACKS)
        ring_format = random.choice(attack.formats)
        note(f"{attack.name} on {ring_format} rings")
        ram = Ram(FILE_BYTES, "hostile")
        features = _FEATURES | attack.features(ring_format)
        numbers = {role: index for index, role in compact_roles(features).items()}
        rings = {
            role: ring_by_hand(ram, areas_of(index), attack.queue_size, features) for role, index in numbers.items()
        }
        areas = {index: areas_of(index) for index in numbers.values()}
        monitor = Monitor(ram, (LOWER, UPPER), features, attack.queue_size, areas)
        try:
            with FrontEnd.welcomed(self._path) as front_end:
                front_end.do(monitor.conversation(table=random.random() < 0.5))
                driver = _driver(ram, rings, monitor, numbers, front_end)
                if attack.held:
                    driver.give_statistics()
                    self._await_statistics(attack)
                attack.breach(driver)
                self._comes_to(attack, rings[attack.role])
        finally:
            for ring in rings.values():
                ring.close()
            monitor.close()
            ram.close()

    def rest(self) -> None:
        """A step leaves nothing behind."""

    def _await_statistics(self, attack: Attack) -> None:
        if not _comes_true(lambda: self._api.request("GET", f"{self._address}/statistics").status == HTTPStatus.OK):
            raise Finding(f"{attack.name}: a buffer with statistics is not looked at")

    def _comes_to(self, attack: Attack, ring: RingByHand) -> None:
        if not _comes_true(lambda: self._has_come_to(attack, ring)):
            raise Finding(f"{attack.name}: {ring.used_count} buffers came back, and the balloon is {self._state()}")

    def _has_come_to(self, attack: Attack, ring: RingByHand) -> bool:
        if attack.completes is None:
            return self._state() == "broken"
        return (attack.races or ring.used_count == attack.completes) and self._state() == "running"

    def _state(self) -> str:
        return str(self._api.get(self._address)["state"])


def _comes_true(what: Callable[[], bool]) -> bool:
    """Wait until it is so; say whether it has come to that."""
    until_s = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > until_s:
            return False
        time.sleep(_POLL_S)
    return True


def _driver(
    ram: Ram,
    rings: dict[QueueRole, RingByHand],
    monitor: Monitor,
    numbers: dict[QueueRole, int],
    front_end: FrontEnd,
) -> HostileDriver:
    def kick(role: QueueRole) -> None:
        if role in numbers:
            monitor.kick(numbers[role])

    def write_config(offset: int, data: bytes) -> None:
        front_end.socket.sendall(config_write(offset, data).wire(VERSION | MessageFlag.NEED_REPLY))

    return HostileDriver(ram, rings, kick, write_config)

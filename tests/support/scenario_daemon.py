"""A scenario of the simulator on a whole daemon, in virtual time: its device, its guests, its API's own runner.

Only what has no virtual time is replaced: policies are asked in this process, calls that take long run inline, and the
host's memory is what a scenario says, less what the kernel says that the guests' memory files take.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
from support.scripts_here import ScriptsHere

from guest_driver.ram import Ram
from protocol.balloon.page_frames import FRAME_BYTES
from protocol.balloon.queues import QueueRole
from vballoond.balloon.facts import Fact, Request
from vballoond.config.models import Settings
from vballoond.daemon import Daemon
from vballoond.lab.in_process_guest import InProcessGuest
from vballoond.lab.simulation.host_scenario import GuestTable, HostScenario, guest_names
from vballoond.logs import configure_logs
from vballoond.memory.frames import FrameRange
from vballoond.offload import Offload
from vballoond.policy import Policy
from vballoond.runner.host_memory import HostTexts
from vballoond.service.balloon_service import BalloonService
from vballoond.service.served_balloon import Observer

KIB: Final = 1 << 10

Frames = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True)
class Balance:
    """One guest's frames, as four who do not ask each other count them."""

    name: str
    frames: int
    target: int
    map: int
    """Held, by the device's frame map."""
    driver: int
    """In the balloon, by the guest's driver."""
    resident: int
    """Charged to the memory file, by the kernel's account of it."""
    touched: int
    """Touched by the guest and not given away since, by what it touched and what its driver asked for."""
    untouched: int
    """Neither that, nor held by the map, each frame looked at."""
    both: int
    """That, and held by the map: the host would have to have a frame that it was given."""

    @property
    def to_go(self) -> int:
        """What the driver still has to take (positive) or to give back until it has its target."""
        return self.target - self.driver

    @property
    def unexplained(self) -> int:
        """What target, what is on the way, what the host has, and what nobody has asked it for, leave over."""
        return self.frames - (self.target - self.to_go) - self.resident - self.untouched


class WatchedRam(Ram):
    """A guest's memory, which notes what is touched of it."""

    def __init__(self, size_bytes: int, name: str = "guest") -> None:
        super().__init__(size_bytes, name)
        self.touched: Final = np.zeros(size_bytes // FRAME_BYTES, np.bool_)

    def touch(self, first_pfn: int, count: int) -> None:
        super().touch(first_pfn, count)
        self.touched[first_pfn : first_pfn + count] = True


class ScenarioDaemon:
    """A daemon with the guests of a scenario."""

    def __init__(self, scenario: HostScenario) -> None:
        self.scenario: Final = scenario
        self.tables: Final[dict[str, GuestTable]] = {
            name: table for table in scenario.guest for name in guest_names(table)
        }
        self.daemon: Daemon
        self._began_s: Final = asyncio.get_running_loop().time()

    @property
    def now_s(self) -> float:
        """Since the scenario began."""
        return asyncio.get_running_loop().time() - self._began_s

    @property
    def resident_bytes(self) -> int:
        return sum(service.memory.resident_bytes() for service in self.daemon.registry)

    @property
    def available_bytes(self) -> int:
        """What the host has left; less than nothing where it has not got what its guests use."""
        host = self.scenario.host
        return host.memory - sum(load.bytes_at(self.now_s) for load in host.load) - self.resident_bytes

    def read_host(self) -> HostTexts:
        """Say it as /proc does."""
        available = max(0, self.available_bytes)
        total = self.scenario.host.memory
        return HostTexts(f"MemTotal: {total // KIB} kB\nMemAvailable: {available // KIB} kB\n")

    def guest(self, name: str) -> InProcessGuest:
        guest = self.daemon.fleet.guest(name)
        assert isinstance(guest, InProcessGuest)
        return guest

    def observer_for(self, name: str) -> Observer:
        """Note what the driver gives away."""

        def note(fact: Fact) -> None:
            if isinstance(fact, Request) and fact.role is QueueRole.INFLATE:
                ram = self.guest(name).guest.ram
                assert isinstance(ram, WatchedRam)
                ram.touched[np.frombuffer(fact.data, "<u4")] = False

        return note

    def balances(self) -> list[Balance]:
        return [self._balance(service) for service in self.daemon.registry]

    def _balance(self, service: BalloonService) -> Balance:
        guest = self.guest(service.settings.name).guest
        held = _bits(service.device.frame_map.bitmap(FrameRange(0, guest.total_frames)), guest.total_frames)
        assert isinstance(guest.ram, WatchedRam)
        assert guest.balloon is not None
        touched = guest.ram.touched
        return Balance(
            name=service.settings.name,
            frames=guest.total_frames,
            target=service.target_frames,
            map=service.held_frames,
            driver=guest.balloon.num_pages,
            resident=service.memory.resident_bytes() // FRAME_BYTES,
            touched=int(np.count_nonzero(touched)),
            untouched=int(np.count_nonzero(~(held | touched))),
            both=int(np.count_nonzero(held & touched)),
        )


def _bits(bitmap: bytes, frames: int) -> "Frames":
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=frames, bitorder="little").astype(np.bool_)


@asynccontextmanager
async def scenario_daemon(
    scenario: HostScenario, policy: str, directory: Path, *more: type[Policy]
) -> AsyncIterator[ScenarioDaemon]:
    """Start it, with ``more`` policies than those built in; its guests have booted, and their programs run."""
    configure_logs("warning")
    host = ScenarioDaemon(scenario)
    with patch("guest_driver.guest.Ram", WatchedRam):
        host.daemon = Daemon(
            settings_of(scenario, policy, directory),
            host.observer_for,
            read_host=host.read_host,
            make_scripts=lambda _: ScriptsHere(*more),
            offload=Offload(),
        )
        async with host.daemon:
            for name in host.tables:
                await host.guest(name).booted()
            yield host


def settings_of(scenario: HostScenario, policy: str, directory: Path) -> Settings:
    """Return the configuration that is the scenario; workloads become files."""
    return Settings.model_validate(
        {
            "http": {"listen": f"unix:{directory}/api.sock"},
            "policy": {
                "name": policy,
                "settings": scenario.settings.get(policy, {}),
                "interval_s": scenario.interval_s,
                "reserve": _size(scenario.host.reserve),
                "guard": scenario.guard,
            },
            "balloon": [_balloon(name, table, directory) for table in scenario.guest for name in guest_names(table)],
        }
    )


def _balloon(name: str, table: GuestTable, directory: Path) -> dict[str, Any]:
    workload = directory / f"{table.name}.toml"
    workload.write_text("\n".join(map(_load, table.load)))
    return {
        "name": name,
        "transport": "in-process",
        "memory": _size(table.memory),
        "min": _size(table.min),
        "max": _size(table.max_bytes),
        "shares": table.shares,
        "priority": table.priority,
        "stats_interval_s": table.stats_interval_s,
        "workload": str(workload),
    }


def _size(size_bytes: int) -> str:
    return f"{size_bytes // KIB}KiB"


def _load(keys: dict[str, Any]) -> str:
    return "[[load]]\n" + "\n".join(f"{key} = {_toml(value)}" for key, value in keys.items())


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()

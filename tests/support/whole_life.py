"""All that a front-end and its guest's driver do with a balloon, from connecting to leaving, over however many workers.

Whatever worker serves, and wherever it dies: every message that wants an answer gets one, every buffer comes back once
and in order, and the frame map, ``actual`` and the target are what the driver and the operator made them.
"""

import asyncio
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from support.fake_front_end import (
    DONE,
    MIB,
    RING_FEATURES,
    FakeFrontEnd,
    FakeGuest,
    config_piece,
    pfns,
    qemu_connect,
    qemu_start,
    qemu_stop,
    single_region,
)
from support.worker_lives import Lives

from protocol.balloon.config_space import BALLOON_CONFIG
from protocol.balloon.features import BalloonFeature
from protocol.balloon.statistics import STATISTIC, Statistic
from protocol.packed_ring import FRESH_BASE
from protocol.vhost_user.requests import Request
from protocol.virtio import RingFeature

INFLATE, DEFLATE, STATS = range(3)
FEATURES = RING_FEATURES | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ
_PATIENCE_S = 20.0
_PLUGGED_AT = 1 << 30
_PLUGGED_BYTES = 1 * MIB


def settings_of(ring: str, socket: Path) -> dict[str, Any]:
    """The balloon's, as plain data."""
    return {
        "name": "vm1",
        "transport": "vhost-user",
        "socket": str(socket),
        "ring": ring,
        "features": ["must-tell-host", "stats"],
        "stats_interval_s": 0,
    }


class Life:
    """One guest with its monitor.

    Args:
        ring: The format of the rings.
        socket: The balloon's socket.
        sizes: Of the inflate, deflate and statistics queues.
    """

    def __init__(self, ring: str, socket: Path, sizes: tuple[int, int, int]) -> None:
        self.guest = FakeGuest(8 * MIB)
        self.phase = "not begun"
        self._packed = ring == "packed"
        self._features = FEATURES | (RingFeature.RING_PACKED if self._packed else 0)
        self._socket = socket
        self._sizes = sizes
        self._held: set[int] = set()
        self._vm: FakeFrontEnd | None = None
        self._set_up_queues()

    def _set_up_queues(self) -> None:
        for index, size in enumerate(self._sizes):
            self.guest.add_queue(index, size, packed=self._packed)

    def close(self) -> None:
        if self._vm is not None:
            self._vm.close()
        self.guest.close()

    def look_around(self) -> None:
        """Have the driver look at its rings without having been notified."""
        for queue in self.guest.queues.values():
            os.eventfd_write(queue.call_fd, 1)

    async def live(self, lives: Lives) -> None:
        """Do everything once."""
        self._lives = lives
        for phase in (
            self._connect,
            self._inflate,
            self._deflate,
            self._statistics,
            self._plug_memory,
            self._pause,
            self._shrink,
            self._remove_driver,
            self._leave,
        ):
            self.phase = phase.__name__.removeprefix("_")
            await phase()

    # The phases.

    async def _connect(self) -> None:
        while True:
            await self._lives.serving()
            try:
                vm = self._vm = await FakeFrontEnd.connect(self._socket, self.guest)
                vm.send(Request.GET_FEATURES)
                await vm.reply_to(Request.GET_FEATURES)
            except (AssertionError, OSError):
                if self._vm is not None:
                    self._vm.close()
                continue  # a worker died with a connection that no holder had yet, and that nobody had been answered on
            break
        await qemu_connect(vm)
        await qemu_start(vm, self._features, bases=self._fresh_bases())
        await self._check()

    def _fresh_bases(self) -> dict[int, int]:
        return dict.fromkeys(self.guest.queues, FRESH_BASE if self._packed else 0)

    async def _inflate(self) -> None:
        first = self.guest.first_free_pfn()
        await self._told(12)
        for number in range(3):
            await self._served(INFLATE, range(first + 4 * number, first + 4 * number + 4))
        await self._write_actual()
        await self._check()

    async def _deflate(self) -> None:
        await self._served(DEFLATE, sorted(self._held)[1:4])
        await self._write_actual()
        await self._check()

    async def _statistics(self) -> None:
        """The first buffer comes back when newer ones are wanted; the second is held from now on."""
        queue = self.guest.queues[STATS]
        head = queue.request(_statistics(1))
        # A worker that has just begun holds no buffer yet, and is asked again.
        while (used := queue.ring.get_used()) is None:
            await self._lives.ask("want_statistics")
        assert used == head
        queue.request(_statistics(2))
        async with asyncio.timeout(_PATIENCE_S):
            while (await self._lives.ask("show"))["statistics"] != 2:
                pass

    async def _plug_memory(self) -> None:
        ram = self.guest.add_region(_PLUGGED_AT, _PLUGGED_BYTES)
        region = self.guest.regions[-1]
        assert await self._vm.acknowledged(Request.ADD_MEM_REG, single_region(region), [ram.fd]) == DONE
        plugged = range(_PLUGGED_AT >> 12, (_PLUGGED_AT >> 12) + 3)
        await self._served(INFLATE, plugged)
        await self._check()
        await self._served(DEFLATE, plugged)
        assert await self._vm.acknowledged(Request.REM_MEM_REG, single_region(region)) == DONE
        await self._check()
        self.guest.regions = self.guest.regions[:-1]

    async def _pause(self) -> None:
        """The VM stops with the statistics buffer held, and goes on with a request that came meanwhile."""
        bases = await qemu_stop(self._vm)
        pfn = max(self._held) + 5
        head = self.guest.queues[INFLATE].add(pfns([pfn]))
        await qemu_start(self._vm, self._features, memory=None, bases=bases)
        assert await self.guest.queues[INFLATE].used() == head
        self._held.add(pfn)
        await self._check()

    async def _shrink(self) -> None:
        await self._told(5)
        await self._served(DEFLATE, sorted(self._held)[5:])
        await self._write_actual()
        await self._check(target=5)

    async def _remove_driver(self) -> None:
        """Also set up anew, as by a driver that is loaded again: nothing is held then."""
        await self._served(DEFLATE, sorted(self._held))
        await self._write_actual()
        await qemu_stop(self._vm)
        await self._check(state="paused")
        self._nothing_further()
        self._set_up_queues()
        await qemu_start(self._vm, self._features, memory=None, bases=self._fresh_bases())
        await self._served(INFLATE, [self.guest.first_free_pfn() + 9])
        await self._write_actual()
        await self._check(target=5)
        self._nothing_further()

    async def _leave(self) -> None:
        self._vm.close()
        async with asyncio.timeout(_PATIENCE_S):
            while (await self._lives.ask("show"))["state"] != "waiting":
                pass
        shown = await self._lives.ask("show")
        assert shown["held"] == []

    # Of what they are made.

    async def _served(self, index: int, frames: Iterable[int]) -> None:
        frames = list(frames)
        queue = self.guest.queues[index]
        await queue.served(pfns(frames))
        if index == INFLATE:
            self._held.update(frames)
        else:
            self._held.difference_update(frames)

    async def _told(self, frames: int) -> None:
        """Have a target set; read it as a driver does, when it is told that something has changed."""
        await self._lives.ask("target", frames)
        await self._vm.config_change()
        while (await self._config()).num_pages != frames:
            await self._vm.config_change()

    async def _config(self) -> Any:
        return BALLOON_CONFIG.unpack(await self._vm.config())

    async def _write_actual(self) -> None:
        self._vm.send(Request.SET_CONFIG, config_piece(4, len(self._held).to_bytes(4, "little"), flags=1))
        assert (await self._config()).actual == len(self._held)

    async def _check(self, *, target: int | None = None, state: str = "running") -> None:
        shown = await self._lives.ask("show")
        held = {pfn for first, count in shown["held"] for pfn in range(first, first + count)}
        assert held == self._held
        assert (shown["state"], shown["reason"]) == (state, None)
        if target is not None:
            assert shown["target"] == target

    def _nothing_further(self) -> None:
        """No buffer came back that was not expected."""
        assert all(queue.ring.get_used() is None for queue in self.guest.queues.values())
        with pytest.raises(BlockingIOError):
            self._vm._socket.recv(1)


def _statistics(count: int) -> bytes:
    """A buffer that has so many of them."""
    return b"".join(STATISTIC.pack(Statistic(tag, 7)) for tag in range(count))

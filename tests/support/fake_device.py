"""A balloon device for the modelled driver, which serves its rings in steps and notes what it sees."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from guest_driver.guest import Guest
from guest_driver.kernel import Thread, WaitQueue
from guest_driver.ram import Ram
from guest_driver.split_ring import RingAddresses
from guest_driver.virtio_balloon import VirtioBalloon
from protocol.balloon.config_space import BALLOON_CONFIG, DRIVER_WRITES, BalloonConfig
from protocol.balloon.features import BalloonFeature
from protocol.balloon.page_frames import FRAME_BYTES, PAGE_FRAME
from protocol.balloon.queues import QueueRole, compact_roles
from protocol.balloon.statistics import STATISTIC
from protocol.split_ring import SplitRingGeometry
from protocol.virtio import DeviceStatus, RingFeature
from vballoond.memory.guest_memory import GuestMemory
from vballoond.memory.region import MappedRegion, RegionPlace
from vballoond.virtqueue.chain import Chain
from vballoond.virtqueue.split import SplitRing

from .ring_pair import open_device

OFFERED: Final = RingFeature.VERSION_1 | RingFeature.EVENT_IDX | BalloonFeature.MUST_TELL_HOST | BalloonFeature.STATS_VQ
FIRST_FREE_PFN: Final = 64
"""Of a guest of fewer than 3200 frames: those below are its kernel's."""


class Seen(NamedTuple):
    """Something that the driver did: a request by its queue's name, or what the VirtioDevice call is named."""

    what: str
    value: Any
    at_s: float


class FakeDevice:
    """Implements ``guest_driver.device.VirtioDevice``.

    As a real one, it looks only at queues that were kicked, and interrupts only where the driver wants it.

    Args:
        guest: Whose memory it shares and whose driver it interrupts.
        offered: Its features.
        num_pages: The target that a driver finds.
    """

    def __init__(self, guest: Guest, offered: int = OFFERED, num_pages: int = 0) -> None:
        self.log: list[Seen] = []
        self.answers = True
        """Whether requests are completed as they come."""
        self.agrees = True
        """Whether it agrees to features."""
        self.resets_at_once = True
        self.config = BalloonConfig(num_pages=num_pages)
        self.accepted = 0
        self._guest = guest
        self._offered = offered
        self._region = _map(guest.ram)
        self._memory = GuestMemory([self._region])
        self._set_up: dict[int, tuple[SplitRingGeometry, RingAddresses]] = {}
        self._rings: dict[int, SplitRing] = {}
        self._kicked: set[int] = set()
        self._unanswered: list[tuple[int, int]] = []
        self._held_statistics: tuple[int, int] | None = None
        self._status = DeviceStatus(0)
        self._resetting = False

    # What the driver calls.

    def device_features(self) -> int:
        return self._offered

    def accept_features(self, features: int) -> None:
        self.accepted = features
        self._status = DeviceStatus.ACKNOWLEDGE | DeviceStatus.DRIVER
        if self.agrees:
            self._status |= DeviceStatus.FEATURES_OK
        self._note("accept_features", features)

    def read_config(self, offset: int, length: int) -> bytes:
        return BALLOON_CONFIG.pack(self.config)[offset : offset + length]

    def write_config(self, offset: int, data: bytes) -> None:
        assert len(data) == 4
        field = next(name for name in DRIVER_WRITES if BALLOON_CONFIG.offset_of(name) == offset)
        self.config = self.config._replace(**{field: int.from_bytes(data, "little")})
        self._note(field, int.from_bytes(data, "little"))

    def set_up_queue(self, index: int, size: int, descriptor_table: int, avail_ring: int, used_ring: int) -> None:
        self._set_up[index] = (SplitRingGeometry(size), RingAddresses(descriptor_table, avail_ring, used_ring))
        self._note("set_up_queue", index)

    def driver_ok(self) -> None:
        self._status |= DeviceStatus.DRIVER_OK
        self._note("driver_ok", None)
        event_idx = bool(self.accepted & RingFeature.EVENT_IDX)
        for index, (geometry, addresses) in self._set_up.items():
            self._rings[index] = open_device(self._memory, geometry, addresses, event_idx=event_idx)
            self._kicked.add(index)

    def kick(self, index: int) -> None:
        self._note("kick", index)
        if index in self._rings:
            self._kicked.add(index)

    def reset(self) -> None:
        self._note("reset", None)
        self._resetting = True
        if self.resets_at_once:
            self._finish_reset()

    def status(self) -> DeviceStatus:
        return self._status

    # What a test calls.

    def set_target(self, num_pages: int) -> None:
        """Want another size, and say so."""
        self.config = self.config._replace(num_pages=num_pages)
        if self._guest.balloon is not None:
            self._guest.balloon.config_interrupt()

    def set_command(self, cmd_id: int) -> None:
        """Set free_page_hint_cmd_id, and say so."""
        self.config = self.config._replace(free_page_hint_cmd_id=cmd_id)
        if self._guest.balloon is not None:
            self._guest.balloon.config_interrupt()

    def serve(self) -> bool:
        """Serve every queue that was kicked; say whether there was anything to do."""
        if self._resetting:
            self._finish_reset()
            return True
        busy = False
        for index in sorted(self._kicked):
            ring = self._rings[index]
            while (chain := ring.pop()) is not None or ring.enable_kicks():
                if chain is not None:
                    busy = True
                    self._request(index, chain)
        self._kicked.clear()
        return busy

    def answer(self) -> None:
        """Complete the requests that wait."""
        waiting, self._unanswered = self._unanswered, []
        for index, head in waiting:
            self._complete(index, head)

    def ask_for_statistics(self) -> None:
        """Return the statistics buffer that is held."""
        assert self._held_statistics is not None
        held, self._held_statistics = self._held_statistics, None
        self._complete(*held)

    def seen(self, what: str) -> list[Any]:
        """Return the values of all that the driver did of one kind."""
        return [seen.value for seen in self.log if seen.what == what]

    def order(self, *what: str) -> list[str]:
        """Return in which order the driver did things of some kinds."""
        return [seen.what for seen in self.log if seen.what in what]

    def close(self) -> None:
        """Let go of the guest's memory."""
        self._close_rings()
        self._region.close()

    def _request(self, index: int, chain: Chain) -> None:
        role = compact_roles(self.accepted)[index]
        data = chain.read(self._memory, 1 << 16)
        if role is QueueRole.STATS:
            assert self._held_statistics is None
            self._held_statistics = (index, chain.head)
            self._note(role.value, {entry.tag: entry.val for entry in STATISTIC.iter_unpack(data)})
            return
        self._note(role.value, self._meaning(role, chain, data))
        self._unanswered.append((index, chain.head))
        if self.answers:
            self.answer()

    def _meaning(self, role: QueueRole, chain: Chain, data: bytes) -> Any:
        if role is QueueRole.FREE_PAGE and data:
            assert not chain.writable
            return int.from_bytes(data, "little")
        if role in {QueueRole.FREE_PAGE, QueueRole.REPORTING}:
            assert not data
            return [(buffer.address // FRAME_BYTES, buffer.length // FRAME_BYTES) for buffer in chain.writable]
        assert not chain.writable
        return PAGE_FRAME.array(data)["pfn"].tolist()

    def _complete(self, index: int, head: int) -> None:
        self._rings[index].push(head)
        if self._rings[index].should_notify() and self._guest.balloon is not None:
            self._guest.balloon.queue_interrupt(index)

    def _finish_reset(self) -> None:
        self._close_rings()
        self._set_up.clear()
        self._unanswered.clear()
        self._held_statistics = None
        self._status = DeviceStatus(0)
        self._resetting = False
        if self._guest.balloon is not None:
            self._guest.balloon.config_interrupt()

    def _close_rings(self) -> None:
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        self._kicked.clear()

    def _note(self, what: str, value: Any) -> None:
        self.log.append(Seen(what, value, self._guest.kernel.now_s))


def _map(ram: Ram) -> MappedRegion:
    return MappedRegion(RegionPlace(guest_address=0, size_bytes=ram.size_bytes, user_address=0, file_offset=0), ram.fd)


class Bench:
    """A guest, its driver and the device, in virtual time."""

    def __init__(self, guest: Guest, device: FakeDevice) -> None:
        self.guest = guest
        self.device = device
        self.driver: VirtioBalloon = guest.load_driver(device)
        self.now_s = 0.0

    def settle(self) -> float | None:
        """Let driver and device go on until neither can; return when the driver wants to, if it sleeps for a time."""
        wake_at_s = self.guest.kernel.run(self.now_s)
        while self.device.serve():
            wake_at_s = self.guest.kernel.run(self.now_s)
        return wake_at_s

    def run_for(self, duration_s: float) -> None:
        """Let virtual time pass."""
        end_s = self.now_s + duration_s
        while (wake_at_s := self.settle()) is not None and wake_at_s <= end_s:
            self.now_s = wake_at_s
        self.now_s = end_s
        self.settle()

    def resize(self, num_pages: int) -> None:
        """Want another size, and let the driver follow."""
        self.device.set_target(num_pages)
        self.settle()

    def start(self, thread: Generator[WaitQueue | float, None, Any]) -> list[Any]:
        """Start a thread and let it run; what it returns will stand in the list."""
        returned: list[Any] = []

        def run() -> Thread:
            returned.append((yield from thread))

        self.guest.kernel.spawn(run())
        self.settle()
        return returned

    def seen(self, what: str) -> list[Any]:
        """Return what the device saw of one kind."""
        return self.device.seen(what)


@contextmanager
def bench(frames: int = 2048, *, offered: int = OFFERED, num_pages: int = 0, **guest: Any) -> Iterator[Bench]:
    """Boot a guest, load its driver, and let it come to rest."""
    booted = Guest(frames * FRAME_BYTES, "test", **guest)
    device = FakeDevice(booted, offered, num_pages)
    try:
        made = Bench(booted, device)
        made.settle()
        yield made
    finally:
        device.close()
        booted.close()


def spare_frames(frames: int) -> int:
    """Return how many pages a guest of so many frames, below 3200, has for a balloon: its lowest watermark is left."""
    managed = frames - FIRST_FREE_PFN
    return managed - managed // 20

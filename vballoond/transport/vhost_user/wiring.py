"""What follows a session: descriptors, kicks, memory and rings of one connection.

Rules of this file:

* A change is prepared first: all that can fail (mappings, ring views) is done, and the holder has what is new. Then the
  rings that change stop, memory and descriptors are swapped, those that run start, and it is written down. A change
  that is refused has changed nothing.
* What was written down is wired the same way by a process that comes after (``resume``).
"""

import functools
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from protocol.balloon.queues import QueueRole
from protocol.virtio import RingFeature

from ...balloon.device import DeviceState
from ...balloon.frame_map import FrameMap
from ...errors import FrontEndError, StateError
from ...memory.guest_memory import GuestMemory
from ...service.balloon_service import BalloonService
from ...service.queue import Start
from ...state.frames_file import make_frames_file, open_frames_file, written_in
from ...state.live_words import LiveRing
from ..doorbell import Kicks, check_doorbell, ring, send
from .changes import Change
from .descriptors import Descriptors, close_all, close_quietly
from .keeping import Keeping
from .kept import KeptConnection
from .memory import map_memory, unmap
from .rings import disturbed, ring_of, start_of
from .session import Session, call_name, error_name, is_memory_name, kick_name, memory_name

FRAMES: Final = "frames"


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What a new session needs: all that can fail has been done, and nothing has changed yet."""

    memory: GuestMemory
    stop: frozenset[int]
    start: dict[int, QueueRole]
    store: Mapping[str, int]
    names: Mapping[str, str] = field(default_factory=dict)


class Wiring:
    """The world of one connection.

    Args:
        service: The balloon that is served.
        keeping: What outlives this process.
    """

    def __init__(self, service: BalloonService, keeping: Keeping) -> None:
        self.session = Session()
        self._renewed_driver = False
        self._handled = 0
        self._following = False
        self._names: Mapping[str, str] = {}
        self._service: Final = service
        self._keeping: Final = keeping
        self._descriptors: Final = Descriptors()
        self._kicks: Final = Kicks(service.kick)
        self._log: Final = structlog.get_logger().bind(balloon=service.settings.name)

    @property
    def fds(self) -> frozenset[int]:
        """All descriptors that belong to the connection."""
        return frozenset(self._descriptors.named.values())

    async def apply(self, change: Change, checksum: int) -> None:
        """Let the world follow ``change``, which the message of this ``checksum`` asked for.

        Raises:
            FrontEndError: It cannot be followed; nothing has happened.
        """
        if change.session is self.session and not change.store and not change.drop:
            return  # most messages: a guest writes `actual` and reads `num_pages` for every 256 frames
        preparation = self._prepare(change)
        try:
            names = await self._keeping.store(preparation.store, self._descriptors.named)
        except BaseException:
            self._undo(preparation, change)
            raise
        self._handled = checksum
        self._follow(change, replace(preparation, names=names))
        self.write()

    def resume(self, kept: KeptConnection, fds: Mapping[str, int]) -> None:
        """Wire what an earlier process wrote down, with the descriptors ``fds`` that it names.

        Where the frame map cannot be used, the balloon goes on with none held; where a ring cannot run, broken.

        Raises:
            StateError: The memory or the device cannot be as it was; nothing has happened. ``fds`` stay the caller's.
        """
        memory = self._remembered_memory(kept, fds)
        frames_fd: dict[str, int] = {}
        try:
            frames_fd, frame_map = self._remembered_frames(memory, fds)
            live = self._keeping.file.live
            state = DeviceState(live.config, hinting=kept.hinting)
            self._service.restore(memory, frame_map, state, live.reclaimed_bytes, started=kept.started)
        except BaseException:
            unmap(memory.regions, keep=self._service.memory)
            close_all(frames_fd.values())
            raise
        self.session, self._handled = kept.session, kept.handled
        # A new frame map is none of the holder's yet: see keep_new.
        self._names = {name: stored for name, stored in kept.names.items() if name not in frames_fd}
        self._descriptors.store(fds)
        self._descriptors.store(frames_fd)  # closes the file whose place it takes
        self._following = True
        try:
            self._resume_rings(kept)
        finally:
            self._following = False

    async def keep_new(self) -> None:
        """Return once the holder has what :meth:`resume` had to make anew, and the state names it."""
        new = {name: fd for name, fd in self._descriptors.named.items() if name not in self._names}
        if new:
            self._names = {**self._names, **await self._keeping.store(new, self._descriptors.named)}
            self.write()

    def _remembered_memory(self, kept: KeptConnection, fds: Mapping[str, int]) -> GuestMemory:
        try:
            return self._mapped(kept.session, fds, ())
        except (FrontEndError, KeyError) as error:
            raise StateError(f"memory as it was kept: {error}") from error

    def _remembered_frames(self, memory: GuestMemory, fds: Mapping[str, int]) -> tuple[dict[str, int], FrameMap]:
        """Return the map of held frames, with a new file where the old one cannot be used."""
        space = memory.frame_space
        if FRAMES not in fds:
            return {}, FrameMap(space)
        try:
            held = open_frames_file(fds[FRAMES], space)
            return {}, FrameMap(space, held, written_in(fds[FRAMES]))
        except (StateError, ValueError) as error:
            self._log.error("frame map set aside: no frame is known to be held", reason=str(error))
        fd = make_frames_file(space)
        return {FRAMES: fd}, FrameMap(space, open_frames_file(fd, space), written=())

    def _resume_rings(self, kept: KeptConnection) -> None:
        """Start the rings that ran. Whatever their drivers were to be told is said again: twice does no harm."""
        for index, role in kept.session.running().items():
            # One that had not started yet stands where the front-end said.
            if self.session.features & RingFeature.RING_PACKED and not self.session.vrings[index].renewed:
                self.session = self.session.with_vring(index, state=self._live(index).state)
            try:
                self._start_ring(index, role)
            except (FrontEndError, KeyError, OSError) as error:
                self._kicks.forget(index)
                self._service.break_off(f"ring {index} as it was kept: {error}")
            self.notify(call_name(index))
        if kept.broken_reason is not None:
            self._service.broken_reason = kept.broken_reason

    def write(self) -> None:
        """Write down what there is now, for a process after this one; half-way through a change, when that is done."""
        if self._following:
            return
        try:
            self._keeping.write(self.kept())
        except StateError as error:
            self._log.error("state not kept", reason=str(error))

    def kept(self) -> KeptConnection:
        """Return all that there is to say of the connection now; it may run on meanwhile."""
        return KeptConnection(
            self.session,
            self._names,
            self._service.settings.model_dump(mode="json", exclude_unset=True),
            self._service.device.state.hinting,
            self._service.started,
            self._service.broken_reason,
            self._handled,
            self._service.retired,
        )

    def take_renewed_driver(self) -> bool:
        """Say, once, that a driver went on from where another connection left it."""
        renewed, self._renewed_driver = self._renewed_driver, False
        return renewed

    def notify(self, name: str) -> None:
        """Ring a doorbell, if there is one of this name."""
        fd = self._descriptors.get(name)
        if fd is not None:
            ring(fd)

    def signal_errors(self) -> None:
        """Tell the front-end that the rings serve no more, where it has given descriptors for that."""
        for index in self.session.running():
            self.notify(error_name(index))

    def send(self, name: str, data: bytes) -> bool:
        """Send ``data`` whole by the channel of this name; say whether there is one.

        Raises:
            OSError: There is no room, or nobody to read it.
        """
        fd = self._descriptors.get(name)
        if fd is None:
            return False
        if send(fd, data) != len(data):
            raise OSError("there was room for a part only")
        return True

    def close(self) -> None:
        """Let go of everything, and of the balloon."""
        self._kicks.close()
        memory = self._service.memory
        self._service.disconnect()
        unmap(memory.regions, keep=self._service.memory)
        self._descriptors.close()

    # Preparing.

    def _prepare(self, change: Change) -> _Preparation:
        for name, fd in change.store.items():
            if not is_memory_name(name):
                check_doorbell(fd)
        present = self._service.memory
        memory = self._memory_of(change)
        running, wanted = self.session.running(), change.session.running()
        stop = frozenset(running) if memory is not present else disturbed(running, wanted)
        store = dict(change.store)
        try:
            start = {index: role for index, role in wanted.items() if index in stop or index not in running}
            for index in start:
                ring_of(change.session, index, memory).close()
            if memory.frame_space != present.frame_space:
                store[FRAMES] = make_frames_file(memory.frame_space)
        except BaseException:
            unmap(memory.regions, keep=present)
            raise
        return _Preparation(memory, stop, start, store)

    def _memory_of(self, change: Change) -> GuestMemory:
        replaced = {memory_name(place) for place in change.session.regions} & change.store.keys()
        if not replaced and change.session.regions == self.session.regions:
            return self._service.memory
        return self._mapped(change.session, {**self._descriptors.named, **change.store}, change.store.keys())

    def _mapped(self, session: Session, fds: Mapping[str, int], replaced: Collection[str]) -> GuestMemory:
        sealed = self._service.settings.require_sealed_memory
        return map_memory(session, self._service.memory, fds, replaced, require_sealed=sealed)

    def _undo(self, preparation: _Preparation, change: Change) -> None:
        unmap(preparation.memory.regions, keep=self._service.memory)
        for name in preparation.store.keys() - change.store.keys():
            close_quietly(preparation.store[name])

    # Following.

    def _follow(self, change: Change, preparation: _Preparation) -> None:
        self._following = True
        try:
            self.session = self._stop_rings(preparation.stop, change.session)
            self._swap_memory(preparation)
            self._adopt_descriptors(change, preparation)
            for index, role in preparation.start.items():
                self._start_ring(index, role)
        finally:
            self._following = False

    def _stop_rings(self, indices: frozenset[int], session: Session) -> Session:
        """Stop rings; return ``session`` with the states in which they stopped, where it has none of its own."""
        for index in indices.intersection(self._service.running_queues):  # one that could not go on does not run
            self._kicks.forget(index)
            state = self._service.stop_queue(index)
            if not session.vrings[index].renewed:
                session = session.with_vring(index, state=state)
        return session

    def _swap_memory(self, preparation: _Preparation) -> None:
        before = self._service.memory
        if preparation.memory is before:
            return
        frames = preparation.store.get(FRAMES)
        held = None if frames is None else open_frames_file(frames, preparation.memory.frame_space)
        self._service.set_memory(preparation.memory, held)
        unmap(before.regions, keep=preparation.memory)

    def _adopt_descriptors(self, change: Change, preparation: _Preparation) -> None:
        kicks = {index: kick_name(index) for index in self._service.running_queues}
        changed = {index for index, name in kicks.items() if name in change.store or name in change.drop}
        for index in changed:
            self._kicks.forget(index)
        self._descriptors.drop(change.drop)
        self._descriptors.store(preparation.store)
        known = {**self._keeping.names, **preparation.names}
        self._names = {name: stored for name, stored in known.items() if name in self._descriptors.named}
        for index in changed:
            self._listen(index)
            self._service.kick(index)

    def _start_ring(self, index: int, role: QueueRole) -> None:
        self._listen(index)
        start = start_of(self.session, index)
        if start is Start.RENEWED and not self._service.started:
            self._renewed_driver = True
        live = self._live(index)
        opened = ring_of(self.session, index, self._service.memory, live)
        live.published(opened.state.base)
        self.session = self.session.with_vring(index, renewed=False, state=opened.state)
        notify = functools.partial(self.notify, call_name(index))
        self._service.start_queue(index, role, opened, notify, features=self.session.features, start=start)

    def _live(self, index: int) -> LiveRing:
        return self._keeping.file.live.ring(index)

    def _listen(self, index: int) -> None:
        self._kicks.listen(index, self._descriptors[kick_name(index)])

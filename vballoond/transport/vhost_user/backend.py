"""One vhost-user connection, served: the world follows the session, message by message.

Rules of this file:

* For each message: look at it, work out the new session (``changes``), prepare all that can fail (mappings, ring
  views), then stop the rings that change, swap, start those that run; consume the message; answer it. A message that
  is refused has changed nothing.
* A config change is announced only while the device runs, from the last ring's start to the first one's stop: QEMU 10
  and 11 dereference a null pointer when it comes before or after. It is kept until then.
* A driver whose ring goes on from where another connection left it read its target there: it is told of a change, since
  nobody could be told while there was no connection (cloud-hypervisor connects again).
* A front-end that never pauses is served a message at a time, like everybody else.
* The connection is never closed for what a front-end asks, since QEMU can abort when it is. It ends when the front-end
  closes it, or when its stream has lost its place.
"""

import functools
import socket
from dataclasses import dataclass
from typing import Final

import structlog

from protocol.balloon.queues import QueueRole
from protocol.layout import LayoutError
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.header import MESSAGE_HEADER, VERSION, MessageHeader
from protocol.vhost_user.requests import BackendRequest

from ...errors import FrontEndError
from ...memory.guest_memory import GuestMemory
from ...service.balloon_service import BalloonService
from ...service.queue import Start
from ..doorbell import Kicks, check_doorbell, ring, send
from ..features import offered_features
from .changes import Change, Offer, change_of
from .channel import Channel, Message
from .descriptors import Descriptors, close_all
from .memory import map_memory, unmap
from .replies import reply_to
from .rings import disturbed, ring_of, start_of
from .session import BACKEND_CHANNEL, Session, call_name, error_name, is_memory_name, kick_name, memory_name

PROTOCOL_FEATURES: Final = (
    ProtocolFeature.MQ
    | ProtocolFeature.REPLY_ACK
    | ProtocolFeature.BACKEND_REQ
    | ProtocolFeature.CONFIG
    | ProtocolFeature.CONFIGURE_MEM_SLOTS
)
"""STATUS is not offered: QEMU's generic device never sets DRIVER_OK. INBAND_NOTIFICATIONS is not: Linux delays a config
change that comes in one batch with an in-band call. LOG_SHMFD would need atomic stores that Python has not."""


_CONFIG_CHANGE: Final = MESSAGE_HEADER.pack(MessageHeader(BackendRequest.CONFIG_CHANGE_MSG, VERSION, 0))


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What a new session needs: all that can fail has been done, and nothing has changed yet."""

    memory: GuestMemory
    stop: frozenset[int]
    start: dict[int, QueueRole]


class Backend:
    """The device's end of one connection.

    Args:
        service: The balloon that is served.
        connection: A connected socket, which belongs to the back-end from now on.
    """

    def __init__(self, service: BalloonService, connection: socket.socket) -> None:
        self.session = Session()
        self._service: Final = service
        self._channel: Final = Channel(connection)
        self._descriptors: Final = Descriptors()
        self._kicks: Final = Kicks(service.kick)
        self._config_change_due = False
        self._log: Final = structlog.get_logger().bind(balloon=service.settings.name)
        self._offer: Final = Offer(offered_features(service.settings) | F_PROTOCOL_FEATURES, PROTOCOL_FEATURES)

    async def run(self) -> None:
        """Serve the connection until it ends; then nothing of it is left."""
        reason = "the daemon ends"
        try:
            self._service.connect(self)
            self._log.info("front-end connected")
            while (message := await self._channel.peek()) is not None:
                await self._serve(message)
            reason = "it closed the connection"
        except (FrontEndError, OSError) as error:
            reason = str(error)
        finally:
            await self._leave()
            self._log.info("front-end gone", reason=reason)

    def hung_up(self) -> bool:
        """Say whether the front-end has closed its end."""
        return self._channel.hung_up()

    def config_changed(self) -> None:
        """Announce a config change, now or when a ring runs."""
        self._config_change_due = True
        self._announce()

    def broken(self) -> None:
        """Signal the error descriptors of the rings that have one; the specification has no more to say it with."""
        for index in self.session.running():
            self._notify(error_name(index))

    async def _serve(self, message: Message) -> None:
        try:
            async with self._service.lock:
                reply = self._handle(message)
        finally:
            # What was not adopted is nobody's.
            close_all(set(message.fds).difference(self._descriptors.named.values()))
        await self._channel.consume(message)
        if reply is not None:
            await self._channel.reply(message.header.request, reply)
        self._announce()

    def _handle(self, message: Message) -> bytes | None:
        """Do what ``message`` asks; return what it is answered."""
        refused = True
        try:
            self._apply(change_of(self.session, message, self._offer))
            refused = False
        except (FrontEndError, LayoutError) as error:
            self._log.warning("message refused", request=message.header.request, reason=str(error))
        except Exception:  # noqa: BLE001 (logged)
            # A defect of ours. Closing the connection for it could cost the guest its VM.
            self._log.exception("message failed", request=message.header.request)
        return reply_to(message, self.session, self._offer, self._service.read_config, refused=refused)

    def _apply(self, change: Change) -> None:
        """Let the world follow ``change``. On an error nothing has happened."""
        if change.config_write is not None:
            self._service.write_config(*change.config_write)
        if change.session is self.session and not change.store and not change.drop:
            return  # most messages: a guest writes `actual` and reads `num_pages` for every 256 frames
        preparation = self._prepare(change)
        self.session = self._stop_rings(preparation.stop, change.session)
        self._swap_memory(preparation.memory)
        self._adopt_descriptors(change)
        for index, role in preparation.start.items():
            self._start_ring(index, role)

    def _prepare(self, change: Change) -> _Preparation:
        for name, fd in change.store.items():
            if not is_memory_name(name):
                check_doorbell(fd)
        present = self._service.memory
        memory = present
        if {memory_name(place) for place in change.session.regions} & change.store.keys() or (
            change.session.regions != self.session.regions
        ):
            memory = map_memory(
                change.session, present, {**self._descriptors.named, **change.store}, change.store.keys()
            )
        running, wanted = self.session.running(), change.session.running()
        stop = frozenset(running) if memory is not present else disturbed(running, wanted)
        try:
            start = {index: role for index, role in wanted.items() if index in stop or index not in running}
            for index in start:
                ring_of(change.session, index, memory).close()
        except FrontEndError:
            unmap(memory.regions, keep=present)
            raise
        return _Preparation(memory, stop, start)

    def _stop_rings(self, indices: frozenset[int], session: Session) -> Session:
        """Stop rings; return ``session`` with the positions at which they stopped, where it has none of its own."""
        for index in indices:
            self._kicks.forget(index)
            position = self._service.stop_queue(index)
            if not session.vrings[index].renewed:
                session = session.with_vring(index, base=position)
        return session

    def _swap_memory(self, memory: GuestMemory) -> None:
        before = self._service.memory
        if memory is not before:
            self._service.set_memory(memory)
            unmap(before.regions, keep=memory)

    def _adopt_descriptors(self, change: Change) -> None:
        kicks = {index: kick_name(index) for index in self._service.running_queues}
        changed = {index for index, name in kicks.items() if name in change.store or name in change.drop}
        for index in changed:
            self._kicks.forget(index)
        self._descriptors.drop(change.drop)
        self._descriptors.store(change.store)
        for index in changed:
            self._listen(index)
            self._service.kick(index)

    def _start_ring(self, index: int, role: QueueRole) -> None:
        self._listen(index)
        start = start_of(self.session, index)
        if start is Start.RENEWED and not self._service.started:
            self._config_change_due = True
        self._service.start_queue(
            index,
            role,
            ring_of(self.session, index, self._service.memory),
            functools.partial(self._notify, call_name(index)),
            features=self.session.features,
            start=start,
        )
        self.session = self.session.with_vring(index, renewed=False)

    def _listen(self, index: int) -> None:
        self._kicks.listen(index, self._descriptors[kick_name(index)])

    def _notify(self, name: str) -> None:
        fd = self._descriptors.get(name)
        if fd is not None:
            ring(fd)

    def _announce(self) -> None:
        if not self._config_change_due or not self.session.may_be_told():
            return
        fd = self._descriptors.get(BACKEND_CHANNEL)
        if fd is None:
            return
        try:
            self._config_change_due = send(fd, _CONFIG_CHANGE) != len(_CONFIG_CHANGE)
        except OSError as error:
            # The channel is full or gone. A front-end that still reads is told after its next message.
            self._log.warning("config change not announced", reason=error.strerror)

    async def _leave(self) -> None:
        async with self._service.lock:
            self._kicks.close()
            memory = self._service.memory
            self._service.disconnect()
            unmap(memory.regions, keep=self._service.memory)
            self._descriptors.close()
            self._channel.close()

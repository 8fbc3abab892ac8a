"""One vhost-user connection, served: message by message.

Rules of this file:

* For each message: look at it, work out the new session (``changes``), have the world follow it (``wiring``), answer
  it, and only then it is gone. A message that is refused has changed nothing. A process that dies anywhere in between
  leaves the message, its answer, or the next one to its successor, which goes on from there (``channel``).
* A config change is announced only while the device runs, from the last ring's start to the first one's stop: QEMU 10
  and 11 dereference a null pointer when it comes before or after. It is kept until then.
* A driver whose ring goes on from where another connection left it read its target there: it is told of a change, since
  nobody could be told while there was no connection (cloud-hypervisor connects again).
* A front-end that never pauses is served a message at a time, like everybody else.
* The connection is never closed for what a front-end asks, since QEMU can abort when it is. It ends when the front-end
  closes it, or when its stream has lost its place.
"""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from protocol.layout import LayoutError
from protocol.vhost_user.features import F_PROTOCOL_FEATURES, ProtocolFeature
from protocol.vhost_user.header import MESSAGE_HEADER, VERSION, MessageHeader
from protocol.vhost_user.requests import BackendRequest, Request

from ...balloon.device import DeviceState
from ...balloon.hinting import HintingStage
from ...errors import FrontEndError, StateError
from ...holder.holder import Holder
from ...holder.no_holder import NoHolder
from ...service.balloon_service import BalloonService
from ...state.guest_file import GuestFile, make_guest_file
from ..features import offered_features
from .changes import Offer, change_of
from .channel import Channel, Message, open_staging
from .descriptors import close_all, close_quietly
from .keeping import CONNECTION, REPLY, STATE, Keeping
from .kept import KeptConnection
from .replies import reply_to
from .session import BACKEND_CHANNEL, Session
from .wiring import Wiring

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


_REPEATABLE: Final = frozenset({Request.ADD_MEM_REG, Request.REM_MEM_REG})
"""What an earlier process may have done, and cannot be done twice. All else comes to the same the second time."""


@dataclass(frozen=True, slots=True)
class Fixtures:
    """What a connection has from its beginning to its end. All three descriptors belong to its back-end."""

    connection: int
    state: int
    reply: int

    @classmethod
    def make(cls, connection: int) -> "Fixtures":
        """Return those of a new connection."""
        state = make_guest_file()
        try:
            return cls(connection, state, open_staging())
        except OSError:
            os.close(state)
            raise

    def named(self) -> dict[str, int]:
        """Return them by what they are called."""
        return {CONNECTION: self.connection, STATE: self.state, REPLY: self.reply}


class Backend:
    """The device's end of one connection.

    Args:
        service: The balloon that is served.
        fixtures: The connection, and what is there to keep it.
        holder: Has the descriptors.
        prefix: With which their names there begin.
        inherited: What an earlier process left of the connection besides ``fixtures``, by the holder's names; None
            where it is a new one. The descriptors belong to the back-end from now on.
    """

    def __init__(
        self,
        service: BalloonService,
        fixtures: Fixtures,
        holder: Holder | NoHolder,
        prefix: str,
        inherited: Mapping[str, int] | None = None,
    ) -> None:
        self._service: Final = service
        self._fixtures: Final = fixtures
        self._holder: Final = holder
        self._prefix: Final = prefix
        self._inherited: Final = inherited
        self._file: Final = GuestFile(fixtures.state)
        self._channel: Final = Channel(socket.socket(fileno=fixtures.connection), fixtures.reply, self._file.live)
        self._keeping: Final = Keeping(holder, prefix, self._file, inherited or ())
        self._wiring: Final = Wiring(service, self._keeping)
        self._kept_round = (HintingStage.STOPPED, 0)
        self._config_change_due = False
        self._begun = False
        self._perhaps_done = 0
        self._log: Final = structlog.get_logger().bind(balloon=service.settings.name)
        self._offer: Final = Offer(offered_features(service.settings) | F_PROTOCOL_FEATURES, PROTOCOL_FEATURES)

    async def run(self) -> None:
        """Serve the connection until it ends; then nothing of it is left."""
        reason = "the daemon ends"
        began_s = self._service.clock.monotonic_s()
        try:
            await self._begin()
            while (message := await self._channel.peek()) is not None:
                await self._serve(message)
            reason = "it closed the connection"
        except (FrontEndError, OSError) as error:
            reason = str(error)
        finally:
            await self._leave()
            duration_s = round(self._service.clock.monotonic_s() - began_s, 6)
            self._log.info("front-end gone", reason=reason, duration_s=duration_s)

    @property
    def session(self) -> Session:
        """What was agreed on so far."""
        return self._wiring.session

    def hung_up(self) -> bool:
        """Say whether the front-end has closed its end."""
        return self._channel.hung_up()

    def write(self) -> None:
        """Write down anew what there is to say of the connection, if it has begun: something of its balloon changed."""
        if self._begun:
            self._wiring.write()

    # What the balloon calls.

    def config_changed(self) -> None:
        """Announce a config change, now or when a ring runs."""
        self._config_change_due = True
        self._announce()

    def broken(self) -> None:
        """Signal the error descriptors of the rings that have one; the specification has no more to say it with."""
        self._wiring.write()
        self._wiring.signal_errors()

    def keep(self, state: DeviceState, reclaimed_bytes: int) -> None:
        """Write down what the device knows from now on."""
        live = self._file.live
        if live.config != state.config:
            live.config = state.config
        live.reclaimed_bytes = reclaimed_bytes
        if self._kept_round != (state.hinting.stage, state.hinting.command_id):
            self._kept_round = (state.hinting.stage, state.hinting.command_id)
            self._wiring.write()

    # Serving.

    async def _begin(self) -> None:
        if self._inherited is None:
            self._service.connect(self)
            self.keep(self._service.device.state, self._service.releasing.reclaimed_bytes)
            self._wiring.write()
        else:
            # What was left is taken up before anything else can be written down in its place.
            async with self._service.lock:
                self._go_on(self._inherited)
                await self._wiring.keep_new()
        self._begun = True
        if self._service.retired:
            self._service.retire()  # whatever its target was when it was left
        # Those that the holder has already, it does not take again.
        await self._holder.store({f"{self._prefix}{name}": fd for name, fd in self._fixtures.named().items()})
        if self._inherited is None:
            self._log.info("front-end connected")
            return
        self._config_change_due = True
        await self._channel.settle()
        self._announce()

    def _go_on(self, inherited: Mapping[str, int]) -> None:
        """Take up what an earlier process left; what of it cannot be used is set aside, and said."""
        named: dict[str, int] = {}
        self._service.connect(self)
        try:
            kept = KeptConnection.from_json(self._file.read())
            named = _dealt_out(kept.names, inherited)
            self._wiring.resume(kept, named)
            self._perhaps_done = kept.handled
            self._log.info("front-end taken over", state=self._service.state_name)
        except StateError as error:
            close_all(named.values())
            self._log.error("kept state set aside", reason=str(error))
            # Whoever asks for an acknowledgement has negotiated that there is one, and may wait for it with its VM.
            self._wiring.session = Session(protocol_features=PROTOCOL_FEATURES)
            self._service.break_off(f"its state was lost when the daemon was started again: {error}")
        finally:
            close_all(inherited.values())
        self._wiring.write()
        self._holder.remove(inherited.keys() - set(self._wiring.kept().names.values()))

    async def _serve(self, message: Message) -> None:
        try:
            async with self._service.lock:
                reply = await self._handle(message)
        finally:
            # What was not adopted is nobody's.
            close_all(set(message.fds) - self._wiring.fds)
        await self._channel.answer(message, reply)
        self._perhaps_done = 0
        self._announce()

    async def _handle(self, message: Message) -> bytes | None:
        """Do what ``message`` asks; return what it is answered."""
        refused = True
        try:
            change = change_of(self._wiring.session, message, self._offer)
            if change.config_write is not None:
                self._service.write_config(*change.config_write)
            await self._wiring.apply(change, message.checksum)
            refused = False
        except (FrontEndError, LayoutError) as error:
            refused = not self._was_done(message)
            if refused:
                self._log.warning("message refused", request=message.header.request, reason=str(error))
        except Exception:  # noqa: BLE001 (logged)
            # A defect of ours. Closing the connection for it could cost the guest its VM.
            self._log.exception("message failed", request=message.header.request)
        return reply_to(message, self._wiring.session, self._offer, self._service.read_config, refused=refused)

    def _was_done(self, message: Message) -> bool:
        """Say whether an earlier process has done what cannot be done now, because it is done."""
        return message.header.request in _REPEATABLE and message.checksum == self._perhaps_done

    def _announce(self) -> None:
        if self._wiring.take_renewed_driver():
            self._config_change_due = True
        if not self._config_change_due or not self._wiring.session.may_be_told():
            return
        try:
            self._config_change_due = not self._wiring.send(BACKEND_CHANNEL, _CONFIG_CHANGE)
        except OSError as error:
            # The channel is full or gone. A front-end that still reads is told after its next message.
            self._log.warning("config change not announced", reason=error.strerror or str(error))

    async def _leave(self) -> None:
        async with self._service.lock:
            self._begun = False
            self._wiring.close()
            self._keeping.end()
            self._channel.close()
            self._file.close()
            close_quietly(self._fixtures.state)
            close_quietly(self._fixtures.reply)


def _dealt_out(names: Mapping[str, str], inherited: Mapping[str, int]) -> dict[str, int]:
    """Return a descriptor of its own for each name: several may stand for one that the holder has.

    Raises:
        StateError: One is not there. None is open then.
    """
    named: dict[str, int] = {}
    for name, stored in names.items():
        if stored not in inherited:
            close_all(named.values())
            raise StateError(f"the descriptor {name!r} was not kept")
        try:
            named[name] = os.dup(inherited[stored])
        except OSError as error:
            close_all(named.values())
            raise StateError(f"the descriptor {name!r} cannot be had: {error.strerror}") from error
    return named

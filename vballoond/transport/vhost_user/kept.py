"""What of a connection is written down for the process after this one, as plain JSON data and back.

Rules of this file:

* What comes back is looked at as if a stranger had written it: types and ranges here, and then every rule that holds
  for a front-end's own messages, when memory is mapped and rings are opened from it.
"""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from protocol.balloon.queues import MAX_QUEUES

from ...balloon.hinting import Hinting
from ...errors import FrontEndError, StateError
from .changes import MAX_MEMORY_SLOTS
from .session import Session


@dataclass(frozen=True, slots=True)
class KeptConnection:
    """One connection, save its descriptors and what changes with every request (``state.live_words``).

    Attributes:
        session: What was agreed on.
        names: By which name the holder has the descriptor of each name.
        settings: Those of the balloon as a configuration has them, for where it is there no longer.
        hinting: The newest round.
        started: Whether any queue has run since it connected.
        broken_reason: Why the balloon is broken, if it is.
        handled: The checksum of the last message that changed the session.
        retired: Whether it is only seen off: another connection may be the balloon's.
    """

    session: Session = field(default_factory=Session)
    names: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    hinting: Hinting = field(default_factory=Hinting)
    started: bool = False
    broken_reason: str | None = None
    handled: int = 0
    retired: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return dict(_ADAPTER.dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "KeptConnection":
        """Read it back.

        Raises:
            StateError: It is not what :meth:`to_json` makes.
        """
        try:
            kept = _ADAPTER.validate_python(content)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))[:_WHERE_CHARACTERS]
            raise StateError(f"kept state that is none: {where}: {first['msg']}") from error
        except FrontEndError as error:
            raise StateError(f"kept state that is none: {error}") from error
        _check(kept)
        return kept


_ADAPTER: Final = TypeAdapter(KeptConnection)
_WHERE_CHARACTERS: Final = 200
_MAX_NAMES: Final = MAX_MEMORY_SLOTS + 3 * MAX_QUEUES + 2
"""Memory, three doorbells for each ring, the channel of the back-end, the frame map."""


def _check(kept: KeptConnection) -> None:
    """Raise a StateError where there is more than there can be, or a number that no message can have brought."""
    session = kept.session
    if len(session.vrings) != MAX_QUEUES:
        raise StateError(f"kept state of {len(session.vrings)} rings, where a balloon has {MAX_QUEUES}")
    if len(session.regions) > MAX_MEMORY_SLOTS:
        raise StateError(f"kept state of {len(session.regions)} memory regions")
    if len(kept.names) > _MAX_NAMES:
        raise StateError(f"kept state of {len(kept.names)} descriptors")
    _check_bits(64, features=session.features, protocol_features=session.protocol_features)
    _check_bits(32, handled=kept.handled)
    for place in session.regions:
        _check_bits(64, guest_address=place.guest_address, size_bytes=place.size_bytes)
        _check_bits(64, user_address=place.user_address, file_offset=place.file_offset)
    for vring in session.vrings:
        state, address = vring.state, vring.address
        _check_bits(32, size=vring.size, base=state.base, publishing=state.publishing)
        _check_bits(16, used_idx=state.used_idx or 0)
        if address is not None:
            _check_bits(64, **address._asdict())


def _check_bits(bits: int, **numbers: int) -> None:
    for name, number in numbers.items():
        if not 0 <= number < 1 << bits:
            raise StateError(f"kept state with {name} {reprlib.repr(number)}, which has {bits} bits")

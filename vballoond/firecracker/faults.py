"""How Firecracker says what is wrong: one sentence, and status 400 whatever it is.

The sentences are a part of the interface: clients look for them. Where Firecracker has none, ours are as short.
"""

from typing import Final

from ..errors import OperatorError

BEFORE_START: Final = "The requested operation is not supported before starting the microVM."
AFTER_START: Final = "The requested operation is not supported after starting the microVM."


class FaultError(OperatorError):
    """A request that is answered with ``{"fault_message": ...}``."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message, status=status, code="fault")


def refused_set_up(message: str) -> FaultError:
    """Return what is said of a configuration that cannot be had."""
    return FaultError(f"Balloon config error: {message}")


def refused_update(message: str) -> FaultError:
    """Return what is said of a running balloon that will not change so."""
    return FaultError(f"Balloon update error: Balloon: {message}")


def refused_look(message: str) -> FaultError:
    """Return what is said of something that a running balloon cannot show."""
    return FaultError(f"Internal VMM error: Balloon: {message}")

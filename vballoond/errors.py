"""The errors of the daemon, by whose fault they are.

    VballoondError
    ├── GuestError          the driver broke the specification: its balloon breaks, nothing else does
    ├── FrontEndError       a VM monitor asked for what cannot be done: the message is refused, the connection stays
    ├── StateError          what an earlier process kept cannot be used: it is set aside and reported
    ├── PolicyError         a script of a policy failed or asked for what means nothing: nothing changes, it is told
    └── OperatorError       the API or the configuration was used wrongly; carries what the answer needs
        └── StartError      the daemon cannot start; carries the exit status

An ``assert`` or any other exception is a defect of the daemon itself.
"""

from typing import Any


class VballoondError(Exception):
    """Base of all errors that the daemon raises on purpose."""


class GuestError(VballoondError):
    """The driver in a guest broke the specification; the message says which rule, with the numbers seen."""


class FrontEndError(VballoondError):
    """A front-end's message cannot be honoured; the message says why. Nothing of it has been applied."""


class StateError(VballoondError):
    """What an earlier process kept, or was to keep, cannot be used; the message says why."""


class PolicyError(VballoondError):
    """A policy's script cannot be loaded, raised, or returned what means nothing; the message is for its author."""


class OperatorError(VballoondError):
    """A request of the operator cannot be met.

    Args:
        detail: One sentence for people: what was wrong, where, and what would be right.
        status: The HTTP status that fits.
        code: A short, stable name of the problem, for scripts.
        extra: Further members of the problem report, such as ``limit_bytes``.
    """

    def __init__(self, detail: str, *, status: int = 400, code: str = "bad-request", **extra: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        self.code = code
        self.extra = extra


class StartError(OperatorError):
    """The daemon cannot start: ``exit_status`` 2 for its configuration, 1 for its surroundings."""

    def __init__(self, detail: str, *, exit_status: int) -> None:
        super().__init__(detail, status=500, code="cannot-start")
        self.exit_status = exit_status

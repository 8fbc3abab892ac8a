"""The daemon as a whole."""

from .base import Out


class Health(Out):
    """The daemon is alive: ``pid`` serves and may be killed, no guest notices while ``keeper_pid`` lives."""

    pid: int
    """The process that answers."""

    keeper_pid: int | None
    """The process that keeps the connections; null where a service manager does, or nobody."""


class Reloaded(Out):
    """What following the configuration came to, a line for each thing done or not to be had."""

    done: list[str]
    """A line for each thing."""


class Restarting(Out):
    """Another process takes over from this one, and has another ``pid``."""

    pid: int
    """The process that ends."""


class Readiness(Out):
    """Whether the daemon can do its work, and what is in the way."""

    ready: bool
    """Whether nothing is in the way."""

    problems: list[str]
    """A sentence for each thing that is; no guest is named."""

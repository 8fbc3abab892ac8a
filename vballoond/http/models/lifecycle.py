"""The daemon as a whole."""

from .base import Out


class Health(Out):
    """The daemon is alive: ``pid`` serves and may be killed, no guest notices while ``keeper_pid`` lives."""

    pid: int
    keeper_pid: int | None


class Reloaded(Out):
    """What following the configuration came to, a line for each thing done or not to be had."""

    done: list[str]


class Restarting(Out):
    """Another process takes over from this one, and has another ``pid``."""

    pid: int


class Readiness(Out):
    """Whether the daemon can do its work, and what is in the way."""

    ready: bool
    problems: list[str]

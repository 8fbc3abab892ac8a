"""What a configuration file may say. The same models check balloons that the API is given.

An unknown key is an error, so that a misspelt one does not silently mean its default.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from protocol.balloon.features import BalloonFeature

from .feature_names import FEATURE_NAMES
from .policy import PolicySettings
from .section import Section, Size

MIN_STATISTICS_INTERVAL_S: Final = 0.1
MAX_STATISTICS_INTERVAL_S: Final = 86400


def _socket_mode(value: Any) -> int:
    if isinstance(value, str) and value and all(digit in "01234567" for digit in value) and int(value, 8) <= 0o777:
        return int(value, 8)
    raise ValueError("a socket mode is a string of octal digits, such as '0660'")


def _interval(value: float) -> float:
    if value and not MIN_STATISTICS_INTERVAL_S <= value <= MAX_STATISTICS_INTERVAL_S:
        raise ValueError(f"an interval is 0 (off), or {MIN_STATISTICS_INTERVAL_S} to {MAX_STATISTICS_INTERVAL_S} s")
    return value


# Written out again, it is as a person would have written it, and so it is described.
SocketMode = Annotated[
    int,
    BeforeValidator(_socket_mode),
    PlainSerializer(lambda mode: f"{mode:04o}", when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^[0-7]{1,4}$", "examples": ["0660"]}),
]
FeatureName = Literal["must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting", "free-page-hint"]

MAX_INPROCESS_BYTES: Final = 1 << 40


class HttpSettings(Section):
    """``[http]``: where the API listens, and for whom."""

    listen: str = "127.0.0.1:8750"
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None
    read_token_file: Path | None = None
    socket_mode: SocketMode = 0o660
    socket_group: str | None = None
    socket_directory: Path | None = None
    max_inprocess_memory: Size = 4 << 30

    @model_validator(mode="after")
    def _of_use(self) -> Self:
        if self.read_token_file is not None and self.token_file is None:
            raise ValueError("'read_token_file' is for those who may only read: 'token_file' is missing")
        if self.model_fields_set & {"socket_mode", "socket_group"} and not self.listen.startswith("unix:"):
            raise ValueError("'socket_mode' and 'socket_group' are of a Unix socket: listen = \"unix:/path/api.sock\"")
        return self


class StateSettings(Section):
    """``[state]``: where what is set at run time outlives everything."""

    directory: Path | None = None


class LogSettings(Section):
    """``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class BalloonSettings(Section):
    """``[[balloon]]``: one guest and how it is reached. Sizes are in bytes."""

    model_config = ConfigDict(use_attribute_docstrings=True)  # the API's document shows them

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    """A lower-case letter or digit, then up to 63 of a-z 0-9 . _ -"""

    transport: Literal["in-process", "vhost-user"]
    """in-process: a modelled Linux guest inside the daemon. vhost-user: a virtual machine."""

    memory: Size | None = None
    """In-process: the guest's memory. vhost-user: the bound of a target until the guest tells its memory."""

    socket: Path | None = None
    """vhost-user: where the VM monitor connects."""

    socket_mode: SocketMode = Field(default=0o600, json_schema_extra={"default": "0600"})
    """Who may connect to it, in octal digits."""

    socket_group: str | None = None
    """Whose it is; null: the daemon's own group's."""

    firecracker_socket: Path | None = None
    """Where the balloon is found as Firecracker shows one; null: nowhere."""

    ring: Literal["split", "packed"] = "split"
    """packed offers the packed ring format as well."""

    features: tuple[FeatureName, ...] = ("must-tell-host", "stats", "page-poison")
    """What is offered to the driver."""

    stats_interval_s: Annotated[float, AfterValidator(_interval)] = 5
    """How often the guest is asked for statistics, in seconds; 0: never."""

    discard: bool = True
    """false: never give memory back (a device is passed through, memory is pinned)."""

    require_sealed_memory: bool = False
    """Refuse memory whose file can be truncated, which the daemon would die of."""

    min: Size = Field(default=0, json_schema_extra={"default": "0MiB"})
    """What policies leave the balloon at least."""

    max: Size | None = None
    """The largest target; null: the guest's memory."""

    shares: Annotated[int, Field(ge=0, le=50_000)] = 1000
    """What weight it has for policies that go by shares."""

    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    """Where memory is short, guests of a higher one come first."""

    workload: str | None = None
    """In-process: what its programs do."""

    interface: Literal["2012", "2022", "2026"] = "2022"
    """In-process: how its kernel keeps balloon pages, after the balloon compaction interface of that year."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.transport == "vhost-user" and self.socket is None:
            raise ValueError("transport 'vhost-user' needs 'socket', the path on which the VM monitor connects")
        if self.transport == "in-process" and self.socket is not None:
            raise ValueError("transport 'in-process' has no 'socket'")
        if self.transport == "in-process" and not _MIN_INPROCESS_BYTES <= (self.memory or 0) <= MAX_INPROCESS_BYTES:
            raise ValueError("transport 'in-process' needs 'memory', from 16MiB to 1TiB")
        if self.transport == "vhost-user" and self.model_fields_set & {"workload", "interface"}:
            raise ValueError("'workload' and 'interface' are of transport 'in-process': a VM runs what it runs")
        if self.max is not None and self.max < self.min:
            raise ValueError(f"'max' ({self.max} bytes) is below 'min' ({self.min} bytes)")
        return self

    @property
    def offered(self) -> BalloonFeature:
        """The balloon's own feature bits that are offered to the driver."""
        bits = BalloonFeature(0)
        for name in self.features:
            bits |= FEATURE_NAMES[name]
        return bits


_MIN_INPROCESS_BYTES: Final = 16 << 20


class Settings(Section):
    """A whole configuration file."""

    http: HttpSettings = HttpSettings()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()
    policy: PolicySettings = PolicySettings()
    balloon: tuple[BalloonSettings, ...] = ()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        refuse_repeated("balloons named", [balloon.name for balloon in self.balloon])
        return self


def refuse_repeated(what: str, values: list[str]) -> None:
    """Raise a ValueError that says which of ``values`` stand there twice."""
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"there are two {what} {', '.join(map(repr, repeated))}")


def embedded_default() -> Settings:
    """What runs without a file, the same as config/vballoond.toml: one modelled guest of 1 GiB named "demo"."""
    demo = BalloonSettings(name="demo", transport="in-process", memory="1GiB", workload="desktop")
    return Settings(balloon=(demo,))

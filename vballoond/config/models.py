"""What a configuration file may say. The same models check balloons that the API is given.

An unknown key is an error, so that a misspelt one does not silently mean its default.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator

from protocol.balloon.features import BalloonFeature

from ..sizes import parse_size

FEATURE_NAMES: Final = {
    "must-tell-host": BalloonFeature.MUST_TELL_HOST,
    "stats": BalloonFeature.STATS_VQ,
    "deflate-on-oom": BalloonFeature.DEFLATE_ON_OOM,
    "page-poison": BalloonFeature.PAGE_POISON,
    "page-reporting": BalloonFeature.PAGE_REPORTING,
    "free-page-hint": BalloonFeature.FREE_PAGE_HINT,
}
"""The features that can be offered, by their names in configuration and API."""


MIN_STATISTICS_INTERVAL_S: Final = 0.1
MAX_STATISTICS_INTERVAL_S: Final = 86400


def _size(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("a size is a string: a number with KiB, MiB, GiB or TiB, such as '512MiB'")  # noqa: TRY004 (pydantic reports ValueError)
    return parse_size(value)


def _socket_mode(value: Any) -> int:
    if isinstance(value, str) and value and all(digit in "01234567" for digit in value) and int(value, 8) <= 0o777:
        return int(value, 8)
    raise ValueError("a socket mode is a string of octal digits, such as '0660'")


def _interval(value: float) -> float:
    if value and not MIN_STATISTICS_INTERVAL_S <= value <= MAX_STATISTICS_INTERVAL_S:
        raise ValueError(f"an interval is 0 (off), or {MIN_STATISTICS_INTERVAL_S} to {MAX_STATISTICS_INTERVAL_S} s")
    return value


# Written out again, each is as a person would have written it.
Size = Annotated[int, BeforeValidator(_size), PlainSerializer(lambda size: f"{size / 1024}KiB", when_used="json")]
SocketMode = Annotated[
    int, BeforeValidator(_socket_mode), PlainSerializer(lambda mode: f"{mode:04o}", when_used="json")
]
FeatureName = Literal["must-tell-host", "stats", "deflate-on-oom", "page-poison", "page-reporting", "free-page-hint"]

MAX_INPROCESS_BYTES: Final = 1 << 40


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HttpSettings(_Section):
    """``[http]``: where the API listens, and for whom."""

    listen: str = "127.0.0.1:8750"
    hosts: tuple[str, ...] = ()
    token_file: Path | None = None


class StateSettings(_Section):
    """``[state]``: where what is set at run time outlives everything."""

    directory: Path | None = None


class LogSettings(_Section):
    """``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = "info"


class BalloonSettings(_Section):
    """``[[balloon]]``: one guest and how it is reached. Sizes are in bytes."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    transport: Literal["in-process", "vhost-user"]
    memory: Size | None = None
    socket: Path | None = None
    socket_mode: SocketMode = 0o600
    socket_group: str | None = None
    ring: Literal["split", "packed"] = "split"
    features: tuple[FeatureName, ...] = ("must-tell-host", "stats", "page-poison")
    stats_interval_s: Annotated[float, AfterValidator(_interval)] = 5
    discard: bool = True
    require_sealed_memory: bool = False
    min: Size = 0
    max: Size | None = None
    workload: str | None = None
    interface: Literal["2012", "2022", "2026"] = "2022"

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


class Settings(_Section):
    """A whole configuration file."""

    http: HttpSettings = HttpSettings()
    state: StateSettings = StateSettings()
    log: LogSettings = LogSettings()
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

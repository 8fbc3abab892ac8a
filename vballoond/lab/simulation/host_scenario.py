"""What a simulation tries, as a TOML file says it: a host, its guests, what they do, and what goes wrong.

Rules of this file:

* A scenario is whole in its file: loads stand in it or are shipped by name, so its text can be sent to another machine.
* An unknown key is an error that names the key and what would be right.
* Sizes of balloons are the guest's loss, as everywhere: ``max`` of a guest is what its balloon may take.
"""

import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from guest_driver.workload.scenario import Scenario as Workload
from guest_driver.workload.scenario import ScenarioError, load_scenario, scheduled, shipped_scenarios
from protocol.balloon.page_frames import FRAME_BYTES

from ...config.policy import GuardSettings, OwnSettings
from ...config.section import Size
from ...errors import OperatorError
from ...sizes import format_size
from .scenario_problem import Tables, problem

MAX_GUESTS: Final = 1000
MAX_GUEST_BYTES: Final = 64 << 30
"""Of all guests together: each frame costs 16 bytes of this machine's memory, so these take 256 MiB."""
MAX_DURATION_S: Final = 86_400.0

MAX_HOST_BYTES: Final = 1 << 50
"""No memory of this machine is used for it, but sums of it are kept as numbers of 64 bits."""
MAX_LOAD: Final = 100_000.0
"""Of each number of a load, in its own unit: more MiB than all guests may have, more seconds than there may be."""
MAX_LOAD_PER_S: Final = 10_000.0
"""Of each rate, and of jobs at a time: a run with more would hardly end."""
MIN_LOAD_EVERY_S: Final = 0.1

Seconds = Annotated[float, Field(ge=0, le=MAX_DURATION_S, allow_inf_nan=False)]
Interval = Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,55}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Span(_Table):
    """Something that lasts for a while; to the end, unless it says otherwise."""

    start_s: Seconds = 0.0
    stop_s: Seconds | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.stop_s is not None and self.stop_s <= self.start_s:
            raise ValueError(f"stop_s ({self.stop_s:g}) must be after start_s ({self.start_s:g})")
        return self

    def lasts(self, now_s: float) -> bool:
        """Whether it is going on."""
        return self.start_s <= now_s and (self.stop_s is None or now_s < self.stop_s)


class HostLoad(_Span):
    """Memory that something else on the host uses, after ``ramp_s`` in full."""

    size: Annotated[Size, Field(le=MAX_HOST_BYTES)]
    ramp_s: Seconds = 0.0

    def bytes_at(self, now_s: float) -> int:
        """Return what it uses at a time."""
        if not self.lasts(now_s):
            return 0
        return int(self.size * min(1.0, (now_s - self.start_s) / self.ramp_s)) if self.ramp_s else self.size


class SimulatedHost(_Table):
    """The host. ``swap``: so much of its memory it can move elsewhere when it is short."""

    memory: Annotated[Size, Field(ge=FRAME_BYTES, le=MAX_HOST_BYTES)]
    reserve: Annotated[Size, Field(le=MAX_HOST_BYTES)] = 0
    swap: Annotated[Size, Field(le=MAX_HOST_BYTES)] = 0
    load: tuple[HostLoad, ...] = ()


class Fault(_Span):
    """What a guest does not do as it should.

    stuck: its driver does not look at new targets; silent: it answers no question for statistics; paused: it stands.
    """

    kind: Literal["stuck", "silent", "paused"]


class GuestTable(_Span):
    """Guests of one kind: ``count`` of them, each ``stagger_s`` after the one before."""

    name: Name
    count: Annotated[int, Field(ge=1, le=MAX_GUESTS)] = 1
    stagger_s: Seconds = 0.0
    memory: Size
    min: Size = 0
    max: Size | None = None
    """What the balloon may take; three quarters of the memory unless it is given."""
    shares: Annotated[int, Field(ge=0, le=50_000)] = 1000
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    stats_interval_s: Interval = 5.0
    deflate_on_oom: bool = False
    balloon_compaction: bool = True
    boot_share: Annotated[float, Field(ge=0, le=0.5)] = 0.25
    """Of the memory: booting touches twice this; half of that stays, as page cache."""
    workload: str | None = None
    load: tuple[dict[str, Any], ...] = ()
    fault: tuple[Fault, ...] = ()
    waits: bool = False
    """It comes when a reservation with its name is ready, not by time."""

    @property
    def max_bytes(self) -> int:
        """The most that its balloon may have."""
        return self.memory * 3 // 4 if self.max is None else self.max

    @cached_property
    def programs(self) -> Workload:
        """What runs in it."""
        shipped = load_scenario(self.workload).loads if self.workload is not None else ()
        return Workload(self.name, (*shipped, *(scheduled(Path(self.name), table) for table in self.load)))

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.memory % FRAME_BYTES or self.memory < 16 << 20:
            raise ValueError("memory must be whole frames of 4 KiB, 16MiB at the least")
        if not self.min <= self.max_bytes <= self.memory:
            raise ValueError("min, max and memory must rise in this order; min and max are sizes of the balloon")
        if self.workload is not None and self.workload not in shipped_scenarios():
            raise ValueError(f"workload {self.workload!r} is none of {', '.join(shipped_scenarios())}")
        if self.waits and "start_s" in self.model_fields_set:
            raise ValueError("a guest that waits comes when its reservation is ready: start_s must not be given")
        if self.waits and self.count > 1:
            raise ValueError("a guest that waits for a reservation is one: count must be 1")
        for table in self.load:
            _check_numbers(table)
        try:
            _ = self.programs
        except ScenarioError as error:
            raise ValueError(str(error)) from error
        return self


def _check_numbers(load: dict[str, Any]) -> None:
    numbers = {key: value for key, value in load.items() if isinstance(value, int | float)}
    for key, value in numbers.items():
        most = MAX_LOAD_PER_S if key.endswith("_per_s") or key == "jobs" else MAX_LOAD
        if value > most:
            raise ValueError(f"load {load.get('kind')!r}: {key} is {value:g}, and {most:g} is the most")
    if 0 < numbers.get("every_s", 1.0) < MIN_LOAD_EVERY_S:
        raise ValueError(f"load {load.get('kind')!r}: every_s must be {MIN_LOAD_EVERY_S:g} at the least")


class Asked(_Table):
    """A reservation that somebody asks for. When it is ready, the guest of that name comes and claims it."""

    at_s: Seconds
    size: Annotated[Size, Field(gt=0)]
    within_s: Seconds
    keep_s: Annotated[float, Field(gt=0, le=MAX_DURATION_S)] = 300.0
    guest: Name | None = None


class Promise(_Table):
    """What a scenario promises of every policy that it is tried with; a run that does not keep it says so."""

    reserve_kept: bool = False
    """The host never has less available than its reserve."""
    most_turns: Annotated[int, Field(ge=0)] | None = None
    """So often a guest's target changes its direction at the most."""
    most_oom_kills: Annotated[int, Field(ge=0)] | None = None
    """Of all guests together."""


class HostScenario(_Table):
    """All of it."""

    summary: Annotated[str, Field(min_length=1, max_length=200)]
    duration_s: Annotated[float, Field(gt=0, le=MAX_DURATION_S)] = 600.0
    interval_s: Interval = 10.0
    host: SimulatedHost
    guest: tuple[GuestTable, ...] = ()
    reservation: tuple[Asked, ...] = ()
    guard: GuardSettings = GuardSettings()
    """As in the daemon's configuration, under ``[policy.guard]``."""
    settings: Annotated[dict[str, OwnSettings], Field(max_length=100)] = {}
    """Of policies by name, where their defaults are for larger guests; what a command line gives comes before."""
    promise: Promise = Promise()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.duration_s < self.interval_s:
            raise ValueError(
                f"duration_s ({self.duration_s:g}) must be interval_s ({self.interval_s:g}) at the least: "
                "a policy is asked at the end of each interval"
            )
        if self.host.reserve > self.host.memory:
            raise ValueError("host.reserve must not be above host.memory")
        room = self.host.memory - self.host.reserve
        if large := [asked.size for asked in self.reservation if asked.size > room]:
            raise ValueError(
                f"a reservation of {format_size(large[0])} cannot be: the host has {format_size(room)} above its "
                "reserve"
            )
        names = [name for table in self.guest for name in guest_names(table)]
        if len(names) > MAX_GUESTS:
            raise ValueError(f"there are {len(names)} guests; {MAX_GUESTS} are the most")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"two guests are named {', '.join(twice)}")
        if sum(table.memory * table.count for table in self.guest) > MAX_GUEST_BYTES:
            raise ValueError("the guests have more than 64 GiB together, which is the most: scale the scenario down")
        waiting = {table.name for table in self.guest if table.waits}
        claimed = {asked.guest for asked in self.reservation if asked.guest is not None}
        if waiting != claimed:
            raise ValueError(
                f"guests that wait ({_list(waiting)}) must be those that reservations are for ({_list(claimed)})"
            )
        return self


def guest_names(table: GuestTable) -> list[str]:
    """Return the names of the guests of a table: its own, or with numbers from 1."""
    return [table.name] if table.count == 1 else [f"{table.name}-{number}" for number in range(1, table.count + 1)]


def _list(names: "set[str]") -> str:
    return ", ".join(sorted(names)) or "none"


def read_scenario(text: str, where: str) -> HostScenario:
    """Return the scenario that ``text`` is; ``where`` is its name for people.

    Raises:
        OperatorError: It is none; the message says what is wrong where.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OperatorError(f"scenario {where}: {error}") from error
    try:
        return HostScenario.model_validate(document)
    except ValidationError as error:
        raise OperatorError(f"scenario {where}: {problem(error, _TABLES)}") from error


_TABLES: Final[Tables] = {
    (): HostScenario,
    ("host",): SimulatedHost,
    ("host", "load"): HostLoad,
    ("guest",): GuestTable,
    ("guest", "fault"): Fault,
    ("reservation",): Asked,
    ("guard",): GuardSettings,
    ("promise",): Promise,
}

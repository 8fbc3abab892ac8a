"""What a policy sees: a snapshot of the host and of its guests at one instant.

Rules of this file:

* It is plain data, which crosses processes and is recorded as JSON. What is read back is checked as if a stranger had
  written it, since snapshots come through the API, too.
* **Sizes of a balloon are the guest's loss.** Other systems speak of the memory that a guest is left with. The two are
  turned into each other here and nowhere else: ``size_bytes`` and its neighbours, and ``balloon_for``.
* Statistics are a guest's claim. ``free_bytes`` and ``available_bytes`` are cut to what can be true, and are None where
  the guest says nothing, or nothing recent.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

MAX_BYTES: Final = 1 << 62
"""More than any size can be; with it, sums of all guests stay far within what JSON readers can tell apart."""

MAX_GUESTS: Final = 10_000

Bytes = Annotated[int, Field(ge=0, le=MAX_BYTES)]
Rate = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Instant = Annotated[float, Field(ge=-1e15, le=1e15, allow_inf_nan=False)]
Claims = Annotated[Mapping[str, Annotated[int, Field(ge=0, lt=1 << 64)]], Field(max_length=64)]
Rates = Annotated[Mapping[str, Rate], Field(max_length=64)]
Responsiveness = Literal["new", "running", "paused", "broken", "silent", "stalled"]

_CONFIG: Final = ConfigDict(extra="forbid", strict=True, defer_build=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """One line of the kernel's pressure stall information: averages in percent of time, and the total in µs."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    avg10: Rate = 0.0
    avg60: Rate = 0.0
    total_us: Bytes = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The host's memory."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    total_bytes: Bytes
    available_bytes: Bytes
    reserve_bytes: Bytes = 0
    """What is never to be given to guests."""
    reserved_bytes: Bytes = 0
    """What reservations want to have free beyond that."""
    some: Pressure = Pressure()
    full: Pressure = Pressure()
    swap_in_bytes_per_s: Rate = 0.0
    swap_out_bytes_per_s: Rate = 0.0

    @property
    def unreserved_bytes(self) -> int:
        """What is available and not meant for a reservation; never negative."""
        return max(0, self.available_bytes - self.reserved_bytes)

    @property
    def spare_bytes(self) -> int:
        """What guests may have of what is available. Negative: so much is to be gathered from them."""
        return self.available_bytes - self.reserved_bytes - self.reserve_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestStatistics:
    """What a guest said last of its memory, by the names of virtio's tags in lower case, such as ``free_memory``."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    values: Claims = field(default_factory=dict)
    age_s: Rate = 0.0
    stale: bool = False
    rates_per_s: Rates = field(default_factory=dict)
    """Of counters, between the last report and the one before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fragmentation:
    """How the guest's free memory lies, where somebody knows: modelled guests tell, virtual machines do not."""

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    free_huge_share: Share
    """Of the free memory, what lies in free blocks of huge-page size."""
    unusable_index: Share
    """0: all free memory could serve huge pages; 1: none of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestView:
    """One guest. A guest whose memory is not known yet has 0 everywhere, and is ``new``.

    Raises:
        ValueError: Its bounds contradict each other.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    memory_bytes: Bytes
    min_bytes: Bytes = 0
    """The balloon is to have this at the least."""
    max_bytes: Bytes
    """The balloon may have this at the most; what remains of the memory is what the guest can count on."""
    target_bytes: Bytes
    actual_bytes: Bytes
    """What the balloon holds, by the frame map: the driver's own word may be any number."""
    resident_bytes: Bytes | None = None
    statistics: GuestStatistics | None = None
    fragmentation: Fragmentation | None = None
    migrated_frames_per_s: Rate = 0.0
    """Balloon pages that the guest moves elsewhere, which is its compaction at work."""
    shares: Annotated[int, Field(ge=0, le=50_000)] = 1000
    priority: Annotated[int, Field(ge=-100, le=100)] = 0
    state: Responsiveness = "running"

    def __post_init__(self) -> None:
        if not self.min_bytes <= self.max_bytes <= self.memory_bytes:
            raise ValueError(
                f"guest {self.name!r}: min_bytes ({self.min_bytes}), max_bytes ({self.max_bytes}) and memory_bytes "
                f"({self.memory_bytes}) must rise in this order"
            )

    @property
    def size_bytes(self) -> int:
        """What the guest is left with now."""
        return max(0, self.memory_bytes - self.actual_bytes)

    @property
    def target_size_bytes(self) -> int:
        """What the guest is to be left with."""
        return max(0, self.memory_bytes - self.target_bytes)

    @property
    def smallest_bytes(self) -> int:
        """What the guest can count on."""
        return self.memory_bytes - self.max_bytes

    @property
    def largest_bytes(self) -> int:
        """The most that the guest is left with."""
        return self.memory_bytes - self.min_bytes

    def balloon_for(self, size_bytes: float) -> int:
        """Return the balloon that leaves the guest with ``size_bytes``, within its bounds."""
        return self.bounded(self.memory_bytes - int(size_bytes))

    def bounded(self, balloon_bytes: float) -> int:
        """Return ``balloon_bytes`` within the balloon's bounds."""
        return max(self.min_bytes, min(self.max_bytes, int(balloon_bytes)))

    @property
    def outstanding_bytes(self) -> int:
        """What the guest may still take back, because its target is below what the balloon holds."""
        return max(0, self.actual_bytes - self.target_bytes)

    def statistic(self, name: str) -> int | None:
        """Return what the guest said, or None: it said nothing, or nothing recent."""
        if self.statistics is None or self.statistics.stale:
            return None
        return self.statistics.values.get(name)

    def rate(self, name: str) -> float:
        """Return how fast a counter rises, for each second; 0 where that is not known."""
        if self.statistics is None or self.statistics.stale:
            return 0.0
        return self.statistics.rates_per_s.get(name, 0.0)

    @property
    def free_bytes(self) -> int | None:
        """What the guest has free."""
        return self._cut(self.statistic("free_memory"))

    @property
    def available_bytes(self) -> int | None:
        """What the guest could use without swapping: free, and caches that it can drop."""
        available = self.statistic("available_memory")
        return self._cut(available) if available is not None else self.free_bytes

    def _cut(self, claim: int | None) -> int | None:
        return None if claim is None else min(claim, self.size_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A snapshot.

    Raises:
        ValueError: Two guests have one name.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _CONFIG

    now_s: Instant
    host: Host
    guests: Annotated[tuple[GuestView, ...], Field(max_length=MAX_GUESTS)] = ()
    memory: JsonValue = field(default_factory=dict)
    """What the policy gave back last time; an empty object the first time."""

    def __post_init__(self) -> None:
        names = [guest.name for guest in self.guests]
        if len(set(names)) < len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ValueError(f"there are two guests {', '.join(map(repr, twice))}")

    @property
    def able(self) -> tuple[GuestView, ...]:
        """The guests that can be expected to follow their targets."""
        return tuple(guest for guest in self.guests if guest.state == "running")


_ADAPTER: Final = TypeAdapter(View)


def view_data(view: View) -> dict[str, Any]:
    """Return ``view`` as plain JSON data."""
    data: dict[str, Any] = _ADAPTER.dump_python(view, mode="json")
    return data


def view_json(view: View) -> bytes:
    """Return ``view`` as JSON."""
    return _ADAPTER.dump_json(view)


def read_view(text: bytes | str) -> View:
    """Return the view that ``text`` is.

    Raises:
        ValueError: It is none; the message names the first field that is wrong, and what would be right.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise ValueError(f"not a snapshot: {first_problem(error)}") from error


def first_problem(error: ValidationError) -> str:
    """Return where the first thing stands that is wrong, and what it is."""
    problem = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    what = str(problem["msg"]).removeprefix("Value error, ")
    return f"{where}: {what}" if where else what

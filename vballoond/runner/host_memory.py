"""The host's memory as policies see it: /proc/meminfo, /proc/pressure/memory and the swap counters of /proc/vmstat.

Rules of this file:

* What the kernel does not tell is 0: a kernel may have no pressure stall information, and a container may hide it.
* Rates are between two readings. Who only looks in between gets rates, and changes nothing for who reads next.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..policy.view import Host, Pressure

_KIB: Final = 1024
_PAGE_BYTES: Final = 4096
_SWAP: Final = re.compile(r"^(pswpin|pswpout) (\d+)$", re.MULTILINE)
_AMOUNT: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)
_RESERVE_PARTS: Final = 20
"""Without a configured reserve it is this part of the memory, which oVirt MoM calls critical."""


@dataclass(frozen=True, slots=True)
class HostTexts:
    """What the files say; empty where there is none."""

    meminfo: str
    pressure: str = ""
    vmstat: str = ""


ReadHost = Callable[[], HostTexts]


def read_proc() -> HostTexts:
    """Read the files of this host."""
    return HostTexts(*(_text(Path("/proc") / name) for name in ("meminfo", "pressure/memory", "vmstat")))


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""


@dataclass(frozen=True, slots=True)
class _Reading:
    at_s: float
    swap: dict[str, int]


class HostMemory:
    """Knows the host's memory.

    Args:
        reserve_bytes: What guests never get of it; None: a twentieth.
    """

    def __init__(self, reserve_bytes: int | None) -> None:
        self._reserve_bytes: Final = reserve_bytes
        self._before: _Reading | None = None

    def host(self, texts: HostTexts, now_s: float, *, keep: bool) -> Host:
        """Return it, with rates since the reading that was kept last; ``keep`` keeps this one."""
        amounts = {name: int(number) * _KIB for name, number in _AMOUNT.findall(texts.meminfo)}
        total = amounts.get("MemTotal", 0)
        reading = _Reading(now_s, {name: int(number) for name, number in _SWAP.findall(texts.vmstat)})
        before = self._before or reading
        if keep:
            self._before = reading
        return Host(
            total_bytes=total,
            available_bytes=min(total, amounts.get("MemAvailable", amounts.get("MemFree", 0))),
            reserve_bytes=total // _RESERVE_PARTS if self._reserve_bytes is None else self._reserve_bytes,
            some=_pressure(texts.pressure, "some"),
            full=_pressure(texts.pressure, "full"),
            swap_in_bytes_per_s=_rate(before, reading, "pswpin"),
            swap_out_bytes_per_s=_rate(before, reading, "pswpout"),
        )


def _rate(before: _Reading, now: _Reading, name: str) -> float:
    passed_s = now.at_s - before.at_s
    pages = now.swap.get(name, 0) - before.swap.get(name, 0)
    return pages * _PAGE_BYTES / passed_s if passed_s > 0 and pages > 0 else 0.0


def _pressure(text: str, kind: str) -> Pressure:
    found = re.search(rf"^{kind} avg10=([\d.]+) avg60=([\d.]+) avg300=[\d.]+ total=(\d+)$", text, re.MULTILINE)
    if found is None:
        return Pressure()
    return Pressure(avg10=float(found[1]), avg60=float(found[2]), total_us=int(found[3]))

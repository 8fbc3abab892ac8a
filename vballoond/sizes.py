"""Sizes as people write them: a number with KiB, MiB, GiB or TiB."""

import re
from typing import Final

_UNITS: Final = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SIZE: Final = re.compile(r"(\d{1,15}(?:\.\d{1,15})?)\s*([KMGT]iB)", re.ASCII)


def parse_size(text: str) -> int:
    """Return the bytes that ``text`` means.

    Raises:
        ValueError: It is not a number with one of the units; the message shows what would be right.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: write a number with KiB, MiB, GiB or TiB, such as 512MiB")
    return round(float(match[1]) * _UNITS[match[2]])


def format_size(size_bytes: int) -> str:
    """Return ``size_bytes`` in the largest unit that leaves at least one before the point."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size_bytes >= _UNITS[unit]:
            return f"{size_bytes / _UNITS[unit]:.4g} {unit}"
    return f"{size_bytes} B"

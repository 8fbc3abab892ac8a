"""The guest's own chance: seeded, so that a run can be repeated, and part of its state. xorshift64* (Vigna, 2016)."""

from typing import Final

import numpy as np

from .compiled import compiled
from .zone import Zone

_MULTIPLIER: Final = np.uint64(2685821657736338717)
_TO_UNIT: Final = 2.0**-53


@compiled
def random_word(zone: Zone) -> int:
    """Return 53 bits of chance."""
    word = zone.random[0]
    word ^= word >> np.uint64(12)
    word ^= word << np.uint64(25)
    word ^= word >> np.uint64(27)
    zone.random[0] = word
    return int(np.int64((word * _MULTIPLIER) >> np.uint64(11)))


@compiled
def chance(zone: Zone, probability: float) -> bool:
    """Say yes with a probability."""
    return random_word(zone) * _TO_UNIT < probability


@compiled
def random_below(zone: Zone, end: int) -> int:
    """Return a number from 0 up to, not including, ``end``."""
    return random_word(zone) % end

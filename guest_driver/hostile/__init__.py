"""Hostile drivers: each breaks one rule of virtio 1.4, once, in a guest whose rings it writes by hand.

attack        what an attack is, and what it is to come to
driver        what it works with
ring_by_hand, split_by_hand, packed_by_hand    the rings
descriptors, frames, flood, config    the breaches, by what is broken, in rings of either format
chains, indices    those in split rings
lists, turns    those in packed rings
"""

from typing import Final

from . import chains, config, descriptors, flood, frames, indices, lists, turns
from .attack import Attack

ATTACKS: Final[tuple[Attack, ...]] = (
    chains.ATTACKS
    + descriptors.ATTACKS
    + indices.ATTACKS
    + lists.ATTACKS
    + turns.ATTACKS
    + frames.ATTACKS
    + flood.ATTACKS
    + config.ATTACKS
)
"""All of them."""

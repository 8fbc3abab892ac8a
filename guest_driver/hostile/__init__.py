"""Hostile drivers: each breaks one rule of virtio 1.4, once, in a guest whose rings it writes by hand.

attack        what an attack is, and what it is to come to
driver        what it works with
descriptors, indices, frames, flood, config    the breaches, by what is broken
"""

from typing import Final

from . import config, descriptors, flood, frames, indices
from .attack import Attack

ATTACKS: Final[tuple[Attack, ...]] = (
    descriptors.ATTACKS + indices.ATTACKS + frames.ATTACKS + flood.ATTACKS + config.ATTACKS
)
"""All of them."""

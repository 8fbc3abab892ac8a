"""What a frame of a guest is: words that a modelled guest and the daemon's frame maps share.

A device knows of a frame only whether it is ballooned; the rest is what the guest itself would say.
"""

from enum import IntEnum
from typing import Final


class FrameState(IntEnum):
    """Codes of pictures, a byte for each frame. The name in lower case is the state's name in the API."""

    FREE = 0
    MOVABLE = 1
    """Page cache, or memory of a process."""
    UNMOVABLE = 2
    """The kernel's own."""
    RECLAIMABLE = 3
    """Slab that can be had back."""
    HUGE = 4
    ISOLATED = 5
    """Taken off its list, to be migrated."""
    BALLOONED = 6
    ABSENT = 7
    """No memory: a hole, or behind the end."""


FRAME_STATES: Final = {state.name.lower(): state for state in FrameState if state is not FrameState.ABSENT}
"""The states that a frame map can be asked for, by name."""

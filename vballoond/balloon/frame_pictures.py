"""Pictures of frame maps, a byte for each frame (``protocol.balloon.frame_states``), and what is made of them."""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeAlias

import numpy as np

from protocol.balloon.frame_states import FrameState

from ..memory.frames import FrameRange
from .frame_map import ABSENT, FrameMap

Picture: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]

GuestView: TypeAlias = Callable[[FrameRange], bytes]
"""Draws a window as the guest itself sees its frames; only a modelled guest can."""

_FROM_MAP: Final = np.array([FrameState.MOVABLE, FrameState.BALLOONED, FrameState.ABSENT], dtype=np.uint8)


def picture(frame_map: FrameMap, guest_view: GuestView | None, window: FrameRange) -> Picture:
    """Return a window; what is not ballooned is as the guest sees it, or ``MOVABLE`` where nobody says more.

    Of ballooned frames the map decides, since it says what the rings said; the guest may call them isolated.
    """
    held = np.frombuffer(frame_map.picture(window), dtype=np.uint8)
    drawn = _FROM_MAP[held]
    if guest_view is None:
        return drawn
    seen = np.frombuffer(guest_view(window), dtype=np.uint8)
    by_guest = (held != ABSENT) & ((held == 0) | (seen == FrameState.ISOLATED))
    return np.where(by_guest, seen, drawn)


def ranges(drawn: Picture, first: int, states: Collection[FrameState]) -> Iterator[tuple[FrameRange, FrameState]]:
    """Yield the runs of frames in one of ``states``, ascending; ``first`` is the window's first frame."""
    if not drawn.size:
        return
    edges = np.flatnonzero(np.diff(drawn)) + 1
    starts = np.concatenate(([0], edges))
    wanted = np.isin(drawn[starts], list(states))
    lengths = np.diff(np.concatenate((starts, [drawn.size])))
    for start, length, code in zip(starts[wanted], lengths[wanted], drawn[starts[wanted]], strict=True):
        yield FrameRange(first + int(start), int(length)), FrameState(int(code))


def merged(parts: Iterable[tuple[FrameRange, FrameState]]) -> Iterator[tuple[FrameRange, FrameState]]:
    """Yield ascending runs, those in one where they touch and are in the same state."""
    last: tuple[FrameRange, FrameState] | None = None
    for part, state in parts:
        if last is not None and last[1] is state and last[0].end == part.first:
            last = FrameRange(last[0].first, last[0].count + part.count), state
            continue
        if last is not None:
            yield last
        last = part, state
    if last is not None:
        yield last


def bitmap(drawn: Picture, states: Collection[FrameState]) -> bytes:
    """Return a bit for each frame, lowest first: whether it is in one of ``states``."""
    return np.packbits(np.isin(drawn, list(states)), bitorder="little").tobytes()

"""Frame maps as ranges, in JSON.

The text is put together range by range, as ``models.frames`` describes it: a model for each of hundreds of thousands of
ranges would take seconds and a hundred times the memory.
"""

import json
from collections.abc import Iterable
from itertools import islice
from typing import Final

from protocol.balloon.frame_states import FrameState
from protocol.balloon.page_frames import FRAME_BYTES

from ...errors import OperatorError
from ...memory.frames import FrameRange
from ..models.frames import NAMES, Frames

MAX_RANGES: Final = 1 << 19
"""What a guest of 4 GiB can have at most, every other frame; some 25 MB of JSON."""


def ranges_json(frames: Frames, parts: Iterable[tuple[FrameRange, FrameState]]) -> bytes:
    """Return ``frames``, which has no ranges yet, with ``parts``.

    Raises:
        OperatorError: There are too many; 422.
    """
    pieces = [
        f'{{"first":{part.first},"count":{part.count},"state":"{NAMES[state]}"}}'
        for part, state in islice(parts, MAX_RANGES + 1)
    ]
    if len(pieces) > MAX_RANGES:
        raise OperatorError(
            f"there are more than {MAX_RANGES} ranges: choose a window by first and count, or the format bitmap",
            status=422,
            code="too-many-ranges",
            limit_bytes=MAX_RANGES * FRAME_BYTES,
        )
    head = json.dumps(frames.model_dump(mode="json", exclude={"ranges"}), separators=(",", ":"))
    return f'{head[:-1]},"ranges":[{",".join(pieces)}]}}'.encode()

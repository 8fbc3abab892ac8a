"""Another party that acts between two steps of a call, for every place where it can: races without threads."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any


def interrupt(call: Callable[[], Any], module: str, step: int, intrusion: Callable[[], None]) -> tuple[Any, bool]:
    """Return what ``call`` returns, and whether ``intrusion`` came in between.

    Args:
        call: What is interrupted.
        module: Only the byte codes of its functions count as steps.
        step: Before which of them, counted from 0, ``intrusion`` is called.
        intrusion: What the other party does; it is not interrupted itself.
    """
    steps = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal steps
        if frame.f_globals.get("__name__") != module:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            if steps == step:
                intrusion()
            steps += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        result = call()
    finally:
        sys.settrace(before)
    return result, steps > step

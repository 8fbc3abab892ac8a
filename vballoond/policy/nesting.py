"""How deeply plain data may nest.

What reads JSON has a limit of its own, some two hundred levels, and what policies return and are given is kept within
other things. Data that could just be read where it came from would take all that is kept with it where it is read next.
"""

from typing import Any, Final

MAX_DEPTH: Final = 64
"""More than any policy needs, and so much less than any reader takes that what is around it does not matter."""


def too_deep(value: Any) -> bool:
    """Say whether lists and objects stand in each other more than ``MAX_DEPTH`` deep in ``value``."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return False
    return True


def _inside(item: Any) -> Any:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list | tuple) else ()

"""Settings of property tests: a failure prints what brings it back, and no example is timed."""

import os
from typing import Final

from hypothesis import settings

_SHARE: Final = float(os.environ.get("VBALLOOND_EXAMPLES", "1"))
"""Of the examples, for whoever is in a hurry: make test-quick tries a third."""

_LEAST: Final = 5


def examples(count: int = 100) -> settings:
    """Try this many examples."""
    return settings(max_examples=max(_LEAST, int(count * _SHARE)), deadline=None, print_blob=True)

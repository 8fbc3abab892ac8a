"""Settings of property tests: a failure prints what brings it back, and no example is timed."""

from hypothesis import settings


def examples(count: int = 100) -> settings:
    """Try this many examples."""
    return settings(max_examples=count, deadline=None, print_blob=True)

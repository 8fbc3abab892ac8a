"""What a run ends with when something is not as it must be."""


class Violation(Exception):  # noqa: N818 (it says what was violated)
    """A guest, the daemon or its holder is not as it must be; the text says how."""

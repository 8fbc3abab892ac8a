"""Something that must not be."""


class Finding(Exception):  # noqa: N818 (what is found is no error of the finder)
    """The daemon did what it must not do, or failed to do what it must; the message says what."""

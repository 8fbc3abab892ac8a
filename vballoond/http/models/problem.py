"""RFC 9457: what was wrong with a request."""

from pydantic import ConfigDict

from .base import Out


class Problem(Out):
    """RFC 9457: what was wrong with a request."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    """Always about:blank."""

    title: str
    """The status in words."""

    status: int
    """The status of the answer."""

    detail: str
    """What was wrong, where, and what would be right."""

    code: str
    """The same for programs; it does not change."""

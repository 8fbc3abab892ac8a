"""RFC 9457: what was wrong with a request."""

from pydantic import ConfigDict

from .base import Out


class Problem(Out):
    """RFC 9457: what was wrong with a request."""

    model_config = ConfigDict(extra="allow")

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str

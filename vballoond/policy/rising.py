"""Settings that only make sense together."""

from itertools import pairwise

from pydantic import BaseModel


def check_rising(settings: BaseModel, *names: str) -> None:
    """Return if the numbers under ``names`` rise from one to the next.

    Raises:
        ValueError: Two of them do not; the message names both, with what they are.
    """
    for below, above in pairwise(names):
        less, more = getattr(settings, below), getattr(settings, above)
        if not less < more:
            raise ValueError(f"{below} ({less:g}) must be below {above} ({more:g})")

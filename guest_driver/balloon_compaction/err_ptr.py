"""ERR_PTR(): a function that returns an object returns its error in the object's place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ErrPtr:
    """An error, where an object was asked for."""

    errno: int
    """Negative, as in the kernel: -ENOMEM."""

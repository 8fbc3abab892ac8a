"""Errors of the modelled guest."""


class GuestModelError(Exception):
    """The model was asked for what its guest cannot do; a defect of whoever asked."""

"""What all that goes in and out has in common."""

from pydantic import BaseModel, ConfigDict


class In(BaseModel):
    """What a client sends. An unknown field is an error, so that a misspelt one does not silently mean its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, defer_build=True)


class Out(BaseModel):
    """What a client gets."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True, defer_build=True)

"""What the sections of a configuration have in common: how they treat keys, and how sizes are written in them."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, WithJsonSchema

from ..sizes import parse_size


class Section(BaseModel):
    """A table. An unknown key is an error, so that a misspelt one does not silently mean its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


def _size(value: Any) -> int:
    if not isinstance(value, str):
        raise ValueError("a size is a string: a number with KiB, MiB, GiB or TiB, such as '512MiB'")  # noqa: TRY004 (pydantic reports ValueError)
    return parse_size(value)


# Written out again, it is as a person would have written it, and so it is described.
Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(lambda size: f"{size / 1024}KiB", when_used="json"),
    WithJsonSchema({"type": "string", "examples": ["512MiB", "1GiB"]}),
]

"""What is wrong with a scenario, in words for who wrote the file."""

from collections.abc import Mapping
from typing import Final

from pydantic import BaseModel, ValidationError

Tables = Mapping[tuple[str, ...], type[BaseModel]]
"""The tables of a file that have keys of their own, by place."""

_HEADERS: Final = {"tuple_type": "[[{}]]", "model_type": "[{}]", "dict_type": "[{}]"}
"""What is a list in a scenario is one of tables, and what is anything else is one table."""


def problem(error: ValidationError, tables: Tables) -> str:
    """Return what is wrong first; for an unknown key, what it could be, and for a table, how it is written."""
    first = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    place = tuple(part for part in first["loc"] if isinstance(part, str))
    if first["type"] == "extra_forbidden" and (model := tables.get(place[:-1])) is not None:
        return f"{where}: unknown key; there are {', '.join(model.model_fields)}"
    header = _HEADERS.get(str(first["type"]))
    if header is not None and isinstance(first["loc"][-1], str):
        return f"{where}: write {header.format('.'.join(place))}"
    said = str(first["msg"]).removeprefix("Value error, ")
    return f"{where}: {said}" if where else said

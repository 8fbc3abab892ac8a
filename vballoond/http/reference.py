"""The API's reference for people, made from the OpenAPI document: ``python -m vballoond.http.reference > docs/api.md``.

Rules of this file:

* All that it says is in the document. What is missing here is missing there.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .openapi import openapi_document
from .problems import CONTENT_TYPE

_NOTE: Final = "<!-- Made by `python -m vballoond.http.reference > docs/api.md`; a test sees that it is. -->"
_MODELS: Final = "## Models"

Node = Mapping[str, Any]


def reference(document: Node) -> str:
    """Return an OpenAPI document as Markdown."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Node) -> Iterator[str]:
    info = document["info"]
    yield from ("# The HTTP API", "", _NOTE, "", info["summary"], "", info["description"], "")
    yield from ("The same for programs is at `/openapi.json` (OpenAPI 3.1).", "")
    yield from _refusals(document)
    for tag in document["tags"]:
        yield from (f"## {tag['name'].capitalize()}", "", tag["description"], "")
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation["tags"] == [tag["name"]]:
                    yield from _operation(method, path, operation)
    yield from (_MODELS, "")
    for name, schema in sorted(document["components"]["schemas"].items()):
        yield from _model(name, schema)


def _operation(method: str, path: str, operation: Node) -> Iterator[str]:
    yield from (f"### `{method.upper()} {path}`", "", operation["summary"], "")
    if "description" in operation:
        yield from (operation["description"], "")
    if "security" not in operation:
        yield from ("No token is needed.", "")
    if operation["parameters"]:
        yield from _table(("Parameter", "In", "Form", "Meaning"), map(_parameter, operation["parameters"]))
    if "requestBody" in operation:
        yield from _body(operation["requestBody"])
    refusals = [status for status, response in operation["responses"].items() if _refuses(response)]
    answers = (_answer(*answer) for answer in operation["responses"].items() if answer[0] not in refusals)
    yield from _table(("Answer", "Body", "Meaning"), answers)
    yield from (f"Refused with {', '.join(refusals)}.", "")


def _refuses(response: Node) -> bool:
    return list(response.get("content", ())) == [CONTENT_TYPE]


def _refusals(document: Node) -> Iterator[str]:
    """What each status of a refusal means, which is the same everywhere."""
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    meanings = {
        status: response["description"]
        for operation in operations
        for status, response in operation["responses"].items()
        if _refuses(response)
    }
    yield from ("## Refusals", "")
    yield from _table(("Status", "Meaning"), iter(sorted(meanings.items())))


def _body(body: Node) -> Iterator[str]:
    content = body["content"]["application/json"]
    yield from (f"Body{'' if body['required'] else ' (may be left out)'}: {_form(content['schema'])}", "")
    for example in content.get("examples", {}).values():
        yield from ("    " + json.dumps(example["value"]), "")


def _parameter(parameter: Node) -> tuple[str, ...]:
    return f"`{parameter['name']}`", parameter["in"], _form(parameter["schema"]), parameter["description"]


def _answer(status: str, response: Node) -> tuple[str, ...]:
    bodies = [_media(media, content) for media, content in response.get("content", {}).items()]
    return status, ", ".join(bodies), response["description"]


def _media(media: str, content: Node) -> str:
    return _form(content["schema"]) if "$ref" in content.get("schema", {}) else f"`{media}`"


def _model(name: str, schema: Node) -> Iterator[str]:
    yield from (f"### {name}", "", *schema.get("description", "").splitlines(), "")
    required = schema.get("required", ())
    rows = (
        (
            f"`{field}`",
            _form(field_schema) + _default(field, field_schema, required),
            field_schema.get("description", ""),
        )
        for field, field_schema in schema.get("properties", {}).items()
    )
    yield from _table(("Field", "Form", "Meaning"), rows)


def _default(field: str, schema: Node, required: tuple[str, ...]) -> str:
    if field in required or "default" not in schema:
        return ""
    return f", {json.dumps(schema['default'])} if left out"


def _form(schema: Node) -> str:
    """Return which values a schema takes, in few words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_form, schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_form(schema['items'])}"
    if isinstance(schema.get("additionalProperties"), Mapping):
        return f"{_form(schema['additionalProperties'])} by name"
    return _plain(schema)


def _plain(schema: Node) -> str:
    kind = str(schema.get("type", "anything"))
    words = [{"date-time": "time", "path": "path"}.get(str(schema.get("format")), kind)]
    bounds = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    words += [f"{word} {schema[key]:g}" for key, word in bounds.items() if key in schema]
    if "pattern" in schema:
        words.append(f"like `{schema['pattern']}`")
    return " ".join(words)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield _row(head)
    yield _row(("---",) * len(head))
    yield from map(_row, rows)
    yield ""


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    sys.stdout.write(reference(openapi_document()))

"""The API's table as an OpenAPI 3.1 document."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .. import __version__
from .guards import OPEN_PATHS, READING
from .models.problem import Problem
from .openapi_texts import ANSWERS, DESCRIPTION, EXAMPLES, PROBLEMS, SUMMARY, TAGS, TITLE
from .page import FILES
from .problems import CONTENT_TYPE
from .routes import ROUTES, Parameter, Route

_REFERENCE: Final = "#/components/schemas/{model}"
_BODILESS: Final = (204, 304)
_IN_PATHS: Final = (
    ("/v1/balloons/{name}", "name", {"type": "string", "examples": ["demo"]}, "The name of a balloon."),
    ("/page/{name}", "name", {"type": "string", "examples": sorted(FILES)}, "The name of a file of the page."),
    ("/reservations/{id}", "id", {"type": "integer", "examples": [1]}, "The number of a reservation."),
    ("/resizes/{id}", "id", {"type": "integer", "examples": [1]}, "The number of a resize."),
)


def openapi_document() -> dict[str, Any]:
    """Return the document, as plain data."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    used = {_tag(route) for route in ROUTES}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "version": __version__, "summary": SUMMARY, "description": DESCRIPTION},
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _schemas() -> dict[str, Any]:
    taken = {route.body for route in ROUTES if route.body}
    given = {route.model for route in ROUTES if route.model} | {Problem}
    models = [(model, "validation") for model in taken] + [(model, "serialization") for model in given]
    models.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    schemas: dict[str, Any] = definitions.get("$defs", {})
    return schemas


def _tag(route: Route) -> str:
    """Return the last part of a path that stands for a subject."""
    return next((part for part in reversed(route.path.split("/")) if part in TAGS), "daemon")


def _operation(route: Route) -> dict[str, Any]:
    summary, description = _docstring(route)
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "tags": [_tag(route)],
        "summary": summary,
        "parameters": [*_path_parameters(route), *(_parameter(parameter) for parameter in route.parameters)],
        "responses": _responses(route),
    }
    if description:
        operation["description"] = description
    if route.path not in OPEN_PATHS:
        operation["security"] = [{"token": []}, {}]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {"application/json": {"schema": _ref(route.body), **_examples(route.body)}},
        }
    return operation


def _docstring(route: Route) -> tuple[str, str]:
    """Return the first line of what the handler says of itself, and the paragraph behind it."""
    lines = [line.strip() for line in (route.handler.__doc__ or "").strip().splitlines()]
    paragraph = lines[2 : lines.index("", 2) if "" in lines[2:] else None]
    return lines[0], "" if paragraph[:1] and paragraph[0].endswith(":") else " ".join(paragraph)


def _examples(body: type[BaseModel]) -> dict[str, Any]:
    examples = EXAMPLES.get(body)
    return {"examples": {name: {"value": value} for name, value in examples.items()}} if examples else {}


def _responses(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {
        media: {"schema": {"type": "object"}} if media == "application/json" else {} for media in route.media
    }
    if route.model is not None:
        content["application/json"] = {"schema": _ref(route.model)}
    responses: dict[str, Any] = {}
    for status in route.answers:
        bare = status in _BODILESS or not content
        responses[str(status)] = {"description": ANSWERS.get(status, "Done.")} | ({} if bare else {"content": content})
    problem = {CONTENT_TYPE: {"schema": _ref(Problem)}}
    for status in sorted({*route.problems, *_guards(route)}):
        responses[str(status)] = {"description": PROBLEMS.get(status, "Refused."), "content": problem}
    return responses


def _guards(route: Route) -> set[int]:
    """Return with what the guards turn requests away before the handler sees them."""
    guards = {403} if route.path in OPEN_PATHS else {401, 403}
    return guards if route.method in READING else guards | {400, 408, 413}


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": schema, "description": description}
        for part, name, schema, description in _IN_PATHS
        if part in route.path
    ]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}

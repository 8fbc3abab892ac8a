"""The API's table as an OpenAPI 3.1 document."""

from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .. import __version__
from .guards import OPEN_PATHS
from .models.problem import Problem
from .problems import CONTENT_TYPE
from .routes import ROUTES, Parameter, Route

_REFERENCE: Final = "#/components/schemas/{model}"


def openapi_document() -> dict[str, Any]:
    """Return the document, as plain data."""
    taken = {route.body for route in ROUTES if route.body}
    given = {route.model for route in ROUTES if route.model} | {Problem}
    models = [(model, "validation") for model in taken] + [(model, "serialization") for model in given]
    models.sort(key=lambda pair: pair[0].__name__)
    _, definitions = models_json_schema(models, ref_template=_REFERENCE)  # type: ignore[arg-type]
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "vballoond",
            "version": __version__,
            "description": "Memory balloons of the guests of a host.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions.get("$defs", {}),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": (route.handler.__doc__ or "").strip().splitlines()[0],
        "parameters": [*_path_parameters(route), *(_parameter(parameter) for parameter in route.parameters)],
        "responses": _responses(route),
    }
    if route.path not in OPEN_PATHS:
        operation["security"] = [{"token": []}, {}]
    if route.body is not None:
        operation["requestBody"] = {
            "required": route.body_required,
            "content": {"application/json": {"schema": _ref(route.body)}},
        }
    return operation


def _responses(route: Route) -> dict[str, Any]:
    content: dict[str, Any] = {media: {} for media in route.media}
    if route.model is not None:
        content["application/json"] = {"schema": _ref(route.model)}
    responses: dict[str, Any] = {str(status): {"description": "done", "content": content} for status in route.answers}
    problem = {"description": "refused", "content": {CONTENT_TYPE: {"schema": _ref(Problem)}}}
    guards = (403,) if route.path in OPEN_PATHS else (401, 403)
    for status in (*route.problems, *guards):
        responses[str(status)] = problem
    return responses


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    if "{name}" not in route.path:
        return []
    return [{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "schema": parameter.schema,
        "description": parameter.description,
    }


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": _REFERENCE.format(model=model.__name__)}

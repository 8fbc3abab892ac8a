"""Reading what a client sends, and writing what it gets."""

import json
from typing import Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from ..errors import OperatorError
from .problems import explain_body

MAX_BODY_BYTES: Final = 64 << 10
"""Of all requests but those that :mod:`large_bodies` knows: the largest of them has two numbers in it."""

Model = TypeVar("Model", bound=BaseModel)


async def read_body(request: web.Request, model: type[Model]) -> Model:
    """Return the request's JSON body as ``model``.

    Raises:
        OperatorError: 415 for another content type, 400 for anything that is not an object of this form.
    """
    check_content_type(request)
    try:
        value = json.loads(await request.read())
    except ValueError as error:
        raise OperatorError(f"the request's body is not JSON: {error}", code="not-json") from error
    if not isinstance(value, dict):
        raise OperatorError("the request's body is not a JSON object", code="not-an-object")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise OperatorError(explain_body(error), code="invalid-body") from error


def check_content_type(request: web.Request) -> None:
    """Return if the request says that its body is JSON.

    Raises:
        OperatorError: 415: it says something else.
    """
    if request.content_type != "application/json":
        raise OperatorError(
            f"the body is {request.content_type}; send JSON, with the header Content-Type: application/json",
            status=415,
            code="not-json",
        )


def json_response(model: BaseModel, *, status: int = 200) -> web.Response:
    """Answer with ``model``."""
    return web.Response(body=model.model_dump_json().encode(), status=status, content_type="application/json")

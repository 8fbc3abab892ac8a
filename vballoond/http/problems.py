"""How an error is answered: RFC 9457 problem+json, always, with a sentence that says what would be right."""

import http
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

import structlog
from aiohttp import web
from pydantic import ValidationError

from ..config.load import key_name
from ..errors import OperatorError

CONTENT_TYPE: Final = "application/problem+json"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def problem(status: int, code: str, detail: str, headers: dict[str, str] | None = None, **extra: Any) -> web.Response:
    """Return a problem report."""
    body = {
        "type": "about:blank",
        "title": http.HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        **extra,
    }
    return web.json_response(body, status=status, content_type=CONTENT_TYPE, headers=headers)


def explain_body(error: ValidationError) -> str:
    """Return what is wrong with a request's fields, in one line."""
    parts = []
    for wrong in error.errors(include_url=False, include_context=False):
        message = str(wrong["msg"]).removeprefix("Value error, ")
        if wrong["type"] == "extra_forbidden":
            message = "unknown field"
        parts.append(f"{key_name(wrong['loc'])}: {message}" if wrong["loc"] else message)
    return "; ".join(parts)


@web.middleware
async def answer_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every error into a problem report; one that nobody foresaw is logged with its traceback."""
    try:
        return await handler(request)
    except OperatorError as error:
        return problem(error.status, error.code, error.detail, **error.extra)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        answer = problem(405, "method-not-allowed", f"{request.method} is not for {request.path}, which has {allowed}")
        answer.headers["Allow"] = allowed
        return answer
    except web.HTTPRequestEntityTooLarge:
        return problem(413, "too-large", f"the request's body is larger than any that {request.path} takes")
    except web.HTTPNotFound:
        return problem(404, "no-such-path", f"there is nothing at {request.path}; /openapi.json lists what there is")
    except web.HTTPException as error:
        return problem(error.status, "http", error.reason)
    except (web.RequestPayloadError, ConnectionResetError) as error:
        return problem(400, "bad-body", f"the request's body cannot be read: {' '.join(str(error).split())}")
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        return problem(400, "not-json", f"the request's body is not JSON: {error}")
    except Exception:  # noqa: BLE001 (a defect of ours must not end the connection without a word)
        structlog.get_logger().exception("request failed", method=request.method, path=request.path)
        return problem(500, "internal", "the daemon failed at this request; its log has the details")

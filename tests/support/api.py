"""The API as a client meets it, which holds every answer against the OpenAPI document."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from jsonschema import Draft202012Validator

from vballoond.http.openapi import openapi_document
from vballoond.http.problems import CONTENT_TYPE

_DOCUMENT: Final = openapi_document()
_PROBLEM_FIELDS: Final = {"type", "title", "status", "detail", "code"}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media(self) -> str:
        return self.headers["Content-Type"].partition(";")[0]

    def json(self) -> Any:
        return json.loads(self.body)


class Session(Protocol):
    """aiohttp's client session, or its test client."""

    def request(self, method: str, path: str, **keywords: Any) -> Any: ...


class Api:
    """Asks, and sees that every answer is one that the document has."""

    def __init__(self, session: Session) -> None:
        self._session: Final = session

    async def ask(self, method: str, path: str, **keywords: Any) -> Answer:
        async with self._session.request(method, path, **keywords) as response:
            answer = Answer(response.status, dict(response.headers), await response.read())
        check_against_document(method, path, answer)
        return answer

    async def get(self, path: str, status: int = 200, **keywords: Any) -> Any:
        """GET what is answered with ``status`` in JSON."""
        answer = await self.ask("GET", path, **keywords)
        assert answer.status == status, answer.body
        return answer.json()

    async def patch(self, path: str, body: Any, status: int, *, wait: object = None) -> Any:
        """PATCH, which is answered with ``status`` in JSON."""
        headers = {} if wait is None else {"Prefer": f"wait={wait}"}
        answer = await self.ask("PATCH", path, json=body, headers=headers)
        assert answer.status == status, answer.body
        return answer.json()

    async def refused(self, method: str, path: str, status: int, code: str, **keywords: Any) -> dict[str, Any]:
        """Ask for what is refused with ``status`` and ``code``; return the problem report."""
        answer = await self.ask(method, path, **keywords)
        assert answer.status == status, answer.body
        problem = answer.json()
        assert problem["code"] == code, problem
        return problem


def check_against_document(method: str, path: str, answer: Answer) -> None:
    """See that the document has this status for this operation, with this content."""
    if answer.status >= 400 and "problems" not in answer.json():
        check_problem(answer)
    operation = operation_of(method, path)
    if operation is None:
        assert path.startswith("/openapi.json") or answer.status in (403, 404, 405, 401)
        return
    assert str(answer.status) in operation["responses"], f"{method} {path} has no documented {answer.status}"
    content = operation["responses"][str(answer.status)].get("content")
    if content is None:
        assert answer.body == b"", f"{method} {path} has an undocumented body"
        return
    assert answer.media in content, f"{method} {path} has no documented {answer.media}"
    if answer.media.endswith("json"):
        schema = {**content[answer.media]["schema"], "components": _DOCUMENT["components"]}
        Draft202012Validator(schema).validate(answer.json())


def check_problem(answer: Answer) -> None:
    """See that an error is reported as RFC 9457 has it."""
    assert answer.media == CONTENT_TYPE
    problem = answer.json()
    assert problem.keys() >= _PROBLEM_FIELDS
    assert problem["status"] == answer.status
    assert problem["detail"]


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """Find the operation of a request in the document."""
    for template, operations in _DOCUMENT["paths"].items():
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path.partition("?")[0]):
            return operations.get(method.lower())
    return None

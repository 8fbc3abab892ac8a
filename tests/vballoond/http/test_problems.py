import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import ValidationError
from structlog.testing import capture_logs

from vballoond.http.app import build_app
from vballoond.http.models.resize import TargetChange
from vballoond.http.problems import answer_problems, explain_body, problem
from vballoond.offload import Offload
from vballoond.registry import Registry

DEMO = "/v1/balloons/demo"


@pytest.mark.parametrize("path", ["/v1", "/v1/balloon", "/v1/balloons/", f"{DEMO}/", f"{DEMO}/nothing", "/favicon.ico"])
async def test_a_path_that_is_not_there_is_not_found(api, path: str) -> None:
    refused = await api.refused("GET", path, 404, "no-such-path")
    assert refused["detail"] == f"there is nothing at {path}; /openapi.json lists what there is"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", DEMO, "DELETE, GET, HEAD, PATCH"),
        ("PUT", "/v1/balloons", "GET, HEAD, POST"),
        ("PATCH", f"{DEMO}/frames", "GET, HEAD"),
        ("POST", f"{DEMO}/statistics", "GET, HEAD, PATCH"),
        ("POST", "/healthz", "GET, HEAD"),
        ("OPTIONS", "/", "GET, HEAD"),
    ],
)
async def test_another_method_is_not_allowed_and_the_right_ones_are_named(api, method, path, allowed: str) -> None:
    answer = await api.ask(method, path)
    assert answer.status == 405
    assert answer.headers["Allow"] == allowed
    assert answer.json()["code"] == "method-not-allowed"
    assert allowed in answer.json()["detail"]


async def test_an_error_that_nobody_foresaw_is_answered_and_logged(aiohttp_client) -> None:
    class Broken(Registry):
        def __iter__(self):
            raise RuntimeError("a secret of the inside")

    client = await aiohttp_client(build_app(Broken(), Offload()))
    with capture_logs() as logs:
        answer = await client.get("/v1/balloons")
    assert answer.status == 500
    assert answer.content_type == "application/problem+json"
    body = await answer.json()
    assert body["code"] == "internal"
    assert "secret" not in str(body)
    assert [(line["event"], line["log_level"], line["path"]) for line in logs] == [
        ("request failed", "error", "/v1/balloons"),
        ("request done", "debug", "/v1/balloons"),
    ]


def test_a_problem_has_the_fields_of_rfc_9457_and_those_it_is_given() -> None:
    answer = problem(422, "too-much", "it is too much", limit_bytes=5)
    assert answer.status == 422
    assert answer.content_type == "application/problem+json"
    assert answer.text == (
        '{"type": "about:blank", "title": "Unprocessable Entity", "status": 422, "detail": "it is too much", '
        '"code": "too-much", "limit_bytes": 5}'
    )


def test_every_wrong_field_is_named_in_one_line() -> None:
    with pytest.raises(ValidationError) as caught:
        TargetChange.model_validate({"target_mib": "x", "target_bytes": 1.5, "more": 1})
    explained = explain_body(caught.value)
    assert "\n" not in explained
    assert explained.count(";") == 2
    assert "target_mib: " in explained
    assert "target_bytes: " in explained
    assert "more: unknown field" in explained


async def test_a_client_that_is_gone_while_it_sends_is_no_failure_of_the_daemon() -> None:
    async def gone(_: web.Request) -> web.StreamResponse:
        raise ConnectionResetError("Connection lost")

    with capture_logs() as logs:
        answer = await answer_problems(make_mocked_request("PATCH", DEMO), gone)
    assert (answer.status, logs) == (400, [])

import json

from openapi_spec_validator import OpenAPIV31SpecValidator

from vballoond import __version__
from vballoond.http.app import build_app
from vballoond.http.openapi import openapi_document
from vballoond.http.routes import ROUTES
from vballoond.offload import Offload
from vballoond.registry import Registry


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(openapi_document()).validate()


async def test_the_document_is_served_as_it_is(api) -> None:
    served = await api.get("/openapi.json")
    assert served == json.loads(json.dumps(openapi_document()))
    assert served["openapi"] == "3.1.0"
    assert served["info"]["version"] == __version__


def test_the_document_lists_exactly_the_routes_of_the_application() -> None:
    app = build_app(Registry(), Offload())
    served = {(route.method, route.resource.canonical) for route in app.router.routes() if route.method != "HEAD"}
    listed = {
        (method.upper(), path) for path, operations in openapi_document()["paths"].items() for method in operations
    }
    assert listed == {(route.method, route.path) for route in ROUTES}
    assert served - {("GET", "/openapi.json")} == listed


def test_every_operation_says_what_it_is_and_what_it_answers() -> None:
    identifiers = []
    for operations in openapi_document()["paths"].values():
        for operation in operations.values():
            identifiers.append(operation["operationId"])
            assert operation["summary"].endswith(".")
            assert any(status.startswith("2") for status in operation["responses"])
            assert "403" in operation["responses"]
    assert len(set(identifiers)) == len(identifiers)


def test_what_wants_the_token_says_so() -> None:
    paths = openapi_document()["paths"]
    assert "401" not in paths["/healthz"]["get"]["responses"]
    assert "security" not in paths["/healthz"]["get"]
    assert "401" in paths["/v1/balloons"]["get"]["responses"]
    assert paths["/v1/balloons"]["get"]["security"] == [{"token": []}, {}]


def test_the_contract_of_setting_a_target_is_in_the_document() -> None:
    operation = openapi_document()["paths"]["/v1/balloons/{name}"]["patch"]
    assert set(operation["responses"]) == {"200", "202", "400", "401", "403", "404", "409", "413", "415", "422"}
    assert operation["requestBody"]["required"] is True
    assert [parameter["name"] for parameter in operation["parameters"]] == ["name", "Prefer"]


def test_a_balloon_has_the_fields_of_the_contract() -> None:
    schemas = openapi_document()["components"]["schemas"]
    assert set(schemas["Balloon"]["required"]) >= {
        "name",
        "transport",
        "state",
        "memory_bytes",
        "target_bytes",
        "actual_bytes",
        "held_frames",
        "resident_bytes",
        "reclaimed_bytes",
        "features",
        "resize",
        "counters",
    }
    assert set(schemas["ResizeView"]["required"]) == {
        "id",
        "target_bytes",
        "started_at",
        "rate_bytes_per_s",
        "stalled",
        "done",
    }
    assert schemas["Balloon"]["properties"]["state"]["enum"] == ["waiting", "running", "paused", "broken"]

import json
import re

from openapi_spec_validator import OpenAPIV31SpecValidator

from vballoond import __version__
from vballoond.config.models import BalloonSettings
from vballoond.http.app import build_app
from vballoond.http.openapi import openapi_document
from vballoond.http.openapi_texts import EXAMPLES
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
    assert served == listed


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
    assert set(operation["responses"]) == {
        *("200", "202", "400", "401", "403", "404", "408", "409", "413", "415", "422")
    }
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
    assert set(schemas["ResizeView"]["required"]) >= {
        "id",
        "target_bytes",
        "started_at",
        "rate_bytes_per_s",
        "stalled",
        "done",
    }
    assert schemas["Balloon"]["properties"]["state"]["enum"] == ["waiting", "running", "paused", "broken"]


def test_every_field_and_parameter_is_described() -> None:
    document = openapi_document()
    for name, schema in document["components"]["schemas"].items():
        assert schema.get("description") or not schema, name  # an empty one is any JSON
        for field, form in schema.get("properties", {}).items():
            assert form.get("description"), f"{name}.{field}"
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert all(parameter["description"] for parameter in operation["parameters"]), path
            assert all(answer["description"].endswith(".") for answer in operation["responses"].values()), path


def test_every_parameter_of_a_path_is_in_it_once() -> None:
    for path, operations in openapi_document()["paths"].items():
        for operation in operations.values():
            named = [parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "path"]
            assert named == re.findall(r"\{(\w+)\}", path)


def test_every_body_has_an_example_that_is_right() -> None:
    for route in ROUTES:
        if route.body is not None:
            assert EXAMPLES[route.body], route.path
    for model, examples in EXAMPLES.items():
        for example in examples.values():
            model.model_validate(example)


def test_every_operation_is_of_a_subject_that_is_explained() -> None:
    document = openapi_document()
    explained = [tag["name"] for tag in document["tags"]]
    used = {
        tag
        for operations in document["paths"].values()
        for operation in operations.values()
        for tag in operation["tags"]
    }
    assert used == set(explained)
    assert all(tag["description"] for tag in document["tags"])
    of = {path: next(iter(operations.values()))["tags"] for path, operations in document["paths"].items()}
    assert of["/v1/balloons/{name}/frames"] == ["frames"]
    assert of["/v1/balloons/{name}"] == ["balloons"]
    assert of["/v1/restart"] == of["/healthz"] == ["daemon"]


def test_sizes_and_modes_are_described_as_they_are_written() -> None:
    fields = openapi_document()["components"]["schemas"]["BalloonSettings"]["properties"]
    assert fields["min"]["type"] == fields["socket_mode"]["type"] == "string"
    assert (fields["min"]["default"], fields["socket_mode"]["default"]) == ("0MiB", "0600")
    BalloonSettings.model_validate(
        {"name": "a", "transport": "vhost-user", "socket": "a", "min": "0MiB", "socket_mode": "0600"}
    )


def test_what_changes_something_says_what_the_guards_answer() -> None:
    for operations in openapi_document()["paths"].values():
        for method, operation in operations.items():
            assert ({"400", "408", "413"} <= operation["responses"].keys()) or method == "get"

"""What the OpenAPI document says of each operation, tried on a daemon of its own by schemathesis.

A route that is added is tried without a word here. Event streams are not: they do not end, and have tests of their own.
The daemon has no keeper, so /v1/restart is tried only as far as that it refuses.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig
from support.daemon_thread import daemon_thread

from vballoond.config.feature_names import FEATURE_NAMES
from vballoond.config.models import HttpSettings, Settings
from vballoond.http.openapi import openapi_document

pytestmark = pytest.mark.long

EXAMPLES = 8
ANSWER_S = 20
NAMES = ("demo", "vm1", "")


def streams_events(context: Any) -> bool:
    answers = context.operation.definition.raw["responses"].values()
    return any("text/event-stream" in answer.get("content", {}) for answer in answers)


CONFIG = SchemathesisConfig.from_dict(
    {
        "generation": {"max-examples": EXAMPLES, "deterministic": True, "no-shrink": True},
        "checks": {
            # Documented where a guest is asked for what it does not offer; any other is a failure.
            "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503"]},
            # No schema says what a balloon can have, or that one of two fields is wanted.
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", "400", "404", "409", "422", "503"]},
        },
    }
)
SCHEMA = schemathesis.openapi.from_dict(openapi_document(), config=CONFIG).exclude(streams_events)


@SCHEMA.hook
def map_path_parameters(context: Any, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Have two of three names be of a balloon that there is: chance does not find one."""
    if (
        "balloons" in context.operation.path
        and path_parameters
        and isinstance(name := path_parameters.get("name"), str)
    ):
        path_parameters["name"] = NAMES[len(name) % len(NAMES)] or name
    return path_parameters


@SCHEMA.hook
def map_headers(context: Any, headers: dict[str, Any] | None) -> dict[str, Any] | None:
    """Have every other preference be one that counts; chance finds none."""
    del context
    if headers and isinstance(preference := headers.get("Prefer"), str) and len(preference) % 2:
        headers["Prefer"] = "wait=0"
    return headers


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[str]:
    http = {"listen": "127.0.0.1:0"}
    added = {"socket_directory": tmp_path, "max_inprocess_memory": "32MiB"}
    http |= {key: value for key, value in added.items() if key in HttpSettings.model_fields}
    balloons = [
        {"name": "demo", "transport": "in-process", "memory": "16MiB", "features": list(FEATURE_NAMES)},
        {"name": "vm1", "transport": "vhost-user", "socket": tmp_path / "vm1.sock", "memory": "64MiB"},
    ]
    with daemon_thread(Settings.model_validate({"http": http, "balloon": balloons})) as url:
        for name in ("demo", "vm1"):  # so that there is a resize to ask for
            requests.patch(f"{url}/v1/balloons/{name}", json={"target_mib": 1}, timeout=ANSWER_S).raise_for_status()
        yield url


@SCHEMA.parametrize()
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_daemon_does_what_the_document_says(case: schemathesis.Case, daemon: str) -> None:
    case.call_and_validate(base_url=daemon, timeout=ANSWER_S)

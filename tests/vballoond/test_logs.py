import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp.http_exceptions import BadHttpMessage
from aiohttp.web import RequestPayloadError
from support.logging_state import logging_as_before

from vballoond.logs import configure_logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    with logging_as_before():
        yield


@pytest.fixture
def configure(monkeypatch: pytest.MonkeyPatch) -> Callable[..., io.StringIO]:
    """Gives what sets up logging and returns what is then written to standard error, a file or a terminal."""

    def configured(level: str = "info", *, terminal: bool = False) -> io.StringIO:
        output = Terminal() if terminal else io.StringIO()
        monkeypatch.setattr(sys, "stderr", output)
        configure_logs(level)
        return output

    return configured


def lines(output: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def fail() -> None:
    raise ValueError("what went wrong")


def test_a_line_is_json_with_a_time_and_a_level(configure, capsys) -> None:
    output = configure()
    structlog.get_logger().bind(balloon="vm1").info("resize done", target_bytes=4096)
    (line,) = lines(output)
    assert datetime.fromisoformat(line.pop("timestamp")).tzinfo is not None
    assert line == {"event": "resize done", "level": "info", "balloon": "vm1", "target_bytes": 4096}
    assert capsys.readouterr().out == ""


def test_what_json_has_no_form_for_is_written_as_text(configure) -> None:
    output = configure()
    structlog.get_logger().info("odd", path=Path("/x"), number=1 << 70, error=OSError(2, "no"))
    (line,) = lines(output)
    assert line["path"] == "/x"


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_what_is_below_the_level_is_left_out(configure, level: str, seen: list[str]) -> None:
    output = configure(level)
    log = structlog.get_logger()
    for name in ("debug", "info", "warning", "error"):
        getattr(log, name)(name)
    assert [line["event"] for line in lines(output)] == seen


def test_an_error_brings_its_traceback(configure) -> None:
    output = configure()
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("request failed")
    (line,) = lines(output)
    assert "ValueError: what went wrong" in line["exception"]
    assert line["level"] == "error"


def test_messages_of_libraries_go_the_same_way(configure) -> None:
    output = configure()
    logging.getLogger("aiohttp.server").error("handler of %s failed", "/x")
    logging.getLogger("asyncio").info("not worth telling")
    (line,) = lines(output)
    assert (line["event"], line["level"], line["logger"]) == ("handler of /x failed", "error", "aiohttp.server")


def test_errors_of_libraries_bring_their_traceback(configure) -> None:
    output = configure()
    try:
        fail()
    except ValueError:
        logging.getLogger("aiohttp.server").exception("failed")
    assert "ValueError: what went wrong" in lines(output)[0]["exception"]


@pytest.mark.parametrize("level", [35, 99])
def test_messages_of_libraries_may_have_any_level(configure, level: int) -> None:
    output = configure()
    logging.getLogger("aiohttp.server").log(level, "unusual")
    assert [line["event"] for line in lines(output)] == ["unusual"]


def test_a_terminal_gets_lines_for_people(configure) -> None:
    output = configure(terminal=True)
    structlog.get_logger().info("resize done", balloon="vm1")
    assert "resize done" in output.getvalue()
    assert not output.getvalue().startswith("{")


def test_a_terminal_gets_tracebacks_too(configure) -> None:
    output = configure(terminal=True)
    try:
        fail()
    except ValueError:
        structlog.get_logger().exception("request failed")
    assert "what went wrong" in output.getvalue()


def test_what_is_no_http_is_a_line_without_a_traceback(configure) -> None:
    output = configure()
    failure = BadHttpMessage("Duplicate Content-Length:\n\n    b'Content-Length: 5'")
    logging.getLogger("aiohttp.server").error("Error handling request from %s", "127.0.0.1", exc_info=failure)
    (line,) = lines(output)
    assert (line["level"], line["event"]) == ("info", "a request came to nothing")
    assert line["reason"] == "400, message: Duplicate Content-Length: b'Content-Length: 5'"
    assert "exception" not in line


@pytest.mark.parametrize("failure", [RequestPayloadError("cut off"), ConnectionResetError("gone")])
def test_a_client_that_was_gone_before_its_answer_is_a_line_without_a_traceback(configure, failure) -> None:
    output = configure()
    logging.getLogger("aiohttp.server").error("Error handling request", exc_info=failure)
    (line,) = lines(output)
    assert (line["level"], line["event"]) == ("info", "a request came to nothing")

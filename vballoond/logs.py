"""Logs: one line for each finished operation, on standard error; for people on a terminal, as JSON elsewhere."""

import contextlib
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import pydantic_core
import structlog

_LEVELS: Final = logging.getLevelNamesMapping()


def configure_logs(level: str) -> None:
    """Set up logging for the process, from ``level`` ("debug", "info", "warning", "error") upwards.

    Called again, it changes the level, of loggers too that there are already.
    """
    _threshold.number = _LEVELS[level.upper()]
    people = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer(_to_json)
    structlog.configure(
        processors=[
            _drop_below_threshold,
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_StderrLogger,
        cache_logger_on_first_use=True,
    )
    # aiohttp's own messages, such as a handler that failed, go the same way.
    logging.basicConfig(level=logging.WARNING, handlers=[_ToStructlog()], force=True)


class _Threshold:
    """A logger that has been bound keeps its processors for ever, so what changes is behind one of them."""

    number = logging.INFO


_threshold: Final = _Threshold()


def _drop_below_threshold(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if _LEVELS["ERROR" if method == "exception" else method.upper()] < _threshold.number:
        raise structlog.DropEvent
    return event


def _to_json(value: Any, **_: Any) -> str:
    return pydantic_core.to_json(value, fallback=str).decode()


class _StderrLogger(structlog.PrintLogger):
    """Prints to standard error for as long as there is one: a log that nobody can read must not end a balloon."""

    def __init__(self, *_: Any) -> None:
        super().__init__(sys.stderr)

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = msg
    fatal = failure = err = error = critical = exception = msg


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        if _is_clients_fault(failure):
            reason = " ".join(str(failure).split())
            structlog.get_logger().info("a request came to nothing", logger=record.name, reason=reason)
            return
        level = max((known for known in _LEVELS.values() if known <= record.levelno), default=logging.DEBUG)
        structlog.get_logger().log(
            max(level, logging.DEBUG), record.getMessage(), logger=record.name, exc_info=record.exc_info
        )


def _is_clients_fault(failure: BaseException | None) -> bool:
    """Say whether somebody sent what is no HTTP, or was gone before the answer: no reason for a traceback."""
    # aiohttp is imported once guests are served, and logs are there before (http/site.py).
    from aiohttp.http import HttpProcessingError  # noqa: PLC0415
    from aiohttp.web import RequestPayloadError  # noqa: PLC0415

    return isinstance(failure, (HttpProcessingError, RequestPayloadError, ConnectionResetError))

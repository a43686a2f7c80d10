"""Ids in every log record, and no secret in any: a filter for the handlers of whoever logs.

A filter of a handler sees the records of all loggers, also those of libraries that a tool uses. The ids come from context variables, so they
are right in tools, their threads and their tasks, in hooks and in the engine.
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any, Self, cast

from ...core.errors import config_error
from ...models.secrets import mask, masked_headers
from ..where import NOWHERE, Where, where

FIELDS = (*Where._fields, "trace_id", "span_id")
"""What each record has: texts, "" if there is none; `turn` and `step` are numbers, 0 if there is none."""


class LogContext(logging.Filter):
    """Gives each record `session`, `turn`, `step`, `call`, `trace_id` and `span_id`, and covers the secrets in its message, arguments and
    traceback. What a record brings with it (`extra=…`) stays. Add it to a handler, in code or by `dictConfig`
    (`"()": "turnwise.telemetry.LogContext"`); lets every record through."""

    def filter(self, record: logging.LogRecord) -> bool:
        have = record.__dict__
        at = where() if "session" not in have else NOWHERE
        for name, value in zip(Where._fields, at, strict=True):
            have.setdefault(name, value)
        if "trace_id" not in have:
            have["trace_id"], have["span_id"] = _ids_of_span()
        _cover(record)
        return True


class Logs:
    """What `logs` has set up, until `end`. Also a context manager."""

    def __init__(self, handlers: tuple[logging.Handler, ...]) -> None:
        self._filter = LogContext()
        self._handlers = handlers
        for handler in handlers:
            handler.addFilter(self._filter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Take it off again. Idempotent."""
        for handler in self._handlers:
            handler.removeFilter(self._filter)


def logs(*handlers: logging.Handler) -> Logs:
    """Put a `LogContext` on these handlers, or on those that the root logger has by now. It changes no level and adds no handler.

    Raises `ConfigError` (`no_log_handler`) if there is none.
    """
    found = handlers or tuple(logging.getLogger().handlers)
    if not found:
        raise config_error(
            "no_log_handler",
            "Logging has no handler that could be told of sessions and turns.",
            "Set logging up first, with logging.basicConfig(…), or name the handlers: logs(handler).",
        )
    return Logs(found)


def _ids_of_span() -> tuple[str, str]:
    """Those of the span that is current by OpenTelemetry, if that is in use."""
    if (api := sys.modules.get("opentelemetry.trace")) is None:
        return "", ""
    context = api.get_current_span().get_span_context()
    return (f"{context.trace_id:032x}", f"{context.span_id:016x}") if context.is_valid else ("", "")


def _cover(record: logging.LogRecord) -> None:
    """Cover the secrets of a record where it has any; for other handlers as well, which share it."""
    try:
        said = record.getMessage()
    except Exception:  # its arguments do not fit: whoever formats it says so
        said = ""
    if (covered := mask(_headers_covered(record, said))) != said:
        record.msg, record.args = covered, None
    if record.exc_info and record.exc_info[1] is not None:
        told = record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip()
        if (covered := mask(told)) != told:
            record.exc_text, record.exc_info = covered, None
    elif record.exc_text:
        record.exc_text = mask(record.exc_text)
    if record.stack_info:
        record.stack_info = mask(record.stack_info)


def _headers_covered(record: logging.LogRecord, said: str) -> str:
    """The message with headers among its arguments told without their secrets, known or not."""
    args: Any = record.args
    for one in cast("tuple[object, ...]", args if isinstance(args, tuple) else (args,)):
        if not isinstance(one, dict):
            continue
        headers = {str(n): v for n, v in cast("dict[object, object]", one).items() if isinstance(v, str)}
        for name, value in masked_headers(headers).items():
            if value != headers[name] and headers[name]:
                said = said.replace(headers[name], value)
    return said

"""Telemetry: `instrument(runtime)` for spans and metrics by OpenTelemetry (the extra `otel`), `logs()` for ids in log records, `hide(…)` for
secrets of your own, `trace_of(…)` for a session's journal as a tree. See docs/telemetry.md."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.errors import config_error
from .models.secrets import hide, mask
from .runtime.telemetry.conventions import SCHEMA_URL, SEMCONV_VERSION
from .runtime.telemetry.logs import LogContext, Logs, logs
from .runtime.telemetry.tree import SessionTrace, TracedAttempt, TracedCall, TracedStep, TracedTurn, trace_of

if TYPE_CHECKING:
    from .runtime.telemetry.tracing import Telemetry, instrument

__all__ = [
    "SCHEMA_URL",
    "SEMCONV_VERSION",
    "LogContext",
    "Logs",
    "SessionTrace",
    "Telemetry",
    "TracedAttempt",
    "TracedCall",
    "TracedStep",
    "TracedTurn",
    "hide",
    "instrument",
    "logs",
    "mask",
    "trace_of",
]

_BY_OTEL = ("Telemetry", "instrument")


def __getattr__(name: str) -> Any:
    if name not in _BY_OTEL:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(".runtime.telemetry.tracing", __package__), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "opentelemetry":
            raise
        raise config_error(
            "missing_extra",
            "Spans and metrics need the package opentelemetry-api.",
            "Install it with: pip install 'turnwise[otel]'.",
        ) from error

"""What spans and metrics are made with, and what is kept of a turn while it runs."""

from __future__ import annotations

from contextvars import Context as Variables
from typing import TYPE_CHECKING, Any

import msgspec
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from ...core.usage import Usage
from . import conventions as c
from .instruments import Instruments
from .targets import Targets

if TYPE_CHECKING:
    from ..attempt import Attempt
    from ..runtime import Runtime

MOST_PARKED = 1000
"""Turns that are parked and whose spans are remembered, to be linked when they go on."""


NONE_YET: list[Any] = []
"""Never changed."""


class Traced:
    """What is kept of a turn that runs. `variables` is the context of its tasks, `within` the one of OpenTelemetry that its children have as
    parent; `calls` are the spans of calls that run; `attempt` is the model call under way; `appends` those that
    ended before the turn had its span; `ended_at` and
    `spent` are what the journal says of its end."""

    __slots__ = (
        "appends",
        "attempt",
        "began_at",
        "calls",
        "ended_at",
        "span",
        "spent",
        "troubled",
        "variables",
        "within",
    )

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self.within: Context | None = None
        self.span: Span | None = None
        self.appends: list[tuple[str, dict[str, Any], float, float]] = NONE_YET
        self.ended_at: float | None = None
        self.calls: dict[str, Span] = {}
        self.attempt: Attempt | None = None
        self.spent: Usage | None = None
        self.troubled = False


class Kit:
    """Of one runtime. `content_chars`: how much of what is said is captured in one attribute; 0 for nothing. `parked` are the spans of turns
    that rest."""

    __slots__ = ("content_chars", "metrics", "parked", "runtime", "targets", "tracer")

    def __init__(self, runtime: Runtime, tracer: Tracer, metrics: Instruments, content_chars: int) -> None:
        self.runtime = runtime
        self.tracer = tracer
        self.metrics = metrics
        self.content_chars = content_chars
        self.targets = Targets()
        self.parked: dict[tuple[str, int], SpanContext] = {}

    def whole_span(
        self,
        name: str,
        traced: Traced,
        attributes: dict[str, Any],
        began_at: float,
        ended_at: float,
        problem: str | None = None,
    ) -> None:
        """A span of something that has ended. Times are Unix seconds."""
        span = self.tracer.start_span(name, traced.within, SpanKind.CLIENT, attributes, start_time=ns(began_at))
        if problem is not None:
            span.set_status(Status(StatusCode.ERROR, problem))
        span.end(ns(ended_at))


def ns(at: float) -> int:
    """Unix seconds in nanoseconds."""
    return int(at * 1e9)


def tag_of(value: msgspec.Struct) -> str:
    """What journals call an entry or an outcome: `turn.interrupted`, `ok`, `denied` …"""
    return str(value.__struct_config__.tag)


def add_usage(attributes: dict[str, Any], usage: Usage | None) -> None:
    """What is known of the tokens; what the provider said nothing of is left out, not zero."""
    if usage is None:
        return
    if usage.input_tokens is not None:
        attributes[c.INPUT_TOKENS] = usage.input_tokens
    if usage.output_tokens is not None:
        attributes[c.OUTPUT_TOKENS] = usage.output_tokens
    if usage.cache_read_tokens is not None:
        attributes[c.CACHE_READ_TOKENS] = usage.cache_read_tokens
    if usage.cache_write_tokens is not None:
        attributes[c.CACHE_WRITE_TOKENS] = usage.cache_write_tokens
    if usage.reasoning_tokens is not None:
        attributes[c.REASONING_TOKENS] = usage.reasoning_tokens
    if usage.cost_usd is not None:
        attributes[c.COST] = usage.cost_usd

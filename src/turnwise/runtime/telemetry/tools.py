"""Tool calls as `execute_tool` spans. One begins before its tool does, so that what the tool starts has it as parent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.trace import SpanKind, Status, StatusCode

from ...core.entries import CallOutcome, CallStarted
from ...core.outcomes import Cancelled, Failed, Ok, explain
from ...models.secrets import mask
from . import conventions as c
from .content import text_capped
from .kit import Kit, Traced, ns, tag_of

if TYPE_CHECKING:
    from ..actor import Actor
    from ..turn import Turn


def started(kit: Kit, session: Actor[Any], turn: Turn, traced: Traced, entry: CallStarted) -> None:
    _begin(kit, session, traced, entry.call_id, entry.name, entry.at)


def over(kit: Kit, session: Actor[Any], turn: Turn, traced: Traced, entry: CallOutcome) -> None:
    """A call that never ran has a span without duration."""
    result, outcome = entry.result, entry.result.outcome
    if result.call_id not in traced.calls:
        _begin(kit, session, traced, result.call_id, entry.name, entry.at)
    span = traced.calls.pop(result.call_id)
    kind = tag_of(outcome)
    if span.is_recording():
        span.set_attribute(c.OUTCOME, kind)
        if type(outcome) is not Ok:
            span.set_attribute(c.ERROR_TYPE, outcome.error.code if type(outcome) is Failed else kind)
            if type(outcome) is not Cancelled:
                span.set_status(Status(StatusCode.ERROR, mask(explain(outcome))))
        if kit.content_chars:
            span.set_attribute(c.TOOL_RESULT, text_capped(result.text, kit.content_chars))
    span.end(ns(entry.at))
    kit.metrics.add(c.CALL_METRIC, 1, (entry.name, kind), {c.TOOL_NAME: entry.name, c.OUTCOME: kind})


def _begin(kit: Kit, session: Actor[Any], traced: Traced, call_id: str, name: str, at: float) -> None:
    attributes: dict[str, Any] = {
        c.OPERATION: c.EXECUTE_TOOL,
        c.TOOL_NAME: name,
        c.TOOL_CALL_ID: call_id,
        c.TOOL_TYPE: "function",
        c.CONVERSATION: session.id,
    }
    current = session.state.turn
    if kit.content_chars and current is not None and (found := current.find(call_id)) is not None:
        attributes[c.TOOL_ARGUMENTS] = text_capped(found.call.arguments, kit.content_chars)
    span = kit.tracer.start_span(
        f"{c.EXECUTE_TOOL} {name}", traced.within, SpanKind.INTERNAL, attributes, start_time=ns(at)
    )
    traced.calls[call_id] = span

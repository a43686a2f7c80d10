"""Model calls as `chat` spans and metrics, made when they have ended: answered, failed, or left when their turn ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.entries import AttemptFailed, StepCommitted
from ...core.errors import ErrorInfo
from ...core.result import TurnReason
from ...core.usage import Usage
from . import conventions as c
from .content import messages_as_json, text_capped
from .instruments import NOWHERE, Measurement
from .kit import Kit, Traced, add_usage
from .targets import Asked

if TYPE_CHECKING:
    from ..actor import Actor
    from ..attempt import Attempt
    from ..turn import Turn

MOST_MESSAGES = 50
"""Of the messages of a request no more than these last ones are captured."""


def answered(kit: Kit, session: Actor[Any], turn: Turn, traced: Traced, entry: StepCommitted) -> None:
    attempt, traced.attempt = traced.attempt, None
    message, said = entry.message, entry.message.response
    ended_at = said.completed_at or kit.runtime.clock.wall()
    asked = _asked(kit, turn, attempt)
    began_at, first_s = _times(kit, attempt, message.created_at or ended_at)
    attributes = _attributes(asked, session, message.turn, message.step, entry.attempt)
    attributes[c.FINISH_REASONS] = (said.stop_reason,)
    if said.response_id:
        attributes[c.RESPONSE_ID] = said.response_id
    if kit.content_chars:
        _add_content(attributes, kit.content_chars, session, attempt, entry)
    _over(kit, traced, asked, attributes, began_at, ended_at, first_s, said.usage)


def failed(kit: Kit, session: Actor[Any], turn: Turn, traced: Traced, entry: AttemptFailed) -> None:
    attempt, traced.attempt = traced.attempt, None
    error, asked = entry.error, _asked(kit, turn, attempt)
    began_at, first_s = _times(kit, attempt, entry.at)
    attributes = _attributes(asked, session, entry.turn, entry.step, entry.attempt)
    attributes[c.ERROR_TYPE] = error.code
    if error.status is not None:
        attributes[c.HTTP_STATUS] = error.status
    _over(kit, traced, asked, attributes, began_at, entry.at, first_s, entry.usage, error)
    if entry.retry_in_s is not None:
        falls_back = attempt is not None and entry.model != attempt.asked.model
        measured = {**asked.measured, c.ERROR_TYPE: error.code, c.FALLBACK: falls_back}
        kit.metrics.retries.add(1, measured, NOWHERE)


def left(kit: Kit, session: Actor[Any], traced: Traced, reason: TurnReason, at: float) -> None:
    """The turn has ended; a model call that was under way has, too."""
    attempt, traced.attempt = traced.attempt, None
    if attempt is None or attempt.sent_at is None:
        return
    asked, number = kit.targets.of(attempt.target), attempt.asked
    began_at, first_s = _times(kit, attempt, at)
    attributes = _attributes(asked, session, number.turn, number.step, number.attempt)
    attributes[c.OUTCOME] = reason
    _over(kit, traced, asked, attributes, began_at, at, first_s, traced.spent)


def _asked(kit: Kit, turn: Turn, attempt: Attempt | None) -> Asked:
    return kit.targets.of(turn.plan.target(0) if attempt is None else attempt.target)


def _times(kit: Kit, attempt: Attempt | None, otherwise: float) -> tuple[float, float | None]:
    """When the request went out (Unix seconds), and how long the first of a streamed answer took."""
    if attempt is None or attempt.sent_at is None:
        return otherwise, None
    sent, first = attempt.sent_at, attempt.first_at
    began_at = kit.runtime.clock.wall() - (kit.runtime.loop.time() - sent)
    return began_at, None if first is None or not attempt.head.stream else first - sent


def _attributes(asked: Asked, session: Actor[Any], turn: int, step: int, attempt: int) -> dict[str, Any]:
    return {**asked.request, c.CONVERSATION: session.id, c.TURN: turn, c.STEP: step, c.ATTEMPT: attempt}


def _over(
    kit: Kit,
    traced: Traced,
    asked: Asked,
    attributes: dict[str, Any],
    began_at: float,
    ended_at: float,
    first_s: float | None,
    usage: Usage | None,
    error: ErrorInfo | None = None,
) -> None:
    ended_at, metrics = max(began_at, ended_at), kit.metrics
    add_usage(attributes, usage)
    if first_s is not None:
        attributes[c.RESPONSE_FIRST_CHUNK] = first_s
    kit.whole_span(asked.span_name, traced, attributes, began_at, ended_at, None if error is None else error.message)
    measured = asked.measured if error is None else {**asked.measured, c.ERROR_TYPE: error.code}
    made: list[Measurement] = [(metrics.duration, ended_at - began_at, measured)]
    if first_s is not None:
        made.append((metrics.first_chunk, first_s, asked.measured))
    if usage is not None and usage.input_tokens is not None:
        made.append((metrics.tokens, usage.input_tokens, asked.measured_input))
    if usage is not None and usage.output_tokens is not None:
        made.append((metrics.tokens, usage.output_tokens, asked.measured_output))
    metrics.measure(made)
    if usage is not None and usage.cost_usd:
        metrics.add(c.COST_METRIC, usage.cost_usd, (asked.provider, asked.model), asked.measured)


def _add_content(
    attributes: dict[str, Any], limit: int, session: Actor[Any], attempt: Attempt | None, entry: StepCommitted
) -> None:
    message, transcript = entry.message, session.state.transcript
    at = next((i for i in range(len(transcript) - 1, -1, -1) if transcript[i] is message), len(transcript))
    attributes[c.INPUT_MESSAGES] = messages_as_json(transcript[max(0, at - MOST_MESSAGES) : at], limit)
    attributes[c.OUTPUT_MESSAGES] = messages_as_json((message,), limit, message.stop_reason)
    if attempt is not None and attempt.head.instructions:
        attributes[c.SYSTEM_INSTRUCTIONS] = text_capped(attempt.head.instructions, limit)

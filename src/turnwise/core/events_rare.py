"""The rarer events: calls that wait for someone, loops, limits, and what becomes of the context. The union of all is in `events`."""

from __future__ import annotations

import msgspec

from .changes import Decision, DecisionSource, Trigger


class ApprovalRequested(msgspec.Struct, frozen=True, gc=False, tag="approval.requested", tag_field="type"):
    """A call waits for leave to run: `session.approve(call_id)` or `deny(call_id, reason)`."""

    call_id: str
    name: str
    arguments: str
    reason: str = ""
    expires_at: float | None = None


class ApprovalGiven(msgspec.Struct, frozen=True, gc=False, tag="approval.given", tag_field="type"):
    """A call that waited for leave was allowed, perhaps with other arguments, or denied."""

    call_id: str
    name: str
    allowed: bool
    reason: str = ""
    arguments: str | None = None


class DecisionMade(msgspec.Struct, frozen=True, gc=False, tag="decision.made", tag_field="type"):
    """Something other than a person decided: a policy about a call, a hook or middleware about what it stands at. `rule` names what made
    it decide so."""

    source: DecisionSource
    decision: Decision
    call_id: str = ""
    name: str = ""
    rule: str = ""
    point: str = ""
    reason: str = ""


class QuestionAsked(msgspec.Struct, frozen=True, gc=False, tag="question.asked", tag_field="type"):
    """The model asks the user: `session.answer(call_id, …)`. `arguments` is the question as JSON text."""

    call_id: str
    name: str
    arguments: str
    expires_at: float | None = None


class ResultAwaited(msgspec.Struct, frozen=True, gc=False, tag="result.awaited", tag_field="type"):
    """A call is the caller's to run: `session.submit(call_id, result)`."""

    call_id: str
    name: str
    arguments: str
    expires_at: float | None = None


class FollowUpAccepted(msgspec.Struct, frozen=True, gc=False, tag="follow_up.accepted", tag_field="type"):
    """A message waits for the running turn to end; then it begins a turn of its own."""

    text: str
    client_ref: str | None = None
    number: int = 0


class FollowUpDropped(msgspec.Struct, frozen=True, gc=False, tag="follow_up.dropped", tag_field="type"):
    """Follow-ups that were waiting are not wanted any more: these numbers, or all if there are none."""

    numbers: tuple[int, ...] = ()


class LoopDetected(msgspec.Struct, frozen=True, gc=False, tag="loop.detected", tag_field="type"):
    """The model asks for the same again: the last `period` steps came `repeats` times in a row. `action` is what follows."""

    turn: int
    step: int
    names: tuple[str, ...]
    period: int
    repeats: int
    action: str


class TurnRecovered(msgspec.Struct, frozen=True, gc=False, tag="turn.recovered", tag_field="type"):
    """The process that drove the turn is gone, and another one goes on with it; for the `number`th time since it last came forward.

    What a step had said that was not finished does not count: drop it. `again` are the calls that had started and are run once more.
    """

    turn: int
    step: int
    number: int
    again: tuple[str, ...] = ()


class BudgetLow(msgspec.Struct, frozen=True, gc=False, tag="budget.low", tag_field="type"):
    """Little is left of a limit; told once for each."""

    turn: int
    limit: str
    used: float
    bound: float


class ContextCompacted(msgspec.Struct, frozen=True, gc=False, tag="context.compacted", tag_field="type"):
    """The transcript leaves out more of the history: the first `covers` messages, and `masked` results. Tokens are estimates."""

    trigger: Trigger
    before_tokens: int
    after_tokens: int
    covers: int
    masked: int


class CacheBroken(msgspec.Struct, frozen=True, gc=False, tag="cache.broken", tag_field="type"):
    """The next request does not begin with the bytes of the one before, so the provider reads all of it anew."""

    turn: int
    step: int
    cause: str


RareEvent = (
    ApprovalGiven
    | ApprovalRequested
    | BudgetLow
    | CacheBroken
    | ContextCompacted
    | DecisionMade
    | FollowUpAccepted
    | FollowUpDropped
    | LoopDetected
    | QuestionAsked
    | ResultAwaited
    | TurnRecovered
)

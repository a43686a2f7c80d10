"""Decisions that nobody was asked for are journalled here: a policy's verdict, and what hooks and middleware change or refuse.

`judged` makes the input about a verdict, which is folded with what follows from it. `audit` is for middleware, and `heard` for hooks: they fold at
once, so that the decision stands in the journal before whatever comes of it. What hooks say of a call at the door goes the way of verdicts, and stands
among them in the order in which all was said; what they say before a turn has begun is folded with what begins it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from ...core.audit import fingerprint
from ...core.changes import Decision, DecisionSource
from ...core.content import ToolCall
from ...core.inputs_rare import Decide
from ...tools.approval import Allow, Ask, Verdict
from ..job import Job

if TYPE_CHECKING:
    from ..actor import Actor
    from ..ground import Ground
    from ..turn import Turn

MAX_REASON_CHARS = 500
"""Of a longer reason the beginning is journalled: it may be the message of any exception."""
AT_THE_DOOR = ("tool.before", "approval.requested")
"""Points where hooks are heard among a policy's verdicts."""


def judged(job: Job, verdict: Verdict, failed: str = "") -> Decide:
    """What a policy said of a call; `failed` is why it could not be asked (rule P1)."""
    decision: Decision = "deny"
    if failed:
        decision = "failed"
    elif isinstance(verdict, Allow):
        decision = "allow"
    elif isinstance(verdict, Ask):
        decision = "ask"
    reason = failed or getattr(verdict, "reason", "")
    return Decide(
        "policy",
        decision,
        job.id,
        job.tool.name,
        fingerprint(job.call.arguments),
        rule=verdict.rule,
        reason=_short(reason),
    )


def audit(
    session: Actor[Any],
    decision: Decision,
    *,
    source: Literal["hook", "middleware"] = "hook",
    rule: str = "",
    point: str = "",
    call: ToolCall | None = None,
    arguments: str | None = None,
    reason: str = "",
) -> None:
    """Journal what a hook (or middleware) decided, before the input that follows from it.

    `rule` is its id, `point` where it stands. `call` is the call that it is about, if it is about one; `arguments`, JSON text, are those
    that the call is to run with instead. To be called on the session's loop while a turn runs. It never waits: with a store that takes its
    time the entry becomes durable in order with what is folded after it.
    """
    session.post(_decided(source, decision, rule, point, call, arguments, reason))


def heard(
    session: Ground[Any],
    turn: Turn | None,
    decision: Decision,
    *,
    rule: str,
    point: str,
    call_id: str = "",
    before: str | None = None,
    arguments: str | None = None,
    reason: str = "",
) -> None:
    """Journal what a hook said. `before` are the arguments that it saw, if the call was about to run; else those of the call are told.

    Nothing is on record of a session that has no journal yet, nor of a turn that never begins: there is none of it."""
    actor = cast("Actor[Any]", session)
    if not session.bound or (turn is None and session.state.seq == 0):
        return
    current = session.state.turn
    found = current.find(call_id) if call_id and current is not None else None
    call = None if found is None else found.call
    if call is not None and before is not None:
        call = msgspec.structs.replace(call, arguments=before)
    given = _decided("hook", decision, rule, point, call, arguments, reason)
    if turn is None:
        actor.post(given)
    elif not turn.opened:
        if turn.hooked is not None:
            turn.hooked.decided.append(given)
    elif point in AT_THE_DOOR:
        turn.calls.say(given)
    else:
        actor.post(given)


def _decided(
    source: DecisionSource,
    decision: Decision,
    rule: str,
    point: str,
    call: ToolCall | None,
    arguments: str | None,
    reason: str,
) -> Decide:
    before = "" if call is None else fingerprint(call.arguments)
    now = before if arguments is None else fingerprint(arguments)
    return Decide(
        source,
        decision,
        "" if call is None else call.id,
        "" if call is None else call.name,
        now,
        "" if now == before else before,
        rule,
        point,
        _short(reason),
    )


def _short(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON_CHARS else reason[: MAX_REASON_CHARS - 1] + "…"

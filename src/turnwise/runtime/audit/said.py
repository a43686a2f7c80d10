"""Decisions that nobody was asked for are journalled here: a policy's verdict, and what hooks and middleware change or refuse.

`judged` makes the input about a verdict, which is folded with what follows from it. `audit` is for hooks and middleware: it folds at once, so
that the decision stands in the journal before whatever comes of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ...core.audit import fingerprint
from ...core.changes import Decision
from ...core.content import ToolCall
from ...core.inputs_rare import Decide
from ...tools.approval import Allow, Ask, Verdict
from ..job import Job

if TYPE_CHECKING:
    from ..actor import Actor

MAX_REASON_CHARS = 500
"""Of a longer reason the beginning is journalled: it may be the message of any exception."""


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
    before = "" if call is None else fingerprint(call.arguments)
    now = before if arguments is None else fingerprint(arguments)
    session.post(
        Decide(
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
    )


def _short(reason: str) -> str:
    return reason if len(reason) <= MAX_REASON_CHARS else reason[: MAX_REASON_CHARS - 1] + "…"

"""A journal as a tree: whatever happened in a session is told, with what it took, from its entries alone."""

from __future__ import annotations

from typing import Any

from tests.telemetry.test_spans import agent_of, look

from turnwise import Ask, MemoryStore, Retry, Runtime, Usage
from turnwise.core.content import ToolCall
from turnwise.core.entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    SessionCreated,
    StepCommitted,
    TurnEnded,
)
from turnwise.core.errors import ErrorInfo
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, ResponseInfo, UserMessage
from turnwise.core.outcomes import Denied, ToolResult, result_of
from turnwise.core.principal import LOCAL
from turnwise.telemetry import TracedTurn, hide, trace_of
from turnwise.testing import ScriptedProvider, call, fail, reply

USAGE = Usage(100, 10, cache_read_tokens=80, cost_usd=0.25)


def journal() -> list[Entry]:
    """One turn at known times: an attempt that failed, one that asked for two calls, one of which never ran; then the answer."""
    calls = (ToolCall("t1.s1.c0", "look", "{}"), ToolCall("t1.s1.c1", "rm", "{}"))

    def said(step: int, at: float, until: float, body: Any) -> AssistantMessage:
        response = ResponseInfo("openai", "m", None, "stop", None, USAGE, until)
        return AssistantMessage(body, 1, step, at, False, response)

    error = ErrorInfo("provider", "overloaded", "Busy.", status=529, provider="openai", model="m")
    return [
        SessionCreated("s", LOCAL, 10.0, agent="guide"),
        InputAccepted(UserMessage("Hi", 1, 1, created_at=10.0), Limits()),
        AttemptFailed(1, 1, 1, error, 11.0, Usage(50), 2.0),
        StepCommitted(said(1, 11.0, 15.0, calls), 2),
        CallStarted("t1.s1.c0", "look", "", False, 15.5),
        CallOutcome(result_of("t1.s1.c1", Denied("no")), "rm", False, 15.5),
        CallOutcome(ToolResult("t1.s1.c0", "seen"), "look", True, 18.0),
        StepCommitted(said(2, 18.0, 20.0, "Done."), 1),
        TurnEnded(1, "completed", 20.5),
    ]


def test_times_tokens_and_cost_are_those_of_the_journal() -> None:
    trace = trace_of(journal())
    (turn,) = trace.turns
    assert (trace.session, trace.agent, turn.began_at, turn.ended_at, turn.reason) == (
        "s",
        "guide",
        10.0,
        20.5,
        "completed",
    )
    assert turn.usage == trace.usage == USAGE + USAGE + Usage(50)
    first, second = turn.steps
    failed, answered = first.attempts
    assert (failed.began_at, failed.ended_at, failed.retry_in_s) == (10.0, 11.0, 2.0)
    assert failed.error is not None and failed.error.status == 529
    assert (answered.began_at, answered.ended_at) == (13.0, 15.0), "after the wait"
    ran, denied = first.calls
    assert (ran.name, ran.outcome, ran.began_at, ran.ended_at) == ("look", "ok", 15.5, 18.0)
    assert (denied.outcome, denied.began_at) == ("denied", None) and "no" in denied.problem
    assert second.attempts[0].began_at == 18.0 and second.calls == []
    assert turn.calls == 2 and first.usage == USAGE + Usage(50)


def test_a_journal_that_ends_in_the_middle_is_told_as_far_as_it_goes() -> None:
    for end in range(len(journal()) + 1):
        trace = trace_of(journal()[:end])
        assert len(trace.turns) == (end > 1)
    (turn,) = trace_of(journal()[:5]).turns
    assert turn.reason == "" and turn.steps[0].calls[0].outcome == ""


def test_errors_in_it_have_no_secret() -> None:
    """P6: also those of journals that were written elsewhere."""
    hide("planted-9f31a-secret")
    entries = journal()
    entries[2] = AttemptFailed(1, 1, 1, ErrorInfo("provider", "auth", "Bad key planted-9f31a-secret."), 11.0)
    attempt = trace_of(entries).turns[0].steps[0].attempts[0]
    assert attempt.error is not None and "planted" not in attempt.error.message


async def test_what_really_happened_is_told() -> None:
    """A retry, a call that waits and is allowed, an undo, and a compaction's and an interrupt's notes, of a session that ran."""
    store = MemoryStore()
    script = [fail(529, "busy"), reply(call("look", what="a")), reply("Done."), reply("Second.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        agent = agent_of(
            provider, runtime, look, retry=Retry(base_delay_s=0.0), approvals=lambda _: Ask("sure?"), store=store
        )
        session = agent.session()
        result = await session.run("Hi")
        await session.approve(result.pending[0].call_id)
        result = await session.resume()
        await session.run("More")
        await session.undo()
        trace = trace_of(await store.read(session.id))
    first, second = trace.turns
    assert (first.number, first.reason, second.reason, second.undone, first.undone) == (
        1,
        "completed",
        "completed",
        True,
        False,
    )
    assert [attempt.error is not None for attempt in first.steps[0].attempts] == [True, False]
    assert [note.what for note in first.notes] == ["waits", "allowed"]
    assert first.rested_s > 0
    assert first.usage == result.usage and isinstance(first, TracedTurn)

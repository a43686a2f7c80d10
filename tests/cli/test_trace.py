"""`turnwise trace`: what a kept session's turns did, for people and for programs, from its journal alone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from turnwise.core.content import ToolCall
from turnwise.core.entries import (
    AttemptFailed,
    CallOutcome,
    CallStarted,
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
from turnwise.core.store import NewSession
from turnwise.core.usage import Usage
from turnwise.store.sqlite import SqliteStore
from turnwise.testing import ScriptedProvider, reply

if TYPE_CHECKING:
    from .conftest import Inside

USAGE = Usage(1000, 40, cache_read_tokens=750, cost_usd=0.0125)


@pytest.fixture
def kept(inside: Inside) -> Inside:
    with ScriptedProvider([reply("Rayleigh scattered it."), reply("First."), reply("Then.")]) as provider:
        inside.use(provider)
        inside.run("-q", "--session", "sky", "Why is the sky blue?")
        inside.run("-q", "--session", "a/1", "What should I do?")
        inside.run("-q", "--session", "a/1", "And then?")
    return inside


@pytest.fixture
def rich(inside: Inside) -> Inside:
    """A session with a retry, a call that ran and one that did not, a price and a cache hit."""
    calls = (ToolCall("t1.s1.c0", "look", "{}"), ToolCall("t1.s1.c1", "rm", "{}"))
    response = ResponseInfo("openai", "m", None, "tool_calls", None, USAGE, 15.0)
    error = ErrorInfo("provider", "overloaded", "Busy.", status=529, provider="openai", model="m")

    async def write(store: SqliteStore) -> None:
        await store.create(
            NewSession(id="0190aaaa-0000-7000-8000-000000000001", name="rich", folder=str(inside.folder))
        )
        await store.append(
            "0190aaaa-0000-7000-8000-000000000001",
            0,
            [
                SessionCreated("0190aaaa-0000-7000-8000-000000000001", LOCAL, 10.0),
                InputAccepted(UserMessage("Hi", 1, 1, created_at=10.0), Limits()),
                AttemptFailed(1, 1, 1, error, 11.0, None, 2.0),
                StepCommitted(AssistantMessage(calls, 1, 1, 11.0, False, response), 2),
                CallStarted("t1.s1.c0", "look", "", False, 15.5),
                CallOutcome(result_of("t1.s1.c1", Denied("not today")), "rm", False, 15.5),
                CallOutcome(ToolResult("t1.s1.c0", "seen"), "look", True, 18.0),
                TurnEnded(1, "interrupted", 18.5, "user"),
            ],
        )

    inside.store(write)
    return inside


def test_the_tree(rich: Inside) -> None:
    done = rich.run("trace", "rich")
    assert (done.code, done.err) == (0, "")
    assert done.lines == [
        "session rich  1 turn  1,000 in (750 cached, 75 %), 40 out, $0.012500",
        "turn 1  1970-01-01 00:00:10 UTC  8.500 s  interrupted (user)  1 step, 2 calls"
        "  1,000 in (750 cached, 75 %), 40 out, $0.012500",
        "└─ step 1  openai:m  5.000 s  tool_calls  1,000 in (750 cached, 75 %), 40 out, $0.012500",
        "   ├─ attempt 1  openai:m  1.000 s  failed: overloaded 529: Busy.  again in 2.000 s",
        "   ├─ attempt 2  openai:m  2.000 s  answered  1,000 in (750 cached, 75 %), 40 out, $0.012500",
        "   ├─ t1.s1.c0  look  2.500 s  ok",
        "   └─ t1.s1.c1  rm  denied  never ran  The call was not run: not today.",
    ]


def test_one_turn_of_a_session(kept: Inside) -> None:
    whole = kept.run("trace", "a/1")
    assert [line.split("  ")[0] for line in whole.lines if line.startswith(("turn", "session"))] == [
        "session a/1",
        "turn 1",
        "turn 2",
    ], "a name may have a slash in it"
    for ref in ("a/1/2", "a/1/t2"):
        assert [line.split("  ")[0] for line in kept.run("trace", ref).lines if line[0] == "t"] == ["turn 2"]
    assert re.match(r"turn 1  .*  completed  1 step, 0 calls", kept.run("trace", "sky/1").lines[0])
    last = kept.run("trace")
    assert last.lines[0].startswith("session a/1"), "the last one of this folder"
    assert kept.run("trace", "/2").lines[0].startswith("turn 2")


def test_as_json(rich: Inside) -> None:
    (told,) = rich.run("trace", "rich", "--json").documents
    assert told["name"] == "rich"
    (turn,) = told["turns"]
    (step,) = turn["steps"]
    assert [attempt.get("retry_in_s") for attempt in step["attempts"]] == [2.0, None]
    assert step["attempts"][1]["usage"]["cache_read_tokens"] == 750
    ran, denied = step["calls"]
    assert (ran["outcome"], ran["began_at"], ran["ended_at"]) == ("ok", 15.5, 18.0)
    assert denied["outcome"] == "denied" and "began_at" not in denied


@pytest.mark.parametrize(
    ("ref", "code"), [("sky/7", "no_turn"), ("nowhere", "no_session"), ("nowhere/1", "no_session")]
)
def test_what_is_not_there(kept: Inside, ref: str, code: str) -> None:
    done = kept.run("trace", ref, "--json")
    assert (done.code, done.out) == (2, b"")
    assert done.error["code"] == code


def test_control_characters_and_secrets_do_not_reach_it(rich: Inside) -> None:
    """P6: the journal of another program may have one in it."""
    from turnwise.telemetry import hide

    hide("Busy.Planted-77aa")

    async def more(store: SqliteStore) -> None:
        error: Any = ErrorInfo("provider", "auth", "Bad key Busy.Planted-77aa.")
        await store.append(
            "0190aaaa-0000-7000-8000-000000000001",
            8,
            [
                InputAccepted(UserMessage("Hi", 2, 1, created_at=20.0), Limits()),
                AttemptFailed(2, 1, 1, error, 21.0),
                TurnEnded(2, "error", 21.0, "auth", error),
            ],
        )

    rich.store(more)
    for args in (("trace", "rich/2"), ("trace", "rich", "--json")):
        done = rich.run(*args)
        assert done.code == 0 and b"Planted" not in done.out

"""What hooks and guardrails change or refuse is on record, among verdicts and before what follows from it (P4, H2)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host

from turnwise import Allow, Ask, Deny, ProposedCall, Session, replay, tool
from turnwise.audit import fingerprint
from turnwise.core.changes import Decided
from turnwise.core.entries import CallStarted, InputAccepted, StepCommitted
from turnwise.errors import HookError
from turnwise.hooks import Cancel, HookContext, Modify, Redirect, Replace, Retry, hook
from turnwise.middleware import guardrail
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, reply


@tool
async def write(path: str) -> str:
    return f"wrote {path}"


@tool(read_only=True)
async def read(path: str) -> str:
    return f"read {path}"


def is_rude(text: str, _: Any) -> str | None:
    return "rude" if "rude" in text else None


def is_secret(text: str, _: Any) -> str | None:
    return "a secret" if "wrote" in text else None


async def short(session: Session[Any]) -> list[tuple[Any, ...]]:
    return [(r.kind, r.decision, r.rule, r.point, r.call, r.turn, r.reason) for r in await session.audit()]


@hook("tool.before", id="door", priority=5)
def door(context: HookContext) -> Any:
    match context.value.arguments["path"]:
        case "no":
            return Cancel("not there")
        case "made up":
            return Replace("nothing")
        case "else":
            return Redirect("read", {"path": "b"})
        case "same":
            return Modify(context.value)
        case "a":
            return Modify({"path": "b"})
        case _:
            return None


@hook("tool.before", id="late")
async def late(context: HookContext) -> Any:
    await asyncio.sleep(0)
    return Modify({"path": "c"}) if context.value.arguments["path"] == "b" else None


def policy(proposed: ProposedCall) -> Allow | Ask | Deny:
    return Allow(rule=proposed.arguments.path)


async def test_what_is_said_at_the_door_stands_among_the_verdicts(
    any_host: Host, store: SuspendingStore | None
) -> None:
    """P2, P4: each change with the arguments before and after it, then the verdict on the changed call, then its beginning."""
    said = [call("write", path=path) for path in ("a", "no", "made up", "else", "same", "x")]
    async with ScriptedProvider([reply(*said), reply("Done.")]) as provider:
        agent = any_host.agent(provider, write, read, approvals=policy, hooks=[door, late], store=store)
        session = agent.session()
        result = await session.run("Hi")
        assert result.reason == "completed"
        records = await session.audit()
        journal = await session.journal(0)
    at = {r.call for r in records}
    of_call = {c: [(r.kind, r.decision, r.rule) for r in records if r.call == c] for c in at}
    assert of_call == {
        "t1.s1.c0": [
            ("verdict", "allow", "a"),
            ("hook", "modify", "door"),
            ("hook", "modify", "late"),
            ("verdict", "allow", "c"),
        ],
        "t1.s1.c1": [("verdict", "allow", "no"), ("hook", "cancel", "door")],
        "t1.s1.c2": [("verdict", "allow", "made up"), ("hook", "replace", "door")],
        "t1.s1.c3": [("verdict", "allow", "else"), ("hook", "redirect", "door"), ("verdict", "allow", "b")],
        "t1.s1.c4": [("verdict", "allow", "same"), ("verdict", "allow", "same")],
        "t1.s1.c5": [("verdict", "allow", "x")],
    }
    first, second = [r for r in records if r.call == "t1.s1.c0" and r.kind == "hook"]
    a, b, c = [fingerprint(f'{{"path":"{path}"}}') for path in "abc"]
    assert (first.before_sha256, first.arguments_sha256) == (a, b)
    assert (second.before_sha256, second.arguments_sha256) == (b, c)
    (moved,) = [r for r in records if r.decision == "redirect"]
    assert (moved.tool, moved.reason, moved.arguments_sha256) == ("write", "to read", b)
    began = {e.call_id: n for n, e in enumerate(journal) if isinstance(e, CallStarted)}
    for number, entry in enumerate(journal):
        if isinstance(entry, Decided) and entry.call_id in began:
            assert number < began[entry.call_id]
    assert replay(journal).state.transcript == list(session.messages)


async def test_what_is_said_of_steps_results_and_inputs_is_on_record(store: SuspendingStore | None) -> None:
    """P4: with the turn that it is about, in the append that it begins with."""

    @hook("turn.before", id="polite")
    def polite(context: HookContext) -> Modify:
        return Modify(f"{context.value}, please")

    @hook("step.before", id="again")
    def again(context: HookContext) -> Any:
        return Retry(0) if context.attempt == 1 and context.step == 1 else None

    @hook("step.after", id="stops")
    def stops(context: HookContext) -> Any:
        return Cancel("enough") if context.step == 2 else None

    @hook("tool.after", id="result")
    def after(context: HookContext) -> Modify:
        return Modify("other")

    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, hooks=[polite, again, stops, after], store=store).session()
        result = await session.run("Hi")
        records = await short(session)
        journal = await session.journal(0)
    assert (result.reason, result.cause) == ("stopped", "enough")
    assert records == [
        ("hook", "modify", "polite", "turn.before", "", 1, ""),
        ("hook", "retry", "again", "step.before", "", 1, ""),
        ("hook", "modify", "result", "tool.after", "t1.s1.c0", 1, ""),
        ("hook", "cancel", "stops", "step.after", "", 1, "enough"),
    ]
    kinds = [type(entry) for entry in journal]
    assert kinds[kinds.index(InputAccepted) + 1] is Decided and kinds.index(Decided) < kinds.index(StepCommitted)
    assert replay(journal).state.transcript == list(session.messages)


async def test_a_hook_that_fails_closed_is_on_record_and_one_that_fails_open_is_not() -> None:
    """P1, P4: only what was refused by it."""

    @hook("tool.before", id="open", priority=1)
    def fails_open(_: HookContext) -> None:
        raise RuntimeError("no rules file")

    @hook("tool.before", id="closed", fail="closed")
    def fails_closed(_: HookContext) -> None:
        raise RuntimeError("no rules file")

    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, hooks=[fails_open, fails_closed]).session()
        await session.run("Hi")
        (record,) = await session.audit()
    assert (record.kind, record.decision, record.rule, record.tool) == ("hook", "failed", "closed", "write")
    assert "no rules file" in record.reason


async def test_a_turn_that_a_hook_keeps_from_beginning_leaves_nothing(store: SuspendingStore | None) -> None:
    @hook("turn.before", id="no")
    def no(context: HookContext) -> Any:
        return Cancel("no") if context.value == "no" else None

    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[no], store=store).session()
        with pytest.raises(HookError):
            await session.run("no")
        await session.run("yes")
        assert await session.audit() == []


async def test_state_that_a_hook_refuses_or_changes_between_turns_is_on_record() -> None:
    @hook("state.before", id="guard")
    def guard(context: HookContext) -> Any:
        return Cancel("sealed") if context.value.key == "sealed" else Modify(2)

    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, hooks=[guard]).session()
        await session.run("Hi")
        with pytest.raises(HookError):
            await session.scopes.session.set("sealed", 1)
        await session.scopes.session.set("free", 1)
        assert [r[:4] for r in await short(session)] == [
            ("hook", "cancel", "guard", "state.before"),
            ("hook", "modify", "guard", "state.before"),
        ]


@pytest.mark.parametrize("parallel", [True, False])
async def test_what_a_guardrail_refuses_is_on_record(parallel: bool, store: SuspendingStore | None) -> None:
    """P1, P4: an input, beside the model call and before it."""
    rail = guardrail("polite", is_rude, parallel=parallel)
    async with ScriptedProvider([reply("Hi."), *([reply("Oh.")] if parallel else [])]) as provider:
        session = ANTHROPIC.agent(provider, middleware=[rail], store=store).session()
        await session.run("Hi")
        result = await session.run("rude words")
        assert (result.reason, result.cause) == ("stopped", "guardrail:polite")
        assert await short(session) == [("middleware", "cancel", "polite", "model", "", 2, "rude")]


async def test_a_result_that_a_guardrail_refuses_is_one_record(store: SuspendingStore | None) -> None:
    rail = guardrail("secrets", is_secret, on="tool", ends_turn=False)
    async with ScriptedProvider([reply(call("write", path="a"), call("read", path="b")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, read, middleware=[rail], store=store).session()
        await session.run("Hi")
        assert await short(session) == [("middleware", "cancel", "secrets", "tool", "t1.s1.c0", 1, "a secret")]

"""Every decision is in the journal, with who or what made it, bound to the exact call (P1, P2, P4, P6)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import ANTHROPIC, Host, in_virtual_time, of, read_all
from tests.runtime.stored import SharedStore
from tests.runtime.test_approvals import LoopClock

from turnwise import Allow, Ask, Deny, Limits, Principal, ProposedCall, Runtime, Session, replay, tool
from turnwise.audit import AuditRecord, fingerprint
from turnwise.core.changes import Decided
from turnwise.core.content import ToolCall
from turnwise.core.entries import CallStarted
from turnwise.events import DecisionMade, ToolStarted
from turnwise.runtime.audit.said import MAX_REASON_CHARS, audit
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, raw_call, reply

ANN, BOB = Principal("acme", "ann"), Principal("acme", "bob")


@tool
async def write(path: str, text: str = "") -> str:
    return f"wrote {path}"


@tool(read_only=True)
async def read(path: str) -> str:
    return f"read {path}"


def policy(proposed: ProposedCall) -> Allow | Ask | Deny:
    if proposed.name == "read":
        return Allow(rule="reading")
    if proposed.arguments.path == "secret":
        return Deny("secrets stay", rule="no secrets")
    return Ask("it writes", rule="writing")


def short(records: list[AuditRecord]) -> list[tuple[Any, ...]]:
    return [(r.kind, r.decision, r.call, r.tool, r.rule, r.reason, r.who and r.who.user) for r in records]


async def of_kind(session: Session[Any], kind: type[Any]) -> list[Any]:
    return [entry for entry in await session.journal(0) if type(entry) is kind]


async def test_a_turn_tells_who_and_what_decided(any_host: Host, store: SuspendingStore | None) -> None:
    """P4: verdicts with their rules, the asking, the answers with who gave them, in the order of the journal."""
    script = [
        reply(call("read", path="a"), call("write", path="secret"), call("write", path="b"), call("write", path="c")),
        reply("Done."),
    ]
    async with ScriptedProvider(script) as provider:
        agent = any_host.agent(provider, write, read, approvals=policy, store=store)
        session = agent.session(principal=ANN)
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert await session.approve("t1.s1.c2", by=BOB, reason="go on")
        assert await session.deny("t1.s1.c3", "not that one")
        await session.resume()
        records = await session.audit()
        assert short(records) == [
            ("verdict", "allow", "t1.s1.c0", "read", "reading", "", None),
            ("verdict", "deny", "t1.s1.c1", "write", "no secrets", "secrets stay", None),
            ("verdict", "ask", "t1.s1.c2", "write", "writing", "it writes", None),
            ("approval", "asked", "t1.s1.c2", "write", "", "it writes", None),
            ("verdict", "ask", "t1.s1.c3", "write", "writing", "it writes", None),
            ("approval", "asked", "t1.s1.c3", "write", "", "it writes", None),
            ("approval", "allowed", "t1.s1.c2", "write", "", "go on", "bob"),
            ("approval", "denied", "t1.s1.c3", "write", "", "not that one", "ann"),
        ]
        assert {(r.session, r.tenant, r.user, r.turn) for r in records} == {(session.id, "acme", "ann", 1)}
        assert [r.entry for r in records] == sorted({r.entry for r in records}) and all(r.at > 1e9 for r in records)
        told = [(e.source, e.decision, e.call_id, e.name, e.rule, e.reason) for e in of(DecisionMade, events)]
        assert told[:2] == [
            ("policy", "allow", "t1.s1.c0", "read", "reading", ""),
            ("policy", "deny", "t1.s1.c1", "write", "no secrets", "secrets stay"),
        ]
        journal = await session.journal(0)
    assert replay(journal).state.transcript == list(session.messages)


async def test_a_verdict_is_bound_to_the_exact_call(store: SuspendingStore | None) -> None:
    """P2: to what the arguments say, not to how they are written; edited ones are fingerprinted anew."""
    written = '{ "text":"x",  "path":"b" }'
    async with ScriptedProvider([reply(raw_call("write", written)), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=policy, store=store).session()
        await session.run("Hi")
        await session.approve("t1.s1.c0", edited_arguments={"path": "z"})
        await session.resume()
        verdict, asked, allowed = await session.audit()
    ours = fingerprint('{"path":"b","text":"x"}')
    assert verdict.arguments_sha256 == asked.arguments_sha256 == ours
    assert (allowed.arguments_sha256, allowed.before_sha256) == (fingerprint('{"path":"z"}'), ours)
    assert ours != fingerprint('{"path":"b","text":"y"}') and fingerprint(" ") == fingerprint("{}")
    assert fingerprint('{"n":123456789012345678901234567890}') != fingerprint('{"n":123456789012345678901234567891}')


def broken(_: ProposedCall) -> Any:
    raise RuntimeError("no rules file")


def nonsense(_: ProposedCall) -> Any:
    return True


async def broken_later(_: ProposedCall) -> Any:
    await asyncio.sleep(0)
    raise RuntimeError("no rules file")


@pytest.mark.parametrize(
    ("check", "why"), [(broken, "no rules file"), (broken_later, "no rules file"), (nonsense, "gave a bool")]
)
async def test_a_check_that_failed_is_a_record(check: Callable[..., Any], why: str) -> None:
    """P1: it means no, and the audit says why."""
    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=check).session()
        await session.run("Hi")
        (record,) = await session.audit()
    assert (record.kind, record.decision, record.call, record.tool) == ("verdict", "failed", "t1.s1.c0", "write")
    assert why in record.reason and record.rule == ""


@in_virtual_time
async def test_a_check_that_took_too_long_is_a_record() -> None:
    """P1."""

    async def slow(_: ProposedCall) -> Allow:
        await asyncio.sleep(1000)
        return Allow()

    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=slow).session()
        await session.run("Hi")
        (record,) = await session.audit()
        assert record.decision == "failed" and "30 s" in record.reason
        await session.close()


async def test_long_reasons_are_cut() -> None:
    def long(_: ProposedCall) -> Any:
        raise RuntimeError("x" * 5000)

    async with ScriptedProvider([reply(call("write", path="a")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=long).session()
        await session.run("Hi")
        (entry,) = await of_kind(session, Decided)
    assert len(entry.reason) == MAX_REASON_CHARS and entry.reason.endswith("…")


@in_virtual_time
async def test_what_nobody_answered_names_nobody() -> None:
    script = [reply(call("write", path="a"))]
    async with Runtime(clock=LoopClock()) as runtime, ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=lambda _: Ask(expires_in_s=5), runtime=runtime).session()
        await session.run("Hi")
        await asyncio.sleep(6)
        *_, last = await session.audit()
        assert (last.kind, last.decision, last.who) == ("approval", "expired", None)
        await session.close()


async def test_a_denial_by_a_limit_is_a_record_and_one_by_a_policy_is_none_twice() -> None:
    limits = Limits(per_tool={"read": 1})
    script = [reply(call("read", path="a"), call("read", path="b"), call("write", path="secret")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, write, read, approvals=policy, limits=limits).session()
        await session.run("Hi")
        records = await session.audit()
    assert [(r.kind, r.decision, r.call) for r in records] == [
        ("denial", "denied", "t1.s1.c1"),
        ("verdict", "allow", "t1.s1.c0"),
        ("verdict", "deny", "t1.s1.c2"),
    ]
    assert "limit of 1 calls of read" in records[0].reason


async def test_without_a_policy_nothing_is_journalled() -> None:
    """The way of a call costs what it did."""
    async with ScriptedProvider([reply(call("write", path="a"), call("read", path="b")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, read).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert await session.audit() == [] and not of(DecisionMade, events)
        assert len(await session.journal(0)) == 1 + 1 + 1 + 2 + 2 + 1 + 1


async def test_settings_say_what_changed_and_who_changed_it(store: SuspendingStore | None) -> None:
    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider, write, store=store).session(principal=ANN)
        await session.set(temperature=0.5, instructions="Be brief.")
        await session.set(temperature=None, tools=["write"], by=BOB)
        await session.run("Hi")
        first, second = await session.audit(kind="settings")
    assert (first.who, first.detail) == (ANN, {"temperature": 0.5, "instructions": "Be brief."})
    assert (second.who, second.detail) == (BOB, {"temperature": None, "tools": ["write"]})


async def test_records_are_filtered() -> None:
    script = [reply(call("read", path="a"), call("write", path="b"))]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, write, read, approvals=policy).session()
        await session.run("Hi")
        await session.approve("t1.s1.c1", by=BOB)
        everything = await session.audit()
        assert [r.decision for r in await session.audit(tool="write")] == ["ask", "asked", "allowed"]
        assert [r.decision for r in await session.audit(who=BOB)] == ["allowed"]
        assert [r.decision for r in await session.audit(kind="verdict")] == ["allow", "ask"]
        assert await session.audit(since=everything[-1].at + 1) == []
        assert await session.audit(since=everything[0].at) == everything
        await session.close()


async def test_synchronous_code_sees_it_too() -> None:
    async with Runtime() as runtime, ScriptedProvider([reply(call("write", path="a"))]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=policy, runtime=runtime).session()
        await session.run("Hi")
        assert await asyncio.to_thread(lambda: session.sync.approve("t1.s1.c0", by=BOB))
        await asyncio.to_thread(lambda: session.sync.set(temperature=0.1, by=ANN))
        records = await asyncio.to_thread(session.sync.audit)
        assert [(r.decision, r.who) for r in records[-2:]] == [("allowed", BOB), ("changed", ANN)]
        await session.close()


# --- hooks and middleware -----------------------------------------------------------------------------------------------


async def test_what_a_hook_decides_stands_before_what_follows_from_it(store: SuspendingStore | None) -> None:
    """The function that hooks and middleware call, from a tool here: the entry is in the journal before the call's outcome."""
    sessions: list[Session[Any]] = []

    @tool
    async def meddle(path: str) -> str:
        said = ToolCall("t1.s1.c0", "meddle", '{"path":"a"}')
        audit(sessions[0], "modify", rule="cleaner", point="tool.before", call=said, arguments='{"path":"b"}')
        audit(sessions[0], "cancel", source="middleware", rule="guardrail", reason="x" * 1000)
        return "done"

    async with ScriptedProvider([reply(call("meddle", path="a")), reply("Done.")]) as provider:
        sessions.append(ANTHROPIC.agent(provider, meddle, store=store).session())
        async with sessions[0].stream("Hi") as turn:
            events = await read_all(turn)
        modified, cancelled = await sessions[0].audit()
        journal = await sessions[0].journal(0)
    assert (modified.kind, modified.decision, modified.rule, modified.point) == (
        "hook",
        "modify",
        "cleaner",
        "tool.before",
    )
    assert modified.arguments_sha256 == fingerprint('{"path":"b"}')
    assert modified.before_sha256 == fingerprint('{"path":"a"}')
    assert (cancelled.kind, cancelled.rule, cancelled.call, cancelled.turn) == ("middleware", "guardrail", "", 1)
    assert len(cancelled.reason) == MAX_REASON_CHARS
    kinds = [type(entry) for entry in journal]
    assert kinds.index(CallStarted) < kinds.index(Decided)
    order = [type(e) for e in events if type(e) in (ToolStarted, DecisionMade)]
    assert order == [ToolStarted, DecisionMade, DecisionMade]
    assert replay(journal).state.transcript == list(sessions[0].messages)


async def test_a_decision_between_turns_is_on_record() -> None:
    """A hook may refuse that a session ends, or a change of state: there need be no turn."""
    async with ScriptedProvider([reply("Hi.")]) as provider:
        session = ANTHROPIC.agent(provider).session()
        await session.run("Hi")
        audit(session, "cancel", rule="guard", point="state.before", reason="no")
        (record,) = await session.audit()
        journal = await session.journal(0)
    assert (record.turn, record.decision, record.entry) == (0, "cancel", len(journal))
    assert replay(journal).state.seq == len(journal)


# --- what is written ----------------------------------------------------------------------------------------------------


async def test_arguments_and_secrets_are_not_in_verdicts(store: SuspendingStore | None) -> None:
    """P6: a verdict has a fingerprint, never the arguments; its event neither."""
    async with ScriptedProvider([reply(call("write", path="b", text="hunter2")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=lambda _: Allow(), store=store).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        (entry,) = await of_kind(session, Decided)
        told = of(DecisionMade, events)
        records = await session.audit()
    for said in (entry, told, records):
        assert b"hunter2" not in msgspec.json.encode(said)


async def test_a_verdict_that_came_too_late_is_not_journalled() -> None:
    """The turn was interrupted while the policy thought: nothing was decided."""
    asked = asyncio.Event()

    async def think(_: ProposedCall) -> Allow:
        asked.set()
        await asyncio.Event().wait()
        return Allow()

    async with ScriptedProvider([reply(call("write", path="a"))]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=think).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await asked.wait()
            session.interrupt()
            await reading
        assert await session.audit() == []


async def test_with_a_store_that_is_claimed(tmp_path: Any) -> None:
    """A decision shares the append with what follows from it: no more appends than without."""
    script = [reply(call("write", path="secret")), reply("Done.")]
    appends: list[int] = []

    class Counting(SharedStore):
        async def append(self, session: str, after: int, entries: Any, claim: Any = None) -> int:
            appends.append(len(entries))
            return await super().append(session, after, entries, claim)

    counts: list[int] = []
    for approvals in (None, lambda _: Allow(rule="x")):
        appends.clear()
        async with Runtime() as runtime, ScriptedProvider(script) as provider:
            agent = ANTHROPIC.agent(provider, write, approvals=approvals, runtime=runtime, store=Counting())
            async with agent.session() as session:
                await session.run("Hi")
        counts.append(len(appends))
    assert counts[0] == counts[1]


async def test_records_are_plain_json() -> None:
    store = MemoryStore()
    async with ScriptedProvider([reply(call("write", path="secret")), reply("Done.")]) as provider:
        session = ANTHROPIC.agent(provider, write, approvals=policy, store=store).session()
        await session.run("Hi")
        (record,) = await session.audit()
    said = json.loads(msgspec.json.encode(record))
    assert said["rule"] == "no secrets" and "who" not in said
    assert msgspec.json.decode(msgspec.json.encode(record), type=AuditRecord) == record

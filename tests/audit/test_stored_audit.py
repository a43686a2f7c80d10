"""The audit over all sessions of a store: filtered, exported, and not stopped by one that is damaged (P4, D5, D7)."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import ANTHROPIC
from tests.runtime.stored import KINDS, opened

from turnwise import Allow, Deny, Principal, ProposedCall, Query, Sessions, tool
from turnwise.audit import AuditRecord, Wanted, as_jsonl, read_audit
from turnwise.core.audit import Auditor
from turnwise.core.evolve import fold
from turnwise.core.replay import replay
from turnwise.errors import StateError
from turnwise.store.codec import decode_entry, encode_entry
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, repeat, reply

ANN, BOB = Principal("acme", "ann"), Principal("acme", "bob")
GOLDEN = Path(__file__).with_name("journal_v1.jsonl")


@tool
async def delete(path: str) -> str:
    return "gone"


def policy(proposed: ProposedCall) -> Allow | Deny:
    return Deny("no", rule="never") if proposed.arguments.path == "x" else Allow(rule="rest")


async def all_of(sessions: Sessions, which: str | None = None, **given: Any) -> list[AuditRecord]:
    return [record async for record in sessions.audit(which, **given)]


@pytest.mark.parametrize("kind", ["memory", *KINDS])
async def test_all_sessions_of_a_store(kind: str, tmp_path: Path) -> None:
    """Of one session, of a principal, of a tenant; by rule, tool, time."""
    script = [reply(call("delete", path="x"), call("delete", path="y")), reply("Done.")]
    async with opened(kind, tmp_path) as store, ScriptedProvider([*script, *script, *script]) as provider:
        agent = ANTHROPIC.agent(provider, delete, approvals=policy)
        async with Sessions(store, [agent]) as sessions:
            for name, whose in (("a", ANN), ("b", BOB)):
                session = await sessions.open(name, principal=whose)
                await session.run("Hi")
            session = await sessions.open("local")
            await session.run("Hi")
            await session.set(temperature=0.3, by=BOB)

            assert [r.decision for r in await all_of(sessions, "a", principal=ANN)] == ["deny", "allow"]
            assert [(r.user, r.rule) for r in await all_of(sessions, principal=BOB)] == [
                ("bob", "never"),
                ("bob", "rest"),
            ]
            assert [r.kind for r in await all_of(sessions)] == ["verdict", "verdict", "settings"], "the local tenant"
            tenant = await all_of(sessions, query=Query(tenant="acme", archived=None), kind="verdict")
            assert [(r.user, r.decision) for r in tenant] == [
                ("bob", "deny"), ("bob", "allow"), ("ann", "deny"), ("ann", "allow"),
            ]  # fmt: skip
            everyone = Query(tenant=None, archived=None)
            assert len(await all_of(sessions, query=everyone, tool="delete")) == 6
            assert len(await all_of(sessions, query=everyone, who=BOB)) == 1
            last = max(r.at for r in await all_of(sessions))
            assert [r.kind for r in await all_of(sessions, since=last)] == ["settings"]
            assert await all_of(sessions, since=last + 3600) == []
            assert len(await all_of(sessions, until=last)) == 2
            with pytest.raises(StateError, match="nobody"):
                await all_of(sessions, "nobody")
            with pytest.raises(StateError):
                await all_of(sessions, "a", principal=BOB)


async def test_a_journal_that_cannot_be_read_hides_nothing(tmp_path: Path) -> None:
    """D5, D7: the others are told, and a record says where this one ended."""
    store = MemoryStore()
    async with ScriptedProvider([reply(call("delete", path="x")), reply("Done."), repeat(reply("Fine."))]) as provider:
        agent = ANTHROPIC.agent(provider, delete, approvals=policy)
        async with Sessions(store, [agent]) as sessions:
            first = await sessions.open("good")
            await first.run("Hi")
            second = await sessions.open("bad")
            await second.set(temperature=0.5)
            await second.run("Hi")
            broken = second.id

            class Damaged:
                def __getattr__(self, name: str) -> Any:
                    return getattr(store, name)

                async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
                    entries = list(await store.read(session, after, limit))
                    if session == broken and after + len(entries) > 2:
                        decode_entry(b'{"type":"session.teleported"}', session, 3)
                    return entries

            damaged: Any = Damaged()
            wanted = Wanted(kind="verdict")
            async with aclosing(read_audit(damaged, Query(), wanted)) as records:
                found = [record async for record in records]
            assert [(r.session == broken, r.kind, r.entry) for r in found] == [
                (True, "unreadable", 3),
                (False, "verdict", 4),
            ]
            assert "does not know" in found[0].reason


async def test_an_export_is_one_record_a_line(tmp_path: Path) -> None:
    store = MemoryStore()
    script = [reply(call("delete", path="x"), call("delete", path="y")), reply("Done.")]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, delete, approvals=policy, store=store).session("a")
        await session.run("Hi")
        records = await session.audit()
        await session.close()
    data = b"".join([line async for line in as_jsonl(read_audit(store, Query(), Wanted()))])
    assert [msgspec.json.decode(line, type=AuditRecord) for line in data.splitlines()] == records


def test_the_golden_journal_still_loads() -> None:
    """D7: entries as the first release with audits wrote them, byte by byte; they are read, folded, replayed and audited as then."""
    lines = GOLDEN.read_bytes().splitlines()
    entries = [decode_entry(line, "golden", number) for number, line in enumerate(lines, 1)]
    assert [encode_entry(entry) for entry in entries] == lines
    assert replay(entries).state == fold(entries)
    auditor = Auditor("golden")
    records = [r for n, e in enumerate(entries, 1) if (r := auditor.read(n, e)) is not None]
    assert [(r.entry, r.kind, r.decision, r.rule, r.who and r.who.user) for r in records] == [
        (2, "settings", "changed", "", "ann"),
        (3, "settings", "changed", "", "bob"),
        (6, "hook", "modify", "cleaner", None),
        (7, "verdict", "ask", "writing", None),
        (8, "approval", "asked", "", None),
        (10, "approval", "allowed", "", "bob"),
    ]

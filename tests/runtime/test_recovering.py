"""What happens to turns when processes end: found and continued by another one, or finished, or left to be continued."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, names, results, said, until
from tests.runtime.stored import KINDS, SharedStore, journal_of, left_behind, opened

from turnwise import Ask, Principal, Query, Runtime, Sessions, SqliteStore, tool
from turnwise.core.entries import CallStarted, Interrupted, StepCommitted, TurnEnded
from turnwise.core.outcomes import Ok, Unknown
from turnwise.core.store import Owner
from turnwise.errors import SessionBusy, SessionError
from turnwise.events import TurnFinished
from turnwise.runtime.opening import open_stored, recover
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, hang, repeat, reply

OK = repeat(reply("Fine."))


class Effects:
    """Tools that count what they do; the first one is safe to repeat. Both wait for `go`, if it is set."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.go: asyncio.Event | None = None

        @tool(idempotent=True)
        async def look() -> str:
            return await self.do("look")

        @tool
        async def send() -> str:
            return await self.do("send")

        self.all = (look, send)

    async def do(self, what: str) -> str:
        self.done.append(what)
        if self.go is not None:
            await self.go.wait()
        return f"{what} done"


# --- recovering --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_what_a_dead_process_left_is_found_and_continued(kind: str, tmp_path: Path) -> None:
    """D2: of all tenants, under a lease that has run out; a session of an unknown agent is listed and left alone, one that waits
    waits on, one that runs elsewhere runs on."""
    async with (
        opened(kind, tmp_path) as store,
        ScriptedProvider([reply("Once."), reply("Twice."), reply(call("send")), OK]) as provider,
    ):
        effects = Effects()
        agent = ANTHROPIC.agent(provider, *effects.all, approvals=lambda _: Ask())
        acme = await left_behind(store, (await journal_of(agent, principal=Principal("acme", "ada")))[:2], "a")
        await left_behind(store, (await journal_of(agent))[:2], "unknown", agent="legal")
        waits = await left_behind(store, await journal_of(agent), "waits")
        alive = await left_behind(store, (await journal_of(agent))[:2], "alive", owner=Owner("alive"), ttl_s=60)
        before = {id: await store.read(id) for id in (waits, alive)}
        async with Sessions(store, agent) as sessions:
            recovery = await sessions.recover()
            assert [info.name for info in recovery.unknown] == ["unknown"]
            assert [info.name for info in recovery.parked] == ["waits"]
            await recovery.wait()
            assert list(recovery.results) == [acme] and not recovery.failed and not recovery.continuing
            assert recovery.results[acme].reason == "completed"
            assert names(await store.read(acme))[-3:] == ["Recovered", "StepCommitted", "TurnEnded"]
            assert {id: await store.read(id) for id in (waits, alive)} == before
            assert not (await sessions.recover()).continuing
            with pytest.raises(SessionBusy) as raised:
                await (await sessions.open("alive")).run("Hi")
            assert raised.value.code == "session_busy"
        (unknown,) = await store.sessions(Query(name="unknown"))
        assert unknown.status == "running" and unknown.last == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_calls_are_repeated_only_if_that_is_safe(kind: str, tmp_path: Path) -> None:
    """D2: cut after both calls had started: the one is run again, the other's outcome is unknown and the model is told."""
    async with opened(kind, tmp_path) as store, ScriptedProvider([reply(call("look"), call("send")), OK]) as provider:
        effects = Effects()
        agent = ANTHROPIC.agent(provider, *effects.all)
        whole = await journal_of(agent)
        started = max(n for n, entry in enumerate(whole) if isinstance(entry, CallStarted))
        session_id = await left_behind(store, whole[: started + 1])
        effects.done.clear()
        async with Sessions(store, agent) as sessions:
            recovery = await (await sessions.recover()).wait()
            assert effects.done == ["look"]
            outcomes = [type(r.outcome) for r in results(recovery.results[session_id])]
            assert outcomes == [Ok, Unknown]


async def test_recovery_keeps_within_the_bound_of_turns() -> None:
    async with ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider)
        journals = [(await journal_of(agent))[:2] for _ in range(30)]
        store = SharedStore()
        for journal in journals:
            await left_behind(store, journal)
        async with Sessions(store, agent, max_turns=3) as sessions:
            recovery, most = await sessions.recover(), 0
            waiting = asyncio.ensure_future(recovery.wait())
            while not waiting.done():
                most = max(most, sessions.status().running)
                await asyncio.sleep(0)
            assert most == 3 and len(recovery.results) == 30 and not recovery.failed


@pytest.mark.parametrize("kind", KINDS)
async def test_two_processes_that_recover_at_once_continue_each_turn_once(kind: str, tmp_path: Path) -> None:
    """D3: whoever comes second to a session leaves it to the other."""
    async with opened(kind, tmp_path) as store, ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider)
        journals = [(await journal_of(agent))[:2] for _ in range(20)]
        ids = [await left_behind(store, journal) for journal in journals]
        asked = len(provider.requests)
        async with (
            Runtime() as here,
            Runtime() as there,
            Sessions(store, agent, runtime=here) as one,
            Sessions(store, agent, runtime=there) as two,
        ):
            first, second = await asyncio.gather(one.recover(), two.recover())
            await first.wait()
            await second.wait()
            assert sorted([*first.results, *second.results]) == sorted(ids)
            assert not first.failed and not second.failed
        for session_id in ids:
            assert names(await store.read(session_id)).count("TurnEnded") == 1
        assert len(provider.requests) - asked == 20


async def test_a_turn_that_another_process_has_ended_meanwhile_is_none_to_recover() -> None:
    """D3: both saw it as left; the slower one finds it over, which is no failure."""
    async with ScriptedProvider([OK]) as provider, Runtime() as here, Runtime() as there:
        agent, store = ANTHROPIC.agent(provider), SharedStore()
        session_id = await left_behind(store, (await journal_of(agent))[:2])
        one, two = [await open_stored(agent, session_id, store=store, runtime=runtime) for runtime in (here, there)]
        result = await recover(one)
        assert result is not None and result.reason == "completed"
        assert await recover(two) is None
        assert said(two) == ["Hi", "Fine."] and (await two.run("Again")).turn == 2


async def test_opening_a_session_continues_its_turn_in_the_background() -> None:
    """Whoever opens it may watch, and is told that a turn runs if they begin another."""
    async with ScriptedProvider([reply("Never seen."), reply("Late.", stall_before_headers=True), OK]) as provider:
        agent, store = ANTHROPIC.agent(provider), SharedStore()
        await left_behind(store, (await journal_of(agent))[:2], "a")
        async with Sessions(store, agent) as sessions:
            session = await sessions.open("a")
            watcher = session.watch()
            await provider.reached("stalled", 2)
            assert session.running and session.turn is not None
            with pytest.raises(SessionBusy):
                await session.run("Me too")
            provider.release()
            assert (await session.turn.wait()).text == "Late."
            told = [await anext(watcher)]
            while not isinstance(told[-1], TurnFinished):
                told.append(await anext(watcher))
            assert names(told).count("TurnStarted") <= 1
            assert (await session.run("Again")).reason == "completed"
            alone = await sessions.open("a", resume=False)
            assert alone is session


async def test_recovered_turns_get_their_context_from_the_application() -> None:
    """A context object is never journalled; after a crash the application says what it is."""
    seen: list[Any] = []

    async with ScriptedProvider([reply(call("look")), OK]) as provider:
        from turnwise import ToolContext

        @tool(idempotent=True)
        async def look(ctx: ToolContext[Any]) -> str:
            seen.append(ctx.context)
            return ""

        agent, store = ANTHROPIC.agent(provider, look), SharedStore()
        session_id = await left_behind(store, (await journal_of(agent))[:4], "a")
        async with Sessions(store, agent, contexts=lambda info: {"session": info.name}) as sessions:
            await (await sessions.recover()).wait()
            assert seen[-1] == {"session": "a"}
            assert (await store.info(session_id)) is not None


async def test_recovery_is_done_again_and_again_if_asked() -> None:
    """A process that has just died holds its lease for a while: it is found later."""
    async with ScriptedProvider([OK]) as provider:
        agent, now = ANTHROPIC.agent(provider), [1000.0]
        store = SharedStore(wall=lambda: now[0])
        journal = (await journal_of(agent))[:2]
        session_id = await left_behind(store, journal, ttl_s=30)
        async with Sessions(store, agent, recover_every_s=0.01) as sessions:
            assert not (await sessions.recover()).continuing
            now[0] += 31
            async with await sessions.watch(session_id) as watcher:
                async for event in watcher:
                    if isinstance(event, TurnFinished):
                        break
            assert not sessions.status().problems


async def test_one_damaged_session_does_not_keep_the_others_from_being_recovered() -> None:
    """D5: why it could not be continued is in the report."""

    class Damaged(SharedStore):
        bad = ""

        async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
            if session == self.bad:
                from turnwise.store.codec import damaged_entry

                raise damaged_entry(session, 1, "a bit was flipped")
            return await super().read(session, after, limit)

    async with ScriptedProvider([OK]) as provider:
        agent, store = ANTHROPIC.agent(provider), Damaged()
        good, bad = [await left_behind(store, (await journal_of(agent))[:2]) for _ in range(2)]
        store.bad = bad
        async with Sessions(store, agent) as sessions:
            recovery = await (await sessions.recover()).wait()
            assert list(recovery.results) == [good]
            assert recovery.failed[bad].code == "damaged_entry"


# --- shutting down -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [MemoryStore, SharedStore])
async def test_draining_lets_running_turns_end_and_no_other_begin(kind: type[MemoryStore]) -> None:
    async with ScriptedProvider([hang(), OK]) as provider:
        store = kind()
        async with Sessions(store, ANTHROPIC.agent(provider), max_turns=1) as sessions:
            running, waiting, idle = [await sessions.open(name) for name in ("running", "waiting", "idle")]
            first = asyncio.create_task(running.run("Hi"))
            await provider.reached("stalled")
            second = asyncio.create_task(waiting.run("Hi"))
            await until(lambda: sessions.status().waiting)
            drain = asyncio.create_task(sessions.drain(30))
            with pytest.raises(SessionError) as raised:
                await second
            assert raised.value.code == "draining" and raised.value.retryable
            with pytest.raises(SessionError) as raised:
                await idle.run("Hi")
            assert raised.value.code == "draining" and sessions.status().draining
            provider.release()
            drained = await drain
            assert (await first).reason == "completed"
            assert (drained.ended, drained.left) == ((running.id,), ())
            assert len(provider.requests) == 1
            assert not await store.read(waiting.id)


@pytest.mark.parametrize("kind", ["memory", *KINDS])
async def test_what_does_not_end_in_time_is_left_to_be_continued_at_once(kind: str, tmp_path: Path) -> None:
    """D2, C1: the journal has no word of the shutdown, the lease needs not run out, and another process continues: the call that
    had ended is not repeated, the one that was running is of unknown outcome."""
    async with (
        opened(kind, tmp_path) as store,
        ScriptedProvider([reply(call("look")), reply(call("send")), OK]) as provider,
    ):
        effects = Effects()
        agent = ANTHROPIC.agent(provider, *effects.all)
        async with Runtime() as here:
            sessions = Sessions(store, agent, runtime=here)
            session = await sessions.open("a")
            watcher = session.watch()
            running = asyncio.create_task(session.run("Hi"))
            await until(lambda: effects.done == ["look"])
            effects.go = asyncio.Event()
            await until(lambda: effects.done == ["look", "send"])
            drained = await sessions.close(drain_s=0.05)
            assert (drained.ended, drained.left) == ((), (session.id,))
            with pytest.raises(SessionError) as raised:
                await running
            assert raised.value.code == "shut_down"
            assert raised.value.result is not None and raised.value.result.steps == 2
            told = [event async for event in watcher]
            assert isinstance(told[-1], TurnFinished) and told[-1].result.cause == "shut_down"
        entries = await store.read(session.id)
        assert not [e for e in entries if isinstance(e, Interrupted | TurnEnded)]
        effects.go = None
        async with Runtime() as there, Sessions(store, agent, runtime=there) as sessions:
            recovery = await (await sessions.recover()).wait()
            result = recovery.results[session.id]
            assert result.reason == "completed" and effects.done == ["look", "send"]
            assert [type(r.outcome) for r in results(result)] == [Ok, Unknown]
            assert said(await sessions.open("a"))[-1] == "Fine."


async def test_a_turn_that_is_left_while_the_store_is_writing_loses_nothing() -> None:
    """D1: what was on its way into the journal arrives before the claim is given back."""

    class Slow(SharedStore):
        gate: asyncio.Event | None = None
        inside = 0

        async def append(self, session: str, after: int, entries: Any, claim: Any = None) -> int:
            if self.gate is not None and after:
                self.inside += 1
                await self.gate.wait()
            return await super().append(session, after, entries, claim)

    async with ScriptedProvider([reply(call("look")), OK]) as provider:
        effects, store = Effects(), Slow()
        effects.go = asyncio.Event()
        agent = ANTHROPIC.agent(provider, *effects.all)
        async with Runtime() as here:
            sessions = Sessions(store, agent, runtime=here)
            session = await sessions.open("a")
            running = asyncio.create_task(session.run("Hi"))
            await until(lambda: effects.done)
            store.gate = asyncio.Event()
            effects.go.set()
            await until(lambda: store.inside)
            closing = asyncio.create_task(sessions.close(drain_s=0.0))
            await until(running.done)
            store.gate.set()
            await closing
            assert isinstance(running.exception(), SessionError)
        assert names(await store.read(session.id))[-1] == "CallOutcome"
        async with Runtime() as there, Sessions(store, agent, runtime=there) as sessions:
            await (await sessions.recover()).wait()
            assert effects.done == ["look"]


async def test_leaving_drains_and_saves_what_is_open() -> None:
    """The next process opens the session from its snapshot: none of the journal's beginning is read."""
    read: list[int] = []

    class Reading(SharedStore):
        async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
            read.append(after)
            return await super().read(session, after, limit)

    async with ScriptedProvider([OK]) as provider:
        store, agent = Reading(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            await (await sessions.open("a")).run("Hi")
        read.clear()
        async with Sessions(store, agent) as sessions:
            assert said(await sessions.open("a")) == ["Hi", "Fine."]
            assert read == [4]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_parked_turn_stays_parked_over_a_shutdown(kind: str, tmp_path: Path) -> None:
    async with opened(kind, tmp_path) as store, ScriptedProvider([reply(call("send")), OK]) as provider:
        effects = Effects()
        agent = ANTHROPIC.agent(provider, *effects.all, approvals=lambda _: Ask())
        async with Sessions(store, agent) as sessions:
            result = await (await sessions.open("a")).run("Hi")
            assert result.reason == "parked"
        async with Sessions(store, agent) as sessions:
            session = await sessions.open("a")
            assert session.status().phase == "parked" and not session.running
            await session.approve(result.pending[0].call_id)
            assert (await session.resume()).reason == "completed" and effects.done == ["send"]


async def test_what_was_said_ahead_is_not_forgotten() -> None:
    """A follow-up that was still queued when its process ended begins when the session is opened again."""
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        agent, store = ANTHROPIC.agent(provider), SharedStore()
        scratch = agent.session()
        async with scratch.stream("Hi") as turn:
            await scratch.follow_up("And then?")
            entries = list(await scratch.journal(0))
            await scratch.drop_follow_ups()
            async for _ in turn:
                pass
        whole = await scratch.journal(0)
        ended = [entry for entry in whole if isinstance(entry, StepCommitted | TurnEnded)]
        await left_behind(store, [*entries, *ended], "a")
        async with Sessions(store, agent) as sessions:
            session = await sessions.open("a")
            await until(lambda: session.state.turns == 2 and not session.running)
            assert said(session) == ["Hi", "One.", "And then?", "Two."]


SERVICE = """
import asyncio, sys
from pathlib import Path
from turnwise import Agent, Runtime, Sessions, SqliteStore, tool

folder, url = Path(sys.argv[1]), sys.argv[2]


@tool(idempotent=True)
async def look() -> str:
    with open(folder / "look", "a") as f:
        f.write(".")
    return "seen"


@tool
async def send() -> str:
    with open(folder / "send", "a") as f:
        f.write(".")
    await asyncio.Event().wait()


async def main() -> None:
    agent = Agent("anthropic:a-model", base_url=url, api_key="test", name="support", tools=[look, send])
    async with Runtime(lease_s=0.5) as runtime, Sessions(SqliteStore(folder / "s.db"), agent, runtime=runtime) as sessions:
        await (await sessions.open("a")).run("Hi")


asyncio.run(main())
"""


async def test_a_service_that_was_killed_is_taken_over_by_the_next_one(tmp_path: Path) -> None:
    """D1, D2, with processes and SIGKILL: another one watches meanwhile, finds the turn when the lease has run out, and ends it."""
    async with ScriptedProvider([reply(call("look")), reply(call("send")), OK]) as provider:
        argv = [sys.executable, "-c", SERVICE, str(tmp_path), provider.anthropic_url]
        child = await asyncio.create_subprocess_exec(*argv, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        effects = Effects()
        store = SqliteStore(tmp_path / "s.db")
        try:
            async with asyncio.timeout(20):
                while not (tmp_path / "send").exists():  # noqa: ASYNC110 (the child says so by a file)
                    await asyncio.sleep(0.02)
            child.kill()
            await child.wait()
            agent = ANTHROPIC.agent(provider, *effects.all, name="support")
            async with (
                Runtime(lease_s=0.5) as runtime,
                Sessions(store, agent, runtime=runtime, recover_every_s=0.1) as sessions,
            ):
                watcher = await sessions.watch("a", after=0)
                events = []
                async for event in watcher:
                    events.append(event)
                    if isinstance(event, TurnFinished):
                        break
                assert events[-1].result.reason == "completed" and "TurnRecovered" in names(events)
                assert [type(r.outcome) for r in results(events[-1].result)] == [Ok, Unknown]
            assert effects.done == [] and (tmp_path / "look").read_text() == (tmp_path / "send").read_text() == "."
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
            await store.close()

"""Many sessions in one process: each open once, found again, let go when nobody needs it, with a bound on turns that is fair."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, in_virtual_time, said, until

from turnwise import Agent, Ask, Principal, Query, Runtime, Session, Sessions, tool
from turnwise.core.entries import Entry
from turnwise.errors import ConfigError, SessionBusy, SessionClosed, SessionError, StateError
from turnwise.events import Notice
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, hang, repeat, reply

OK = repeat(reply("Fine."))
ADA, BOB = Principal("acme", "ada"), Principal("acme", "bob")
EVE = Principal("evil", "eve")


class Counting(MemoryStore):
    """Counts how often journals are read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[str] = []

    async def read(self, session: str, after: int = 0, limit: int | None = None) -> Sequence[Entry]:
        self.reads.append(session)
        await asyncio.sleep(0)
        return await super().read(session, after, limit)


class LoopClock:
    """Both clocks go with the loop's, so that they jump with it."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return 1_750_000_000.0 + self.monotonic()


# --- opening -----------------------------------------------------------------------------------------------------------


async def test_all_who_open_a_session_get_the_same_one() -> None:
    """D3: in one process two callers of a session share its actor; a new one is made once, a stored one read once."""
    async with ScriptedProvider([OK]) as provider:
        store, agent = Counting(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            first, *others = await asyncio.gather(*[sessions.open("a") for _ in range(20)])
            assert all(other is first for other in others) and first.name == "a"
            await first.run("Hi")
        assert len(await store.sessions(Query())) == 1
        store.reads.clear()
        async with Sessions(store, agent) as sessions:
            first, *others = await asyncio.gather(*[sessions.open("a") for _ in range(20)])
            assert all(other is first for other in others)
            assert store.reads == [first.id] and said(first) == ["Hi", "Fine."]
            assert (await first.run("Again")).turn == 2


async def test_a_session_is_found_by_its_name_and_by_its_id() -> None:
    async with ScriptedProvider([OK]) as provider, Sessions(MemoryStore(), ANTHROPIC.agent(provider)) as sessions:
        session = await sessions.open("support-42", title="A question", tags=["vip"], folder="/home/ada")
        assert await sessions.open(session.id, create=False) is session
        info = await sessions.info("support-42")
        assert info is not None and (info.title, info.tags, info.folder) == ("A question", ("vip",), "/home/ada")
        assert info.agent == "agent" and sessions.get(session.id) is session
        with pytest.raises(StateError) as raised:
            await sessions.open("support-43", create=False)
        assert raised.value.code == "unknown_session"
        one, other = await sessions.open(), await sessions.open()
        assert one.id != other.id and one.name is None


async def test_sessions_of_others_are_as_good_as_unknown() -> None:
    """P1: neither a name nor an id opens what belongs to someone else; tenants do not see each other's names."""
    async with ScriptedProvider([OK]) as provider, Sessions(MemoryStore(), ANTHROPIC.agent(provider)) as sessions:
        session = await sessions.open("plans", principal=ADA)
        assert session.state.principal == ADA
        for principal, which in ((EVE, session.id), (BOB, session.id), (BOB, "plans"), (EVE, "plans")):
            with pytest.raises(StateError) as raised:
                await sessions.open(which, create=False, principal=principal)
            assert raised.value.code == "unknown_session"
            assert await sessions.info(which, principal=principal) is None
            assert not await sessions.delete(which, principal=principal)
        with pytest.raises(StateError) as raised:  # names are the tenant's
            await sessions.open("plans", principal=BOB)
        assert raised.value.code == "name_taken"
        other = await sessions.open("plans", principal=EVE)
        assert other is not session
        await session.run("The secret is 42")
        assert not await sessions.search("secret", principal=EVE) and not await sessions.search("secret", principal=BOB)
        assert len(await sessions.search("secret", principal=ADA)) == 1
        assert len(await sessions.search("secret", principal=BOB, any_user=True)) == 1


async def test_errors_say_which_agents_there_are() -> None:
    async with ScriptedProvider([OK]) as provider:
        support, sales = ANTHROPIC.agent(provider, name="support"), ANTHROPIC.agent(provider, name="sales")
        store = MemoryStore()
        async with Sessions(store, [support, sales]) as sessions:
            with pytest.raises(ConfigError) as raised:
                await sessions.open("a")
            assert raised.value.code == "which_agent" and "'sales', 'support'" in raised.value.message
            with pytest.raises(ConfigError) as raised:
                await sessions.open("a", agent="legal")
            assert raised.value.code == "unknown_agent" and "'sales', 'support'" in raised.value.message
            session = await sessions.open("a", agent=sales)
            with pytest.raises(SessionError) as refused:
                await sessions.open("a", agent="support")
            assert refused.value.code == "other_agent"
            assert await sessions.open("a") is session and session.agent is sales
            await sessions.edit("a", agent="support")
            again = await sessions.open("a")
            assert again.agent is support and session.closed
        async with Sessions(store, {"legal": support}) as sessions:
            with pytest.raises(ConfigError) as raised:
                await sessions.open("a")
            assert raised.value.code == "unknown_agent" and "'legal'" in raised.value.message
        with pytest.raises(ConfigError) as raised:
            Sessions(store, [support, ANTHROPIC.agent(provider, name="support")])
        assert raised.value.code == "duplicate_agent"


async def test_cancelling_one_who_opens_does_not_disturb_the_other() -> None:
    """C3: the session is read in a task of its own."""
    async with ScriptedProvider([OK]) as provider:
        store, agent = Counting(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            await (await sessions.open("a")).run("Hi")
        async with Sessions(store, agent) as sessions:
            store.reads.clear()
            tasks = [asyncio.ensure_future(sessions.open("a")) for _ in range(2)]
            await until(lambda: store.reads)
            tasks[0].cancel()
            assert said(await tasks[1]) == ["Hi", "Fine."]
            assert tasks[0].cancelled()


async def test_a_session_that_a_caller_closed_is_opened_anew() -> None:
    async with ScriptedProvider([OK]) as provider, Sessions(MemoryStore(), ANTHROPIC.agent(provider)) as sessions:
        first = await sessions.open("a")
        await first.run("Hi")
        await first.close()
        assert sessions.get(first.id) is None
        async with sessions.open("a") as second:
            assert second is not first and said(second) == ["Hi", "Fine."]
        assert not second.closed, "leaving the block gives it back, and closes nothing"


async def test_closed_sessions_refuse() -> None:
    async with ScriptedProvider([OK]) as provider:
        sessions = Sessions(MemoryStore(), ANTHROPIC.agent(provider))
        session = await sessions.open("a")
        await sessions.close()
        await sessions.close()
        assert session.closed
        with pytest.raises(SessionClosed):
            await sessions.open("a")


async def test_what_another_process_said_is_there_when_a_session_is_opened_again() -> None:
    """Two processes, by turns: who opens a session sees what the other one did, and so does who watches it."""
    async with ScriptedProvider([OK]) as provider:
        store, agent = MemoryStore(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as here, Sessions(store, agent) as there:
            one = await here.open("a")
            await one.run("Here")
            async with one.watch() as watcher:
                await (await there.open("a")).run("There")
                assert await here.open("a") is one
                assert said(one) == ["Here", "Fine.", "There", "Fine."]
                assert type(await anext(watcher)).__name__ == "TurnStarted"
            assert (await one.run("Here again")).turn == 3


# --- letting go --------------------------------------------------------------------------------------------------------


async def test_two_thousand_sessions_and_only_so_many_in_memory() -> None:
    """Memory is bounded by `max_open`, whatever was opened; what was let go is found again."""
    async with ScriptedProvider([OK]) as provider:
        store, agent = MemoryStore(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent, max_open=50) as sessions:
            seen: list[weakref.ref[Session[Any]]] = []
            for n in range(2000):
                session = await sessions.open(f"s{n}")
                seen.append(weakref.ref(session))
                if n % 100 == 0:
                    await session.run(f"I am {n}")
                assert sessions.status().open <= 50
            del session
            gc.collect()
            alive = [ref for ref in seen if ref() is not None]
            assert len(alive) <= 50 and sessions.status().in_use <= 50
            assert (await store.stats())["sessions"] == 2000
            for n in (0, 100, 1900):
                assert said(await sessions.open(f"s{n}")) == [f"I am {n}", "Fine."]


async def test_two_thousand_sessions_at_once() -> None:
    async with (
        ScriptedProvider([OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_open=2000) as sessions,
    ):
        opened = await asyncio.gather(*[sessions.open(f"s{n}") for n in range(2000)])
        assert sessions.status().open == 2000 and len({session.id for session in opened}) == 2000
        results = await asyncio.gather(*[session.run("Hi") for session in opened[:200]])
        assert all(result.reason == "completed" for result in results)


async def test_a_session_that_somebody_holds_stays_the_one() -> None:
    """What is let go is let go by us: the caller's object works on, and whoever opens the session gets that one."""
    async with (
        ScriptedProvider([OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_open=1) as sessions,
    ):
        held = await sessions.open("held")
        await held.run("Hi")
        for n in range(5):
            await sessions.open(f"other {n}")
        assert sessions.status().open == 1 and await sessions.open("held") is held
        await sessions.open("one more")
        await held.run("Still here?")
        assert await sessions.open("held") is held and len(held.messages) == 4


async def test_what_is_under_way_is_not_let_go() -> None:
    """A running turn and a watcher keep their session, though its caller has forgotten it."""
    async with (
        ScriptedProvider([reply("Slow.", stall_before_headers=True), OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_open=1) as sessions,
    ):
        running = asyncio.create_task((await sessions.open("busy")).run("Hi"))
        await provider.reached("stalled")
        watcher = (await sessions.open("watched")).watch()
        for n in range(5):
            await sessions.open(f"other {n}")
        gc.collect()
        await (await sessions.open("watched")).run("Anyone?")
        assert type(await anext(watcher)).__name__ == "TurnStarted"
        provider.release()
        assert (await running).text == "Slow."
        assert said(await sessions.open("busy")) == ["Hi", "Slow."]


@in_virtual_time
async def test_idle_sessions_are_let_go_in_time() -> None:
    async with (
        ScriptedProvider([OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), idle_s=60) as sessions,
    ):
        await (await sessions.open("a")).run("Hi")
        await asyncio.sleep(40)
        await sessions.open("b")
        await asyncio.sleep(30)
        assert sessions.status().open == 1
        await asyncio.sleep(60)
        gc.collect()
        assert (sessions.status().open, sessions.status().in_use) == (0, 0)
        assert said(await sessions.open("a")) == ["Hi", "Fine."]


@in_virtual_time
async def test_what_expires_in_a_parked_session_is_given_up_though_it_was_let_go() -> None:
    """C6: nobody holds the session, no timer keeps it, and still the question expires in time."""

    @tool
    async def write() -> str:
        return ""

    async with ScriptedProvider([reply(call("write")), OK]) as provider:
        store, runtime = MemoryStore(), Runtime(clock=LoopClock())
        agent = ANTHROPIC.agent(provider, write, approvals=lambda _: Ask("", 3600.0))
        async with runtime, Sessions(store, agent, idle_s=60, runtime=runtime) as sessions:
            session = await sessions.open("a")
            assert (await session.run("Hi")).reason == "parked"
            parked, seen = session.id, weakref.ref(session)
            del session
            await asyncio.sleep(300)
            gc.collect()
            assert seen() is None and sessions.status().in_use == 0
            await asyncio.sleep(3400)
            found = [type(entry).__name__ for entry in await store.read(parked)]
            assert found[-2:] == ["ApprovalAnswered", "CallOutcome"], found


# --- how many turns ----------------------------------------------------------------------------------------------------


async def test_only_so_many_turns_run_at_once() -> None:
    async with ScriptedProvider([OK]):
        running = most = 0

        @tool
        async def work() -> str:
            nonlocal running, most
            running += 1
            most = max(most, running)
            for _ in range(20):
                await asyncio.sleep(0)
            running -= 1
            return ""

        provider_script = [reply(call("work"))] * 30
        async with ScriptedProvider([*provider_script, repeat(reply("Done."))]) as working:
            agent = ANTHROPIC.agent(working, work)
            async with Sessions(MemoryStore(), agent, max_turns=4) as sessions:
                opened = [await sessions.open(f"s{n}") for n in range(30)]
                await asyncio.gather(*[session.run("Go") for session in opened])
                assert sessions.status().running == sessions.status().waiting == 0
        assert 1 < most <= 4


async def test_a_busy_tenant_does_not_keep_another_waiting() -> None:
    """Fair between tenants: with one place and fifty turns of one tenant waiting, the other's is the second to run."""
    async with (
        ScriptedProvider([hang(), OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_turns=1) as sessions,
    ):
        order: list[str] = []

        async def turn(name: str, principal: Principal) -> None:
            session = await sessions.open(name, principal=principal)
            await session.run("Hi")
            order.append(name)

        tasks = [asyncio.create_task(turn("a first", ADA))]
        await provider.reached("stalled")
        tasks += [asyncio.create_task(turn(f"a{n}", ADA)) for n in range(50)]
        await until(lambda: sessions.status().waiting == 50)
        tasks.append(asyncio.create_task(turn("e", EVE)))
        await until(lambda: sessions.status().waiting == 51)
        provider.release()
        await asyncio.gather(*tasks)
        assert order.index("e") <= 2, order[:5]
        assert order[-1] == "a49"


async def test_a_waiting_turn_can_be_interrupted_and_cancelled() -> None:
    """C1, C3: queued for a place. The interrupted turn ends at once, in its journal as well; nothing was sent for either."""
    async with (
        ScriptedProvider([hang(), OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_turns=1) as sessions,
    ):
        busy, one, two = [await sessions.open(name) for name in ("busy", "one", "two")]
        first = asyncio.create_task(busy.run("Hi"))
        await provider.reached("stalled")
        waiting = [asyncio.create_task(session.run("Hi")) for session in (one, two)]
        await until(lambda: sessions.status().waiting == 2)
        assert one.status().phase == "queued" and one.running
        with pytest.raises(SessionBusy):
            await one.run("Me too")
        assert one.interrupt()
        result = await waiting[0]
        assert (result.reason, result.cause, result.steps) == ("interrupted", "user", 0)
        waiting[1].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[1]
        assert not two.running and sessions.status().waiting == 0
        provider.release()
        await first
        assert len(provider.requests) == 1
        assert (await two.run("Again")).reason == (await one.run("Again")).reason == "completed"


async def test_watchers_are_told_that_a_turn_waits() -> None:
    async with (
        ScriptedProvider([hang(), OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider), max_turns=1) as sessions,
    ):
        busy, one = await sessions.open("busy"), await sessions.open("one")
        watcher = one.watch()
        first = asyncio.create_task(busy.run("Hi"))
        await provider.reached("stalled")
        second = asyncio.create_task(one.run("Hi"))
        notice = await anext(watcher)
        assert isinstance(notice, Notice) and notice.code == "queued"
        provider.release()
        await asyncio.gather(first, second)


async def test_a_turn_that_a_tool_begins_needs_no_second_place() -> None:
    """A turn that waits for one that waits for its place would wait for ever."""
    async with ScriptedProvider([reply(call("delegate")), reply("42."), reply("It is 42.")]) as provider:

        @tool
        async def delegate() -> str:
            helper = await sessions.open("helper")
            return (await helper.run("What is it?")).text

        agent = ANTHROPIC.agent(provider, delegate)
        async with Sessions(MemoryStore(), agent, max_turns=1) as sessions:
            result = await (await sessions.open("boss")).run("Find out")
            assert result.text == "It is 42."


# --- changing ----------------------------------------------------------------------------------------------------------


async def test_names_titles_and_tags_are_changed() -> None:
    async with ScriptedProvider([OK]) as provider, Sessions(MemoryStore(), ANTHROPIC.agent(provider)) as sessions:
        session = await sessions.open("a")
        await sessions.edit("a", name="b", title="B", tags=["x", "y"], archived=True)
        assert session.name == "b" and await sessions.open("b") is session
        assert not await sessions.list()
        (info,) = await sessions.list(Query(tags=("x",), archived=None))
        assert (info.name, info.title, info.archived) == ("b", "B", True)
        with pytest.raises(StateError) as raised:
            await sessions.edit("a", title="?")
        assert raised.value.code == "unknown_session"


async def test_a_session_is_deleted_when_no_turn_runs() -> None:
    async with (
        ScriptedProvider([hang(), OK]) as provider,
        Sessions(MemoryStore(), ANTHROPIC.agent(provider)) as sessions,
    ):
        session = await sessions.open("a")
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        with pytest.raises(SessionBusy):
            await sessions.delete("a")
        session.interrupt()
        await running
        assert await sessions.delete("a") and session.closed
        assert not await sessions.delete("a") and await sessions.info("a") is None


async def test_a_fork_is_there_before_anything_is_said_in_it() -> None:
    """D1: what `fork` returned survives the process, with the history up to its point, and so does the original."""
    async with ScriptedProvider([OK]) as provider:
        store, agent = MemoryStore(), ANTHROPIC.agent(provider, name="support")
        async with Sessions(store, {"help": agent}) as sessions:
            origin = await sessions.open("a")
            await origin.run("One")
            await origin.run("Two")
            fork = await sessions.fork("a", at=1, name="b", tags=["fork"])
            assert said(fork) == ["One", "Fine."]
        async with Sessions(store, {"help": agent}) as sessions:
            fork = await sessions.open("b")
            assert said(fork) == ["One", "Fine."] and len((await sessions.open("a")).messages) == 4
            assert (await fork.run("Three")).reason == "completed"
            info = await sessions.info("b")
            assert info is not None and (info.agent, info.tags) == ("help", ("fork",))


async def test_a_history_that_is_handed_in_is_kept_at_once() -> None:
    from turnwise import AssistantMessage, UserMessage

    async with ScriptedProvider([OK]) as provider:
        store, agent = MemoryStore(), ANTHROPIC.agent(provider)
        async with Sessions(store, agent) as sessions:
            await sessions.open("a", history=[UserMessage("Hello."), AssistantMessage("Hi!")])
        async with Sessions(store, agent) as sessions:
            assert said(await sessions.open("a")) == ["Hello.", "Hi!"]


def test_bounds_make_sense() -> None:
    agent: Agent[Any] = Agent("anthropic:a-model")
    for options in ({"max_turns": 0}, {"max_open": 0}, {"max_waiting": -1}):
        with pytest.raises(ConfigError):
            Sessions(MemoryStore(), agent, **options)


async def test_a_fork_of_a_kept_session_is_kept_where_that_is() -> None:
    """Also the one that `Session.fork` makes, and also if the agent has no store; its turns count among the others."""
    async with ScriptedProvider([OK]) as provider:
        store = MemoryStore()
        async with Sessions(store, ANTHROPIC.agent(provider)) as sessions:
            session = await sessions.open("a")
            await session.run("One")
            fork = session.fork()
            await fork.run("Two")
            info = await sessions.info(fork.id)
            assert info is not None and info.agent == "agent" and info.last == 4
            assert await sessions.open(fork.id) is fork

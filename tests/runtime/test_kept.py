"""What is kept of a session: found again by its name, kept after all, or not; and what leaving it says about that."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, names, said
from tests.runtime.stored import SharedStore, journal_of, left_behind

from turnwise import Agent, Ask, Image, Query, Sessions, UserMessage, tool
from turnwise.core.content import BlobRef
from turnwise.core.store import Owner
from turnwise.errors import ConfigError, SessionBusy, SessionError, StateError
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, hang, repeat, reply

OK = repeat(reply("Fine."))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


@pytest.fixture(params=[MemoryStore, SharedStore], ids=["memory", "shared"])
def store(request: pytest.FixtureRequest) -> MemoryStore:
    return request.param()


# --- names --------------------------------------------------------------------------------------------------------------


async def test_a_named_session_is_found_again(store: MemoryStore) -> None:
    async with ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider, store=store)
        async with agent.session("support-42", resume=True, title="T", tags=["x"], folder="/f") as session:
            await session.run("One")
        (info,) = await store.sessions(Query(name="support-42"))
        assert (info.title, info.tags, info.folder, info.agent) == ("T", ("x",), "/f", "agent")
        async with agent.session("support-42", resume=True) as again:
            assert again.id == session.id and said(again) == ["One", "Fine."] and again.name == "support-42"
            assert (await again.run("Two")).turn == 2 and again.recovered is None
        async with agent.session(id=session.id, resume=True) as again:
            assert len(again.messages) == 4
        assert len(await store.sessions(Query())) == 1


async def test_without_resume_a_name_has_to_be_free(store: MemoryStore) -> None:
    async with ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider, store=store)
        async with agent.session("a") as session:
            await session.run("One")
        with pytest.raises(StateError) as raised:
            async with agent.session("a"):
                pass
        assert raised.value.code == "name_taken"
        assert len(await store.read(session.id)) == 4


async def test_a_named_session_is_looked_up_with_the_first_thing_that_is_asked_of_it(store: MemoryStore) -> None:
    """Without `async with`: by a turn, by a change, from synchronous code."""
    async with ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider, store=store)
        first = agent.session("a", resume=True)
        assert first.name is None
        await first.run("One")
        second = agent.session("a", resume=True)
        assert await second.undo() == "One" and second.id == first.id
        third = agent.session("a", resume=True)
        results = await asyncio.gather(third.set(temperature=0.5), third.set(top_p=0.5))
        assert third.id == first.id and results[-1].temperature == 0.5
        assert (await third.run("Two")).turn == 2


def test_a_named_session_from_synchronous_code() -> None:
    with ScriptedProvider([OK]) as provider:
        agent = ANTHROPIC.agent(provider, store=SharedStore())
        first = agent.session("a", resume=True)
        assert first.run_sync("One").text == "Fine."
        assert first.sync.close().entries == 4
        again = agent.session("a", resume=True)
        assert again.run_sync("Two").turn == 2
        again.sync.close()


async def test_resuming_finishes_the_turn_that_was_left() -> None:
    """D2: before anything else; the account of it is there, and so is the conversation."""
    async with ScriptedProvider([reply("Never seen."), reply("Late."), OK]) as provider:
        store = SharedStore()
        agent = ANTHROPIC.agent(provider, store=store)
        await left_behind(store, (await journal_of(ANTHROPIC.agent(provider)))[:2], "a")
        async with agent.session("a", resume=True) as session:
            assert session.recovered is not None and session.recovered.text == "Late."
            assert said(session) == ["Hi", "Late."]
            assert (await session.run("Again")).turn == 2


async def test_a_session_that_runs_elsewhere_can_be_read_and_not_written() -> None:
    """D3: `SessionBusy` says who has it, and until when."""
    async with ScriptedProvider([OK]) as provider:
        store = SharedStore()
        agent = ANTHROPIC.agent(provider, store=store)
        await left_behind(
            store, (await journal_of(ANTHROPIC.agent(provider)))[:2], "a", owner=Owner("alive", "host", 17), ttl_s=60
        )
        async with agent.session("a", resume=True) as session:
            assert said(session) == ["Hi"] and session.recovered is None
            with pytest.raises(SessionBusy) as raised:
                await session.run("Me too")
            assert raised.value.code == "session_busy" and "alive" in raised.value.message


async def test_a_parked_session_is_answered_after_it_was_opened_again(store: MemoryStore) -> None:
    done: list[str] = []

    @tool
    async def send() -> str:
        done.append("sent")
        return ""

    async with ScriptedProvider([reply(call("send")), OK]) as provider:
        agent = ANTHROPIC.agent(provider, send, store=store, approvals=lambda _: Ask())
        async with agent.session("a", resume=True) as session:
            parked = await session.run("Hi")
        async with agent.session("a", resume=True) as session:
            assert session.recovered is None
            await session.approve(parked.pending[0].call_id)
            assert (await session.resume()).reason == "completed" and done == ["sent"]


async def test_what_a_name_needs() -> None:
    async with ScriptedProvider([]) as provider:
        agent = ANTHROPIC.agent(provider)
        with pytest.raises(ConfigError) as raised:
            async with agent.session("a", resume=True):
                pass
        assert raised.value.code == "no_store"
        for options in (
            {"resume": True},
            {"name": "a", "id": "b"},
            {"name": "a", "persist": "never"},
            {"persist": "?"},
        ):
            with pytest.raises(ConfigError):
                agent.session(**options)


async def test_a_session_of_another_agent_is_not_taken_over(store: MemoryStore) -> None:
    async with ScriptedProvider([OK]) as provider:
        async with ANTHROPIC.agent(provider, store=store, name="one").session("a") as session:
            await session.run("Hi")
        with pytest.raises(SessionError) as raised:
            async with ANTHROPIC.agent(provider, store=store, name="two").session("a", resume=True):
                pass
        assert raised.value.code == "other_agent"


async def test_two_objects_of_one_session_do_not_both_write() -> None:
    """D3: without `Sessions` each call makes an object of its own; only one of them has a turn at a time, and the other then goes
    on from what that one said."""
    async with ScriptedProvider([hang(), OK]) as provider:
        agent = ANTHROPIC.agent(provider, store=SharedStore())
        async with agent.session("a", resume=True) as one, agent.session("a", resume=True) as two:
            first = asyncio.create_task(one.run("One"))
            await provider.reached("stalled")
            with pytest.raises(SessionBusy):
                await two.run("Two")
            provider.release()
            await first
            assert (await two.run("Two")).turn == 2
            assert said(two)[0] == "One"
            assert (await one.run("Three")).turn == 3


# --- persist ------------------------------------------------------------------------------------------------------------


async def test_a_session_in_memory_is_kept_after_all(store: MemoryStore) -> None:
    """Its journal and its bytes are copied; it goes on there, under a name, and another process finds it."""
    async with ScriptedProvider([OK]) as provider:
        agent: Agent[Any] = ANTHROPIC.agent(provider, store=store)
        session = agent.session(persist="never")
        await session.run("Look")
        before = session.kept
        assert not before.lasting and before.where == "memory" and "in memory only" in str(before)
        assert not await store.sessions(Query())
        kept = await session.persist("a", title="T")
        assert (kept.id, kept.name, kept.entries) == (session.id, "a", 4)
        await session.run("More")
        await session.close()
        async with agent.session("a", resume=True) as again:
            assert again.messages == session.messages
            assert (await again.run("And more")).turn == 3


async def test_bytes_are_copied_with_their_session(store: MemoryStore) -> None:
    """The attachment is in the store's blobs, and the next process can send it again."""
    async with ScriptedProvider([OK]) as provider:
        agent: Agent[Any] = ANTHROPIC.agent(provider, store=store)
        session = agent.session(persist="never")
        await session.run(["What is this?", Image.of(PNG)])
        await session.persist("a")
        first = session.messages[0]
        assert isinstance(first, UserMessage)
        (ref,) = [b.source for b in first.content if isinstance(b, Image) and isinstance(b.source, BlobRef)]
        assert await store.blobs("local").get(ref.sha256) == PNG
        await session.run("And now?")


async def test_persisting_while_a_turn_runs_is_refused(store: MemoryStore) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = ANTHROPIC.agent(provider).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        with pytest.raises(SessionBusy):
            await session.persist("a", store=store)
        session.interrupt()
        await running
        assert (await session.persist("a", store=store)).entries == session.told
        with pytest.raises(ConfigError) as raised:
            await session.persist("b", store=store)
        assert raised.value.code == "already_kept"


async def test_a_session_that_said_nothing_can_be_kept_too(store: MemoryStore) -> None:
    async with ScriptedProvider([OK]) as provider:
        session = ANTHROPIC.agent(provider).session()
        assert (await session.persist("a", store=store)).entries == 1
        assert names(await store.read(session.id)) == ["SessionCreated"]
        assert (await session.run("Hi")).turn == 1
        assert len(await store.read(session.id)) == 4


@pytest.mark.parametrize("when", ["create", "append"])
async def test_a_failed_persist_leaves_all_as_it_was(when: str) -> None:
    """D1: nothing half of it is in the store, and the session goes on where it was."""

    class Failing(SharedStore):
        fails = True

        async def append(self, *given: Any, **named: Any) -> int:
            if self.fails and when == "append":
                raise OSError("disk full")
            return await super().append(*given, **named)

    async with ScriptedProvider([OK]) as provider:
        store = Failing()
        agent = ANTHROPIC.agent(provider)
        session = agent.session()
        await session.run("Hi")
        if when == "create":
            async with ANTHROPIC.agent(provider, store=store).session("a"):
                pass
        with pytest.raises((OSError, StateError)):
            await session.persist("a", store=store)
        assert session.kept.where == "memory" and session.name is None
        assert await store.info(session.id) is None
        assert (await session.run("On")).turn == 2
        store.fails = False
        assert (await session.persist("b", store=store)).entries == 7
        assert await store.read(session.id) == await session.journal(0)


async def test_what_is_said_while_it_is_copied_is_copied_too() -> None:
    """Input that begins no turn arrives in the midst of it."""

    class Slow(SharedStore):
        gate = asyncio.Event()
        inside = asyncio.Event()

        async def append(self, *given: Any, **named: Any) -> int:
            self.inside.set()
            await self.gate.wait()
            return await super().append(*given, **named)

    async with ScriptedProvider([OK]) as provider:
        store = Slow()
        session = ANTHROPIC.agent(provider).session()
        await session.run("Hi")
        keeping = asyncio.create_task(session.persist("a", store=store))
        await store.inside.wait()
        await session.set(temperature=0.3)
        store.gate.set()
        assert (await keeping).entries == 5
        assert names(await store.read(session.id))[-1] == "SettingsChanged"


async def test_what_tools_remember_of_a_session_goes_with_it(store: MemoryStore) -> None:
    async with ScriptedProvider([OK]) as provider:
        session = ANTHROPIC.agent(provider).session()
        await session.scopes.session.set("colour", "blue")
        await session.run("Hi")
        await session.persist("a", store=store)
        await session.scopes.session.update("colour", lambda colour: f"{colour} and green")
        async with ANTHROPIC.agent(provider, store=store).session("a", resume=True) as again:
            assert await again.scopes.session.get("colour") == "blue and green"


# --- leaving ------------------------------------------------------------------------------------------------------------


async def test_leaving_says_what_was_kept(store: MemoryStore) -> None:
    class Place(SharedStore):
        lasting = True
        where = "/data/sessions.db"

    async with ScriptedProvider([OK]) as provider:
        nothing = await ANTHROPIC.agent(provider).session().close()
        assert nothing.entries == 0 and "nothing was said" in str(nothing)
        session = ANTHROPIC.agent(provider, store=Place()).session("a")
        await session.run("Hi")
        kept = await session.close()
        assert (kept.name, kept.entries, kept.where, kept.lasting) == ("a", 4, "/data/sessions.db", True)
        assert str(kept) == f"Kept session 'a' ({session.id}): 4 entries in /data/sessions.db."
        async with Sessions(store, ANTHROPIC.agent(provider)) as sessions:
            assert (await sessions.open("a")).kept.entries == 0

"""Calls that others answer: results of tools without code, and questions to the user (C6, E1, E7)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    in_virtual_time,
    of,
    read_all,
    results,
    told,
)
from tests.runtime.test_approvals import LoopClock

from turnwise import Allow, Ask, Image, Move, ProposedCall, Runtime, Text, Tool, tool
from turnwise.core.content import BlobRef
from turnwise.core.errors import ConfigError, SessionError, ToolError
from turnwise.core.outcomes import Cancelled, Denied, Failed, InvalidArguments, Ok
from turnwise.core.replay import replay
from turnwise.events import QuestionAsked, ResultAwaited, TurnParked
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, raw_call, reply
from turnwise.tools import Question, ask_user, read_artifact

BOOK = Tool.external(
    "book",
    "Book a room.",
    {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"], "additionalProperties": False},
)


@tool
async def quick() -> str:
    return "quick"


# --- tools that the caller runs -----------------------------------------------------------------------------------------


async def test_results_come_in_any_order(any_host: Host, store: SuspendingStore | None) -> None:
    """C6, E4: no task waits; late and out of order; the transcript is in call order."""
    script = [reply(call("book", room="a"), call("quick"), call("book", room="b")), reply("Booked.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, BOOK, quick, store=store).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert isinstance(events[-1], TurnParked)
        assert of(ResultAwaited, events) == [
            ResultAwaited(f"t1.s1.c{n}", "book", f'{{"room":"{room}"}}') for n, room in ((0, "a"), (2, "b"))
        ]
        assert [p.kind for p in session.pending] == ["external", "external"]
        assert await session.submit("t1.s1.c2", {"number": 7}, summary="room 7")
        assert not await session.submit("t1.s1.c2", "again")
        assert (await session.resume()).reason == "parked"
        assert await session.submit("t1.s1.c0", "The house is full.", is_error=True)
        async with session.stream(Move.RESUME) as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        first, second, third = results(result)
        assert type(first.outcome) is Failed and first.text == "The house is full."
        assert (second.text, third.text, third.summary) == ("quick", '{"number":7}', "room 7")
        assert told(provider.requests[1]) == ["The house is full.", "quick", '{"number":7}']
        assert_valid(session.messages)


async def test_a_result_may_be_anything_that_a_tool_returns(host: Host) -> None:
    """Blocks are stored, long text is cut and kept (E7), nonsense is refused and the call goes on waiting."""
    script = [reply(call("book", room="a"), call("book", room="b")), reply("Booked.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, BOOK, read_artifact).session()
        await session.run("Hi")
        for nonsense in (b"bytes", object()):
            with pytest.raises(ToolError):
                await session.submit("t1.s1.c0", nonsense)
        assert await session.submit("t1.s1.c0", ["The key:", Image.of(b"picture")])
        assert await session.submit("t1.s1.c1", "long " * 20_000)
        first, second = results(await session.resume())
        text, image = first.content
        assert type(text) is Text and type(image) is Image and type(image.source) is BlobRef
        assert len(second.text) <= 50_000 and 'read_artifact(id="t1.s1.c1")' in second.text
        assert (await session.artifact("t1.s1.c1")).decode() == "long " * 20_000


async def test_arguments_are_checked_before_anybody_is_asked(host: Host) -> None:
    """E2: the caller never gets to see what does not fit."""
    async with ScriptedProvider([reply(raw_call("book", '{"room": 3}')), reply("I see.")]) as provider:
        (got,) = results(await host.agent(provider, BOOK).run("Hi"))
        assert type(got.outcome) is InvalidArguments


async def test_an_interrupt_closes_them(host: Host) -> None:
    """C1."""
    async with ScriptedProvider([reply(call("book", room="a")), reply("Hello again.")]) as provider:
        session = host.agent(provider, BOOK).session()
        await session.run("Hi")
        assert session.interrupt() and not session.pending
        assert not await session.submit("t1.s1.c0", "late")
        await goes_on(session)


@in_virtual_time
async def test_a_result_that_never_comes() -> None:
    """C6: it expires; the model is told, and the turn can go on."""
    slow = Tool.external("book", "Book a room.", {"type": "object", "properties": {}}, expires_in_s=3600)
    script = [reply(call("book")), reply("Too bad.")]
    async with Runtime(clock=LoopClock()) as runtime, ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, slow, runtime=runtime).session()
        await session.run("Hi")
        await asyncio.sleep(3601)
        assert not session.pending
        result = await session.resume()
    (got,) = results(result)
    assert type(got.outcome) is Cancelled and "nobody answered in time" in got.text and result.text == "Too bad."


async def test_leave_first_and_then_the_result(host: Host) -> None:
    """A tool without code can need leave, too."""
    async with ScriptedProvider([reply(call("book", room="a")), reply("Booked.")]) as provider:
        session = host.agent(provider, BOOK, approvals=lambda _: Ask("costs money")).session()
        assert (await session.run("Hi")).pending[0].kind == "approval"
        with pytest.raises(SessionError, match=r"approve\(\)"):
            await session.submit("t1.s1.c0", "booked")
        await session.approve("t1.s1.c0", edited_arguments={"room": "b"})
        parked = await session.resume()
        assert [(p.kind, p.arguments) for p in parked.pending] == [("external", '{"room":"b"}')]
        with pytest.raises(SessionError, match=r"submit\(\)"):
            await session.approve("t1.s1.c0")
        await session.submit("t1.s1.c0", "booked b")
        assert [r.text for r in results(await session.resume())] == ["booked b"]


async def test_a_journal_with_answers_can_be_replayed() -> None:
    """Replay: what people said is in the journal; the machine comes to the same."""
    store = MemoryStore()
    async with ScriptedProvider(
        [reply(call("book", room="a"), call("ask_user", question="Sure?")), reply("So.")]
    ) as provider:
        session = ANTHROPIC.agent(provider, BOOK, ask_user, approvals=lambda _: Ask(), store=store).session()
        await session.run("Hi")
        await session.approve("t1.s1.c0", edited_arguments={"room": "b"})
        await session.approve("t1.s1.c1")
        await session.resume()
        await session.answer("t1.s1.c1", "Yes")
        await session.submit("t1.s1.c0", "done")
        await session.resume()
        journal = await store.read(session.id)
        played = replay(journal)
        assert tuple(played.state.transcript) == session.messages and played.state.turn == session.state.turn


# --- questions ---------------------------------------------------------------------------------------------------------

WHERE = call("ask_user", question="Where?", kind="single_choice", choices=["Oslo", "Rome"])


async def test_the_user_is_asked(any_host: Host, store: SuspendingStore | None) -> None:
    """C6: an event and a parked turn; what is no answer leaves it open."""
    async with ScriptedProvider([reply(WHERE), reply("Oslo it is.")]) as provider:
        session = any_host.agent(provider, ask_user, store=store).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        (asked,) = of(QuestionAsked, events)
        assert asked.call_id == "t1.s1.c0" and ask_user.decode(asked.arguments).choices == ("Oslo", "Rome")
        for nonsense in ("Paris", "", 3, ["Oslo"]):
            with pytest.raises(SessionError) as raised:
                await session.answer("t1.s1.c0", nonsense)
            assert raised.value.code == "invalid_answer"
        with pytest.raises(SessionError, match=r"answer\(\)"):
            await session.submit("t1.s1.c0", "Oslo")
        assert await session.answer("t1.s1.c0", "Oslo")
        result = await session.resume()
        assert result.text == "Oslo it is." and told(provider.requests[1]) == ["Oslo"]


async def test_nobody_is_there() -> None:
    """Headless: declined, and the model goes on."""
    async with ScriptedProvider([reply(WHERE), reply("Then Oslo.")]) as provider:
        result = await ANTHROPIC.agent(provider, ask_user, questions="decline").run("Hi")
        (got,) = results(result)
        assert result.text == "Then Oslo." and type(got.outcome) is Denied and "nobody" in got.text


@pytest.mark.parametrize("way", ["thread", "async", "wrong", "raises"])
async def test_the_program_answers(way: str) -> None:
    """Headless: a function answers, checked like any answer; a blocking one runs in a thread (E3)."""

    def first(question: Question) -> Any:
        return "Nowhere" if way == "wrong" else question.choices[0] if way == "thread" else 1 / 0

    async def first_async(question: Question) -> str:
        await asyncio.sleep(0)
        return question.choices[0]

    async with ScriptedProvider([reply(WHERE), reply("So.")]) as provider:
        agent = ANTHROPIC.agent(provider, ask_user, questions=first_async if way == "async" else first)
        (got,) = results(await agent.run("Hi"))
    if way in ("thread", "async"):
        assert (type(got.outcome), got.text) == (Ok, "Oslo")
    else:
        assert type(got.outcome) is Failed and ("Nowhere" if way == "wrong" else "ZeroDivisionError") in got.text


async def test_a_policy_decides_on_questions_like_on_any_call() -> None:
    seen: list[str] = []

    def look(proposed: ProposedCall) -> Allow:
        seen.append(proposed.arguments.question)
        return Allow()

    async with ScriptedProvider([reply(WHERE), reply("So.")]) as provider:
        await ANTHROPIC.agent(provider, ask_user, questions="decline", approvals=look).run("Hi")
    assert seen == ["Where?"]


def test_what_is_no_policy_for_questions_is_refused() -> None:
    with pytest.raises(ConfigError, match="questions"):
        ANTHROPIC.agent("http://127.0.0.1:1", questions="never")

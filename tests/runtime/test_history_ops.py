"""Going on, saying again, taking back, forking and clearing: the history stays valid and numbers are never given again (T3, T4, T7)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    of,
    read_all,
    read_until,
    said,
    until,
)

from turnwise import Image, Limits, Move, Session, Tool, TurnResult, UserMessage, replay, tool
from turnwise.core.changes import Compacted
from turnwise.core.content import BlobRef
from turnwise.core.entries import Entry
from turnwise.core.inputs_rare import CompactionEnded
from turnwise.core.messages import AssistantMessage
from turnwise.core.view import Change, Masked
from turnwise.errors import ConfigError, SessionBusy, SessionClosed, SessionError
from turnwise.events import TextDelta, TurnFinished, TurnStarted
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import RecordedRequest, ScriptedProvider, call, fail, repeat, reply, text

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@tool
async def look(what: str) -> str:
    return what


def heard(request: RecordedRequest) -> list[str]:
    """The texts of a request's messages, as the provider received them."""
    out: list[str] = []
    for message in request.body["messages"]:
        content = message["content"]
        blocks = [content] if isinstance(content, str) else [b.get("text", "") for b in content or ()]
        out.append("".join(blocks))
    return out


async def journal_of(session: Session[Any]) -> list[Entry]:
    assert session._store is not None  # pyright: ignore[reportPrivateUsage]
    return list(await session._store.read(session.id))  # pyright: ignore[reportPrivateUsage]


async def assert_replays(session: Session[Any]) -> None:
    """The journal tells the same session again."""
    again = replay(await journal_of(session))
    assert tuple(again.state.transcript) == session.messages and again.state.turns == session.state.turns


# --- going on ----------------------------------------------------------------------------------------------------------


async def test_going_on_from_the_user(any_host: Host, store: SuspendingStore | None) -> None:
    """After a failed model call the input stays and is not said twice."""
    async with ScriptedProvider([fail(400, "no"), reply("Here.")]) as provider:
        session = any_host.agent(provider, store=store).session()
        with pytest.raises(Exception, match="no"):
            await session.run("Where?")
        result = await session.continue_(client_ref="c")
        assert result.text == "Here." and result.turn == 2
        assert heard(provider.requests[1])[-1] == "Where?" and said(session) == ["Where?", "Here."]
        await assert_replays(session)


async def test_going_on_from_results(host: Host) -> None:
    """A turn that ended behind its tools goes on from their results."""
    async with ScriptedProvider([reply(call("look", what="sea")), reply("The sea.")]) as provider:
        session = host.agent(provider, look).session()
        assert (await session.run("Look", limits=Limits(steps=1))).reason == "limit"
        assert (await session.continue_()).text == "The sea."
        assert_valid(session.messages)
        assert [type(m).__name__ for m in session.messages] == [
            "UserMessage", "AssistantMessage", "ToolMessage", "AssistantMessage",
        ]  # fmt: skip


async def test_going_on_from_the_model(any_host: Host) -> None:
    """Where the model had the last word it is told to go on: not every API takes its own words as the last ones."""
    script = [reply(text("Once ", "upon"), stall_after_event=4), reply("a time.")]
    async with ScriptedProvider([script[0] if any_host.streamed else reply("Once"), script[1]]) as provider:
        session = any_host.agent(provider).session()
        if any_host.streamed:
            async with session.stream("Tell") as turn:
                await read_until(turn, TextDelta)
        else:
            await session.run("Tell")
        async with session.stream(Move.CONTINUE, client_ref="c") as turn:
            events = await read_all(turn)
        assert assert_ended(events).result.text == "a time."
        assert [(e.turn, e.client_ref) for e in of(TurnStarted, events)] == [(2, "c")]
        assert heard(provider.requests[1])[-1] == "Continue."
        told = session.messages[-2]
        assert isinstance(told, UserMessage) and told.mark == "reminder"
        await assert_replays(session)


async def test_there_has_to_be_something(host: Host) -> None:
    async with ScriptedProvider([reply("Hi."), reply("Hi.")]) as provider:
        session = host.agent(provider).session()
        for move in (Move.CONTINUE, Move.REGENERATE):
            with pytest.raises(SessionError) as raised:
                await session.run(move)
            assert raised.value.code == "nothing_said" and not session.running
        with pytest.raises(SessionError) as raised:
            await session.resume()
        assert raised.value.code == "not_parked"
        assert await session.undo() is None
        await goes_on(session)
        await session.clear()
        for move in (Move.CONTINUE, Move.REGENERATE):
            with pytest.raises(SessionError):
                await session.run(move)
        assert await session.undo() is None
        await goes_on(session)


# --- saying again and taking back --------------------------------------------------------------------------------------


async def test_saying_again(any_host: Host, store: SuspendingStore | None) -> None:
    """The same input, another answer; the provider never hears of the first one, and the turn has a number of its own (T4)."""
    script = [reply("One."), reply(call("look", what="a")), reply("Two."), reply("Better.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, store=store).session()
        await session.run("First")
        await session.run("Second")
        result = await session.regenerate(client_ref="again")
        assert (result.text, result.turn) == ("Better.", 3)
        assert said(session) == ["First", "One.", "Second", "Better."]
        assert [h for h in heard(provider.requests[-1]) if h][-3:] == ["First", "One.", "Second"]
        await assert_replays(session)


async def test_saying_again_keeps_attachments(host: Host) -> None:
    async with ScriptedProvider([reply("A cat."), reply("A dog.")]) as provider:
        session = host.agent(provider).session()
        await session.run(["What is this?", Image.of(PIXEL)])
        assert (await session.regenerate()).text == "A dog."
        assert provider.requests[0].body["messages"] == provider.requests[1].body["messages"]
        assert type(session.messages[0].content[1].source) is BlobRef  # type: ignore[union-attr]


async def test_going_on_again(host: Host) -> None:
    """A turn that was begun without an input is said again without one."""
    async with ScriptedProvider([reply("One."), reply("Two."), reply("Better.")]) as provider:
        session = host.agent(provider).session()
        await session.run("First")
        await session.continue_()
        assert (await session.regenerate()).text == "Better."
        assert said(session) == ["First", "One.", "Continue.", "Better."]
        assert await session.undo() == ""
        assert said(session) == ["First", "One."]
        await assert_replays(session)


async def test_taking_back(any_host: Host, store: SuspendingStore | None) -> None:
    """T4, T7: the text comes back, numbers go on, and the next request begins with the bytes of the one before."""
    script = [
        reply("One."),
        reply(call("look", what="a")),
        reply("Two."),
        reply(call("look", what="b")),
        reply("Three."),
    ]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, store=store).session()
        await session.run("First")
        await session.run("Second")
        assert await session.undo() == "Second"
        assert said(session) == ["First", "One."]
        result = await session.run("Third")
        assert result.turn == 3
        made = [c.id for m in session.messages if isinstance(m, AssistantMessage) for c in m.tool_calls]
        assert made == ["t3.s1.c0"]
        first, third = provider.requests[0].body["messages"], provider.requests[3].body["messages"]
        assert len(third) == 3 and (third[0] == first[0] or any_host.name == "anthropic")
        assert await session.undo() == "Third" and await session.undo() == "First" and await session.undo() is None
        assert session.messages == () and session.state.turns == 3
        await assert_replays(session)


async def test_rewinding(host: Host, store: SuspendingStore | None) -> None:
    script = [reply("One."), reply("Two."), reply("Three."), reply("Four.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, store=store).session(history=[UserMessage("Before."), AssistantMessage("Yes.")])
        for n in ("1", "2", "3"):
            await session.run(n)
        await session.rewind(to=1)
        assert said(session) == ["Before.", "Yes.", "1", "One."]
        assert (await session.run("4")).turn == 4
        await session.rewind(to=0)
        assert said(session) == ["Before.", "Yes."]
        for wrong in (-1, 5):
            with pytest.raises(ConfigError) as raised:
                await session.rewind(to=wrong)
            assert raised.value.code == "invalid_value"
        await assert_replays(session)


async def test_undo_knows_what_was_steered_and_what_was_attached(host: Host) -> None:
    """The input's text is what comes back; all that the turn said goes."""
    async with ScriptedProvider([reply("A."), reply("One.", stall_before_headers=True), reply("Two.")]) as provider:
        session = host.agent(provider).session()
        await session.run("Zero")
        running = asyncio.create_task(session.run(["Look: ", Image.of(PIXEL), "this."]))
        await provider.reached("stalled", request=2)
        await session.steer("Quick.")
        provider.release()
        await running
        assert await session.undo() == "Look: this."
        assert said(session) == ["Zero", "A."]


# --- clearing ----------------------------------------------------------------------------------------------------------


async def test_clearing(any_host: Host, store: SuspendingStore | None) -> None:
    """Nothing said before is sent any more; totals go on, numbers go on, and a rewind brings it back."""
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider:
        session = any_host.agent(provider, store=store).session()
        await session.run("First")
        before = session.usage
        await session.clear()
        status = session.status()
        assert session.messages == () and status.context_tokens is None and session.usage == before
        assert (status.messages, status.history, status.turns) == (0, 2, 1)
        assert (await session.run("Second")).turn == 2
        assert heard(provider.requests[1])[-1] == "Second" and "First" not in heard(provider.requests[1])
        assert (session.usage.total_tokens or 0) > (before.total_tokens or 0)
        assert await session.undo() == "Second" and await session.undo() is None
        await session.rewind(to=0)
        assert session.messages == ()
        await assert_replays(session)


async def test_a_rewind_goes_back_behind_a_clearing() -> None:
    async with ScriptedProvider([reply("One."), reply("Two."), reply("Three.")]) as provider:
        session = ANTHROPIC.agent(provider).session()
        await session.run("First")
        await session.run("Second")
        await session.clear()
        await session.rewind(to=1)
        assert said(session) == ["First", "One."]
        await goes_on(session)


# --- forking -----------------------------------------------------------------------------------------------------------


async def test_forking(any_host: Host) -> None:
    """Both go on by themselves; the fork's requests begin with the bytes of the original's (T7), ids are unique in each (T4)."""
    store = MemoryStore()
    async with ScriptedProvider([reply("One."), reply("Two."), reply("Left."), reply("Right.")]) as provider:
        session = any_host.agent(provider, store=store).session()
        await session.run("First")
        await session.run("Second")
        fork, early = session.fork(), session.fork(at=1)
        assert fork.id != session.id and fork.messages == session.messages
        assert said(early) == ["First", "One."]
        left, right = await session.run("Third"), await early.run("Third")
        assert (left.turn, right.turn) == (3, 2)
        assert said(early) == ["First", "One.", "Third", "Right."] and len(fork.messages) == 4
        (created, *_) = await store.read(early.id)
        assert created.forked_from == session.id  # type: ignore[union-attr]
        await assert_replays(early)
        with pytest.raises(ConfigError):
            session.fork(at=9)


async def test_a_fork_sees_what_the_original_saw() -> None:
    """Compactions, masks and clearings that held there hold in the fork, so its first request is the original's, byte for byte; the
    whole history comes along."""
    script = [reply(call("look", what="far")), reply("One."), reply("Two."), reply("Three."), reply("Three.")]
    async with ScriptedProvider(script) as provider:
        session = ANTHROPIC.agent(provider, look).session()
        await session.run("First")
        summary = UserMessage("What came before.", 1, 1, 9, 0.0, "summary")
        masked = (Masked("t1.s1.c0", "[old]"),)
        await session.apply(CompactionEnded(session.state.base, "manual", Change(1, summary, masked)))
        await session.run("Second")
        early = session.fork(at=1)
        fork = session.fork()
        assert fork.messages == session.messages and fork.state.history == session.state.history
        assert early.messages == session.messages[: len(early.messages)] and len(early.messages) < len(session.messages)
        await session.run("Third")
        await fork.run("Third")
        assert provider.requests[-1].raw == provider.requests[-2].raw
        await assert_replays(fork)
        before = session.fork(at=0)
        assert before.messages == () and before.state.views == []
        assert any(type(e) is Compacted for e in await journal_of(session))


async def test_a_fork_keeps_settings_and_attachments(host: Host) -> None:
    async with ScriptedProvider([reply("A cat."), reply("Yes.")]) as provider:
        session = host.agent(provider).session(context={"who": "me"})
        await session.set(instructions="Be short.", temperature=0.5)
        await session.run(["What is this?", Image.of(PIXEL)])
        fork = session.fork()
        assert fork.settings == session.settings and fork.context is session.context
        assert (await fork.run("Sure?")).text == "Yes."
        assert provider.requests[1].body["temperature"] == 0.5
        await session.set(temperature=None)
        assert fork.settings.temperature == 0.5
        await assert_replays(fork)


async def test_forking_while_a_turn_runs(host: Host) -> None:
    """What is not committed stays; the fork is valid at any moment."""
    entered, go = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        entered.set()
        await go.wait()
        return "waited"

    async with ScriptedProvider([reply(call("wait")), repeat(reply("Fine."))]) as provider:
        session = host.agent(provider, wait).session()
        running = asyncio.create_task(session.run("Hi"))
        await entered.wait()
        queued = await session.follow_up("Later")
        fork = session.fork()
        assert said(fork) == ["Hi"] and fork.follow_ups == ()
        assert (await fork.run("And?")).turn == 2
        go.set()
        await running
        await queued.result()
        assert_valid(fork.messages)


async def test_a_closed_session_is_not_changed(host: Host) -> None:
    async with ScriptedProvider([reply("One.")]) as provider:
        session = host.agent(provider).session()
        await session.run("First")
        await session.close()
        for act in (
            session.undo,
            session.clear,
            session.drop_follow_ups,
            lambda: session.rewind(0),
            lambda: session.set(stream=True),
        ):
            with pytest.raises(SessionClosed):
                await act()
        with pytest.raises(SessionClosed):
            session.fork()
        assert len(session.messages) == 2 and session.closed


# --- parked turns ------------------------------------------------------------------------------------------------------


ask = Tool.external("ask", "Someone else runs it.", {"type": "object", "properties": {"what": {"type": "string"}}})


async def test_resuming(any_host: Host, store: SuspendingStore | None) -> None:
    """T3: what was steered meanwhile stands behind the results; follow-ups wait until the turn has ended."""
    async with ScriptedProvider([reply(call("ask", what="x")), reply("So."), reply("Next.")]) as provider:
        session = any_host.agent(provider, ask, store=store).session()
        result = await session.run("Hi")
        assert result.reason == "parked" and not session.running
        status = session.status()
        assert (status.phase, status.turn, status.calls[0].phase) == ("parked", 1, "waiting") and len(
            status.pending
        ) == 1
        with pytest.raises(SessionBusy) as raised:
            await session.run("More")
        assert raised.value.code == "turn_parked"
        for act in (session.undo, session.clear, session.regenerate, lambda: session.rewind(0)):
            with pytest.raises(SessionBusy):
                await act()
        assert await session.steer("Hurry.")
        handle = await session.follow_up("Then?")
        assert not session.running and session.follow_ups == ("Then?",)
        assert (await session.resume()).reason == "parked"
        assert await session.submit("t1.s1.c0", "answered")
        async with session.stream(Move.RESUME) as turn:
            events = await read_all(turn)
        assert assert_ended_only(events).text == "So."
        assert (await handle.result()).text == "Next."
        assert said(session) == ["Hi", "", "Hurry.", "So.", "Then?", "Next."]
        await assert_replays(session)


@pytest.mark.parametrize("keep", ["partial", "none"])
async def test_interrupting_a_parked_turn(host: Host, keep: Any, store: SuspendingStore | None) -> None:
    """C1: nobody drives it, and it ends all the same; its calls get their outcomes."""
    async with ScriptedProvider([reply(call("ask", what="x"), call("look", what="y")), reply("Fine.")]) as provider:
        session = host.agent(provider, ask, look, store=store).session()
        assert (await session.run("Hi")).reason == "parked"
        assert session.interrupt(keep) and not session.interrupt(keep)
        await until(lambda: not session.status().pending)
        assert session.status().phase == ""
        assert len(session.messages) == (3 if keep == "partial" else 0)
        with pytest.raises(SessionError):
            await session.resume()
        await goes_on(session)
        await assert_replays(session)


async def test_skipping_what_a_parked_turn_waits_for(host: Host) -> None:
    async with ScriptedProvider([reply(call("ask", what="x")), reply("So.")]) as provider:
        session = host.agent(provider, ask).session()
        await session.run("Hi")
        assert await session.steer("Never mind.", skip_calls=True)
        assert session.status().pending == ()
        assert (await session.resume()).text == "So."
        assert said(session) == ["Hi", "", "Never mind.", "So."]


def test_a_parked_turn_is_interrupted_when_its_loop_is_gone() -> None:
    """C1: from a plain script, after the loop that parked it was closed; the next loop goes on."""
    with ScriptedProvider([reply(call("ask", what="x")), reply("Fine.")]) as provider:
        session = ANTHROPIC.agent(provider, ask).session()
        assert asyncio.run(session.run("Hi")).reason == "parked"
        assert session.interrupt() and len(session.messages) == 3
        assert asyncio.run(session.run("Go on")).text == "Fine."


async def test_closing_leaves_a_parked_turn_in_its_journal(host: Host) -> None:
    async with ScriptedProvider([reply(call("ask", what="x"))]) as provider:
        session = host.agent(provider, ask).session()
        await session.run("Hi")
        await session.close()
        assert session.status().phase == "parked" and session.status().closed
        assert replay(await journal_of(session)).state.turn.phase == "parked"  # type: ignore[union-attr]
        with pytest.raises(SessionClosed):
            await session.resume()


def assert_ended_only(events: list[Any]) -> TurnResult:
    last = events[-1]
    assert isinstance(last, TurnFinished)
    return last.result

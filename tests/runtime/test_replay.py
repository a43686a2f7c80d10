"""A journal run again gives what the live session gave: transcript, results, journalled events (T1, E10, D2's ground)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.providers import PROVIDERS
from tests.runtime.conftest import Host, read_all

from turnwise import Agent, Image, Limits, Retry, Session, ToolError, tool
from turnwise.core.entries import AttemptFailed, CallOutcome, Entry, SessionCreated, StepCommitted, TurnEnded
from turnwise.core.replay import replay
from turnwise.errors import StateError
from turnwise.events import (
    AttemptRestarted,
    Event,
    Steered,
    StepFinished,
    TextDelta,
    ToolCallReady,
    ToolFinished,
    ToolStarted,
    TurnFinished,
    TurnStarted,
    UsageUpdated,
)
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, error_event, fail, raw_call, repeat, reply, text, think
from turnwise.testing.script import ScriptItem

JOURNALLED = (
    TurnStarted, StepFinished, UsageUpdated, AttemptRestarted, ToolCallReady, ToolStarted, ToolFinished, Steered, TurnFinished,
)  # fmt: skip
QUICK = Retry(attempts=3, base_delay_s=0.001)


@tool
async def look(what: str) -> Any:
    if what == "nothing":
        raise ToolError("there is nothing")
    return [f"saw {what}", Image.of(b"\x89PNG")] if what == "a picture" else f"saw {what}"


@tool
async def wait() -> str:
    await asyncio.Event().wait()
    return ""


Drive = Callable[[Session[Any], list[Event]], Awaitable[None]]


async def ask(session: Session[Any], told: list[Event]) -> None:
    async with session.stream("Hi") as turn:
        await read_all(turn, told)


async def ask_twice(session: Session[Any], told: list[Event]) -> None:
    await ask(session, told)
    await ask(session, told)


async def interrupt_in_text(session: Session[Any], told: list[Event]) -> None:
    async with session.stream("Hi") as turn:
        async for event in turn:
            told.append(event)
            if type(event) is TextDelta:
                session.interrupt()
    await ask(session, told)


async def interrupt_in_tool(session: Session[Any], told: list[Event]) -> None:
    async with session.stream("Hi") as turn:
        async for event in turn:
            told.append(event)
            if type(event) is ToolStarted and event.name == "wait":
                session.interrupt()
    await ask(session, told)


async def steer(session: Session[Any], told: list[Event]) -> None:
    async with session.stream("Hi") as turn:
        async for event in turn:
            told.append(event)
            if type(event) is ToolStarted:
                await session.steer("Hurry.")


CASES: dict[str, tuple[list[ScriptItem], Drive, dict[str, Any]]] = {
    "text": ([reply("Hello."), reply("Again.")], ask_twice, {}),
    "tools": (
        [
            reply(
                think("Hm."),
                call("look", what="a"),
                call("look", what="nothing"),
                call("nonsense"),
                raw_call("look", "[1]"),
            ),
            reply(call("look", what="a picture")),
            reply("Seen."),
        ],
        ask,
        {},
    ),
    "retries": ([fail(500), fail(429, headers={"retry-after": "0"}), reply("At last.")], ask, {}),
    "retries used up": ([fail(500), fail(500), fail(500)], ask, {}),
    "refused": ([fail(400)], ask, {}),
    "shown and broken": ([reply(text("one two"), error_event("no", status=500))], ask, {}),
    "broken and restarted": (
        [reply(text("one two"), error_event("no", status=500)), reply("Whole.")],
        ask,
        {"restart": "before_commit"},
    ),
    "cut off": ([reply(call("look", what="a"), stop="length"), reply("Shorter.")], ask, {}),
    "limit of steps": ([reply(call("look", what="a"))], ask, {"limits": Limits(steps=1)}),
    "limit of calls": (
        [reply(call("look", what="a"), call("look", what="b"))],
        ask,
        {"limits": Limits(calls=1)},
    ),
    "interrupted in text": ([reply(text("one two three"), stall_after_event=5), reply("Back.")], interrupt_in_text, {}),
    "interrupted in a tool": ([reply(call("look", what="a"), call("wait")), reply("Back.")], interrupt_in_tool, {}),
    "steered": ([reply(call("look", what="a")), repeat(reply("Fast."))], steer, {}),
}


async def journal_of(case: str, host: Host) -> tuple[Session[Any], list[Entry], list[Event]]:
    script, drive, options = CASES[case]
    store, told = MemoryStore(), list[Event]()
    async with ScriptedProvider(script) as provider:
        options = {"retry": QUICK, **options}
        session = host.agent(provider, look, wait, store=store, **options).session()
        await drive(session, told)
    return session, list(await store.read(session.id)), told


@pytest.mark.parametrize("case", CASES)
async def test_a_replay_is_the_session(host: Host, case: str) -> None:
    """The same transcript, usage, results and journalled events, from the journal alone."""
    session, journal, told = await journal_of(case, host)
    again = replay(journal)
    assert tuple(again.state.transcript) == session.messages
    assert again.state.usage == session.usage and again.state.turns == session.state.turns
    assert again.events == [e for e in told if isinstance(e, JOURNALLED)]
    assert again.results == [e.result for e in told if isinstance(e, TurnFinished)]


async def test_a_fallback_is_replayed() -> None:
    store = MemoryStore()
    async with ScriptedProvider([fail(529), reply("Second.")]) as provider:
        models = [PROVIDERS["anthropic"].at(provider), PROVIDERS["openai"].at(provider)]
        session = Agent(models=models, store=store).session()
        await session.run("Hi")
    journal = list(await store.read(session.id))
    assert any(type(e) is AttemptFailed and e.model == 1 for e in journal)
    assert tuple(replay(journal).state.transcript) == session.messages


async def test_an_unfinished_journal_is_replayed_as_far_as_it_goes(host: Host) -> None:
    """A crash leaves any beginning of a journal that ends with an append: what is there is replayed."""
    _, journal, _ = await journal_of("tools", host)
    for end in range(1, len(journal)):
        if type(journal[end]) is CallOutcome and not journal[end].ran:
            continue  # outcomes that follow from a response at once are of the same append
        if type(journal[end]) is TurnEnded:
            continue
        assert replay(journal[:end]).state.seq == end


@pytest.mark.parametrize("how", ["dropped", "swapped", "changed", "no beginning", "empty"])
async def test_a_journal_that_was_tampered_with_is_refused(host: Host, how: str) -> None:
    """The entry is named; nothing is guessed."""
    _, journal, _ = await journal_of("tools", host)
    at = next(n for n, e in enumerate(journal) if type(e) is CallOutcome)
    match how:
        case "dropped":
            del journal[at]
        case "swapped":
            step = next(n for n, e in enumerate(journal) if type(e) is StepCommitted)
            journal[step], journal[step + 1] = journal[step + 1], journal[step]
        case "changed":
            ended = journal[-1]
            assert type(ended) is TurnEnded
            journal[-1] = msgspec.structs.replace(ended, reason="limit")
        case "no beginning":
            assert type(journal.pop(0)) is SessionCreated
        case _:
            journal = []
    with pytest.raises(StateError) as caught:
        replay(journal)
    assert caught.value.code in ("replay_differs", "illegal_entry")

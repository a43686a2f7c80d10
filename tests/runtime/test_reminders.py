"""Reminders: said at the end of a request, anew each time, kept nowhere, and no reason to read anything again (rule T7)."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest
from tests.providers import PROVIDERS
from tests.runtime.conftest import Host, of, read_all, said
from tests.wire.test_tail import rows_of, texts

from turnwise import Agent, Limits, reminders, tool
from turnwise.core.budget import Remaining
from turnwise.events import CacheBroken, Notice, TextDelta
from turnwise.reminders import ReminderContext
from turnwise.testing import ScriptedProvider, call, reply, text, think

NOW = 1_764_115_200.0 + 59  # a Wednesday at midnight


@tool
async def look(what: str) -> str:
    return what


def numbered() -> Any:
    """A reminder that says another thing each time."""
    count = itertools.count(1)
    return lambda context: f"This is request {next(count)}."


@pytest.mark.parametrize("name", PROVIDERS)
async def test_it_comes_last_and_is_gone_with_the_next_request(name: str) -> None:
    """Behind the user's words and behind results, at every API; what is kept of the conversation does not hold it."""
    script = [reply(think("Hm."), text("Let me see."), call("look", what="x")), reply("Done."), reply("More.")]
    async with ScriptedProvider(script) as provider:
        session = PROVIDERS[name].agent(provider, look, reminders=[numbered()], instructions="Be brief.").session()
        await session.run("Hi")
        await session.run("Go on")
        assert not [r.problems for r in provider.requests if r.problems]
        for number, request in enumerate(provider.requests, 1):
            rows = rows_of(request.body)
            assert rows[-1]["role"] == "user"
            assert texts(rows[-1])[-1] == f"<reminder>\nThis is request {number}.\n</reminder>"
            assert msgspec.json.encode(request.body).decode().count("This is request") == 1
        assert said(session) == ["Hi", "Let me see.", "Done.", "Go on", "More."]


async def test_it_breaks_no_cache(any_host: Host) -> None:
    async with ScriptedProvider([reply(call("look", what="x")), reply("Done."), reply("More.")]) as provider:
        session = any_host.agent(provider, look, reminders=[numbered()]).session()
        for prompt in ("Hi", "Go on"):
            async with session.stream(prompt) as turn:
                assert not of(CacheBroken, await read_all(turn))
        bodies = [rows_of(r.body)[:-1] for r in provider.requests]
        assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(bodies))


async def test_several_nothing_and_a_broken_one(host: Host) -> None:
    """They stand in one message, in order; one that says nothing or fails is left out, and a failure is told."""

    def broken(context: ReminderContext) -> str:
        raise LookupError("no clock")

    all_of_them = [lambda _: "One.", broken, lambda _: None, lambda _: " \n", lambda _: "Two."]
    async with ScriptedProvider([reply("Done."), reply("Done.")]) as provider:
        async with host.agent(provider, reminders=all_of_them).session().stream("Hi") as turn:
            events = await read_all(turn)
        notices = of(Notice, events)
        assert [n.code for n in notices] == ["reminder_failed"] and "broken" in notices[0].message
        assert texts(rows_of(provider.requests[0].body)[-1])[-1] == "<reminder>\nOne.\nTwo.\n</reminder>"
        await host.agent(provider, reminders=[lambda _: None]).run("Hi")
        assert texts(rows_of(provider.requests[1].body)[-1])[-1] == "Hi"


async def test_what_it_is_told(host: Host) -> None:
    seen: list[ReminderContext] = []
    async with ScriptedProvider([reply(call("look", what="x")), reply("Done.")]) as provider:
        agent = host.agent(provider, look, reminders=[seen.append], limits=Limits(steps=5, calls=None))
        session = agent.session(context="mine")
        await session.run("Hi")
    assert [(c.turn, c.step, c.session, c.context) for c in seen] == [(1, n, session.id, "mine") for n in (1, 2)]
    assert [c.remaining for c in seen] == [Remaining(5), Remaining(4)] and seen[0].now > NOW


async def test_the_model_may_be_told_the_time_and_its_budget(host: Host) -> None:
    async with ScriptedProvider([reply("Done.")]) as provider:
        agent: Agent[Any] = host.agent(provider, reminders=[reminders.time, reminders.budget])
        async with agent.session().stream("Hi") as turn:
            assert of(TextDelta, await read_all(turn))
        told = texts(rows_of(provider.requests[0].body)[-1])[-1]
    assert "UTC.\nLeft for this turn: 50 model calls, 500 tool calls." in told and "It is " in told


def test_the_words() -> None:
    left = Remaining(1, 0, 12_345, 0.5, 89.9, {"look": 2})
    context = ReminderContext(1, 1, NOW, left)
    assert reminders.time(context) == "It is Wednesday, 2025-11-26 00:00 UTC."
    assert reminders.budget(context) == (
        "Left for this turn: 1 model call, 0 tool calls, 2 calls of look, 12,345 tokens, $0.50, 89 seconds."
    )
    assert reminders.budget(ReminderContext(1, 1, NOW, Remaining())) is None

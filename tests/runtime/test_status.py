"""How a session stands, seen in every phase."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, in_virtual_time, until

from turnwise import Agent, ProviderLimits, Runtime, Session, Usage, tool
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text


async def test_at_rest(host: Host) -> None:
    """Before the first turn, between turns, and closed: numbers are those of the journal."""
    async with ScriptedProvider([repeat(reply("Hi.", usage=Usage(100, 20)))]) as provider:
        session = host.agent(provider).session()
        status = session.status()
        assert (status.id, status.model) == (session.id, f"{host.name}:a-model") and status.created_at > 1e9
        assert (status.messages, status.turns, status.requests, status.turn, status.phase) == (0, 0, 0, None, "")
        assert (status.context_tokens, status.context_limit, status.context_share) == (None, None, None)
        assert status.last_usage is None and status.cost_usd is None and status.last_cost_usd is None
        await session.run("1")
        await session.set(context_limit=1000)
        await session.run("2")
        status = session.status()
        assert (status.messages, status.history, status.turns, status.requests) == (4, 4, 2, 2)
        assert status.usage.input_tokens == 200 and status.last_usage is not None
        assert status.last_usage.input_tokens == 100
        assert (status.context_tokens, status.context_limit, status.context_share) == (120, 1000, 0.12)
        assert (status.phase, status.closed, status.follow_ups) == ("", False, 0)
        await session.close()
        assert session.status().closed and session.status().turns == 2


def test_the_window_is_known_from_the_catalogue() -> None:
    """Without loading it, and without a key."""
    assert Agent("anthropic:claude-sonnet-4-5").session().status().context_limit == 200_000
    assert Agent("bedrock:us.anthropic.claude-sonnet-4-5-20250929-v1:0").session().status().context_limit == 200_000
    assert Agent("ollama:who-knows").session().status().context_limit is None


async def test_phases_of_a_turn(host: Host) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    @tool(concurrency=1)
    async def wait(name: str) -> str:
        entered.set()
        await go.wait()
        return name

    script = [
        reply(call("wait", name="a"), call("wait", name="b"), stall_before_headers=True),
        reply(text("One, ", "two"), stall_after_event=3),
    ]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, wait).session()
        running = asyncio.create_task(session.run("Hi"))
        await provider.reached("stalled")
        await until(lambda: session.status().attempt_phase == "waiting")
        status = session.status()
        assert (status.turn, status.phase, status.step, status.attempt) == (1, "model", 1, 1)
        provider.release()
        await entered.wait()
        await session.follow_up("Then?")
        status = session.status()
        assert (status.phase, status.attempt_phase, status.follow_ups) == ("tools", "", 1)
        assert [(c.name, c.phase) for c in status.calls] == [("wait", "running"), ("wait", "queued")]
        go.set()
        await provider.reached("stalled", request=2)
        await until(lambda: session.status().attempt_phase == "answering")
        assert session.status().step == 2
        session.interrupt()
        assert session.status().phase in ("ending", "")
        await running
        assert session.status().phase == "" and session.status().follow_ups == 1


@in_virtual_time
async def test_waiting_to_try_again() -> None:
    async with ScriptedProvider([fail(529, headers={"retry-after": "30"}), reply("Fine.")]) as provider:
        session = ANTHROPIC.agent(provider).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await until(lambda: session.status().attempt_phase == "retry_wait")
        assert session.status().attempt == 2 and session.status().requests == 1
        assert (await running).text == "Fine."


async def test_waiting_for_a_place() -> None:
    limits = {"*": ProviderLimits(concurrency=1)}
    async with ScriptedProvider([hang(), reply("Fine.")]) as provider, Runtime(limits=limits) as runtime:
        agent = ANTHROPIC.agent(provider, runtime=runtime)
        first, second = agent.session(), agent.session()
        blocked = asyncio.create_task(first.run("Hi"))
        await provider.reached("arrived")
        running = asyncio.create_task(second.run("Hi"))
        await until(lambda: second.status().attempt_phase == "queued")
        first.interrupt()
        await blocked
        assert (await running).text == "Fine."


async def test_while_the_journal_is_being_written(host: Host) -> None:
    """The last entry is folded and not yet durable: the turn is still ending."""
    hold, go = asyncio.Event(), asyncio.Event()

    async def pause(when: str) -> None:
        if when == "before" and session.state.turn is not None and session.state.turn.phase == "ended":
            hold.set()
            await go.wait()

    async with ScriptedProvider([reply("Hi.")]) as provider:
        session: Session[Any] = host.agent(provider, store=SuspendingStore(pause)).session()
        running = asyncio.create_task(session.run("Hi"))
        await hold.wait()
        assert session.status().phase == "ending" and session.running
        go.set()
        await running
        assert session.status().phase == ""


def test_a_status_is_a_value() -> None:
    status = Agent("anthropic:a-model").session().status()
    with pytest.raises(AttributeError):
        status.turns = 3  # type: ignore[misc]

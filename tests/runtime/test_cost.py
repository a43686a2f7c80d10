"""What a turn costs is counted at every step, and a limit of cost is not given to models whose prices nobody knows (rules E9, H3)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest
from tests.runtime.conftest import Host, assert_ended, of, read_all, read_until, until

from turnwise import Agent, Limits, Model, Retry, Usage, tool
from turnwise.core.messages import AssistantMessage
from turnwise.errors import ConfigError
from turnwise.events import TextDelta, UsageUpdated
from turnwise.models import Overrides
from turnwise.models import cost as cost_of
from turnwise.models.facts import Facts
from turnwise.testing import ScriptedProvider, call, error_event, repeat, reply, text

PRICES: Overrides = {"a-model": {"prices": {"input_mtok": "1000", "output_mtok": "10000", "cache_read_mtok": 100}}}
"""A tenth of a cent for an input token, a whole one for an output token."""

USED = Usage(1000, 100, 500)
COST = 0.5 + 0.05 + 1.0


@tool
async def look(what: str) -> str:
    return what


async def test_every_step_has_its_cost(any_host: Host) -> None:
    """In its message, in the events and in the result, cached tokens at their own price; the session adds it up."""
    script = [reply(call("look", what="x"), usage=USED), reply("Done.", usage=USED), reply("More.", usage=USED)]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, overrides=PRICES).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert result.usage.cost_usd == pytest.approx(2 * COST)
        said = [m for m in result.messages if isinstance(m, AssistantMessage)]
        assert [m.usage and m.usage.cost_usd for m in said] == [pytest.approx(COST)] * 2
        again = await session.run("Go on")
        assert again.usage.cost_usd == pytest.approx(COST)


async def test_failed_attempts_cost_too(host: Host) -> None:
    """E10: what a broken stream had counted is in the bill."""
    broken = reply(text("one two"), error_event("overloaded", status=529), usage=USED)
    async with ScriptedProvider([broken, reply("Whole.", usage=USED)]) as provider:
        agent = host.agent(provider, overrides=PRICES, restart="before_commit", retry=Retry(base_delay_s=0))
        async with agent.session().stream("Hi") as turn:
            events = await read_all(turn)
        whole = assert_ended(events).result.usage.cost_usd
        costs = [e.step_usage.cost_usd for e in of(UsageUpdated, events)]
        assert whole == pytest.approx(sum(c for c in costs if c is not None)) and costs[-1] == pytest.approx(COST)
        if (
            host.name == "anthropic"
        ):  # which says at once what the input costs; chat says it at the end, which never came
            assert costs[0] is not None and 0.5 < costs[0] < COST


async def test_an_interrupted_answer_costs_what_was_seen_of_it(host: Host) -> None:
    script = [reply(text("one two three four five"), stall_after_event=5, usage=USED)]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, overrides=PRICES).session()
        async with session.stream("Hi") as turn:
            await read_until(turn, TextDelta)
        assert turn.result.reason == "interrupted" and (turn.result.usage.cost_usd or 0) > 0


async def test_without_prices_there_is_no_cost(host: Host) -> None:
    """None, which is not zero."""
    async with ScriptedProvider([reply("Hi.", usage=USED)]) as provider:
        assert (await host.agent(provider).run("Hi")).usage.cost_usd is None


# --- a limit of cost ----------------------------------------------------------------------------------------------------


async def test_an_unpriced_model_with_a_cost_limit_is_refused(host: Host) -> None:
    """H3: before anything is sent or journalled, with what to do about it; the session goes on."""
    async with ScriptedProvider([reply("Hi.", usage=USED)]) as provider:
        session = host.agent(provider).session()
        with pytest.raises(ConfigError, match="overrides=") as raised:
            await session.run("Hi", limits=Limits(cost=1.0))
        assert raised.value.code == "unpriced_model" and f"{host.name}:a-model" in raised.value.message
        assert not provider.requests and not session.messages
        assert (await session.run("Hi")).text == "Hi."


async def test_every_model_that_may_be_asked_needs_a_price() -> None:
    """The one to fall back on as well."""
    async with ScriptedProvider([reply("Hi.", usage=USED)]) as provider:
        models = [
            Model(f"anthropic:{n}", base_url=provider.anthropic_url, api_key="test") for n in ("a-model", "other")
        ]
        with pytest.raises(ConfigError, match="anthropic:other"):
            await Agent(models=models, overrides=PRICES, limits=Limits(cost=1.0)).run("Hi")
        assert not provider.requests
        agent = Agent(models=models, overrides={**PRICES, "other": {"like": "openai:gpt-5"}}, limits=Limits(cost=9.0))
        assert (await agent.run("Hi")).text == "Hi."


async def test_overrides_that_cannot_be_used_are_refused_before_anything_is_sent(host: Host) -> None:
    async with ScriptedProvider([]) as provider:
        wrong: Any = {"a-model": {"price": 3}}
        with pytest.raises(ConfigError) as raised:
            await host.agent(provider, overrides=wrong).run("Hi")
        assert raised.value.code == "invalid_override" and not provider.requests


# --- looking it up ------------------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted provider's address counts as the provider's own, so that the catalogue is asked; nobody has yet."""
    monkeypatch.setattr(Facts, "loaded_whole", False)
    for module in ("facts", "catalogue"):
        monkeypatch.setattr(f"turnwise.models.{module}.is_here", lambda _: False)


@pytest.mark.usefixtures("elsewhere")
async def test_list_prices_are_looked_up_while_the_provider_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a thread, once; an answer that is there first waits for its price, and the loop goes on meanwhile."""
    asked: list[str] = []
    may_know, real = threading.Event(), Facts.info

    def slow(self: Facts, at: float) -> Any:
        asked.append(threading.current_thread().name)
        assert may_know.wait(10)
        return real(self, at)

    async with ScriptedProvider([repeat(reply("Hi.", usage=USED))]) as provider:
        agent = Agent("anthropic:claude-sonnet-4-5", base_url=provider.anthropic_url, api_key="test")
        session = agent.session()
        with monkeypatch.context() as patched:
            patched.setattr(Facts, "info", slow)
            running = asyncio.create_task(session.run("Hi"))
            await until(lambda: asked and provider.requests)
            for _ in range(100):
                await asyncio.sleep(0)
            assert not running.done()
            may_know.set()
            first = await running
            assert [name.startswith("turnwise-blocking") for name in asked[:1]] == [True]
        second = await session.run("Again")
        cost = float(cost_of(USED, "anthropic:claude-sonnet-4-5") or 0)
        assert first.usage.cost_usd == second.usage.cost_usd == pytest.approx(cost)
        threads = threading.active_count()
        other = Agent("anthropic:claude-opus-4-5", base_url=provider.anthropic_url, api_key="test")
        assert (await other.run("Hi")).usage.cost_usd and threading.active_count() == threads, "now it is at hand"


@pytest.mark.usefixtures("elsewhere")
async def test_a_catalogue_that_cannot_be_read_costs_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Facts, at: float) -> Any:
        raise ImportError("genai_prices has changed")

    monkeypatch.setattr(Facts, "info", broken)
    async with ScriptedProvider([reply("Hi.", usage=USED), reply("Again.", usage=USED)]) as provider:
        agent = Agent("anthropic:claude-sonnet-4-5", base_url=provider.anthropic_url, api_key="test")
        result = await agent.run("Hi")
        assert result.text == "Hi." and result.usage.cost_usd is None
        assert (await agent.run("Hi")).text == "Again."


def test_a_model_on_this_machine_loads_no_catalogue() -> None:
    """Nor does a run with it warn: there is nothing to be known."""
    code = """
import asyncio, sys
from turnwise import Agent
from turnwise.testing import ScriptedProvider, reply
async def main():
    async with ScriptedProvider([reply("Hi.")]) as provider:
        agent = Agent("anthropic:claude-sonnet-4-5", base_url=provider.anthropic_url, api_key="test")
        assert (await agent.run("Hi")).usage.cost_usd is None
asyncio.run(main())
assert not {"turnwise.models.catalogue", "genai_prices"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)

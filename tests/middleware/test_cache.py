"""The cache: exact match, whole answers alone, stale rules, scopes, and a store that fails costs nothing but the hit."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from tests.runtime.conftest import Host, of, read_all, results

from turnwise import ModelSettings, Principal, Retry, Runtime, tool
from turnwise.core.store import Scope
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import Notice, TextDelta
from turnwise.middleware import cache, redact
from turnwise.store.memory import MemoryStore
from turnwise.testing import ScriptedProvider, call, fail, reply, text, think


class Wall:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now


@tool
async def weather(city: str) -> str:
    """Forecast."""
    return f"{city}: 12 degrees"


async def test_the_same_request_is_answered_from_the_store(any_host: Host) -> None:
    """Tools, reasoning and text come again as they were; nothing is sent, nothing is used; calls are run anew."""
    script = [
        reply(think("Hm."), text("Let me look."), call("weather", city="Oslo"), call("weather", city="Rome")),
        reply("Mild."),
    ]
    kept = cache()
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        agent = any_host.agent(provider, weather, middleware=[kept], runtime=runtime)
        first = await agent.run("Weather?")
        async with agent.session().stream("Weather?") as turn:
            events = await read_all(turn)
        second = turn.result
        assert second.text == first.text == "Mild." and second.steps == 2
        assert [m.body for m in second.messages[1::2]] == [m.body for m in first.messages[1::2]]  # type: ignore[union-attr]
        assert len(results(second)) == 2
        assert "".join([e.text for e in of(TextDelta, events)]) == "Let me look.Mild."
        assert second.usage.total_tokens == 0 and second.usage.provenance == "unsent"
        assert second.usage.cost_usd in (None, 0.0) and first.usage.total_tokens
        assert len(provider.requests) == 2
        assert (kept.stats.hits, kept.stats.misses, kept.stats.stored) == (2, 2, 2)


@pytest.mark.parametrize("change", ["prompt", "instructions", "settings", "tools"])
async def test_another_request_is_another_answer(host: Host, change: str) -> None:
    kept = cache()
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider, Runtime() as runtime:
        one: dict[str, Any] = {"middleware": [kept], "runtime": runtime, "instructions": "Be kind."}
        assert (await host.agent(provider, **one).run("Hi")).text == "One."
        tools = [weather] if change == "tools" else []
        if change == "instructions":
            one["instructions"] = "Be brief."
        if change == "settings":
            one["settings"] = ModelSettings(temperature=0.1)
        asked = "Hi!" if change == "prompt" else "Hi"
        assert (await host.agent(provider, *tools, **one).run(asked)).text == "Two."


@pytest.mark.parametrize(
    "first",
    [
        reply("Half an ans", stop="length"),
        reply(text("One, ", "two, ", "three, ", "four."), end_at_byte=700),
        fail(400),
    ],
)
async def test_what_did_not_come_to_its_end_is_not_kept(host: Host, first: Any) -> None:
    kept = cache()
    async with ScriptedProvider([first, reply("Whole.")]) as provider, Runtime() as runtime:
        agent = host.agent(provider, middleware=[kept], runtime=runtime, retry=Retry(attempts=1))
        with contextlib.suppress(ProviderError):
            await agent.run("Hi")
        assert (await agent.run("Hi")).text == "Whole."


async def test_age_and_failure(host: Host) -> None:
    """Fresh: served. Old: asked anew. Old, and the provider fails before it said anything: served, and said so. Too old: it fails."""
    wall, kept = Wall(), cache(ttl_s=100, stale_while_error_s=1000)
    script = [reply("First."), reply("Second."), fail(500), fail(500)]
    async with ScriptedProvider(script) as provider, Runtime(clock=wall) as runtime:
        agent = host.agent(provider, middleware=[kept], runtime=runtime, retry=Retry(attempts=1))
        assert (await agent.run("Hi")).text == "First."
        wall.now += 99
        assert (await agent.run("Hi")).text == "First."
        wall.now += 2
        assert (await agent.run("Hi")).text == "Second."
        wall.now += 1099
        async with agent.session().stream("Hi") as turn:
            events = await read_all(turn)
        assert turn.result.text == "Second." and kept.stats.stale == 1
        assert "cache_stale" in [e.code for e in of(Notice, events)]
        wall.now += 1
        with pytest.raises(ProviderError):
            await agent.run("Hi")


async def test_an_unreachable_provider_is_a_failure_too(host: Host) -> None:
    wall, kept = Wall(), cache(ttl_s=1, stale_while_error_s=1000)
    async with Runtime(clock=wall) as runtime:
        async with ScriptedProvider([reply("Once.")]) as provider:
            agent = host.agent(provider, middleware=[kept], runtime=runtime, retry=Retry(attempts=1))
            await agent.run("Hi")
        wall.now += 10
        assert (await agent.run("Hi")).text == "Once."


async def test_answers_are_the_tenants_own(host: Host) -> None:
    kept = cache()
    async with ScriptedProvider([reply("Ann's."), reply("Bob's.")]) as provider, Runtime() as runtime:
        agent = host.agent(provider, middleware=[kept], runtime=runtime)
        assert (await agent.session(principal=Principal("acme", "ann")).run("Hi")).text == "Ann's."
        assert (await agent.session(principal=Principal("other", "bob")).run("Hi")).text == "Bob's."
        assert (await agent.session(principal=Principal("acme", "cat")).run("Hi")).text == "Ann's."


async def test_it_outlives_its_runtime_in_a_store(host: Host) -> None:
    store = MemoryStore()
    async with ScriptedProvider([reply("Once.")]) as provider:
        for _ in range(2):
            async with Runtime(store=store) as runtime:
                agent = host.agent(provider, middleware=[cache()], runtime=runtime)
                assert (await agent.run("Hi")).text == "Once."


async def test_a_store_that_fails_costs_the_hit_alone(host: Host) -> None:
    class Broken(MemoryStore):
        async def get_record(self, scope: Any, key: str) -> Any:
            raise OSError("no disk")

        async def put_record(self, *args: Any, **options: Any) -> Any:
            raise OSError("no disk")

    kept = cache(store=Broken())
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider, Runtime() as runtime:
        agent = host.agent(provider, middleware=[kept], runtime=runtime)
        assert [(await agent.run("Hi")).text for _ in range(2)] == ["One.", "Two."]
        assert kept.stats.errors == 4
        status = runtime.health.of("cache")
        assert status is not None and status.state == "degraded" and "no disk" in status.message


async def test_what_was_damaged_is_no_hit(host: Host) -> None:
    """P7: what is kept is data; bytes that are no answer are not believed."""
    store, kept = MemoryStore(), cache()
    async with ScriptedProvider([reply("One."), reply("Two.")]) as provider, Runtime(store=store) as runtime:
        agent = host.agent(provider, middleware=[kept], runtime=runtime)
        await agent.run("Hi")
        (record,) = await store.records(Scope("global"), "turnwise.cache/")
        await store.put_record(Scope("global"), record.key, b'{"at": 1, "events": [{"type": "os.system"}]}')
        assert (await agent.run("Hi")).text == "Two."
        assert await kept.clear(runtime, Scope("global")) == 1


async def test_inside_of_redaction_the_redacted_request_decides(host: Host) -> None:
    kept = cache()
    async with ScriptedProvider([reply("Noted.")]) as provider, Runtime() as runtime:
        agent = host.agent(provider, middleware=[redact(r"PIN \d+"), kept], runtime=runtime)
        for pin in ("PIN 1234", "PIN 9999"):
            assert (await agent.run(f"My {pin}")).text == "Noted."


@pytest.mark.parametrize("bad", [{"ttl_s": 0}, {"scope": "world"}, {"store": object()}])
def test_settings_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        cache(**bad)

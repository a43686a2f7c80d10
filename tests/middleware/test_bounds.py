"""Middleware that bounds and counts: rate_limit, concurrency, circuit_breaker, metrics, log, validate."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import ANTHROPIC, Host, in_virtual_time, read_until, results, until

from turnwise import Agent, Model, Principal, Retry, tool
from turnwise.core.errors import ErrorInfo
from turnwise.core.outcomes import Failed
from turnwise.core.usage import Usage
from turnwise.errors import ConfigError, HookError, ProviderError
from turnwise.events import TextDelta
from turnwise.middleware import (
    ModelRequest,
    ModelResponse,
    circuit_breaker,
    concurrency,
    log,
    metrics,
    rate_limit,
    validate,
)
from turnwise.middleware import middleware as marked
from turnwise.testing import ScriptedProvider, call, fail, repeat, reply, text

ONCE = Retry(attempts=1)


@tool
async def weather(city: str) -> str:
    """Forecast."""
    return '{"degrees": 12}' if city == "Oslo" else "mild"


def _bucket(limit: Any) -> Any:
    ((requests, _),) = limit._buckets.values()
    return requests


# --- rate_limit --------------------------------------------------------------------------------------------------------


def test_so_many_in_a_minute() -> None:
    async def main() -> None:
        limit = rate_limit(60, burst=2, per="all")
        async with ScriptedProvider([repeat(reply("Ok."))]) as provider:
            agent = ANTHROPIC.agent(provider, middleware=[limit])
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.gather(*[agent.run("Hi") for _ in range(6)])
            assert 3.9 <= loop.time() - began < 4.5
            assert limit.waiting == 0

    in_virtual_time(main)()


def test_users_have_a_bound_of_their_own() -> None:
    async def main() -> None:
        limit = rate_limit(60, burst=1, per="user")
        async with ScriptedProvider([repeat(reply("Ok."))]) as provider:
            agent = ANTHROPIC.agent(provider, middleware=[limit])
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.gather(*[agent.session(principal=Principal("t", u)).run("Hi") for u in "abc"])
            assert loop.time() - began < 0.5

    in_virtual_time(main)()


def test_tokens_are_put_right_by_what_was_used() -> None:
    async def main() -> None:
        limit = rate_limit(tokens_per_minute=600, per="all")
        async with ScriptedProvider([repeat(reply("Ok.", usage=Usage(500, 100)))]) as provider:
            agent = ANTHROPIC.agent(provider, middleware=[limit])
            loop = asyncio.get_running_loop()
            began = loop.time()
            await agent.run("Hi")
            assert loop.time() - began < 1
            await agent.run("Hi")
            assert loop.time() - began < 2
            await agent.run("Hi")
            assert 55 < loop.time() - began < 65

    in_virtual_time(main)()


async def test_waiting_can_be_interrupted_and_takes_nothing(host: Host) -> None:
    """C1: queued for a rate limit; whoever leaves the line gives its turn back."""
    limit = rate_limit(1, per="all")
    async with ScriptedProvider([reply("One.")]) as provider:
        agent = host.agent(provider, middleware=[limit])
        await agent.run("Hi")
        session = agent.session()
        before = _bucket(limit).free_at
        running = asyncio.ensure_future(session.run("Hi"))
        await until(lambda: limit.waiting)
        session.interrupt()
        assert (await running).reason == "interrupted" and limit.waiting == 0
        assert _bucket(limit).free_at == pytest.approx(before)  # pyright: ignore[reportPrivateUsage]


async def test_who_would_wait_too_long_goes_to_another_model(host: Host) -> None:
    """H3: the middleware refuses, the machine decides."""
    async with ScriptedProvider([reply("First."), reply("Second.")]) as provider:
        models = [Model(f"{host.name}:{n}", base_url=host.url(provider), api_key=n) for n in ("one", "two")]
        agent = Agent(models=models, middleware=[rate_limit(1, max_wait_s=10)])
        assert (await agent.run("Hi")).text == "First."
        result = await agent.run("Hi")
        assert result.text == "Second." and [r.body["model"] for r in provider.requests] == ["one", "two"]


# --- concurrency -------------------------------------------------------------------------------------------------------


async def test_so_many_at_once_until_their_responses_end(any_host: Host) -> None:
    bound = concurrency(2, per="all")
    async with ScriptedProvider([reply("Hello.", stall_before_headers=True)] * 5) as provider:
        agent = any_host.agent(provider, middleware=[bound])
        running = [asyncio.ensure_future(agent.run("Hi")) for _ in range(5)]
        await provider.reached("stalled", 2)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(provider.requests), bound.waiting) == (2, 3)
        for number in range(1, 6):
            await provider.reached("stalled", number)
            assert bound.running <= 2 and len(provider.requests) <= number + 1
            if number > 1:
                provider.release(number - 1)
        provider.release()
        assert [r.text for r in await asyncio.gather(*running)] == ["Hello."] * 5
        assert (bound.running, bound.waiting) == (0, 0)


@pytest.mark.parametrize("how", ["error", "interrupt", "leave", "stage"])
async def test_a_place_is_given_back_however_a_call_ends(host: Host, how: str) -> None:
    bound = concurrency(1, per="all")

    @marked("model")
    async def bad(request: ModelRequest, next: Any) -> ModelResponse:
        async def stage(events: Any) -> Any:
            async for event in events:
                raise ValueError(event)
                yield event

        response = await next(request)
        return response.through(stage) if how == "stage" and request.turn == 1 else response

    first = fail(400) if how == "error" else reply(text("One, ", "two, ", "three, ", "four."), stall_after_event=4)
    async with ScriptedProvider([first, reply("Next.")]) as provider:
        session = host.agent(provider, middleware=[bad, bound]).session()
        if how in ("error", "stage"):
            with pytest.raises((ProviderError, HookError)):
                await session.run("Hi")
        else:
            async with session.stream("Hi") as turn:
                await read_until(turn, TextDelta)
                if how == "interrupt":
                    session.interrupt()
                    async for _ in turn:
                        pass
        assert bound.running == 0
        assert (await session.run("Again")).text == "Next."


async def test_the_line_is_left_by_an_interrupt(host: Host) -> None:
    """C1."""
    bound = concurrency(1, per="all")
    async with ScriptedProvider([reply("Held.", stall_before_headers=True)]) as provider:
        agent = host.agent(provider, middleware=[bound])
        held = asyncio.ensure_future(agent.run("Hi"))
        await provider.reached("stalled")
        session = agent.session()
        waiting = asyncio.ensure_future(session.run("Hi"))
        await until(lambda: bound.waiting == 1)
        session.interrupt()
        assert (await waiting).reason == "interrupted" and bound.waiting == 0
        provider.release()
        assert (await held).text == "Held." and bound.running == 0


async def test_tools_and_turns_can_be_bounded(host: Host) -> None:
    """A turn does not take the place of its own calls."""
    most, now = [0], [0]

    @tool
    async def work(n: int) -> str:
        now[0] += 1
        most[0] = max(most[0], now[0])
        await asyncio.sleep(0)
        now[0] -= 1
        return str(n)

    bound = concurrency(1, per="session", of=("tool", "turn"))
    async with ScriptedProvider([reply(*[call("work", n=n) for n in range(4)]), reply("Ok.")]) as provider:
        result = await host.agent(provider, work, middleware=[bound]).run("Go")
        assert result.text == "Ok." and most[0] == 1 and bound.running == 0


# --- circuit_breaker ---------------------------------------------------------------------------------------------------


def test_it_opens_lets_one_through_and_closes() -> None:
    async def main() -> None:
        breaker = circuit_breaker(least=3, window=10, open_s=30)
        script = [fail(500)] * 3 + [fail(500), reply("Well."), reply("Well.")]
        async with ScriptedProvider(script) as provider:
            agent = ANTHROPIC.agent(provider, middleware=[breaker], retry=ONCE)
            for _ in range(3):
                with pytest.raises(ProviderError):
                    await agent.run("Hi")
            assert list(breaker.states.values()) == ["open"]
            with pytest.raises(ProviderError) as caught:
                await agent.run("Hi")
            assert caught.value.code == "circuit_open" and 0 < (caught.value.info.retry_after_s or 0) <= 30
            assert len(provider.requests) == 3
            await asyncio.sleep(30)
            with pytest.raises(ProviderError):  # the probe fails
                await agent.run("Hi")
            assert len(provider.requests) == 4 and list(breaker.states.values()) == ["open"]
            await asyncio.sleep(30)
            assert (await agent.run("Hi")).text == "Well."
            assert list(breaker.states.values()) == ["closed"]
            await agent.run("Hi")

    in_virtual_time(main)()


async def test_one_probe_at_a_time(host: Host) -> None:
    breaker = circuit_breaker(least=1, window=4, failure_share=1.0, open_s=0.01)
    script = [fail(500), reply("Well.", stall_before_headers=True)]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, middleware=[breaker], retry=ONCE)
        with pytest.raises(ProviderError):
            await agent.run("Hi")
        await asyncio.sleep(0.02)
        probe = asyncio.ensure_future(agent.run("Hi"))
        await provider.reached("stalled", 2)
        with pytest.raises(ProviderError) as caught:
            await agent.run("Hi")
        assert caught.value.code == "circuit_open" and len(provider.requests) == 2
        provider.release()
        assert (await probe).text == "Well." and list(breaker.states.values()) == ["closed"]


async def test_a_probe_that_was_given_up_leaves_room_for_the_next(host: Host) -> None:
    breaker = circuit_breaker(least=1, window=4, failure_share=1.0, open_s=0.01)
    script = [fail(500), reply("Well.", stall_before_headers=True), reply("Well.")]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, middleware=[breaker], retry=ONCE)
        with pytest.raises(ProviderError):
            await agent.run("Hi")
        await asyncio.sleep(0.02)
        session = agent.session()
        probe = asyncio.ensure_future(session.run("Hi"))
        await provider.reached("stalled", 2)
        session.interrupt()
        await probe
        await asyncio.sleep(0.02)
        assert (await agent.run("Hi")).text == "Well."


async def test_a_few_failures_in_many_do_not_open_it(host: Host) -> None:
    """A share of a window, not a count since the beginning: two in 10,000 open nothing, nor does a request that was wrong."""
    breaker = circuit_breaker(least=5, window=20)
    circuit = breaker._enter("key", 0.0)  # pyright: ignore[reportPrivateUsage]
    bad = ErrorInfo("provider", "server_error", "x", retryable=True)
    wrong = ErrorInfo("provider", "bad_request", "x")
    for n in range(10_000):
        error = bad if n in (3, 7000) else wrong if n % 2 else None
        breaker._note(circuit, error, float(n), False)  # pyright: ignore[reportPrivateUsage]
        assert circuit.state == "closed"


async def test_an_open_circuit_leads_to_the_fallback(host: Host) -> None:
    """H3: the machine falls back, as from an overloaded provider; keys have circuits of their own."""
    breaker = circuit_breaker(least=1, window=2, failure_share=1.0)
    async with ScriptedProvider([fail(500), reply("Two."), reply("Two.")]) as provider:
        models = [Model(f"{host.name}:{n}", base_url=host.url(provider), api_key=n) for n in ("one", "two")]
        agent = Agent(models=models, middleware=[breaker], retry=Retry(attempts=1))
        assert (await agent.run("Hi")).text == "Two."
        assert sorted(breaker.states.values()) == ["closed", "open"]
        assert (await agent.run("Hi")).text == "Two."
        assert [r.body["model"] for r in provider.requests] == ["one", "two", "two"]


# --- metrics and log ---------------------------------------------------------------------------------------------------


async def test_metrics_count_every_end(host: Host) -> None:
    counted = metrics()
    script = [
        reply(call("weather", city="Oslo"), usage=Usage(10, 1)),
        reply("Ok.", usage=Usage(20, 2)),
        fail(400),
        reply(text("One, ", "two, ", "three, ", "four."), stall_after_event=4),
    ]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, weather, middleware=[counted], retry=ONCE)
        await agent.run("Hi")
        with pytest.raises(ProviderError):
            await agent.run("Hi")
        async with agent.session().stream("Hi") as turn:
            await read_until(turn, TextDelta)
        figures = counted.of("model")
        assert (figures.calls, figures.succeeded, figures.aborted, figures.under_way) == (4, 2, 1, 0)
        assert sum(figures.failed.values()) == 1 and (figures.usage.input_tokens or 0) >= 30
        assert figures.p50_s is not None and figures.first_event_p50_s is not None
        assert (counted.of("tool", "weather").succeeded, counted.of("tool", "other").calls) == (1, 0)
        await until(lambda: not counted.of("turn").under_way)
        assert (counted.of("turn").calls, sum(counted.of("turn").failed.values())) == (3, 1)
        assert counted.labels("model") == (f"{host.name}:a-model",)


async def test_the_log_names_and_never_quotes(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    async with ScriptedProvider([reply(call("weather", city="Hidden")), reply("A secret."), fail(400)]) as provider:
        agent = host.agent(provider, weather, middleware=[log()], retry=ONCE)
        with caplog.at_level(logging.INFO, "turnwise.middleware"):
            await agent.run("My secret")
            with pytest.raises(ProviderError):
                await agent.run("My secret")
        said = caplog.text
        assert "tool weather t1.s1.c0" in said and "model " in said and "turn of agent" in said
        assert "secret" not in said and "Hidden" not in said and "test" not in said.replace("tests", "")
        assert any(r.levelno == logging.WARNING for r in caplog.records)


def test_the_log_is_silent_by_default() -> None:
    assert any(isinstance(h, logging.NullHandler) for h in logging.getLogger("turnwise.middleware").handlers)


# --- validate ----------------------------------------------------------------------------------------------------------


class Degrees(msgspec.Struct):
    degrees: int


@pytest.mark.parametrize(("said", "fits"), [('{"degrees": 12}', True), ('{"degrees": "warm"}', False), ("mild", False)])
async def test_answers_have_to_fit(any_host: Host, said: str, fits: bool) -> None:
    async with ScriptedProvider([reply(said, usage=Usage(8, 2))]) as provider:
        agent = any_host.agent(provider, middleware=[validate(output=Degrees)])
        if fits:
            assert (await agent.run("Hi")).text == said
        else:
            with pytest.raises(HookError) as caught:
                await agent.run("Hi")
            assert caught.value.code == "not_valid" and caught.value.result is not None
            assert caught.value.result.usage.total_tokens == 10


async def test_input_has_to_fit_before_anything_is_sent(host: Host) -> None:
    async with ScriptedProvider([]) as provider:
        with pytest.raises(HookError) as caught:
            await host.agent(provider, middleware=[validate({"type": "object", "required": ["q"]})]).run("{}")
        assert caught.value.code == "not_valid" and not provider.requests


async def test_results_of_tools_have_to_fit(host: Host) -> None:
    script = [reply(call("weather", city="Oslo"), call("weather", city="Rome")), reply("Ok.")]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, weather, middleware=[validate(output=Degrees, on="tool", tools=["weather"])])
        one, two = results(await agent.run("Hi"))
        assert one.text == '{"degrees": 12}' and isinstance(two.outcome, Failed)
        assert two.outcome.error.code == "not_valid"


@pytest.mark.parametrize(
    "make",
    [
        rate_limit,
        lambda: rate_limit(0),
        lambda: rate_limit(1, per="moon"),  # type: ignore[arg-type]
        lambda: concurrency(0),
        lambda: concurrency(1, of="moon"),  # type: ignore[arg-type]
        lambda: circuit_breaker(failure_share=0),
        lambda: circuit_breaker(least=9, window=5),
        validate,
        lambda: validate(int, on="moon"),  # type: ignore[arg-type]
    ],
)
def test_settings_that_make_no_sense(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


async def test_nothing_registered_loads_nothing(host: Host) -> None:
    """The rooms of middleware are loaded with the first one."""
    code = (
        "import asyncio, sys; from turnwise import Agent; from turnwise.testing import ScriptedProvider, reply\n"
        "async def main():\n"
        "    async with ScriptedProvider([reply('Hi.')]) as p:\n"
        "        await Agent('openai:m', base_url=p.openai_url, api_key='k').run('Hi')\n"
        "asyncio.run(main()); assert not [m for m in sys.modules if 'middleware' in m and m.startswith('turnwise')]"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0  # noqa: ASYNC221

"""Limits per provider key: what waits, that it is shared, and that waiting can be interrupted (C1)."""

from __future__ import annotations

import asyncio
import socket

import pytest
from tests.runtime.conftest import Host, assert_ended, in_virtual_time, read_all, read_until, until

from turnwise import ProviderLimits, Retry, Runtime
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import TextDelta
from turnwise.testing import ScriptedProvider, fail, repeat, reply, text


async def test_requests_at_once_are_bounded(any_host: Host) -> None:
    """Sessions of one runtime share the bound; a slot is free again when its response has ended."""
    async with (
        ScriptedProvider([reply("Hello.", stall_before_headers=True)] * 5) as provider,
        Runtime(limits={any_host.name: ProviderLimits(concurrency=2)}) as runtime,
    ):
        agent = any_host.agent(provider, runtime=runtime)
        running = [asyncio.ensure_future(agent.run("Hi")) for _ in range(5)]
        for number in range(1, 6):
            await provider.reached("stalled", number)
            await asyncio.sleep(0)
            assert len(provider.requests) <= number + 1
            if number > 1:
                provider.release(number - 1)
        provider.release()
        assert [r.text for r in await asyncio.gather(*running)] == ["Hello."] * 5


async def test_other_keys_and_providers_do_not_wait(host: Host) -> None:
    async with (
        ScriptedProvider([reply("Held.", stall_before_headers=True), reply("Free.")]) as provider,
        Runtime(limits={"*": ProviderLimits(concurrency=1)}) as runtime,
    ):
        held = asyncio.ensure_future(host.agent(provider, runtime=runtime).run("Hi"))
        await provider.reached("stalled")
        other = host.agent(host.url(provider), runtime=runtime)
        other.models[0].connection["api_key"] = "another"
        assert (await other.run("Hi")).text == "Free."
        provider.release()
        assert (await held).text == "Held."


@pytest.mark.parametrize("how", ["interrupt", "leave", "cancel", "close"])
async def test_waiting_for_a_slot_can_be_ended(host: Host, how: str) -> None:
    """C1: queued for a rate limit; the slot it waited for is not lost."""
    async with (
        ScriptedProvider([reply("Held.", stall_before_headers=True), reply("Next.")]) as provider,
        Runtime(limits={"*": ProviderLimits(concurrency=1)}) as runtime,
    ):
        agent = host.agent(provider, runtime=runtime)
        held = asyncio.ensure_future(agent.run("Hi"))
        await provider.reached("stalled")
        session = agent.session()
        if how == "cancel":
            waiting = asyncio.ensure_future(session.run("Hi"))
            await until(lambda: session.running)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            async with session.stream("Hi") as turn:
                reading = asyncio.ensure_future(read_all(turn)) if how == "interrupt" else None
                await asyncio.sleep(0)
                if how == "close":
                    await session.close()
                elif reading is not None:
                    assert session.interrupt()
                    assert assert_ended(await reading).result.reason == "interrupted"
            assert turn.result.reason == "interrupted"
        assert len(provider.requests) == 1
        provider.release()
        assert (await held).text == "Held."
        assert (await agent.run("Hi")).text == "Next."


async def test_a_response_that_is_left_gives_its_slot_back(host: Host) -> None:
    """C2: leaving in mid-stream, and failing, free the slot."""
    script = [reply(text("one two three four five"), stall_after_event=5), fail(400), reply("Next.")]
    async with (
        ScriptedProvider(script) as provider,
        Runtime(limits={"*": ProviderLimits(concurrency=1)}) as runtime,
    ):
        agent = host.agent(provider, runtime=runtime)
        async with agent.session().stream("Hi") as turn:
            await read_until(turn, TextDelta)
        async with asyncio.timeout(5):
            async with agent.session().stream("Hi") as turn:
                assert assert_ended(await read_all(turn)).result.reason == "error"
            assert (await agent.run("Hi")).text == "Next."


@in_virtual_time
async def test_requests_per_minute(host: Host) -> None:
    """A burst up to the bound, then evenly; no deadline of the provider runs meanwhile."""
    async with (
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
        Runtime(limits={"*": ProviderLimits(requests_per_minute=6)}) as runtime,
    ):
        agent = host.agent(provider, runtime=runtime)
        began = asyncio.get_running_loop().time()
        for number in range(9):
            await agent.run("Hi")
            passed = asyncio.get_running_loop().time() - began
            assert max(0, number - 6) * 10 <= passed <= max(0, number - 5) * 10 + 5


@in_virtual_time
async def test_tokens_per_minute(host: Host) -> None:
    """A request larger than the bound is not refused: it takes all of it."""
    async with (
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
        Runtime(limits={"*": ProviderLimits(tokens_per_minute=100)}) as runtime,
    ):
        agent = host.agent(provider, runtime=runtime)
        began = asyncio.get_running_loop().time()
        for _ in range(3):
            await agent.run("word " * 1000)
        assert 115 <= asyncio.get_running_loop().time() - began <= 125


@in_virtual_time
async def test_a_slot_comes_back_from_who_waits_for_the_minute(host: Host) -> None:
    """C1: interrupted behind the slot, before the minute's next request, it gives the slot back."""
    limits = ProviderLimits(concurrency=1, requests_per_minute=1)
    async with (
        ScriptedProvider([repeat(reply("Hi."))]) as provider,
        Runtime(limits={"*": limits}) as runtime,
    ):
        agent = host.agent(provider, runtime=runtime)
        assert (await agent.run("Hi")).text == "Hi."
        session = agent.session()
        async with session.stream("Hi") as turn:
            reading = asyncio.ensure_future(read_all(turn))
            await asyncio.sleep(1)
            assert session.interrupt()
            assert assert_ended(await reading).result.reason == "interrupted"
        assert len(provider.requests) == 1
        async with asyncio.timeout(300):
            assert (await agent.run("Hi")).text == "Hi."


@in_virtual_time
async def test_a_slot_comes_back_if_nothing_can_be_sent(host: Host) -> None:
    """C1: a connection that is refused frees the slot for the next try."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    async with Runtime(limits={"*": ProviderLimits(concurrency=1)}) as runtime, asyncio.timeout(60):
        with pytest.raises(ProviderError) as raised:
            await host.agent(url, runtime=runtime, retry=Retry(attempts=2, base_delay_s=0)).run("Hi")
        assert raised.value.code == "connection_refused"


def test_limits_that_let_nothing_through_are_refused() -> None:
    with pytest.raises(ConfigError, match="lets nothing through"):
        ProviderLimits(concurrency=0)

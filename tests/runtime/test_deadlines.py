"""A hung provider or tool ends in time, and so does a turn that nobody reads (rule C5). On a clock that jumps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    goes_on,
    in_virtual_time,
    read_all,
    read_until,
    results,
    until,
)

from turnwise import Deadlines, Retry, Runtime, tool
from turnwise.core.outcomes import Timeout
from turnwise.errors import ProviderError
from turnwise.events import TextDelta, ToolFinished, ToolStarted
from turnwise.runtime.timers import Timers
from turnwise.testing import ScriptedProvider, call, hang, repeated, reply, text

ONCE = Retry(attempts=1)


def now() -> float:
    return asyncio.get_running_loop().time()


@in_virtual_time
async def test_first_byte(any_host: Host) -> None:
    async with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = any_host.agent(provider, deadlines=Deadlines(first_byte_s=7), retry=ONCE).session()
        began = now()
        with pytest.raises(ProviderError) as raised:
            await session.run("Hi")
        assert 7 <= now() - began < 8
        assert raised.value.code == "first_byte_timeout" and "7 s" in raised.value.message
        assert raised.value.retryable and "Deadlines" in raised.value.hint
        await provider.reached("left")
        await goes_on(session)


@in_virtual_time
async def test_idle(host: Host) -> None:
    script = [reply(text("one two three"), stall_after_event=4), reply("Here we are.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, deadlines=Deadlines(idle_s=9), retry=ONCE).session()
        began = now()
        async with session.stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert 9 <= now() - began < 10
        assert result.error is not None and result.error.code == "idle_timeout" and result.reason == "error"
        assert result.error.commit_phase == "before_commit"
        await provider.reached("left")
        await goes_on(session)


@in_virtual_time
async def test_a_slow_consumer_never_trips_the_idle_deadline(host: Host) -> None:
    """Silence counts only while a read is pending: a break between two reads is the consumer's own."""
    script = [reply(text("one two three four five"), chunk_size=20)]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, deadlines=Deadlines(first_byte_s=1, idle_s=1, turn_s=None), retry=ONCE)
        async with agent.session().stream("Hi") as turn:
            async for event in turn:
                if type(event) is TextDelta:
                    await asyncio.sleep(20)
        assert turn.result.text == "one two three four five" and turn.result.error is None


@in_virtual_time
async def test_a_paced_provider_never_trips_the_idle_deadline(host: Host) -> None:
    """Each byte starts the count anew; the watch comes round in between and sees nothing wrong."""
    async with ScriptedProvider([reply(text("one two three four five six"), pace_s=0.9)]) as provider:
        agent = host.agent(provider, deadlines=Deadlines(idle_s=1.0), retry=ONCE)
        assert (await agent.run("Hi")).text == "one two three four five six"


@in_virtual_time
async def test_connect_deadline(host: Host) -> None:
    """A server that accepts and never answers TLS is given up after `connect_s`."""
    async with await asyncio.start_server(_ignore, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        began = now()
        with pytest.raises(ProviderError) as raised:
            await host.agent(url, deadlines=Deadlines(connect_s=3), retry=ONCE).run("Hi")
        assert 3 <= now() - began < 4.5
        assert raised.value.code == "connect_timeout" and raised.value.hint


async def _ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        await reader.read(-1)
    except OSError:
        pass
    finally:
        writer.close()


@pytest.mark.parametrize("phase", ["headers", "stream", "tool", "retry", "nobody_pulls"])
def test_the_whole_turn(host: Host, phase: str) -> None:
    """The turn's own deadline counts always, whatever it waits for, also when nobody reads."""

    @tool(timeout_s=None)
    async def wait() -> str:
        await asyncio.Event().wait()
        return ""

    from turnwise.testing import fail

    script: dict[str, Any] = {
        "headers": hang(),
        "stream": reply(text("one two three"), stall_after_event=4),
        "tool": reply(call("wait")),
        "retry": fail(503, headers={"retry-after": "59"}),
        "nobody_pulls": reply(repeated("x" * 1000)),
    }

    @in_virtual_time
    async def run() -> None:
        async with ScriptedProvider([script[phase], reply("Here we are.")]) as provider:
            session = host.agent(provider, wait, deadlines=Deadlines(turn_s=20)).session()
            began = now()
            async with session.stream("Hi") as turn:
                if phase == "nobody_pulls":
                    seen = await read_until(turn, TextDelta)
                    await provider.reached("blocked")
                    await asyncio.sleep(21)
                    assert not session.running
                else:
                    seen = []
                result = assert_ended(await read_all(turn, seen)).result
            assert 20 <= now() - began < 22
            assert (result.reason, result.cause, result.error) == ("timeout", "timeout", None)
            await session.set(context_limit=200_000)  # else a thread looks it up, and virtual time jumps over that
            await goes_on(session)

    run()


@in_virtual_time
async def test_a_hung_tool(any_host: Host) -> None:
    """E3: the call ends in time, the turn goes on, and the model is told."""

    @tool(timeout_s=5)
    async def wait() -> str:
        await asyncio.Event().wait()
        return ""

    async with ScriptedProvider([reply(call("wait")), reply("Never mind.")]) as provider:
        began = now()
        result = await any_host.agent(provider, wait).run("Hi")
        assert 5 <= now() - began < 6 and result.text == "Never mind."
        (got,) = results(result)
        assert got.outcome == Timeout(5.0) and "5 s" in got.text
        assert "It was stopped" in provider.requests[1].raw.decode()


@in_virtual_time
async def test_a_watch_that_comes_round_does_not_delay_a_tools_timeout(host: Host) -> None:
    """The turn's watch is armed anew while other deadlines wait: each is still met at its own time."""

    @tool(timeout_s=5)
    async def wait() -> str:
        await asyncio.Event().wait()
        return ""

    script = [reply(call("wait"), delay_s=97), reply("Never mind.")]
    async with ScriptedProvider(script) as provider:
        agent = host.agent(provider, wait, deadlines=Deadlines(first_byte_s=100, idle_s=100))
        async with agent.session().stream("Hi") as turn:
            await read_until(turn, ToolStarted)
            began = now()
            await read_until(turn, ToolFinished)
            assert 5 <= now() - began < 6
            await read_all(turn)


@in_virtual_time
async def test_timers_meet_deadlines_in_any_order() -> None:
    """Deadlines set by callbacks, cancelled ones and swept ones: each of the others is met, once, at its time."""
    loop = asyncio.get_running_loop()
    timers, met = Timers(loop), dict[str, float]()

    def meet(name: str) -> None:
        assert name not in met
        met[name] = round(loop.time() - began)

    def first() -> None:
        meet("first")
        timers.at(began + 50, lambda: meet("from within"))
        for timer in cancelled:
            timers.cancel(timer)

    began = loop.time()
    cancelled = [timers.at(began + 30 + n, lambda: meet("cancelled")) for n in range(200)]
    timers.at(began + 10, first)
    timers.at(began + 20, lambda: meet("second"))
    timers.at(began + 40, lambda: meet("third"))
    await asyncio.sleep(1000)
    assert met == {"first": 10, "second": 20, "third": 40, "from within": 50}
    assert len(timers) == 0
    timers.close()


@in_virtual_time
async def test_no_deadline_is_no_deadline() -> None:
    async with ScriptedProvider([reply("Late.", delay_s=5000)]) as provider:
        deadlines = Deadlines(first_byte_s=None, idle_s=None, turn_s=None)
        assert (await ANTHROPIC.agent(provider, deadlines=deadlines).run("Hi")).text == "Late."


@in_virtual_time
async def test_grace_bounds_leaving() -> None:
    """Whatever does not stop within `grace_s` does not hold whoever leaves."""
    release = asyncio.Event()

    @tool
    async def deaf() -> str:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        return ""

    async with Runtime() as runtime, ScriptedProvider([reply(call("deaf")), reply("Here we are.")]) as provider:
        session = ANTHROPIC.agent(provider, deaf, runtime=runtime, deadlines=Deadlines(grace_s=1)).session()
        began = now()
        async with session.stream("Hi") as turn:
            await read_until(turn, ToolStarted)
        assert now() - began < 1.5
        assert len(runtime.abandoned_bodies) == 1
        await goes_on(session)
        release.set()
        await until(lambda: not runtime.abandoned_bodies)

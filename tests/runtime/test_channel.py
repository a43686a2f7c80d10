"""Channels: a bounded queue and a handle whose result is the true one whatever becomes of the reader (C2, C3, C4)."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    give_way,
    goes_on,
    in_virtual_time,
    names,
    of,
    read_all,
    read_until,
    until,
)

from turnwise import Deadlines, Session, tool
from turnwise.errors import ConfigError, SessionBusy, SessionError
from turnwise.events import Event, TextDelta, ToolFinished, TurnFinished
from turnwise.runtime.channel import Channel, TurnHandle
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, error_event, hang, repeated, reply, text

SOCKET_BYTES = 8 << 20
"""See test_flow.py."""

BUFFERS = pytest.mark.parametrize("buffer", [1, 2, 32, 1024])


@tool
async def look(what: str) -> str:
    await asyncio.sleep(0)
    return what


def two_steps() -> list[Any]:
    return [reply(text("Let me look."), call("look", what="x"), call("look", what="y")), reply(text("Here it is."))]


@BUFFERS
async def test_the_events_are_those_of_a_stream(any_host: Host, store: SuspendingStore | None, buffer: int) -> None:
    """A channel of any size brings what a stream brings, and handle and last event give the same account."""
    async with ScriptedProvider(two_steps() + two_steps()) as provider:
        agent = any_host.agent(provider, look, store=store)
        async with agent.session().stream("Hi") as turn:
            streamed = await read_all(turn)
        session = agent.session()
        channel, handle = await session.channel("Hi", buffer=buffer)
        events = [event async for event in channel]
        assert names(events) == names(streamed)
        result = await handle.result()
        assert assert_ended(events).result == result
        assert result.reason == "completed" and result.text == "Here it is." and result.steps == 2 and handle.over
        assert channel.cursor == session.state.seq


@pytest.mark.parametrize("buffer", [0, -1])
async def test_a_buffer_of_nothing_is_refused(buffer: int) -> None:
    session = ANTHROPIC.agent("http://127.0.0.1:9").session()
    with pytest.raises(ConfigError) as caught:
        session.channel("Hi", buffer=buffer)
    assert caught.value.code == "invalid_value" and str(buffer) in caught.value.message
    with pytest.raises(ConfigError):
        session.watch(buffer=buffer)
    assert not session.running


async def test_opening_refuses_what_a_stream_refuses(host: Host) -> None:
    async with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider).session()
        with pytest.raises(ConfigError):
            await session.channel("   ")
        async with session.channel("Hi"):
            await provider.reached("stalled")
            with pytest.raises(SessionBusy):
                await session.channel("Me, too")
        await goes_on(session)


async def come_to(channel: Channel, name: str) -> list[Event]:
    """Read until there is an event of that name."""
    events: list[Event] = []
    async for event in channel:
        events.append(event)
        if type(event).__name__ == name:
            return events
    raise AssertionError(f"no {name} among {names(events)}")


async def drain_one(channel: Channel) -> Event:
    return await anext(channel)


# --- the reader stops, is slow, or is gone -----------------------------------------------------------------------------


@BUFFERS
async def test_a_reader_that_stops_stops_the_provider(host: Host, buffer: int) -> None:
    """C4: of an endless response only what the buffers hold is ever written; the session's other tasks go on."""
    async with ScriptedProvider([reply(repeated("x" * 1000))]) as provider:
        session = host.agent(provider).session()
        async with session.channel("Hi", buffer=buffer) as (channel, handle):
            async for event in channel:
                if type(event) is TextDelta:
                    break
            await provider.reached("blocked")
            written, same = 0, 0
            while same < 500:
                await asyncio.sleep(0)
                same = same + 1 if written == provider.bytes_written else 0
                written = provider.bytes_written
                assert written < SOCKET_BYTES
            assert channel.waiting >= buffer and not handle.over
        result = await handle.result()
        assert (result.reason, result.cause) == ("interrupted", "consumer_dropped")
        await provider.reached("left")


async def test_no_read_while_the_buffer_is_full(host: Host) -> None:
    """The socket is read once more only when fewer than `buffer` events wait: one read's events come on top and no more."""
    script = [reply(text("one ", "two ", "three ", "four ", "five ", "six "), chunk_size=24, pace_s=0)]
    async with ScriptedProvider(script) as provider:
        channel, handle = await host.agent(provider).session().channel("Hi", buffer=1)
        seen: list[Event] = []
        most = 0
        while not handle.over or channel.waiting:
            await asyncio.sleep(0)
            most = max(most, channel.waiting)
            try:
                seen.append(await anext(channel))
            except StopAsyncIteration:
                break
        assert (await handle.result()).text == "one two three four five six "
        assert most <= 6, "more than the events of one small read and the end of the step were queued"
        assert "".join(e.text for e in of(TextDelta, seen)) == "one two three four five six "


@pytest.mark.parametrize("how", ["context", "exception", "close", "collected"])
async def test_dropping_stops_the_turn(any_host: Host, store: SuspendingStore | None, how: str) -> None:
    """C2: however the reader goes, the turn stops, frees its connection, and accounts for what was used so far."""
    stalled = reply(text("one ", "two ", "three"), stall_after_event=4) if any_host.streamed else hang()
    last = "TextDelta" if any_host.streamed else "StepStarted"
    async with ScriptedProvider([stalled, reply("Here we are.")]) as provider:
        session = any_host.agent(provider, store=store).session()
        handle = await go(how, session, provider, last)
        assert handle.over or how in ("close", "collected"), "leaving the context waits for the end"
        result = await handle.result()
        assert (result.reason, result.cause, result.steps) == ("interrupted", "consumer_dropped", 0)
        if any_host.streamed:
            assert result.usage.provenance in ("partial", "estimated") and result.usage.input_tokens
        await provider.reached("left")
        await goes_on(session)


async def go(how: str, session: Session[Any], provider: ScriptedProvider, last: str) -> TurnHandle:
    """Open a channel, read until an event of that name, and go."""
    if how in ("context", "exception"):
        kept: list[TurnHandle] = []
        with contextlib.suppress(KeyError):
            async with session.channel("Hi") as (channel, handle):
                kept.append(handle)
                await provider.reached("stalled")
                await come_to(channel, last)
                if how == "exception":
                    raise KeyError
        return kept[0]
    channel, handle = await session.channel("Hi")
    await provider.reached("stalled")
    await come_to(channel, last)
    if how == "close":
        channel.close()
        channel.close()
        assert [event async for event in channel] == []
    return handle


async def test_dropping_after_tools_keeps_their_account(host: Host) -> None:
    """E10: what the turn had done before the reader went is in the result."""
    async with ScriptedProvider([two_steps()[0], hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider, look).session()
        channel, handle = await session.channel("Hi")
        await provider.reached("stalled", 2)
        channel.close()
        result = await handle.result()
        assert (result.steps, result.calls, result.cause) == (1, 2, "consumer_dropped")
        assert result.text == "Let me look." and result.usage.output_tokens
        await goes_on(session)


@pytest.mark.parametrize("how", ["context", "collected"])
async def test_a_detached_turn_goes_on(any_host: Host, store: SuspendingStore | None, how: str) -> None:
    """C2: with on_drop="detach" the turn runs to its end without a reader, tools and all."""
    async with ScriptedProvider([*two_steps(), reply("Here we are.")]) as provider:
        session = any_host.agent(provider, look, store=store).session()
        if how == "context":
            async with session.channel("Hi", buffer=1, on_drop="detach") as (channel, handle):
                await anext(channel)
        else:
            channel, handle = await session.channel("Hi", buffer=1, on_drop="detach")
            await anext(channel)
        del channel
        gc.collect()
        result = await handle.result()
        assert (result.reason, result.text, result.steps) == ("completed", "Here it is.", 2)
        await goes_on(session)


async def test_a_stream_can_be_detached(any_host: Host, store: SuspendingStore | None) -> None:
    """C2: leaving `async with session.stream(on_leave="detach")`."""
    async with ScriptedProvider([*two_steps(), reply("Here we are.")]) as provider:
        session = any_host.agent(provider, look, store=store).session()
        async with session.stream("Hi", on_leave="detach") as turn:
            await read_until(turn, TextDelta)
        assert session.running
        watched = [e async for e in turn.watch()]
        result = await turn.wait()
        assert turn.result is result and result.reason == "completed" and result.text == "Here it is."
        assert watched[-1] == TurnFinished(result)
        with pytest.raises(SessionError):
            await read_all(turn)
        await goes_on(session)


async def test_a_detached_turn_is_ended_with_its_session(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi", on_leave="detach") as turn:
            await provider.reached("stalled")
        await session.close()
        assert turn.result.cause == "closed"


@in_virtual_time
async def test_a_reader_that_never_reads_meets_the_deadline() -> None:
    """C5: the turn ends at `turn_s` although its channel is full, and the result is there without a read."""
    async with ScriptedProvider([reply(repeated("x" * 1000))]) as provider:
        agent = ANTHROPIC.agent(provider, deadlines=Deadlines(turn_s=60))
        channel, handle = await agent.session().channel("Hi", buffer=1)
        result = await handle.result()
        assert result.reason == "timeout"
        events = [event async for event in channel]
        assert events[-1] == TurnFinished(result)


@BUFFERS
async def test_a_slow_reader_loses_nothing(host: Host, buffer: int) -> None:
    async with ScriptedProvider([reply(repeated("word ", 300))]) as provider:
        channel, handle = await host.agent(provider).session().channel("Hi", buffer=buffer)
        got = ""
        async for event in channel:
            for _ in range(3):
                await asyncio.sleep(0)
            got += event.text if type(event) is TextDelta else ""
        assert got == (await handle.result()).text == "word " * 300


async def test_the_end_comes_to_a_full_channel(host: Host) -> None:
    """C4: an interrupt ends the turn while its channel is full, and the reader still gets every event, the end last."""
    async with ScriptedProvider([reply(repeated("x" * 100)), reply("Here we are.")]) as provider:
        session = host.agent(provider).session()
        channel, handle = await session.channel("Hi", buffer=1)
        events = await come_to(channel, "TextDelta")
        await provider.reached("blocked")
        session.interrupt()
        result = await handle.result()
        assert (result.reason, result.cause) == ("interrupted", "user")
        events += [event async for event in channel]
        assert assert_ended(events).result == result
        assert result.text == "".join(e.text for e in of(TextDelta, events))
        await goes_on(session)


# --- the handle --------------------------------------------------------------------------------------------------------


async def test_cancelling_the_result_stops_nothing(host: Host) -> None:
    """C3: who waits for the result may be cancelled; the turn goes on, and others still get the result."""
    async with ScriptedProvider(two_steps()) as provider:
        channel, handle = await host.agent(provider, look).session().channel("Hi")
        waiting = [asyncio.create_task(handle.result()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        assert not handle.over
        assert [e async for e in channel][-1] == TurnFinished(await waiting[1])
        assert (await waiting[2]).reason == "completed"


async def test_cancelling_a_read_loses_no_event(host: Host) -> None:
    async with ScriptedProvider([reply(text("one ", "two ", "three"), stall_after_event=4)]) as provider:
        channel, handle = await host.agent(provider).session().channel("Hi")
        events = await come_to(channel, "TextDelta")
        await provider.reached("stalled")
        while True:
            reading = asyncio.create_task(drain_one(channel))
            for _ in range(50):
                await asyncio.sleep(0)
            if not reading.done():
                break
            events.append(await reading)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        provider.release()
        events += [e async for e in channel]
        assert "".join(e.text for e in of(TextDelta, events)) == "one two three" == (await handle.result()).text


async def test_an_error_is_in_the_result(host: Host) -> None:
    async with ScriptedProvider([reply(text("one two"), error_event("no", status=500))]) as provider:
        async with host.agent(provider).session().channel("Hi") as (channel, handle):
            events = [e async for e in channel]
        result = await handle.result()
        assert result.reason == "error" and result.error is not None and events[-1] == TurnFinished(result)


async def test_the_handle_interrupts(host: Host) -> None:
    async with ScriptedProvider([hang(), reply("Here we are.")]) as provider:
        session = host.agent(provider).session()
        channel, handle = await session.channel("Hi")
        await provider.reached("stalled")
        handle.interrupt()
        assert (await handle.result()).cause == "user"
        assert names([e async for e in channel])[-1] == "TurnFinished"
        handle.interrupt()
        await goes_on(session)


async def test_two_readers_are_refused(host: Host) -> None:
    async with ScriptedProvider([hang()]) as provider:
        async with host.agent(provider).session().channel("Hi") as (channel, _):
            await provider.reached("stalled")

            async def drain() -> None:
                async for _ in channel:
                    pass

            first = asyncio.create_task(drain())
            await until(lambda: not channel.waiting)
            with pytest.raises(SessionError) as caught:
                await anext(channel)
            assert caught.value.code == "two_readers"
        await first


async def test_the_channel_may_be_read_by_another_task(host: Host) -> None:
    async with ScriptedProvider(two_steps()) as provider:
        channel, handle = await host.agent(provider, look).session().channel("Hi", buffer=2)

        async def read() -> list[Event]:
            return [event async for event in channel]

        reading = asyncio.create_task(read())
        result = await handle.result()
        events = await reading
        assert events[-1] == TurnFinished(result) and len(of(ToolFinished, events)) == 2


async def test_a_session_goes_from_channel_to_stream_and_back(host: Host) -> None:
    """Nothing of a channel stays behind for the next turn."""
    async with ScriptedProvider([reply("One."), reply("Two."), reply("Three.")]) as provider:
        session: Session[Any] = host.agent(provider).session()
        for expected in ("One.", "Two.", "Three."):
            if expected == "Two.":
                async with session.stream("Hi") as turn:
                    events = await read_all(turn)
                    assert turn.hub is None, "a turn that nobody else watches is pulled by its consumer"
            else:
                async with session.channel("Hi", buffer=1) as (channel, _):
                    events = [e async for e in channel]
            assert assert_ended(events).result.text == expected


def test_a_channel_collected_after_its_loop_is_harmless(host: Host) -> None:
    """A reader that is forgotten until after the loop's end raises nothing then."""
    kept: list[Any] = []

    async def main() -> None:
        async with ScriptedProvider([hang()]) as provider:
            kept.append(await host.agent(provider).session().channel("Hi"))
            await provider.reached("stalled")
            kept.append(SuspendingStore(give_way))

    asyncio.run(main())
    kept.clear()
    gc.collect()

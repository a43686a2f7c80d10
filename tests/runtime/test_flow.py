"""A slow or dead consumer stops its own socket and nothing else; memory stays flat; the end is never lost (rule C4)."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from typing import Any

from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, of, read_all, read_until

from turnwise import Runtime, ToolContext, tool
from turnwise.core.protocols import Response
from turnwise.events import Notice, TextDelta, ToolFinished, ToolProgress, ToolStarted
from turnwise.models.response import READ_BUFFER_BYTES
from turnwise.models.transport import HttpTransport
from turnwise.testing import ScriptedProvider, call, repeated, reply, text

SOCKET_BYTES = 8 << 20
"""What lies between a provider that writes and a consumer that does not read: the kernel's buffers (a loopback receive
buffer may grow to 6 MB, tcp_rmem), twice aiohttp's high-water mark of 64 kB, and one read."""
READ_BYTES = 2 * READ_BUFFER_BYTES + (256 << 10)
"""The most that one read brings: what aiohttp takes before it stops, and one read of the event loop's own. aiohttp 3.14 cuts that off."""


class CountingTransport(HttpTransport):
    """The real one, keeping what each read of a body brought."""

    def __init__(self) -> None:
        super().__init__()
        self.reads: list[bytes] = []

    async def open(self, *args: Any, **options: Any) -> Any:
        response = await super().open(*args, **options)
        return _CountingResponse(response, self.reads)


class _CountingResponse:
    ended = False

    def __init__(self, response: Response, reads: list[bytes]) -> None:
        self._response, self._reads = response, reads
        self.abort, self.close = response.abort, response.close

    async def head(self) -> None:
        await self._response.head()
        self.status, self.headers = self._response.status, self._response.headers

    async def read(self) -> bytes:
        data = await self._response.read()
        self._reads.append(data)
        return data


async def test_a_consumer_that_stops_reading_stops_the_provider(host: Host) -> None:
    """Backpressure: of an endless response only what the buffers hold is ever written."""
    async with ScriptedProvider([reply(repeated("x" * 1000))]) as provider:
        async with host.agent(provider).session().stream("Hi") as turn:
            await read_until(turn, TextDelta)
            await provider.reached("blocked")
            written, same = 0, 0
            while same < 500:  # until every buffer is full; an unbounded reader would pass the bound instead
                await asyncio.sleep(0)
                same = same + 1 if written == provider.bytes_written else 0
                written = provider.bytes_written
                assert written < SOCKET_BYTES
        await provider.reached("left")


async def test_a_slow_consumer_that_leaves_has_read_little_ahead(host: Host) -> None:
    """20,000 deltas, gone after 200: the socket is read again only when all that was read before is consumed, so at most one read is
    ahead of the consumer; beyond that the provider could write what the buffers hold."""
    fragment, transport = "x" * 1000, CountingTransport()
    async with (
        ScriptedProvider([reply(repeated(fragment, 20_000))]) as provider,
        Runtime(transport=transport) as runtime,
    ):
        consumed = 0
        async with host.agent(provider, runtime=runtime).session().stream("Hi") as turn:
            async for event in turn:
                consumed += type(event) is TextDelta
                if consumed == 1:
                    await provider.reached("blocked")
                for _ in range(3):  # whoever reads ahead gets the time to do it
                    await asyncio.sleep(0)
                if consumed == 200:
                    break
        await provider.reached("left")
        read, before_the_last = b"".join(transport.reads), b"".join(transport.reads[:-1])
        assert read.count(fragment.encode()) >= 200 > before_the_last.count(fragment.encode())
        assert max(map(len, transport.reads)) <= READ_BYTES
        assert provider.bytes_written - len(read) < SOCKET_BYTES


async def test_a_dead_consumer_does_not_stall_another_session(host: Host) -> None:
    """C4: sessions of one runtime do not wait for each other's consumers."""
    async with Runtime() as runtime, ScriptedProvider([reply(repeated("x" * 1000)), reply("Quick.")]) as provider:
        agent = host.agent(provider, runtime=runtime)
        async with agent.session().stream("Hi") as turn:
            await read_until(turn, TextDelta)
            await provider.reached("blocked")
            assert (await agent.session().run("Hi")).text == "Quick."


def test_a_long_stream_needs_no_memory_beyond_its_text(host: Host) -> None:
    """10,000 deltas: what is held grows with the text itself (a short string and a list slot per delta) and nothing else."""
    deltas, fragment = 10_000, "word and "
    per_delta = 2 * (len(fragment) + 49 + 8)  # the string, its slot; twice, for the list's own growth

    async def main() -> None:
        async with (
            ScriptedProvider([reply(repeated(fragment, deltas))]) as provider,
            host.agent(provider).session().stream("Hi") as turn,
        ):
            seen = at_first = 0
            async for event in turn:
                if type(event) is TextDelta:
                    seen += 1
                    if seen == 2_500:
                        gc.collect()
                        at_first = tracemalloc.get_traced_memory()[0]
                        tracemalloc.reset_peak()
                    elif seen == 7_500:
                        gc.collect()
                        grown, peak = tracemalloc.get_traced_memory()
                        assert grown - at_first < 5_000 * per_delta
                        assert peak - at_first < 5_000 * per_delta + (1 << 20)
            assert seen == deltas
            assert len(turn.result.text) == deltas * len(fragment)

    tracemalloc.start()
    try:
        asyncio.run(main())
    finally:
        tracemalloc.stop()


async def test_progress_flood_is_bounded_and_loses_no_end() -> None:
    """C4: nobody reads while a tool reports 100,000 times: most reports are dropped, that is said, the ends are all there."""
    flooded = asyncio.Event()

    @tool
    async def flood(ctx: ToolContext[None]) -> str:
        for n in range(100_000):
            ctx.progress(f"{n}")
        flooded.set()
        return "done"

    async with ScriptedProvider([reply(call("flood")), reply("Well.")]) as provider:
        async with ANTHROPIC.agent(provider, flood).session().stream("Hi") as turn:
            events = await read_until(turn, ToolStarted)
            await flooded.wait()
            events += await read_all(turn)
        assert 0 < len(of(ToolProgress, events)) <= 1000
        assert [n.code for n in of(Notice, events)] == ["progress_dropped"]
        assert [e.result.text for e in of(ToolFinished, events)] == ["done"]
        assert assert_ended(events).result.text == "Well."


async def test_progress_flood_from_a_thread_is_bounded() -> None:
    @tool
    def flood(ctx: ToolContext[None]) -> str:
        for n in range(20_000):
            ctx.progress(f"{n}")
        return "done"

    async with ScriptedProvider([reply(call("flood")), reply("Well.")]) as provider:
        async with ANTHROPIC.agent(provider, flood).session().stream("Hi") as turn:
            events = await read_until(turn, ToolStarted)
            await provider.reached("answered", 2)
            events += await read_all(turn)
        assert 0 < len(of(ToolProgress, events)) <= 1000
        assert len(of(ToolFinished, events)) == 1
        assert_ended(events)


async def test_progress_is_dropped_only_while_nobody_reads() -> None:
    """A consumer that keeps reading gets every report, however many there are."""

    @tool
    async def chatty(ctx: ToolContext[None]) -> str:
        for n in range(3_000):
            ctx.progress(f"{n}")
            if n % 500 == 0:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        return "done"

    async with ScriptedProvider([reply(call("chatty")), reply("Well.")]) as provider:
        async with ANTHROPIC.agent(provider, chatty).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert [e.message for e in of(ToolProgress, events)] == [str(n) for n in range(3_000)]


async def test_tools_go_on_while_nobody_reads(host: Host) -> None:
    """Only socket reads wait for the consumer: outcomes come in and the next request goes out without it."""

    @tool
    async def look(what: str) -> str:
        return what

    async with ScriptedProvider([reply(call("look", what="x")), reply("Well.")]) as provider:
        async with host.agent(provider, look).session().stream("Hi") as turn:
            events = await read_until(turn, ToolStarted)
            await provider.reached("answered", 2)
            events += await read_all(turn)
        assert assert_ended(events).result.text == "Well."


async def test_batches_hold_the_same_events(host: Host) -> None:
    """The batch iterator brings what the single one brings, also after some were read singly."""

    @tool
    async def look(what: str) -> str:
        return what

    async def told(batched: bool) -> list[str]:
        script = [reply(text("Let me look."), call("look", what="x")), reply(text("Here it is."))]
        async with (
            ScriptedProvider(script) as provider,
            host.agent(provider, look).session().stream("Hi") as turn,
        ):
            events = await read_until(turn, TextDelta)
            if batched:
                async for batch in turn.batches():
                    assert batch
                    events += batch
            else:
                events += await read_all(turn)
        assert_ended(events)
        return [type(e).__name__ for e in events]

    assert await told(True) == await told(False)

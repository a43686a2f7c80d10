"""One slow consumer, run by slow_watcher.py in a process and virtual environment of its own: `slow_consumer.py PERF NAME URL COUNT [traced]`.

Consumes COUNT events with 2 ms after each, says how much was read by then, stands still until it is told to go on, leaves, and says
how that went. An event is whatever the framework's own way of streaming yields.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import time
import tracemalloc
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

PAUSE_S = 0.002
ROW_EVERY = 4_000
DATA = b"data: "


class Reading:
    """What was taken from the HTTP client: SSE events in bytes, and those that became objects."""

    read = 0
    objects = 0


# --- Turnwise ----------------------------------------------------------------------------------------------------------


class CountedResponse:
    """A response that counts what is read of it. Turnwise decodes a read at once, so what is read becomes objects."""

    ended = False

    def __init__(self, response: Any) -> None:
        self._response = response

    async def head(self) -> None:
        await self._response.head()
        self.status, self.headers = self._response.status, self._response.headers

    async def read(self) -> bytes:
        data = await self._response.read()
        Reading.read += data.count(DATA)
        Reading.objects = Reading.read
        return data

    def abort(self, reason: str) -> None:
        self._response.abort(reason)

    def close(self) -> None:
        self._response.close()


class Turnwise:
    """An agent whose transport counts, and the ways to watch a turn of it."""

    def __init__(self, url: str, way: str) -> None:
        from turnwise.models.transport import HttpTransport

        class Counted(HttpTransport):
            async def open(self, *args: Any, **options: Any) -> Any:
                return CountedResponse(await super().open(*args, **options))

        self.url, self.transport, self.way = url, Counted(), way

    async def events(self, model: str) -> AsyncGenerator[Any]:
        from turnwise import Agent, Runtime

        async with (
            Runtime(transport=self.transport) as runtime,
            Agent(f"openai:{model}", base_url=self.url, api_key="x", runtime=runtime).session() as session,
            aclosing(WAYS[self.way](session)) as events,
        ):
            async for event in events:
                yield event


async def single(session: Any) -> AsyncGenerator[Any]:
    async with session.stream("Hello there") as turn:
        async for event in turn:
            yield event


async def batches(session: Any) -> AsyncGenerator[Any]:
    async with session.stream("Hello there") as turn:
        async for batch in turn.batches():
            for event in batch:
                yield event


async def channel(session: Any) -> AsyncGenerator[Any]:
    """With the default buffer of 32 events."""
    async with session.channel("Hello there") as (reader, _):
        async for event in reader:
            yield event


async def coalesced(session: Any) -> AsyncGenerator[Any]:
    """The slow one watches beside a consumer that is as fast as it can be, which it must not hold up."""
    async with session.stream("Hello there") as turn:
        watcher = turn.watch("coalesce")
        consumer = asyncio.create_task(read_all(turn))
        try:
            async for event in watcher:
                yield event
        finally:
            watcher.close()
            consumer.cancel()
            await asyncio.wait((consumer,))


async def read_all(turn: Any) -> None:
    async for _ in turn:
        pass


WAYS = {
    "turnwise": single,
    "turnwise_batch": batches,
    "turnwise_channel": channel,
    "turnwise_coalesced": coalesced,
}


# --- peers -------------------------------------------------------------------------------------------------------------


def count_openai() -> None:
    """All peers read by the openai package: count the bytes that its decoder is given, and the chunks that it makes."""
    from openai import AsyncStream

    made, begun = AsyncStream.__stream__, AsyncStream.__init__

    class Counted:
        def __init__(self, decoder: Any) -> None:
            self._decoder = decoder

        async def aiter_bytes(self, data: AsyncIterator[bytes]) -> AsyncGenerator[Any]:
            async def counted() -> AsyncGenerator[bytes]:
                async for part in data:
                    Reading.read += part.count(DATA)
                    yield part

            async for event in self._decoder.aiter_bytes(counted()):
                yield event

    def init(self: Any, *args: Any, **options: Any) -> None:
        begun(self, *args, **options)
        self._decoder = Counted(self._decoder)

    async def stream(self: Any) -> AsyncGenerator[Any]:
        async for item in made(self):
            Reading.objects += 1
            yield item

    AsyncStream.__init__ = init
    AsyncStream.__stream__ = stream


async def pydantic_ai(session: Any, prompt: str) -> AsyncGenerator[Any]:
    async with session.agent.run_stream(prompt, message_history=session.messages) as result:
        async for delta in result.stream_text(delta=True, debounce_by=None):
            yield delta


async def strands(session: Any, prompt: str) -> AsyncGenerator[Any]:
    async for event in session.stream_async(prompt):
        yield event


async def langgraph(session: Any, prompt: str) -> AsyncGenerator[Any]:
    from langchain.messages import HumanMessage

    given = {"messages": [*session.messages, HumanMessage(prompt)]}
    async for event in session.agent.astream(given, stream_mode=["messages", "values"]):
        yield event


async def openai_agents(session: Any, prompt: str) -> AsyncGenerator[Any]:
    from agents import Runner

    result = Runner.run_streamed(session.agent, [{"role": "user", "content": prompt}])
    async for event in result.stream_events():
        yield event


async def adk(session: Any, prompt: str) -> AsyncGenerator[Any]:
    from adapters.adk import CONFIG
    from google.genai import types

    message = types.Content(role="user", parts=[types.Part(text=prompt)])
    async for event in session.runner.run_async(
        user_id="u", session_id=session.sid, new_message=message, run_config=CONFIG
    ):
        yield event


PEERS = {f.__name__: f for f in (pydantic_ai, strands, langgraph, openai_agents, adk)}


async def events_of(name: str, url: str, model: str) -> AsyncGenerator[Any]:
    """What the framework yields of one turn."""
    if name in WAYS:
        return Turnwise(url, name).events(model)
    module = importlib.import_module(f"adapters.{name}")
    session = await module.make_session(module.setup(url, model), [])
    return PEERS[name](session, "Hello there")


# --- consuming ---------------------------------------------------------------------------------------------------------


def report(**found: Any) -> None:
    print("REPORT", json.dumps(found), flush=True)


def heap_kb() -> float:
    gc.collect()
    return tracemalloc.get_traced_memory()[0] / 1024


def rss_kb() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


async def consume(name: str, url: str, count: int, traced: bool) -> None:
    if name in PEERS:
        count_openai()
    async for _ in await events_of(name, url, "text-20"):  # a short turn first: whatever is imported late is there then
        pass
    events = await events_of(name, url, "text-20000")
    gc.collect()
    if traced:
        tracemalloc.start()
    Reading.read = Reading.objects = consumed = 0
    before, began = rss_kb(), time.monotonic()
    async with aclosing(events):
        async for _ in events:
            consumed += 1
            if traced and consumed % ROW_EVERY == 0:
                report(consumed=consumed, s=time.monotonic() - began, heap_kb=heap_kb(), rss_kb=rss_kb())
            await asyncio.sleep(PAUSE_S)
            if consumed == count:
                break
        report(consumed=consumed, objects=Reading.objects, read=Reading.read, grown_kb=rss_kb() - before)
        if not traced:
            sys.stdin.readline()
        leaving = time.monotonic()
    report(left_ms=(time.monotonic() - leaving) * 1000)


if __name__ == "__main__":
    perf, name, url, count = sys.argv[1:5]
    if perf:
        sys.path.insert(0, perf)
    asyncio.run(consume(name, url, int(count), "traced" in sys.argv))

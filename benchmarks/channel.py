"""What the buffer of a channel costs: time per delta, delivery latency, and what is held for a slow reader.

    python benchmarks/channel.py [ROUNDS]

The network is left out: a transport in memory hands over a response in reads of `PER_READ` deltas, so that what is measured is the way from
the read to the consumer. Three workloads: a burst (as fast as it goes), a trickle (one delta per read, each after the one before was
taken in), and a slow reader (2 ms of other work per event), for which counts what waits, how old it is when it is read, and the
memory held by it (tracemalloc, in a run of its own).
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from turnwise import Agent, Runtime, Session
from turnwise.core.errors import ErrorInfo
from turnwise.events import Event, TextDelta

BUFFERS: list[int | None] = [None, 1, 32, 1024]
"""None: `session.stream`, where the consumer's own task reads."""

WORD = "twelve chars"
BURST, PER_READ = 20_000, 50
TRICKLE = 3_000
SLOW, SLOW_S, READ_OF_SLOW = 20_000, 0.002, 1_400


def chunk(text: str) -> bytes:
    return b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}\n\n' % text.encode()  # fmt: skip


LAST = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'


class Body:
    """A response in memory. `arrived` is when each delta was handed over."""

    status = 200

    def __init__(self, deltas: int, per_read: int, trickle: bool) -> None:
        self.headers: Mapping[str, str] = {"content-type": "text/event-stream"}
        self.left, self.per_read, self.trickle = deltas, per_read, trickle
        self.part = chunk(WORD)
        self.arrived: list[float] = []
        self.ended = False

    async def head(self) -> None: ...

    async def read(self) -> bytes:
        await asyncio.sleep(0.0005 if self.trickle else 0)
        if self.left == 0:
            ended, self.ended = self.ended, True
            return b"" if ended else LAST
        count = min(self.left, self.per_read)
        self.left -= count
        self.arrived += [time.perf_counter()] * count
        return self.part * count

    def abort(self, reason: str) -> None:
        self.left, self.ended = 0, True

    def close(self) -> None: ...


class InMemory:
    """A transport that always answers with `body`."""

    def __init__(self, body: Body) -> None:
        self.body = body

    async def open(
        self, method: str, url: str, headers: Any, body: Sequence[Any], connect_s: float | None = None
    ) -> Body:
        return self.body

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        return ErrorInfo("provider", "connection_lost", str(error))

    async def close(self) -> None: ...


async def events_of(session: Session[Any], buffer: int | None) -> AsyncIterator[Event]:
    if buffer is None:
        async with session.stream("Hi") as turn:
            async for event in turn:
                yield event
        return
    async with session.channel("Hi", buffer=buffer) as (channel, _):
        async for event in channel:
            yield event


def session_on(body: Body, runtime: Runtime) -> Session[Any]:
    return Agent("openai:m", base_url="http://127.0.0.1:9", api_key="k", runtime=runtime).session()


async def burst(buffer: int | None) -> float:
    """Microseconds per delta, all of them taken as fast as they come."""
    body = Body(BURST, PER_READ, False)
    async with Runtime(transport=InMemory(body)) as runtime:
        session = session_on(body, runtime)
        began = time.perf_counter()
        async for _ in events_of(session, buffer):
            pass
        return (time.perf_counter() - began) / BURST * 1e6


async def trickle(buffer: int | None) -> list[float]:
    """For each delta, microseconds from the read that brought it to its consumer."""
    body = Body(TRICKLE, 1, True)
    async with Runtime(transport=InMemory(body)) as runtime:
        session = session_on(body, runtime)
        late: list[float] = []
        async for event in events_of(session, buffer):
            if type(event) is TextDelta:
                late.append((time.perf_counter() - body.arrived[len(late)]) * 1e6)
        return sorted(late)


async def slow(buffer: int | None, traced: bool) -> tuple[int, float, int]:
    """A reader that does other work for 2 ms per event and leaves after 1,400: deltas read beyond those consumed, the age (ms) of
    the last 200 when they are consumed (median), and bytes held beyond those of a run in which nothing waits."""
    body = Body(SLOW, PER_READ, False)
    async with Runtime(transport=InMemory(body)) as runtime:
        session = session_on(body, runtime)
        ages: list[float] = []
        held = 0
        async for event in events_of(session, buffer):
            if type(event) is TextDelta:
                ages.append((time.perf_counter() - body.arrived[len(ages)]) * 1e3)
                if len(ages) == READ_OF_SLOW:
                    if traced:
                        gc.collect()
                        held = tracemalloc.get_traced_memory()[0]
                    break
            await asyncio.sleep(SLOW_S)
        return len(body.arrived) - len(ages), statistics.median(ages[-200:]), held


def held_by(buffer: int | None) -> int:
    async def both() -> int:
        await slow(buffer, False)  # what is made once, is made by now
        gc.collect()
        tracemalloc.start()
        try:
            return (await slow(buffer, True))[2]
        finally:
            tracemalloc.stop()

    return asyncio.run(both())


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    fast: dict[int | None, list[float]] = {buffer: [] for buffer in BUFFERS}
    late: dict[int | None, list[list[float]]] = {buffer: [] for buffer in BUFFERS}
    for _ in range(rounds):  # in turns, so that whatever else the machine does falls on all alike
        for buffer in BUFFERS:
            fast[buffer].append(asyncio.run(burst(buffer)))
            late[buffer].append(asyncio.run(trickle(buffer)))
    print("buffer  burst us/delta   latency us p50  p99   slow reader: read ahead  age ms   held kB")
    for buffer in BUFFERS:
        p50 = min(x[len(x) // 2] for x in late[buffer])
        p99 = min(x[len(x) * 99 // 100] for x in late[buffer])
        ahead, age, _ = asyncio.run(slow(buffer, False))
        name, held = "stream" if buffer is None else str(buffer), held_by(buffer) / 1024
        print(f"{name:>6}  {min(fast[buffer]):14.2f}  {p50:15.0f} {p99:4.0f}  {ahead:23} {age:8.0f} {held:9.0f}")


if __name__ == "__main__":
    main()

"""What publishing on the event bus costs, beside the least that any bus must do: make the event and append it to a deque for each subscriber.

    python benchmarks/bus.py

All of it is measured in one run, in rounds that take turns, and told as ratios: the machine drops out. `floor` is a function that makes the
same event and appends it to bounded deques. Queues are emptied between rounds, outside of what is timed; nobody is woken. The last
rows include the reading: an `async for` that takes each event, against a task that takes it from a bare deque and waits on a future.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from turnwise import Runtime
from turnwise.bus import BusEvent

EVENTS, ROUNDS = 2_000, 60
TOPIC = "tool.finished"


def floor_of(queues: list[deque[BusEvent]]) -> Callable[[str, Any], None]:
    """The least that a bus can do."""
    last = 0

    def publish(topic: str, data: Any = None) -> None:
        nonlocal last
        last += 1
        event = BusEvent(last, topic, data)
        for queue in queues:
            queue.append(event)

    return publish


def timed(publish: Callable[[str, Any], None], events: int = EVENTS) -> float:
    """Nanoseconds of CPU per event."""
    began = time.process_time_ns()
    for n in range(events):
        publish(TOPIC, n)
    return (time.process_time_ns() - began) / events


async def publishing(subscribers: int, **options: Any) -> tuple[float, float]:
    """Nanoseconds per event: floor, bus."""
    async with Runtime() as runtime:
        bus = runtime.bus
        subscriptions = [bus.subscribe("tool.*", size=EVENTS, **options) for _ in range(subscribers)]
        queues: list[deque[BusEvent]] = [deque(maxlen=EVENTS) for _ in range(subscribers)]
        floor, ours, bare = list[float](), list[float](), floor_of(queues)
        for _ in range(ROUNDS):
            floor.append(timed(bare))
            ours.append(timed(bus.publish))
            for queue in queues:
                queue.clear()
            for subscription in subscriptions:
                while subscription.waiting:
                    await anext(subscription)
        return statistics.median(floor), statistics.median(ours)


async def overflowing() -> tuple[float, float]:
    """The same with one subscriber that never reads."""
    async with Runtime() as runtime:
        subscription = runtime.bus.subscribe("tool.*", size=100)
        queue: deque[BusEvent] = deque(maxlen=100)
        floor, ours, bare = list[float](), list[float](), floor_of([queue])
        for _ in range(ROUNDS):
            floor.append(timed(bare))
            ours.append(timed(runtime.bus.publish))
            await asyncio.sleep(0)
        subscription.close()
        return statistics.median(floor), statistics.median(ours)


async def reading() -> tuple[float, float]:
    """From `publish` to the reader, who is woken for each burst of ten events."""
    bursts = EVENTS // 10
    async with Runtime() as runtime:
        subscription = runtime.bus.subscribe("tool.*")
        queue: deque[BusEvent] = deque(maxlen=256)
        waiting: list[asyncio.Future[None]] = []
        loop = asyncio.get_running_loop()

        async def read_bare() -> None:
            while True:
                while queue:
                    queue.popleft()
                future = loop.create_future()
                waiting.append(future)
                await future

        async def read_ours() -> None:
            async for _ in subscription:
                pass

        tasks = [asyncio.create_task(read_bare()), asyncio.create_task(read_ours())]
        await asyncio.sleep(0)
        bare = floor_of([queue])

        async def burst_bare() -> None:
            for n in range(10):
                bare(TOPIC, n)
                if waiting:
                    waiting.pop().set_result(None)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        async def burst_ours() -> None:
            for n in range(10):
                runtime.bus.publish(TOPIC, n)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        found: dict[str, list[float]] = {"floor": [], "ours": []}
        for _ in range(ROUNDS):
            for name, burst in (("floor", burst_bare), ("ours", burst_ours)):
                began = time.process_time_ns()
                for _ in range(bursts):
                    await burst()
                found[name].append((time.process_time_ns() - began) / EVENTS)
        subscription.close()
        tasks[0].cancel()
        await asyncio.wait(tasks)
        return statistics.median(found["floor"]), statistics.median(found["ours"])


async def main() -> None:
    rows = [(f"publish to {n}", await publishing(n)) for n in (1, 10)]
    rows.append(("publish to 10 that coalesce", await publishing(10, policy="coalesce")))
    rows.append(("publish to 1 that is full", await overflowing()))
    rows.append(("publish to 1, and read", await reading()))
    print(f"{'':<30}{'floor ns':>10}{'bus ns':>10}{'ratio':>8}")
    for name, (floor, ours) in rows:
        print(f"{name:<30}{floor:>10.0f}{ours:>10.0f}{ours / floor:>8.2f}")
    async with Runtime() as runtime:
        runtime.tell_bus(TOPIC)
        nobody = [timed(runtime.tell_bus) for _ in range(ROUNDS)]
        assert runtime.status().bus is None
        asked = [timed(runtime.bus.publish) for _ in range(ROUNDS)]
    print(
        f"nobody ever asked for the bus: {statistics.median(nobody):.0f} ns; nobody subscribed: {statistics.median(asked):.0f} ns"
    )


asyncio.run(main())

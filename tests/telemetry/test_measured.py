"""Measurements are held back and made several at once: none is lost, made twice, or seen later than by the collection that follows it."""

from __future__ import annotations

import threading
from typing import Any

from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from tests.telemetry.conftest import Collector
from tests.telemetry.test_spans import agent_of

from turnwise import Runtime
from turnwise.runtime.telemetry.instruments import MOST_HELD, instruments_of
from turnwise.telemetry import instrument
from turnwise.testing import ScriptedProvider, repeat, reply

DURATION, TOKENS = "gen_ai.client.operation.duration", "gen_ai.client.token.usage"


def points(reader: InMemoryMetricReader) -> dict[str, list[Any]]:
    data = reader.get_metrics_data()
    return {
        metric.name: list(metric.data.data_points)
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def counts(reader: InMemoryMetricReader) -> dict[str, int]:
    """How many measurements each histogram has."""
    return {name: sum([p.count for p in found]) for name, found in points(reader).items() if hasattr(found[0], "count")}


async def test_each_collection_sees_all_that_was_measured_before_it() -> None:
    """By two readers, one of sums and one of differences: after one turn, and after more turns than are held back."""
    whole = InMemoryMetricReader()
    since = InMemoryMetricReader({Histogram: AggregationTemporality.DELTA})
    meters, turns = MeterProvider([whole, since]), MOST_HELD // 4 + 3
    async with ScriptedProvider([repeat(reply("Hello."))]) as provider, Runtime() as runtime:
        instrument(runtime, meter_provider=meters)
        session = agent_of(provider, runtime).session()
        await session.run("1")
        assert counts(since) == counts(whole)
        assert (counts(whole)[DURATION], counts(whole)[TOKENS]) == (1, 2)
        for number in range(turns):
            await session.run(str(number))
        found = counts(since)
        assert (found[DURATION], found[TOKENS]) == (turns, 2 * turns)
        found = counts(whole)
        assert (found[DURATION], found[TOKENS]) == (turns + 1, 2 * turns + 2)
        await session.run("last")
    meters.force_flush()
    assert counts(whole)[DURATION] == turns + 2
    meters.shutdown()


def test_no_more_is_held_back_than_so_many(collector: Collector) -> None:
    """Also with a provider that never collects."""
    made = instruments_of(collector.meters, "0")
    for number in range(10 * MOST_HELD):
        made.measure([(made.duration, number, {})])
        assert len(made._held) < MOST_HELD


async def test_nothing_is_held_back_after_the_end(collector: Collector) -> None:
    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        with collector.watch(runtime) as watching:
            await agent_of(provider, runtime).session().run("Hi")
            assert watching._kit.metrics._held
        assert not watching._kit.metrics._held
    assert counts(collector.reader)[DURATION] == 1


def test_threads_that_measure_and_collect_at_once_lose_nothing(collector: Collector) -> None:
    """Loops of several runtimes share a provider, and readers collect on threads of their own."""
    made, each, over = instruments_of(collector.meters, "0"), 2000, threading.Event()

    def measure() -> None:
        for number in range(each):
            made.measure([(made.tokens, number, {"of": "thread"})])

    def collect() -> None:
        while not over.is_set():
            collector.reader.get_metrics_data()

    loops, reader = [threading.Thread(target=measure) for _ in range(3)], threading.Thread(target=collect)
    reader.start()
    for loop in loops:
        loop.start()
    for loop in loops:
        loop.join(30)
    over.set()
    reader.join(30)
    assert counts(collector.reader)[TOKENS] == 3 * each


async def test_measurements_have_no_exemplars(collector: Collector) -> None:
    """Neither of the caller's span nor of the turn's, whoever has them made."""
    async with ScriptedProvider([repeat(reply("Hello."))]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime).session()
        with collector.tracers.get_tracer("mine").start_as_current_span("request"):
            for number in range(MOST_HELD // 4 + 1):
                await session.run(str(number))
            found = points(collector.reader)
    assert found[DURATION]
    for name in (DURATION, TOKENS, "turnwise.turns"):
        assert not [exemplar for point in found[name] for exemplar in point.exemplars], name

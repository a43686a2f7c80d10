"""What goes wrong with telemetry costs the turn nothing, and is told by the runtime's health. Queues and drops are measured."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.context import Context
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from tests.runtime.conftest import until
from tests.telemetry.conftest import Collector
from tests.telemetry.test_spans import agent_of, look

from turnwise import MemoryStore, Runtime, Sessions, ToolContext, tool
from turnwise.models.secrets import learn
from turnwise.runtime.gates import ProviderLimits
from turnwise.telemetry import instrument
from turnwise.testing import ScriptedProvider, call, repeat, reply, text


class Broken(SpanProcessor):
    """Raises at the beginning or at the end of every span, as long as it is broken."""

    def __init__(self, at: str) -> None:
        self.at = at
        self.broken = True

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        if self.at == "start" and self.broken:
            raise RuntimeError("no exporter with sk-secret-0123456789")

    def on_end(self, span: ReadableSpan) -> None:
        if self.at == "end" and self.broken:
            raise RuntimeError("no exporter with sk-secret-0123456789")


@pytest.mark.parametrize("at", ["start", "end"])
async def test_a_turn_goes_on_when_its_spans_cannot_be_made(at: str) -> None:
    learn("sk-secret-0123456789")
    tracers, broken = TracerProvider(), Broken(at)
    tracers.add_span_processor(broken)
    script = [reply(call("look", what="a"), call("look", what="b")), reply("Done."), reply("Again.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        instrument(runtime, tracer_provider=tracers, meter_provider=NoOpMeterProvider())
        session = agent_of(provider, runtime, look).session()
        result = await session.run("Hi")
        assert (result.reason, result.text, result.calls) == ("completed", "Done.", 2)
        status = runtime.health.of("telemetry")
        assert status is not None and (status.state, status.code) == ("degraded", "telemetry_failed")
        assert "no exporter" in status.message and "sk-secret" not in status.message
        broken.broken = False
        assert (await session.run("Again")).text == "Again."
        status = runtime.health.of("telemetry")
        assert status is not None and status.state == "ok"


async def test_a_turn_goes_on_when_measuring_fails(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told by the turn after the measurements were made, and is over with a turn after which they can be made again."""
    async with ScriptedProvider([repeat(reply("Done."))]) as provider, Runtime() as runtime:
        watching = collector.watch(runtime)
        session = agent_of(provider, runtime).session()

        def fails(*_: Any, **__: Any) -> None:
            raise ValueError("no meter")

        monkeypatch.setattr(watching._kit.metrics.tokens, "record", fails)
        assert (await session.run("Hi")).text == "Done."
        assert collector.metrics()["gen_ai.client.operation.duration"], "what can be measured is"
        assert (await session.run("Hi")).text == "Done."
        status = runtime.health.of("telemetry")
        assert status is not None and status.state == "degraded" and "no meter" in status.message
        monkeypatch.undo()
        assert (await session.run("Hi")).text == "Done."
        status = runtime.health.of("telemetry")
        assert status is not None and status.state == "ok"


async def test_without_a_set_up_nothing_is_made() -> None:
    """The API alone, with no SDK set up, makes spans that go nowhere."""
    async with ScriptedProvider([reply("Done.")]) as provider, Runtime() as runtime:
        with instrument(runtime, meter_provider=NoOpMeterProvider()):
            assert (await agent_of(provider, runtime).session().run("Hi")).text == "Done."
        assert runtime.health.of("telemetry") is None


async def test_queues_are_measured(collector: Collector) -> None:
    """Turns that wait for a place, and requests that wait for their key's bound."""
    one = ProviderLimits(concurrency=1)
    async with (
        ScriptedProvider([repeat(reply("Done.", stall_before_headers=True))]) as provider,
        Runtime(limits={"*": one}) as runtime,
    ):
        collector.watch(runtime)
        agent = agent_of(provider, runtime)
        async with Sessions(MemoryStore(), [agent], runtime=runtime, max_turns=1) as sessions:
            first, second = await sessions.open("a", agent=agent), await sessions.open("b", agent=agent)
            turns = [asyncio.create_task(first.run("1")), asyncio.create_task(second.run("2"))]
            alone = asyncio.create_task(agent.session().run("3"))
            await provider.reached("stalled")
            await until(lambda: runtime.waiting() == {"requests": 1, "turns": 1})
            found = collector.metrics()
            assert {a["turnwise.queue"]: n for a, n in found["turnwise.queue.depth"]} == {"requests": 1, "turns": 1}
            assert found["turnwise.turns.active"] == [({}, 2)]
            for request in (1, 2, 3):
                await provider.reached("stalled", request)
                provider.release(request)
            await asyncio.gather(*turns, alone)
        assert runtime.waiting() == {"requests": 0}
    assert "turnwise.queue.depth" not in collector.metrics(), "a closed runtime has no queues"


async def test_dropped_events_are_counted(collector: Collector) -> None:
    """Of a watcher that is too slow, and reports of progress that nobody reads."""

    @tool
    async def chatter(context: ToolContext[None]) -> str:
        """Report a lot."""
        for number in range(1003):
            context.report(str(number))
        return "done"

    script = [reply(text(*["word "] * 200), call("chatter")), reply("Done.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime, chatter).session()
        async with session.stream("Go") as turn:
            watcher = turn.watch("drop_to_cursor", buffer=4)
            async for _ in turn:
                pass
            async for _ in watcher:
                pass
        assert runtime.dropped["watchers"] > 0
    found = {a["turnwise.queue"]: n for a, n in collector.metrics()["turnwise.events.dropped"]}
    assert found == runtime.dropped

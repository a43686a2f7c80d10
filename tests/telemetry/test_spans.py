"""Turns as spans: what a collector sees of a streamed turn (issue 6, proof 5), by the conventions, in one tree."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.schemas import Schemas
from opentelemetry.trace import SpanKind, StatusCode
from tests.telemetry.conftest import Collector, id_of, parent_of, said

from turnwise import Agent, Ask, Retry, Runtime, SqliteStore, tool
from turnwise.core.errors import TurnwiseError
from turnwise.events import ToolFinished
from turnwise.runtime.telemetry import conventions
from turnwise.telemetry import SCHEMA_URL, SEMCONV_VERSION
from turnwise.testing import ScriptedProvider, call, fail, hang, reply, text


def agent_of(provider: ScriptedProvider, runtime: Runtime, *tools: Any, **options: Any) -> Agent[Any]:
    options.setdefault("name", "guide")
    return Agent(
        "openai:a-model", base_url=provider.openai_url, api_key="sk-0123456789", tools=tools, runtime=runtime, **options
    )


@asynccontextmanager
async def kept_in(folder: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(folder / "t.db")
    try:
        yield store
    finally:
        await store.close()


@tool
async def look(what: str) -> str:
    """Look something up."""
    return f"seen {what}"


async def test_a_streamed_turn_of_two_tools_that_is_interrupted(collector: Collector) -> None:
    """Proof 5: one tree, with the calls that ran, the one that was stopped, and the model call before it."""
    began = asyncio.Event()

    @tool
    async def wait() -> str:
        """Wait for good."""
        began.set()
        await asyncio.Event().wait()
        return "never"

    script = [reply(text("Let me see."), call("look", what="a"), call("wait"))]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime, look, wait).session()
        async with session.stream("Go") as turn:
            async for event in turn:
                if isinstance(event, ToolFinished) and event.name == "look":
                    await began.wait()
                    session.interrupt()
        assert turn.result.reason == "interrupted"
    whole, chat = collector.one("invoke_agent guide"), collector.one("chat a-model")
    seen, stopped = collector.one("execute_tool look"), collector.one("execute_tool wait")
    assert parent_of(whole) is None
    assert {parent_of(span) for span in (chat, seen, stopped)} == {id_of(whole)}
    assert len({span.context.trace_id for span in collector.spans if span.context}) == 1
    assert (whole.kind, chat.kind, seen.kind) == (SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL)
    assert said(whole)["turnwise.reason"] == "interrupted"
    assert [event.name for event in whole.events] == ["turnwise.turn.interrupted"]
    assert said(seen)["turnwise.outcome"] == "ok"
    assert said(stopped)["turnwise.outcome"] == "cancelled"
    for span in collector.spans:
        assert span.start_time is not None and span.end_time is not None
        assert whole.start_time is not None and whole.end_time is not None
        assert whole.start_time <= span.start_time <= span.end_time <= whole.end_time, span.name
    found = collector.metrics()
    tokens = {attributes["gen_ai.token.type"]: total for attributes, total in found["gen_ai.client.token.usage"]}
    usage = turn.result.usage
    assert tokens == {"input": usage.input_tokens, "output": usage.output_tokens}
    assert found["turnwise.turns"] == [({"gen_ai.agent.name": "guide", "turnwise.reason": "interrupted"}, 1)]
    assert {(a["gen_ai.tool.name"], a["turnwise.outcome"]): n for a, n in found["turnwise.tool.calls"]} == {
        ("look", "ok"): 1,
        ("wait", "cancelled"): 1,
    }
    assert len(found["gen_ai.client.operation.duration"]) == 1
    assert found["gen_ai.client.operation.time_to_first_chunk"][0][1] > 0


async def test_a_model_call_that_is_cut_off_has_its_span(collector: Collector) -> None:
    async with ScriptedProvider([hang()]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime).session()
        async with session.stream("Go"):
            await provider.reached("stalled")
    chat = collector.one("chat")
    assert said(chat)["turnwise.outcome"] == "interrupted"
    assert parent_of(chat) == id_of(collector.one("invoke_agent"))


async def test_what_a_model_call_says_of_itself(collector: Collector) -> None:
    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        result = await agent_of(provider, runtime).session().run("Hi")
    chat, usage = said(collector.one("chat a-model")), result.usage
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.provider.name"] == "openai"
    assert chat["gen_ai.request.model"] == "a-model"
    assert chat["gen_ai.conversation.id"] == result.session
    assert chat["gen_ai.usage.input_tokens"] == usage.input_tokens
    assert chat["gen_ai.usage.output_tokens"] == usage.output_tokens
    assert chat["gen_ai.response.finish_reasons"] == ("stop",)
    assert chat["server.address"] == "127.0.0.1" and chat["server.port"] > 0
    assert chat["gen_ai.response.time_to_first_chunk"] > 0
    assert (chat["turnwise.turn"], chat["turnwise.step"], chat["turnwise.attempt"]) == (1, 1, 1)


async def test_what_fails_and_is_tried_again(collector: Collector) -> None:
    """A span for each attempt, the failed one with its error; and a retry is counted by what had failed."""
    script = [fail(529, "overloaded"), reply("Now.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime, retry=Retry(base_delay_s=0.0)).session()
        assert (await session.run("Hi")).text == "Now."
    first, second = collector.named("chat")
    assert first.status.status_code is StatusCode.ERROR
    assert said(first)["error.type"] and said(first)["http.response.status_code"] == 529
    assert (said(first)["turnwise.attempt"], said(second)["turnwise.attempt"]) == (1, 2)
    assert second.status.status_code is StatusCode.UNSET
    ((attributes, count),) = collector.metrics()["turnwise.retries"]
    assert count == 1 and attributes["error.type"] == said(first)["error.type"]
    assert attributes["turnwise.fallback"] is False


async def test_a_turn_that_fails_says_so(collector: Collector) -> None:
    async with ScriptedProvider([fail(400, "no")]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        with pytest.raises(TurnwiseError) as caught:
            await agent_of(provider, runtime).session().run("Hi")
    whole = collector.one("invoke_agent")
    assert whole.status.status_code is StatusCode.ERROR
    assert said(whole)["error.type"] == caught.value.code


async def test_calls_that_never_ran_have_a_span_without_duration(collector: Collector) -> None:
    script = [reply(call("look", which="a"), call("nothing")), reply("Well.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        await agent_of(provider, runtime, look).session().run("Hi")
    by_name = {said(span)["gen_ai.tool.name"]: span for span in collector.named("execute_tool")}
    assert {name: said(span)["error.type"] for name, span in by_name.items()} == {
        "look": "invalid_arguments",
        "nothing": "unknown_tool",
    }
    assert all(span.start_time == span.end_time for span in by_name.values())


async def test_what_a_tool_starts_has_the_call_as_parent(collector: Collector) -> None:
    """Also in a thread, in a task of its own, and in an agent that it runs."""
    mine = collector.tracers.get_tracer("mine")

    async def elsewhere() -> None:
        with mine.start_as_current_span("in a task"):
            pass

    async with (
        ScriptedProvider([reply(call("outer"), call("blocking")), reply("Inner."), reply("Done.")]) as provider,
        Runtime() as runtime,
    ):
        collector.watch(runtime)
        inner = agent_of(provider, runtime, name="inner")

        @tool
        async def outer() -> str:
            """Ask another agent."""
            with mine.start_as_current_span("in a tool"):
                await asyncio.create_task(elsewhere())
            return (await inner.session().run("And?")).text

        @tool
        def blocking() -> str:
            """In a thread."""
            with mine.start_as_current_span("in a thread"):
                return "done"

        await agent_of(provider, runtime, outer, blocking, parallel_calls=1).session().run("Hi")
    calls = {said(span)["gen_ai.tool.name"]: id_of(span) for span in collector.named("execute_tool")}
    assert parent_of(collector.one("in a tool")) == calls["outer"]
    assert parent_of(collector.one("in a task")) == id_of(collector.one("in a tool"))
    assert parent_of(collector.one("in a thread")) == calls["blocking"]
    assert parent_of(collector.one("invoke_agent inner")) == calls["outer"]


async def test_a_turn_has_the_span_of_its_caller_as_parent(collector: Collector) -> None:
    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        with collector.tracers.get_tracer("mine").start_as_current_span("request") as own:
            async with agent_of(provider, runtime).session().stream("Hi") as turn:
                async for _ in turn:
                    assert trace.get_current_span() is own, "whoever reads keeps the span that is theirs"
            assert trace.get_current_span() is own
    assert parent_of(collector.one("invoke_agent")) == id_of(collector.one("request"))


async def test_breaking_out_of_the_stream_in_another_task_logs_no_context_error(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    """Proof 5. The stream is begun in one task, read in a second and left in a third; the caller's own span is what it was."""
    async with ScriptedProvider([reply(text(*["word "] * 50))]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime).session()
        with collector.tracers.get_tracer("mine").start_as_current_span("request") as own:
            turn = session.stream("Go")
            await asyncio.create_task(turn.__aenter__())

            async def read_a_little() -> None:
                async for _ in turn:
                    break
                assert trace.get_current_span() is own

            await asyncio.create_task(read_a_little())
            batches = turn.batches()
            await asyncio.create_task(anext(batches))  # type: ignore[arg-type]
            await asyncio.create_task(batches.aclose())
            await asyncio.create_task(turn.__aexit__(None, None, None))
            assert trace.get_current_span() is own
    assert turn.result.reason == "interrupted"
    assert collector.one("invoke_agent").end_time is not None
    assert not [r for r in caplog.records if r.name.startswith("opentelemetry")]


async def test_a_parked_turn_ends_its_span_and_the_next_one_is_linked_to_it(collector: Collector) -> None:
    """No span is held open while somebody is waited for."""
    async with ScriptedProvider([reply(call("look", what="a")), reply("Done.")]) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime, look, approvals=lambda _: Ask("sure?")).session()
        result = await session.run("Hi")
        assert result.reason == "parked"
        parked = collector.one("invoke_agent")
        assert said(parked)["turnwise.reason"] == "parked"
        await session.approve(result.pending[0].call_id)
        await session.resume()
    again = collector.named("invoke_agent")[1]
    assert [link.context.span_id for link in again.links] == [id_of(parked)]
    assert parent_of(collector.one("execute_tool look")) == id_of(again)


async def test_appends_to_a_store_have_spans(collector: Collector, tmp_path: Path) -> None:
    async with (
        ScriptedProvider([reply(call("look", what="a")), reply("Done.")]) as provider,
        Runtime() as runtime,
        kept_in(tmp_path) as store,
    ):
        collector.watch(runtime)
        session = agent_of(provider, runtime, look, store=store).session()
        await session.run("Hi")
        entries = len(await store.read(session.id))
    appends = collector.named("append sqlite")
    assert sum([said(span)["turnwise.store.entries"] for span in appends]) == entries
    assert {parent_of(span) for span in appends} == {id_of(collector.one("invoke_agent"))}
    assert said(appends[0])["db.system.name"] == "sqlite"
    assert "turnwise.store.append.duration" in collector.metrics()


# --- content ----------------------------------------------------------------------------------------------------------


async def test_nothing_that_was_said_is_captured_unless_asked_for(collector: Collector) -> None:
    script = [reply(text("The word is plum."), call("look", what="plum")), reply("Again plum.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        await agent_of(provider, runtime, look, instructions="Say plum.").session().run("Say plum")
    assert "plum" not in "".join([span.to_json() for span in collector.spans])


async def test_content_is_captured_and_capped(collector: Collector) -> None:
    script = [reply(text("x" * 900), call("look", what="plum")), reply("y" * 900)]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime, content=True, content_chars=100)
        await agent_of(provider, runtime, look, instructions="z" * 900).session().run("ä" * 900)
    first, second = collector.named("chat")
    output = json.loads(said(first)["gen_ai.output.messages"])
    assert output[0]["role"] == "assistant" and output[0]["finish_reason"] == "tool_calls"
    assert output[0]["parts"][0]["content"] == "x" * 100 + "… [800 characters left out]"
    given = json.loads(said(second)["gen_ai.input.messages"])
    assert [message["role"] for message in given][-1] == "tool"
    assert given[-1]["parts"][0]["response"] == "seen plum"
    assert len(said(first)["gen_ai.system_instructions"]) < 150
    call_span = said(collector.one("execute_tool look"))
    assert json.loads(call_span["gen_ai.tool.call.arguments"]) == {"what": "plum"}
    assert call_span["gen_ai.tool.call.result"] == "seen plum"
    for span in collector.spans:
        assert all(len(value) < 1200 for value in said(span).values() if isinstance(value, str))


# --- what else is promised --------------------------------------------------------------------------------------------


def test_names_are_those_of_the_conventions() -> None:
    known = {value for value in vars(gen_ai_attributes).values() if isinstance(value, str)}
    ours = {
        value
        for name, value in vars(conventions).items()
        if isinstance(value, str) and value.startswith("gen_ai.") and not name.endswith("METRIC")
    }
    assert ours and ours <= known, ours - known
    assert SCHEMA_URL in {schema.value for schema in Schemas} and SCHEMA_URL.endswith(SEMCONV_VERSION)


async def test_ending_it_ends_the_spans_that_are_open_and_tells_nothing_more(collector: Collector) -> None:
    async with ScriptedProvider([hang(), reply("Later.")]) as provider, Runtime() as runtime:
        watching = collector.watch(runtime)
        session = agent_of(provider, runtime).session()
        async with session.stream("Go"):
            await provider.reached("stalled")
            watching.end()
            watching.end()
            assert [span.name for span in collector.spans] == ["invoke_agent guide"]
        await session.run("Again")
        assert len(collector.spans) == 1
        assert runtime.observers == () and runtime.probe is None
        collector.watch(runtime).end()


async def test_a_runtime_is_instrumented_once(collector: Collector) -> None:
    async with Runtime() as runtime:
        with collector.watch(runtime), pytest.raises(TurnwiseError) as caught:
            collector.watch(runtime)
        assert caught.value.code == "already_instrumented"
        with pytest.raises(TurnwiseError):
            collector.watch(runtime, content_chars=0)


async def test_nothing_is_left_of_turns_that_ended(collector: Collector) -> None:
    """By finish, error, early leave and interrupt."""
    script = [reply("A."), fail(400, "no"), reply(text(*["word "] * 50)), hang()]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        watching = collector.watch(runtime)
        agent = agent_of(provider, runtime)
        await agent.session().run("1")
        with pytest.raises(TurnwiseError):
            await agent.session().run("2")
        async with agent.session().stream("3") as turn:
            await anext(turn)
        async with agent.session().stream("4") as turn:
            await provider.reached("stalled", 4)
        assert watching._running == set()
    assert len(collector.named("invoke_agent")) == 4

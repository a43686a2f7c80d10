"""Middleware around model calls, through every way a response is read: H1, H3, S4, S5, C1, C2, C5, T2, T4, T7."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from tests.runtime.conftest import Host, assert_ended, in_virtual_time, of, read_all, read_until, until
from tests.runtime.test_compaction import SUMMARY

from turnwise import Agent, Compaction, Deadlines, Limits, Model, Retry, Runtime, Summarise, tool
from turnwise.core.errors import ErrorInfo
from turnwise.core.usage import Usage
from turnwise.errors import ConfigError, HookError, ProviderError
from turnwise.events import Event, TextDelta
from turnwise.middleware import (
    DecoderEvent,
    Ended,
    ModelRequest,
    ModelResponse,
    ResponseEnded,
    ToolCallDelta,
    ToolCallStarted,
    middleware,
)
from turnwise.models import complete, stream
from turnwise.testing import ScriptedProvider, call, fail, repeat, repeated, reply, text


@middleware("model")
async def plain(request: ModelRequest, next: Any) -> ModelResponse:
    return await next(request)


async def same(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield event


@middleware("model")
async def through(request: ModelRequest, next: Any) -> ModelResponse:
    return (await next(request)).through(same)


@middleware("model")
async def whole(request: ModelRequest, next: Any) -> ModelResponse:
    response = await next(request)
    return ModelResponse.of([event async for event in response.events()])


async def louder(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield msgspec.structs.replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event


@middleware("model")
async def shouting(request: ModelRequest, next: Any) -> ModelResponse:
    return (await next(request)).through(louder)


@tool
async def weather(city: str) -> str:
    """Forecast."""
    return f"{city}: 12 degrees"


SCRIPT = [
    reply(
        text("Let me look.", size=2), call("weather", city="Oslo"), call("weather", city="Bergen"), usage=Usage(70, 20)
    ),
    reply(text("Mild in both.", size=3), usage=Usage(90, 5)),
]


@pytest.mark.parametrize("wrapping", [(), (plain,), (through,), (whole,), (through, plain, through)])
async def test_a_turn_is_the_same_with_and_without(any_host: Host, wrapping: tuple[Any, ...]) -> None:
    """S5: streamed, unstreamed and through stages: one reducer, the same messages, usage and events of the journal."""
    async with ScriptedProvider(SCRIPT) as provider:
        agent = any_host.agent(provider, weather, middleware=wrapping)
        async with agent.session().stream("Weather?") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert result.text == "Mild in both." and result.reason == "completed"
        assert (result.usage.input_tokens, result.usage.output_tokens) == (160, 25)
        shown = "".join([e.text for e in of(TextDelta, events)])
        assert shown == "Let me look.Mild in both."
        assert [c.id for m in result.messages for c in getattr(m, "tool_calls", ())] == ["t1.s1.c0", "t1.s1.c1"]
        assert [r.text for m in result.messages for r in getattr(m, "results", ())] == [
            "Oslo: 12 degrees",
            "Bergen: 12 degrees",
        ]
        assert [r.body for r in provider.requests][1] == provider.requests[1].body


async def test_a_stage_changes_what_everybody_sees(any_host: Host) -> None:
    async with ScriptedProvider([reply("Hello there."), reply("Bye.")]) as provider:
        session = any_host.agent(provider, middleware=[shouting]).session()
        result = await session.run("Hi")
        assert result.text == "HELLO THERE."
        assert result.usage.output_tokens
        await session.run("And now?")
        assert "HELLO THERE." in str(provider.requests[1].body["messages"])


# --- H3: one attempt ---------------------------------------------------------------------------------------------------


async def test_next_is_called_once(host: Host) -> None:
    """H3: a middleware wraps one attempt; a second call is refused, and nothing is sent again."""

    @middleware("model")
    async def again(request: ModelRequest, next: Any) -> ModelResponse:
        async for _ in (await next(request)).events():
            pass
        return await next(request)

    async with ScriptedProvider([reply("Once.")]) as provider:
        with pytest.raises(HookError) as caught:
            await host.agent(provider, middleware=[again]).run("Hi")
        assert caught.value.code == "next_called_twice" and "again" in caught.value.message
        assert not caught.value.retryable
        assert len(provider.requests) == 1


async def test_a_failure_is_not_tried_again_by_a_middleware_but_by_the_machine(host: Host) -> None:
    """H3: catching what next raised gives no second try; the machine's own tries go through the middleware, each once."""
    attempts: list[int] = []

    @middleware("model")
    async def stubborn(request: ModelRequest, next: Any) -> ModelResponse:
        attempts.append(request.attempt)
        response = await next(request)
        assert isinstance(response, ModelResponse)
        return response

    script = [fail(529, headers={"retry-after": "0"}), fail(503, headers={"retry-after": "0"}), reply("Third.")]
    async with ScriptedProvider(script) as provider:
        result = await host.agent(provider, middleware=[stubborn], retry=Retry(base_delay_s=0)).run("Hi")
        assert result.text == "Third." and attempts == [1, 2, 3]


async def test_next_is_refused_after_the_middleware_has_returned(host: Host) -> None:
    kept: list[Any] = []

    @middleware("model")
    async def keeping(request: ModelRequest, next: Any) -> ModelResponse:
        kept.append((request, next))
        return ModelResponse.text("In its place.")

    async with ScriptedProvider([]) as provider:
        result = await host.agent(provider, middleware=[keeping]).run("Hi")
        assert result.text == "In its place."
        request, late = kept[0]
        with pytest.raises(HookError) as caught:
            await late(request)
        assert caught.value.code == "next_called_late"


async def test_an_answer_in_its_place_sends_and_costs_nothing(any_host: Host) -> None:
    """S4: usage is zero because nothing was sent, and says so; what is known of the conversation's size stays."""

    @middleware("model")
    async def second(request: ModelRequest, next: Any) -> ModelResponse:
        return ModelResponse.text("Mine.") if request.turn == 2 else await next(request)

    async with ScriptedProvider([reply("Theirs.", usage=Usage(40, 4))]) as provider:
        session = any_host.agent(provider, middleware=[second]).session()
        await session.run("One")
        known = session.state.context_tokens
        result = await session.run("Two")
        assert result.text == "Mine." and len(provider.requests) == 1
        assert result.usage.provenance == "unsent" and result.usage.total_tokens == 0
        assert session.state.context_tokens == known == 44
        assert (session.usage.total_tokens, session.usage.provenance) == (44, "reported")


async def test_calls_in_an_answer_get_ids_of_the_engine(host: Host) -> None:
    """T4: ids of another step, or the same twice, do not get into the transcript."""
    ran: list[str] = []

    @tool
    async def note(what: str) -> str:
        ran.append(what)
        return what

    @middleware("model")
    async def first(request: ModelRequest, next: Any) -> ModelResponse:
        if request.step > 1:
            return await next(request)
        return ModelResponse.of(
            [
                ToolCallStarted("t9.s9.c7", "note", 0, 4),
                ToolCallDelta('{"what":"a"}', 0, 4),
                ToolCallStarted("t9.s9.c7", "note", 1, 4),
                ToolCallDelta('{"what":"b"}', 1, 4),
                ResponseEnded("tool_calls"),
            ]
        )

    async with ScriptedProvider([reply("Done.")]) as provider:
        async with host.agent(provider, note, middleware=[first]).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert sorted(ran) == ["a", "b"]
        assert [(e.id, e.attempt) for e in of(ToolCallStarted, events)] == [("t1.s1.c0", 1), ("t1.s1.c1", 1)]


# --- what is changed for this attempt ----------------------------------------------------------------------------------


async def test_a_changed_request_is_sent_and_the_journal_stays(any_host: Host) -> None:
    """T7: what is changed is encoded apart; the session's own bytes are as they were, and so is its journal."""
    changed = [False]

    @middleware("model")
    async def politely(request: ModelRequest, next: Any) -> ModelResponse:
        if not changed[0]:
            return await next(request)
        messages = [msgspec.structs.replace(m, body=m.text.replace("secret", "***")) for m in request.messages]
        return await next(
            request.replace(
                messages=messages,
                instructions=request.instructions + " Be brief.",
                settings=msgspec.structs.replace(request.settings, temperature=0.25),
                tail="The end is near.",
            )
        )

    async with ScriptedProvider([reply("One."), reply("Two."), reply("Three.")]) as provider:
        session = any_host.agent(provider, middleware=[politely], instructions="Be kind.").session()
        await session.run("My secret is out.")
        changed[0], kept = True, len(session.prefix)
        await session.run("Another secret.")
        assert len(session.prefix) == kept
        changed[0] = False
        await session.run("A third secret.")
        _, second, third = [str(r.body) for r in provider.requests]
        assert "secret" not in second and "***" in second
        assert "Be brief." in second and "The end is near." in second and "0.25" in second
        assert "***" not in third and "Be brief." not in third and "The end" not in third
        assert "My secret is out." in third and "Another secret." in third
        body = provider.requests[2].body["messages"]
        start = provider.requests[0].body["messages"]
        assert [m for m in body if m in start] or body[0]["role"] == start[0]["role"]
        assert [m.text for m in session.messages][::2] == ["My secret is out.", "Another secret.", "A third secret."]


async def test_a_view_that_grows_is_encoded_once(host: Host) -> None:
    """T7: a changed view that grows as the conversation does keeps its bytes: each request begins as the one before."""

    @middleware("model")
    async def masked(request: ModelRequest, next: Any) -> ModelResponse:
        return await next(
            request.replace(
                messages=[msgspec.structs.replace(m, body=m.text.replace("x", "y")) for m in request.messages]
            )
        )

    async with ScriptedProvider([reply(f"Answer x{n}.") for n in range(4)]) as provider:
        session = host.agent(provider, middleware=[masked]).session()
        for n in range(4):
            await session.run(f"Question x{n}?")
        raws = [r.body["messages"] for r in provider.requests]
        for before, after in itertools.pairwise(raws):
            plain = [m for m in before if "cache_control" not in str(m)]
            assert plain == after[: len(plain)]
        assert "x" not in str([m["content"] for m in raws[-1] if m["role"] == "user"])


async def test_which_model_is_asked_cannot_be_changed(host: Host) -> None:
    @middleware("model")
    async def elsewhere(request: ModelRequest, next: Any) -> ModelResponse:
        return await next(request.replace(head=msgspec.structs.replace(request.head, model="another")))

    async with ScriptedProvider([]) as provider:
        with pytest.raises(HookError) as caught:
            await host.agent(provider, middleware=[elsewhere]).run("Hi")
        assert caught.value.code == "middleware_request"


# --- what goes wrong ---------------------------------------------------------------------------------------------------


async def swallowing(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        if not isinstance(event, ResponseEnded):
            yield event


async def failing(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield event
        if isinstance(event, TextDelta):
            raise ValueError("no more")


async def nonsense(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[Any]:
    async for _ in events:
        yield "nonsense"


async def no_generator(events: AsyncIterator[DecoderEvent]) -> None:
    return None


@pytest.mark.parametrize(
    ("stage", "code"),
    [
        (swallowing, "end_swallowed"),
        (failing, "middleware_failed"),
        (nonsense, "middleware_result"),
    ],
)
async def test_a_stage_that_fails_is_an_error_of_the_hook_branch(any_host: Host, stage: Any, code: str) -> None:
    """S4, T2: the attempt fails and is not tried again, what was used is counted, nothing half stays, the connection is free."""

    @middleware("model")
    async def bad(request: ModelRequest, next: Any) -> ModelResponse:
        return (await next(request)).through(stage)

    async with ScriptedProvider([reply("Hello there.", usage=Usage(30, 7)), reply("Well.")]) as provider:
        agent = any_host.agent(provider)
        session = agent.session()
        remove = agent.extensions.add_middleware(bad)
        with pytest.raises(HookError) as caught:
            await session.run("Hi")
        assert caught.value.code == code and caught.value.info.branch == "hook"
        result = caught.value.result
        assert result is not None and result.reason == "error"
        assert len(provider.requests) == 1
        if code == "end_swallowed":
            assert (result.usage.input_tokens, result.usage.output_tokens) == (30, 7)
        assert [m.text for m in session.messages] == ["Hi"]
        remove()
        assert (await session.run("Again")).text == "Well."


async def test_a_stage_that_is_no_generator(any_host: Host) -> None:
    """It is known before anything is read, so the request may not even have been heard."""

    @middleware("model")
    async def bad(request: ModelRequest, next: Any) -> ModelResponse:
        return (await next(request)).through(cast("Any", no_generator))

    async with ScriptedProvider([repeat(reply("Well."))]) as provider:
        agent = any_host.agent(provider)
        session = agent.session()
        remove = agent.extensions.add_middleware(bad)
        with pytest.raises(HookError) as caught:
            await session.run("Hi")
        assert caught.value.code == "middleware_result" and len(provider.requests) <= 1
        assert [m.text for m in session.messages] == ["Hi"]
        remove()
        assert (await session.run("Again")).text == "Well."


@pytest.mark.parametrize("when", ["before", "after", "nothing"])
async def test_a_middleware_that_fails(host: Host, when: str) -> None:
    @middleware("model")
    async def broken(request: ModelRequest, next: Any) -> Any:
        if when == "before":
            raise KeyError("lost")
        await next(request)
        if when == "after":
            raise KeyError("lost")

    async with ScriptedProvider([] if when == "before" else [reply("Unheard.")]) as provider:
        with pytest.raises(HookError) as caught:
            await host.agent(provider, middleware=[broken]).run("Hi")
        wanted = "middleware_result" if when == "nothing" else "middleware_failed"
        assert caught.value.code == wanted and "broken" in caught.value.message
        if when != "before":
            await provider.reached("left")


async def test_an_error_of_its_own_may_be_retryable(host: Host) -> None:
    """The machine decides by what the error says of itself."""

    @middleware("model")
    async def flaky(request: ModelRequest, next: Any) -> ModelResponse:
        if request.attempt == 1:
            raise ProviderError(ErrorInfo("provider", "overloaded", "Not now.", retryable=True, retry_after_s=0))
        return await next(request)

    async with ScriptedProvider([reply("Now.")]) as provider:
        assert (await host.agent(provider, middleware=[flaky]).run("Hi")).text == "Now."


async def test_the_end_of_a_call_is_told_once_however_it_ends(host: Host) -> None:
    ends: list[Ended] = []

    @middleware("model")
    async def watching(request: ModelRequest, next: Any) -> ModelResponse:
        return (await next(request)).at_end(ends.append)

    script = [reply("Well."), fail(400), reply(text("On ", "and ", "on ", "and on"), stall_after_event=4)]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, middleware=[watching]).session()
        await session.run("Hi")
        with pytest.raises(ProviderError):
            await session.run("Hi")
        async with session.stream("Hi") as turn:
            await read_until(turn, TextDelta)
        assert [(e.stop_reason, e.aborted, e.error is not None) for e in ends] == [
            ("stop", False, False),
            (None, False, True),
            (None, True, False),
        ]
        assert ends[0].usage is not None and ends[0].first_event_s is not None
        assert ends[2].usage is not None and ends[2].usage.provenance != "reported"


# --- flow and cancellation ---------------------------------------------------------------------------------------------


class Seen:
    """A stage that notes what passes, and that it was closed."""

    def __init__(self) -> None:
        self.events: list[DecoderEvent] = []
        self.closed_in: list[Any] = []

    async def stage(self, events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
        try:
            async for event in events:
                self.events.append(event)
                yield event
        finally:
            self.closed_in.append(asyncio.current_task())

    async def model(self, request: ModelRequest, next: Any) -> ModelResponse:
        return (await next(request)).through(self.stage)


async def test_nothing_is_read_ahead(host: Host) -> None:
    """C5, backpressure: with a stage in its way an endless answer is read only as fast as its consumer asks."""
    seen = Seen()
    async with ScriptedProvider([reply(repeated("word "))]) as provider:
        async with host.agent(provider, middleware=[seen]).session().stream("Go") as turn:
            await read_until(turn, TextDelta)
            await provider.reached("blocked")
            before = len(seen.events)
            for _ in range(50):
                await asyncio.sleep(0)
            assert len(seen.events) == before
            assert provider.bytes_written < 8 << 20  # what sockets hold, which may still grow a little
        await provider.reached("left")
        assert len(seen.closed_in) == 1


@pytest.mark.parametrize("how", ["leave", "interrupt", "cancel", "runtime"])
async def test_an_early_end_closes_stages_in_a_task_of_ours(host: Host, how: str) -> None:
    """C1, C2, C3: the connection is dropped, the stages are closed, in the task that they ran in."""
    seen = Seen()
    async with ScriptedProvider([reply(text("One, ", "two, ", "three, ", "four."), stall_after_event=4)]) as provider:
        async with Runtime() as runtime:
            session = host.agent(provider, middleware=[seen], runtime=runtime).session()
            ours = asyncio.current_task()

            told: list[Event] = []

            async def reading() -> list[Event]:
                async with session.stream("Go") as turn:
                    return await read_all(turn, told)

            if how == "leave":
                async with session.stream("Go") as turn:
                    await read_until(turn, TextDelta)
                result = turn.result
                assert result.reason == "interrupted"
            else:
                task = asyncio.ensure_future(reading())
                await provider.reached("stalled")
                await until(lambda: seen.events and any(isinstance(event, TextDelta) for event in told))
                if how == "interrupt":
                    session.interrupt()
                    assert assert_ended(await task).result.text.startswith("One")
                elif how == "cancel":
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                else:
                    await runtime.close()
                    await task
            await until(lambda: seen.closed_in)
            assert len(seen.closed_in) == 1 and seen.closed_in[0] is not ours
        await provider.reached("left")


async def test_cancelling_a_pending_read_loses_nothing(host: Host) -> None:
    """C3: the stage goes on, and the next read gets what came."""
    async with ScriptedProvider([reply(text("One, ", "two, ", "three, ", "four."), stall_after_event=4)]) as provider:
        async with host.agent(provider, middleware=[through]).session().stream("Go") as turn:
            events = await read_until(turn, TextDelta)
            await provider.reached("stalled")
            cancelled = 0
            while cancelled < 3:
                waiting = asyncio.ensure_future(turn.__anext__())
                for _ in range(5):
                    await asyncio.sleep(0)
                waiting.cancel()
                try:
                    events.append(await waiting)
                except asyncio.CancelledError:
                    cancelled += 1
            provider.release()
            events += await read_all(turn)
        assert "".join([e.text for e in of(TextDelta, events)]) == "One, two, three, four."
        assert turn.result.reason == "completed"


@pytest.mark.parametrize("where", ["before", "stage"])
async def test_interrupt_while_a_middleware_waits(host: Host, where: str) -> None:
    """C1: waiting in a middleware is one more phase in which an interrupt works."""
    entered = asyncio.Event()

    async def stuck(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
        async for event in events:
            entered.set()
            await asyncio.Event().wait()
            yield event

    @middleware("model")
    async def waiting(request: ModelRequest, next: Any) -> ModelResponse:
        if where == "before":
            entered.set()
            await asyncio.Event().wait()
        return (await next(request)).through(stuck)

    async with ScriptedProvider([] if where == "before" else [reply("Unheard.")]) as provider:
        session = host.agent(provider, middleware=[waiting]).session()
        task = asyncio.ensure_future(session.run("Hi"))
        await entered.wait()
        session.interrupt()
        assert (await task).reason == "interrupted"


@pytest.mark.parametrize("shown", [0, 1])
def test_a_stage_that_hangs_ends_in_time(shown: int) -> None:
    """C5: a stage that does not go on is given up like a provider that is silent, and named; what it gave before is seen."""

    async def stuck(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
        async for event in events:
            if not shown:
                await asyncio.Event().wait()
            yield event
            if isinstance(event, TextDelta):
                await asyncio.Event().wait()

    @middleware("model")
    async def hanging(request: ModelRequest, next: Any) -> ModelResponse:
        return (await next(request)).through(stuck)

    async def main() -> None:
        async with ScriptedProvider([reply(text("One, ", "two."))]) as provider:
            agent = Host("anthropic", streamed=True).agent(
                provider, middleware=[hanging], deadlines=Deadlines(idle_s=5)
            )
            began = asyncio.get_running_loop().time()
            async with agent.session().stream("Hi") as turn:
                events = await read_all(turn)
            error = turn.result.error
            assert error is not None and error.code == "middleware_timeout"
            assert "".join([e.text for e in of(TextDelta, events)]) == ["", "One, "][shown]
            assert asyncio.get_running_loop().time() - began < 11

    in_virtual_time(main)()


# --- where else models are asked ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mw", [plain, through, whole, shouting])
async def test_single_requests_go_through_what_the_runtime_has(any_host: Host, mw: Any) -> None:
    """H1: what is offered fires from the real path: `models.complete` and `stream`, too."""
    calls: list[ModelRequest] = []

    @middleware("model")
    async def counting(request: ModelRequest, next: Any) -> ModelResponse:
        calls.append(request)
        return await next(request)

    async with (
        ScriptedProvider([reply("Hello.", usage=Usage(9, 2)), reply("Hello.", usage=Usage(9, 2))]) as provider,
        Runtime(middleware=[counting, mw]) as runtime,
    ):
        model = Model(f"{any_host.name}:a-model", base_url=any_host.url(provider), api_key="test")
        wanted = "HELLO." if mw is shouting else "Hello."
        done = await complete("Hi", model=model, runtime=runtime)
        assert done.text == wanted and done.usage.total_tokens == 11
        async with stream("Hi", model=model, runtime=runtime) as events:
            shown = [e async for e in events]
        assert "".join([e.text for e in of(TextDelta, shown)]) == wanted
        assert [c.session for c in calls] == ["", ""] and calls[0].model.endswith(":a-model")


async def test_summaries_go_through_what_the_agent_has(host: Host) -> None:
    """H1: a compaction's own model call has the agent's middleware around it."""
    asked: list[str] = []

    @middleware("model")
    async def watching(request: ModelRequest, next: Any) -> ModelResponse:
        asked.append(request.session)
        return await next(request)

    script = [reply("word " * 200), reply("word " * 200), reply(SUMMARY)]
    async with ScriptedProvider(script) as provider:
        compaction = Compaction(strategies=(Summarise(),), keep_turns=1, keep_tokens=10)
        session = host.agent(provider, middleware=[watching], compaction=compaction).session()
        await session.run("Say words.")
        await session.run("More words.")
        report = await session.compact()
        assert report.compacted
        assert asked == [session.id, session.id, ""]


async def test_order_is_that_of_the_list_the_runtime_outermost(host: Host) -> None:
    order: list[str] = []

    def named(name: str) -> Any:
        @middleware("model")
        async def one(request: ModelRequest, next: Any) -> ModelResponse:
            order.append(f"{name} in")
            response = await next(request)
            order.append(f"{name} out")
            return response

        return one

    async with ScriptedProvider([reply("Hi.")]) as provider, Runtime(middleware=[named("runtime")]) as runtime:
        await host.agent(provider, middleware=[named("a"), named("b")], runtime=runtime).run("Hi")
    assert order == ["runtime in", "a in", "b in", "b out", "a out", "runtime out"]


@pytest.mark.parametrize("given", [lambda r, n: n(r), Seen, "model", object()])
def test_what_is_no_middleware_is_refused_at_once(given: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Agent("openai:gpt-5", middleware=[given])
    assert caught.value.code == "not_middleware"


def test_a_kind_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigError):
        middleware("step")  # type: ignore[arg-type]


async def test_added_and_removed_between_steps(host: Host) -> None:
    """What is added holds from the next model call on, and so does what is removed."""
    calls: list[int] = []

    @middleware("model")
    async def counting(request: ModelRequest, next: Any) -> ModelResponse:
        calls.append(request.step)
        return await next(request)

    async with ScriptedProvider(
        [reply(call("weather", city="Oslo")), reply(call("weather", city="Rome")), reply("Ok.")]
    ) as p:
        agent = host.agent(p, weather)
        async with agent.session().steps("Go") as steps:
            await steps.__anext__()
            remove = agent.extensions.add_middleware(counting)
            await steps.__anext__()
            remove()
            async for _ in steps:
                pass
        assert calls == [2] and steps.result.text == "Ok."


async def test_a_limit_that_forbids_the_request_unwinds_the_middleware(host: Host) -> None:
    """H3: the budget is weighed on the very request, innermost; nothing is sent, and the middleware is cancelled, not failed."""
    ends: list[str] = []

    @middleware("model")
    async def watching(request: ModelRequest, next: Any) -> ModelResponse:
        try:
            return await next(request)
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    async with ScriptedProvider([]) as provider:
        agent = host.agent(provider, middleware=[watching], limits=Limits(tokens=5))
        result = await agent.run("word " * 100)
        assert (result.reason, result.cause) == ("limit", "tokens") and ends == ["cancelled"]


async def test_hooks_of_a_step_are_outside_of_it(any_host: Host) -> None:
    """A middleware sees the request as hooks have made it; hooks see the answer as stages have made it, once."""
    from turnwise.hooks import Continue, Modify, hook

    asked: list[ModelRequest] = []
    answers: list[str] = []

    @hook("step.before")
    async def reminding(context: Any) -> Any:
        return Modify(msgspec.structs.replace(context.value, instructions="Be brief.", reminder="Now."))

    @hook("step.after")
    async def watching(context: Any) -> Any:
        answers.append(context.value.text)
        return Continue()

    @middleware("model")
    async def noting(request: ModelRequest, next: Any) -> ModelResponse:
        asked.append(request)
        return (await next(request)).through(louder)

    async with ScriptedProvider([reply("Hello.")]) as provider:
        agent = any_host.agent(provider, middleware=[noting], hooks=[reminding, watching])
        result = await agent.run("Hi")
        assert result.text == "HELLO." and answers == ["HELLO."]
        assert asked[0].instructions == "Be brief." and "Now." in asked[0].tail
        sent = provider.requests[0].raw.decode()
        assert sent.count("Now.") == 1 and "Be brief." in sent

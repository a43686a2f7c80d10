"""N calls give N outcomes, whatever happens (rules E1 to E4), in call order, each in time."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.runtime.conftest import (
    ANTHROPIC,
    OPENAI,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    of,
    read_all,
    read_until,
    results,
    run_guarded,
    told,
    until,
)

from turnwise import Limits, Runtime, ToolError, tool
from turnwise.core.outcomes import (
    Failed,
    InvalidArguments,
    Ok,
    Timeout,
    UnknownTool,
)
from turnwise.events import Notice, ToolFinished, ToolStarted
from turnwise.testing import RecordedRequest, Reply, ScriptedProvider, call, raw_call, repeat, reply, text

# --- every way to fail ------------------------------------------------------------------------------------------------


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError("even its message is broken")


@tool
async def fails() -> str:
    raise ValueError("the disk is full")


@tool
async def says_no() -> str:
    raise ToolError("there is no such city")


@tool
async def exits() -> str:
    sys.exit(3)


@tool
def exits_in_thread() -> str:
    sys.exit(3)


@tool
async def is_broken() -> str:
    raise Broken


@tool
async def many_at_once() -> str:
    raise ExceptionGroup("both", [ValueError("a"), KeyError("b")])


@tool
async def returns_an_object() -> Any:
    return object()


@tool
async def returns_bytes() -> Any:
    return b"\x00\xff"


@tool
def fails_in_thread() -> str:
    raise OSError("no such device")


@tool
async def stops_iterating() -> str:
    raise StopAsyncIteration


@tool
def stops_iterating_in_thread() -> str:
    raise StopIteration("over")


@tool
async def cancels_itself() -> str:
    raise asyncio.CancelledError


WAYS: list[tuple[Any, str]] = [
    (fails, "the disk is full"),
    (says_no, "there is no such city"),
    (exits, "SystemExit"),
    (exits_in_thread, "SystemExit"),
    (is_broken, "Broken"),
    (many_at_once, "ExceptionGroup"),
    (returns_an_object, "object"),
    (returns_bytes, "bytes"),
    (fails_in_thread, "no such device"),
    (stops_iterating, "StopAsyncIteration"),
    (stops_iterating_in_thread, "StopIteration"),
    (cancels_itself, "cancelled itself"),
]


@pytest.mark.parametrize("way", WAYS, ids=lambda w: w[0].name)
async def test_every_way_to_fail_gives_one_outcome(host: Host, way: tuple[Any, str]) -> None:
    """E1: the call fails, its neighbour does not, the model is told why, the turn goes on."""
    failing, said = way

    @tool
    async def works() -> str:
        return "fine"

    async with ScriptedProvider([reply(call(failing.name), call("works")), reply("I see.")]) as provider:
        async with host.agent(provider, failing, works).session().stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert result.text == "I see."
        first, second = results(result)
        assert type(first.outcome) is Failed and said in first.text
        assert (type(second.outcome), second.text) == (Ok, "fine")
        assert said in told(provider.requests[1])[0]


INVALID = ['{"what": ', "[1]", '"x"', "null", "7", '{"what": 7}', "{}", '{"what":"a","nonsense":1}', "{'what': 'a'}"]


@pytest.mark.parametrize("arguments", INVALID)
async def test_bad_arguments_are_quoted_and_never_run(host: Host, arguments: str) -> None:
    """E2: the model reads what was wrong with which text; the tool is not called."""
    ran: list[str] = []

    @tool
    async def look(what: str) -> str:
        ran.append(what)
        return what

    async with ScriptedProvider([reply(raw_call("look", arguments)), reply("I see.")]) as provider:
        async with host.agent(provider, look).session().stream("Hi") as turn:
            events = await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert type(got.outcome) is InvalidArguments and not ran
        assert repr(arguments) in got.text
        assert repr(arguments) in told(provider.requests[1])[0]
        assert len(of(ToolStarted, events)) == len(of(ToolFinished, events)) == 1


@pytest.mark.parametrize("arguments", ["", "  ", "{}"])
async def test_blank_arguments_mean_none(host: Host, arguments: str) -> None:
    """E2."""

    @tool
    async def look(what: str = "everything") -> str:
        return what

    async with ScriptedProvider([reply(raw_call("look", arguments)), reply("I see.")]) as provider:
        assert [r.text for r in results(await host.agent(provider, look).run("Hi"))] == ["everything"]


async def test_unknown_tool(any_host: Host) -> None:
    """E1, E4: nothing runs, the model is told the name, and the call has a start and an end all the same."""
    async with ScriptedProvider([reply(call("look_up", what="x")), reply("I see.")]) as provider:
        async with any_host.agent(provider, fails).session().stream("Hi") as turn:
            events = await read_all(turn)
        (got,) = results(assert_ended(events).result)
        assert got.outcome == UnknownTool("look_up") and "look_up" in told(provider.requests[1])[0]
        assert [e.call_id for e in of(ToolStarted, events)] == [got.call_id]


async def test_denied_calls_have_a_start_and_an_end(host: Host) -> None:
    """E4."""
    script = [reply(call("fails"), call("fails"))]
    async with ScriptedProvider(script) as provider:
        async with host.agent(provider, fails, limits=Limits(calls=1)).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert_ended(events)
        assert len(of(ToolStarted, events)) == len(of(ToolFinished, events)) == 2


# --- in time -----------------------------------------------------------------------------------------------------------


async def test_a_thread_that_does_not_end_is_given_up(host: Host) -> None:
    """E3: the call ends in time and says that it may still run; the thread is counted; its late result is dropped, with
    a notice."""
    release = threading.Event()
    second = asyncio.Event()

    @tool(timeout_s=0.05)
    def block() -> str:
        release.wait(20)
        return "too late"

    @tool
    async def wait() -> str:
        await second.wait()
        return "in time"

    async with Runtime() as runtime, ScriptedProvider([reply(call("block"), call("wait")), reply("So.")]) as provider:
        try:
            async with host.agent(provider, block, wait, runtime=runtime).session().stream("Hi") as turn:
                events = await read_until(turn, ToolFinished)
                (got,) = [e.result for e in of(ToolFinished, events)]
                assert got.outcome == Timeout(0.05, still_running=True) and "may still be running" in got.text
                assert runtime.blocking.abandoned == 1
                release.set()
                await until(lambda: runtime.blocking.abandoned == 0)
                for _ in range(5):
                    await asyncio.sleep(0)
                second.set()
                events += await read_all(turn)
            assert [n.code for n in of(Notice, events)] == ["late_result"]
            assert [r.text for r in results(assert_ended(events).result)] == [got.text, "in time"]
        finally:
            release.set()


async def test_a_coroutine_that_does_not_end_is_given_up(host: Host) -> None:
    """E3: as with threads."""
    release, second = asyncio.Event(), asyncio.Event()

    @tool(timeout_s=0.05)
    async def deaf() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "too late"

    @tool
    async def wait() -> str:
        await second.wait()
        return "in time"

    async with Runtime() as runtime, ScriptedProvider([reply(call("deaf"), call("wait")), reply("So.")]) as provider:
        try:
            session = host.agent(provider, deaf, wait, runtime=runtime).session()
            async with session.stream("Hi") as turn:
                events = await read_until(turn, ToolFinished)
                (got,) = [e.result for e in of(ToolFinished, events)]
                assert got.outcome == Timeout(0.05, still_running=True)
                assert len(runtime.abandoned_bodies) == 1
                release.set()
                await until(lambda: not runtime.abandoned_bodies)
                second.set()
                events += await read_all(turn)
            assert [n.code for n in of(Notice, events)] == ["late_result"]
            assert_ended(events)
            assert_valid(session.messages)
        finally:
            release.set()


async def test_a_coroutine_that_tidies_up_is_waited_for(host: Host) -> None:
    """E3: a body that stops when told is not "still running"."""
    tidied: list[str] = []

    @tool(timeout_s=0.05)
    async def tidy() -> str:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append("yes")
        return ""

    async with ScriptedProvider([reply(call("tidy")), reply("So.")]) as provider:
        (got,) = results(await host.agent(provider, tidy).run("Hi"))
        assert got.outcome == Timeout(0.05) and tidied == ["yes"]


async def test_too_many_abandoned_threads_refuse_further_ones(host: Host) -> None:
    """E3: capped: a tool that hangs again and again cannot use up the machine."""
    release = threading.Event()

    @tool(timeout_s=0.5)
    def block() -> str:
        release.wait(20)
        return ""

    async with Runtime() as runtime:
        calls = [call("block")] * 8
        script = [reply(*calls), reply(call("block")), reply("I give up.")]
        async with ScriptedProvider(script) as provider:
            try:
                result = await host.agent(provider, block, runtime=runtime).run("Hi")
                assert runtime.blocking.abandoned == 8
                last = results(result)[8]
                assert type(last.outcome) is Failed and "would not stop" in last.text
            finally:
                release.set()
            await until(lambda: runtime.blocking.abandoned == 0)


async def test_too_many_abandoned_coroutines_refuse_further_ones(host: Host) -> None:
    """E3: capped, as threads are."""
    release = asyncio.Event()

    @tool(timeout_s=0.01)
    async def deaf() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return ""

    ended = False

    def again(request: RecordedRequest) -> Reply:
        nonlocal ended
        ended = ended or "would not stop" in request.raw.decode()
        return reply("I give up.") if ended or len(request.body["messages"]) > 40 else reply(*[call("deaf")] * 16)

    async with Runtime() as runtime, ScriptedProvider([repeat(again)]) as provider:
        try:
            await host.agent(provider, deaf, runtime=runtime).run("Hi")
            assert ended, f"{len(runtime.abandoned_bodies)} bodies were abandoned and still more were started"
        finally:
            release.set()
            await until(lambda: not runtime.abandoned_bodies)


# --- anything at any time ----------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def zoo() -> AsyncGenerator[dict[str, Callable[..., Any]]]:
    """Tools that end in every way, by name."""
    release = asyncio.Event()

    @tool
    async def quick() -> str:
        return "ok"

    @tool
    async def slow() -> str:
        for _ in range(20):
            await asyncio.sleep(0)
        return "ok"

    @tool(timeout_s=0.01)
    async def late() -> str:
        await release.wait()
        return "never"

    @tool(timeout_s=0.01)
    async def deaf() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "never"

    @tool
    def thread() -> str:
        return "ok"

    @tool(resource="one")
    async def writes() -> str:
        await asyncio.sleep(0)
        return "ok"

    made = {t.name: t for t in (quick, slow, late, deaf, thread, writes, fails, cancels_itself, returns_an_object)}
    try:
        yield made
    finally:
        release.set()


async def anything(host: Host, wanted: list[str], passes: int | None, parallel: int) -> None:
    async with Runtime() as runtime, zoo() as tools:
        parts = [raw_call("quick", "{") if name == "invalid" else call(name) for name in wanted]
        script = [reply(text("Well."), *parts), repeat(reply("So."))]
        async with ScriptedProvider(script) as provider:
            agent = host.agent(provider, *tools.values(), runtime=runtime, parallel_calls=parallel)
            session = agent.session()
            async with session.stream("Hi") as turn:
                reading = asyncio.create_task(read_all(turn))
                if passes is not None:
                    await provider.reached("finished")
                    for _ in range(passes):
                        await asyncio.sleep(0)
                    session.interrupt()
                events = await reading
            result = assert_ended(events).result
            if result.reason == "completed":
                assert len(results(result)) == len(wanted)
                assert [r.call_id for r in results(result)] == [f"t1.s1.c{i}" for i in range(len(wanted))]
                for name, got in zip(wanted, results(result), strict=True):
                    assert type(got.outcome) in EXPECTED.get(name, (Ok,)), (name, got.outcome)
            assert len(of(ToolFinished, events)) in (0, len(wanted))
            await goes_on(session)
        leftover = list(runtime.abandoned_bodies)
    if leftover:
        await asyncio.wait(leftover)


EXPECTED: dict[str, tuple[type, ...]] = {
    "late": (Timeout,),
    "deaf": (Timeout,),
    "fails": (Failed,),
    "cancels_itself": (Failed,),
    "returns_an_object": (Failed,),
    "invalid": (InvalidArguments,),
    "nobody": (UnknownTool,),
}


@examples(25)
@given(
    host=st.sampled_from([ANTHROPIC, OPENAI]),
    wanted=st.lists(st.sampled_from(["quick", "slow", "thread", "writes", *EXPECTED]), min_size=1, max_size=6),
    passes=st.none() | st.integers(0, 40),
    parallel=st.integers(1, 6),
)
def test_any_mixture_gives_one_outcome_each(host: Host, wanted: list[str], passes: int | None, parallel: int) -> None:
    """E1, T1: any tools in any number, run to the end or interrupted at any moment."""
    run_guarded(anything(host, wanted, passes, parallel))

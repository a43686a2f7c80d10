"""Calls run together within their bounds, writers in order; outcomes are told as they come and kept in call order (E4, E5)."""

from __future__ import annotations

import asyncio
import base64
import threading
from typing import Any

import pytest
from tests.runtime.conftest import (
    Host,
    assert_ended,
    in_virtual_time,
    of,
    read_all,
    read_until,
    results,
    told,
)

from turnwise import Image, ToolContext, tool
from turnwise.events import ToolFinished, ToolProgress, ToolStarted
from turnwise.testing import ScriptedProvider, call, reply


@pytest.mark.parametrize("n", [2, 16])
async def test_parallel_calls_are_really_parallel(any_host: Host, n: int) -> None:
    """E5: a barrier that opens only when all have entered."""
    barrier = asyncio.Barrier(n)

    @tool
    async def meet(number: int) -> int:
        await barrier.wait()
        return number

    async with ScriptedProvider([reply(*[call("meet", number=i) for i in range(n)]), reply("All there.")]) as provider:
        result = await any_host.agent(provider, meet, parallel_calls=n).run("Hi")
        assert [r.text for r in results(result)] == [str(i) for i in range(n)]


async def test_threads_are_really_parallel(host: Host) -> None:
    barrier = threading.Barrier(5, timeout=10)

    @tool
    def meet(number: int) -> int:
        barrier.wait()
        return number

    async with ScriptedProvider([reply(*[call("meet", number=i) for i in range(5)]), reply("All there.")]) as provider:
        result = await host.agent(provider, meet).run("Hi")
        assert [r.text for r in results(result)] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("bound", [1, 3])
@pytest.mark.parametrize("of_tool", [True, False], ids=["of the tool", "of the turn"])
async def test_bounds_hold_and_are_used(host: Host, bound: int, of_tool: bool) -> None:
    """E5: never more than the bound are inside, and as many as that do get inside together."""
    inside = most = 0
    entered: list[int] = []

    @tool(concurrency=bound if of_tool else None)
    async def crowd(number: int) -> str:
        nonlocal inside, most
        entered.append(number)
        inside += 1
        most = max(most, inside)
        for _ in range(5):
            await asyncio.sleep(0)
        inside -= 1
        return ""

    calls = [call("crowd", number=i) for i in range(9)]
    async with ScriptedProvider([reply(*calls), reply("Out again.")]) as provider:
        await host.agent(provider, crowd, parallel_calls=20 if of_tool else bound).run("Hi")
    assert most == bound and entered == list(range(9))


async def test_a_full_tool_does_not_hold_up_another(host: Host) -> None:
    """E5: what waits for a place in one tool lets the calls of others pass."""
    passed = asyncio.Event()

    @tool(concurrency=1)
    async def narrow(number: int) -> str:
        await passed.wait()
        return ""

    @tool
    async def wide() -> str:
        passed.set()
        return ""

    calls = [call("narrow", number=1), call("narrow", number=2), call("wide")]
    async with ScriptedProvider([reply(*calls), reply("Through.")]) as provider:
        assert (await host.agent(provider, narrow, wide).run("Hi")).text == "Through."


async def test_writers_to_one_resource_go_in_call_order(host: Host) -> None:
    """E5: one after another, in order; other resources and readers do not wait for them."""
    log: list[str] = []
    others = asyncio.Event()

    @tool(resource=lambda a: a.path)
    async def write(path: str, number: int) -> str:
        log.append(f"{path}{number} in")
        if path == "a":
            await others.wait()
        log.append(f"{path}{number} out")
        return ""

    @tool(read_only=True)
    async def read() -> str:
        log.append("read")
        others.set()
        return ""

    calls = [*[call("write", path="a", number=n) for n in range(3)], call("write", path="b", number=9), call("read")]
    async with ScriptedProvider([reply(*calls), reply("Written.")]) as provider:
        await host.agent(provider, write, read).run("Hi")
    assert [line for line in log if line[0] == "a"] == ["a0 in", "a0 out", "a1 in", "a1 out", "a2 in", "a2 out"]
    assert log.index("b9 in") < log.index("a0 out") and log.index("read") < log.index("a0 out")


async def test_results_are_in_call_order_and_events_are_live(any_host: Host) -> None:
    """E4: outcomes are told as they come; the transcript has them in the order of the calls."""
    turn_of = {n: asyncio.Event() for n in range(5)}
    turn_of[4].set()

    @tool
    async def last_first(number: int) -> int:
        await turn_of[number].wait()
        if number:
            turn_of[number - 1].set()
        return number

    async with ScriptedProvider([reply(*[call("last_first", number=i) for i in range(5)]), reply("So.")]) as provider:
        async with any_host.agent(provider, last_first).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert [e.result.text for e in of(ToolFinished, events)] == ["4", "3", "2", "1", "0"]
        assert [r.text for r in results(assert_ended(events).result)] == ["0", "1", "2", "3", "4"]
        assert told(provider.requests[1]) == ["0", "1", "2", "3", "4"]


@in_virtual_time
async def test_ten_tools_of_a_second_take_a_second(any_host: Host) -> None:
    """E5."""

    @tool
    async def nap() -> str:
        await asyncio.sleep(1)
        return ""

    async with ScriptedProvider([reply(*[call("nap")] * 10), reply("Awake.")]) as provider:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await any_host.agent(provider, nap).run("Hi")
        assert 1 <= loop.time() - began < 1.5


async def test_five_calls_of_50_ms_are_three_times_as_fast_together(host: Host) -> None:
    """Proof 5 of the issue, in real time."""

    @tool
    async def nap() -> str:
        await asyncio.sleep(0.05)
        return ""

    async def taken(parallel: int) -> float:
        async with ScriptedProvider([reply(*[call("nap")] * 5), reply("Awake.")]) as provider:
            agent = host.agent(provider, nap, parallel_calls=parallel)
            async with agent.session().stream("Hi") as turn:
                await read_until(turn, ToolStarted)
                began = asyncio.get_running_loop().time()
                await read_until(turn, ToolFinished, lambda e: e.call_id.endswith("c4"))
                took = asyncio.get_running_loop().time() - began
                await read_all(turn)
                return took

    alone = await taken(1)
    assert alone > 0.25
    assert alone >= 3 * min([await taken(5) for _ in range(3)])


async def test_progress_is_live(host: Host) -> None:
    """E4: a report is read while the tool still runs; it carries its data."""
    heard = asyncio.Event()

    @tool
    async def work(ctx: ToolContext[None]) -> str:
        ctx.progress("half", {"percent": 50})
        await heard.wait()
        return "done"

    async with (
        ScriptedProvider([reply(call("work")), reply("Good.")]) as provider,
        host.agent(provider, work).session().stream("Hi") as turn,
    ):
        seen = await read_until(turn, ToolProgress)
        assert seen[-1] == ToolProgress("t1.s1.c0", "half", {"percent": 50})
        heard.set()
        assert_ended(seen + await read_all(turn))


async def test_images_as_results(any_host: Host) -> None:
    """A block that a tool returns reaches the provider; its bytes are nowhere in the result."""

    @tool
    async def draw() -> Any:
        return ["look:", Image.of(b"\x89PNG fake")]

    async with ScriptedProvider([reply(call("draw")), reply("Nice.")]) as provider:
        result = await any_host.agent(provider, draw).run("Hi")
        assert result.text == "Nice." and b"PNG fake" not in repr(result).encode()
        assert base64.b64encode(b"\x89PNG fake") in provider.requests[1].raw

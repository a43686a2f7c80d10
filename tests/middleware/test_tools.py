"""Middleware around tool calls: within the tool's time, one outcome each, nothing changed that was allowed (E1, E3, P2)."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import Host, results, told

from turnwise import ToolContext, ToolError, tool
from turnwise.core.outcomes import Failed, Timeout, ToolResult
from turnwise.middleware import ToolRequest, guardrail, metrics, middleware
from turnwise.testing import ScriptedProvider, call, reply


@tool
async def weather(city: str) -> str:
    """Forecast."""
    return f"{city}: 12 degrees"


async def outcome(host: Host, tool: Any, middleware: Any, **arguments: Any) -> tuple[ToolResult, list[str]]:
    async with ScriptedProvider([reply(call(tool.name, **arguments)), reply("Ok.")]) as provider:
        result = await host.agent(provider, tool, middleware=[middleware]).run("Go")
        return results(result)[0], told(provider.requests[1])


async def test_it_sees_the_call_and_its_result_and_may_change_the_result(host: Host) -> None:
    seen: list[Any] = []

    @middleware("tool")
    async def warmer(request: ToolRequest, next: Any) -> ToolResult:
        result = await next(request)
        seen.append((request.name, request.arguments, request.call_id, request.context.session, result.text))
        return msgspec.structs.replace(result, body="20 degrees", call_id="somebody else's")

    result, heard = await outcome(host, weather, warmer, city="Oslo")
    assert result.text == "20 degrees" and result.call_id == "t1.s1.c0" and heard == ["20 degrees"]
    assert seen[0][0] == "weather" and seen[0][2] == "t1.s1.c0" and seen[0][4] == "Oslo: 12 degrees"


async def test_it_may_answer_in_its_place(host: Host) -> None:
    @middleware("tool")
    async def known(request: ToolRequest, next: Any) -> ToolResult:
        return ToolResult(request.call_id, "as yesterday")

    @tool
    async def never(city: str) -> str:
        raise AssertionError

    assert (await outcome(host, never, known, city="Oslo"))[0].text == "as yesterday"


@pytest.mark.parametrize("when", ["before", "after", "twice", "nothing", "changed"])
async def test_a_middleware_that_fails_fails_the_call(host: Host, when: str) -> None:
    """E1: one outcome, and the model is told; what the body returned was let through by nobody."""

    @middleware("tool")
    async def broken(request: ToolRequest, next: Any) -> Any:
        if when == "before":
            raise ValueError("lost")
        if when == "changed":
            return await next(msgspec.structs.replace(request, arguments={"city": "Rome"}))
        await next(request)
        if when == "twice":
            await next(request)
        if when == "after":
            raise ValueError("lost")
        return None

    result, heard = await outcome(host, weather, broken, city="Oslo")
    assert isinstance(result.outcome, Failed) and result.outcome.error.branch == "hook"
    wanted = {"twice": "next_called_twice", "nothing": "middleware_result", "changed": "middleware_request"}
    assert result.outcome.error.code == wanted.get(when, "middleware_failed")
    assert "12 degrees" not in heard[0]


async def test_a_body_that_fails_is_a_result_for_it(host: Host) -> None:
    seen: list[bool] = []

    @tool
    async def failing() -> str:
        raise ToolError("no luck")

    @middleware("tool")
    async def watching(request: ToolRequest, next: Any) -> ToolResult:
        result = await next(request)
        seen.append(result.is_error)
        return result

    result, _ = await outcome(host, failing, watching)
    assert seen == [True] and "no luck" in result.text


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_the_tools_time_bounds_it(host: Host, where: str, kind: str) -> None:
    """E3: a middleware that hangs is cut off with the call; what the body had returned does not slip past it."""

    @middleware("tool")
    async def hanging(request: ToolRequest, next: Any) -> ToolResult:
        result = await next(request) if where == "after" else None
        await asyncio.Event().wait()
        assert result is not None
        return result

    @tool(timeout_s=0.05)
    async def quick() -> str:
        return "the secret"

    @tool(timeout_s=0.05, name="quick")
    def quick_thread() -> str:
        return "the secret"

    result, heard = await outcome(host, quick if kind == "async" else quick_thread, hanging)
    assert isinstance(result.outcome, Timeout) and not result.outcome.still_running
    assert "secret" not in heard[0]


async def test_interrupt_ends_it(host: Host) -> None:
    """C1: a middleware around a call is cancelled with it."""
    entered = asyncio.Event()

    @middleware("tool")
    async def waiting(request: ToolRequest, next: Any) -> ToolResult:
        entered.set()
        await asyncio.Event().wait()
        return await next(request)

    async with ScriptedProvider([reply(call("weather", city="Oslo"))]) as provider:
        session = host.agent(provider, weather, middleware=[waiting]).session()
        running = asyncio.ensure_future(session.run("Go"))
        await entered.wait()
        session.interrupt()
        assert (await running).reason == "interrupted"


async def test_it_wraps_all_tries_of_a_body_once(host: Host) -> None:
    tries: list[int] = []
    calls: list[str] = []

    @tool(retries=2, idempotent=True)
    async def flaky() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ToolError("again", retryable=True)
        return "there"

    @middleware("tool")
    async def watching(request: ToolRequest, next: Any) -> ToolResult:
        calls.append(request.call_id)
        return await next(request)

    result, _ = await outcome(host, flaky, watching)
    assert result.text == "there" and len(tries) == 3 and calls == ["t1.s1.c0"]


async def test_what_a_stopped_call_had_printed_does_not_slip_past_a_guardrail(host: Host) -> None:
    """P1: a guardrail that never saw it lets nothing of it through."""

    @tool(timeout_s=0.05)
    async def chatty(context: ToolContext[Any]) -> str:
        context.keep(b"the secret so far")
        await asyncio.Event().wait()
        return ""

    for guard, heard_it in ((guardrail("g", lambda said, _: None, on="tool"), False), (metrics("tool"), True)):
        result, heard = await outcome(host, chatty, guard)
        assert isinstance(result.outcome, Timeout) and ("the secret" in heard[0]) is heard_it


async def test_hooks_are_inside_of_it(host: Host) -> None:
    """What a hook of `tool.after` makes of a result is what the middleware sees."""
    from turnwise.hooks import Modify, hook

    seen: list[str] = []

    @hook("tool.after")
    async def warmer(context: Any) -> Any:
        return Modify(msgspec.structs.replace(context.value, body="20 degrees"))

    @middleware("tool")
    async def watching(request: ToolRequest, next: Any) -> ToolResult:
        result = await next(request)
        seen.append(result.text)
        return result

    async with ScriptedProvider([reply(call("weather", city="Oslo")), reply("Ok.")]) as provider:
        await host.agent(provider, weather, middleware=[watching], hooks=[warmer]).run("Go")
    assert seen == ["20 degrees"]

"""What middleware in simulated worlds does: looks on, changes, answers by itself, fails and takes its time; and those that are built in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import ErrorInfo, ProviderError
from ...core.outcomes import OK, ToolResult
from ...middleware import (
    ModelResponse,
    TextDelta,
    cache,
    circuit_breaker,
    concurrency,
    guardrail,
    log,
    metrics,
    middleware,
    rate_limit,
    redact,
    validate,
)
from .given import Given, Trouble
from .loop import SimulatedLoop

if TYPE_CHECKING:
    from ...middleware import DecoderEvent, ModelRequest, ToolRequest, TurnRequest
    from .extensions import Extension


def _around_turns(one: Extension) -> Any:
    @middleware("turn")
    async def turn(request: TurnRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(("wait", "wait", "context", "prompt", "raise", "raise_after", "wait_after", "answer"))
        match what:
            case "wait":
                await one.dawdle()
            case "prompt" if isinstance(request.prompt, str):
                request = request.replace(prompt=f"{request.prompt} Kindly.")
            case "raise":
                raise Trouble("no turn today")
            case "answer":
                return None
            case _:
                pass
        result = await next(request)
        if what == "wait_after":
            await asyncio.sleep(one.draw().choice((0.01, 1.0, 8.0)))
        if what == "raise_after":
            raise Trouble("that was no good")
        return result

    return turn


def _around_models(one: Extension) -> Any:
    @middleware("model")
    async def model(request: ModelRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(
            (
                "wait",
                "louder",
                "louder",
                "slowly",
                "look",
                "tail",
                "instruct",
                "raise",
                "overloaded",
                "raise_after",
                "abort",
                "answer",
                "read",
            )
        )
        where = request.session, request.turn, request.step
        match what:
            case "wait":
                await one.dawdle()
            case "tail":
                request = request.replace(tail="<reminder>Be quick.</reminder>")
            case "instruct":
                request = request.replace(instructions=f"{request.instructions} Be kind.")
            case "raise":
                raise Trouble("nothing is asked today")
            case "overloaded":
                raise ProviderError(ErrorInfo("provider", "overloaded", "Too much.", "Later.", retryable=True))
            case "answer":
                one.of.gives(where, Given("A middleware says so.", ()))
                return ModelResponse.text("A middleware says so.")
            case _:
                pass
        response: ModelResponse = await next(request)
        match what:
            case "louder":
                one.of.gives(where, Given(louder=True))
                return response.through(_louder)
            case "slowly":
                return response.through(_slowly)
            case "look":
                return response.at_end(lambda ended: one.note(f"ended {ended.stop_reason}"))
            case "raise_after":
                raise Trouble("no answer is good enough")
            case "abort":
                response.abort(ProviderError(ErrorInfo("provider", "overloaded", "Enough.", "Later.", retryable=True)))
                return response
            case "read":
                return ModelResponse.of([event async for event in response.events()])
            case _:
                return response

    return model


async def _louder(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield msgspec.structs.replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event


async def _slowly(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        await asyncio.sleep(0.02)
        yield event


def _around_tools(one: Extension) -> Any:
    @middleware("tool")
    async def tool(request: ToolRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(("wait", "wait", "raise", "raise_after", "answer", "change", "hang"))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        key = loop.home.name, request.session, request.call_id
        one.of.blocked.pop(key, None)
        if what in ("raise", "answer", "hang"):
            one.of.blocked[key] = one.plan.name
        match what:
            case "wait":
                await one.dawdle()
            case "raise":
                raise Trouble("no tools today")
            case "answer":
                return ToolResult(request.call_id, "in its place", OK)
            case "hang":
                await loop.create_future()
            case _:
                pass
        result: ToolResult = await next(request)
        if what == "raise_after":
            raise Trouble("that was no good")
        if what == "change":
            return msgspec.structs.replace(result, body="changed")
        return result

    return tool


def _cached(one: Extension) -> Any:
    one.of.caches = True
    return cache(ttl_s=600.0, stale_while_error_s=3000.0, scope="session")


def _guarded(one: Extension) -> Any:
    on = one.draw().choice(("input", "output", "tool"))

    async def check(text: str, request: Any) -> str | None:
        await one.dawdle()
        what = one.does(("trip", "raise"))
        if what == "raise":
            raise Trouble("it cannot be checked")
        return "that will not do" if what else None

    return guardrail(
        one.plan.name,
        check,
        on=on,
        parallel=one.draw().random() < 0.5,
        every_chars=one.draw().choice((None, 10)),
        ends_turn=one.draw().random() < 0.5,
        timeout_s=2.0,
        fail=one.plan.fail,
    )


MIDDLEWARE: dict[str, Callable[[Extension], Any]] = {
    "turn": _around_turns,
    "model": _around_models,
    "tool": _around_tools,
    "cache": _cached,
    "guardrail": _guarded,
    "rate_limit": lambda one: rate_limit(20, max_wait_s=one.draw().choice((None, 2.0)), per="session"),
    "concurrency": lambda one: concurrency(2, per="session", of=("model", "tool")),
    "redact": lambda one: redact(secrets=["lomi", "kakaka", "done"], from_environment=False),
    "validate": lambda one: validate(output={"type": "string"}, on="tool", tools=("look",)),
    "circuit_breaker": lambda one: circuit_breaker(least=3, open_s=20.0),
    "metrics": lambda one: metrics(),
    "log": lambda one: log(_QUIET),
}
_QUIET = logging.Logger("turnwise.simulation", logging.CRITICAL)

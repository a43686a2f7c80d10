"""Guardrails: beside the model call, before anything is shown, and closed when they break (P1)."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from tests.runtime.conftest import ANTHROPIC, Host, assert_ended, in_virtual_time, of, read_all, results, until

from turnwise import Model, Runtime, tool
from turnwise.core.outcomes import Denied, Timeout
from turnwise.core.usage import Usage
from turnwise.errors import ConfigError, HookError
from turnwise.events import Notice, TextDelta
from turnwise.middleware import guardrail
from turnwise.models import complete
from turnwise.testing import ScriptedProvider, call, fail, repeat, reply, text


class Check:
    """A check that is let go by hand."""

    def __init__(self, verdict: Any = None) -> None:
        self.verdict = verdict
        self.asked: list[str] = []
        self.go = asyncio.Event()

    async def __call__(self, text: str, request: Any) -> Any:
        self.asked.append(text)
        await self.go.wait()
        if isinstance(self.verdict, Exception):
            raise self.verdict
        return self.verdict


async def test_an_input_is_checked_beside_the_call_and_held_back_until_then(any_host: Host) -> None:
    check = Check()
    async with ScriptedProvider([reply("Hello.")]) as provider:
        session = any_host.agent(provider, middleware=[guardrail("polite", check)]).session()
        async with session.stream("Hi") as turn:
            shown: list[Any] = []
            reading = asyncio.ensure_future(read_all(turn, shown))
            await provider.reached("finished")
            for _ in range(50):
                await asyncio.sleep(0)
            assert not of(TextDelta, shown)
            check.go.set()
            await reading
        assert turn.result.text == "Hello." and check.asked == ["Hi"]


async def test_a_tripwire_needs_no_reader(host: Host) -> None:
    check = Check("that is rude")
    async with ScriptedProvider([reply("Hello.", stall_before_headers=True)]) as provider:
        session = host.agent(provider, middleware=[guardrail("polite", check)]).session()
        async with session.stream("Hi") as turn:
            await provider.reached("stalled")
            check.go.set()
            for _ in range(100):
                await asyncio.sleep(0)
            over = turn.over
        assert over


@pytest.mark.parametrize("when", ["headers", "stream", "unread"])
async def test_a_tripwire_ends_the_turn_at_once(host: Host, when: str) -> None:
    """The call is aborted, what it took is counted, nothing of it is kept, and the reason is clear; whether or not anybody reads."""
    check = Check("that is rude")
    stalled = {"stall_before_headers": True} if when == "headers" else {"stall_after_event": 4}
    script = [reply(text("One, ", "two, ", "three, ", "four, ", "five."), **stalled), reply("Better.")]  # type: ignore[arg-type]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, middleware=[guardrail("polite", check)]).session()
        async with session.stream("Hi") as turn:
            reading = None if when == "unread" else asyncio.ensure_future(read_all(turn))
            await provider.reached("stalled")
            check.go.set()
            async with asyncio.timeout(5):
                result = await turn.wait()
            if reading is not None:
                events = await reading
                assert not of(TextDelta, events) and assert_ended(events).result == result
            await provider.reached("left")
        assert (result.reason, result.cause) == ("stopped", "guardrail:polite")
        assert [m.text for m in session.messages] == ["Hi"]  # type: ignore[union-attr]
        check.verdict = None
        assert (await session.run("Please")).text == "Better."


async def test_what_a_tripped_call_took_is_counted(host: Host) -> None:
    """S4: the provider's own number if it had been said, an estimate else."""
    check = Check("no")
    check.go.set()
    async with ScriptedProvider([reply("Hello.", usage=Usage(50, 5))]) as provider:
        guard = guardrail("out", check, on="output")
        result = await host.agent(provider, middleware=[guard]).run("Hi")
        assert (result.reason, result.cause, result.usage.total_tokens) == ("stopped", "guardrail:out", 55)
        assert guard.tripped == 1


async def test_before_the_call_nothing_is_sent(host: Host) -> None:
    check = Check("no")
    check.go.set()
    async with ScriptedProvider([]) as provider:
        agent = host.agent(provider, middleware=[guardrail("first", check, parallel=False)])
        result = await agent.run("Hi")
        assert result.cause == "guardrail:first" and result.usage.total_tokens is None and not provider.requests


@pytest.mark.parametrize("on", ["input", "output"])
@pytest.mark.parametrize("parallel", [True, False])
@pytest.mark.parametrize("how", ["raises", "hangs"])
async def test_a_broken_check_is_a_no(host: Host, on: Any, parallel: bool, how: str) -> None:
    """P1: an error in the check, or no answer in time, lets nothing through; unless it is said to be open."""
    for mode, text_ in (("closed", ""), ("open", "Hello.")):
        check = Check(ValueError("broken"))
        if how == "raises":
            check.go.set()
        async with ScriptedProvider([repeat(reply("Hello."))]) as provider:
            guard = guardrail("g", check, on=on, parallel=parallel, timeout_s=0.05, fail=mode)  # type: ignore[arg-type]
            session = host.agent(provider, middleware=[guard]).session()
            async with session.stream("Hi") as turn:
                events = await read_all(turn)
            assert turn.result.text == text_
            if mode == "open":
                assert "guardrail_failed" in [e.code for e in of(Notice, events)]
            else:
                assert turn.result.cause == "guardrail:g"


async def test_output_is_shown_as_far_as_it_was_checked(host: Host) -> None:
    seen: list[str] = []

    def check(said: str, request: Any) -> Any:
        seen.append(said)
        return "too much" if "three" in said else None

    words = text("one ", "two ", "three ", "four ")
    async with ScriptedProvider([reply(words, pace_s=0)]) as provider:
        guard = guardrail("count", check, on="output", every_chars=4)
        async with host.agent(provider, middleware=[guard]).session().stream("Go") as turn:
            events = await read_all(turn)
        assert "".join([e.text for e in of(TextDelta, events)]) == "one two "
        assert turn.result.cause == "guardrail:count" and seen == ["one ", "one two ", "one two three "]


async def test_calls_pass_when_the_words_do(any_host: Host) -> None:
    """S5, S7: a held response is the same response."""

    @tool
    async def look() -> str:
        return "seen"

    async with ScriptedProvider([reply("Let me.", call("look"), call("look")), reply("Ok.")]) as provider:
        guard = guardrail("ok", lambda said, request: None, on="output")
        result = await any_host.agent(provider, look, middleware=[guard]).run("Go")
        assert result.text == "Ok." and len(results(result)) == 2 and result.calls == 2


@pytest.mark.parametrize("ends_turn", [True, False])
async def test_a_tools_result_is_held_back(host: Host, ends_turn: bool) -> None:
    """The call is denied, in words for the model; or the turn ends, with all calls of the step answered (T1)."""

    @tool
    async def read(what: str) -> str:
        return f"contents of {what}"

    script = [reply(call("read", what="diary"), call("read", what="menu"))] + ([] if ends_turn else [reply("I see.")])
    async with ScriptedProvider(script) as provider:
        guard = guardrail(
            "private", lambda said, _: "private" if "diary" in said else "", on="tool", ends_turn=ends_turn
        )
        session = host.agent(provider, read, middleware=[guard]).session()
        result = await session.run("Read")
        one, two = results(result)
        assert isinstance(one.outcome, Denied) and "contents" not in one.text and two.text == "contents of menu"
        assert result.cause == ("guardrail:private" if ends_turn else "") and result.steps == (1 if ends_turn else 2)


@in_virtual_time
async def test_a_result_that_comes_too_late_is_no_longer_held_back() -> None:
    """E1: the call has ended long ago; nothing is on record of what becomes of its result, least of all in another turn."""

    @tool(timeout_s=1)
    async def deaf() -> str:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + 5
        while (left := until_s - loop.time()) > 0:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(left)
        return "a diary"

    seen: list[str] = []

    def check(said: str, _: object) -> str:
        seen.append(said)
        return "private"

    guard = guardrail("private", check, on="tool", ends_turn=True)
    async with Runtime() as runtime, ScriptedProvider([reply(call("deaf")), repeat(reply("Done."))]) as provider:
        session = ANTHROPIC.agent(provider, deaf, middleware=[guard], runtime=runtime).session()
        result = await session.run("Read")
        (only,) = results(result)
        assert isinstance(only.outcome, Timeout) and result.reason == "completed"
        before = session.state.seq
        await asyncio.sleep(30)
        assert seen == ["a diary"] and session.state.seq == before


async def test_a_text_that_passed_is_not_checked_again(host: Host) -> None:
    check = Check()
    check.go.set()
    script = [fail(529, headers={"retry-after": "0"}), reply("Hello."), reply("Hello again.")]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, middleware=[guardrail("g", check)]).session()
        await session.run("Hi")
        await session.run("Again")
        assert check.asked == ["Hi", "Again"]


async def test_interrupt_while_it_checks(host: Host) -> None:
    """C1: and the check's task goes with the turn."""
    check = Check()
    async with ScriptedProvider([reply("Hello.")]) as provider, Runtime() as runtime:
        session = host.agent(provider, middleware=[guardrail("g", check)], runtime=runtime).session()
        running = asyncio.ensure_future(session.run("Hi"))
        await provider.reached("finished")
        session.interrupt()
        assert (await running).reason == "interrupted"
        await until(lambda: not runtime._tasks)  # pyright: ignore[reportPrivateUsage]


async def test_a_single_request_raises_what_tripped(host: Host) -> None:
    check = Check("no")
    check.go.set()
    async with (
        ScriptedProvider([reply("Hello.")]) as provider,
        Runtime(middleware=[guardrail("g", check, on="output")]) as runtime,
    ):
        model = Model(f"{host.name}:m", base_url=host.url(provider), api_key="test")
        with pytest.raises(HookError) as caught:
            await complete("Hi", model=model, runtime=runtime)
        assert caught.value.code == "guardrail_tripped"


@pytest.mark.parametrize("bad", [{"on": "moon"}, {"fail": "ajar"}, {"timeout_s": 0}, {"every_chars": 0}])
def test_settings_that_make_no_sense(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        guardrail("g", lambda said, request: None, **bad)

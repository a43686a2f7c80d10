"""What goes wrong with the provider: what is tried again and what is not (S3), what is never run (S7), and what the error says."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from tests.runtime.conftest import (
    ANTHROPIC,
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    in_virtual_time,
    names,
    of,
    read_all,
    said,
    told,
)

from turnwise import Agent, Retry, Runtime, tool
from turnwise.core.outcomes import Cancelled
from turnwise.errors import ConfigError, ProviderError
from turnwise.events import AttemptRestarted, StepStarted, TextDelta, ToolFinished
from turnwise.testing import Reply, ScriptedProvider, call, error_event, fail, raw, repeat, reply, text

ONCE = Retry(attempts=1)
SOON = Retry(base_delay_s=0)
SAID = "one two three four five six"


@tool
async def look(what: str) -> str:
    return what


# --- tried again -------------------------------------------------------------------------------------------------------

BROKEN: dict[str, Reply] = {
    "no end": reply(text(SAID), missing="end"),
    "reset in mid-body": reply(text(SAID), reset_at_byte=700),
    "closed in mid-body": reply(text(SAID), close_at_byte=700),
    "ends in mid-body": reply(text(SAID), end_at_byte=700),
    "error event": reply(text(SAID), error_event("overloaded", type="overloaded_error")),
}
"""Streams that break after some text was shown."""


@pytest.mark.parametrize("broken", ["reset in mid-body", "closed in mid-body"])
async def test_what_a_broken_stream_has_cost_is_counted(host: Host, broken: str) -> None:
    """E10, S4: the provider could not say it any more, so what it had said counts, or an estimate, and says so."""
    async with ScriptedProvider([fail(503), BROKEN[broken], reply("Whole.")]) as provider:
        result = await host.agent(provider, retry=SOON).session().run("Hi")
        whole = result.messages[-1].usage
        assert whole is not None and whole.input_tokens and result.usage.input_tokens
        assert result.usage.input_tokens > whole.input_tokens and result.usage.provenance in ("partial", "estimated")


@pytest.mark.parametrize("broken", BROKEN)
async def test_run_tries_a_broken_stream_again(host: Host, broken: str) -> None:
    """S3: `run` shows nothing, so nothing has to be taken back; the broken attempt leaves no trace (T2)."""
    async with ScriptedProvider([BROKEN[broken], reply("Whole.")]) as provider:
        session = host.agent(provider, retry=SOON).session()
        result = await session.run("Hi")
        assert (result.text, result.steps, len(provider.requests)) == ("Whole.", 1, 2)
        assert said(session) == ["Hi", "Whole."]
        assert provider.requests[0].raw == provider.requests[1].raw


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_stream_that_was_shown_is_not_tried_again(host: Host, broken: str) -> None:
    """S3: text that a watcher has seen is not taken back unless it said that it can; the turn ends with the error."""
    async with ScriptedProvider([BROKEN[broken], reply("Here we are.")]) as provider:
        session = host.agent(provider, retry=SOON).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        shown = "".join([e.text for e in of(TextDelta, events)])
        assert shown and SAID.startswith(shown)
        assert result.reason == "error" and result.error is not None
        assert result.error.commit_phase == "before_commit" and result.error.retryable and result.error.hint
        assert len(provider.requests) == 1 and not of(AttemptRestarted, events)
        assert [type(m).__name__ for m in session.messages] == ["UserMessage"]
        await goes_on(session)


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_watcher_that_can_take_text_back_sees_the_restart(host: Host, broken: str) -> None:
    """S3: with `before_commit` the attempt starts over, the events say so, and only the last attempt counts."""
    async with ScriptedProvider([BROKEN[broken], reply("Whole.")]) as provider:
        async with host.agent(provider, retry=SOON, restart="before_commit").session().stream("Hi") as turn:
            events = await read_all(turn)
        assert assert_ended(events).result.text == "Whole."
        (again,) = of(AttemptRestarted, events)
        assert again.attempt == 2
        assert "".join([e.text for e in of(TextDelta, events) if e.attempt == 2]) == "Whole."
        assert [e.attempt for e in of(StepStarted, events)] == [1, 2]


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "run"])
async def test_before_output_everything_is_tried_again(any_host: Host, streaming: bool) -> None:
    """S3: what fails before anything was shown is tried again for every kind of watcher."""
    script = [fail(503), reply(reset_before_headers=True), raw(b"", content_type="text/event-stream"), reply("Whole.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, retry=SOON).session()
        if streaming:
            async with session.stream("Hi") as turn:
                result = assert_ended(await read_all(turn)).result
        else:
            result = await session.run("Hi")
        assert (result.reason, result.text, len(provider.requests)) == ("completed", "Whole.", 4)


@in_virtual_time
async def test_retry_after_is_honoured(any_host: Host) -> None:
    """The provider's own wish is waited for, to the second; it is told beforehand."""
    async with ScriptedProvider([fail(429, headers={"retry-after": "17"}), reply("Now.")]) as provider:
        began = asyncio.get_running_loop().time()
        async with any_host.agent(provider).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert 17 <= asyncio.get_running_loop().time() - began < 18
        (again,) = of(AttemptRestarted, events)
        assert again.delay_s == 17 and again.error.code == "rate_limit" and again.error.status == 429


@in_virtual_time
async def test_a_retry_after_beyond_reason_ends_the_turn(any_host: Host) -> None:
    async with ScriptedProvider([fail(429, headers={"retry-after": "3600"})]) as provider:
        began = asyncio.get_running_loop().time()
        with pytest.raises(ProviderError) as raised:
            await any_host.agent(provider).run("Hi")
        assert raised.value.info.retry_after_s == 3600
        assert asyncio.get_running_loop().time() - began < 1


class Draws:
    """Chance that always says the same."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(("draw", "waits"), [(0.5, [1.0, 2.0, 4.0, 5.0]), (0.0, [0.0] * 4)])
def test_waits_are_drawn_under_a_growing_cap(host: Host, draw: float, waits: list[float]) -> None:
    """Full jitter: an even draw under a bound that doubles up to `max_delay_s`."""

    @in_virtual_time
    async def run() -> None:
        script = [fail(500)] * 4
        async with Runtime(random=Draws(draw)) as runtime, ScriptedProvider([*script, reply("Now.")]) as provider:
            retry = Retry(attempts=5, base_delay_s=2, max_delay_s=10)
            async with host.agent(provider, retry=retry, runtime=runtime).session().stream("Hi") as turn:
                events = await read_all(turn)
            assert [e.delay_s for e in of(AttemptRestarted, events)] == waits

    run()


async def test_attempts_are_bounded(any_host: Host) -> None:
    async with ScriptedProvider([repeat(fail(500))]) as provider:
        with pytest.raises(ProviderError) as raised:
            await any_host.agent(provider, retry=Retry(attempts=3, base_delay_s=0)).run("Hi")
        assert len(provider.requests) == 3 and raised.value.code == "server"


async def test_retries_of_a_turn_are_bounded(host: Host) -> None:
    """However many steps a turn has, its retries are counted together."""
    step = reply(call("look", what="x"))
    script = [fail(500), step, fail(500), step, fail(500)]
    async with ScriptedProvider(script) as provider:
        with pytest.raises(ProviderError) as raised:
            await host.agent(provider, look, retry=Retry(per_turn=2, base_delay_s=0)).run("Hi")
        assert raised.value.result is not None and raised.value.result.steps == 2


async def test_retries_of_a_key_are_bounded() -> None:
    """An outage is not answered with a storm: all sessions of a runtime that use one key share a budget of retries."""
    async with Runtime() as runtime, ScriptedProvider([repeat(fail(500))]) as provider:
        agent = ANTHROPIC.agent(provider, retry=Retry(attempts=10, base_delay_s=0), runtime=runtime)
        ended = await asyncio.gather(*[agent.run("Hi") for _ in range(30)], return_exceptions=True)
        assert all(isinstance(e, ProviderError) for e in ended)
        assert 30 < len(provider.requests) <= 30 + 50 + 5


# --- never run ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", ["length", "content_filter"])
async def test_calls_of_a_cut_off_response_are_not_run(any_host: Host, stop: str) -> None:
    """S7: their arguments may be half of what was meant; the model is told why."""
    raw_stop = {
        ("anthropic", "length"): "max_tokens",
        ("anthropic", "content_filter"): "refusal",
        ("openai", "length"): "length",
        ("openai", "content_filter"): "content_filter",
    }[any_host.name, stop]
    ran: list[str] = []

    @tool
    async def delete(path: str) -> str:
        ran.append(path)
        return path

    cut = reply(text("I will delete it."), call("delete", path="/"), stop=raw_stop)
    script = [cut, reply("All right.")] if stop == "length" else [cut]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, delete).session()
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        result = assert_ended(events).result
        assert not ran and result.reason == "completed"
        (got,) = of(ToolFinished, events)
        assert type(got.result.outcome) is Cancelled and "cut off" in got.result.text and raw_stop in got.result.text
        assert_valid(session.messages)
        if stop == "length":
            assert "cut off" in told(provider.requests[1])[0] and result.text == "All right."
        else:
            assert result.cause


async def test_calls_of_a_broken_stream_are_not_run(host: Host) -> None:
    """S7: also when the call itself had arrived whole."""
    ran: list[str] = []

    @tool
    async def delete(path: str) -> str:
        ran.append(path)
        return path

    broken = reply(text("I will."), call("delete", path="/"), missing="end")
    async with ScriptedProvider([broken]) as provider:
        session = host.agent(provider, delete).session()
        async with session.stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
        assert result.reason == "error" and result.error is not None and result.error.code == "truncated"
        assert not ran and result.calls == 0


# --- what the error says -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "code", "hint"),
    [
        (fail(401, "bad key"), "auth", "API key"),
        (fail(403, "not yours"), "permission", "key"),
        (fail(404, "no such model"), "not_found", "model"),
        (fail(429, "slow down"), "rate_limit", "wait"),
        (fail(500, "oops"), "server", "again"),
        (fail(529, "busy"), "overloaded", "wait"),
        (fail(400, "bad field"), "invalid_request", "message"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
async def test_http_errors_say_what_to_do(any_host: Host, answer: Reply, code: str, hint: str) -> None:
    async with ScriptedProvider([answer]) as provider:
        with pytest.raises(ProviderError) as raised:
            await any_host.agent(provider, retry=ONCE).run("Hi")
        error = raised.value
        assert (error.code == code and hint in error.hint.lower()) or hint in error.hint
        assert error.message and error.hint in str(error)
        assert error.info.provider == any_host.name and error.info.model == "a-model"
        assert error.info.turn == 1 and error.info.step == 1


async def test_a_refused_connection(host: Host) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    with pytest.raises(ProviderError) as raised:
        await host.agent(url, retry=ONCE).run("Hi")
    assert raised.value.code == "connection_refused" and url in raised.value.message and "port" in raised.value.hint


@pytest.mark.parametrize(
    "answer",
    [
        raw(b"<html><title>Sign in</title></html>", content_type="text/html"),
        raw(b'{"hello": "world"}'),
        raw(b"\x00\xff\xfe garbage", content_type="text/event-stream"),
        raw(b"data: {not json}\n\n", content_type="text/event-stream"),
        raw(b"", content_type="application/json"),
    ],
    ids=["web page", "other JSON", "binary", "not JSON", "empty"],
)
async def test_answers_that_are_none(any_host: Host, answer: Reply) -> None:
    """S8: whatever comes with a 200, the error is typed, and the next turn works."""
    async with ScriptedProvider([answer, reply("Here we are.")]) as provider:
        session = any_host.agent(provider, retry=ONCE).session()
        with pytest.raises(ProviderError) as raised:
            await session.run("Hi")
        assert raised.value.code in ("protocol", "truncated") and raised.value.hint
        await goes_on(session)


async def test_right_answer_under_a_wrong_content_type(any_host: Host) -> None:
    """A content type that lies does not spoil an answer that is one, or it is a typed error; nothing is shown as whole that is not."""
    wrong = "text/plain" if any_host.streamed else "text/event-stream"
    async with ScriptedProvider([reply("Fine.", content_type=wrong)]) as provider:
        try:
            assert (await any_host.agent(provider, retry=ONCE).run("Hi")).text == "Fine."
        except ProviderError as error:
            assert error.code in ("protocol", "truncated")


async def test_run_raises_and_stream_tells(any_host: Host) -> None:
    """`run` raises the error with the account in it; a stream ends with it."""
    async with ScriptedProvider([fail(400, "no"), fail(400, "no")]) as provider:
        session = any_host.agent(provider).session()
        with pytest.raises(ProviderError) as raised:
            await session.run("Hi")
        assert raised.value.result is not None and raised.value.result.reason == "error"
        async with session.stream("Hi") as turn:
            events = await read_all(turn)
        assert names(events)[-1] == "TurnFinished"
        assert assert_ended(events).result.error == turn.result.error
        assert turn.result.error is not None and turn.result.error.code == "invalid_request"


@pytest.mark.parametrize("key", ["sk-secret-1234567890"])
async def test_no_secret_in_errors_or_results(any_host: Host, key: str) -> None:
    """P6: the key is nowhere in what the turn says."""
    async with ScriptedProvider([fail(401, "bad key"), reply("Hi.")]) as provider:
        agent: Agent[Any] = Agent(f"{any_host.name}:a-model", base_url=any_host.url(provider), api_key=key)
        session = agent.session()
        with pytest.raises(ProviderError) as raised:
            await session.run("Hi")
        result = await session.run("Hi")
        said = repr([raised.value, raised.value.info, raised.value.info.for_log(), result, agent, session.messages])
        assert key not in said


# --- mistakes in the set-up --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("anthropic:claude", "missing_key"),
        ("openai:gpt", "missing_key"),
        ("antropic:claude", "unknown_provider"),
        ("claude", "unknown_provider"),
        ("anthropic:", "missing_model"),
    ],
)
async def test_set_up_errors_come_before_anything(model: str, code: str) -> None:
    """A `ConfigError` says what is missing, before any I/O and before anything is journalled; the session stays usable."""
    async with Runtime(environ={}) as runtime:
        agent: Agent[Any] = Agent(model, runtime=runtime)
        session = agent.session()
        with pytest.raises(ConfigError):
            await session.run("Hi")
        with pytest.raises(ConfigError) as raised:
            await session.run("Hi")
        assert raised.value.code == code and raised.value.hint
        assert session.messages == () and not session.running
        if code == "missing_key":
            assert "API_KEY" in raised.value.hint


async def test_keys_and_addresses_from_the_environment(any_host: Host) -> None:
    async with ScriptedProvider([reply("Found.")]) as provider:
        name = any_host.name.upper()
        environ = {f"{name}_API_KEY": "from-environment", f"{name}_BASE_URL": any_host.url(provider)}
        async with Runtime(environ=environ) as runtime:
            agent: Agent[Any] = Agent(f"{any_host.name}:a-model", runtime=runtime, stream=any_host.streamed)
            assert (await agent.run("Hi")).text == "Found."


@pytest.mark.parametrize("prompt", ["", "  \n", []])
async def test_an_empty_prompt_is_refused(host: Host, prompt: Any) -> None:
    async with ScriptedProvider([]) as provider:
        session = host.agent(provider).session()
        with pytest.raises(ConfigError) as raised:
            await session.run(prompt)
        assert raised.value.code == "empty_prompt" and session.messages == ()


@in_virtual_time
async def test_header_names_may_have_any_case(any_host: Host) -> None:
    """HTTP header names have no case: what a server capitalises is understood."""
    headers = {"Retry-After": "7", "X-RateLimit-Remaining-Requests": "0", "X-RateLimit-Reset-Requests": "6m0s"}
    async with ScriptedProvider([fail(429, headers=headers), reply("Now.")]) as provider:
        async with any_host.agent(provider).session().stream("Hi") as turn:
            events = await read_all(turn)
        (again,) = of(AttemptRestarted, events)
        assert again.delay_s == 7

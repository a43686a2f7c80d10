"""Against a fake that others wrote: what goes wrong on the way, with every provider."""

from __future__ import annotations

import pytest
from tests.aimock.conftest import Open
from tests.aimock.talk import NOT_SOON
from tests.runtime.conftest import assert_ended, goes_on, of, read_all

from turnwise.errors import ProviderError
from turnwise.events import AttemptRestarted, TextDelta


async def test_429_then_success(open_line: Open) -> None:
    """A rate limit is waited out for as long as Retry-After says: a second, or not at all."""
    async with open_line() as line:
        prompt, wait_s = ("Too many?", 1.0) if line.streamed else ("Too many now?", 0.0)
        agent = line.agent(retry=NOT_SOON)
        async with agent.session() as session, session.stream(prompt) as turn:
            events = await read_all(turn)
        limited, answered = await line.journal()
    (again,) = of(AttemptRestarted, events)
    assert (again.error.code, again.error.status, again.delay_s) == ("rate_limit", 429, wait_s)
    assert assert_ended(events).result.text == "There you are."
    assert (limited["response"]["status"], answered["response"]["status"]) == (429, 200)
    assert answered["timestamp"] - limited["timestamp"] >= 990 * wait_s


@pytest.mark.parametrize(("prompt", "status"), [("Too busy", 529), ("Out of service", 503)], ids=["529", "503"])
async def test_overload_then_success(open_line: Open, prompt: str, status: int) -> None:
    async with open_line() as line:
        async with line.agent().session() as session, session.stream(prompt) as turn:
            events = await read_all(turn)
        entries = await line.journal()
    (again,) = of(AttemptRestarted, events)
    assert (again.error.code, again.error.status) == ("overloaded", status)
    assert assert_ended(events).result.text == "There you are."
    assert [entry["response"]["status"] for entry in entries] == [status, 200]


async def test_a_stream_that_breaks_off(open_stream: Open) -> None:
    """S3: `run` starts over, for it has shown nothing; `stream` has, and ends with the error. The session goes on either way."""
    async with open_stream() as line:
        result = await line.agent().run("Break off.")
        first, second = await line.journal()
    assert result.text == "The whole answer."
    assert first["response"].get("interrupted") and not second["response"].get("interrupted")


async def test_a_stream_that_breaks_off_in_sight(open_stream: Open) -> None:
    async with open_stream() as line:
        async with line.agent().session() as session:
            async with session.stream("Break off.") as turn:
                events = await read_all(turn)
            shown = "".join([e.text for e in of(TextDelta, events)])
            assert shown and "This answer is broken off in its middle".startswith(shown[:39])
            result = assert_ended(events).result
            assert (result.reason, of(AttemptRestarted, events)) == ("error", [])
            assert result.error is not None
            assert (
                result.error.code in ("connection_lost", "truncated") and result.error.commit_phase == "before_commit"
            )
            await goes_on(session, "Say hello.")
        assert [entry["response"]["status"] for entry in await line.journal()] == [200, 200]


async def test_a_connection_that_is_dropped_before_the_answer(open_line: Open) -> None:
    """An answer that is not streamed can be broken off here only: aimock sends it in one piece."""
    async with open_line() as line:
        async with line.agent().session() as session, session.stream("Hang up.") as turn:
            events = await read_all(turn)
        entries = await line.journal()
    (again,) = of(AttemptRestarted, events)
    assert again.error.code == "connection_lost" and assert_ended(events).result.text == "The whole answer."
    assert [entry["response"].get("chaosAction") for entry in entries] == ["disconnect", None]


async def test_a_malformed_body(open_line: Open) -> None:
    """S8: bytes that cannot be read are a typed error. The session goes on."""
    async with open_line() as line:
        async with line.agent().session() as session:
            with pytest.raises(ProviderError) as caught:
                await session.run("Garble.")
            assert caught.value.code == "protocol" and caught.value.message
            await goes_on(session, "Say hello.")
        entries = await line.journal()
    assert entries[0]["response"]["chaosAction"] == "malformed"

"""Interrupting works in every phase (rule C1), keeps text only (T2), closes every call (E1), and the session goes on."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import socket
import sys
import threading
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import (
    Host,
    assert_ended,
    assert_valid,
    goes_on,
    of,
    read_all,
    read_until,
    results,
    until,
)

from turnwise import Runtime, Session, TurnResult, tool
from turnwise.core.messages import AssistantMessage
from turnwise.core.outcomes import Cancelled
from turnwise.events import (
    AttemptRestarted,
    Event,
    StepStarted,
    TextDelta,
    ThinkingDelta,
    ToolStarted,
    TurnFinished,
)
from turnwise.store.memory import SuspendingStore
from turnwise.testing import ScriptedProvider, call, fail, hang, repeat, reply, text, think
from turnwise.testing.script import ScriptItem

PROMPT_S = 2.0
"""What "promptly" may take on a busy machine; most of these take a millisecond."""


class Scene(msgspec.Struct):
    provider: ScriptedProvider
    runtime: Runtime
    session: Session[Any]


@contextlib.asynccontextmanager
async def scene(host: Host, script: Sequence[ScriptItem], *tools: Any, **options: Any) -> AsyncGenerator[Scene]:
    """A session whose script ends with one more reply: whatever happened before, its next turn must work."""
    async with (
        Runtime() as runtime,
        ScriptedProvider([*script, reply(text("Here we are."))]) as provider,
        host.agent(provider, *tools, runtime=runtime, **options).session() as session,
    ):
        yield Scene(provider, runtime, session)
        await goes_on(session)


async def interrupted(session: Session[Any], reading: asyncio.Task[list[Event]]) -> TurnResult:
    """Interrupt a turn that another task reads; it ends promptly and says so."""
    asked_at = asyncio.get_running_loop().time()
    assert session.interrupt() is True
    result = assert_ended(await reading).result
    assert asyncio.get_running_loop().time() - asked_at < PROMPT_S
    assert (result.reason, result.cause, result.error) == ("interrupted", "user", None)
    assert session.interrupt() is False
    return result


async def until_told(events: list[Event], kind: type[Any]) -> None:
    await until(lambda: of(kind, events))


# --- the model call ----------------------------------------------------------------------------------------------------


async def test_waiting_for_headers(any_host: Host, store: SuspendingStore | None) -> None:
    async with scene(any_host, [hang()], store=store) as s, s.session.stream("Hi") as turn:
        reading = asyncio.create_task(read_all(turn))
        await s.provider.reached("stalled")
        result = await interrupted(s.session, reading)
        assert result.steps == 0 and result.text == ""
        await s.provider.reached("left")


async def test_streaming_keeps_the_text(host: Host, store: SuspendingStore | None) -> None:
    """T2: what was shown is kept, marked partial, and sent back to the provider."""
    said = "one two three four five six seven eight nine"
    async with scene(host, [reply(text(said), stall_after_event=6)], store=store) as s, s.session.stream("Hi") as turn:
        events: list[Event] = []
        reading = asyncio.create_task(read_all(turn, events))
        await s.provider.reached("stalled")
        await until_told(events, TextDelta)
        result = await interrupted(s.session, reading)
        shown = "".join([e.text for e in of(TextDelta, events)])
        assert shown and said.startswith(shown) and shown != said
        assert result.text == shown
        kept = result.messages[-1]
        assert isinstance(kept, AssistantMessage) and kept.partial and kept.text == shown
        assert result.usage.provenance in ("partial", "estimated")
        await s.provider.reached("left")


async def test_streaming_of_a_call_keeps_no_call(host: Host) -> None:
    """T2: of a response that was cut off in the middle of a call only its text stays; nothing runs."""
    ran: list[str] = []

    @tool
    async def look(what: str) -> str:
        ran.append(what)
        return what

    script = [reply(text("Let me look."), call("look", what="x" * 200), stall_after_event=12)]
    async with scene(host, script, look) as s, s.session.stream("Hi") as turn:
        events: list[Event] = []
        reading = asyncio.create_task(read_all(turn, events))
        await s.provider.reached("stalled")
        await until(lambda: any(type(e).__name__ == "ToolCallDelta" for e in events))
        result = await interrupted(s.session, reading)
        assert result.text == "Let me look." and result.calls == 0 and not ran


async def test_streaming_of_reasoning_keeps_no_reasoning(host: Host) -> None:
    """T2: of thinking that was cut off nothing is kept, not even beside text: it has no signature, or belongs to more."""
    script = [reply(think("a secret thought"), text("one two three four " * 4), stall_after_event=12)]
    async with scene(host, script) as s, s.session.stream("Hi") as turn:
        events: list[Event] = []
        reading = asyncio.create_task(read_all(turn, events))
        await until_told(events, TextDelta)
        result = await interrupted(s.session, reading)
        assert of(ThinkingDelta, events) and result.text.startswith("one")
        assert "secret" not in repr(result.messages)


async def test_streaming_while_nobody_pulls(host: Host, store: SuspendingStore | None) -> None:
    """The turn ends without its consumer, which still gets every event when it comes back."""
    async with (
        scene(host, [reply(text("one two three"), stall_after_event=4)], store=store) as s,
        s.session.stream("Hi") as turn,
    ):
        seen = await read_until(turn, TextDelta)
        assert s.session.interrupt()
        await until(lambda: not s.session.running)
        assert turn.result.reason == "interrupted"
        await s.provider.reached("left")
        assert_ended(seen + await read_all(turn))


async def test_retry_sleep(any_host: Host) -> None:
    async with scene(any_host, [fail(503, headers={"retry-after": "50"})]) as s, s.session.stream("Hi") as turn:
        events: list[Event] = []
        reading = asyncio.create_task(read_all(turn, events))
        await until_told(events, AttemptRestarted)
        assert of(AttemptRestarted, events)[0].delay_s == 50
        await interrupted(s.session, reading)
        assert len(s.provider.requests) == 1


async def test_connecting_to_a_socket_that_never_accepts(host: Host) -> None:
    with socket.socket() as listening, contextlib.ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # the queue of connections that wait to be accepted is full: further ones are not answered
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        await _interrupt_while_connecting(host, f"http://127.0.0.1:{listening.getsockname()[1]}", None)


async def test_connecting_to_a_server_that_never_answers_tls(host: Host) -> None:
    greeted, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        greeted.set()
        with contextlib.suppress(OSError):
            while await reader.read(4096):
                pass
        gone.set()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await _interrupt_while_connecting(host, f"https://127.0.0.1:{port}", greeted)
        await gone.wait()


async def _interrupt_while_connecting(host: Host, url: str, under_way: asyncio.Event | None) -> None:
    async with Runtime() as runtime, host.agent(url, runtime=runtime).session() as session:
        async with session.stream("Hi") as turn:
            events: list[Event] = []
            reading = asyncio.create_task(read_all(turn, events))
            await until_told(events, StepStarted)
            if under_way is not None:
                await under_way.wait()
            await interrupted(session, reading)
        async with ScriptedProvider([reply("Here we are.")]) as provider:
            later = host.agent(provider, runtime=runtime).session(history=session.messages)
            await goes_on(later)


# --- tools -------------------------------------------------------------------------------------------------------------


async def test_async_tool(any_host: Host, store: SuspendingStore | None) -> None:
    stopped: list[str] = []

    @tool
    async def wait(name: str) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            stopped.append(name)
            raise
        return name

    script = [reply(call("wait", name="a"), call("wait", name="b"))]
    async with scene(any_host, script, wait, store=store) as s, s.session.stream("Hi") as turn:
        events: list[Event] = []
        reading = asyncio.create_task(read_all(turn, events))
        await until(lambda: len(of(ToolStarted, events)) == 2)
        result = await interrupted(s.session, reading)
        assert stopped == ["a", "b"]
        assert [r.outcome for r in results(result)] == [Cancelled("the turn was interrupted")] * 2
        assert not s.runtime.abandoned_bodies


async def test_tool_that_waits_for_a_place_never_starts(host: Host) -> None:
    """E5: what is queued behind a bound ends too, with an outcome, without having run."""
    ran: list[str] = []

    @tool
    async def wait(name: str) -> str:
        ran.append(name)
        await asyncio.Event().wait()
        return name

    script = [reply(*[call("wait", name=n) for n in "abc"])]
    async with scene(host, script, wait, parallel_calls=1) as s, s.session.stream("Hi") as turn:
        seen = await read_until(turn, ToolStarted)
        reading = asyncio.create_task(read_all(turn, seen))
        result = await interrupted(s.session, reading)
        assert ran == ["a"]
        assert [type(r.outcome) for r in results(result)] == [Cancelled] * 3


async def test_deaf_coroutine_is_abandoned(host: Host) -> None:
    """E3: a body that ignores its cancellation does not hold the turn; it is counted until it ends."""
    release = asyncio.Event()

    @tool
    async def deaf() -> str:
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return "too late"

    async with scene(host, [reply(call("deaf"))], deaf) as s, s.session.stream("Hi") as turn:
        seen = await read_until(turn, ToolStarted)
        result = await interrupted(s.session, asyncio.create_task(read_all(turn, seen)))
        (outcome,) = [r.outcome for r in results(result)]
        assert outcome == Cancelled("the turn was interrupted", still_running=True)
        assert len(s.runtime.abandoned_bodies) == 1
        release.set()
        await until(lambda: not s.runtime.abandoned_bodies)


async def test_thread_tool_is_abandoned(host: Host) -> None:
    """E3: a thread cannot be stopped: the call ends, the thread is counted, the outcome says that it may still run."""
    entered, release = threading.Event(), threading.Event()

    @tool
    def block() -> str:
        entered.set()
        release.wait(20)
        return "too late"

    async with scene(host, [reply(call("block"))], block) as s, s.session.stream("Hi") as turn:
        try:
            seen = await read_until(turn, ToolStarted)
            assert await asyncio.to_thread(entered.wait, 10)
            result = await interrupted(s.session, asyncio.create_task(read_all(turn, seen)))
            (outcome,) = [r.outcome for r in results(result)]
            assert outcome == Cancelled("the turn was interrupted", still_running=True)
            assert s.runtime.blocking.abandoned == 1
        finally:
            release.set()
        await until(lambda: s.runtime.blocking.abandoned == 0)


ISOLATED = """
import socket, subprocess, sys
from turnwise.tools import tool

@tool(isolation="process")
def hang(port: int) -> str:
    print("got this far", flush=True)
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"!")
    connection.recv(1)
    return "too late"
"""


@pytest.fixture
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module whose tool, in its own process, connects to a port and waits there for ever."""
    (tmp_path / "turnwise_isolated_for_interrupt.py").write_text(ISOLATED)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    module = importlib.import_module("turnwise_isolated_for_interrupt")
    yield module
    sys.modules.pop(module.__name__)


async def test_process_tool_is_killed(host: Host, isolated: Any) -> None:
    """E3: process isolation really stops the body, and what it printed is kept."""
    async with lifeline() as (port, entered, gone):
        script = [reply(call("hang", port=port))]
        async with scene(host, script, isolated.hang) as s, s.session.stream("Hi") as turn:
            seen = await read_until(turn, ToolStarted)
            await entered.wait()
            result = await interrupted(s.session, asyncio.create_task(read_all(turn, seen)))
            await gone.wait()
            (got,) = results(result)
            assert type(got.outcome) is Cancelled
            assert "got this far" in got.text


@contextlib.asynccontextmanager
async def lifeline() -> AsyncGenerator[tuple[int, asyncio.Event, asyncio.Event]]:
    """A port; set when a child has connected to it; set when that child is gone."""
    entered, gone = asyncio.Event(), asyncio.Event()

    async def held(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        entered.set()
        with contextlib.suppress(OSError):
            await reader.read()
        gone.set()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    async with await asyncio.start_server(held, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], entered, gone


# --- the journal, and who interrupts -----------------------------------------------------------------------------------


@pytest.mark.parametrize("pending", ["before", "after"])
async def test_slow_append(host: Host, pending: str) -> None:
    """An interrupt that comes while the store is writing waits for the store, not for the model."""
    waiting, release = asyncio.Event(), asyncio.Event()

    async def pause(when: str) -> None:
        if when == pending and not release.is_set():
            waiting.set()
            await release.wait()

    async with (
        ScriptedProvider([repeat(reply("Here we are."))]) as provider,
        host.agent(provider, store=SuspendingStore(pause)).session() as session,
    ):
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await waiting.wait()
            assert session.interrupt()
            release.set()
            result = assert_ended(await reading).result
            assert result.reason == "interrupted"
            assert [type(m).__name__ for m in session.messages] == ["UserMessage"]
        await goes_on(session)


async def test_from_another_thread(host: Host) -> None:
    async with scene(host, [hang()]) as s, s.session.stream("Hi") as turn:
        reading = asyncio.create_task(read_all(turn))
        await s.provider.reached("stalled")
        assert await asyncio.to_thread(s.session.interrupt) is True
        assert assert_ended(await reading).result.reason == "interrupted"


async def test_from_within_a_tool(host: Host) -> None:
    """A tool may stop the turn that it runs in; its call still has exactly one outcome."""
    sessions: list[Session[Any]] = []

    @tool
    async def stop() -> str:
        assert sessions[0].interrupt()
        return "asked"

    async with scene(host, [reply(call("stop"))], stop) as s:
        sessions.append(s.session)
        async with s.session.stream("Hi") as turn:
            result = assert_ended(await read_all(turn)).result
            assert result.reason == "interrupted"
            assert len(results(result)) == 1


async def test_twice_is_once(host: Host) -> None:
    async with scene(host, [hang()]) as s, s.session.stream("Hi") as turn:
        reading = asyncio.create_task(read_all(turn))
        await s.provider.reached("stalled")
        s.session.interrupt()
        s.session.interrupt()
        assert of(TurnFinished, await reading)[0].result.reason == "interrupted"


async def test_closing_the_session(host: Host) -> None:
    """Closing interrupts; the consumer is told as always."""
    async with ScriptedProvider([hang()]) as provider:
        session = host.agent(provider).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await provider.reached("stalled")
            await session.close()
            result = assert_ended(await reading).result
            assert (result.reason, result.cause) == ("interrupted", "closed")


async def test_closing_the_runtime(host: Host) -> None:
    """I3: a runtime that closes ends its turns, with their outcomes, before anything else."""
    started = asyncio.Event()

    @tool
    async def wait() -> str:
        started.set()
        await asyncio.Event().wait()
        return ""

    async with ScriptedProvider([reply(call("wait"))]) as provider, Runtime() as runtime:
        session = host.agent(provider, wait, runtime=runtime).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await started.wait()
            await runtime.close()
            result = assert_ended(await reading).result
            assert (result.reason, result.cause) == ("interrupted", "closed")
            assert_valid(session.messages)

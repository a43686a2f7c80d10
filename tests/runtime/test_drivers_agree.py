"""One machine, many drivers: the same conversation comes to the same bytes whoever drives it (T1, E10)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import Host, give_way, read_all

from turnwise import Agent, Limits, Retry, Runtime, Session, ToolError, TurnResult, TurnwiseError, replay, tool
from turnwise.core.entries import Entry
from turnwise.runtime.facade import run_sync
from turnwise.store.memory import MemoryStore, SuspendingStore
from turnwise.testing import ScriptedProvider, call, error_event, fail, raw_call, reply, text, think
from turnwise.testing.script import ScriptItem


@tool
async def look(what: str) -> str:
    if what == "nothing":
        raise ToolError("there is nothing")
    return f"saw {what}"


@tool
def count(words: str) -> int:
    """In a thread."""
    return len(words.split())


QUICK = Retry(attempts=3, base_delay_s=0.001)
CONVERSATIONS: dict[str, tuple[list[ScriptItem], list[str], dict[str, Any]]] = {
    "text": ([reply("Hello."), reply(text("Again, ", "and again."))], ["Hi", "And?"], {}),
    "tools": (
        [
            reply(think("Hm."), text("Let me look."), call("look", what="a"), call("count", words="one two")),
            reply(call("look", what="nothing"), call("nonsense"), raw_call("look", "[1]")),
            reply("Seen."),
            reply(call("count", words="x")),
            reply("One."),
        ],
        ["Look", "Count"],
        {},
    ),
    "retries": ([fail(500), fail(429, headers={"retry-after": "0"}), reply("At last."), reply("On.")], ["Hi", "And?"], {}),
    "broken": (
        [reply(text("one two"), error_event("no", status=500)), reply("Whole."), reply("On.")],
        ["Hi", "And?"],
        {"restart": "before_commit"},  # by default `run`, whose deltas nobody reads, may restart where a stream may not
    ),
    "refused": ([fail(400), reply("On.")], ["Hi", "And?"], {}),
    "cut off": ([reply(call("look", what="a"), stop="length"), reply("Shorter.")], ["Hi"], {}),
    "limits": (
        [reply(call("look", what="a"), call("look", what="b")), reply("On.")],
        ["Hi", "And?"],
        {"limits": Limits(steps=1)},
    ),
}  # fmt: skip


class Still:
    """A clock whose wall time does not move, so that entries of two runs can be compared byte by byte."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return 1_800_000_000.0


class Even:
    def random(self) -> float:
        return 0.5


Drive = Callable[[Session[Any], str], Awaitable[TurnResult]]


async def by_run(session: Session[Any], prompt: str) -> TurnResult:
    try:
        return await session.run(prompt)
    except TurnwiseError as error:
        assert isinstance(error.result, TurnResult)
        return error.result


async def by_stream(session: Session[Any], prompt: str) -> TurnResult:
    async with session.stream(prompt) as turn:
        await read_all(turn)
    return turn.result


async def by_batches(session: Session[Any], prompt: str) -> TurnResult:
    async with session.stream(prompt) as turn:
        async for _ in turn.batches():
            pass
    return turn.result


async def by_channel(session: Session[Any], prompt: str) -> TurnResult:
    channel, handle = await session.channel(prompt, buffer=1)
    reading = asyncio.create_task(read_on(channel))
    result = await handle.result()
    await reading
    return result


async def read_on(channel: Any) -> None:
    async for _ in channel:
        pass


async def by_detaching(session: Session[Any], prompt: str) -> TurnResult:
    async with session.channel(prompt, on_drop="detach") as (_, handle):
        pass
    return await handle.result()


async def by_steps(session: Session[Any], prompt: str) -> TurnResult:
    async with session.steps(prompt) as steps:
        async for _ in steps:
            pass
    return steps.result


async def watched(session: Session[Any], prompt: str) -> TurnResult:
    async with session.stream(prompt) as turn:
        watching = [asyncio.create_task(read_on(turn.watch(policy, buffer=1))) for policy in ("block", "coalesce", "drop_to_cursor")]  # fmt: skip
        await read_all(turn)
        await asyncio.gather(*watching)
    return turn.result


DRIVERS: dict[str, Drive] = {
    "run": by_run,
    "stream": by_stream,
    "batches": by_batches,
    "channel": by_channel,
    "detached": by_detaching,
    "steps": by_steps,
    "watched": watched,
}


class Account(msgspec.Struct):
    """What a conversation came to, in bytes."""

    transcript: bytes
    results: list[TurnResult]
    journal: list[Entry]
    asked: list[bytes]


def account(session: Session[Any], results: list[TurnResult], journal: Any, provider: ScriptedProvider) -> Account:
    asked = [request.raw for request in provider.requests]
    return Account(msgspec.json.encode(session.messages), results, list(journal), asked)


def agent_for(host: Host, provider: ScriptedProvider, runtime: Runtime, options: dict[str, Any]) -> Agent[Any]:
    return host.agent(provider, look, count, runtime=runtime, retry=QUICK, **options)


async def drive(host: Host, name: str, conversation: str, suspending: bool) -> Account:
    script, prompts, options = CONVERSATIONS[conversation]
    store = SuspendingStore(give_way) if suspending else MemoryStore()
    runtime = Runtime(clock=Still(), random=Even(), store=store)
    async with (
        runtime,
        ScriptedProvider(script) as provider,
        agent_for(host, provider, runtime, options).session(id="s") as session,
    ):
        results = [await DRIVERS[name](session, prompt) for prompt in prompts]
        return account(session, results, await store.read("s"), provider)


def drive_sync(host: Host, conversation: str) -> Account:
    script, prompts, options = CONVERSATIONS[conversation]
    store = MemoryStore()
    runtime = Runtime(clock=Still(), random=Even(), store=store)
    with ScriptedProvider(script) as provider:
        session = agent_for(host, provider, runtime, options).session(id="s")
        results: list[TurnResult] = []
        for prompt in prompts:
            try:
                results.append(session.run_sync(prompt))
            except TurnwiseError as error:
                assert isinstance(error.result, TurnResult)
                results.append(error.result)
        journal = run_sync(lambda: store_read(store))
        run_sync(runtime.close)
        return account(session, results, journal, provider)


async def store_read(store: MemoryStore) -> Any:
    return await store.read("s")


@pytest.mark.parametrize("conversation", CONVERSATIONS)
def test_all_drivers_come_to_the_same(any_host: Host, conversation: str) -> None:
    """Byte-equal transcripts and requests, equal results and journals: run, stream, batches, channel, detached, steps, watched,
    sync, with a store that answers at once and one that does not; and a replay of the journal."""
    first = asyncio.run(drive(any_host, "run", conversation, False))
    assert first.results and first.journal
    for name in DRIVERS:
        for suspending in (False, True):
            other = asyncio.run(drive(any_host, name, conversation, suspending))
            assert_same(first, other, name)
    assert_same(first, drive_sync(any_host, conversation), "sync")
    again = replay(first.journal)
    assert msgspec.json.encode(tuple(again.state.transcript)) == first.transcript
    assert again.results == first.results


def assert_same(first: Account, other: Account, name: str) -> None:
    assert other.transcript == first.transcript, name
    assert other.results == first.results, name
    assert other.asked == first.asked, name
    assert other.journal == first.journal, name

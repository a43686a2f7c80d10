"""The prefix of a request is byte for byte what was sent before (rule T7), whatever happened in between."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
from tests.runtime.conftest import Host, of, read_all, read_until

from turnwise import Image, Runtime, Tool, tool
from turnwise.core.messages import UserMessage
from turnwise.events import TextDelta, ToolStarted
from turnwise.testing import RecordedRequest, ScriptedProvider, call, fail, raw_call, reply, text, think


@tool
async def look(what: str) -> str:
    return what


def messages_of(request: RecordedRequest) -> list[bytes]:
    """The elements of a request's message array, as the bytes that were sent."""
    fields = msgspec.json.decode(request.raw, type=dict[str, msgspec.Raw])
    return [bytes(m) for m in msgspec.json.decode(fields["messages"], type=list[msgspec.Raw])]


def head_of(request: RecordedRequest) -> dict[str, bytes]:
    """Everything of a request but its messages."""
    fields = msgspec.json.decode(request.raw, type=dict[str, msgspec.Raw])
    return {name: bytes(value) for name, value in fields.items() if name != "messages"}


def assert_stable(requests: list[RecordedRequest]) -> None:
    """Each request starts with the messages of the one before, byte for byte, and its head is the same."""
    for earlier, later in itertools.pairwise(requests):
        before, after = messages_of(earlier), messages_of(later)
        assert after[: len(before)] == before, f"request {later.number} changed what was sent before"
        assert head_of(earlier) == head_of(later)


async def test_across_tool_loops_and_turns(any_host: Host) -> None:
    script = [
        reply(think("Hm."), text("Let me look. ünï"), call("look", what="ä"), call("look", what="b")),
        reply(raw_call("look", '{"what": 1}') if any_host.streamed else call("look", what="z")),
        reply("Found."),
        reply("More."),
    ]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider, look, instructions="Be brief.").session()
        await session.run("Hi")
        await session.run("Go on")
        assert len(provider.requests) == 4
        assert_stable(provider.requests)


async def test_across_interrupts(host: Host) -> None:
    """Partial text and cancelled calls are written once and stay as they were written."""

    @tool
    async def wait() -> str:
        await asyncio.Event().wait()
        return ""

    script = [
        reply("Hello."),
        reply(text("one two three four"), stall_after_event=5),
        reply(text("Let me wait."), call("wait")),
        reply("Here we are."),
        reply("Still here."),
    ]
    async with ScriptedProvider(script) as provider:
        session = host.agent(provider, wait).session()
        await session.run("Hi")
        async with session.stream("Go on") as turn:
            await read_until(turn, TextDelta)
        async with session.stream("Again") as turn:
            await read_until(turn, ToolStarted)
        await session.run("And now?")
        await session.run("And now?")
        assert_stable(provider.requests)


async def test_across_failures_and_retries(any_host: Host) -> None:
    script = [reply("Hello."), fail(400, "no"), reply("Here we are.")]
    async with ScriptedProvider(script) as provider:
        session = any_host.agent(provider).session()
        await session.run("Hi")
        async with session.stream("Go on") as turn:
            await read_all(turn)
        await session.run("And now?")
        assert_stable(provider.requests)


async def test_across_steering(host: Host) -> None:
    """T3: what the user adds while calls are open comes after their outcomes, and stays there."""
    started, go = asyncio.Event(), asyncio.Event()

    @tool
    async def wait() -> str:
        started.set()
        await go.wait()
        return "waited"

    async with ScriptedProvider([reply(call("wait")), reply("Noted."), reply("Yes.")]) as provider:
        session = host.agent(provider, wait).session()
        async with session.stream("Hi") as turn:
            reading = asyncio.create_task(read_all(turn))
            await started.wait()
            assert await session.steer("And be quick.")
            go.set()
            await reading
        await session.run("Well?")
        assert_stable(provider.requests)
        kinds = [type(m).__name__ for m in session.messages]
        assert kinds[:5] == ["UserMessage", "AssistantMessage", "ToolMessage", "UserMessage", "AssistantMessage"]
        assert isinstance(session.messages[3], UserMessage) and session.messages[3].text == "And be quick."


async def test_with_images(any_host: Host) -> None:
    async with Runtime() as runtime, ScriptedProvider([reply("A cat."), reply("Black.")]) as provider:
        session = any_host.agent(provider, runtime=runtime).session()
        await session.run(["What is this?", Image.of(b"\x89PNG fake")])
        await session.run("Which colour?")
        assert_stable(provider.requests)


async def test_the_same_agent_sends_the_same_head(any_host: Host) -> None:
    """The order in which tools were given does not matter; another process would send the same bytes."""

    def made(name: str) -> Tool[..., Any]:
        @tool(name=name)
        async def it(what: str, days: int = 1) -> str:
            return what

        return it

    heads: list[dict[str, bytes]] = []
    for order in (["a", "b", "c"], ["c", "a", "b"]):
        async with ScriptedProvider([reply("Hi.")]) as provider:
            await any_host.agent(provider, *[made(n) for n in order], instructions="Be brief.").run("Hi")
            heads.append(head_of(provider.requests[0]))
    assert heads[0] == heads[1]


async def test_a_retry_sends_the_same_bytes(any_host: Host) -> None:
    async with ScriptedProvider([fail(503, headers={"retry-after": "0"}), reply("Hi.")]) as provider:
        async with any_host.agent(provider).session().stream("Hi") as turn:
            events = await read_all(turn)
        assert provider.requests[0].raw == provider.requests[1].raw
        assert "".join([e.text for e in of(TextDelta, events)]) == "Hi."

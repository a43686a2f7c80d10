"""Against a fake that others wrote: whole conversations with every provider, as it understood them and as we did."""

from __future__ import annotations

import json

from tests.aimock.conftest import Open
from tests.aimock.providers import PROVIDERS
from tests.aimock.server import Aimock
from tests.aimock.talk import line, parallel_tools
from tests.runtime.conftest import assert_ended, assert_valid, of, read_all, results

from turnwise import ModelSettings, models
from turnwise.core.content import Thinking
from turnwise.core.messages import AssistantMessage, Message, UserMessage
from turnwise.core.request import Reasoning, Request, RequestHead, ToolSpec
from turnwise.events import TextDelta, ThinkingDelta

HELLO = "Hello, wörld — 你好 👋\u2028line two; this is said in more pieces than one."
ASKED = [
    ("weather", {"city": "Oslo", "days": 2}),
    ("population", {"city": "Oslo"}),
    ("weather", {"city": "Bergen"}),
]
TOLD = ["Oslo: rain for 2 day(s)", "Oslo: 700,000", "Bergen: rain for 1 day(s)"]


async def test_text(open_line: Open) -> None:
    """Text arrives whole, piece by piece if streamed; usage is what the provider said (S4, S5)."""
    async with open_line() as line, line.agent().session() as session, session.stream("Say hello.") as turn:
        events = await read_all(turn)
        (entry,) = await line.journal()
    assert entry["path"] == line.provider.asked_at[-1 if line.streamed else 0]
    result = assert_ended(events).result
    assert (result.reason, result.text, result.stop_reason) == ("completed", HELLO, "stop")
    deltas = [e.text for e in of(TextDelta, events)]
    assert "".join(deltas) == HELLO and (len(deltas) > 1) == line.streamed
    assert (result.usage.input_tokens, result.usage.output_tokens) == ((11, 7) if line.provider.usage else (0, 0))
    assert result.usage.provenance == "reported"


async def test_parallel_calls(open_line: Open) -> None:
    """Text and three calls at once, of which two are of one tool; results in call order, each with its call; the answer; another
    turn on the same history (E4, S6, T1, T4)."""
    async with open_line() as line:
        async with line.agent(*parallel_tools()).session() as session:
            first = await session.run("Weather in Oslo and Bergen?")
            second = await session.run("And tomorrow?")
            assert_valid(session.messages)
        asked, answered, again = await line.understood()
    assert (first.text, first.steps, first.calls, second.text) == ("Rain in both.", 2, 3, "Sun.")
    assert [r.text for r in results(first)] == TOLD
    assert (first.usage.input_tokens, first.usage.output_tokens) == ((60, 14) if line.provider.usage else (0, 0))

    assert (asked.system, asked.users, asked.calls, asked.results) == (
        ["Be brief."],
        ["Weather in Oslo and Bergen?"],
        [],
        [],
    )
    assert asked.tools == ["population", "weather"]
    assert b"Let me look that up." in line.transport.sent[1]
    before = ["Let me look that up."] if line.provider.plans else []
    assert answered.answers == before and answered.order == ["system", "user", "assistant", "tool"]
    for seen in (answered, again):
        assert [(name, arguments) for _, name, arguments in seen.calls] == ASKED
        assert [text for _, text in seen.results] == TOLD
        if line.provider.ids:
            ids = [id for id, _, _ in seen.calls]
            assert [id for id, _ in seen.results] == ids and len(set(ids)) == 3
        else:
            sent = json.loads(line.transport.sent[-1])["messages"]
            assert [m["tool_name"] for m in sent if m["role"] == "tool"] == [name for name, _ in ASKED]
    assert again.users == ["Weather in Oslo and Bergen?", "And tomorrow?"]
    assert again.answers == [*before, "Rain in both."]


async def test_reasoning(open_line: Open) -> None:
    """Reasoning is told apart from text, and goes back with the results of the calls that it led to (T5)."""
    async with open_line() as line:

        async def weather(city: str) -> str:
            """Forecast for a city."""
            return f"{city}: rain"

        agent = line.agent(weather, settings=ModelSettings(reasoning=Reasoning(effort="low")))
        async with agent.session() as session, session.stream("Think first: weather in Oslo?") as turn:
            events = await read_all(turn)
        requests = await line.understood()
    result = assert_ended(events).result
    assert (result.text, result.steps, result.calls) == ("Take an umbrella.", 2, 1)
    said = [m for m in result.messages if isinstance(m, AssistantMessage)]
    thoughts = ["".join([b.text for b in m.content if isinstance(b, Thinking)]) for m in said]
    invented = line.provider.invents if line.streamed else ""
    assert thoughts == ["They ask for Oslo. I should look it up." + invented, "It rains there."]
    assert "".join([e.text for e in of(ThinkingDelta, events)]) == "".join(thoughts)
    assert [r.status for r in requests] == [200, 200]
    seals = [b.signature for b in said[0].content if isinstance(b, Thinking) and b.signature]
    assert bool(seals) == line.provider.sealed
    for part in (*line.provider.returned, *seals):
        assert part.encode() not in line.transport.sent[0] and part.encode() in line.transport.sent[1]


async def test_one_request(open_line: Open) -> None:
    """A model without an agent: the calls are given back and not run."""
    tools = (ToolSpec("weather", "Forecast.", '{"type":"object","properties":{"city":{"type":"string"}}}'),)
    async with open_line() as line:
        head = RequestHead("", "Be brief.", tools, stream=line.streamed)
        request = Request(head, [UserMessage("Weather in Oslo and Bergen?")])
        done = await models.complete(request, model=line.model(), runtime=line.runtime)
        assert done.text == "Let me look that up." and done.stop_reason == "tool_calls"
        assert [c.name for c in done.tool_calls] == [name for name, _ in ASKED]
        async with models.stream(request, model=line.model(), runtime=line.runtime) as stream:
            events = [event async for event in stream]
        assert "".join([e.text for e in of(TextDelta, events)]) == stream.completion.text == done.text
        first, second = await line.understood()
    assert first.tools == second.tools == ["weather"] and first.order == second.order == ["system", "user"]


async def test_a_conversation_through_all_providers(aimock: Aimock) -> None:
    """T8: each goes on with what those before it made: their calls with their results, and their text.

    Nobody is asked to think: aimock wants thinking before all calls of a history then, where Anthropic wants it in the running
    tool loop alone (https://docs.claude.com/en/docs/build-with-claude/extended-thinking, "Preserving thinking blocks").
    """
    history: tuple[Message, ...] = ()
    for n, provider in enumerate([*PROVIDERS, PROVIDERS[0]], start=1):
        async with line(provider, aimock, True, f"all providers {n}") as open_line:
            async with open_line.agent(*parallel_tools()).session(history=history) as session:
                assert (await session.run("Weather in Oslo and Bergen?")).text == "Rain in both."
                history = tuple(session.messages)
            seen = (await open_line.understood())[-1]
        assert [(name, arguments) for _, name, arguments in seen.calls] == ASKED * n
        assert [text for _, text in seen.results] == TOLD * n
        assert seen.answers.count("Rain in both.") == n - 1 and len(seen.users) == n

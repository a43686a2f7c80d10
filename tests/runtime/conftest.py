"""What the tests of the runtime share: agents for each provider, ways to read a turn, and checks that hold after every turn."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from turnwise import Agent, Session, Tool, Turn, TurnResult
from turnwise.core.content import Text
from turnwise.core.messages import AssistantMessage, Message, ToolMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.repair import repair
from turnwise.events import Event, ToolFinished, ToolStarted, TurnFinished
from turnwise.store.memory import SuspendingStore
from turnwise.testing import RecordedRequest, ScriptedProvider
from turnwise.testing.clock import run_in_virtual_time

E = TypeVar("E")


class Host(msgspec.Struct, frozen=True):
    """A provider as agents name it, asked for streamed responses or not."""

    name: str
    streamed: bool = True

    def url(self, provider: ScriptedProvider) -> str:
        return provider.anthropic_url if self.name == "anthropic" else provider.openai_url

    def agent(
        self, provider: ScriptedProvider | str, *tools: Tool[..., Any] | Callable[..., Any], **options: Any
    ) -> Agent[Any]:
        url = provider if isinstance(provider, str) else self.url(provider)
        return Agent(f"{self.name}:a-model", base_url=url, api_key="test", tools=tools, stream=self.streamed, **options)


ANTHROPIC, OPENAI = Host("anthropic"), Host("openai")


@pytest.fixture(params=[ANTHROPIC, OPENAI], ids=lambda h: h.name)
def host(request: pytest.FixtureRequest) -> Host:
    """Each provider, streamed."""
    return request.param


@pytest.fixture(
    params=[Host(name, streamed) for name in ("anthropic", "openai") for streamed in (True, False)],
    ids=lambda h: f"{h.name}-{'streamed' if h.streamed else 'whole'}",
)
def any_host(request: pytest.FixtureRequest) -> Host:
    """Each provider, streamed and not."""
    return request.param


@pytest.fixture(params=["memory", "suspending"])
def store(request: pytest.FixtureRequest) -> SuspendingStore | None:
    """The default store, and one that gives way to other tasks before and after every append."""
    return SuspendingStore(give_way) if request.param == "suspending" else None


async def give_way(_: str) -> None:
    await asyncio.sleep(0)


# --- reading -----------------------------------------------------------------------------------------------------------


async def read_all(turn: AsyncIterable[Event], events: list[Event] | None = None) -> list[Event]:
    """The events of a turn, or of a watcher, to the end; in `events`, if given, as they come."""
    events = [] if events is None else events
    async for event in turn:
        events.append(event)
    return events


async def read_until(turn: Turn, kind: type[E], where: Callable[[E], bool] = lambda _: True) -> list[Event]:
    """The events up to the first of that kind (for which `where` holds)."""
    events: list[Event] = []
    async for event in turn:
        events.append(event)
        if isinstance(event, kind) and where(event):
            return events
    raise AssertionError(f"no {kind.__name__} among {names(events)}")


def of(kind: type[E], events: Iterable[object]) -> list[E]:
    """The events of one kind."""
    return [e for e in events if type(e) is kind]


def results(result: TurnResult) -> list[ToolResult]:
    """What came of all calls of a turn, in their order."""
    return [r for m in result.messages if isinstance(m, ToolMessage) for r in m.results]


def said(session: Session[Any]) -> list[str]:
    """The text of a session's messages but those of tools."""
    return [m.text for m in session.messages if not isinstance(m, ToolMessage)]


def names(events: Iterable[object]) -> list[str]:
    return [type(e).__name__ for e in events]


def told(request: RecordedRequest) -> list[str]:
    """What the model was told of its calls, as the provider received it."""
    last = request.body["messages"]
    chat = [m["content"] for m in last if m["role"] == "tool"]
    blocks = [b for m in last if m["role"] == "user" and isinstance(m["content"], list) for b in m["content"]]
    return chat + [str(b.get("content", "")) for b in blocks if b["type"] == "tool_result"]


async def until(holds: Callable[[], object], limit_s: float = 10.0) -> None:
    """Let the loop run until something holds, at most so long."""
    async with asyncio.timeout(limit_s):
        while not holds():  # noqa: ASYNC110 (what is waited for is a plain fact, which nothing announces)
            await asyncio.sleep(0)


# --- what holds after every turn ---------------------------------------------------------------------------------------


def assert_valid(messages: Sequence[Message]) -> None:
    """Every call has exactly one outcome, adjacent and in call order (rule T1); nothing of a partial message but text (T2)."""
    seen: set[str] = set()
    for position, message in enumerate(messages):
        if isinstance(message, AssistantMessage):
            calls = [c.id for c in message.tool_calls]
            assert len(set(calls)) == len(calls) and seen.isdisjoint(calls), f"ids collide: {calls}"
            seen.update(calls)
            if calls:
                follow = messages[position + 1 : position + 2]
                assert follow and isinstance(follow[0], ToolMessage), f"no outcomes after {message.id}"
                assert [r.call_id for r in follow[0].results] == calls
            if message.partial:
                assert message.text.strip() and all(type(b) is Text for b in message.content)
        elif isinstance(message, ToolMessage):
            before = messages[position - 1] if position else None
            assert isinstance(before, AssistantMessage) and before.tool_calls, "outcomes that nobody asked for"
    assert repair(messages) is messages


def assert_ended(events: Sequence[Event]) -> TurnFinished:
    """The stream ends with exactly one `TurnFinished`, and every tool that was said to start was said to end."""
    assert names(events).count("TurnFinished") == 1
    last = events[-1]
    assert isinstance(last, TurnFinished)
    started = [e.call_id for e in of(ToolStarted, events)]
    ended = [e.call_id for e in of(ToolFinished, events)]
    assert sorted(started) == sorted(ended) and len(set(ended)) == len(ended)
    assert_valid(last.result.messages)
    return last


async def goes_on(session: Session[Any], prompt: str = "Go on.") -> None:
    """The next turn of a session works: its provider accepts the history."""
    assert not session.running
    assert_valid(session.messages)
    assert (await session.run(prompt)).reason == "completed"


# --- virtual time ------------------------------------------------------------------------------------------------------


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """An async test that runs on a loop whose clock jumps. It may take an hour of that clock and must leave no task."""

    @functools.wraps(test)
    def run(**given: Any) -> None:
        run_in_virtual_time(_guarded(test(**given)))

    return run


async def _guarded(test: Awaitable[None]) -> None:
    async with asyncio.timeout(7200):
        await test
    for _ in range(3):
        await asyncio.sleep(0)
    left = asyncio.all_tasks() - {asyncio.current_task()}
    assert not left, f"tasks left running: {left}"


def run_guarded(test: Coroutine[Any, Any, None]) -> None:
    """For property tests: one example on its own loop, with a time limit, leaving no task."""

    async def guarded() -> None:
        async with asyncio.timeout(30):
            await test
        for _ in range(3):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left running: {left}"

    asyncio.run(guarded())

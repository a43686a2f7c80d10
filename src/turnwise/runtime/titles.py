"""Titles of sessions, made by a model from how they began. Nothing depends on them: whatever goes wrong, the session goes on untitled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import ErrorInfo, error_of
from ..core.limits import Deadlines, Limits
from ..core.messages import AssistantMessage, Message, UserMessage
from ..core.usage import Usage
from ..models.connection import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .agent import Agent
    from .runtime import Runtime

INSTRUCTIONS = (
    "You name conversations. Given how one began, answer with a title of at most six words, in the language of the conversation: "
    "what it is about, without quotation marks and without a full stop. Answer with the title alone."
)
SHOWN_CHARS = 2000
"""How much of each message the model is shown."""


class Titles(msgspec.Struct, frozen=True):
    """How sessions get titles: `Sessions(…, titles=Titles("openai:gpt-5-nano"))`.

    After a session's first turn has ended well, `model` is asked for a title, in the background and outside the session: its tokens
    are not the session's. `max_chars` bounds the title, `timeout_s` the call. A session that has a title keeps it.
    """

    model: str | Model
    instructions: str = INSTRUCTIONS
    max_chars: int = 60
    timeout_s: float = 30.0


def titling_agent(titles: Titles, runtime: Runtime) -> Agent[Any]:
    """Who is asked for titles. Raises `ConfigError`, if the model makes no sense."""
    from .agent import Agent

    return Agent(
        titles.model,
        name="titles",
        instructions=titles.instructions,
        limits=Limits(steps=1),
        deadlines=Deadlines(turn_s=titles.timeout_s),
        loops=None,
        compaction=None,
        runtime=runtime,
    )


async def title_of(agent: Agent[Any], messages: Sequence[Message], max_chars: int) -> tuple[str, Usage]:
    """A title for a conversation that began like this, and what it took. Raises what `Agent.run` raises, and `SessionError`
    (`no_title`) if the model gave none."""
    result = await agent.run(f"The conversation began like this:\n\n{_beginning(messages)}\n\nIts title:")
    title = _fitted(result.text, max_chars)
    if not title:
        raise error_of(
            ErrorInfo(
                "session",
                "no_title",
                f"The model gave no title: the turn ended as {result.reason!r} with {result.text!r}.",
                "The session goes on without one; it can be given by hand: sessions.edit(…, title=…).",
            )
        )
    return title, result.usage


def _beginning(messages: Sequence[Message]) -> str:
    said: list[str] = []
    for message in messages:
        if isinstance(message, (UserMessage, AssistantMessage)) and message.text.strip():
            who = "User" if isinstance(message, UserMessage) else "Assistant"
            said.append(f"{who}: {message.text.strip()[:SHOWN_CHARS]}")
        if len(said) == 4:
            break
    return "\n\n".join(said)


def _fitted(text: str, max_chars: int) -> str:
    """The first line that says something, without what models like to put around a title."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    title = " ".join(line.removeprefix("Title:").strip().strip("\"'“”„«»*#").strip().rstrip(".").split())
    if len(title) <= max_chars:
        return title
    words = title[:max_chars].rpartition(" ")[0].rstrip(" ,;:-")
    return f"{words or title[: max_chars - 1]}…"

"""Titles of sessions, made by a model from how they began. Nothing depends on them: whatever goes wrong, the session goes on untitled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import ErrorInfo, error_of
from ..core.limits import Deadlines, Limits
from ..core.messages import AssistantMessage, Message, UserMessage
from ..core.store import Edit, SessionInfo, Store
from ..core.usage import NO_USAGE, Usage
from ..models.connection import Model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .agent import Agent
    from .runtime import Runtime
    from .session import Session

INSTRUCTIONS = (
    "You name conversations. Given how one began, answer with a title of at most six words, in the language of the conversation: "
    "what it is about, without quotation marks and without a full stop. Answer with the title alone."
)
TRIES = 3
"""Turns of a session after which a title is asked for, while it has none."""
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


class Titling:
    """Which sessions are to get titles, and what that has taken."""

    __slots__ = ("_agent", "_titles", "_tries", "usage")

    def __init__(self, titles: Titles) -> None:
        self._titles = titles
        self._agent: Agent[Any] | None = None
        self._tries: dict[str, int] = {}
        self.usage = NO_USAGE

    def expect(self, info: SessionInfo) -> None:
        """This session has no title yet."""
        if info.turns < TRIES:
            self._tries[info.id] = TRIES - info.turns

    def wants(self, session: Session[Any]) -> bool:
        """Whether the session may get a title now."""
        return session.id in self._tries

    def forget(self, session_id: str) -> None:
        """It is to get none."""
        self._tries.pop(session_id, None)

    async def entitle(self, session: Session[Any], store: Store) -> None:
        """Give the session a title, unless it got one meanwhile. Raises what asking for it and writing it raise; then it is tried
        again after the next turn, a few times."""
        left = self._tries.pop(session.id, 0)
        try:
            if self._agent is None:
                self._agent = titling_agent(self._titles, session.runtime)
            title, usage = await title_of(self._agent, session.history, self._titles.max_chars)
            self.usage += usage
            info = await store.info(session.id)
            if info is not None and not info.title:
                await store.edit(session.id, Edit(title=title))
        except Exception:
            if left > 1:
                self._tries[session.id] = left - 1
            raise


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

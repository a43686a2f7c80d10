"""What stores note about entries beside keeping them: for lists of sessions, for search, and for knowing which blobs are in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ..core.changes import Compacted, Parked, Resumed, TurnContinued
from ..core.content import Audio, BlobRef, Document, Image, Text, ToolCall
from ..core.entries import (
    CallOutcome,
    CallStarted,
    Entry,
    InputAccepted,
    PartialKept,
    SessionCreated,
    SteerAccepted,
    StepCommitted,
    TurnEnded,
)
from ..core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ..core.outcomes import ToolResult
from ..core.store import NewSession, StoredStatus


class Facts(msgspec.Struct, frozen=True):
    """What an append changes in the row of its session: `status` if it is another one afterwards, how many turns began, and how many
    messages and results were added."""

    status: StoredStatus | None = None
    turns: int = 0
    messages: int = 0


def facts_of(entries: Sequence[Entry]) -> Facts:
    """Of entries that are appended together."""
    status: StoredStatus | None = None
    turns = messages = 0
    for entry in entries:
        noted = _NOTED.get(type(entry))
        if noted is not None:
            messages += noted[0]
            status = noted[1] or status
        elif isinstance(entry, (InputAccepted, TurnContinued)):
            status = "running"
            turns += 1
            messages += 1 if entry.message is not None else 0
        elif isinstance(entry, SessionCreated):
            messages += len(entry.history)
    return Facts(status, turns, messages)


_NOTED: dict[type[Entry], tuple[int, StoredStatus | None]] = {
    StepCommitted: (1, None),
    CallStarted: (0, None),
    CallOutcome: (1, None),
    SteerAccepted: (1, None),
    PartialKept: (1, None),
    TurnEnded: (0, "idle"),
    Parked: (0, "parked"),
    Resumed: (0, "running"),
}
"""Messages and status, of entries that are alike in it; `CallStarted`, which changes nothing, is here as one of the most frequent."""


def begun_by(session: str, entries: Sequence[Entry]) -> NewSession:
    """The row of a session that was not created but begins with an append."""
    first = entries[0] if entries else None
    if not isinstance(first, SessionCreated):
        return NewSession(id=session)
    return NewSession(id=session, principal=first.principal, agent=first.agent)


def text_of(entry: Entry) -> str:
    """What can be found of an entry: what users, models and tools said; "" for most entries."""
    return "\n".join(filter(None, _texts(entry)))


def blobs_of(entry: Entry) -> set[str]:
    """The sha256 of the blobs that an entry refers to."""
    return {ref.sha256 for ref in _refs(entry)}


def blobs_among(entries: Sequence[Entry]) -> set[str] | None:
    """The same of entries that are appended together; None, quickly, if there are none, as in most appends."""
    found: set[str] | None = None
    for entry in entries:
        if type(entry) not in _BARE and not _is_plain(entry) and (referred := blobs_of(entry)):
            found = referred if found is None else found | referred
    return found


def _is_plain(entry: Entry) -> bool:
    """Whether an entry has nothing but text and calls, as one look tells."""
    if isinstance(entry, CallOutcome):
        return type(entry.result.body) is str and entry.result.artifact is None
    if isinstance(entry, (StepCommitted, InputAccepted)):
        body = entry.message.body
        return isinstance(body, str) or _PLAIN.issuperset(map(type, body))
    return False


_PLAIN: frozenset[type] = frozenset((Text, ToolCall))
_BARE: frozenset[type] = frozenset((CallStarted, TurnEnded))
"""Frequent entries that have nothing in which a blob could be referred to."""


def _texts(entry: Entry) -> Iterator[str]:
    if isinstance(entry, CallOutcome):
        yield _text(entry.result.content)
    elif isinstance(entry, SessionCreated):
        if not entry.forked_from:  # what a fork begins with is found in the session that it was forked from
            for message in entry.history:
                yield from _said(message)
    else:
        for message in _messages(entry):
            yield from _said(message)


def _said(message: Message) -> Iterator[str]:
    if isinstance(message, ToolMessage):
        for result in message.results:
            yield _text(result.content)
    else:
        yield _text(message.content)


def _text(blocks: Sequence[object]) -> str:
    return "\n".join([block.text for block in blocks if isinstance(block, Text)])


def _refs(entry: Entry) -> Iterator[BlobRef]:
    if isinstance(entry, CallOutcome):
        yield from _of_result(entry.result)
        return
    for message in _kept(entry):
        if isinstance(message, ToolMessage):
            for result in message.results:
                yield from _of_result(result)
        elif type(message.body) is tuple:
            yield from _of_blocks(message.content)


def _kept(entry: Entry) -> Iterator[Message]:
    """The messages that an entry brings into the session, also what stands for others in what the model is sent."""
    if isinstance(entry, SessionCreated):
        yield from entry.history
        yield from [view.change.summary for view in entry.views if view.change.summary is not None]
    elif isinstance(entry, Compacted):
        if entry.change.summary is not None:
            yield entry.change.summary
    else:
        yield from _messages(entry)


def _of_result(result: ToolResult) -> Iterator[BlobRef]:
    if result.artifact is not None:
        yield result.artifact
    if type(result.body) is tuple:
        yield from _of_blocks(result.content)


def _of_blocks(blocks: Sequence[object]) -> Iterator[BlobRef]:
    for block in blocks:
        if isinstance(block, (Image, Audio, Document)) and isinstance(block.source, BlobRef):
            yield block.source


def _messages(entry: Entry) -> Iterator[UserMessage | AssistantMessage]:
    """The message that an entry brings, if it brings one of a person or a model."""
    message = getattr(entry, "message", None)
    if isinstance(message, (UserMessage, AssistantMessage)):
        yield message

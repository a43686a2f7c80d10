"""Looking for words in the history of a session, also in what the model is not sent any more."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from .content import Document, Text, ToolCall
from .messages import Message, ToolMessage

AROUND = 80
"""Characters of context on each side of what was found."""


class SearchHit(msgspec.Struct, frozen=True):
    """A place in the history. `index` is that of the message in `Session.history`; `call_id` is set if it is in the arguments or the
    result of a call. `start` and `end` bound it in its text, `excerpt` is it with its surroundings, in one line. `shown` is false
    if the model is not sent it any more."""

    index: int
    message_id: str
    call_id: str | None
    start: int
    end: int
    excerpt: str
    shown: bool


def search(
    history: Sequence[Message], wanted: str | re.Pattern[str], covers: int, masked: frozenset[str]
) -> list[SearchHit]:
    """All places, the oldest first; a string is looked for as it is, in any case. `covers` and `masked` say what is not shown."""
    pattern = re.compile(re.escape(wanted), re.IGNORECASE) if isinstance(wanted, str) else wanted
    found: list[SearchHit] = []
    for index, message in enumerate(history):
        for call_id, text in _texts(message):
            hidden = index < covers or (isinstance(message, ToolMessage) and call_id in masked)
            found += [
                SearchHit(
                    index, message.id, call_id, m.start(), m.end(), _excerpt(text, m.start(), m.end()), not hidden
                )
                for m in pattern.finditer(text)
                if m.end() > m.start()
            ]
    return found


def _texts(message: Message) -> Iterator[tuple[str | None, str]]:
    """What a message says, piece by piece; results with the ids of their calls."""
    if isinstance(message, ToolMessage):
        for result in message.results:
            yield result.call_id, result.text
        return
    for block in message.content:
        if isinstance(block, Text):
            yield None, block.text
        elif isinstance(block, ToolCall):
            yield block.id, block.arguments
        elif isinstance(block, Document) and block.name:
            yield None, block.name


def _excerpt(text: str, start: int, end: int) -> str:
    before, after = max(0, start - AROUND), end + AROUND
    said = " ".join(text[before:after].split())
    return f"{'…' if before else ''}{said}{'…' if after < len(text) else ''}"

"""Does a request begin with the bytes of the one before it? If not, the provider has to read all of it anew, and this says why.

Asked at every request, so it compares identities and counts; only when a head was made anew are its parts looked at (rule T7).
What a provider does not keep (its prompt cache is its own business) is not told here, nor a first request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from ..core.messages import Message
from ..core.request import RequestHead
from ..core.state import SessionState
from .plan import Target

CacheCause = Literal["model", "instructions", "tools", "settings", "compaction", "rewind", "clear", "history"]

_NOT_READ = {"max_output_tokens": None, "temperature": None, "top_p": None, "stop": (), "seed": None, "cache": "auto"}
"""Settings that say how to answer: no provider's prompt cache depends on them."""


class Sent(NamedTuple):
    """What the last request of a session was made of. The messages are those at the end of transcript and history."""

    target: Target
    head: RequestHead
    messages: int
    last_message: Message | None
    history: int
    last_of_history: Message | None
    views: int


def sent(target: Target, head: RequestHead, state: SessionState) -> Sent:
    """The request that goes out now. `head` is what is asked of the model with these messages (`Target.head_with`)."""
    transcript, history = state.transcript, state.history
    return Sent(target, head, len(transcript), _at(transcript, -1), len(history), _at(history, -1), len(state.views))


def cause_of_break(before: Sent, now: Sent, state: SessionState) -> CacheCause | None:
    """Why the request that goes out now does not begin as the one before; None if it does."""
    if now.head is not before.head and (cause := _in_head(before, now)):
        return cause
    if _at(state.transcript, before.messages - 1) is before.last_message:
        return None
    if _at(state.history, before.history - 1) is not before.last_of_history:
        return "rewind"
    if now.views != before.views:
        return "clear" if state.views and state.views[-1].cleared else "compaction"
    return "history"


def _in_head(before: Sent, now: Sent) -> CacheCause | None:
    one, other = before.head, now.head
    if one.model != other.model or before.target.handle.key_scope != now.target.handle.key_scope:
        return "model"
    if one.instructions != other.instructions:
        return "instructions"
    if one.tools != other.tools:
        return "tools"
    if msgspec.structs.replace(one.settings, **_NOT_READ) != msgspec.structs.replace(other.settings, **_NOT_READ):
        return "settings"
    return None


def _at(messages: Sequence[Message], index: int) -> Message | None:
    return messages[index] if -len(messages) <= index < len(messages) else None

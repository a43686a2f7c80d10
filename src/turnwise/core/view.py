"""The view of a session: which part of its history the next request sends, and what stands in place of the rest.

The history is complete and never changed by a compaction; the transcript is what `project` makes of it. So originals survive, and
a compaction, a `clear` or a rewind can be taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from .messages import Message, ToolMessage, UserMessage


class Masked(msgspec.Struct, frozen=True, gc=False):
    """The result of this call is shown as `text` from now on; once masked it stays so, with the same bytes (rule X6)."""

    call_id: str
    text: str


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the transcript leaves out of the history.

    The first `covers` messages are left out; `summary`, a message marked `"summary"`, stands for them if there is one. The
    results in `masked` are replaced. `covers` is always at the end of a step (rule X2).
    """

    covers: int = 0
    summary: UserMessage | None = None
    masked: tuple[Masked, ...] = ()


WHOLE = Change()


class View(msgspec.Struct, frozen=True):
    """A change in effect, all earlier masks included; `turn` is the last turn that had begun when it was made."""

    change: Change
    turn: int
    cleared: bool = False


def project(history: Sequence[Message], change: Change) -> list[Message]:
    """The transcript: `history` as `change` shows it."""
    masks = {m.call_id: m.text for m in change.masked}
    kept = [masked(m, masks) for m in history[change.covers :]] if masks else list(history[change.covers :])
    return kept if change.summary is None else [change.summary, *kept]


def back_to(history: Sequence[Message], views: Sequence[View], to: int) -> tuple[int, int]:
    """How many messages and views are left when everything after turn `to` is taken back."""
    kept, shown = len(history), len(views)
    while kept and history[kept - 1].turn > to:
        kept -= 1
    while shown and (views[shown - 1].turn > to or views[shown - 1].change.covers > kept):
        shown -= 1
    return kept, shown


def masked(message: Message, masks: Mapping[str, str]) -> Message:
    """The message with its masked results replaced; the same object if it has none."""
    if not isinstance(message, ToolMessage) or not any(r.call_id in masks for r in message.results):
        return message
    results = [msgspec.structs.replace(r, body=masks[r.call_id]) if r.call_id in masks else r for r in message.results]
    return msgspec.structs.replace(message, results=tuple(results))


def then(before: Change, change: Change) -> Change:
    """One change after another: masks add up, the later summary stands for everything before it."""
    known = {m.call_id for m in before.masked}
    fresh = tuple([m for m in change.masked if m.call_id not in known])
    if change.covers > before.covers:
        return Change(change.covers, change.summary, before.masked + fresh)
    return Change(before.covers, before.summary, before.masked + fresh)

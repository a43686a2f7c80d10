"""A request that middleware has changed, encoded apart from what its session keeps: other messages, another head, another last word.

The session's own encoded prefix is never touched. A view that grows like the conversation does (a redacted one, say) is kept encoded
with the chain, so that it costs what it grew by, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ...core.inputs import CallModel
from ...core.messages import Message
from ...core.protocols import Blobs
from ...core.request import RequestHead
from ..attempt import Attempt
from ..plan import Target
from ..prefix import Prefix
from ..said import Asker, Ended

if TYPE_CHECKING:
    from ..claims import Claims
    from .compose import Chain

HEADS_KEPT = 8


class Kept(NamedTuple):
    """The last changed view of a session, and its encoded form."""

    messages: Sequence[Message]
    prefix: Prefix


class View:
    """Whoever asks, with other words: see `Asker`. `kept` is None where the messages are the asker's own."""

    __slots__ = ("_asker", "_kept", "_tail")

    def __init__(self, asker: Asker, kept: Kept | None, tail: str) -> None:
        self._asker = asker
        self._kept = kept
        self._tail = tail

    @property
    def transcript(self) -> Sequence[Message]:
        return self._asker.transcript if self._kept is None else self._kept.messages

    @property
    def prefix(self) -> Prefix:
        return self._asker.prefix if self._kept is None else self._kept.prefix

    @property
    def blobs(self) -> Blobs:
        return self._asker.blobs

    @property
    def has_blobs(self) -> bool:
        return self._asker.has_blobs

    @property
    def claims(self) -> Claims | None:
        return self._asker.claims

    def post(self, given: Ended) -> None:
        self._asker.post(given)

    def is_light(self, attempt: Attempt, body_bytes: int) -> bool:
        return self._asker.is_light(attempt, body_bytes)

    async def weigh(self, attempt: Attempt, body_bytes: int) -> bool:
        return await self._asker.weigh(attempt, body_bytes)

    def reminder(self, asked: CallModel) -> str:
        return self._tail


def view_of(chain: Chain, asker: Asker, messages: Sequence[Message], target: Target) -> Kept:
    """The changed messages with what is encoded of them already: all that is as it was in the last view of this session."""
    runtime: Any = getattr(asker, "runtime", None)
    if runtime is None:
        return Kept(messages, Prefix())
    before: Kept | None = chain.kept.get(asker)
    kept = Kept(messages, Prefix())
    if before is not None:
        same, old = 0, before.messages
        view = list(messages)
        for one, other in zip(view, old, strict=False):
            if one is not other and one != other:
                break
            view[same] = other  # so that the prefix knows it again
            same += 1
        kept = Kept(tuple(view), before.prefix if same == len(old) else Prefix())
    chain.kept[asker] = kept
    runtime.keep_encoded(kept.prefix)
    return kept


def target_for(chain: Chain, target: Target, head: RequestHead) -> Target:
    """The target with another head, encoded; the same object for the same head, so that nothing seems to have changed when nothing has.
    Raises `ConfigError` for what the model cannot do."""
    kept: list[tuple[Target, RequestHead, Target]] = chain.kept.setdefault(chain, [])
    for own, known, made in kept:
        if own is target and (known is head or known == head):
            return made
    made = msgspec.structs.replace(target, head=head, sealed=target.handle.seal(head))
    kept.append((target, head, made))
    del kept[:-HEADS_KEPT]
    return made

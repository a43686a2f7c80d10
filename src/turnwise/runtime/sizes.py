"""How large a session's requests are, in tokens, and how many tokens their models read (rule X1).

What is learned here is kept in memory and learned anew by the next process. Nothing here decides; that is in compact.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..core.estimate import NOTHING, Calibration, Weight, corrected, first_guess, media_weight
from ..core.settings import SessionSettings
from ..core.usage import Usage
from ..models.facts import Facts
from ..models.handle import ModelHandle
from .attachments import not_plain
from .learn import window_of
from .runtime import Runtime

if TYPE_CHECKING:
    from ..core.state import SessionState
    from .actor import Actor
    from .compact import Job

SMALLEST_WINDOW = 4096
"""Tokens that every model reads, as far as anyone knows."""
DENSE = 0.5
"""Tokens per byte of a request that has many; usual ones have half of it."""
GROWTH = 0.05
"""The share of the window by which a conversation has to grow before it is compacted again, if it could not be made small enough."""
BRIM = 0.97
"""Above this share there is no waiting for growth."""


class Sent(NamedTuple):
    """The last request that was weighed, and what had been reported before it."""

    model: str
    weight: Weight
    before: Usage | None


class Sizes:
    """What a session has learned of the size of its requests. `jobs` are the compactions under way or waiting, in order;
    `settled_tokens` is what the last one left, or could not make smaller."""

    __slots__ = ("_base", "_calibrations", "_counted", "_media", "_sent", "jobs", "settled_tokens")

    def __init__(self, plain: int = 0) -> None:
        """`plain` is how many messages are known to have no media, from the beginning of a view that was never changed."""
        self._calibrations: dict[str, Calibration] = {}
        self._sent: Sent | None = None
        self._base = 0
        self._counted = plain
        self._media = NOTHING
        self.jobs: list[Job] = []
        self.settled_tokens = 0

    def calibration(self, handle: ModelHandle, state: SessionState) -> Calibration:
        """Tokens per byte of this model's requests, by all that has been reported until now."""
        sent = self._sent
        if sent is not None and state.last_usage is not sent.before:
            self._sent = None
            known = self._calibrations[sent.model]
            self._calibrations[sent.model] = corrected(known, sent.weight, state.last_usage)
        name = _name(handle)
        if (known := self._calibrations.get(name)) is None:
            known = self._calibrations[name] = first_guess(handle.codec.api)
        return known

    def sending(self, handle: ModelHandle, weight: Weight, state: SessionState) -> None:
        """A request goes out now; what is reported next is about it."""
        self._sent = Sent(_name(handle), weight, state.last_usage)

    def refused(self, handle: ModelHandle, weight: Weight, limit: int | None) -> None:
        """The provider found a request too long that was estimated to fit: so little is known that the estimate must have been wrong."""
        known = self._calibrations[_name(handle)]
        if limit is not None and not known.seen and known.tokens(weight) < limit and weight.text_bytes:
            least = max(0, limit - weight.media_tokens) / weight.text_bytes
            self._calibrations[_name(handle)] = Calibration(min(1.0, max(known.tokens_per_byte, least)))

    def media(self, state: SessionState) -> Weight:
        """What the media of the transcript weigh. Each message is looked at once."""
        transcript = state.transcript
        if self._base != state.base or self._counted > len(transcript):
            self._base, self._counted, self._media = state.base, 0, NOTHING
        fresh = transcript[self._counted :] if self._counted else transcript
        # Plain text, the common case, has none.
        for message in not_plain(fresh):
            self._media += media_weight(message)
        self._counted = len(transcript)
        return self._media

    def is_over(self, tokens: int, limit: int, share: float) -> bool:
        """Whether a request of so many tokens is to be preceded by a compaction."""
        if tokens <= share * limit:
            return False
        return tokens > min(self.settled_tokens + GROWTH * limit, BRIM * limit)

    async def stop(self) -> None:
        """Stop every compaction that is under way."""
        for job in list(self.jobs):
            await job.stop()


def sizes_of(session: Actor[Any]) -> Sizes:
    """What the session has learned so far; most sessions never need it."""
    if session.sizes is None:
        session.sizes = Sizes(session.plain if session.state.base == 0 else 0)
    return session.sizes


def fits_any_model(state: SessionState, body_bytes: int, share: float) -> bool:
    """Whether a request is so small that no window need be known. One look for most requests."""
    least = SMALLEST_WINDOW * share
    return body_bytes * DENSE < least and (state.context_tokens or 0) < least and state.settings.context_limit is None


async def limit_of(settings: SessionSettings, facts: Facts, runtime: Runtime) -> int | None:
    """How many tokens a model reads: by the session's settings, else by the catalogue; None if neither knows."""
    return settings.context_limit if settings.context_limit is not None else await window_of(facts, runtime)


def _name(handle: ModelHandle) -> str:
    return f"{handle.provider}:{handle.model}"

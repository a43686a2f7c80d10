"""The answer to a model call as middleware sees it: a stream of decoded events that has not been read yet.

It is read when the turn's consumer asks for more, never before; `through` puts a stage into its way. How it is read is in `pump`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol, Self

import msgspec

from ...core.decoded import DecoderEvent, ResponseEnded
from ...core.errors import ErrorInfo, TurnwiseError
from ...core.events import TextDelta
from ...core.messages import StopReason
from ...core.usage import Usage

Stage = Callable[[AsyncIterator[DecoderEvent]], AsyncIterator[DecoderEvent]]
"""An async generator function: it gets the events of the response and yields those that are to come of it."""


class Ended(msgspec.Struct, frozen=True):
    """How a model call ended. `stop_reason` is None if it was not answered to the end; then `error` says why, unless it was `aborted` from
    outside (an interrupt, a consumer that left). `seconds` count from when middleware was asked, to the first event and to the end."""

    stop_reason: StopReason | None
    usage: Usage | None
    error: ErrorInfo | None
    aborted: bool
    seconds: float
    first_event_s: float | None


AtEnd = Callable[[Ended], None]


class Live(Protocol):
    """The attempt that has asked the provider."""

    def listen(self) -> AsyncIterator[DecoderEvent]: ...
    def fail(self, error: TurnwiseError, /) -> None: ...


class ModelResponse:
    """What `next(request)` gives to model middleware, and what it returns."""

    __slots__ = ("_at_end", "_events", "_live", "_stages")

    def __init__(
        self,
        live: Live | None,
        events: tuple[DecoderEvent, ...] = (),
        stages: tuple[Stage, ...] = (),
        at_end: list[AtEnd] | None = None,
    ) -> None:
        self._live = live
        self._events = events
        self._stages = stages
        self._at_end: list[AtEnd] = [] if at_end is None else at_end

    @classmethod
    def of(cls, events: Iterable[DecoderEvent]) -> Self:
        """An answer in place of the provider's: nothing is sent, and nothing was used (`Usage.provenance` is `unsent`). The last event is
        its end; ids of calls and numbers of attempts are set right."""
        return cls(None, tuple(events))

    @classmethod
    def text(cls, text: str) -> Self:
        """Such an answer, of text alone."""
        return cls.of((TextDelta(text), ResponseEnded("stop")))

    @property
    def sent(self) -> bool:
        """Whether a provider was asked."""
        return self._live is not None

    @property
    def live(self) -> Live | None:
        return self._live

    @property
    def stages(self) -> tuple[Stage, ...]:
        return self._stages

    @property
    def endings(self) -> list[AtEnd]:
        return self._at_end

    def through(self, stage: Stage) -> ModelResponse:
        """The response with one more stage that sees and may change its events, as they come. A stage runs in a task of the runtime,
        from the first event that is asked for until the response ends or is given up; then it is closed. It has to yield an end."""
        return ModelResponse(self._live, self._events, (*self._stages, stage), self._at_end)

    def at_end(self, told: AtEnd) -> ModelResponse:
        """Have a function called when the call is over, however it ended: exactly once, on the loop. It must return at once. Cheaper
        than a stage for what only wants to know. Returns this response."""
        self._at_end.append(told)
        return self

    def events(self) -> AsyncIterator[DecoderEvent]:
        """The events themselves, for a middleware that reads all of them before it goes on: they are then its own, and it returns
        `ModelResponse.of` those that are to count."""
        from .pump import staged

        source = self.in_place() if self._live is None else self._live.listen()
        return staged(source, self._stages)[-1]

    async def in_place(self) -> AsyncIterator[DecoderEvent]:
        """The events that it was made of."""
        for event in self._events:
            yield event

    def abort(self, error: TurnwiseError) -> None:
        """End the call now with this error, whether or not anybody reads."""
        if self._live is not None:
            self._live.fail(error)

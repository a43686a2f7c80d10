"""What an attempt has said by now, and what comes of it: an answer, or a failure; what it has cost. How it is read is in `attempt`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

import msgspec

from ..core.content import Audio, Image
from ..core.errors import ErrorInfo
from ..core.inputs import CallModel, ModelFailed, ModelReplied
from ..core.inputs_rare import Stop
from ..core.limits import Deadlines
from ..core.messages import AssistantMessage, Message
from ..core.protocols import Blobs, Response
from ..core.reducer import Reducer
from ..core.usage import Usage
from ..models.secrets import masked
from ..wire.base import Decoder
from .attachments import stored
from .gates import Gate
from .learn import learn_prices
from .plan import Target
from .prefix import Prefix
from .refusals import media_lost
from .runtime import Runtime

if TYPE_CHECKING:
    from .attempt import Attempt
    from .claims import Claims
    from .hooks.at_step import StepHooks
    from .output import Answered

Ended = ModelReplied | ModelFailed | Stop
"""What comes of an attempt: an answer, a failure, or the end of the turn where a hook does not take the answer."""

AttemptPhase = Literal["", "retry_wait", "queued", "connecting", "waiting", "answering"]
"""What a model call does: waits to be tried again, for a free place (`ProviderLimits`), for the connection, for the first byte, or
reads the answer."""

BYTES_PER_TOKEN = 4
"""A rough average, used only where the provider never got to say."""


class Asker(Protocol):
    """For whom a model is asked: a session, or a single request. `post` takes what came of it when it comes later than `read`."""

    @property
    def transcript(self) -> Sequence[Message]: ...
    @property
    def prefix(self) -> Prefix: ...
    @property
    def blobs(self) -> Blobs: ...
    @property
    def has_blobs(self) -> bool: ...
    @property
    def claims(self) -> Claims | None: ...
    def post(self, given: Ended, /) -> None: ...
    def is_light(self, attempt: Attempt, body_bytes: int, /) -> bool:
        """Whether a request of that size need not be weighed."""
        ...

    async def weigh(self, attempt: Attempt, body_bytes: int, /) -> bool:
        """Whether a request of that size may be sent; False if something else was begun instead."""
        ...

    def reminder(self, asked: CallModel, /) -> str:
        """What the model is told at the end of this request and of no other; "" for nothing."""
        ...


class Said:
    """The fields of an attempt; see `Attempt`."""

    __slots__ = (
        "_answered",
        "_body_bytes",
        "_created_at",
        "_deadlines",
        "_decoder",
        "_gate",
        "_runtime",
        "asked",
        "context_limit",
        "first_at",
        "head",
        "hooks",
        "opening",
        "patience_s",
        "reducer",
        "response",
        "sent_at",
        "stopped",
        "target",
        "waiting_since",
    )

    def __init__(
        self,
        asked: CallModel,
        target: Target,
        deadlines: Deadlines,
        runtime: Runtime,
        answered: Answered | None = None,
    ) -> None:
        self.asked = asked
        self.target = target
        self.head = target.head
        self._deadlines = deadlines
        self._answered = answered
        self._runtime = runtime
        self._gate: Gate | None = None
        self.reducer = Reducer()
        self._created_at = runtime.clock.wall()
        self.response: Response | None = None
        self.opening: asyncio.Task[Any] | None = None
        self._decoder: Decoder | None = None
        self.waiting_since: float | None = None
        self.sent_at: float | None = None
        self.first_at: float | None = None
        self.patience_s: float | None = None
        self.stopped = False
        self.hooks: StepHooks | None = None
        self._body_bytes = 0
        self.context_limit: int | None = None

    @property
    def being_read(self) -> bool:
        """Whether someone is in the midst of `read`, of one that is read at all: it may have been stopped meanwhile."""
        return self.waiting_since is not None

    @property
    def phase(self) -> AttemptPhase:
        """What it does right now."""
        if self.response is not None:
            return "waiting" if self._decoder is None else "answering"
        if self.waiting_since is not None:
            return "connecting"
        return "queued" if self._body_bytes else "retry_wait" if self.asked.delay_s else ""

    def _reminder(self, asker: Asker) -> str:
        """What the model is told at the end of this request alone."""
        said = asker.reminder(self.asked)
        return said if self.hooks is None else self.hooks.reminding(said)

    def usage_so_far(self) -> Usage | None:
        """What a response that was cut off cost: what the provider had said, else our own rough estimate (rule S4)."""
        if self._decoder is None:
            return None
        reducer = self.reducer
        if reducer.ended is None and reducer.failed is None:
            reducer.feed(self._decoder.finish())
        last = reducer.failed or reducer.ended
        if last is not None and last.usage is not None:
            return self._priced(last.usage)
        text = reducer.partial() or ""
        given, said = self._body_bytes // BYTES_PER_TOKEN, len(text.encode()) // BYTES_PER_TOKEN
        return self._priced(Usage(given, said, provenance="estimated"))

    def _priced(self, usage: Usage | None) -> Usage | None:
        return None if usage is None else self.target.facts.priced(usage, self._runtime.clock.wall())

    def _ended(self, asker: Asker) -> Ended | None:
        """What came of the attempt; None if something is to be fetched or put away first, in a task of the runtime."""
        target, asked = self.target, self.asked
        now = self._runtime.clock.wall()
        done = self.reducer.finish(target.handle.provider, target.handle.model, now)
        message = done.message
        if done.error is not None or message is None:
            return self.failed(done.error or _NO_ANSWER)
        target.budget.earn()
        body, response = message.body, message.response
        if (usage := self._priced(response.usage)) is not response.usage:
            response = msgspec.structs.replace(response, usage=usage)
        replied = AssistantMessage(body, asked.turn, asked.step, self._created_at, False, response)
        media = type(body) is tuple and any(type(b) is Image or type(b) is Audio for b in body)
        if media or (usage is not None and not target.facts.prices_at_hand):
            self._runtime.start(self._reply_later(replied, asker))
            return None
        return self._heard(replied)

    def _heard(self, message: AssistantMessage) -> Ended | None:
        """The answer after its hooks have had their say; None if they still have to."""
        if self.hooks is None or not self.hooks.has_after:
            return self.replied(message)
        return self.hooks.after(cast("Attempt", self), message)

    def replied(self, message: AssistantMessage) -> ModelReplied:
        """The answer of the attempt."""
        if self._answered is None or self.asked.concluding:
            return ModelReplied(message, None, self.context_limit)
        return ModelReplied(message, self._answered.problem_of(message, self.target.strategy), self.context_limit)

    async def _reply_later(self, message: AssistantMessage, asker: Asker) -> None:
        """Say what was said when its media are in the blob store, and when its price is known: once in a process, the first answer
        may come before the catalogue is loaded."""
        facts, body, response = self.target.facts, message.body, message.response
        if not facts.prices_at_hand:
            await learn_prices(facts, self._runtime)
            response = msgspec.structs.replace(response, usage=self._priced(response.usage))
        if type(body) is tuple:
            try:
                body = await stored(body, asker)
            except Exception as error:
                if not self.stopped:
                    asker.post(self.failed(media_lost(error)))
                return
        if not self.stopped:
            ended = self._heard(msgspec.structs.replace(message, body=body, response=response))
            if ended is not None:
                asker.post(ended)

    def failed(self, error: ErrorInfo, used: Usage | None = None) -> ModelFailed:
        """The failure of the attempt. `used`: what it took, where that is known."""
        target, reducer = self.target, self.reducer
        failed, begun = reducer.failed, reducer.shown or reducer.model
        # A stream that broke off has cost what was read of it, also when the provider could not say so any more.
        usage = self._priced(failed.usage) if failed is not None else self.usage_so_far() if begun else None
        usage = usage if used is None else used
        named = msgspec.structs.replace(masked(error), provider=target.handle.provider, model=target.handle.model)
        return ModelFailed(
            named,
            reducer.shown,
            usage,
            self._runtime.random.random(),
            target.budget.may_retry(),
        )


_NO_ANSWER = ErrorInfo("provider", "protocol", "The response ended without an answer.", "Try again.", retryable=True)

"""One try of one model call: waiting for its turn, opening the connection, reading the response.

An attempt ends in exactly one machine input (`ModelReplied` or `ModelFailed`) unless it is stopped first. It keeps the time
since which it has been waiting for the provider, for the turn's watch to look at: no timer is armed per read (rule C5).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from ..core.content import Audio, Image
from ..core.errors import ErrorInfo, TurnwiseError
from ..core.events import Event
from ..core.ids import step_id
from ..core.inputs import CallModel, ModelFailed, ModelReplied
from ..core.limits import Deadlines
from ..core.messages import AssistantMessage, Message
from ..core.protocols import Blobs, Chunk, Response
from ..core.reducer import Reducer
from ..core.usage import Usage
from ..models.auth import Outgoing
from ..models.handle import Sealed
from ..wire.base import Decoder
from .attachments import loaded, stored
from .gates import Gate
from .learn import learn, learned
from .plan import Target
from .prefix import Prefix
from .refusals import silence
from .runtime import Runtime

if TYPE_CHECKING:
    from .output import Answered

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
    def post(self, given: ModelReplied, /) -> None: ...
    async def weigh(self, attempt: Attempt, body_bytes: int, /) -> bool:
        """Whether a request of that size may be sent; False if something else was begun instead."""
        ...

    def reminder(self, asked: CallModel, /) -> str:
        """What the model is told at the end of this request and of no other; "" for nothing."""
        ...


class Attempt:
    """`response` is set once the request is sent; `waiting_since` (loop time) and `patience_s` while the provider is
    waited for; `opening` is the task that opens it, ours to cancel. `gate` is held from before the request is sent until the
    response has ended. `answered` checks whether the answer has the form asked for, if one was; `context_limit` is how many tokens
    the model reads, once that is known."""

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
        "head",
        "opening",
        "patience_s",
        "reducer",
        "response",
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
        self.patience_s: float | None = None
        self.stopped = False
        self._body_bytes = 0
        self.context_limit: int | None = None

    @property
    def phase(self) -> AttemptPhase:
        """What it does right now."""
        if self.response is not None:
            return "waiting" if self._decoder is None else "answering"
        if self.waiting_since is not None:
            return "connecting"
        return "queued" if self._body_bytes else "retry_wait" if self.asked.delay_s else ""

    async def open(self, asker: Asker) -> ModelFailed | None:
        """Send the request; None when it is sent. Its answer is waited for by `read`."""
        target, runtime, asked = self.target, self._runtime, self.asked
        if asked.delay_s > 0:
            await runtime.sleep(asked.delay_s)
        transcript, codec = asker.transcript, target.handle.codec
        try:
            blobs = await loaded(asker, asker.prefix.lacks(transcript, codec)) if asker.has_blobs else {}
            self.head = target.head_for(transcript, concluding=bool(asked.concluding))
            sealed = target.sealed_for(self.head)
            body = asker.prefix.body(sealed.head, transcript, codec, blobs, asker.reminder(asked))
        except TurnwiseError as error:
            return ModelFailed(error.info)
        self._body_bytes = sum(map(len, body))
        if not await asker.weigh(self, self._body_bytes):
            return None
        if target.gate is not None:
            await target.gate.enter(self._body_bytes // BYTES_PER_TOKEN)
            self._gate = target.gate
        self.waiting_since, self.patience_s = runtime.loop.time(), self._deadlines.first_byte_s
        try:
            headers = sealed.headers
            if target.handle.auth is not None:
                headers = await self._authorized(sealed, body)
            self.response = await runtime.transport.open("POST", sealed.url, headers, body, self._deadlines.connect_s)
        except TurnwiseError as error:
            return self._failed(error.info)
        except Exception as error:
            return self._failed(runtime.transport.explain(error, sealed.url))
        finally:
            self.waiting_since = None
            if self.response is None:
                self._leave()
        if not target.facts.prices_at_hand:
            with contextlib.suppress(RuntimeError):  # no thread is to be had now
                learn(target.facts, runtime)
        return None

    async def _authorized(self, sealed: Sealed, body: Sequence[Chunk]) -> Mapping[str, str]:
        """The headers with those that let this very request in: a signature, a fresh token."""
        runtime, auth = self._runtime, self.target.handle.auth
        assert auth is not None
        outgoing = Outgoing("POST", sealed.url, sealed.headers, body)
        return {**sealed.headers, **await auth.headers(outgoing, runtime.blocking, runtime.clock.wall())}

    def _leave(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.leave()

    async def read(self, response: Response, asker: Asker) -> tuple[list[Event], ModelReplied | ModelFailed | None]:
        """One read of the body: the events it brought and, at the end of the body, what came of the attempt. The first one
        waits for the headers before."""
        decoder, reducer = self._decoder, self.reducer
        self.waiting_since = self._runtime.loop.time()
        try:
            if decoder is None:
                decoder = await self._head(response)
            data = await response.read()
        except Exception as error:
            self._close(response)
            return [], self._failed(self._runtime.transport.explain(error, self.target.handle.base_url))
        finally:
            self.waiting_since = None
        if data:
            return reducer.feed(decoder.feed(data)), None
        self._close(response)
        return reducer.feed(decoder.finish()), self._ended(asker)

    def _close(self, response: Response) -> None:
        self.response = None
        response.close()
        self._leave()

    async def _head(self, response: Response) -> Decoder:
        asked = self.asked
        await response.head()
        self.waiting_since, self.patience_s = self._runtime.loop.time(), self._deadlines.idle_s
        self._decoder = self.target.handle.codec.decoder(
            response.status, response.headers, step=step_id(asked.turn, asked.step), attempt=asked.attempt
        )
        return self._decoder

    def overdue(self, now: float) -> bool:
        """Whether the provider has been silent for longer than it may."""
        since, patience = self.waiting_since, self.patience_s
        return since is not None and patience is not None and now - since >= patience

    def give_up(self) -> ModelFailed:
        """Stop because the provider was silent for too long."""
        answering = self._decoder is not None
        self.stop("the provider was silent for too long")
        return self._failed(silence(self.target.handle.host.label, self.patience_s or 0.0, answering))

    def stop(self, reason: str) -> None:
        """Drop the connection, or give up getting one. A pending `read` raises; its outcome no longer counts."""
        self.stopped = True
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        response, self.response = self.response, None
        if response is not None:
            response.abort(reason)
            self._leave()

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

    def _ended(self, asker: Asker) -> ModelReplied | ModelFailed | None:
        """What came of the attempt; None if something is to be fetched or put away first, in a task of the runtime."""
        target, asked = self.target, self.asked
        now = self._runtime.clock.wall()
        done = self.reducer.finish(target.handle.provider, target.handle.model, now)
        message = done.message
        if done.error is not None or message is None:
            return self._failed(done.error or _NO_ANSWER)
        target.budget.earn()
        body, response = message.body, message.response
        if (usage := self._priced(response.usage)) is not response.usage:
            response = msgspec.structs.replace(response, usage=usage)
        replied = AssistantMessage(body, asked.turn, asked.step, self._created_at, False, response)
        media = type(body) is tuple and any(type(b) is Image or type(b) is Audio for b in body)
        if media or (usage is not None and not target.facts.prices_at_hand):
            self._runtime.start(self._reply_later(replied, asker))
            return None
        return self._replied(replied)

    def _replied(self, message: AssistantMessage) -> ModelReplied:
        if self._answered is None or self.asked.concluding:
            return ModelReplied(message, None, self.context_limit)
        return ModelReplied(message, self._answered.problem_of(message, self.target.strategy), self.context_limit)

    async def _reply_later(self, message: AssistantMessage, asker: Asker) -> None:
        """Say what was said when its media are in the blob store, and when its price is known: once in a process, the first answer
        may come before the catalogue is loaded."""
        facts, body, response = self.target.facts, message.body, message.response
        if not facts.prices_at_hand:
            try:
                await learned(facts, self._runtime)
            except Exception:  # a package that cannot be read must not cost the answer
                facts.give_up()
            response = msgspec.structs.replace(response, usage=self._priced(response.usage))
        if type(body) is tuple:
            body = await stored(body, asker)
        if not self.stopped:
            asker.post(self._replied(msgspec.structs.replace(message, body=body, response=response)))

    def _failed(self, error: ErrorInfo) -> ModelFailed:
        target = self.target
        failed = self.reducer.failed
        named = msgspec.structs.replace(error, provider=target.handle.provider, model=target.handle.model)
        return ModelFailed(
            named,
            self.reducer.shown,
            self._priced(failed.usage) if failed is not None else None,
            self._runtime.random.random(),
            target.budget.may_retry(),
        )


_NO_ANSWER = ErrorInfo("provider", "protocol", "The response ended without an answer.", "Try again.", retryable=True)

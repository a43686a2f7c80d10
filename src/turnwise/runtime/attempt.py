"""One try of one model call: waiting for its turn, opening the connection, reading the response.

An attempt ends in exactly one machine input (`ModelReplied` or `ModelFailed`) unless it is stopped first. It keeps the time
since which it has been waiting for the provider, for the turn's watch to look at: no timer is armed per read (rule C5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.content import AssistantBlock, Audio, BlobRef, Document, Image
from ..core.errors import ErrorInfo, TurnwiseError
from ..core.events import Event
from ..core.ids import step_id
from ..core.messages import AssistantMessage, Message, ToolMessage
from ..core.protocols import Response
from ..core.reducer import Reducer
from ..core.turn import CallModel, ModelFailed, ModelReplied
from ..core.usage import Usage
from ..wire.base import Decoder, parts
from .attachments import stored
from .plan import TurnPlan
from .runtime import Runtime

if TYPE_CHECKING:
    from .actor import Actor


BYTES_PER_TOKEN = 4
"""A rough average, used only where the provider never got to say."""


class Attempt:
    """`response` is set once the request is sent; `waiting_since` (loop time) and `patience_s` while the provider is
    waited for; `opening` is the task that opens it, ours to cancel."""

    __slots__ = (
        "_body_bytes",
        "_created_at",
        "_decoder",
        "_plan",
        "_runtime",
        "asked",
        "opening",
        "patience_s",
        "reducer",
        "response",
        "stopped",
        "waiting_since",
    )

    def __init__(self, asked: CallModel, plan: TurnPlan, runtime: Runtime) -> None:
        self.asked = asked
        self._plan = plan
        self._runtime = runtime
        self.reducer = Reducer()
        self._created_at = runtime.clock.wall()
        self.response: Response | None = None
        self.opening: asyncio.Task[Any] | None = None
        self._decoder: Decoder | None = None
        self.waiting_since: float | None = None
        self.patience_s: float | None = None
        self.stopped = False
        self._body_bytes = 0

    async def open(self, session: Actor[Any]) -> ModelFailed | None:
        """Send the request; None when it is sent. Its answer is waited for by `read`."""
        plan, runtime, asked = self._plan, self._runtime, self.asked
        if asked.delay_s > 0:
            await runtime.sleep(asked.delay_s)
        transcript = session.state.transcript
        try:
            blobs = await loaded(session, session.prefix.lacks(transcript, plan.codec)) if session.has_blobs else {}
            sealed = plan.sealed_for(transcript)
            body = parts(sealed.head, session.prefix.covering(transcript, plan.codec, blobs))
        except TurnwiseError as error:
            return ModelFailed(error.info)
        self._body_bytes = sum(map(len, body))
        self.waiting_since, self.patience_s = runtime.loop.time(), plan.deadlines.first_byte_s
        try:
            self.response = await runtime.transport.open(
                "POST", sealed.url, sealed.headers, body, plan.deadlines.connect_s
            )
        except Exception as error:
            return self._failed(runtime.transport.explain(error, sealed.url))
        finally:
            self.waiting_since = None
        return None

    async def read(
        self, response: Response, session: Actor[Any]
    ) -> tuple[list[Event], ModelReplied | ModelFailed | None]:
        """One read of the body: the events it brought and, at the end of the body, what came of the attempt. The first one
        waits for the headers before."""
        decoder, reducer = self._decoder, self.reducer
        self.waiting_since = self._runtime.loop.time()
        try:
            if decoder is None:
                decoder = await self._head(response)
            data = await response.read()
        except Exception as error:
            self.response = None
            response.close()
            return [], self._failed(self._runtime.transport.explain(error, self._plan.handle.base_url))
        finally:
            self.waiting_since = None
        if data:
            return reducer.feed(decoder.feed(data)), None
        self.response = None
        response.close()
        return reducer.feed(decoder.finish()), self._ended(session)

    async def _head(self, response: Response) -> Decoder:
        asked, plan = self.asked, self._plan
        await response.head()
        self.waiting_since, self.patience_s = self._runtime.loop.time(), plan.deadlines.idle_s
        self._decoder = plan.codec.decoder(
            response.status, response.headers, step=step_id(asked.turn, asked.step), attempt=asked.attempt
        )
        return self._decoder

    def overdue(self, now: float) -> bool:
        """Whether the provider has been silent for longer than it may."""
        since, patience = self.waiting_since, self.patience_s
        return since is not None and patience is not None and now - since >= patience

    def give_up(self) -> ModelFailed:
        """Stop because the provider was silent for too long."""
        silent = self._decoder is None
        self.stop("the provider was silent for too long")
        code, what = ("first_byte_timeout", "did not answer") if silent else ("idle_timeout", "stopped sending")
        return self._failed(
            ErrorInfo(
                "provider",
                code,
                f"{self._plan.handle.host.label} {what} for {self.patience_s:g} s.",
                "Try again, or allow more time with Deadlines.",
                retryable=True,
            )
        )

    def stop(self, reason: str) -> None:
        """Drop the connection, or give up getting one. A pending `read` raises; its outcome no longer counts."""
        self.stopped = True
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        response, self.response = self.response, None
        if response is not None:
            response.abort(reason)

    def usage_so_far(self) -> Usage | None:
        """What a response that was cut off cost: what the provider had said, else our own rough estimate (rule S4)."""
        if self._decoder is None:
            return None
        reducer = self.reducer
        if reducer.ended is None and reducer.failed is None:
            reducer.feed(self._decoder.finish())
        last = reducer.failed or reducer.ended
        if last is not None and last.usage is not None:
            return last.usage
        text = reducer.partial() or ""
        return Usage(self._body_bytes // BYTES_PER_TOKEN, len(text.encode()) // BYTES_PER_TOKEN, provenance="estimated")

    def _ended(self, session: Actor[Any]) -> ModelReplied | ModelFailed | None:
        """What came of the attempt; None if its images are put into the blob store first, in a task of the runtime."""
        plan, asked = self._plan, self.asked
        now = self._runtime.clock.wall()
        done = self.reducer.finish(plan.handle.provider, plan.handle.model, now)
        message = done.message
        if done.error is not None or message is None:
            return self._failed(done.error or _NO_ANSWER)
        plan.budget.earn()
        body = message.body
        replied = AssistantMessage(body, asked.turn, asked.step, self._created_at, False, message.response)
        if type(body) is tuple and any(type(b) is Image or type(b) is Audio for b in body):
            self._runtime.start(self._reply_with_media(replied, body, session))
            return None
        return ModelReplied(replied)

    async def _reply_with_media(
        self, message: AssistantMessage, body: tuple[AssistantBlock, ...], session: Actor[Any]
    ) -> None:
        message = msgspec.structs.replace(message, body=await stored(body, session))
        if not self.stopped:
            session.post(ModelReplied(message))

    def _failed(self, error: ErrorInfo) -> ModelFailed:
        plan = self._plan
        failed = self.reducer.failed
        named = msgspec.structs.replace(error, provider=plan.handle.provider, model=plan.handle.model)
        return ModelFailed(
            named,
            self.reducer.shown,
            failed.usage if failed is not None else None,
            self._runtime.random.random(),
            plan.budget.may_retry(),
        )


async def loaded(session: Actor[Any], messages: Sequence[Message]) -> dict[str, bytes]:
    """The bytes that these messages refer to. Raises `StateError` (`missing_blob`) for what is not in the blob store."""
    blobs: dict[str, bytes] = {}
    for message in messages:
        for ref in refs_of(message):
            if ref.sha256 not in blobs:
                blobs[ref.sha256] = await session.blobs.get(ref.sha256)
    return blobs


def refs_of(message: Message) -> list[BlobRef]:
    """The blobs that a message refers to, those of tool results included."""
    parts = [message.content] if not isinstance(message, ToolMessage) else [r.content for r in message.results]
    media = [b for blocks in parts for b in blocks if isinstance(b, (Image, Audio, Document))]
    return [b.source for b in media if isinstance(b.source, BlobRef)]


_NO_ANSWER = ErrorInfo("provider", "protocol", "The response ended without an answer.", "Try again.", retryable=True)

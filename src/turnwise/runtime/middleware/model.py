"""An attempt of a model call that middleware is around. Made in place of a plain `Attempt` where a turn has model middleware; else none of this
is loaded.

The chain runs in the task that opens the connection. What it gives back is read by the plain attempt's `read` if no stage was put into its
way, else through a `Pump`. Whatever the middleware does: what the provider said it took is counted, and the attempt ends once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ...core.decoded import DecoderEvent, ResponseFailed
from ...core.errors import ErrorInfo, TurnwiseError, error_of
from ...core.events import Event, Notice
from ...core.inputs import CallModel, ModelFailed
from ...core.inputs_rare import Stop
from ...core.limits import Deadlines
from ...core.principal import LOCAL, Principal
from ...core.protocols import Response
from ...core.reducer import Reducer
from ...core.usage import Usage
from ..attachments import loaded
from ..attempt import Attempt
from ..plan import Target
from ..refusals import silence
from ..runtime import Runtime
from ..said import Asker, AttemptPhase
from ..said import Ended as Came
from . import refusals
from .pump import Pump
from .requests import ModelRequest
from .response import Ended, ModelResponse
from .view import View, target_for, view_of

if TYPE_CHECKING:
    from ..output import Answered
    from .compose import Chain

UNSENT = Usage(0, 0, provenance="unsent", cost_usd=0.0)


class NotSent(asyncio.CancelledError):
    """The request is not to be sent after all (a limit, a compaction, an interrupt): middleware is cancelled, the machine knows why."""


class WrappedAttempt(Attempt):
    """See `Attempt`. `_wire` is the provider's response while it is not `response`, which the turn reads; `_spoken` is what the provider
    has said, before any stage changed it."""

    __slots__ = (
        "_asker",
        "_began",
        "_chain",
        "_estimated",
        "_first_at",
        "_given",
        "_hearing",
        "_is_over",
        "_live",
        "_pump",
        "_responses",
        "_sent",
        "_spoken",
        "_unsent",
        "_wire",
    )

    def __init__(
        self,
        chain: Chain,
        asker: Asker,
        asked: CallModel,
        target: Target,
        deadlines: Deadlines,
        runtime: Runtime,
        answered: Answered | None = None,
    ) -> None:
        super().__init__(asked, target, deadlines, runtime, answered)
        self._chain = chain
        self._asker = asker
        self._began = 0.0
        self._first_at: float | None = None
        self._given: ModelRequest | None = None
        self._wire: Response | None = None
        self._sent = self._unsent = self._hearing = self._is_over = False
        self._live: ModelResponse | None = None
        self._pump: Pump | None = None
        self._spoken: Reducer | None = None
        self._estimated: Usage | None = None
        self._responses: list[ModelResponse] = []

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    # --- the way out --------------------------------------------------------------------------------------------------

    async def open(self, asker: Asker) -> ModelFailed | None:
        runtime = self._runtime
        if self.asked.delay_s > 0:
            await runtime.sleep(self.asked.delay_s)
            self.asked = msgspec.structs.replace(self.asked, delay_s=0.0)
        self._began = runtime.loop.time()
        if self.hooks is not None and (said := await self.hooks.before(self)) is not True:
            self._over(None if said is None else said.error)
            return said
        try:
            self._given = self._request(asker)
            response = await self._chain(self._given, self._send)
        except asyncio.CancelledError as error:
            self._over(None)
            if isinstance(error, NotSent) and self._unsent:
                return None
            raise
        except Exception as error:
            broke = None if self.stopped or self._unsent else self._broke(error)
            if isinstance(broke, ModelFailed):
                return broke
            if broke is not None:
                asker.post(broke)
            return None
        if self.stopped or self._unsent:
            self._over(None)
            return None
        self._take(response)
        return None

    def _request(self, asker: Asker) -> ModelRequest:
        asked, target, messages = self.asked, self.target, tuple(asker.transcript)
        state: Any = getattr(asker, "state", None)
        turn: Any = getattr(asker, "turn", None)
        agent: Any = getattr(asker, "agent", None)
        principal: Principal = LOCAL if state is None else state.principal
        return ModelRequest(
            head=target.head_for(messages, concluding=bool(asked.concluding)),
            messages=messages,
            tail=self._reminder(asker),
            model=f"{target.handle.provider}:{target.handle.model}",
            attempt=asked.attempt,
            session="" if state is None else state.id,
            turn=asked.turn,
            step=asked.step,
            principal=principal,
            agent="" if agent is None else agent.name,
            key=target.handle.key_scope,
            context=None if turn is None else turn.plan.context,
            via=self,
        )

    async def _send(self, request: ModelRequest) -> ModelResponse:
        """Innermost: the request is sent as any other. Raises what it failed with."""
        if self.stopped:
            self._unsent = True
            raise NotSent
        hooks, self.hooks = self.hooks, None  # those before the request were heard
        try:
            failed = await super().open(self._view(request))
        finally:
            self.hooks = hooks
        if failed is not None:
            raise error_of(failed.error)
        if self.response is None:
            self._unsent = True
            raise NotSent
        self._wire, self.response, self._sent = self.response, None, True
        live = self._live = ModelResponse(self)
        self._responses.append(live)
        return live

    def _view(self, request: ModelRequest) -> Asker:
        """For whom it is asked: the session itself, unless something was changed."""
        given, asker = self._given, self._asker
        assert given is not None
        if request.head is not given.head and request.head != given.head:
            self.target = target_for(self._chain, self.target, request.head)
        same = request.messages is given.messages
        return View(asker, None if same else view_of(self._chain, asker, request.messages, self.target), request.tail)

    async def encoded(self, request: ModelRequest) -> bytes:
        """See `Via`."""
        target = self.target
        if self._given is not None and request.head is not self._given.head and request.head != self._given.head:
            target = target_for(self._chain, target, request.head)
        codec, asker = target.handle.codec, self._asker
        head = target.head_for(request.messages, concluding=bool(self.asked.concluding))
        sealed = target.sealed_for(head)
        blobs = await loaded(asker, request.messages) if asker.has_blobs else {}
        segments = codec.encode_messages(request.messages, 0, blobs)
        parts = (sealed.url.encode(), sealed.head.before, bytes(segments), sealed.head.after, request.tail.encode())
        return b"\0".join(parts)

    def _take(self, response: ModelResponse) -> None:
        """What the chain gave back is what is read."""
        if all(response.endings is not one.endings for one in self._responses):
            self._responses.append(response)
        wire, live = self._wire, response.live
        if live is not None and live is not self:
            raise AssertionError("a response of another attempt")
        if live is self and not response.stages and wire is not None:
            self.response, self._wire = wire, None
            return
        if live is None:
            self._drop_wire("it was answered by a middleware")
        self._spoken = self._spoken or Reducer()
        source = self.listen() if live is not None else response.in_place()
        pump = self._pump = Pump(self, source, response.stages)
        self.response = cast(Response, pump)

    # --- reading ------------------------------------------------------------------------------------------------------

    async def read(self, response: Response, asker: Asker) -> tuple[list[Event], Came | None]:
        pump = self._pump
        if pump is None:
            events, ended = await super().read(response, asker)
            if events and self._first_at is None:
                self._first_at = self._runtime.loop.time()
            if self.response is None and not self.stopped:
                failed = ended if isinstance(ended, ModelFailed) else None
                self._over(None if failed is None else failed.error, None if failed is None else failed.usage)
            return events, ended
        if self.waiting_since is None:
            self.waiting_since, self.patience_s = self._runtime.loop.time(), self._deadlines.idle_s
        try:
            return await pump.take()
        finally:
            if not self._hearing:
                self.waiting_since = None

    async def listen(self) -> AsyncIterator[DecoderEvent]:
        """What the provider says, event by event: the innermost source of all stages."""
        heard = self._spoken = self._spoken or Reducer()
        while heard.ended is None and heard.failed is None:
            if self._pump is not None:
                await self._pump.asked()
            events = await self._hear()
            heard.feed(events)
            if events and self._first_at is None:
                self._first_at = self._runtime.loop.time()
            for event in events:
                yield event

    async def _hear(self) -> list[DecoderEvent]:
        """One read of the wire. A connection that breaks is a `ResponseFailed` like any other."""
        wire, decoder, loop = self._wire, self._decoder, self._runtime.loop
        if wire is None:
            raise NotSent
        if wire.ended and decoder is not None:
            self._close_wire()
            return decoder.finish()
        self.waiting_since, self._hearing = loop.time(), True
        try:
            if decoder is None:
                decoder = await self._head(wire)
            data = await wire.read()
        except Exception as error:
            if self.stopped:
                raise NotSent from None
            explained = self._runtime.transport.explain(error, self.target.handle.base_url)
            usage = self.usage_so_far()
            self._close_wire()
            return [ResponseFailed(explained, usage)]
        finally:
            self._hearing = False
            waits = self._pump is not None and self._pump.waited_for
            self.waiting_since = loop.time() if waits else None
        if data:
            return decoder.feed(data)
        self._close_wire()
        return decoder.finish()

    def _close_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
            self._leave()

    def _drop_wire(self, reason: str) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort(reason)
            self._leave()

    @property
    def being_read(self) -> bool:
        return self._pump.waited_for if self._pump is not None else super().being_read

    @property
    def phase(self) -> AttemptPhase:
        if self._wire is not None or self._pump is not None:
            return "answering" if self._decoder is not None or not self._sent else "waiting"
        return super().phase

    # --- what comes of it ---------------------------------------------------------------------------------------------

    def true_usage(self) -> Usage | None:
        """What the provider says that it took, whatever became of its words; nothing if it was not asked."""
        if not self._sent:
            return UNSENT
        heard = self._spoken
        if self._estimated is None and heard is not None and (last := heard.ended or heard.failed) is not None:
            return last.usage
        return self.usage_so_far()

    def usage_so_far(self) -> Usage | None:
        """What was heard counts, not what stages made of it."""
        if self._estimated is not None:
            return self._estimated
        heard = self._spoken
        if heard is None:
            return super().usage_so_far()
        said, self.reducer = self.reducer, heard
        try:
            used = self._estimated = super().usage_so_far()
        finally:
            self.reducer = said
        return used

    def conclude(self, error: Exception | None) -> Came | None:
        """What came of an attempt that was read through stages."""
        self.response = None
        if error is not None:
            return self._broke(error)
        usage = self.true_usage()
        if self._wire is not None:  # a stage ended the response before the provider did
            self._drop_wire("a middleware had enough of it")
        ended = self._ended(self._asker)
        self._over(ended.error if isinstance(ended, ModelFailed) else None, usage)
        return ended

    def failed(self, error: ErrorInfo, used: Usage | None = None) -> ModelFailed:
        failed = super().failed(error, used)
        if self._spoken is None or not self._sent or used is not None:
            return failed
        return msgspec.structs.replace(failed, usage=self._priced(self.true_usage()))

    def _broke(self, error: Exception) -> Came:
        """The middleware raised. A guardrail ends the turn; anything else is how the attempt failed."""
        if self._spoken is None and self._decoder is not None:
            self._spoken = self.reducer
        failed = self.failed(refusals.info_of(error))
        self._drop_wire("a middleware failed")
        self._over(failed.error, failed.usage)
        if isinstance(error, refusals.Tripped) and _is_session(self._asker):
            from ..audit.said import audit

            asker: Any = self._asker
            audit(asker, "cancel", source="middleware", rule=error.name, point="model", reason=error.reason)
            return Stop(error.cause, failed.usage)
        return failed

    def fail(self, error: TurnwiseError) -> None:
        """See `ModelResponse.abort`."""
        if self.stopped or self._is_over:
            return
        broke = self._broke(error)
        self.stop("a middleware gave it up")
        self._asker.post(broke)

    def give_up(self) -> ModelFailed:
        """Overdue: the provider was silent, or a stage was."""
        patience_s = self.patience_s or 0.0
        error = refusals.too_slow(patience_s).info
        if self._pump is None or self._hearing:
            error = silence(self.target.handle.host.label, patience_s, self._decoder is not None)
        failed = self.failed(error)
        self._over(failed.error, failed.usage)
        self.stop("it took too long")
        return failed

    def stop(self, reason: str) -> None:
        self.waiting_since = None
        usage = None if self._is_over else self._priced(self.true_usage()) if self._sent else None
        super().stop(reason)
        self._drop_wire(reason)
        self._over(None, usage, aborted=True)

    def tell(self, notice: Notice) -> None:
        """See `Via`."""
        tell = getattr(self._asker, "tell_running", None)
        if tell is not None:
            tell(notice)

    def _over(self, error: ErrorInfo | None, usage: Usage | None = None, *, aborted: bool = False) -> None:
        """The one place where a wrapped call is over: whoever asked for it is told."""
        if self._is_over:
            return
        self._is_over = True
        said = self.reducer.ended
        if usage is None and said is not None and error is None:
            usage = self._priced(said.usage)
        now = self._runtime.loop.time()
        ended = Ended(
            said.stop_reason if said is not None and error is None else None,
            usage,
            error,
            aborted or (error is None and said is None),
            now - self._began,
            None if self._first_at is None else self._first_at - self._began,
        )
        for response in self._responses:
            for told in response.endings:
                try:
                    told(ended)
                except Exception as problem:
                    what = f"{type(problem).__name__}: {problem}"
                    self.tell(
                        Notice(
                            "middleware_failed", f"A function that was told of the end of a model call raised {what}"
                        )
                    )


def _is_session(asker: Asker) -> bool:
    from ..actor import Actor

    return isinstance(asker, Actor)

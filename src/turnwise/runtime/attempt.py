"""One try of one model call: waiting for its turn, opening the connection, reading the response.

An attempt ends in exactly one machine input (`ModelReplied` or `ModelFailed`) unless it is stopped first. It keeps the time
since which it has been waiting for the provider, for the turn's watch to look at: no timer is armed per read (rule C5).
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from ..core.errors import TurnwiseError
from ..core.events import Event
from ..core.ids import step_id
from ..core.inputs import ModelFailed
from ..core.protocols import Chunk, Response
from ..models.auth import Outgoing
from ..models.handle import Sealed
from ..wire.base import Decoder
from .attachments import loaded
from .learn import learn
from .refusals import silence, unwritable
from .said import BYTES_PER_TOKEN, Asker, Ended, Said


class Attempt(Said):
    """`response` is set once the request is sent; `waiting_since` (loop time) and `patience_s` while the provider is
    waited for; `sent_at` and `first_at` are when the request went out and when the first of its answer came (loop time); `opening` is the task that opens it, ours to cancel. `gate` is held from before the request is sent until the
    response has ended. `answered` checks whether the answer has the form asked for, if one was; `context_limit` is how many tokens
    the model reads, once that is known."""

    __slots__ = ()

    async def open(self, asker: Asker) -> ModelFailed | None:
        """Send the request; None when it is sent. Its answer is waited for by `read`."""
        runtime, asked = self._runtime, self.asked
        if asked.delay_s > 0:
            await runtime.sleep(asked.delay_s)
        if self.hooks is not None and (said := await self.hooks.before(self)) is not True:
            return said
        target = self.target
        transcript, codec = asker.transcript, target.handle.codec
        try:
            blobs = await loaded(asker, asker.prefix.lacks(transcript, codec)) if asker.has_blobs else {}
            self.head = target.head_for(transcript, concluding=bool(asked.concluding))
            sealed = target.sealed_for(self.head)
            body = asker.prefix.body(sealed.head, transcript, codec, blobs, self._reminder(asker))
        except TurnwiseError as error:
            return ModelFailed(error.info)
        except Exception as error:  # else nobody would ever hear of this model call
            return ModelFailed(unwritable(error))
        self._body_bytes = sum(map(len, body))
        if not asker.is_light(self, self._body_bytes) and not await asker.weigh(self, self._body_bytes):
            return None
        if target.gate is not None:
            await target.gate.enter(self._body_bytes // BYTES_PER_TOKEN)
            self._gate = target.gate
        if asker.claims is not None and not await asker.claims.ensure():
            self._leave()
            return None
        self.sent_at = self.waiting_since = runtime.loop.time()
        self.patience_s = self._deadlines.first_byte_s
        try:
            headers = sealed.headers
            if target.handle.auth is not None:
                headers = await self._authorized(sealed, body)
            self.response = await runtime.transport.open("POST", sealed.url, headers, body, self._deadlines.connect_s)
        except TurnwiseError as error:
            return self.failed(error.info)
        except Exception as error:
            return self.failed(runtime.transport.explain(error, sealed.url))
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

    async def read(self, response: Response, asker: Asker) -> tuple[list[Event], Ended | None]:
        """One read of the body: the events it brought and, at the end of the body, what came of the attempt. The first one
        waits for the headers before. The end comes in a read of its own, so that who sees the last words can still add to the turn."""
        decoder, reducer = self._decoder, self.reducer
        if response.ended and decoder is not None:
            self._close(response)
            return reducer.feed(decoder.finish()), self._ended(asker)
        self.waiting_since = self._runtime.loop.time()
        try:
            if decoder is None:
                decoder = await self._head(response)
                data = await response.read()
                self.first_at = self._runtime.loop.time()
            else:
                data = await response.read()
        except Exception as error:
            self._close(response)
            return [], self.failed(self._runtime.transport.explain(error, self.target.handle.base_url))
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
        return (
            since is not None and patience is not None and now >= since + patience
        )  # the very sum that the watch is set for

    def give_up(self) -> ModelFailed:
        """Stop because the provider was silent for too long."""
        answering = self._decoder is not None
        self.stop("the provider was silent for too long")
        return self.failed(silence(self.target.handle.host.label, self.patience_s or 0.0, answering))

    def stop(self, reason: str) -> None:
        """Drop the connection, or give up getting one. A pending `read` raises; its outcome no longer counts."""
        self.stopped = True
        if self.opening is not None and not self.opening.done():
            self.opening.cancel()
        response, self.response = self.response, None
        if response is not None:
            response.abort(reason)
            self._leave()

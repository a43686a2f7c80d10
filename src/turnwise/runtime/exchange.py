"""One request with a whole answer, tried again by the rule of `core.limits.retry_delay`: what embeddings and rerankers are asked by.

Model calls have their own way (`attempt`), which reads event by event. The two share limits of provider keys, retry budgets,
credentials and deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import msgspec

from ..core.decoded import ResponseFailed
from ..core.errors import ErrorInfo, ProviderError, TurnwiseError, error_of
from ..core.limits import Deadlines, Retry, retry_delay
from ..core.protocols import Response
from ..models.auth import Outgoing
from ..models.handle import ModelHandle
from ..models.secrets import masked
from ..wire.base import HttpRequest
from ..wire.errors import MAX_ERROR_BYTES, TOO_LARGE, body_error, broken
from .refusals import silence
from .runtime import Runtime
from .said import BYTES_PER_TOKEN
from .timers import Timer

T = TypeVar("T")
Read = Callable[[bytes, Mapping[str, str]], T]
"""Reads the body and headers of a successful answer. Raises `ProviderError` for what is none."""

MAX_ANSWER_BYTES = 256 << 20
"""More than the largest answer any API can give to one request of ours; a host that sends more is not that API."""


class Answer(NamedTuple):
    """A whole response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


async def exchange(
    handle: ModelHandle, request: HttpRequest, read: Read[T], runtime: Runtime, retry: Retry, deadlines: Deadlines
) -> T:
    """Send the request until it is answered, as often as `retry` allows, and give what `read` makes of the answer.

    Raises `ProviderError` with what the last try failed with. Cancelling it drops the connection.
    """
    return await tried(handle, lambda _: once(handle, request, read, runtime, deadlines), runtime, retry)


async def once(handle: ModelHandle, request: HttpRequest, read: Read[T], runtime: Runtime, deadlines: Deadlines) -> T:
    """Send the request once. Raises `ProviderError`."""
    return read_by(handle, await _Try(handle, request, runtime, deadlines).run(), read)


async def tried(handle: ModelHandle, attempt: Callable[[int], Awaitable[T]], runtime: Runtime, retry: Retry) -> T:
    """Do it as often as `retry` allows; `attempt` is given the number of the try. Raises what the last one failed with."""
    budget, tried = runtime.retry_budgets.of(handle.key_scope), 0
    while True:
        try:
            made = await attempt(tried + 1)
        except ProviderError as error:
            info = msgspec.structs.replace(masked(error.info), provider=handle.provider, model=handle.model)
        else:
            budget.earn()
            return made
        tried += 1
        delay = retry_delay(info, retry, tried=tried, draw=runtime.random.random())
        if delay is None or not budget.may_retry():
            raise error_of(info) from None
        budget.take()
        await runtime.sleep(delay)


def read_by(handle: ModelHandle, answer: Answer, read: Read[T]) -> T:
    """What `read` makes of a successful answer. Raises the `ProviderError` of any other: a provider words its errors the same
    way at all its addresses, so its codec reads them."""
    if 200 <= answer.status < 300:
        return read(answer.body, answer.headers)
    if not handle.has_chat:
        raise error_of(body_error(answer.status, answer.headers, answer.body, provider=handle.provider))
    decoder = handle.codec.decoder(answer.status, answer.headers)
    last = [*decoder.feed(answer.body), *decoder.finish()][-1]
    if isinstance(last, ResponseFailed):
        raise error_of(last.error)
    raise error_of(body_error(answer.status, answer.headers, answer.body, provider=handle.provider))


class _Try:
    """One try. The connection is opened in a task of ours, so that a deadline never cancels the caller (rule C3)."""

    def __init__(self, handle: ModelHandle, request: HttpRequest, runtime: Runtime, deadlines: Deadlines) -> None:
        self._handle = handle
        self._request = request
        self._runtime = runtime
        self._deadlines = deadlines
        self._opening: asyncio.Task[Any] | None = None
        self._response: Response | None = None
        self._late: ErrorInfo | None = None
        self._url, self._credentials = handle.address(request.path)

    async def run(self) -> Answer:
        """The answer, whatever its status. Raises `ProviderError` if there is none."""
        gate = self._runtime.gates.of(self._handle.provider, self._handle.key_scope)
        if gate is not None:
            await gate.enter(len(self._request.body) // BYTES_PER_TOKEN)
        try:
            return await self._answered()
        except TurnwiseError:
            raise
        except Exception as error:
            late = self._late
            raise error_of(late or self._runtime.transport.explain(error, self._url)) from None
        finally:
            if self._response is not None:
                self._response.close()
            if gate is not None:
                gate.leave()

    async def _answered(self) -> Answer:
        silent = self._arm(self._deadlines.first_byte_s, answering=False)
        try:
            response = await self._opened()
            await response.head()
        finally:
            self._disarm(silent)
        return Answer(response.status, response.headers, await self._body(response))

    async def _opened(self) -> Response:
        opening = self._opening = self._runtime.start(self._open())
        try:
            await asyncio.wait((opening,))
        except asyncio.CancelledError:
            opening.cancel()
            raise
        if opening.cancelled():
            raise error_of(self._late or CLOSED)
        opening.result()
        assert self._response is not None
        return self._response

    async def _open(self) -> None:
        request, runtime, auth = self._request, self._runtime, self._handle.auth
        headers, body = {**request.headers, **self._credentials}, (request.body,)
        if auth is not None:
            outgoing = Outgoing(request.method, self._url, headers, body)
            headers |= await auth.headers(outgoing, runtime.blocking, runtime.clock.wall())
        self._response = await runtime.transport.open(
            request.method, self._url, headers, body, self._deadlines.connect_s
        )

    async def _body(self, response: Response) -> bytes:
        """The body; of an error no more than is read of errors."""
        bound = MAX_ANSWER_BYTES if 200 <= response.status < 300 else MAX_ERROR_BYTES
        parts: list[bytes] = []
        size = 0
        while data := await self._read(response):
            parts.append(data)
            size += len(data)
            if size > bound:
                if response.status < 300:
                    raise error_of(broken(TOO_LARGE, f"The answer is larger than {MAX_ANSWER_BYTES} bytes."))
                break
        return b"".join(parts)[:bound]

    async def _read(self, response: Response) -> bytes:
        idle = self._arm(self._deadlines.idle_s, answering=True)
        try:
            return await response.read()
        finally:
            self._disarm(idle)

    def _arm(self, seconds: float | None, answering: bool) -> Timer | None:
        """Give up in `seconds`, unless `_disarm` comes first."""
        if seconds is None:
            return None

        def give_up() -> None:
            self._late = silence(self._handle.host.label, seconds, answering)
            if self._response is not None:
                self._response.abort("the provider was silent for too long")
            elif self._opening is not None:
                self._opening.cancel()

        return self._runtime.timers.at(self._runtime.loop.time() + seconds, give_up)

    def _disarm(self, timer: Timer | None) -> None:
        if timer is not None:
            self._runtime.timers.cancel(timer)


CLOSED = ErrorInfo(
    "session", "session_closed", "The runtime was closed while a request was under way.", "Open a new Runtime."
)

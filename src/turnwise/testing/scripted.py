"""`ScriptedProvider`: a real HTTP server on loopback that stands in for the providers and plays a script.

It decides what each request deserves (a refusal, as the provider would refuse it, or the script's next reply) and keeps
what tests ask about: requests, and points that a response has reached. How bytes are spoken is in `wire.serve`, how they are
put on the wire in `loopback`.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar

import msgspec

from ..core.errors import config_error
from ..wire.serve import ApiError, Exchange, Response, Route, ServeCodec, route, serve_codec
from .loopback import ClientLeft, Connection, HttpReceived, LoopbackServer
from .refusal import refusal
from .script import Delivery, RawBody, RecordedRequest, Repeat, Reply, ReplyFunction, ScriptItem
from .validators import check
from .validators.shape import as_object

T = TypeVar("T")
Point = Literal["arrived", "answered", "stalled", "blocked", "finished", "left"]
"""How far a response has come: its request `arrived`; it was `answered` (headers sent); it is `stalled`, as scripted; it was
`blocked` at least once by a client that does not read; it `finished`, as scripted; or the client `left` before that."""

CREATED = 1_750_000_000
"""The time that scripted responses bear, in Unix seconds; it never changes, so that runs can be compared."""

_SECRET = (
    "authorization",
    "x-api-key",
    "api-key",
    "x-goog-api-key",
    "x-amz-security-token",
    "cookie",
    "proxy-authorization",
)


class ScriptError(AssertionError):
    """The script was not played as written: replies left over, requests too many, a fault out of reach, a reply that raised."""


class ScriptedProvider:
    """Plays `script`, one reply per accepted request in order of arrival, on `http://127.0.0.1` and a free port.

    Use it as `async with` (it runs on that event loop) or as `with` (it runs on its own, in a thread: for synchronous code
    and child processes). Leaving closes everything at once, also responses that hang, and raises `ScriptError` if
    replies are left over or a request found none, unless another exception is already on its way.

    Requests that the provider would refuse are refused in its own words and use up no reply: 401 without a key or with the key
    `"wrong"`, 404 for an unknown path or the model `"missing-model"`, 413 above 32 MB, and 400 if the validator finds
    a problem (`validate=False` turns that off). With `window_tokens`, a request of more tokens (four bytes each, as in the usage that
    is reported) is refused with the provider's own error for a context that is too long.
    """

    def __init__(
        self, script: Sequence[ScriptItem], *, validate: bool = True, window_tokens: int | None = None
    ) -> None:
        if any(isinstance(item, Repeat) for item in script[:-1]):
            raise config_error("bad_script", "A repeated reply never ends, so it must be the last item of a script.")
        self.requests: list[RecordedRequest] = []
        self._script = list(script)
        self._validate = validate
        self._window_tokens = window_tokens
        self._played = 0
        self._faults: list[str] = []
        self._points: dict[tuple[str, int], asyncio.Event] = {}
        self._stalls: dict[int, asyncio.Future[None]] = {}
        self._server = LoopbackServer(self._handle)
        self._port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    # --- where it is

    @property
    def url(self) -> str:
        """Scheme, host and port. Raises `ConfigError` outside `with`."""
        if not self._port:
            raise config_error("not_started", "The scripted provider is not running.", "Enter it first: `async with`.")
        return f"http://127.0.0.1:{self._port}"

    def url_for(self, api: str) -> str:
        """Base URL for clients of an API, by the names of `turnwise.wire`: `"openai.chat"`, `"gemini.generateContent"` …"""
        return self.url + serve_codec(api).base

    @property
    def openai_url(self) -> str:
        """Base URL for OpenAI clients."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """Base URL for Anthropic clients."""
        return self.url

    # --- what happened

    @property
    def bytes_written(self) -> int:
        """Body bytes of all responses that the operating system has taken: what clients have read, and what its buffers hold."""
        return self._server.bytes_written

    async def reached(self, point: Point, request: int = 1, *, timeout_s: float = 10.0) -> RecordedRequest:
        """Wait until the response to a request (counted from 1) has come so far; the request. At once if it already has.

        Raises `TimeoutError`, naming what did happen, after `timeout_s`. Cancelling it changes nothing.
        """
        return await self._on_loop(self._reached(point, request, timeout_s))

    def wait(self, point: Point, request: int = 1, *, timeout_s: float = 10.0) -> RecordedRequest:
        """`reached` for synchronous code; the provider must have been entered with `with`."""
        if self._thread is None or self._loop is None:
            raise config_error(
                "wrong_thread", "wait() would block the provider's own event loop.", "Use `await reached()`."
            )
        return asyncio.run_coroutine_threadsafe(self._reached(point, request, timeout_s), self._loop).result()

    def release(self, request: int | None = None) -> None:
        """Let the response to this request, or all responses, go on from their stall. From any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._release, request)

    def assert_played(self) -> None:
        """Raise `ScriptError` unless every reply was asked for and every request found one."""
        faults = list(self._faults)
        left = len([item for item in self._script[self._played :] if not isinstance(item, Repeat)])
        if left:
            faults.append(f"{left} of {len(self._script)} replies were not asked for.")
            faults += [
                f"Request {r.number} was refused: {'; '.join(map(str, r.problems))}"
                for r in self.requests
                if r.problems
            ]
        if faults:
            raise ScriptError(
                f"The script was not played as written ({len(self.requests)} requests). {' '.join(faults)}"
            )

    # --- life

    async def __aenter__(self) -> ScriptedProvider:
        self._loop = asyncio.get_running_loop()
        self._port = await self._server.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.close()
        self._loop = None
        if error is None:
            self.assert_played()

    def __enter__(self) -> ScriptedProvider:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="turnwise-scripted-provider", daemon=True)
        self._thread.start()
        self._port = asyncio.run_coroutine_threadsafe(self._server.open(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None and self._thread is not None
        try:
            asyncio.run_coroutine_threadsafe(self._server.close(), self._loop).result()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()
            self._loop = self._thread = None
        if error is None:
            self.assert_played()

    async def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        if self._thread is None or self._loop is None:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    # --- points and stalls (on the provider's loop)

    async def _reached(self, point: Point, request: int, timeout_s: float) -> RecordedRequest:
        try:
            async with asyncio.timeout(timeout_s):
                await self._event(point, request).wait()
        except TimeoutError:
            past = [f"{p} {n}" for (p, n), event in self._points.items() if event.is_set()]
            what = f"Request {request} was not {point} within {timeout_s:g} s; so far: {', '.join(past) or 'nothing'}."
            raise TimeoutError(what) from None
        return self.requests[request - 1]

    def _event(self, point: Point, request: int) -> asyncio.Event:
        return self._points.setdefault((point, request), asyncio.Event())

    def _release(self, request: int | None) -> None:
        for number, future in list(self._stalls.items()):
            if request in (None, number) and not future.done():
                future.set_result(None)

    async def _stall(self, connection: Connection, number: int) -> None:
        self._stalls[number] = connection.waiter()
        self._event("stalled", number).set()
        try:
            await connection.wait(self._stalls[number])
        finally:
            self._stalls.pop(number, None)

    # --- one request

    async def _handle(self, connection: Connection, received: HttpReceived) -> None:
        place = route(received.path.partition("?")[0]) if received.method == "POST" else None
        codec = place.codec if place else None
        request = self._record(codec, received)
        number = request.number
        connection.on_blocked = self._event("blocked", number).set
        self._event("arrived", number).set()
        speaking = codec or serve_codec(
            "anthropic.messages" if "anthropic-version" in received.headers else "openai.chat"
        )
        exchange = _exchange(request, place)
        reply = refusal(request, received, self._window_tokens) or await self._next(request)
        try:
            await self._play(connection, reply, speaking, exchange, _streamed(request, place))
        except ClientLeft:
            self._event("left", number).set()
            raise
        except Exception as e:
            self._faults.append(f"The reply to request {number} could not be sent: {type(e).__name__}: {e}")
            connection.abort()
        self._event("finished", number).set()

    def _record(self, codec: ServeCodec | None, received: HttpReceived) -> RecordedRequest:
        try:
            decoded = msgspec.json.decode(received.body) if received.body else None
        except msgspec.DecodeError:
            decoded = None
        body = as_object(decoded)
        betas = received.headers.get("anthropic-beta", "").replace(" ", "").split(",")
        problems = check(codec.api, body, betas=betas, path=received.path) if codec and self._validate and body else []
        headers = {name: value for name, value in received.headers.items() if name not in _SECRET}
        request = RecordedRequest(
            len(self.requests) + 1,
            codec.api if codec else "",
            received.method,
            received.path,
            headers,
            body,
            received.body,
            tuple(problems),
        )
        self.requests.append(request)
        return request

    async def _next(self, request: RecordedRequest) -> Reply:
        """The script's next reply; functions are called here, and what they raise is the script's fault."""
        if self._played >= len(self._script):
            return self._fault(f"The script has no reply left for request {request.number}.")
        item = self._script[self._played]
        if isinstance(item, Repeat):
            item = item.reply
        else:
            self._played += 1
        if isinstance(item, Reply):
            return item
        try:
            return await _called(item, request)
        except Exception as e:
            return self._fault(f"The reply to request {request.number} raised {type(e).__name__}: {e}")

    def _fault(self, what: str) -> Reply:
        self._faults.append(what)
        return Reply(ApiError(500, what))

    async def _play(
        self, connection: Connection, reply: Reply, codec: ServeCodec, exchange: Exchange, streamed: bool
    ) -> None:
        delivery, number = reply.delivery, exchange.number
        if delivery.delay_s:
            await connection.sleep(delivery.delay_s)
        if delivery.stall_before_headers:
            await self._stall(connection, number)
        if delivery.reset_before_headers:
            connection.reset()
            return
        status, content_type, pieces, length = _spoken(reply, codec, exchange, streamed)
        headers = {"content-type": content_type, **codec.headers(exchange), **_said(reply, codec), **reply.headers}
        if length is not None and delivery.end_at_byte is not None:
            length = min(length, delivery.end_at_byte)
        connection.start(status, headers, length)
        self._event("answered", number).set()
        await self._deliver(connection, pieces, delivery, number)

    async def _deliver(self, connection: Connection, pieces: Iterator[bytes], delivery: Delivery, number: int) -> None:
        """The body, piece by piece, with whatever is to happen on the way. Byte positions are passed in order."""
        sent = events = 0
        if not await self._may_go_on(connection, delivery, sent, number):
            return
        for events, piece in enumerate(pieces, 1):
            if events > 1 and delivery.pace_s:
                await connection.sleep(delivery.pace_s)
            for part in delivery.cut(piece, sent):
                await connection.send(part)
                sent += len(part)
                if not await self._may_go_on(connection, delivery, sent, number):
                    return
                if len(part) < len(piece):
                    await asyncio.sleep(0)
            if delivery.stall_after_event == events:
                await self._stall(connection, number)
        connection.end()
        self._faults += [
            f"The reply to request {number} was too short for {missed}." for missed in delivery.unreached(sent, events)
        ]

    async def _may_go_on(self, connection: Connection, delivery: Delivery, sent: int, number: int) -> bool:
        if delivery.stall_at_byte == sent or (sent == 0 and delivery.stall_after_event == 0):
            await self._stall(connection, number)
        if delivery.end_at_byte == sent:
            connection.end()
        elif delivery.close_at_byte == sent:
            connection.close()
        elif delivery.reset_at_byte == sent:
            connection.reset()
        else:
            return True
        return False


async def _called(function: ReplyFunction, request: RecordedRequest) -> Reply:
    made = function(request)
    return await made if inspect.isawaitable(made) else made


def _exchange(request: RecordedRequest, place: Route | None) -> Exchange:
    options = as_object(request.body.get("stream_options"))
    return Exchange(
        request.number,
        (place.model if place else "") or str(request.body.get("model", "")),
        CREATED + request.number,
        len(request.raw),
        options.get("include_usage") is True,
        request.path.partition("?")[2],
    )


def _streamed(request: RecordedRequest, place: Route | None) -> bool:
    """Whether the answer is a stream: by the path, by the field `stream`, or because the API streams unless told not to."""
    if place is None:
        return request.body.get("stream") is True
    if place.streamed is not None:
        return place.streamed
    return request.body.get("stream", place.codec.streams_unasked) is True


def _said(reply: Reply, codec: ServeCodec) -> dict[str, str]:
    return codec.error_headers(reply.answer) if isinstance(reply.answer, ApiError) else {}


def _spoken(
    reply: Reply, codec: ServeCodec, exchange: Exchange, streamed: bool
) -> tuple[int, str, Iterator[bytes], int | None]:
    """Status, content type, pieces of the body, and its length if it is known beforehand."""
    status, kind = 200, "application/json"
    match reply.answer:
        case RawBody(body=body, status=status, content_type=kind):
            pass
        case ApiError() as error:
            status, body = error.status, codec.error_body(error, exchange)
        case Response() as response if streamed:
            kind = reply.content_type or codec.stream_type
            return 200, kind, codec.stream(response, exchange), None
        case Response() as response:
            status, body = response.error.status if response.error else 200, codec.body(response, exchange)
    return status, reply.content_type or kind, iter((body,)), len(body)

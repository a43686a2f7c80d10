"""The provider's end of the simulated network: a `Transport` in memory that speaks every API's real bytes, made by the scripted
provider's encoders (`wire.serve`), and breaks them at any byte.

One `Provider` serves all processes; a `Network` is what one process has of it, and is gone with it. What is answered stands in the plan of
the turn that asks; how the answer comes, and what goes wrong with it, stands there too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from ...core.errors import ErrorInfo
from ...core.protocols import Chunk
from ...core.usage import Usage
from ...models.response import Aborted
from ...models.transport import HttpTransport
from ...wire.serve import ApiError, CallPart, ErrorPart, Exchange, Part, Response, TextPart, ThinkingPart, route
from ..script import SIGNATURE
from .loop import SimulatedLoop
from .plan import Answer

if TYPE_CHECKING:
    from .loop import Timer

CREATED = 1_750_000_000
HOST = ".sim"
_SUMMARY = b"You condense the earlier part of a conversation"
_SO_BE_IT = Answer(text="So be it.")
_REFUSALS = {"overloaded": 529, "unavailable": 503, "rate_limited": 429, "rate_limited_after": 429}
_NO_USAGE_HEADERS: Mapping[str, str] = {"content-type": "application/json"}


class Said(msgspec.Struct):
    """One exchange, as the provider knows it: what was said, what it cost, and whether all of it was taken (`read`)."""

    session: str
    number: int
    api: str
    host: str
    answer: Answer
    usage: Usage | None
    is_summary: bool
    read: bool = False
    open: bool = True


class Provider:
    """All providers there are. `check` is told of each request: session, API, path, body in parts; `struck` of each fault."""

    def __init__(
        self,
        draw: Random,
        check: Callable[[str, str, str, Sequence[Chunk], bytes], None],
        struck: Callable[[str, str], None],
    ) -> None:
        self._draw = draw
        self._check = check
        self.struck = struck
        self.scripts: dict[str, deque[Answer]] = {}
        self.last: dict[str, Said] = {}
        self.exchanges = 0
        self.hosts: dict[str, str] = {}
        """The session that a host name stands for."""

    def answer(self, url: str, body: Sequence[Chunk]) -> tuple[Said, Answer, Exchange, Any, bool]:
        """What there is to say to this request."""
        host, _, rest = url.removeprefix("http://").partition("/")
        path, _, query = rest.partition("?")
        place = route("/" + path)
        assert place is not None, f"nothing answers at {url}"
        whole = b"".join(body)
        name = host.removesuffix(HOST)
        session = self.hosts.get(name, name)
        self.exchanges += 1
        is_summary = _SUMMARY in whole
        answer = self._summary() if is_summary else self._next(session)
        api = place.codec.api
        if not is_summary:
            self._check(session, api, "/" + path, body, whole)
        streams = place.streamed
        if streams is None:
            streams = b'"stream":true' in whole or (place.codec.streams_unasked and b'"stream":false' not in whole)
        include = b'"include_usage":true' in whole
        exchange = Exchange(
            self.exchanges, place.model or "model", CREATED + self.exchanges, len(whole), include, query
        )
        said = Said(session, self.exchanges, api, host, answer, None, is_summary)
        if not is_summary:
            self.last[session] = said
        if answer.fault:
            self.struck(session, answer.fault)
        for call in answer.calls:
            if call.fault:
                self.struck(session, call.fault)
        return said, answer, exchange, place.codec, streams

    def _next(self, session: str) -> Answer:
        script = self.scripts.get(session)
        return script.popleft() if script else _SO_BE_IT

    def _summary(self) -> Answer:
        """A summary, mostly a good one."""
        kind = self._draw.random()
        if kind < 0.1:
            return Answer(text="", fault="overloaded", wait_s=0.5)
        if kind < 0.2:
            return Answer(text="Nothing much.", wait_s=0.5)
        heads = ("Goal", "Decisions", "State of work", "Open items", "Exact names and values")
        return Answer(text="\n".join([f"## {head}\nnone" for head in heads]), wait_s=2.0 if kind < 0.5 else 0.2)


def parts_of(answer: Answer, api: str) -> tuple[Part, ...]:
    """What the answer is made of."""
    parts: list[Part] = []
    if answer.thinking:
        parts.append(ThinkingPart((f"[{api}] ", answer.thinking), SIGNATURE))
    if answer.text:
        cut = len(answer.text) // 2
        parts.append(TextPart((answer.text[:cut], answer.text[cut:]) if cut else (answer.text,)))
    same = "call_same" if answer.fault == "same_ids" else None
    for call in answer.calls:
        cut = len(call.arguments) // 2
        parts.append(CallPart(call.tool, (call.arguments[:cut], call.arguments[cut:]), same))
    return tuple(parts)


class Network:
    """The `Transport` of one process."""

    def __init__(self, provider: Provider, loop: SimulatedLoop) -> None:
        self._provider = provider
        self._loop = loop
        self._real = HttpTransport()
        self.open_responses: dict[int, MemoryResponse] = {}
        """Responses that were neither read to their end nor closed, by exchange."""

    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Sequence[Chunk],
        connect_s: float | None = None,
    ) -> MemoryResponse:
        said, answer, exchange, codec, streams = self._provider.answer(url, body)
        match answer.fault:
            case "refused":
                await asyncio.sleep(0.01)
                raise aiohttp.ClientConnectorError(_Key(), ConnectionRefusedError(111, "refused"))  # type: ignore[arg-type]
            case "slow_connect":
                await asyncio.sleep(connect_s or 60.0)
                raise aiohttp.ServerTimeoutError(f"Connection timeout to host {url}")
            case _:
                pass
        response = MemoryResponse(self._loop, said, self.open_responses)
        response.begin(answer, codec, exchange, streams)
        return response

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        return self._real.explain(error, url)

    async def close(self) -> None:
        for response in list(self.open_responses.values()):
            response.close()


class _Key:
    """Where aiohttp's errors say that they could not connect to."""

    host, port, ssl = "sim", 80, None

    def __str__(self) -> str:
        return "sim"


class MemoryResponse:
    """A response on its way: bytes that come when their timers are due."""

    def __init__(self, loop: SimulatedLoop, said: Said, opened: dict[int, MemoryResponse]) -> None:
        self._loop = loop
        self.said = said
        self._opened = opened
        opened[said.number] = self
        self.status = 0
        self.headers: Mapping[str, str] = {}
        self.ended = False
        self._chunks: list[bytes] = []
        self._over = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._plan: deque[tuple[float, Callable[..., None], tuple[Any, ...]]] = deque()
        self._due: Timer | None = None

    # --- the provider speaks ------------------------------------------------------------------------------------------

    def begin(self, answer: Answer, codec: Any, exchange: Exchange, streams: bool) -> None:
        """Set the timers of all that will come."""
        fault = answer.fault
        if fault == "no_answer":
            return
        if fault == "reset_early":
            self._later(answer.wait_s, self._break, aiohttp.ClientOSError(104, "Connection reset by peer"))
            return
        status, kind, body, headers = _body(self.said, answer, codec, exchange, streams)
        self._later(answer.wait_s, self._head, status, {**headers, "content-type": kind, **codec.headers(exchange)})
        at = max(0, min(len(body) - 1, int(len(body) * answer.at)))
        ends = fault not in ("stall", "reset")
        if fault in ("truncated", "stall", "reset"):
            body = body[:at]
        elif fault == "garbage":
            body = body[:at] + b'\x00{"]\xff garbage' + body[at + 5 :]
        when = answer.wait_s
        marks = sorted({int(len(body) * share) for share in answer.cuts} - {0, len(body)})
        begun = 0
        for mark in (*marks, len(body)):
            self._later(when, self._arrive, body[begun:mark], mark == len(body) and ends)
            begun, when = mark, when + answer.pace_s
        if fault == "reset":
            self._later(when, self._break, aiohttp.ClientOSError(104, "Connection reset by peer"))

    def _later(self, after_s: float, what: Callable[..., None], *args: Any) -> None:
        """One thing after another: there is one timer for all of them."""
        self._plan.append((self._loop.time() + after_s, what, args))
        if self._due is None:
            self._due = self._loop.call_at(self._plan[0][0], self._next)

    def _next(self) -> None:
        _, what, args = self._plan.popleft()
        self._due = self._loop.call_at(self._plan[0][0], self._next) if self._plan else None
        what(*args)

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._wake()

    def _arrive(self, data: bytes, is_last: bool) -> None:
        if data:
            self._chunks.append(data)
        self._over = is_last
        self._wake()

    def _break(self, error: Exception) -> None:
        self._error = error
        self._opened.pop(self.said.number, None)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # --- the client reads ---------------------------------------------------------------------------------------------

    async def head(self) -> None:
        while not self.status:
            await self._wait()

    async def read(self) -> bytes:
        while True:
            if self._chunks:
                data = b"".join(self._chunks)
                self._chunks.clear()
                if self._over:
                    self.ended = self.said.read = True
                return data
            if self._over:
                self.ended = self.said.read = True
                return b""
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise self._error
        assert self._waiter is None, "two readers of one response"
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def abort(self, reason: str) -> None:
        self._chunks.clear()
        self._over = False
        self._error = Aborted(reason)
        self._end()
        self._wake()

    def close(self) -> None:
        self._end()

    def _end(self) -> None:
        self._opened.pop(self.said.number, None)
        self.said.open = False
        self._plan.clear()
        if self._due is not None:
            self._due.cancel()
            self._due = None


def _body(
    said: Said, answer: Answer, codec: Any, exchange: Exchange, streams: bool
) -> tuple[int, str, bytes, dict[str, str]]:
    """Status, content type, body and headers of an answer."""
    fault = answer.fault
    if fault in _REFUSALS:
        error = ApiError(_REFUSALS[fault])
        more = {"retry-after": "2"} if fault == "rate_limited_after" else {}
        return error.status, "application/json", codec.error_body(error, exchange), more | codec.error_headers(error)
    if fault == "html":
        return 502, "text/html", b"<html><body>502 Bad Gateway</body></html>", {}
    if fault == "overflow":
        error = codec.overflow
        message = error.message.format(used=9999, limit=6000, over=3999)
        error = msgspec.structs.replace(error, message=message)
        return error.status, "application/json", codec.error_body(error, exchange), dict(codec.error_headers(error))
    parts = parts_of(answer, said.api)
    stop = "length" if fault == "cut_off" else answer.stop
    if fault == "error_event":
        cut = int(len(parts) * answer.at)
        parts = (*parts[:cut], ErrorPart(ApiError(529 if answer.at < 0.5 else 500, "Overloaded")))
    usage = Usage(40 + exchange.request_bytes // 4, 3 + len(answer.text)) if answer.has_usage else None
    response = Response(
        parts,
        stop,
        None,
        usage,
        answer.interleaved,
        "terminator" if fault == "no_terminator" and answer.at < 0.5 else "end" if fault == "no_terminator" else None,
    )
    if streams:
        return 200, codec.stream_type, b"".join(codec.stream(response, exchange)), {}
    said.usage = usage
    if response.error is not None:
        return response.error.status, "application/json", codec.body(response, exchange), {}
    return 200, "application/json", codec.body(response, exchange), {}

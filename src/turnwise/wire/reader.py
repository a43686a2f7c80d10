"""A response read from its bytes, whatever API: which form it has, where its events begin, when it is over.

A response is a stream of events, one document, or an error; its first bytes decide, since content types are often wrong. What
events and documents say is worked out by the API's own `Fold`; how a stream is cut into payloads by a `Framer`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, Literal, Protocol, TypeVar

import msgspec

from ..core.decoded import DecoderEvent, ResponseFailed
from ..core.errors import ErrorInfo
from ..core.usage import Provenance, Usage
from .errors import MAX_ERROR_BYTES, PROTOCOL, TRUNCATED, broken, text_of
from .framing.limits import MAX_BODY_BYTES, FramingError
from .framing.sse import SseFramer

P = TypeVar("P")

BLANK = b" \t\r\n\xef\xbb\xbf"
"""White space and the bytes of a byte order mark."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""What a line of an event stream begins with."""


UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes that are no JSON, are not UTF-8, do not fit, or are nested too deep."""


class Failed(Exception):
    """The response is an error or cannot be read. Never leaves `wire`."""

    def __init__(self, error: ErrorInfo) -> None:
        super().__init__(error.message)
        self.error = error


class Framer(Protocol[P]):
    """Cuts a stream into payloads, the same ones however the bytes are split. Raises `FramingError`.

    `finish` gives what the end of the body completes; it may be cut short.
    """

    def feed(self, data: bytes) -> list[P]: ...
    def finish(self) -> list[P]: ...


class Fold(Protocol[P]):
    """What one response has said so far; turns payloads into events, appended to `out`.

    `is_done`: the end was said, and nothing that follows counts. `may_end`: if the body ends here, nothing is missing. `fold`
    and `fold_document` raise `Failed` for an error, or for what cannot be read; what came before it stands in `out`.
    A part that was kept as raw JSON may turn out to be unreadable late: any method may then raise one of `UNREADABLE`.
    `fold_document` reads a whole response, its end included. `end` appends what is known only at the end, `ResponseEnded`
    last. `usage` is what was said of it so far. `error` reads a response whose status is an error.
    """

    is_done: bool

    @property
    def may_end(self) -> bool: ...
    def fold(self, payloads: list[P], out: list[DecoderEvent], /) -> None: ...
    def fold_document(self, body: bytes, out: list[DecoderEvent], /) -> None: ...
    def end(self, out: list[DecoderEvent], /) -> None: ...
    def usage(self, provenance: Provenance, /) -> Usage | None: ...
    def error(self, status: int, headers: Mapping[str, str], body: bytes, /) -> ErrorInfo: ...


Form = Literal["unknown", "stream", "document", "error", "over"]
Sniff = Callable[[bytes | bytearray, str], Framer[P] | Literal["unknown", "document"]]
"""From the first bytes that are not blank (at least one) and the content type in lower case: the framer of a stream, or
"document", or "unknown" as long as more bytes are needed."""


class ResponseReader(Generic[P]):
    """The decoder of an API that has a `Fold`; see `wire.base.Decoder` for what it promises.

    A stream is whole when its fold says so, a document when it parses. Usage is read to the end of the body (rule S4), so
    `ResponseEnded` comes from `finish`.
    """

    __slots__ = ("_body", "_fold", "_form", "_framer", "_headers", "_provider", "_sniff", "_status")

    def __init__(
        self, status: int, headers: Mapping[str, str], fold: Fold[P], sniff: Sniff[P], provider: str = ""
    ) -> None:
        self._status = status
        self._headers = headers
        self._fold = fold
        self._sniff = sniff
        self._provider = provider
        self._form: Form = "unknown" if 200 <= status < 300 else "error"
        self._body = bytearray()
        self._framer: Framer[P] | None = None

    def feed(self, data: bytes) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        framer = self._framer
        try:
            if framer is None:
                self._feed_otherwise(data, out)
            elif not self._fold.is_done and self._form == "stream":
                self._fold.fold(framer.feed(data), out)
        except FramingError as error:
            self._fail(self._unreadable(error), out)
        except Failed as failed:
            self._fail(failed.error, out)
        except UNREADABLE as problem:
            self._fail(self._cannot_be_read(problem), out)
        return out

    def finish(self) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        form, self._form = self._form, "over"
        try:
            if form == "stream":
                self._finish_stream(out)
            elif form == "error":
                raise Failed(self._fold.error(self._status, self._headers, bytes(self._body)))
            elif form != "over":
                self._finish_document(out)
        except Failed as failed:
            self._fail(failed.error, out)
        except UNREADABLE as problem:
            self._fail(self._cannot_be_read(problem), out)
        return out

    # --- a stream -----------------------------------------------------------------------------------------------

    def _finish_stream(self, out: list[DecoderEvent]) -> None:
        fold, framer = self._fold, self._framer
        try:
            if not fold.is_done and framer is not None:
                fold.fold(framer.finish(), out)
        except FramingError as error:
            raise Failed(self._unreadable(error)) from None
        except Failed as failed:
            # Bytes that end in the middle of an event are cut off, not wrong; and once all was said nothing is missing.
            if failed.error.code != PROTOCOL.code:
                raise
            if not fold.may_end:
                raise Failed(self._cut_off()) from None
        if not fold.may_end:
            raise Failed(self._cut_off())
        fold.end(out)

    # --- anything else ------------------------------------------------------------------------------------------

    def _feed_otherwise(self, data: bytes, out: list[DecoderEvent]) -> None:
        if self._form == "error":
            self._body += data[: MAX_ERROR_BYTES - len(self._body)]
            return
        if self._form == "over":
            return
        if self._form == "unknown":
            # Hosts that are busy send blank lines to keep the connection alive; they count for nothing.
            begun = bytes(self._body) + data if self._body else data
            begun = begun.lstrip(BLANK)
            if not begun:
                return
            found = self._sniff(begun, self._headers.get("content-type", "").lower())
            if not isinstance(found, str):
                self._form, self._framer = "stream", found
                self._body.clear()
                self._fold.fold(found.feed(begun), out)
                return
            self._form = found
            self._body[:] = begun
        else:
            self._body += data
        if len(self._body) > MAX_BODY_BYTES:
            raise Failed(self._broken(f"The answer is longer than {MAX_BODY_BYTES} bytes."))

    def _finish_document(self, out: list[DecoderEvent]) -> None:
        body = bytes(self._body)
        if not body:
            raise Failed(self._broken(f"The answer is empty (status {self._status})."))
        if body.startswith(b"<"):
            raise Failed(self._broken(text_of(body)))
        self._fold.fold_document(body, out)

    # --- failures -----------------------------------------------------------------------------------------------

    def _fail(self, error: ErrorInfo, out: list[DecoderEvent]) -> None:
        self._form = "over"
        self._body.clear()
        out.append(ResponseFailed(error, self._fold.usage("partial")))

    def _cannot_be_read(self, problem: Exception) -> ErrorInfo:
        what = "its JSON is nested too deep" if isinstance(problem, RecursionError) else str(problem)
        return self._broken(f"The answer cannot be read: {what}.")

    def _unreadable(self, error: FramingError) -> ErrorInfo:
        return self._broken(f"The answer cannot be read: {error}.")

    def _broken(self, message: str) -> ErrorInfo:
        return broken(PROTOCOL, message, provider=self._provider)

    def _cut_off(self) -> ErrorInfo:
        return broken(TRUNCATED, "The answer ended before it was complete.", provider=self._provider)


def sse_or_document(head: bytes | bytearray, content_type: str) -> SseFramer | Literal["unknown", "document"]:
    """How an API is sniffed that streams server-sent events and else answers with JSON."""
    if head[0] in b"{[<":
        return "document"
    if "event-stream" in content_type or any(head.startswith(f) for f in _FIELDS):
        return SseFramer()
    return "unknown" if any(f.startswith(head) for f in _FIELDS) else "document"

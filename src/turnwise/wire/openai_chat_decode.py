"""A Chat Completions response read from its bytes: which form it has, where its events begin, when it is over.

What the events say is worked out in `openai_chat_fold`. A response is a stream of events or one JSON document; its first
bytes decide, since content types are often wrong. Source:
https://platform.openai.com/docs/api-reference/chat-streaming
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from ..core.errors import ErrorInfo
from ..core.events import DecoderEvent, ResponseFailed
from .errors import MAX_ERROR_BYTES, PROTOCOL, TRUNCATED, broken
from .framing import MAX_BODY_BYTES, FramingError, SseFramer
from .openai_chat_errors import response_error
from .openai_chat_fold import Failed, Fold

_BLANK = b" \t\r\n\xef\xbb\xbf"
"""White space and the bytes of a byte order mark."""
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""What a line of an event stream begins with."""

_Form = Literal["unknown", "stream", "document", "error", "over"]


class ChatDecoder:
    """Reads one response; see `wire.base.Decoder` for what it promises.

    A stream is whole when a finish reason or `[DONE]` was seen, a document when it parses. After `[DONE]` nothing counts.
    Usage is read to the end of the body (rule S4), so `ResponseEnded` comes from `finish`.
    """

    __slots__ = ("_body", "_fold", "_form", "_framer", "_headers", "_status")

    def __init__(self, status: int, headers: Mapping[str, str], step: str, attempt: int, origin: str) -> None:
        self._status = status
        self._headers = headers
        self._form: _Form = "unknown" if 200 <= status < 300 else "error"
        self._body = bytearray()
        self._framer = SseFramer()
        self._fold = Fold(step, attempt, origin, headers)

    def feed(self, data: bytes) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        try:
            if self._form == "stream":
                if not self._fold.is_done:
                    self._fold.fold(self._framer.feed(data), out)
            else:
                self._feed_otherwise(data, out)
        except FramingError as error:
            self._fail(broken(PROTOCOL, f"The answer cannot be read: {error}."), out)
        except Failed as failed:
            self._fail(failed.error, out)
        except RecursionError:
            self._fail(_too_deep(), out)
        return out

    def finish(self) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        form, self._form = self._form, "over"
        try:
            if form == "stream":
                self._finish_stream(out)
            elif form == "error":
                raise Failed(response_error(self._status, self._headers, bytes(self._body)))
            elif form != "over":
                self._finish_document(out)
        except Failed as failed:
            self._fail(failed.error, out)
        except RecursionError:
            self._fail(_too_deep(), out)
        return out

    # --- a stream -----------------------------------------------------------------------------------------------

    def _finish_stream(self, out: list[DecoderEvent]) -> None:
        try:
            if not self._fold.is_done:
                self._fold.fold(self._framer.finish(), out)
        except FramingError as error:
            raise Failed(broken(PROTOCOL, f"The answer cannot be read: {error}.")) from None
        except Failed as failed:
            # Bytes that end in the middle of an event are cut off, not wrong; and after a finish reason nothing is missing.
            if failed.error.code != PROTOCOL.code:
                raise
            if self._fold.stop is None:
                raise Failed(_cut_off()) from None
        if not self._fold.is_done and self._fold.stop is None:
            raise Failed(_cut_off())
        self._fold.end(out)

    # --- anything else ------------------------------------------------------------------------------------------

    def _feed_otherwise(self, data: bytes, out: list[DecoderEvent]) -> None:
        if self._form == "unknown" and not self._body and data.startswith(b"data:"):
            self._form = "stream"
            self._fold.fold(self._framer.feed(data), out)
            return
        if self._form == "error":
            self._body += data[: MAX_ERROR_BYTES - len(self._body)]
            return
        if self._form == "over":
            return
        self._body += data
        if self._form == "unknown":
            # Hosts that are busy send blank lines to keep the connection alive; they count for nothing.
            self._body = self._body.lstrip(_BLANK)
            self._form = _form_of(self._body, self._headers.get("content-type", "").lower())
        if self._form == "stream":
            begun, self._body = bytes(self._body), bytearray()
            self._fold.fold(self._framer.feed(begun), out)
        elif len(self._body) > MAX_BODY_BYTES:
            raise Failed(broken(PROTOCOL, f"The answer is longer than {MAX_BODY_BYTES} bytes."))

    def _finish_document(self, out: list[DecoderEvent]) -> None:
        body = bytes(self._body)
        if not body:
            raise Failed(broken(PROTOCOL, f"The answer is empty (status {self._status})."))
        self._fold.fold_document(body, out)

    def _fail(self, error: ErrorInfo, out: list[DecoderEvent]) -> None:
        self._form = "over"
        self._body.clear()
        out.append(ResponseFailed(error, self._fold.usage("partial")))


def _form_of(head: bytearray, content_type: str) -> _Form:
    """What a body is, from its first bytes that are not blank: "unknown" as long as more are needed."""
    if not head:
        return "unknown"
    if head[0] in b"{[<":
        return "document"
    if "event-stream" in content_type or any(head.startswith(f) for f in _FIELDS):
        return "stream"
    return "unknown" if any(f.startswith(head) for f in _FIELDS) else "document"


def _cut_off() -> ErrorInfo:
    return broken(TRUNCATED, "The answer ended before it was complete.")


def _too_deep() -> ErrorInfo:
    return broken(PROTOCOL, "The answer cannot be read: its JSON is nested too deep.")

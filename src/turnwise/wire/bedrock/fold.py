"""What one Converse answer has said so far, streamed or whole; its errors, in a stream or in place of an answer.

Messages of a stream are framed by `event_stream`, typed by `shapes`; what becomes of blocks is in `blocks`. A
stream is whole once `messageStop` was said; `metadata`, which brings the counts, comes after it. Source:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from ...core.decoded import DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta
from ...core.usage import Provenance, Usage
from ..errors import PROTOCOL, TRUNCATED, body_error, broken, excerpt, http_error
from ..framing.event_stream import EventStreamFramer, Headers, Message
from ..reader import Failed
from .blocks import UNREADABLE, Blocks
from .shapes import (
    ORIGIN,
    STOP_REASONS,
    Answer,
    Counts,
    DeltaEvent,
    MessageStop,
    Metadata,
    Problem,
    StartEvent,
    StopEvent,
    usage_of,
)

_decode_delta = msgspec.json.Decoder(DeltaEvent).decode
_decode_start = msgspec.json.Decoder(StartEvent).decode
_decode_block_stop = msgspec.json.Decoder(StopEvent).decode
_decode_stop = msgspec.json.Decoder(MessageStop).decode
_decode_metadata = msgspec.json.Decoder(Metadata).decode
_decode_answer = msgspec.json.Decoder(Answer).decode
_decode_problem = msgspec.json.Decoder(Problem).decode

REQUEST_ID = "x-amzn-requestid"
ERROR_TYPE = "x-amzn-errortype"


class ConverseFold:
    """See `reader.Fold` for what it promises."""

    __slots__ = ("_attempt", "_blocks", "_counts", "_response_id", "_started", "_stop", "is_done")

    def __init__(self, step: str, attempt: int, headers: Mapping[str, str], origin: str) -> None:
        self._attempt = attempt
        self._blocks = Blocks(step, attempt, origin)
        self._counts: Counts | None = None
        self._response_id = headers.get(REQUEST_ID)
        self._started = False
        self._stop: str | None = None
        self.is_done = False

    @property
    def may_end(self) -> bool:
        return self._stop is not None

    def fold(self, payloads: list[Message], out: list[DecoderEvent]) -> None:
        blocks, attempt, of_delta = self._blocks, self._attempt, None
        if payloads and not self._started:
            self._start(out)
        for headers, payload in payloads:
            if headers is not of_delta:  # the framer gives equal headers as one object
                if headers.get(":event-type") != "contentBlockDelta":
                    self._fold_other(headers, payload, out)
                    if self.is_done:
                        return
                    continue
                of_delta = headers
            try:
                event = _decode_delta(payload)
                delta, index = event.delta, event.contentBlockIndex
                if index == blocks.text_index and delta.text is not None:
                    if delta.text:
                        out.append(TextDelta(delta.text, blocks.text_number, attempt))
                else:
                    blocks.delta(index, delta, payload, out)
            except UNREADABLE:
                raise _unreadable(payload) from None

    def fold_document(self, body: bytes, out: list[DecoderEvent]) -> None:
        try:
            answer = _decode_answer(body)
            message = None if answer.output is None else answer.output.message
            if message is None or answer.stopReason is None:
                raise Failed(self._refused(body))
            self._counts = answer.usage
            self._start(out)
            for index, block in enumerate(message.content):
                self._blocks.whole(index, block, out)
        except UNREADABLE as problem:
            if body.startswith(b"{") and "truncated" in str(problem):
                what = "The answer ended in the middle of its JSON."
                raise Failed(broken(TRUNCATED, what, provider=ORIGIN)) from None
            raise _unreadable(body) from None
        self._stop = answer.stopReason
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        word = self._stop
        out.append(ResponseEnded(STOP_REASONS.get(word or "", "unknown"), word, self.usage("reported")))

    def usage(self, provenance: Provenance) -> Usage | None:
        return usage_of(self._counts, provenance)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        """An error response. What kind it is stands in a header, or in `__type`; behind it may stand where it is defined."""
        problem = _problem(body)
        word = _plain(headers.get(ERROR_TYPE) or (problem.type if problem else None) or "")
        if problem is None or not problem.text:
            found = body_error(status, headers, body, provider=ORIGIN)
            return found if not word else http_error(status, headers, found.message, type=word, provider=ORIGIN)
        return http_error(status, headers, problem.text, type=word, provider=ORIGIN)

    # --- events but deltas --------------------------------------------------------------------------------------

    def _fold_other(self, headers: Headers, payload: bytes, out: list[DecoderEvent]) -> None:
        if headers.get(":message-type", "event") != "event":
            raise Failed(_exception(headers, payload))
        try:
            match headers.get(":event-type"):
                case "contentBlockStart":
                    start = _decode_start(payload)
                    self._blocks.start(start.contentBlockIndex, start.start, out)
                case "contentBlockStop":
                    self._blocks.stop(_decode_block_stop(payload).contentBlockIndex, out)
                case "messageStop":
                    self._stop = _decode_stop(payload).stopReason
                    self._blocks.stop_all(out)
                    self.is_done = self._counts is not None
                case "metadata":
                    self._counts = _decode_metadata(payload).usage or self._counts
                    self.is_done = self._stop is not None
                case _:
                    pass
        except UNREADABLE:
            raise _unreadable(payload) from None

    def _start(self, out: list[DecoderEvent]) -> None:
        """Who answers: the body never says which model, and the id of the answer is that of the request, in a header."""
        self._started = True
        if self._response_id:
            out.append(ResponseStarted("", self._response_id))

    def _refused(self, body: bytes) -> ErrorInfo:
        problem = _problem(body)
        if problem is None or not problem.text:
            return broken(PROTOCOL, f"The answer is not one of Converse: {excerpt(body)}", provider=ORIGIN)
        return http_error(0, {}, problem.text, type=_plain(problem.type or ""), provider=ORIGIN)


def sniff(head: bytes | bytearray, content_type: str) -> EventStreamFramer | Literal["unknown", "document"]:
    """A message of an event stream begins with its length, whose first byte no JSON and no web page begins with."""
    return EventStreamFramer() if head[0] < 0x09 else "document"


def _exception(headers: Headers, payload: bytes) -> ErrorInfo:
    """An exception that the API documents, or an error that it does not, in the middle of a stream."""
    word = str(headers.get(":exception-type") or headers.get(":error-code") or "")
    problem = _problem(payload)
    said = (problem.text if problem else "") or str(headers.get(":error-message") or "") or excerpt(payload)
    return http_error(0, {}, said, type=word, provider=ORIGIN)


def _problem(body: bytes) -> Problem | None:
    try:
        return _decode_problem(body)
    except UNREADABLE:
        return None


def _plain(word: str) -> str:
    """`com.amazon.coral.service#ValidationException:http://…` is a ValidationException."""
    return word.partition(":")[0].rpartition("#")[2]


def _unreadable(payload: bytes) -> Failed:
    return Failed(broken(PROTOCOL, f"The answer cannot be read: {excerpt(payload)}", provider=ORIGIN))

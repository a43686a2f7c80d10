"""Chunks in, events out: what the fields of a generateContent response mean.

A whole response is one chunk, so both ways of answering are read by the same code (rule S5). Neighbouring pieces of text are
one block, until a thought signature seals it: a signature belongs to the part that it came on and goes back on that. What
Google runs itself (code execution, search) is kept part by part and returned unchanged. Source:
https://ai.google.dev/api/generate-content, https://ai.google.dev/gemini-api/docs/thought-signatures and recorded traffic.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

import msgspec
from msgspec import Raw

from ...core.content import Audio, Image, Inline, Native, Opaque, Text
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ...core.messages import StopReason
from ...core.usage import Provenance, Usage
from ..errors import PROTOCOL, TRUNCATED, Kind, broken, excerpt
from ..framing.limits import MAX_BODY_BYTES
from ..reader import Failed
from .dialect import Dialect
from .errors import response_error
from .shapes import (
    CALLS_COUNT,
    NULL,
    STOP_REASONS,
    UNREADABLE,
    Blob,
    Candidate,
    Chunk,
    Counts,
    FunctionCall,
    UsualCandidate,
    UsualChunk,
    UsualPart,
    decode_chunk,
    decode_feedback,
    decode_fields,
    decode_part,
    decode_text_chunk,
    decode_usual_chunk,
    later,
    read_counts,
    usage_of,
)

DONE = b"[DONE]"
"""Proxies end streams with it; Google does not."""
MAX_MISSES = 16
"""How often in a response a chunk may turn out not to be plain text before the short way is given up."""
_ABOUT = ("groundingMetadata", "citationMetadata", "urlContextMetadata", "logprobsResult")
_DATA = (
    "inlineData",
    "fileData",
    "executableCode",
    "codeExecutionResult",
    "toolCall",
    "toolResponse",
    "functionResponse",
)
"""What a part may be besides text and calls. One of another kind is called by its first field in order of the alphabet."""
_KNOWN = ("text", "thought", "thoughtSignature", "functionCall", "inlineData")


class GeminiFold:
    """What is known of one response so far: the block being made and what it is made of, what is said about the answer, token
    counts, why it stopped."""

    __slots__ = (
        "_attempt",
        "_block",
        "_calls",
        "_counts",
        "_dialect",
        "_headers",
        "_is_started",
        "_kept",
        "_kept_bytes",
        "_kind",
        "_misses",
        "_step",
        "_stop",
        "is_done",
    )

    def __init__(self, step: str, attempt: int, dialect: Dialect, headers: Mapping[str, str]) -> None:
        self._step = step
        self._attempt = attempt
        self._dialect = dialect
        self._headers = headers
        self._is_started = False
        self._misses = 0
        self._block = -1
        self._kind = ""
        self._calls = 0
        self._kept: dict[str, list[bytes]] = {}
        self._kept_bytes = 0
        self._counts: Counts | None = None
        self._stop: str | None = None
        self.is_done = False

    @property
    def may_end(self) -> bool:
        """A stream is whole when a finish reason was seen, or why the prompt was blocked."""
        return self._stop is not None

    def fold(self, payloads: list[bytes], out: list[DecoderEvent]) -> None:
        """Append the events of a stream's payloads to `out`. Raises `Failed`; what came before it stands in `out`.

        The hot path of the decoder: while text is running, a payload is first taken for one more piece of it and nothing
        else.
        """
        attempt, add = self._attempt, out.append
        counts, block, is_text = self._counts, self._block, self._expects_text()
        for payload in payloads:
            if is_text:
                try:
                    chunk = decode_text_chunk(payload)
                except UNREADABLE:
                    self._misses += 1
                else:
                    if (now := chunk.usageMetadata) is not None:
                        if counts is None or (
                            now.candidatesTokenCount is not None
                            and now.promptTokenCount == counts.promptTokenCount
                            and now.thoughtsTokenCount == counts.thoughtsTokenCount
                            and now.cachedContentTokenCount == counts.cachedContentTokenCount
                        ):
                            counts = now
                        else:
                            counts = later(counts, now)
                    if text := chunk.candidates[0].content.parts[0].text:
                        add(TextDelta(text, block, attempt))
                    continue
            self._counts = counts
            self._fold_payload(payload, out)
            if self.is_done:
                return
            counts, block, is_text = self._counts, self._block, self._expects_text()
        self._counts = counts

    def _expects_text(self) -> bool:
        """Whether the next payload is most likely more text for the block that is open."""
        return self._kind == "text" and self._misses < MAX_MISSES

    def fold_document(self, body: bytes, out: list[DecoderEvent]) -> None:
        """Append the events of a whole response in one JSON document, the end included. Raises `Failed`."""
        try:
            chunk = _chunk(body)
        except UNREADABLE as error:
            # A document has no other terminator than its last brace.
            kind = TRUNCATED if "truncated" in str(error) and body[:1] == b"{" else PROTOCOL
            raise Failed(self._broken(kind, f"The answer cannot be read: {excerpt(body)}")) from None
        self._fold_chunk(chunk, body, out)
        if not chunk.candidates and self._stop is None:
            raise Failed(self._broken(PROTOCOL, "The answer holds no candidates."))
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        """The response is whole: append what is known only now."""
        for name, values in self._kept.items():
            self._add(Opaque(name, self._native({name: _joined(values)})), out)
        out.append(ResponseEnded(self._stop_reason(), self._stop, self.usage("reported")))

    def usage(self, provenance: Provenance) -> Usage | None:
        """Token counts in normal form; None if nothing was said."""
        return usage_of(self._counts, provenance)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        return response_error(status, headers, body, self._dialect.origin)

    # --- one chunk ----------------------------------------------------------------------------------------------

    def _fold_payload(self, payload: bytes, out: list[DecoderEvent]) -> None:
        if len(payload) < 64 and payload.strip() == DONE:
            self.is_done = True
            return
        try:
            chunk = _chunk(payload)
        except UNREADABLE:
            message = f"An event of the answer cannot be read: {excerpt(payload)}"
            raise Failed(self._broken(PROTOCOL, message)) from None
        self._fold_chunk(chunk, payload, out)

    def _fold_chunk(self, chunk: Chunk | UsualChunk, payload: bytes, out: list[DecoderEvent]) -> None:
        if chunk.error is not NULL and bytes(chunk.error) != b"null":
            raise Failed(response_error(0, self._headers, payload, self._dialect.origin))
        if not self._is_started:
            self._start(chunk, out)
        counts = chunk.usageMetadata
        self._counts = later(self._counts, read_counts(counts) if isinstance(counts, Raw) else counts)
        candidates = chunk.candidates
        if candidates:
            # Others than the first are there if they were asked for, and then they are the caller's business.
            candidate = candidates[0] if not candidates[0].index else next((c for c in candidates if not c.index), None)
            if candidate is not None:
                self._fold_candidate(candidate, out)
        if chunk.promptFeedback is not NULL:
            self._fold_feedback(chunk.promptFeedback)

    def _start(self, chunk: Chunk | UsualChunk, out: list[DecoderEvent]) -> None:
        """Say who answers, once, as soon as it is known."""
        model, id = chunk.modelVersion, chunk.responseId
        if chunk.candidates or model or id:
            self._is_started = True
            out.append(
                ResponseStarted(model if isinstance(model, str) else "", id if isinstance(id, str) and id else None)
            )

    def _fold_feedback(self, raw: Raw) -> None:
        """What the provider thinks of the prompt; the reason why there is no answer, if it was blocked."""
        feedback = None
        with suppress(*UNREADABLE):
            feedback = decode_feedback(raw)
        if feedback is not None and feedback.blockReason:
            self._stop = feedback.blockReason
            self._keep("promptFeedback", raw)

    def _fold_candidate(self, candidate: Candidate | UsualCandidate, out: list[DecoderEvent]) -> None:
        content = candidate.content
        if content is not None and content.parts:
            for part in content.parts:
                if type(part) is UsualPart:
                    self._fold_usual_part(part, {}, out)
                else:
                    self._fold_part(cast("Raw", part), out)
        for name in _ABOUT:
            if (value := getattr(candidate, name)) is not NULL and bytes(value) != b"null":
                self._keep(name, value)
        if candidate.finishReason and candidate.finishReason != "FINISH_REASON_UNSPECIFIED":
            self._stop = candidate.finishReason
        if candidate.finishMessage:
            self._keep("finishMessage", Raw(msgspec.json.encode(candidate.finishMessage)))

    # --- one part -----------------------------------------------------------------------------------------------

    def _fold_usual_part(self, part: UsualPart, beside: dict[str, Raw], out: list[DecoderEvent]) -> None:
        """Text, reasoning, a call or nothing; `beside` are fields that we do not know."""
        signature = part.thoughtSignature
        if part.functionCall is not None:
            self._fold_call(part.functionCall, _signed(beside, signature), out)
        elif part.text is not None and part.thought:
            self._think(part.text, signature, beside, out)
        else:
            self._say(part.text or "", _signed(beside, signature), out)

    def _fold_part(self, raw: Raw, out: list[DecoderEvent]) -> None:
        try:
            part, fields = decode_part(raw), decode_fields(raw)
        except UNREADABLE:
            message = f"A part of the answer cannot be read: {excerpt(bytes(raw))}"
            raise Failed(self._broken(PROTOCOL, message)) from None
        beside = {name: value for name, value in fields.items() if name not in _KNOWN and bytes(value) != b"null"}
        if part.functionCall is not None or part.text is not None or (part.inlineData is None and not beside):
            self._fold_usual_part(part, beside, out)
            return
        signature = part.thoughtSignature
        if part.inlineData is None or part.thought or not self._show(part.inlineData, beside, signature, out):
            kind = next((name for name in _DATA if name in fields), min(beside, default="part"))
            self._add(Opaque(kind, self._native(fields)), out)

    def _say(self, text: str, beside: dict[str, Any], out: list[DecoderEvent]) -> None:
        if text or (beside and self._kind == "text"):
            block = self._open("text")
            if text:
                out.append(TextDelta(text, block, self._attempt))
            if beside:
                out.append(BlockSealed(block, native=self._native(beside)))
                self._kind = ""
        elif beside:
            self._add(Text("", self._native(beside)), out)

    def _think(self, text: str, signature: str | None, beside: dict[str, Raw], out: list[DecoderEvent]) -> None:
        if not (text or signature or beside):
            return
        is_new = self._kind != "thinking"
        block = self._open("thinking")
        if text:
            out.append(ThinkingDelta(text, block, self._attempt))
        if is_new or signature or beside:
            native = self._native(beside) if beside else None
            out.append(BlockSealed(block, signature or None, self._dialect.origin, native))
        if signature or beside:
            self._kind = ""

    def _show(self, blob: Blob, beside: dict[str, Raw], signature: str | None, out: list[DecoderEvent]) -> bool:
        """An image or sound that the model made; False if it is neither."""
        family = blob.mimeType.partition("/")[0]
        if family not in ("image", "audio"):
            return False
        try:
            source = Inline(b64decode(blob.data.replace("-", "+").replace("_", "/"), validate=True), blob.mimeType)
        except (binascii.Error, ValueError):
            return False
        native = self._native(_signed(beside, signature))
        self._add(Image(source, native=native) if family == "image" else Audio(source, native), out)
        return True

    def _fold_call(self, call: FunctionCall, beside: dict[str, Any], out: list[DecoderEvent]) -> None:
        """Calls come whole, with their arguments as an object and mostly without an id: it is named by its place (rule T4)."""
        if call.willContinue or bytes(call.partialArgs) != b"null":
            message = "The answer streams the arguments of a call in pieces: leave streamFunctionCallArguments out."
            raise Failed(self._broken(PROTOCOL, message))
        block = self._open("call")
        self._kind = ""
        id = f"{self._step}.c{self._calls}"
        self._calls += 1
        out.append(ToolCallStarted(id, call.name or "", block, self._attempt, call.id or None))
        if arguments := _arguments(call.args):
            out.append(ToolCallDelta(arguments, block, self._attempt))
        if beside or call.id:
            out.append(BlockSealed(block, native=self._native(beside)))

    # --- blocks -------------------------------------------------------------------------------------------------

    def _open(self, kind: str) -> int:
        """The block that is made of this kind; a new one if the last is of another."""
        if self._kind != kind:
            self._block += 1
            self._kind = kind
        return self._block

    def _add(self, content: Opaque | Image | Audio | Text, out: list[DecoderEvent]) -> None:
        self._block += 1
        self._kind = ""
        out.append(BlockAdded(self._block, content))

    def _keep(self, name: str, value: Raw) -> None:
        said = bytes(value)
        values = self._kept.setdefault(name, [])
        if values and values[-1] == said:
            return
        self._kept_bytes += len(said)
        if self._kept_bytes > MAX_BODY_BYTES:
            raise Failed(self._broken(PROTOCOL, f"The answer is longer than {MAX_BODY_BYTES} bytes."))
        values.append(said)

    def _native(self, value: Mapping[str, Any]) -> Native:
        """Fields as JSON in one spelling, so that a streamed part and the same part in a whole answer are equal."""
        written = msgspec.json.encode(value)
        with suppress(OverflowError):  # an integer that can be read but not written: the provider's spelling stays
            written = msgspec.json.encode(msgspec.json.decode(written))
        return Native(self._dialect.origin, written.decode())

    def _stop_reason(self) -> StopReason:
        if self._calls and (self._stop is None or self._stop in CALLS_COUNT):
            return "tool_calls"
        if "promptFeedback" in self._kept:
            return "content_filter"
        return STOP_REASONS.get(self._stop or "", "unknown")

    def _broken(self, kind: Kind, message: str) -> ErrorInfo:
        return broken(kind, message, provider=self._dialect.origin)


def _chunk(payload: bytes) -> Chunk | UsualChunk:
    """A chunk, with its parts left raw if one of them is not of a usual kind. Raises one of `UNREADABLE`."""
    try:
        return decode_usual_chunk(payload)
    except UNREADABLE:
        return decode_chunk(payload)


def _signed(beside: Mapping[str, Any], signature: str | None) -> dict[str, Any]:
    return {**beside, "thoughtSignature": signature} if signature else dict(beside)


def _arguments(raw: Raw) -> str:
    """Arguments as JSON text without white space: Google indents documents and not events, and both must say the same. Text in
    place of an object is taken for what it holds."""
    said = bytes(raw)
    if said == b"null":
        return ""
    if said[:1] == b'"':
        return msgspec.json.decode(said, type=str)
    return msgspec.json.format(said, indent=-1).decode()


def _joined(values: list[bytes]) -> Any:
    """What several chunks said about the answer: lists go on, of everything else the last counts."""
    found = [msgspec.json.decode(v) for v in values]
    if len(found) == 1 or not all(isinstance(f, dict) for f in found):
        return found[-1]
    out: dict[str, Any] = {}
    for one in cast("list[dict[str, Any]]", found):
        for name, value in one.items():
            before = out.get(name)
            grows = isinstance(value, list) and isinstance(before, list) and value != before
            out[name] = cast("list[Any]", before) + cast("list[Any]", value) if grows else value
    return out

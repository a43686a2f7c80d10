"""Chunks in, events out: what the fields of a Chat Completions response mean.

A whole response is one chunk with a `message`, so both ways of answering are read by the same code (rule S5). Calls are put
together in `calls`; bytes and framing are the reader's business (`reader`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.content import Image, Native, Opaque, Url
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta
from ...core.messages import StopReason
from ...core.usage import Provenance, Usage
from ..errors import OVERLOADED, PROTOCOL, SERVER, TRUNCATED, Kind, broken, excerpt
from ..framing.limits import MAX_BODY_BYTES
from ..reader import Failed
from .calls import Calls
from .errors import inner_error, response_error
from .narrow import decode_fragment, decode_text_chunk, decode_thought
from .parts import field_of, inline_of, merged, overlaid, text_in, thought_in
from .shapes import (
    UNREADABLE,
    Choice,
    Chunk,
    Counts,
    Delta,
    Malformed,
    read_chunk,
    read_opening,
)
from .usage import later, usage_of

_STOPS: dict[str, StopReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "completed": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
    "stop_sequence": "stop_sequence",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_BREAKS: dict[str, Kind] = {
    "error": SERVER,
    "abort": TRUNCATED,
    "insufficient_system_resource": OVERLOADED,
}
"""Finish reasons that say that the answer is not an answer (routers, vLLM, DeepSeek)."""


DONE = b"[DONE]"
"""The payload that ends a stream."""
MAX_MISSES = 16
"""How often in a response a chunk may turn out not to be plain text before the short way is given up."""


class ChatFold:
    """What is known of one response so far: the block being made, the calls, usage, why it stopped (`stop`, the host's
    own word), whether its end was said (`is_done`)."""

    __slots__ = (
        "_attempt",
        "_block",
        "_calls",
        "_counts",
        "_headers",
        "_is_document",
        "_is_started",
        "_kept",
        "_kept_bytes",
        "_kind",
        "_misses",
        "_narrow",
        "_origin",
        "_refusal",
        "_thoughts",
        "is_done",
        "stop",
    )

    def __init__(self, step: str, attempt: int, origin: str, headers: Mapping[str, str]) -> None:
        self._attempt = attempt
        self._origin = origin
        self._headers = headers
        self._is_document = False
        self._is_started = False
        self._misses = 0
        self._narrow = ""
        self._kind = ""
        self._block = -1
        self._calls = Calls(step, attempt, origin)
        self._thoughts: list[int] = []
        self._refusal: list[str] = []
        self._kept: dict[str, list[Any]] = {}
        self._kept_bytes = 0
        self._counts: Counts | None = None
        self.stop: str | None = None
        self.is_done = False

    def fold(self, payloads: list[bytes], out: list[DecoderEvent]) -> None:
        """Append the events of a stream's payloads to `out`. Raises `Failed`; what came before it stands in `out`.

        The hot path of the decoder: while text or calls are running, a payload is first taken for one more piece of them
        and nothing else. Hosts whose chunks are never that plain are soon no longer asked.
        """
        attempt, block, kind, add = self._attempt, self._block, self._narrow, out.append
        for payload in payloads:
            try:
                if kind == "text":
                    if text := decode_text_chunk(payload).choices[0].delta.content:
                        add(TextDelta(text, block, attempt))
                    continue
                if kind == "thinking":
                    thought = decode_thought(payload).choices[0].delta
                    if text := thought.reasoning_content or thought.reasoning:
                        add(ThinkingDelta(text, block, attempt))
                    continue
                if kind == "call":
                    part = decode_fragment(payload).choices[0].delta.tool_calls[0]
                    if self._calls.extend(part.index, part.function.arguments, out):
                        continue
            except UNREADABLE:
                self._misses += 1
            self._fold_payload(payload, out)
            if self.is_done:
                return
            kind = self._narrow = self._expected()
            block = self._block

    def _expected(self) -> str:
        """What the next payload is most likely to be more of, and nothing else: "text", "thinking", "call", or "" for no guess."""
        if self.stop is not None or self._misses >= MAX_MISSES:
            return ""
        return self._kind

    def fold_document(self, document: bytes, out: list[DecoderEvent]) -> None:
        """Append the events of a whole response in one JSON document, the end included. Raises `Failed`."""
        self._is_document = True
        try:
            chunk, model, id = read_opening(document)
        except Malformed as problem:
            # A document has no other terminator than its last brace.
            kind = TRUNCATED if problem.cut and document[:1] == b"{" else PROTOCOL
            raise Failed(_unreadable(kind, "The answer", problem, document)) from None
        self._start(chunk, model, id, out)
        self._fold_chunk(chunk, out)
        if not chunk.choices:
            raise Failed(broken(PROTOCOL, "The answer holds no choices."))
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        """The response is whole: append what is known only now."""
        self._block = self._calls.finish(self._block, out)
        details = self._kept.pop("reasoning_details", None)
        native = None if not details else self._native("reasoning_details", merged(details))
        for block in self._thoughts:
            out.append(BlockSealed(block, origin=self._origin, native=native))
            native = None
        if native is not None:
            self._add(Opaque("reasoning_details", native), out)
        if self._refusal:
            refusal = self._native("refusal", "".join(self._refusal))
            self._add(Opaque("refusal", refusal), out)
        for name, values in self._kept.items():
            value = values if name in ("annotations", "content") else overlaid(values)
            self._add(Opaque(name, self._native(name, value)), out)
        out.append(ResponseEnded(self._stop_reason(), self.stop, self.usage("reported")))

    def usage(self, provenance: Provenance) -> Usage | None:
        """Token counts in normal form; None if nothing was said."""
        return None if self._counts is None else usage_of(self._counts, provenance)

    @property
    def may_end(self) -> bool:
        """A stream is whole when a finish reason or `[DONE]` was seen."""
        return self.is_done or self.stop is not None

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        return response_error(status, headers, body)

    # --- one chunk ----------------------------------------------------------------------------------------------

    def _fold_payload(self, payload: bytes, out: list[DecoderEvent]) -> None:
        if len(payload) < 64 and payload.strip() == DONE:
            self.is_done = True
            return
        try:
            if self._is_started:
                chunk = read_chunk(payload)
            else:
                chunk, model, id = read_opening(payload)
                self._start(chunk, model, id, out)
        except Malformed as problem:
            raise Failed(_unreadable(PROTOCOL, "An event of the answer", problem, payload)) from None
        self._fold_chunk(chunk, out)

    def _start(self, chunk: Chunk, model: str, id: str | None, out: list[DecoderEvent]) -> None:
        """Say who answers, once, before the first chunk that can hold anything."""
        if chunk.choices or model or id:
            self._is_started = True
            out.append(ResponseStarted(model, id))

    def _fold_chunk(self, chunk: Chunk, out: list[DecoderEvent]) -> None:
        choices, error = chunk.choices, chunk.error
        self._count(chunk.usage)
        if (corner := chunk.x_groq) is not None:
            self._count(corner.usage)
            error = error or corner.error
        choice = None
        if choices:
            choice = choices[0] if not choices[0].index else next((c for c in choices if not c.index), None)
            if choice is not None:
                self._count(choice.usage)
                error = error or choice.error
        if error:
            raise Failed(inner_error(self._headers, {"error": error}))
        if choices is None and (chunk.message or chunk.detail):
            said = {"message": chunk.message, "detail": chunk.detail, "type": chunk.type, "code": chunk.code}
            raise Failed(inner_error(self._headers, said))
        if choice is not None:
            self._fold_choice(choice, out)

    def _fold_choice(self, choice: Choice, out: list[DecoderEvent]) -> None:
        # Some hosts send both: in a stream `message` is all of it so far, in a document `delta` is an empty form.
        delta, message = choice.delta, choice.message
        if message is not None and (self._is_document or delta is None):
            self._fold_delta(message, True, out)
        elif delta is not None:
            self._fold_delta(delta, False, out)
        if choice.finish_reason:
            self.stop = choice.finish_reason
            if (kind := _BREAKS.get(self.stop)) is not None:
                message = f"The provider broke the answer off, with finish reason {self.stop!r}."
                raise Failed(broken(kind, message))

    def _fold_delta(self, delta: Delta, whole: bool, out: list[DecoderEvent]) -> None:
        """A message, or a piece of one. Its fields have no order among themselves; this one is the order of work."""
        details = delta.reasoning_details
        thought = delta.reasoning_content or delta.reasoning or (thought_in(details) if details else "")
        if thought:
            self._think(thought, out)
        if details:
            self._keep("reasoning_details", details)
        content = delta.content
        if content:
            if isinstance(content, str):
                out.append(TextDelta(content, self._open("text"), self._attempt))
            else:
                self._fold_parts(content, out)
        if delta.refusal:
            self._refusal.append(delta.refusal)
        for image in delta.images or ():
            self._fold_image(image, out)
        if delta.tool_calls:
            for part in delta.tool_calls:
                self._set_block(self._calls.take(part, whole, self._block, out), "call")
        if delta.function_call is not None:
            self._set_block(self._calls.take_legacy(delta.function_call, self._block, out))
        if delta.annotations:
            self._keep("annotations", delta.annotations)
        if delta.audio and any(delta.audio.values()):
            self._keep("audio", [delta.audio])
        if delta.extra_content:
            self._keep("extra_content", [delta.extra_content])

    def _fold_parts(self, parts: list[Any], out: list[DecoderEvent]) -> None:
        """Content as an array (Mistral, image models)."""
        for part in parts:
            text = text_in(part)
            kind = "text" if isinstance(part, str) else field_of(part, "type")
            if kind == "thinking":
                if text:
                    self._think(text, out)
            elif kind == "text":
                if text:
                    out.append(TextDelta(text, self._open("text"), self._attempt))
            elif kind == "refusal":
                self._refusal.append(text)
            elif kind == "image_url":
                self._fold_image(part, out)
            else:
                self._keep("content", [part])

    def _fold_image(self, part: Any, out: list[DecoderEvent]) -> None:
        """`{"type": "image_url", "image_url": {"url": ...}}`; the URL is nearly always a data URL."""
        url = field_of(part, "image_url")
        if isinstance(url, dict):
            url = field_of(url, "url")
        if not isinstance(url, str) or not url:
            self._keep("content", [part])
            return
        self._add(Image(inline_of(url) or Url(url)), out)

    # --- blocks -------------------------------------------------------------------------------------------------

    def _think(self, text: str, out: list[DecoderEvent]) -> None:
        block = self._open("thinking")
        if not self._thoughts or self._thoughts[-1] != block:
            self._thoughts.append(block)
        out.append(ThinkingDelta(text, block, self._attempt))

    def _open(self, kind: str) -> int:
        """The running block if it is of this kind, else the next one."""
        if self._kind != kind:
            self._kind = kind
            self._block += 1
        return self._block

    def _set_block(self, block: int, kind: str = "") -> None:
        """Something else than text or thinking was fed, and `block` is the last block now: text that follows opens its own."""
        self._block = block
        self._kind = kind

    def _add(self, content: Image | Opaque, out: list[DecoderEvent]) -> None:
        self._set_block(self._block + 1)
        out.append(BlockAdded(self._block, content))

    def _keep(self, name: str, values: list[Any]) -> None:
        """Hold on to what belongs to the whole message, within bounds (rule S8)."""
        self._kept_bytes += len(msgspec.json.encode(values))
        if self._kept_bytes > MAX_BODY_BYTES:
            raise Failed(broken(PROTOCOL, f"The answer holds more than {MAX_BODY_BYTES} bytes beside its text."))
        self._kept.setdefault(name, []).extend(values)

    def _native(self, name: str, value: Any) -> Native:
        return Native(self._origin, msgspec.json.encode({name: value}).decode())

    # --- the end ------------------------------------------------------------------------------------------------

    def _count(self, counts: Counts | None) -> None:
        if counts is not None:
            self._counts = later(self._counts, counts)

    def _stop_reason(self) -> StopReason:
        normal = _STOPS.get((self.stop or "").lower(), "unknown")
        return "refusal" if self._refusal and normal in ("stop", "unknown") else normal


def _unreadable(kind: Kind, what: str, problem: Malformed, body: bytes) -> ErrorInfo:
    return broken(kind, f"{what} cannot be read: {problem}. It begins: {excerpt(body, 120)!r}")

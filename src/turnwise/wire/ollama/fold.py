"""Lines in, events out: what the fields of an Ollama chat answer mean.

A whole answer is one line with everything in it, so both ways of answering are read by the same code (rule S5). Calls come
whole and often without ids: ours are counted (rule T4). Bytes and framing are the reader's business (`reader`, `framing.json_lines`).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from msgspec import Raw

from ...core.content import Image, Inline, Native, Opaque
from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseStarted
from ...core.errors import ErrorInfo
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ...core.messages import StopReason
from ...core.usage import Provenance, Usage
from ..errors import OVERFLOW, PROTOCOL, TRUNCATED, body_error, broken
from ..framing.json_lines import JsonLinesFramer
from ..reader import Failed
from ..unreadable import UNREADABLE, unreadable, unreadable_document
from .shapes import Call, Line, decode_line

ORIGIN = "ollama"

_STOPS: dict[str, StopReason] = {"stop": "stop", "length": "length"}
"""`load` and `unload` answer requests without messages, which are never sent."""
_OVERFLOW_HINT = (
    "Raise the context length with OllamaExtra(num_ctx=…) or OLLAMA_CONTEXT_LENGTH on the server, or shorten the "
    "conversation."
)
_MAGIC = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))


class OllamaFold:
    """What is known of one answer so far: the block being made, why it stopped, the counts. See `reader.Fold`."""

    __slots__ = (
        "_attempt",
        "_block",
        "_calls",
        "_counts",
        "_headers",
        "_is_started",
        "_kind",
        "_step",
        "_stop",
        "_thoughts",
        "is_done",
    )

    def __init__(self, step: str, attempt: int, headers: Mapping[str, str]) -> None:
        self._step = step
        self._attempt = attempt
        self._headers = headers
        self._is_started = False
        self._kind = ""
        self._block = -1
        self._calls = 0
        self._thoughts: list[int] = []
        self._stop: str | None = None
        self._counts: tuple[int | None, int | None] = (None, None)
        self.is_done = False

    @property
    def may_end(self) -> bool:
        """Only the line with `done` ends an answer."""
        return self.is_done

    def fold(self, payloads: list[bytes], out: list[DecoderEvent]) -> None:
        """Append the events of a stream's lines. More text, or more reasoning, for the block that had the last is the hot
        path; everything else is rare."""
        attempt, add = self._attempt, out.append
        kind, block = self._kind, self._block
        for payload in payloads:
            try:
                line = decode_line(payload)
            except UNREADABLE as problem:
                raise unreadable("A line of the answer", problem, payload) from None
            said = line.message
            if (
                kind
                and said is not None
                and not line.done
                and said.tool_calls is None
                and said.images is None
                and line.error is None
            ):
                if kind == "text":
                    if said.thinking is None:
                        if text := said.content:
                            add(TextDelta(text, block, attempt))
                        continue
                elif not said.content:
                    if text := said.thinking:
                        add(ThinkingDelta(text, block, attempt))
                    continue
            self._fold_line(line, out)
            if self.is_done:
                return
            kind, block = self._kind, self._block

    def fold_document(self, body: bytes, out: list[DecoderEvent]) -> None:
        """Append the events of a whole answer. Lines that were not recognised as a stream are read as one after all."""
        try:
            line = decode_line(body)
        except UNREADABLE as problem:
            if not body[: body.find(b"\n") + 1].rstrip().endswith(b"}"):
                raise unreadable_document(problem, body) from None
            framer = JsonLinesFramer(len(body))
            self.fold(framer.feed(body) + framer.finish(), out)
        else:
            self._fold_line(line, out)
        if not self._is_started:
            raise Failed(broken(PROTOCOL, "The answer holds no message."))
        if not self.is_done:
            raise Failed(broken(TRUNCATED, "The answer ended before it was complete."))
        self.end(out)

    def end(self, out: list[DecoderEvent]) -> None:
        """The answer is whole: its reasoning is ours to send back, and why it stopped is known."""
        out += [BlockSealed(block, origin=ORIGIN) for block in self._thoughts]
        stop = _STOPS.get(self._stop or "", "unknown")
        # Ollama has no word of its own for an answer that asks for tools.
        if self._calls and stop in ("stop", "unknown"):
            stop = "tool_calls"
        out.append(ResponseEnded(stop, self._stop, self.usage("reported")))

    def usage(self, provenance: Provenance) -> Usage | None:
        """Token counts; None if nothing was said. A prompt that is all in the cache may come without its count."""
        given, made = self._counts
        return None if given is None and made is None else Usage(given, made, provenance=provenance)

    def error(self, status: int, headers: Mapping[str, str], body: bytes) -> ErrorInfo:
        """The error of an answer whose status says that it is one; `status` 0: inside a stream."""
        info = body_error(status, headers, _unwrapped(body), provider=ORIGIN)
        if info.code == OVERFLOW.code:
            info = msgspec.structs.replace(info, hint=_OVERFLOW_HINT)
        return info

    # --- one line -----------------------------------------------------------------------------------------------

    def _fold_line(self, line: Line, out: list[DecoderEvent]) -> None:
        if line.error:
            raise Failed(self.error(0, self._headers, msgspec.json.encode({"error": line.error})))
        if (said := line.message) is not None:
            if not self._is_started:
                self._is_started = True
                out.append(ResponseStarted(line.model or ""))
            if said.thinking:
                out.append(ThinkingDelta(said.thinking, self._open("thinking"), self._attempt))
            if said.content:
                out.append(TextDelta(said.content, self._open("text"), self._attempt))
            for image in said.images or ():
                self._next("")
                out.append(BlockAdded(self._block, _image(image)))
            for call in said.tool_calls or ():
                self._call(call, out)
        if line.done:
            if not self._is_started:
                raise Failed(broken(PROTOCOL, "The answer holds no message."))
            self.is_done = True
            self._stop = line.done_reason
            self._counts = (line.prompt_eval_count, line.eval_count)

    def _call(self, call: Call, out: list[DecoderEvent]) -> None:
        self._next("")
        id, self._calls = f"{self._step}.c{self._calls}", self._calls + 1
        out.append(ToolCallStarted(id, call.function.name or "", self._block, self._attempt, call.id or None))
        if arguments := _arguments(call.function.arguments):
            out.append(ToolCallDelta(arguments, self._block, self._attempt))

    def _open(self, kind: str) -> int:
        """The running block if it is of this kind, else the next one."""
        if self._kind != kind:
            self._next(kind)
            if kind == "thinking":
                self._thoughts.append(self._block)
        return self._block

    def _next(self, kind: str) -> None:
        self._block += 1
        self._kind = kind


def _arguments(raw: Raw) -> str:
    """The text of a call's arguments: an object as it was written, text as what it says, null as nothing."""
    written = bytes(raw).strip()
    if written in (b"", b"null"):
        return ""
    try:
        return msgspec.json.decode(written, type=str) if written[:1] == b'"' else written.decode()
    except UNREADABLE as problem:
        raise unreadable("The arguments of a tool call", problem, written) from None


def _image(data: str) -> Image | Opaque:
    try:
        image = b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return Opaque("image", Native(ORIGIN, msgspec.json.encode({"image": data}).decode()))
    return Image(Inline(image, next((kind for magic, kind in _MAGIC if image.startswith(magic)), "image/png")))


def _unwrapped(body: bytes) -> bytes:
    """The error of the model's own process, which newer servers pass on as JSON inside the text of theirs."""
    try:
        said = msgspec.json.decode(body)
        inner = cast("dict[str, Any]", said).get("error") if isinstance(said, dict) else None
        if isinstance(inner, str) and inner.lstrip().startswith("{") and isinstance(msgspec.json.decode(inner), dict):
            return inner.encode()
    except UNREADABLE:
        pass
    return body

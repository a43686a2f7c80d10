"""Tool calls read from a model's text: a decoder around another codec's. See `prompted`.

Text is passed on as it comes; only what may be the beginning of a block is held back until it is one or is not (rule S1: what
comes out does not depend on how the text was split). A block that names a tool becomes a call, whatever else is wrong with
it, so that the model is told (rule E2); one that names none is text like any other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

import msgspec

from ...core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed
from ...core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ..base import Decoder

OPEN, CLOSE = "<tool_call>", "</tool_call>"

MAX_HELD_SPACE = 1024
"""How much white space may be held back to see whether a call follows: that in front of a call is dropped."""

_NAMED = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.){1,256}")')
_TOKEN = re.compile(rf'\\.|"|{CLOSE}', re.DOTALL)
_SPACE = " \t\r\n"
_ABSENT = msgspec.Raw()


class _Written(msgspec.Struct):
    """A call as the model wrote it. Some say `parameters` for `arguments`, or write it as OpenAI's API would."""

    name: str = ""
    arguments: msgspec.Raw = _ABSENT
    parameters: msgspec.Raw = _ABSENT
    function: _Written | None = None


_decode: Callable[[str], _Written | list[_Written]] = msgspec.json.Decoder(_Written | list[_Written]).decode


class PromptedDecoder:
    """Passes the events of `inner` on, with its text read. Blocks are numbered anew, since one of its may become several."""

    __slots__ = (
        "_attempt",
        "_body",
        "_called",
        "_calls",
        "_held",
        "_in_string",
        "_inner",
        "_last",
        "_numbers",
        "_seals",
        "_step",
        "_tail",
        "_text_block",
        "_texts",
    )

    def __init__(self, inner: Decoder, step: str, attempt: int) -> None:
        self._inner = inner
        self._step = step
        self._attempt = attempt
        self._numbers: dict[int, int] = {}
        """Its blocks by ours; a text block is forgotten when a call ends what was said before."""
        self._last = -1
        self._calls = 0
        self._text_block: int | None = None
        """The block whose text is being read."""
        self._texts: set[int] = set()
        self._called: set[int] = set()
        """The text blocks that held calls: what seals them no longer fits."""
        self._seals: list[BlockSealed] = []
        self._held = ""
        self._body: list[str] | None = None
        """What was read of a call after its opening tag."""
        self._tail = ""
        self._in_string = False

    def feed(self, data: bytes) -> list[DecoderEvent]:
        return self._read(self._inner.feed(data))

    def finish(self) -> list[DecoderEvent]:
        return self._read(self._inner.finish())

    def _read(self, events: list[DecoderEvent]) -> list[DecoderEvent]:
        out: list[DecoderEvent] = []
        for event in events:
            if type(event) is TextDelta:
                if event.block != self._text_block:
                    self._end_text(out)
                    self._text_block = event.block
                    self._texts.add(event.block)
                self._scan(event.text, out)
            else:
                self._pass_on(event, out)
        return out

    def _pass_on(self, event: DecoderEvent, out: list[DecoderEvent]) -> None:
        match event:
            case ResponseEnded(stop_reason=reason):
                self._end_text(out)
                if self._calls and reason in ("stop", "stop_sequence", "unknown"):
                    event = msgspec.structs.replace(event, stop_reason="tool_calls")
                out.append(event)
            case ResponseFailed():
                if self._body is None:
                    self._say(self._held, out)
                out.append(event)
            case BlockSealed(block=block) if block == self._text_block:
                self._seals.append(event)
            case BlockSealed(block=block) if block in self._texts:
                self._seal(event, out)
            case ToolCallStarted(block=block):
                number = self._number(block, out)
                out.append(msgspec.structs.replace(event, id=self._next_id(), block=number))
            case (
                BlockSealed(block=block)
                | ThinkingDelta(block=block)
                | ToolCallDelta(block=block)
                | BlockAdded(block=block)
            ):
                out.append(msgspec.structs.replace(event, block=self._number(block, out)))
            case _:
                out.append(event)

    def _number(self, block: int, out: list[DecoderEvent]) -> int:
        """Our number of a block that is no text."""
        number = self._numbers.get(block)
        if number is None:
            self._end_text(out)
            number = self._numbers[block] = self._next_block()
        return number

    def _next_block(self) -> int:
        self._last += 1
        return self._last

    def _next_id(self) -> str:
        self._calls += 1
        return f"{self._step}.c{self._calls - 1}"

    def _seal(self, event: BlockSealed, out: list[DecoderEvent]) -> None:
        number = self._numbers.get(event.block)
        if number is not None and event.block not in self._called:
            out.append(msgspec.structs.replace(event, block=number))

    # --- text ---

    def _scan(self, text: str, out: list[DecoderEvent]) -> None:
        """Read on. What is passed on and what is held back depend on all text so far, not on how it came."""
        while text:
            if self._body is not None:
                text = self._collect(text, out)
                continue
            text, self._held = self._held + text, ""
            at = text.find(OPEN)
            if at < 0:
                cut = _trimmed(text, len(text) - _begun(text, OPEN))
                self._say(text[:cut], out)
                self._held = text[cut:]
                return
            cut = _trimmed(text, at)
            self._say(text[:cut], out)
            self._held = text[cut:at]
            self._body, self._tail, self._in_string = [], "", False
            text = text[at + len(OPEN) :]

    def _collect(self, text: str, out: list[DecoderEvent]) -> str:
        """Add to the body of a call, up to its end if it is there; what follows it. A closing tag within a JSON string belongs to
        the string."""
        body = cast("list[str]", self._body)
        text, end = self._tail + text, 0
        for token in _TOKEN.finditer(text):
            end = token.end()
            if token[0] == '"':
                self._in_string = not self._in_string
            elif token[0] == CLOSE and not self._in_string:
                body.append(text[: token.start()])
                self._body = None
                self._call("".join(body), CLOSE, out)
                return text[end:]
        left = text[end:]
        begun = 1 if left.endswith("\\") else _begun(left, CLOSE)
        cut = len(text) - begun
        body.append(text[:cut])
        self._tail = text[cut:]
        return ""

    def _end_text(self, out: list[DecoderEvent]) -> None:
        """Nothing follows in this block: what was held back is text, and a call left open ends here, or where it seemed to
        before (a string in it was never closed)."""
        while self._body is not None:
            whole, self._body = "".join(self._body) + self._tail, None
            body, close, rest = whole.partition(CLOSE)
            self._call(body, close, out)
            self._scan(rest, out)
        block, held, self._held = self._text_block, self._held, ""
        if held.strip(_SPACE) or block not in self._called or block in self._numbers:
            self._say(held, out)  # and not the line break after a last call
        seals, self._seals = self._seals, []
        for event in seals:
            self._seal(event, out)
        self._text_block = None

    def _say(self, text: str, out: list[DecoderEvent]) -> None:
        block = self._text_block
        if not text or block is None:
            return
        number = self._numbers.get(block)
        if number is None:
            number = self._numbers[block] = self._next_block()
        out.append(TextDelta(text, number, self._attempt))

    def _call(self, body: str, close: str, out: list[DecoderEvent]) -> None:
        calls = _calls_in(body, close)
        space, self._held = self._held, ""
        if not calls:
            self._say(f"{space}{OPEN}{body}{close}", out)
            return
        block = cast("int", self._text_block)
        self._called.add(block)
        self._numbers.pop(block, None)
        for name, arguments in calls:
            number = self._next_block()
            out.append(ToolCallStarted(self._next_id(), name, number, self._attempt))
            if arguments:
                out.append(ToolCallDelta(arguments, number, self._attempt))


def _begun(text: str, tag: str) -> int:
    """How many characters at the end of a text are the beginning of a tag."""
    return next((n for n in range(min(len(tag) - 1, len(text)), 0, -1) if text.endswith(tag[:n])), 0)


def _trimmed(text: str, end: int) -> int:
    """Where the white space before `end` begins, as far as it is held back."""
    floor = max(0, end - MAX_HELD_SPACE)
    return floor + len(text[floor:end].rstrip(_SPACE))


def _calls_in(body: str, close: str) -> list[tuple[str, str]]:
    """Names and arguments of the calls in a block; none if it names no tool.

    A call that cannot be read has the block itself, tags and all, for its arguments: they are no JSON, which is said to
    the model when the call is answered.
    """
    text = body.strip()
    if text.startswith("```") and text.endswith("```"):
        text = text[3:-3].removeprefix("json").strip()
    try:
        found = _decode(text)
        written = found if isinstance(found, list) else [found]
        calls = [(w.name, _arguments_of(w)) for w in [w.function or w for w in written]]
    except (msgspec.DecodeError, ValueError, RecursionError):
        calls = []
    if calls and all(name for name, _ in calls):
        return calls
    named = _NAMED.search(text)
    try:
        return [(msgspec.json.decode(named[1], type=str), f"{OPEN}{body}{close}")] if named else []
    except (msgspec.DecodeError, ValueError):
        return []


def _arguments_of(written: _Written) -> str:
    """The raw JSON text; that inside a text, if it was written as one."""
    text = bytes(written.arguments or written.parameters).decode()
    return msgspec.json.decode(text, type=str) if text[:1] == '"' else text

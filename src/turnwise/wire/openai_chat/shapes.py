"""What a Chat Completions response looks like on the wire: typed shapes of its JSON, and a second, patient reading.

One shape fits a streamed chunk and a whole response. Most hosts fit it at once; what does not (an index as text, arguments as
an object) is read again by `read_patiently`. What the fields mean is decided in `fold`. Source:
https://platform.openai.com/docs/api-reference/chat and /chat-streaming; fields of other hosts from recorded traffic.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

import msgspec


class Malformed(Exception):
    """JSON, or a value in it, that cannot be what it should be; `cut` if it just ends too early. Never leaves `wire`."""

    def __init__(self, problem: str, cut: bool = False) -> None:
        super().__init__(problem)
        self.cut = cut


class Function(msgspec.Struct, frozen=True, gc=False):
    """Name and arguments of a call, or a fragment of them."""

    name: str | None = None
    arguments: str | None = None


class Custom(msgspec.Struct, frozen=True, gc=False):
    """A call of a tool that takes plain text."""

    name: str | None = None
    input: str | None = None


class CallPart(msgspec.Struct, frozen=True, gc=False):
    """A call in a whole response, a fragment of one in a chunk."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None
    custom: Custom | None = None
    extra_content: Any = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A message, or what a chunk adds to it."""

    content: str | list[Any] | None = None
    tool_calls: list[CallPart] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    refusal: str | None = None
    function_call: Function | None = None
    images: list[Any] | None = None
    annotations: list[Any] | None = None
    audio: dict[str, Any] | None = None
    extra_content: Any = None


class PromptDetails(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class CompletionDetails(msgspec.Struct, frozen=True, gc=False):
    reasoning_tokens: int | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    """The `usage` object. The last three fields: DeepSeek, Together, Mistral."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None
    cached_tokens: int | None = None
    num_cached_tokens: int | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    """One of the answers. A stream has `delta`, a whole response `message`, one host both."""

    delta: Delta | None = None
    finish_reason: str | None = None
    index: int | None = None
    message: Delta | None = None
    usage: Counts | None = None
    error: Any = None


class XGroq(msgspec.Struct, frozen=True, gc=False):
    """Groq's own corner."""

    usage: Counts | None = None
    error: Any = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    """One event of a stream, or a whole response. `choices` is None if the field is missing.

    The last four fields are an error's, with hosts that do not put it under `error`.
    """

    choices: list[Choice] | None = None
    usage: Counts | None = None
    error: Any = None
    x_groq: XGroq | None = None
    message: Any = None
    detail: Any = None
    type: Any = None
    code: Any = None


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What is said once per response."""

    id: Any = None
    model: Any = None


class Opening(Chunk, frozen=True, gc=False):
    """A chunk with its envelope: the first of a stream, or a whole response."""

    id: Any = None
    model: Any = None


_decode_chunk = msgspec.json.Decoder(Chunk).decode
_decode_opening = msgspec.json.Decoder(Opening).decode
_decode_envelope = msgspec.json.Decoder(Envelope).decode

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises on bytes that are no JSON, are not UTF-8, or are nested too deep."""


def read_chunk(payload: bytes) -> Chunk:
    """One payload as a chunk, patiently if need be. Raises `Malformed`."""
    try:
        return _decode_chunk(payload)
    except msgspec.ValidationError:
        return read_patiently(payload)
    except UNREADABLE as error:
        raise Malformed(f"it is not JSON ({error})", "truncated" in str(error)) from None


def read_opening(payload: bytes) -> tuple[Chunk, str, str | None]:
    """A chunk, the model, the response id; "" and None where it says nothing. Raises `Malformed`."""
    try:
        chunk = said = _decode_opening(payload)
    except UNREADABLE:
        chunk, said = read_chunk(payload), Envelope()
        # The envelope may be unreadable by itself: bytes that are no UTF-8, in fields that nothing else looks at.
        with suppress(*UNREADABLE):
            said = _decode_envelope(payload)
    model, id = said.model, said.id
    return chunk, model if isinstance(model, str) else "", id if isinstance(id, str) and id else None


def read_patiently(payload: bytes) -> Chunk:
    """A chunk whose fields have other types than documented. What cannot be understood is refused, not dropped."""
    try:
        document = msgspec.json.decode(payload)
    except UNREADABLE as error:
        raise Malformed(f"it is not JSON ({error})") from None
    if not isinstance(document, dict):
        raise Malformed(f"it is {_kind(document)}, not an object")
    fields = _Fields(document := cast("dict[str, Any]", document))
    choices = fields.optional_list("choices")
    corner = fields.optional_object("x_groq")
    return Chunk(
        None if choices is None else [_choice(_Fields.of(c, "a choice")) for c in choices],
        _counts(document.get("usage")),
        document.get("error"),
        None if corner is None else XGroq(_counts(corner.get("usage")), corner.get("error")),
        document.get("message"),
        document.get("detail"),
        document.get("type"),
        document.get("code"),
    )


class _Fields:
    """An object of unknown types, asked for its fields."""

    __slots__ = ("_of",)

    def __init__(self, of: dict[str, Any]) -> None:
        self._of = of

    @classmethod
    def of(cls, value: Any, what: str) -> _Fields:
        if not isinstance(value, dict):
            raise Malformed(f"{what} is {_kind(value)}, not an object")
        return cls(cast("dict[str, Any]", value))

    def any(self, name: str) -> Any:
        return self._of.get(name)

    def optional_list(self, name: str) -> list[Any] | None:
        value = self._of.get(name)
        if value is None or isinstance(value, list):
            return cast("list[Any] | None", value)
        raise Malformed(f"{name} is {_kind(value)}, not an array")

    def optional_object(self, name: str) -> dict[str, Any] | None:
        value = self._of.get(name)
        if value is None or isinstance(value, dict):
            return cast("dict[str, Any] | None", value)
        raise Malformed(f"{name} is {_kind(value)}, not an object")

    def text(self, name: str) -> str | None:
        """Text; numbers and truth values as JSON writes them."""
        value = self._of.get(name)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float):
            return msgspec.json.encode(value).decode()
        raise Malformed(f"{name} is {_kind(value)}, not text")

    def raw(self, name: str) -> str | None:
        """Text that holds JSON, for hosts that leave out the quoting."""
        value = self._of.get(name)
        return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def _choice(fields: _Fields) -> Choice:
    delta, message = fields.any("delta"), fields.any("message")
    return Choice(
        None if delta is None else _delta(_Fields.of(delta, "delta")),
        fields.text("finish_reason"),
        _whole(fields.any("index")),
        None if message is None else _delta(_Fields.of(message, "message")),
        _counts(fields.any("usage")),
        fields.any("error"),
    )


def _delta(fields: _Fields) -> Delta:
    content, calls = fields.any("content"), fields.optional_list("tool_calls")
    return Delta(
        cast("list[Any]", content) if isinstance(content, list) else fields.text("content"),
        None if calls is None else [_call(_Fields.of(c, "a tool call")) for c in calls],
        fields.text("reasoning_content"),
        fields.text("reasoning"),
        fields.optional_list("reasoning_details"),
        fields.text("refusal"),
        _function(fields.optional_object("function_call")),
        fields.optional_list("images"),
        fields.optional_list("annotations"),
        fields.optional_object("audio"),
        fields.any("extra_content"),
    )


def _call(fields: _Fields) -> CallPart:
    custom = fields.optional_object("custom")
    return CallPart(
        _whole(fields.any("index")),
        fields.text("id"),
        _function(fields.optional_object("function")),
        None if custom is None else Custom(_Fields(custom).text("name"), _Fields(custom).raw("input")),
        fields.any("extra_content"),
    )


def _function(value: dict[str, Any] | None) -> Function | None:
    return None if value is None else Function(_Fields(value).text("name"), _Fields(value).raw("arguments"))


def _counts(value: Any) -> Counts | None:
    """Token counts as far as they are numbers: a count that is none is as good as not said."""
    if not isinstance(value, dict):
        return None
    said = cast("dict[str, Any]", value)
    prompt, completion = said.get("prompt_tokens_details"), said.get("completion_tokens_details")
    # Details that are no object are not said, rather than said to be empty: they must not replace earlier ones.
    in_prompt = PromptDetails(_count(prompt, "cached_tokens"), _count(prompt, "cache_write_tokens"))
    in_completion = CompletionDetails(_count(completion, "reasoning_tokens"))
    return Counts(
        _count(said, "prompt_tokens"),
        _count(said, "completion_tokens"),
        _count(said, "total_tokens"),
        in_prompt if isinstance(prompt, dict) else None,
        in_completion if isinstance(completion, dict) else None,
        _count(said, "prompt_cache_hit_tokens"),
        _count(said, "cached_tokens"),
        _count(said, "num_cached_tokens"),
    )


def _count(said: Any, name: str) -> int | None:
    return _whole(cast("dict[str, Any]", said).get(name)) if isinstance(said, dict) else None


def _whole(value: Any) -> int | None:
    """A whole number, also when written as 3.0 or "3"."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def _kind(value: Any) -> str:
    for kind, name in ((bool, "a truth value"), (str, "text"), (list, "an array"), (dict, "an object")):
        if isinstance(value, kind):
            return name
    return "null" if value is None else "a number"

"""What every codec offers, and the functions that find a codec by the name of its API.

A request is made of a *head* (model, instructions, tools, settings: encoded once and kept) and *segments* (messages:
encoded once each and appended). A body is `before + segments + after`, so a longer conversation costs what it grew by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple, Protocol

import msgspec

from ..core.content import BlobRef, Inline
from ..core.decoded import DecoderEvent
from ..core.errors import ErrorInfo, StateError, config_error
from ..core.messages import AssistantMessage, Message
from ..core.reducer import Reducer
from ..core.request import Extra, Request, RequestHead
from ..core.usage import Usage

Blobs = Mapping[str, bytes]
"""Bytes of the blobs that a request refers to, by sha256."""


class EncodedHead(msgspec.Struct, frozen=True):
    """The part of a request body around its message segments. `headers` are the API's own; no credentials.

    `before` ends with a comma if it holds an element of the message array already; without segments that comma is dropped.
    `breakpoints` is how many messages may be marked for the provider's prompt cache, and `mark` what marks them (see
    `Codec.mark`).
    """

    path: str
    headers: Mapping[str, str]
    before: bytes
    after: bytes
    breakpoints: int = 0
    mark: bytes = b""


class Tail(NamedTuple):
    """What stands behind the encoded messages of one request: `data`, in place of their last `cut` bytes."""

    cut: int
    data: bytes


class HttpRequest(msgspec.Struct, frozen=True):
    """A request before it has a host and credentials. `path` is relative to the provider's base URL."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Decoder(Protocol):
    """Body bytes in, events out; the events do not depend on how the bytes are split (rule S1).

    `finish` is called once, at the end of the body. The last event, of `feed` or `finish`, is a `ResponseEnded` or a
    `ResponseFailed`, and nothing follows it. A decoder never raises on any input: what is wrong with the bytes is
    a `ResponseFailed`. What it buffers is bounded by `framing.limits.MAX_EVENT_BYTES` (a stream) or `MAX_BODY_BYTES`.
    """

    def feed(self, data: bytes) -> list[DecoderEvent]: ...
    def finish(self) -> list[DecoderEvent]: ...


class Codec(Protocol):
    """One provider API. `origin` is its signature family: whose sealed reasoning and native items it may send back. `extras` are
    the kinds of typed settings that it takes."""

    @property
    def api(self) -> str: ...
    @property
    def origin(self) -> str: ...
    @property
    def extras(self) -> tuple[type[Extra], ...]: ...

    def head_for(self, head: RequestHead, messages: Sequence[Message]) -> RequestHead:
        """The head as these messages allow it (rule T5: thinking is off after foreign reasoning in mid-turn)."""
        ...

    def encode_head(self, head: RequestHead) -> EncodedHead:
        """Everything but the messages. Raises `ConfigError` naming provider and feature for what the API cannot do."""
        ...

    def encode_messages(self, messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
        """`messages[start:]` as the comma-separated elements of the body's message array; empty if there is nothing to send.
        The buffer is the caller's to keep and to grow.

        Depends on `messages[:start]` only in ways that appending cannot change, so that encoding in two goes gives the
        same bytes as encoding at once (rule T7).
        """
        ...

    def tail(self, messages: Sequence[Message], text: str) -> Tail:
        """What the user says last, for one request only: `text`, behind these messages, the last of which is not the assistant's.

        It joins the last message where an API wants its partners to take turns, and is one of its own elsewhere. The encoded
        messages end with the bytes that are cut, whatever is marked in them.
        """
        ...

    def mark(self, element: bytes, mark: bytes) -> Sequence[tuple[int, bytes]]:
        """What to insert where into an encoded message, so that the provider caches everything up to and including it.

        `element` is one message as `encode_messages` wrote it; `mark` is that of the head; offsets count from the
        beginning and ascend. Empty if the message cannot bear a mark, or if the API needs none. Marks are put in when a request is sent and never kept (rule T7).
        """
        ...

    def decoder(self, status: int, headers: Mapping[str, str], *, step: str = "t0.s0", attempt: int = 1) -> Decoder:
        """A decoder for one response. Its calls get the ids `{step}.c0`, `{step}.c1` … in order of appearance."""
        ...


_CODECS: dict[str, tuple[str, str]] = {
    "anthropic.messages": ("anthropic.codec", "CODEC"),
    "openai.chat": ("openai_chat.codec", "CODEC"),
    "cohere.v2.chat": ("cohere.codec", "CODEC"),
    "ollama.chat": ("ollama.codec", "CODEC"),
    "openai.responses": ("openai_responses.codec", "CODEC"),
    "bedrock.converse": ("bedrock.codec", "CODEC"),
    "gemini.generateContent": ("gemini.codec", "CODEC"),
    "vertex.generateContent": ("gemini.codec", "VERTEX_CODEC"),
}
_SAME = {"gemini.streamGenerateContent": "gemini.generateContent", "bedrock.converse-stream": "bedrock.converse"}
"""APIs whose streamed form has a name of its own; the codec is the same."""
APIS = tuple(_CODECS)


LEAVE_TOOLS_OUT = ("bedrock.converse", "ollama.chat")
"""APIs that have no word for `tool_choice="none"`: their codecs leave the tools out of the request instead."""


@cache
def codec(api: str) -> Codec:
    """The codec of an API, by name. Raises `ConfigError` (`unknown_api`) listing the names there are."""
    try:
        module, name = _CODECS[_SAME.get(api, api)]
    except KeyError:
        raise config_error(
            "unknown_api", f"There is no codec for {api!r}.", f"Known APIs: {', '.join(APIS)}."
        ) from None
    return getattr(import_module(f".{module}", __package__), name)


def bytes_of(source: Inline | BlobRef, blobs: Blobs) -> bytes:
    """The bytes of a source. Raises `StateError` (`missing_blob`) if the blob is not at hand."""
    if isinstance(source, Inline):
        return source.data
    try:
        return blobs[source.sha256]
    except KeyError:
        message = f"The blob {source.sha256} that a message refers to is missing."
        raise StateError(ErrorInfo("state", "missing_blob", message, "Restore the blob store.")) from None


def elements(values: Sequence[Any]) -> bytearray:
    """Values as the comma-separated elements of a JSON array. Raises `UnicodeEncodeError` for text that is not Unicode."""
    buffer = bytearray()
    _encode_into(values, buffer)
    del buffer[-1:], buffer[:1]
    return buffer


_encode_into = msgspec.json.Encoder().encode_into


def parts(head: EncodedHead, segments: bytes | bytearray) -> tuple[bytes, bytes | bytearray, bytes]:
    """The body for an encoded head and encoded messages, not yet put together."""
    before = head.before
    return before if segments else before.removesuffix(b","), segments, head.after


def assemble(head: EncodedHead, segments: bytes | bytearray) -> HttpRequest:
    """The request for an encoded head and encoded messages."""
    return HttpRequest("POST", head.path, head.headers, b"".join(parts(head, segments)))


def encode(api: str, request: Request, blobs: Blobs | None = None) -> HttpRequest:
    """A whole request at once; sessions keep the parts instead."""
    c = codec(api)
    head = c.encode_head(c.head_for(request.head, request.messages))
    return assemble(head, c.encode_messages(request.messages, 0, blobs or {}))


def decoder(api: str, status: int, headers: Mapping[str, str]) -> Decoder:
    """A decoder for one response of an API. `headers` have lower-case names."""
    return codec(api).decoder(status, headers)


class ReadResponse(msgspec.Struct, frozen=True):
    """A response read to its end. Both fields are set when it broke off after some content."""

    message: AssistantMessage | None
    error: ErrorInfo | None
    usage: Usage | None


def read_response(api: str, status: int, headers: Mapping[str, str], chunks: Iterable[bytes]) -> ReadResponse:
    """Read a whole response, streamed or not, from the chunks of its body."""
    made, reducer = decoder(api, status, headers), Reducer()
    for chunk in chunks:
        reducer.feed(made.feed(chunk))
    reducer.feed(made.finish())
    done = reducer.finish()
    return ReadResponse(done.message, done.error, done.usage)

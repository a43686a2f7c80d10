"""What a scripted provider plays: replies made of parts, and how they are delivered. Values only; `scripted` plays them.

A script is a list of replies. A reply is made by `reply` (the model speaks), `fail` (an HTTP error in the provider's form),
`raw` (any bytes) or `hang` (no answer at all), or is a function of the request that returns one of these.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

import msgspec

from ..core.errors import config_error
from ..core.usage import Usage
from ..wire.serve import ApiError, CallPart, ErrorPart, Missing, Part, Response, TextPart, ThinkingPart
from .validators import Problem

SIGNATURE = "c2NyaXB0ZWQgc2lnbmF0dXJl"
"""Signs scripted thinking unless told otherwise."""


class DeliveryOptions(TypedDict, total=False):
    """Keyword arguments of `reply`, `fail`, `raw` and `hang`: see `Delivery`."""

    delay_s: float
    pace_s: float
    stall_before_headers: bool
    stall_after_event: int
    stall_at_byte: int
    chunk_at: Sequence[int]
    chunk_size: int
    end_at_byte: int
    close_at_byte: int
    reset_at_byte: int
    reset_before_headers: bool


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """When and how the bytes of a reply leave. Bytes are counted from 0 in the body, events from 1; times are seconds.

    `delay_s` waits before the headers, `pace_s` between events. A stall lasts until `provider.release()` or until the client leaves.
    `chunk_at` and `chunk_size` set the boundaries of HTTP chunks: each is its own write, but what a client reads at once is up
    to the network. At byte N: `end_at_byte` ends the body properly, so that HTTP sees nothing wrong; `close_at_byte` closes
    the connection in mid-body; `reset_at_byte` resets it (TCP RST). Without an explicit boundary an event is a chunk.
    """

    delay_s: float = 0.0
    pace_s: float = 0.0
    stall_before_headers: bool = False
    stall_after_event: int | None = None
    stall_at_byte: int | None = None
    chunk_at: Sequence[int] = ()
    chunk_size: int | None = None
    end_at_byte: int | None = None
    close_at_byte: int | None = None
    reset_at_byte: int | None = None
    reset_before_headers: bool = False

    def __post_init__(self) -> None:
        if self.chunk_size is not None and self.chunk_size < 1:
            raise config_error("bad_script", f"chunk_size must be at least 1, not {self.chunk_size}.")

    def cut(self, piece: bytes, start: int) -> Iterator[bytes]:
        """`piece`, whose first byte is byte `start` of the body, cut wherever something is to happen."""
        end = start + len(piece)
        named = (self.stall_at_byte, self.end_at_byte, self.close_at_byte, self.reset_at_byte, *self.chunk_at)
        marks = {m for m in named if m is not None and start < m < end}
        if self.chunk_size is not None:
            marks.update(range(start - start % self.chunk_size + self.chunk_size, end, self.chunk_size))
        at = start
        for mark in sorted(marks | {end}):
            if mark > at:
                yield piece[at - start : mark - start]
            at = mark

    def unreached(self, sent: int, events: int) -> list[str]:
        """The options that name a byte or an event beyond the end of a body this long: they had no effect."""
        at_byte = {
            "stall_at_byte": self.stall_at_byte,
            "end_at_byte": self.end_at_byte,
            "close_at_byte": self.close_at_byte,
            "reset_at_byte": self.reset_at_byte,
            "chunk_at": max(self.chunk_at, default=None),
        }
        missed = [f"{name} {at} of {sent} bytes" for name, at in at_byte.items() if at is not None and at > sent]
        if self.stall_after_event is not None and self.stall_after_event > events:
            missed.append(f"stall_after_event {self.stall_after_event} of {events} events")
        return missed


class RawBody(msgspec.Struct, frozen=True):
    """A body sent as it is, whatever API was asked."""

    body: bytes
    status: int
    content_type: str


class Reply(msgspec.Struct, frozen=True):
    """One answer of the script. Made by `reply`, `fail`, `raw` and `hang`."""

    answer: Response | ApiError | RawBody
    headers: Mapping[str, str] = {}
    content_type: str | None = None
    delivery: Delivery = Delivery()


class RecordedRequest(msgspec.Struct, frozen=True):
    """A request that the scripted provider received. Header names are lower-case; credentials are not recorded.

    `api` is a name of `turnwise.wire.APIS` or `""` (no such path); `body` is the parsed JSON object (`{}` if it is none);
    `problems` is what the validator found.
    """

    number: int
    api: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    raw: bytes
    problems: tuple[Problem, ...] = ()


ReplyFunction = Callable[[RecordedRequest], Reply | Awaitable[Reply]]


class Repeat(msgspec.Struct, frozen=True):
    """A reply, or function, that answers every request from here on."""

    reply: Reply | ReplyFunction


ScriptItem = Reply | ReplyFunction | Repeat


def reply(
    *parts: Part | str,
    stop: str | None = None,
    stop_sequence: str | None = None,
    usage: Usage | Literal["counted"] | None = "counted",
    interleaved: bool = False,
    missing: Missing | None = None,
    model: str | None = None,
    id: str | None = None,
    headers: Mapping[str, str] | None = None,
    content_type: str | None = None,
    **delivery: Unpack[DeliveryOptions],
) -> Reply:
    """The model says `parts`, in order; a plain string is text. See `Response` and `Delivery` for the options.

    `content_type` replaces the right one. Streamed if the request asks for a stream, in one body if not.
    """
    said = tuple([text(p) if isinstance(p, str) else p for p in parts])
    response = Response(said, stop, stop_sequence, usage, interleaved, missing, model, id)
    return Reply(response, headers or {}, content_type, Delivery(**delivery))


def fail(
    status: int,
    message: str = "",
    *,
    type: str = "",
    code: str | None = None,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    content_type: str | None = None,
    **delivery: Unpack[DeliveryOptions],
) -> Reply:
    """An HTTP error in the form of whichever provider was asked; what is not given follows from the status."""
    return Reply(ApiError(status, message, type, code, param), headers or {}, content_type, Delivery(**delivery))


def raw(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    **delivery: Unpack[DeliveryOptions],
) -> Reply:
    """These bytes and nothing else: garbage, an HTML page, a recorded body."""
    return Reply(RawBody(body, status, content_type), headers or {}, None, Delivery(**delivery))


def hang() -> Reply:
    """The request is accepted and never answered; after `provider.release()`, an empty reply."""
    return reply(stall_before_headers=True)


def repeat(reply: Reply | ReplyFunction) -> Repeat:
    """Answer every further request with this, however many come, also none. Must be the last item of a script."""
    return Repeat(reply)


def text(*fragments: str, size: int | None = None) -> TextPart:
    """Text of the answer. One string is streamed word by word, or in pieces of `size` characters; several are the pieces."""
    return TextPart(_pieces(fragments, size))


def think(*fragments: str, signature: str | None = SIGNATURE, size: int | None = None) -> ThinkingPart:
    """Reasoning, streamed like `text`. `signature=None` leaves it unsigned."""
    return ThinkingPart(_pieces(fragments, size), signature)


def redacted(data: str) -> ThinkingPart:
    """Reasoning that the provider hides: only its sealed `data` is sent (Anthropic; nothing at all for chat)."""
    return ThinkingPart((data,), redacted=True)


def call(name: str, /, **arguments: Any) -> CallPart:
    """A tool call with these arguments, streamed in pieces of eight characters."""
    return CallPart(name, _sized(msgspec.json.encode(arguments).decode(), 8))


def raw_call(
    name: str,
    *fragments: str,
    id: str | None = None,
    repeats_id: bool = False,
    has_index: bool = True,
    size: int | None = None,
) -> CallPart:
    """A tool call whose arguments are exactly this text, JSON or not, streamed in these fragments or in pieces of `size`.

    For the other options see `CallPart`.
    """
    return CallPart(name, _sized("".join(fragments), size) if size else fragments, id, repeats_id, has_index)


def error_event(message: str = "", *, type: str = "", code: str | None = None, status: int = 500) -> ErrorPart:
    """The stream, answered with 200, breaks here with an error event. An unstreamed request gets the error with `status`."""
    return ErrorPart(ApiError(status, message, type, code))


def repeated(fragment: str, times: int | None = None) -> TextPart:
    """Text that is the same fragment `times` times, or without end; made as it is sent, so that it takes no memory."""
    return TextPart(_Again(fragment, times))


class _Again:
    """The same string again and again; can be walked any number of times."""

    def __init__(self, fragment: str, times: int | None) -> None:
        self.fragment, self.times = fragment, times

    def __iter__(self) -> Iterator[str]:
        left = self.times
        while left is None or left > 0:
            yield self.fragment
            left = None if left is None else left - 1


def _pieces(fragments: tuple[str, ...], size: int | None) -> tuple[str, ...]:
    if size is not None:
        return _sized("".join(fragments), size)
    if len(fragments) != 1:
        return fragments
    return tuple(re.findall(r"\s*\S+(?:\s+\Z)?|\s+", fragments[0]))


def _sized(whole: str, size: int) -> tuple[str, ...]:
    if size < 1:
        raise config_error("bad_script", f"A fragment has at least one character, not {size}.")
    return tuple([whole[i : i + size] for i in range(0, len(whole), size)])

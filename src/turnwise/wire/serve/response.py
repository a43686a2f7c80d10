"""What a model says, before it has a provider's form: the values that the serving codecs turn into bytes.

One `Response` is served streamed or in one body and says the same either way. Fragments are the pieces in which a
part is streamed; a part that never ends can only be streamed. No sockets, timing or faults here: see `testing/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from ...core.usage import Usage


class TextPart(msgspec.Struct, frozen=True):
    """Text of the answer. `fragments` can be walked more than once."""

    fragments: Iterable[str]


class ThinkingPart(msgspec.Struct, frozen=True):
    """Reasoning. Chat Completions has no place for a signature or for redacted reasoning: it leaves them out.

    `signature=None` is unsigned reasoning. Of redacted reasoning, the fragments together are the sealed data.
    """

    fragments: Iterable[str]
    signature: str | None = None
    redacted: bool = False


class CallPart(msgspec.Struct, frozen=True):
    """A tool call; the fragments together are the raw text of its arguments, which need not be JSON.

    `id=None` lets the codec make one, `""` is a call without an id. `repeats_id` and `has_index` are for hosts that
    send the id in every chunk or leave out the index of the call (Chat Completions only).
    """

    name: str
    fragments: Iterable[str]
    id: str | None = None
    repeats_id: bool = False
    has_index: bool = True


class ApiError(msgspec.Struct, frozen=True):
    """An error in the provider's own words. Empty `type` and `message` are filled in from the status."""

    status: int
    message: str = ""
    type: str = ""
    code: str | None = None
    param: str | None = None


class ErrorPart(msgspec.Struct, frozen=True):
    """The stream breaks here with an error event. Asked for without a stream, the response is the error alone."""

    error: ApiError


Part = TextPart | ThinkingPart | CallPart | ErrorPart
Missing = Literal["terminator", "end"]


class Response(msgspec.Struct, frozen=True):
    """Everything a model says to one request.

    `stop`: a stop reason in normal form (`core.messages.StopReason`), which each codec translates, or any other word, sent as
    it is; None follows from the content. `usage`: `"counted"` reports one output token per fragment and one
    input token per four bytes of request; None reports nothing. `interleaved`: fragments of neighbouring calls
    take turns. `missing`: leave out the terminator (`[DONE]`, `message_stop`), or the whole end with stop reason and usage.
    `model` and `id` replace the request's model and the made-up id.
    """

    parts: tuple[Part, ...] = ()
    stop: str | None = None
    stop_sequence: str | None = None
    usage: Usage | Literal["counted"] | None = "counted"
    interleaved: bool = False
    missing: Missing | None = None
    model: str | None = None
    id: str | None = None

    @property
    def error(self) -> ApiError | None:
        """The error that this response breaks off with, if any."""
        return next((p.error for p in self.parts if isinstance(p, ErrorPart)), None)


class Exchange(msgspec.Struct, frozen=True):
    """What a response depends on beside the script. `number` counts requests from 1 and makes ids; `created` is Unix seconds;
    `query` is the query of the request's URL."""

    number: int
    model: str
    created: int = 0
    request_bytes: int = 0
    include_usage: bool = False
    query: str = ""


def _none(_: ApiError) -> dict[str, str]:
    return {}


class ServeCodec(msgspec.Struct, frozen=True):
    """One provider API from the provider's side; all functions are pure.

    `paths` are where it answers, `{model}` standing for the model's name, percent-encoded; `stream_paths` where it always streams
    (with the others the field `stream` of the request decides, or without it `streams_unasked`). `base` is the path of a client's base URL. `key_headers`
    are where a key may be; empty if none is needed. `stream` gives the bytes of one event at a time, lazily; `stream_type` is
    their content type. `body` is the same response in one JSON document; it never returns for a part that never ends.
    `error_body` and `error_event` are an error as a body and inside a stream; `error_headers` say what the body does not.
    `overflow` is the API's own error for a request that is longer than the model can read; its message may name `{used}`, `{limit}` and
    `{over}`, in tokens.
    """

    api: str
    paths: tuple[str, ...]
    stream: Callable[[Response, Exchange], Iterator[bytes]]
    body: Callable[[Response, Exchange], bytes]
    error_body: Callable[[ApiError, Exchange], bytes]
    error_event: Callable[[ApiError, Exchange], bytes]
    headers: Callable[[Exchange], dict[str, str]]
    stream_paths: tuple[str, ...] = ()
    base: str = ""
    key_headers: tuple[str, ...] = ("authorization",)
    stream_type: str = "text/event-stream; charset=utf-8"
    streams_unasked: bool = False
    error_headers: Callable[[ApiError], dict[str, str]] = _none
    overflow: ApiError = ApiError(400)


class Step(msgspec.Struct, frozen=True, gc=False):
    """One thing that happens while a response is streamed, to the part at `index`."""

    kind: Literal["start", "delta", "stop", "error"]
    index: int
    part: Part
    fragment: str = ""


def steps(response: Response) -> Iterator[Step]:
    """The response in the order it is streamed. Nothing follows an error."""
    run: list[tuple[int, CallPart]] = []
    for index, part in enumerate(response.parts):
        if response.interleaved and isinstance(part, CallPart):
            run.append((index, part))
            continue
        yield from _take_turns(run)
        run = []
        if isinstance(part, ErrorPart):
            yield Step("error", index, part)
            return
        yield Step("start", index, part)
        for fragment in part.fragments:
            yield Step("delta", index, part, fragment)
        yield Step("stop", index, part)
    yield from _take_turns(run)


def _take_turns(run: list[tuple[int, CallPart]]) -> Iterator[Step]:
    for index, part in run:
        yield Step("start", index, part)
    open_calls = [(index, part, iter(part.fragments)) for index, part in run]
    while open_calls:
        still_open: list[tuple[int, CallPart, Iterator[str]]] = []
        for index, part, fragments in open_calls:
            fragment = next(fragments, None)
            if fragment is not None:
                yield Step("delta", index, part, fragment)
                still_open.append((index, part, fragments))
        open_calls = still_open
    for index, part in run:
        yield Step("stop", index, part)


def usage_of(response: Response, exchange: Exchange, fragments: int) -> Usage | None:
    """The usage to report, once `fragments` deltas have been sent."""
    if response.usage == "counted":
        return Usage(max(1, exchange.request_bytes // 4), max(1, fragments))
    return response.usage


def stop_of(response: Response, raw: dict[str, str]) -> str:
    """The provider's word for why the response ended; `raw` translates the normal form."""
    stop = response.stop
    if stop is None:
        stop = "tool_calls" if any(isinstance(p, CallPart) for p in response.parts) else "stop"
    return raw.get(stop, stop)


def call_id(part: CallPart, exchange: Exchange, nth: int, prefix: str) -> str:
    """The id of the nth call of a response; "" if it has none."""
    return f"{prefix}{exchange.number:06d}{nth:04d}" if part.id is None else part.id

"""What holds for every decoder on any bytes (S1, S8), and bytes worth trying: what providers send, damaged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.fuzz.rich_bodies import RICH

from turnwise.core.decoded import BlockAdded, ResponseEnded, ResponseFailed
from turnwise.core.errors import ErrorInfo
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta
from turnwise.core.messages import AssistantMessage
from turnwise.core.reducer import Reducer
from turnwise.testing import call, error_event, raw_call, reply, text, think
from turnwise.wire import APIS, decoder
from turnwise.wire.serve import SERVED_APIS, ApiError, Exchange, Response, serve_codec

APIS_WITH_STREAMS = tuple(api for api in APIS if api in SERVED_APIS)
LAST = (ResponseEnded, ResponseFailed)


def events_of(api: str, status: int, headers: dict[str, str], chunks: Sequence[bytes]) -> list[Any]:
    """All events of a response; fails if anything is raised, or if the end is not told exactly once and last."""
    made = decoder(api, status, headers)
    out: list[Any] = []
    for chunk in chunks:
        out += made.feed(chunk)
    out += made.finish()
    assert out and type(out[-1]) in LAST and sum(type(e) in LAST for e in out) == 1, out[-3:]
    return out


def joined(events: Sequence[Any]) -> list[Any]:
    """Neighbouring deltas of one block as one: how much of them comes at once depends on the bytes' cuts."""
    out: list[Any] = []
    for event in events:
        field = {TextDelta: "text", ThinkingDelta: "text", ToolCallDelta: "arguments"}.get(type(event))
        before = out[-1] if out else None
        if field is None or type(before) is not type(event) or before.block != event.block:
            out.append(event)
        else:
            whole = getattr(before, field) + getattr(event, field)
            out[-1] = type(event)(whole, event.block, event.attempt)
    return out


def check(api: str, status: int, headers: dict[str, str], chunks: Sequence[bytes]) -> None:
    """No exception outside the error tree, an end that is told, a message or an error, and the same however it is cut."""
    events = events_of(api, status, headers, chunks)
    reducer = Reducer()
    reducer.feed(list(events))
    done = reducer.finish()
    assert done.message is None or isinstance(done.message, AssistantMessage)
    failed = events[-1]
    if isinstance(failed, ResponseFailed):
        assert isinstance(failed.error, ErrorInfo) and failed.error.branch == "provider" and failed.error.message
    else:
        assert 200 <= status < 300
    blocks = [e.block for e in events if hasattr(e, "block") and not isinstance(e, BlockAdded)]
    assert all(b >= 0 for b in blocks)
    whole = b"".join(chunks)
    assert joined(events) == joined(events_of(api, status, headers, [whole])), "S1: cut elsewhere, other events"


def samples(api: str) -> list[tuple[bytes, str]]:
    """Bodies as the provider of an API sends them, streamed and whole, with their content types."""
    served = serve_codec(api)
    exchange = Exchange(1, "a-model", 1_750_000_000, 400, True, "alt=sse")
    said = [
        reply("Hi."),
        reply(
            think("Let me ", "see."),
            text("one ", "two \u2028 \U0001f600"),
            call("look", what="a"),
            call("look", what="b"),
        ),
        reply(raw_call("look", "{"), raw_call("look", ""), stop="length"),
        reply(text("half"), error_event("It broke.", status=500)),
        reply(),
    ]
    out: list[tuple[bytes, str]] = []
    for made in said:
        assert isinstance(made.answer, Response)
        out.append((b"".join(served.stream(made.answer, exchange)), served.stream_type))
        out.append((served.body(made.answer, exchange), "application/json"))
    out.append((RICH[api], served.stream_type))
    out.append((served.error_body(ApiError(429, "Slow down."), exchange), "application/json"))
    return out

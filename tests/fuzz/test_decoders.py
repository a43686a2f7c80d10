"""Every decoder and framing on damaged bytes (S1, S2, S8), for about as long as TURNWISE_FUZZ_S says (seconds in all; default 3).

What is found is shrunk by Hypothesis and printed. A longer run, guided by coverage: tests/fuzz/atheris_decoders.py.
"""

from __future__ import annotations

import os
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.invariants import APIS_WITH_STREAMS, check, samples

from turnwise.wire import decoder
from turnwise.wire.framing.event_stream import EventStreamFramer
from turnwise.wire.framing.json_array import JsonArrayFramer
from turnwise.wire.framing.json_lines import JsonLinesFramer
from turnwise.wire.framing.limits import MAX_BODY_BYTES, MAX_EVENT_BYTES, FramingError
from turnwise.wire.framing.sse import SseFramer

SECONDS = float(os.environ.get("TURNWISE_FUZZ_S", "3"))
EXAMPLES = max(25, int(SECONDS * 10))
"""Of each test: about a tenth of a second's work per second."""
MANY = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
TOKENS = [
    b"\n\n", b"\r\n", b"\r", b"data: ", b"data:", b"event: ", b": ping\n\n", b"[DONE]", b"{", b"}", b"[", b"]", b'"', b",", b"null",
    b"\\u2028", b"\\ud83d", b"\xe2\x80\xa8", b"\xff", b"\x00", b"\xef\xbb\xbf", b'"type":', b'"index":-1', b"1e400", b"99999999999999999999",
    b'{"error":{"message":"x"}}', b"{}", b"<html>", b'"tool_calls":[{}]', b"[" * 2_000,
]  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, api: str) -> tuple[bytes, str]:
    """A provider's body with pieces cut out, doubled, swapped, overwritten or put in."""
    body, kind = draw(st.sampled_from(samples(api)))
    for _ in range(draw(st.integers(0, 5))):
        a = draw(st.integers(0, len(body)))
        b = draw(st.integers(a, min(len(body), a + 60)))
        match draw(st.sampled_from(["cut", "double", "token", "bytes", "flip", "end"])):
            case "cut":
                body = body[:a] + body[b:]
            case "double":
                body = body[:b] + body[a:b] + body[b:]
            case "token":
                body = body[:a] + draw(st.sampled_from(TOKENS)) + body[b:]
            case "bytes":
                body = body[:a] + draw(st.binary(max_size=12)) + body[a:]
            case "flip" if a < len(body):
                body = body[:a] + bytes([body[a] ^ (1 << draw(st.integers(0, 7)))]) + body[a + 1 :]
            case _:
                body = body[:a]
    return body, kind


def cut(draw: st.DrawFn, body: bytes) -> list[bytes]:
    marks = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in pairwise([0, *marks, len(body)])]


@pytest.mark.parametrize("api", APIS_WITH_STREAMS)
def test_damaged_answers(api: str) -> None:
    """S8: no exception outside the error tree; S1: the same events however the bytes are cut."""

    @MANY
    @given(st.data())
    def run(data: st.DataObject) -> None:
        body, kind = data.draw(damaged(api))
        kind = data.draw(st.sampled_from([kind, kind, kind, "", "text/html", "text/event-stream"]))
        status = data.draw(st.sampled_from([200, 200, 200, 200, 400, 429, 500, 302]))
        check(api, status, {"content-type": kind}, data.draw(st.composite(cut)(body)))

    run()


FRAMERS: dict[str, Any] = {
    "sse": SseFramer,
    "json lines": JsonLinesFramer,
    "json array": JsonArrayFramer,
    "event stream": EventStreamFramer,
}


@pytest.mark.parametrize("name", FRAMERS)
def test_framings(name: str) -> None:
    """S1, S8: any bytes give the same payloads however they are cut, or the same refusal."""

    def payloads(chunks: list[bytes]) -> tuple[list[Any], bool]:
        framer, out = FRAMERS[name](), []
        try:
            for chunk in chunks:
                out += framer.feed(chunk)
            out += framer.finish()
        except FramingError:
            return out, True
        return out, False

    @MANY
    @given(st.data())
    def run(data: st.DataObject) -> None:
        parts = data.draw(st.lists(st.sampled_from(TOKENS) | st.binary(max_size=20), max_size=20))
        body = b"".join(parts)
        if data.draw(st.booleans()):
            body = data.draw(damaged(data.draw(st.sampled_from(APIS_WITH_STREAMS))))[0]
        some, all_at_once = payloads(data.draw(st.composite(cut)(body))), payloads([body])
        assert repr(some) == repr(all_at_once)

    run()


ENDLESS = {
    "one line": b"data: " + b"x" * 65_530,
    "blank lines": b"\n" * 65_536,
    "one document": b'{"a":"' + b"x" * 65_530,
    "one array": b"[" + b'{"a":1},' * 8_000,
    "comments": b": ping\n\n" * 8_192,
    "open strings": b'data: {"choices":[{"delta":{"content":"' + b"x" * 65_490,
}


DROPPED = ("blank lines", "comments")
"""What is nothing to keep, in any amount; but comments are no stream of these APIs, so they are read as a document."""
NO_COMMENTS = ("bedrock.converse", "ollama.chat")


@pytest.mark.parametrize("form", ENDLESS)
@pytest.mark.parametrize("api", APIS_WITH_STREAMS)
def test_memory_is_bounded(api: str, form: str) -> None:
    """S8: bytes without end are given up at the stated limits, what is held never passes twice the larger of them; or nothing is held."""
    piece = ENDLESS[form]
    pieces, most = 2 * MAX_BODY_BYTES // len(piece), 2.2 * max(MAX_BODY_BYTES, MAX_EVENT_BYTES)
    if form in DROPPED and not (form == "comments" and api in NO_COMMENTS):
        pieces, most = 16, 8 * len(piece)
    made = decoder(api, 200, {"content-type": "application/octet-stream"})
    tracemalloc.start()
    try:
        for number in range(pieces):
            if made.feed(piece[6:] if form == "one line" and number else piece):
                break
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most

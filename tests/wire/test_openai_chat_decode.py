"""Chat Completions responses, by hazard: splits, truncation, usage, both forms of an answer, calls, errors, garbage."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Image, Inline, Native, Opaque, Text, Thinking, ToolCall, Url
from turnwise.core.decoded import BlockAdded, BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.wire import codec, decoder, read_response, reader
from turnwise.wire.framing import limits
from turnwise.wire.openai_chat import fold as openai_chat_fold

API = "openai.chat"
FOLDER = Path(__file__).parent / "fixtures" / "openai_chat"
NAMES = ("text", "tools", "reasoning", "refusal", "parts")
SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def whole(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "c1", "model": "m", "choices": [choice], **fields}


def text(words: str) -> dict[str, Any]:
    return chunk({"content": words})


def call(index: int | None = None, id: str | None = None, name: str | None = None, arguments: str | None = None) -> Any:
    """A fragment of a call, with the fields that are given."""
    function = {k: v for k, v in (("name", name), ("arguments", arguments)) if v is not None}
    fragment = {k: v for k, v in (("index", index), ("id", id)) if v is not None}
    return chunk({"tool_calls": [{**fragment, "function": function}]})


def sse(*events: Any, done: bool = True) -> bytes:
    written = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in events)
    return written + DONE if done else written


def events(chunks: list[bytes], status: int = 200, headers: dict[str, str] = SSE) -> list[Any]:
    made = decoder(API, status, headers)
    out: list[Any] = []
    for data in chunks:
        out += made.feed(data)
    return out + made.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [bytes([b]) for b in body]


def read(body: bytes, status: int = 200, headers: dict[str, str] = SSE):
    return read_response(API, status, headers, [body])


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    assert not any(type(e) in (ResponseEnded, ResponseFailed) for e in found[:-1])
    return found[-1]


def calls_of(*fragments: Any) -> list[tuple[str, str | None, str, str]]:
    message = read(sse(*fragments, chunk({}, "tool_calls"))).message
    assert message is not None
    return [(c.id, c.provider_id, c.name, c.arguments) for c in message.tool_calls]


# --- what a response says ---


def test_events_of_a_text() -> None:
    assert events([stream("text")]) == [
        ResponseStarted("gpt-5-mini", "chatcmpl-text"),
        TextDelta("Grüße"),
        TextDelta(" aus 🇳🇴"),
        TextDelta(" – tørt."),
        ResponseEnded("stop", "stop", Usage(42, 9, 32, None, 0)),
    ]


def test_events_of_interleaved_calls() -> None:
    """S6, T4: fragments go to their own call; ids and blocks count in order of appearance."""
    made = codec(API).decoder(200, SSE, step="t4.s2", attempt=3)
    assert made.feed(stream("tools")) + made.finish() == [
        ResponseStarted("gpt-5-mini", "chatcmpl-tools"),
        TextDelta("Looking.", 0, 3),
        ToolCallStarted("t4.s2.c0", "weather", 1, 3, "call_a"),
        ToolCallDelta('{"ci', 1, 3),
        ToolCallStarted("t4.s2.c1", "weather", 2, 3, "call_b"),
        ToolCallDelta('ty":"Oslo', 1, 3),
        ToolCallDelta('{"city":"Bergen"', 2, 3),
        ToolCallDelta('"}', 1, 3),
        ToolCallDelta(',"days":3}', 2, 3),
        ToolCallStarted("t4.s2.c2", "now", 3, 3, "call_c"),
        ResponseEnded("tool_calls", "tool_calls", Usage(80, 31)),
    ]


def test_reasoning_keeps_its_details() -> None:
    """T5: what a router needs back stands with the reasoning, put together from its fragments."""
    message = read(stream("reasoning")).message
    assert message is not None
    thinking, answer = message.content
    assert (
        isinstance(thinking, Thinking) and thinking.text == "Two and two is four." and thinking.origin == "openai.chat"
    )
    assert thinking.native is not None and thinking.native.origin == "openai.chat"
    assert json.loads(thinking.native.data) == {
        "reasoning_details": json.loads(whole("reasoning"))["choices"][0]["message"]["reasoning_details"]
    }
    assert answer == Text("Four.")
    assert message.usage == Usage(12, 20, 0, 4, 15)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_fields(field: str) -> None:
    found = events([sse(chunk({field: "Hm"}), chunk({field: "."}), text("Yes"), chunk({}, "stop"))])
    assert [e for e in found if type(e) in (ThinkingDelta, TextDelta, BlockSealed)] == [
        ThinkingDelta("Hm", 0),
        ThinkingDelta(".", 0),
        TextDelta("Yes", 1),
        BlockSealed(0, origin="openai.chat"),
    ]


def test_the_same_reasoning_under_two_names_counts_once() -> None:
    message = read(sse(chunk({"reasoning": "Hm", "reasoning_content": "Hm"}), text("Yes"), chunk({}, "stop"))).message
    assert message is not None and message.content == (Thinking("Hm", origin="openai.chat"), Text("Yes"))


def test_sealed_reasoning_without_text_is_kept() -> None:
    sealed = [{"type": "reasoning.encrypted", "data": "c2VhbA==", "index": 0}]
    message = read(sse(text("Yes"), chunk({"reasoning_details": sealed}), chunk({}, "stop"))).message
    assert message is not None and message.text == "Yes"
    kept = message.content[1]
    assert isinstance(kept, Opaque) and json.loads(kept.native.data) == {"reasoning_details": sealed}


def test_reasoning_in_details_alone_is_shown() -> None:
    details = (
        [{"type": "reasoning.text", "text": "15", "index": 0}],
        [{"type": "reasoning.text", "text": "*2", "index": 0}],
    )
    message = read(sse(*(chunk({"content": "", "reasoning_details": d}) for d in details), chunk({}, "stop"))).message
    assert message is not None
    (thinking,) = message.content
    assert isinstance(thinking, Thinking) and thinking.text == "15*2"
    assert thinking.native is not None and json.loads(thinking.native.data)["reasoning_details"][0]["text"] == "15*2"


def test_a_refusal_is_no_text_and_not_lost() -> None:
    message = read(stream("refusal")).message
    assert message is not None and message.text == "" and message.stop_reason == "refusal"
    assert message.content == (Opaque("refusal", Native("openai.chat", '{"refusal":"I can\'t help with that."}')),)


@pytest.mark.parametrize("field", ["images", "content"])
def test_images_in_the_answer(field: str) -> None:
    inline = {"type": "image_url", "image_url": {"url": "data:image/webp;base64,aGk="}}
    linked = {"type": "image_url", "image_url": "https://example.com/a.png"}
    message = read(sse(text("Here:"), chunk({field: [inline, linked]}), chunk({}, "stop"))).message
    assert message is not None
    assert message.content == (
        Text("Here:"),
        Image(Inline(b"hi", "image/webp")),
        Image(Url("https://example.com/a.png")),
    )


def test_citations_and_extras_are_kept() -> None:
    note = {"type": "url_citation", "url_citation": {"url": "https://example.com"}}
    extra = {"google": {"thought_signature": "c2ln"}}
    body = sse(text("See"), chunk({"annotations": [note]}), chunk({"extra_content": extra}, "stop"))
    message = read(body).message
    assert message is not None
    kept = {b.kind: json.loads(b.native.data) for b in message.content if isinstance(b, Opaque)}
    assert kept == {"annotations": {"annotations": [note]}, "extra_content": {"extra_content": extra}}


def test_a_change_of_kind_opens_a_block() -> None:
    found = events(
        [
            sse(
                chunk({"reasoning": "a"}),
                text("b"),
                chunk({"reasoning": "c"}),
                call(0, "x", "f", "{}"),
                text("d"),
                text("e"),
                chunk({}, "stop"),
            )
        ]
    )
    shown = [e for e in found if type(e) in (ThinkingDelta, TextDelta, ToolCallStarted)]
    assert [e.block for e in shown] == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("stop", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("something new", "unknown"),
    ],
)
def test_stop_reasons(raw: str, normal: str) -> None:
    """The normal word, and the host's own beside it."""
    message = read(sse(text("a"), chunk({}, raw))).message
    assert message is not None and (message.stop_reason, message.raw_stop_reason) == (normal, raw)


@pytest.mark.parametrize(
    ("raw", "code"), [("error", "server"), ("abort", "truncated"), ("insufficient_system_resource", "overloaded")]
)
def test_finish_reasons_that_are_failures(raw: str, code: str) -> None:
    """S7: such an answer is not complete."""
    failed = failure(events([sse(text("a"), chunk({}, raw))]))
    assert failed.error.code == code and failed.error.retryable and raw in failed.error.message


def test_only_the_first_answer_counts() -> None:
    second = {"index": 1, "delta": {"content": "no"}, "finish_reason": "length"}
    both = {"choices": [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]}
    body = sse(text("a"), {"choices": [second]}, both, chunk({}, "stop"))
    message = read(body).message
    assert message is not None and message.text == "ayes" and message.stop_reason == "stop"


def test_message_beside_delta() -> None:
    """Some hosts send both: in a stream the delta counts, in a document the message."""
    streamed = [{"index": 0, "delta": {"content": c}, "message": {"content": m}} for c, m in (("a", "a"), ("b", "ab"))]
    message = read(sse(*({"choices": [c]} for c in streamed), chunk({}, "stop"))).message
    assert message is not None and message.text == "ab"
    document = {
        "choices": [{"index": 0, "delta": {"content": ""}, "message": {"content": "ab"}, "finish_reason": "stop"}]
    }
    message = read(json.dumps(document).encode(), headers=JSON).message
    assert message is not None and message.text == "ab"


# --- S1, S2: the same however the bytes are split, and in every form of stream ---


@pytest.mark.parametrize("name", NAMES)
def test_every_split_gives_the_same_events(name: str) -> None:
    """S1."""
    for body, headers in ((stream(name), SSE), (whole(name), JSON)):
        expected = events([body], headers=headers)
        assert type(expected[-1]) is ResponseEnded
        assert events(bytewise(body), headers=headers) == expected
        for place in range(len(body) + 1):
            assert events([body[:place], body[place:]], headers=headers) == expected, f"cut at {place}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b.replace(b"\n", b"\r"),
        lambda b: b.replace(b"data: ", b"data:"),
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b"\n\n\n" + b,
        lambda b: b.replace(b"\n\n", b"\n\n: waiting\n\n"),
        lambda b: b.replace(b"data: ", b"event: message\nid: 1\ndata: "),
        lambda b: b.replace(b',"choices"', b',\ndata: "choices"'),
        lambda b: b.rstrip(),
    ],
    ids=["crlf", "cr", "no space", "bom", "blank lines", "comments", "fields", "many lines", "no end"],
)
def test_forms_of_a_stream(name: str, form: Any) -> None:
    """S2."""
    body = form(stream(name))
    assert events([body]) == events([stream(name)])
    assert events(bytewise(body)) == events([stream(name)])


@st.composite
def odd_streams(draw: st.DrawFn) -> bytes:
    """Streams of likely and unlikely events, legal and broken."""
    odd: list[Any] = [
        text("a"), text(""), text("ü\n"), chunk({"content": None}), chunk({"content": 5}), chunk({"content": ["x", {}]}),
        chunk({"role": "assistant", "content": "b", "refusal": None}), chunk({"reasoning": "r"}), chunk({}, "stop"),
        chunk({}, usage=USAGE), {"choices": [], "usage": USAGE}, {"choices": None}, {"choices": "x"}, {}, [], None, 3,
        {"error": {"message": "no"}}, {"error": None, "choices": []}, call(0, "i", "f", "{}"), call(0, None, None, "{"),
        call(None, "j", "g"), call(None, None, None, "}"), {"choices": [{"delta": {"tool_calls": [{}]}}]},
        chunk({"images": [1]}), chunk({"function_call": {"name": "f", "arguments": {"a": 1}}}),
        {"choices": [{"index": "0", "delta": {"content": "c"}}]}, {"choices": [{"index": 1, "delta": {"content": "n"}}]},
    ]  # fmt: skip
    raw = [
        b"data: {\n\n",
        b"data: \xff\n\n",
        b"data: {} {}\n\n",
        b": c\n\n",
        b"\n",
        b"data: [DONE] \n\n",
        b"x: y\n",
        b"\r",
    ]
    pieces = st.one_of(
        st.sampled_from(odd).map(lambda e: sse(e, done=False)),
        st.sampled_from([text("one"), text("two")]).map(lambda e: sse(e, e, e, done=False)),
        st.sampled_from(raw),
    )
    return b"".join(
        [sse(text("start"), done=False), *draw(st.lists(pieces, max_size=8)), draw(st.sampled_from([DONE, b""]))]
    )


@given(odd_streams(), st.lists(st.integers(0, 600), max_size=5))
def test_odd_streams_are_read_alike_however_split(body: bytes, at: list[int]) -> None:
    """S1, S8: the short way for regular bursts gives what the careful way gives."""
    expected = events(bytewise(body))
    assert type(expected[-1]) in (ResponseEnded, ResponseFailed)
    assert events([body]) == expected
    places = [0, *sorted(min(p, len(body)) for p in at), len(body)]
    assert events([body[a:b] for a, b in pairwise(places)]) == expected


# --- S3: errors and ends ---


@pytest.mark.parametrize("name", NAMES)
def test_every_early_end_is_an_error(name: str) -> None:
    """S3: a stream is whole from its finish reason on, and not before."""
    body = stream(name)
    finish = body.index(b'"finish_reason":"')
    complete = body.index(b"}", finish)
    for place in range(1, len(body)):
        last = events([body[:place]])[-1]
        if place <= finish:
            assert type(last) is ResponseFailed and last.error.code in ("truncated", "protocol"), place
            assert last.error.retryable and (last.error.code == "truncated" or place < 6)
        elif place > body.index(b"\n", complete):
            assert type(last) is ResponseEnded, place


def test_a_cut_stream_keeps_what_came() -> None:
    """S3, S7: the message so far is partial, and its calls are never run."""
    body = stream("tools")
    response = read(body[: body.index(b"Bergen")])
    assert response.error is not None and response.error.code == "truncated"
    assert response.message is not None and response.message.partial and response.message.text == "Looking."


def test_done_ends_a_stream_without_finish_reason() -> None:
    message = read(sse(text("a"))).message
    assert message is not None and message.text == "a"
    assert (message.stop_reason, message.raw_stop_reason) == ("unknown", None)


def test_nothing_counts_after_done() -> None:
    body = sse(text("a"), chunk({}, "stop"))
    expected = events([body])
    for rest in (sse(text("b")), b"garbage", b"data: {\n\n", sse({"error": "x"})):
        assert events([body + rest]) == expected
        assert events([body, rest]) == expected


@pytest.mark.parametrize(
    ("error", "message", "code", "retryable"),
    [
        ({"error": {"message": "Slow down", "type": "rate_limit_error"}}, "Slow down", "rate_limit", True),
        ({"error": {"message": "Busy", "code": 503}}, "Busy", "overloaded", True),
        (
            {"error": {"message": "No", "type": "invalid_request_error", "status_code": 400}},
            "No",
            "invalid_request",
            False,
        ),
        ({"error": "Out of memory"}, "Out of memory", "server", True),
        (
            {"error": {"message": "Upstream", "metadata": {"raw": "Quota"}}, "choices": []},
            "Upstream: Quota",
            "server",
            True,
        ),
        ({"object": "error", "message": "Bad", "code": 40001}, "Bad", "server", True),
        ({"detail": "Not here"}, "Not here", "server", True),
        ({"x_groq": {"error": "Broke"}, "choices": []}, "Broke", "server", True),
        (chunk({"content": ""}, "error", error={"message": "Lost", "code": 502}), "Lost", "server", True),
        ({"choices": [{"index": 0, "error": {"message": "Lost"}, "delta": {}}]}, "Lost", "server", True),
    ],
)
def test_errors_inside_a_stream(error: Any, message: str, code: str, retryable: bool) -> None:
    """S3."""
    body = sse(text("a"), {"choices": [], "usage": USAGE}, error, text("b"))
    found = events([body])
    failed = failure(found)
    assert TextDelta("a") in found and TextDelta("b") not in found
    assert (failed.error.message, failed.error.code, failed.error.retryable) == (message, code, retryable)
    assert failed.error.status is None and failed.usage == Usage(7, 3, provenance="partial")
    assert events(bytewise(body)) == found


@pytest.mark.parametrize(
    ("status", "body", "message", "code"),
    [
        (401, b'{"error":{"message":"Incorrect API key","code":"invalid_api_key"}}', "Incorrect API key", "auth"),
        (404, b'{"error":{"code":"404","message":"Resource not found"}}', "Resource not found", "not_found"),
        (422, b'{"detail":[{"loc":["body","x"],"msg":"field required"}]}', "field required", "invalid_request"),
        (400, b'[{"error":{"message":"Bad key","code":400}}]', "Bad key", "invalid_request"),
        (500, b'data: {"error":{"message":"streamed"}}\n\n', "streamed", "server"),
        (429, b'{"error":{"message":"Returned","metadata":{"raw":"slow"}}}', "Returned: slow", "rate_limit"),
        (502, b"<html><title>Bad Gateway</title></html>", "Bad Gateway", "server"),
        (503, b"no healthy upstream", "no healthy upstream", "overloaded"),
        (500, b"", "status 500", "server"),
        (307, b"", "status 307", "redirect"),
    ],
)
@pytest.mark.parametrize("headers", [JSON, SSE, {}])
def test_error_responses(status: int, body: bytes, message: str, code: str, headers: dict[str, str]) -> None:
    found = events([body], status, headers)
    failed = failure(found)
    assert len(found) == 1 and failed.error.status == status
    assert message in failed.error.message and failed.error.code == code
    assert events(bytewise(body), status, headers) == found


def test_long_error_bodies_are_not_kept_whole() -> None:
    """S8."""
    made = decoder(API, 500, {})
    for _ in range(100):
        assert made.feed(b"x" * 1_000_000) == []
    error = failure(made.finish()).error
    assert error.code == "server" and len(error.message) <= 4000


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (204, JSON, b""),
        (200, JSON, b""),
        (200, SSE, b" \n\n"),
        (200, {"content-type": "text/html"}, b"<!doctype html><p>Sign in</p>"),
        (200, SSE, b"<html></html>"),
        (200, {"content-type": "text/plain"}, b"It works!"),
        (200, {}, b"identity provider"),
        (200, JSON, b"[1, 2]"),
        (200, JSON, b'{"object": "list", "data": []}'),
        (200, JSON, b'{"choices": []}'),
        (200, JSON, b'{"choices": {"a": 1}}'),
        (200, JSON, b'{"choices": [{"message": "hi"}]}'),
        (200, {"content-type": "image/png"}, b"\x89PNG"),
        (200, SSE, b"data: hello\n\n" + DONE),
        (200, SSE, b"data: [1]\n\n" + DONE),
        (200, SSE, b'data: {"choices": 1}\n\n' + DONE),
    ],
)
def test_what_is_no_answer(status: int, headers: dict[str, str], body: bytes) -> None:
    """S8: not the API's answer, so a protocol error that says what came."""
    found = events([body], status, headers)
    assert failure(found).error.code == "protocol" and failure(found).error.hint
    assert events(bytewise(body), status, headers) == found


@pytest.mark.parametrize("headers", [SSE, JSON, {}, {"content-type": "text/html"}])
def test_the_bytes_decide_not_the_content_type(headers: dict[str, str]) -> None:
    """A stream called JSON and JSON called a stream are read as what they are."""
    for body in (stream("tools"), whole("tools"), b"\n\n" + whole("tools")):
        assert events([body], headers=headers) == events([body], headers=SSE if body[:1] == b"d" else JSON)
        assert type(events([body], headers=headers)[-1]) is ResponseEnded


def test_an_error_document_in_place_of_a_stream() -> None:
    """S3."""
    body = b'{"error": {"message": "filtered", "code": "content_filter"}, "choices": []}'
    assert failure(events([body])).error.code == "content_filter"


def test_a_document_cut_short_is_truncated() -> None:
    """S3."""
    body = whole("text")
    for place in (50, len(body) // 2, len(body) - 4):
        assert failure(events([body[:place]], headers=JSON)).error.code == "truncated"


# --- S4: usage ---

FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 8},
    "completion_tokens_details": {"reasoning_tokens": 5},
}


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (FULL, Usage(100, 20, 64, 8, 5)),
        ({**FULL, "total_tokens": 125}, Usage(100, 25, 64, 8, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 3}, Usage(7, 3)),
        ({"prompt_tokens": 0, "completion_tokens": 0}, Usage(0, 0)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "prompt_cache_hit_tokens": 5}, Usage(7, 3, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "cached_tokens": 5}, Usage(7, 3, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 3, "num_cached_tokens": 5}, Usage(7, 3, 5)),
        ({"prompt_tokens": "7", "completion_tokens": 3.0, "prompt_tokens_details": []}, Usage(7, 3)),
        ({"prompt_tokens": 7, "completion_tokens": "many"}, Usage(7)),
        ({"cost": 1.5}, None),
        ({}, None),
        (None, None),
    ],
)
def test_usage_in_normal_form(usage: Any, expected: Usage | None) -> None:
    """S4: input with what was cached, output with reasoning, None for what was not said."""
    assert events([sse(text("a"), chunk({}, "stop"), {"choices": [], "usage": usage})])[-1].usage == expected
    document = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": usage}
    assert events([json.dumps(document).encode()], headers=JSON)[-1].usage == expected


@pytest.mark.parametrize(
    "last",
    [
        chunk({}, "stop", usage=USAGE),
        chunk({}, "stop", x_groq={"id": "r", "usage": USAGE}),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]},
        {"choices": [{"index": 0, "delta": {"content": "b"}, "usage": USAGE}]},
        {"usage": USAGE},
    ],
)
def test_places_of_usage(last: Any) -> None:
    """S4."""
    assert events([sse(text("a"), text("a"), last)])[-1].usage == Usage(7, 3)


def test_later_counts_replace_earlier_ones() -> None:
    """S4: counts are cumulative; what a later one leaves out stands."""
    counts = [{"prompt_tokens": 7, "completion_tokens": n, "completion_tokens_details": None} for n in (1, 2, 3)]
    first = {**counts[0], "prompt_tokens_details": {"cached_tokens": 4}}
    body = sse(*(chunk({"content": "a"}, usage=u) for u in (first, *counts[1:])), chunk({}, "stop"))
    assert events([body])[-1].usage == Usage(7, 3, 4)


def test_usage_after_the_end_of_the_text() -> None:
    """S4: also when it comes in the last read, and when the blank line behind it is missing."""
    body = sse(text("a"), chunk({}, "stop"), {"choices": [], "usage": USAGE}, done=False)
    assert events([body.rstrip()])[-1] == ResponseEnded("stop", "stop", Usage(7, 3))


# --- S5: streamed and not, the same ---


@pytest.mark.parametrize("name", NAMES)
def test_both_forms_give_the_same_message(name: str) -> None:
    """S5: blocks, stop reason, usage, ids."""
    streamed, at_once = read(stream(name)), read(whole(name), headers=JSON)
    assert streamed.error is None and at_once.error is None
    assert streamed.message == at_once.message and streamed.usage == at_once.usage


# --- S6, T4: calls ---

A, B = '{"a":1}', '{"b":2}'
TWO = [("t0.s0.c0", "x", "f", A), ("t0.s0.c1", "y", "g", B)]


@pytest.mark.parametrize(
    "fragments",
    [
        [call(0, "x", "f", A), call(1, "y", "g", B)],
        [chunk({"tool_calls": [*call(0, "x", "f", A)["choices"][0]["delta"]["tool_calls"],
                               *call(1, "y", "g", B)["choices"][0]["delta"]["tool_calls"]]})],
        [call(0, "x", "f"), call(1, "y", "g"), call(0, None, None, A), call(1, None, None, B)],
        [call(0, "x", "f", '{"a"'), call(0, "x", "f", ":1}"), call(1, "y", "g", B)],
        [call(0, "x", "f", '{"a"'), call(0, "x", "", ":1}"), call(1, "y", "g", B)],
        [call(0, "x", "f"), call(0, "other", None, A), call(1, "y", "g", B)],
        [call(None, "x", "f", A), call(None, "y", "g", B)],
        [call(None, "x", "f", '{"a"'), call(None, None, None, ":1}"), call(None, "y", "g", B)],
        [call(None, "x", "f", '{"a"'), call(None, "y", "g", B), call(None, "x", None, ":1}")],
        [call(0, "x", "f", A), call(0, "y", "g", B)],
        [call(3, "x", "f", A), call(1, "y", "g", B)],
        [call(0, "x", None, '{"a"'), call(0, None, "f", ":1}"), call(1, "y", "g", B)],
    ],
    ids=[
        "whole calls", "in one chunk", "interleaved", "id and name repeated", "blank name repeated", "id changes without name",
        "no index", "no index, fragments", "no index, interleaved by id", "one index for all", "indices out of order", "name late",
    ],
)  # fmt: skip
def test_calls_put_together(fragments: list[Any]) -> None:
    """S6."""
    assert calls_of(*fragments) == TWO


@pytest.mark.parametrize(
    "fragments",
    [
        [call(0, "x", "f", A), call(1, "x", "f", B)],
        [call(0, "x", "f", A), call(0, "x", "f", B)],
        [call(None, "x", "f", A), call(None, "x", "f", B)],
    ],
    ids=["own indices", "one index", "no index"],
)
def test_one_id_for_two_calls(fragments: list[Any]) -> None:
    """T4: our ids tell them apart."""
    assert calls_of(*fragments) == [("t0.s0.c0", "x", "f", A), ("t0.s0.c1", "x", "f", B)]


@pytest.mark.parametrize("index", [0, None])
def test_calls_without_ids(index: int | None) -> None:
    """T4, S6."""
    assert calls_of(call(index, None, "f", A), call(index, None, "f", B)) == [
        ("t0.s0.c0", None, "f", A),
        ("t0.s0.c1", None, "f", B),
    ]


def test_calls_of_a_document_are_each_their_own() -> None:
    """S6, T4: the same id, name, index and arguments twice are two calls."""
    one = {"id": "x", "index": 0, "type": "function", "function": {"name": "f", "arguments": A}}
    body = {"choices": [{"message": {"tool_calls": [one, one]}, "finish_reason": "tool_calls"}]}
    message = read(json.dumps(body).encode(), headers=JSON).message
    assert message is not None and [c.id for c in message.tool_calls] == ["t0.s0.c0", "t0.s0.c1"]


def test_the_first_form_of_calls() -> None:
    fragments = [{"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ":1}"}]
    assert calls_of(*(chunk({"function_call": f}) for f in fragments)) == [("t0.s0.c0", None, "f", A)]
    body = {
        "choices": [{"message": {"function_call": {"name": "f", "arguments": A}}, "finish_reason": "function_call"}]
    }
    message = read(json.dumps(body).encode(), headers=JSON).message
    assert message is not None and message.tool_calls == (ToolCall("t0.s0.c0", "f", A),)
    assert message.stop_reason == "tool_calls"


def test_calls_in_other_types() -> None:
    """S6: numbers as text, arguments as an object, ids as numbers."""
    fragment = {"index": "0", "id": 12, "function": {"name": "f", "arguments": {"a": 1}}}
    assert calls_of(chunk({"tool_calls": [fragment]})) == [("t0.s0.c0", "12", "f", A)]


def test_arguments_are_kept_as_they_came() -> None:
    """Blank, spaced and broken arguments are the runtime's business."""
    for arguments in ("", "  ", '{ "a" : 1 }', '{"a":', "null", "ü"):
        assert calls_of(call(0, "x", "f", arguments)) == [("t0.s0.c0", "x", "f", arguments)]


def test_calls_that_say_nothing() -> None:
    """An empty form is no call; a call that lacks only its name is answered, not lost."""
    empty = {"name": "", "arguments": ""}
    assert calls_of(chunk({"function_call": empty}), chunk({"tool_calls": [{"index": 0, "function": empty}]})) == []
    assert calls_of(call(0, "x", None, A)) == [("t0.s0.c0", "x", "", A)]


def test_custom_tools_called_with_plain_text() -> None:
    custom = {"index": 0, "id": "x", "type": "custom", "custom": {"name": "shell", "input": "ls -l"}}
    assert calls_of(chunk({"tool_calls": [custom]})) == [("t0.s0.c0", "x", "shell", "ls -l")]


def test_signatures_on_calls_are_kept() -> None:
    """T5: Gemini's thought signatures, which come beside the function."""
    extra = {"google": {"thought_signature": "c2ln"}}
    signed = {"index": 0, "id": "x", "function": {"name": "f", "arguments": A}, "extra_content": extra}
    found = read(sse(chunk({"tool_calls": [signed]}), chunk({}, "tool_calls"))).message
    assert found is not None and found.tool_calls[0].native is not None
    assert json.loads(found.tool_calls[0].native.data) == {"extra_content": extra}


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=6)), max_size=30))
def test_interleaved_fragments_find_their_calls(pieces: list[tuple[int, str]]) -> None:
    """S6: whatever the order, each call gets its own fragments in order."""
    begun = [call(i, f"id{i}", f"f{i}", "") for i in range(4)]
    got = calls_of(*begun, *(call(i, None, None, piece) for i, piece in pieces))
    assert got == [(f"t0.s0.c{i}", f"id{i}", f"f{i}", "".join(p for n, p in pieces if n == i)) for i in range(4)]


# --- S8: garbage ---


def check_safe(chunks: list[bytes], status: int, headers: dict[str, str]) -> None:
    made = decoder(API, status, headers)
    found: list[Any] = []
    for data in chunks:
        found += made.feed(data)
    found += made.finish()
    assert [type(e) in (ResponseEnded, ResponseFailed) for e in found] == [False] * (len(found) - 1) + [True]
    assert made.feed(b"more") == [] and made.finish() == []


@given(
    st.lists(st.binary(max_size=60), max_size=8),
    st.sampled_from([200, 204, 307, 400, 500]),
    st.sampled_from([SSE, JSON, {}]),
)
def test_garbage_never_raises(chunks: list[bytes], status: int, headers: dict[str, str]) -> None:
    """S8."""
    check_safe(chunks, status, headers)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "index",
                    "id",
                    "usage",
                    "error",
                    "x_groq",
                    "finish_reason",
                    "reasoning",
                    "reasoning_details",
                    "text",
                    "type",
                    "images",
                    "image_url",
                    "url",
                    "annotations",
                    "audio",
                    "extra_content",
                    "function_call",
                    "custom",
                    "prompt_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                    "detail",
                    "code",
                    "metadata",
                    "raw",
                    "summary",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, max_size=4), st.booleans())
@examples(300)
def test_wrong_types_never_raise(values: list[Any], whole_: bool) -> None:
    """S8: anything in any place, in a stream, in a document, in a choice."""
    check_safe([sse(*values)], 200, SSE)
    check_safe([sse(*(chunk(v) for v in values))], 200, SSE)
    for value in values:
        check_safe([json.dumps(value).encode()], 500 if whole_ else 200, JSON)
        check_safe([json.dumps({"choices": [{"message": value}], "error": None}).encode()], 200, JSON)


@pytest.mark.parametrize("depth", [50, 500, 900, 1000, 1100, 5000, 200_000])
@pytest.mark.parametrize("form", [b"%s", b'{"error":%s}', b'{"choices":[{"delta":{"reasoning_details":[%s]}}]}'])
def test_deep_json_never_raises(depth: int, form: bytes) -> None:
    """S8."""
    deep = form % (b"[" * depth + b"]" * depth)
    check_safe([b"data: " + deep + b"\n\n"], 200, SSE)
    check_safe([deep], 200, JSON)
    check_safe([deep], 500, JSON)


def test_huge_bodies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8: bounds are those of `framing`; here they are lowered."""
    assert reader.MAX_BODY_BYTES == limits.MAX_BODY_BYTES == openai_chat_fold.MAX_BODY_BYTES
    monkeypatch.setattr(reader, "MAX_BODY_BYTES", 1000)
    monkeypatch.setattr(openai_chat_fold, "MAX_BODY_BYTES", 1000)
    assert failure(events([b'{"a":"', *[b"x" * 100] * 11], headers=JSON)).error.code == "protocol"
    notes = chunk({"annotations": [{"text": "x" * 100}]})
    assert failure(events([sse(*[notes] * 11)])).error.code == "protocol"
    assert type(events([sse(*[text("x" * 100)] * 11)])[-1]) is ResponseEnded


def test_an_endless_event_is_refused() -> None:
    """S8: `MAX_EVENT_BYTES` holds in a stream; nothing follows the failure."""
    made = decoder(API, 200, SSE)
    block, found = b"x" * (1 << 20), made.feed(b'data: {"a":"')
    for _ in range(limits.MAX_EVENT_BYTES // len(block) + 1):
        found += made.feed(block)
    assert failure(found).error.code == "protocol" and made.finish() == []


def test_names_repeated_in_mid_call_cost_no_more() -> None:
    """S8: a hostile host cannot make the decoder read the arguments again and again."""
    opened = '{"a":"' + "x" * 200_000
    fragments = [call(0, "x", "f", opened), *[call(0, "x", "f", "{")] * 2000, call(0, None, None, '"}')]
    assert calls_of(*fragments) == [("t0.s0.c0", "x", "f", opened + "{" * 2000 + '"}')]


def test_blocks_are_added_behind_the_rest() -> None:
    found = events([sse(chunk({"refusal": "no"}), text("a"), chunk({}, "stop"))])
    assert [e.block for e in found if type(e) in (TextDelta, BlockAdded)] == [0, 1]

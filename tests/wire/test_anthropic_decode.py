"""Anthropic responses, by hazard: splits, truncation, usage, both forms of an answer, calls, garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Native, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import BlockAdded, BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.wire import codec, decoder, read_response
from turnwise.wire.framing import limits

API = "anthropic.messages"
FOLDER = Path(__file__).parent / "fixtures" / "anthropic"
NAMES = ("text", "tools", "thinking", "server_tools")
SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}

START = {"type": "message_start", "message": {"id": "m", "model": "claude", "usage": {"input_tokens": 7}}}
TEXT = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
STOP = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}
END = {"type": "message_stop"}


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def whole(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def sse(*events: Any) -> bytes:
    return b"".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n".encode() for e in events)


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def text(words: str, index: int = 0) -> dict[str, Any]:
    return delta(index, "text_delta", text=words)


def events(chunks: list[bytes], status: int = 200, headers: dict[str, str] = SSE) -> list[Any]:
    made = decoder(API, status, headers)
    out: list[Any] = []
    for chunk in chunks:
        out += made.feed(chunk)
    return out + made.finish()


def read(body: bytes, status: int = 200, headers: dict[str, str] = SSE):
    return read_response(API, status, headers, [body])


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    return found[-1]


# --- what a response says ---


def test_events_of_a_text() -> None:
    assert events([stream("text")]) == [
        ResponseStarted("claude-sonnet-4-5", "msg_text"),
        TextDelta("Grüße", 0),
        TextDelta(" aus ", 0),
        TextDelta("東京", 0),
        TextDelta(" 🌸\n", 0),
        ResponseEnded("stop", "end_turn", Usage(135, 12, 100, 10)),
    ]


def test_events_of_calls() -> None:
    """Ids are ours, the provider's stand beside (T4); arguments are the raw text, also when the start is filled (S6)."""
    made = codec(API).decoder(200, SSE, step="t3.s1", attempt=2)
    found = [*made.feed(stream("tools")), *made.finish()]
    assert found[1:-1] == [
        TextDelta("Looking", 0, 2),
        TextDelta(".", 0, 2),
        ToolCallStarted("t3.s1.c0", "weather", 1, 2, "toolu_1"),
        BlockSealed(1, native=Native("anthropic", '{"caller":{"type":"direct"}}')),
        ToolCallDelta('{"city":"Os', 1, 2),
        ToolCallDelta('lo","days":2}', 1, 2),
        ToolCallStarted("t3.s1.c1", "clock", 2, 2, "toolu_2"),
        ToolCallStarted("t3.s1.c2", "weather", 3, 2, "toolu_3"),
        ToolCallDelta('{"city":"Bergen"}', 3, 2),
    ]
    assert found[-1].stop_reason == "tool_calls"


def test_blocks_of_thinking() -> None:
    """Order, text and seals of reasoning survive (T5); also redacted reasoning, and a seal without text."""
    message = read(stream("thinking")).message
    assert message is not None
    assert message.content == (
        Thinking("Two and two.", "c2VhbDE=", False, "anthropic"),
        Thinking("", "cmVkYWN0ZWQ=", True, "anthropic"),
        Thinking("", "c2VhbDI=", False, "anthropic"),
        Text("Four."),
    )
    assert message.usage == Usage(135, 40, 100, 10, 30)


def test_blocks_of_server_tools() -> None:
    """Calls that the provider runs itself are kept whole and in order (T5); citations stay with their text."""
    message = read(stream("server_tools")).message
    assert message is not None
    call, result, cited, rest = message.content
    assert isinstance(call, Opaque) and isinstance(result, Opaque) and isinstance(cited, Text)
    assert (call.kind, result.kind) == ("server_tool_use", "web_search_tool_result")
    assert json.loads(call.native.data)["input"] == {"query": "weather oslo"}
    assert json.loads(result.native.data)["content"][0]["encrypted_content"] == "c2VjcmV0"
    assert cited.text == "Rain later." and cited.native is not None
    assert json.loads(cited.native.data)["citations"][0]["url"] == "https://weather.example/oslo"
    assert rest == Text(" Bye.")
    assert (message.stop_reason, message.raw_stop_reason) == ("pause", "pause_turn")


@pytest.mark.parametrize(
    ("word", "normal"),
    [
        ("end_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_sequence"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("refusal", "refusal"),
        ("a_word_of_the_future", "unknown"),
    ],
)
def test_stop_reasons(word: str, normal: str) -> None:
    stop = {"type": "message_delta", "delta": {"stop_reason": word}, "usage": {"output_tokens": 3}}
    last = events([sse(START, stop, END)])[-1]
    assert (last.stop_reason, last.raw_stop_reason) == (normal, word)


# --- S1: splits ---


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["sse", "json"])
def test_split_at_every_byte(name: str, form: str) -> None:
    """S1."""
    body, headers = (stream(name), SSE) if form == "sse" else (whole(name), JSON)
    expected = events([body], headers=headers)
    assert len(expected) > 2
    for cut in range(len(body) + 1):
        assert events([body[:cut], body[cut:]], headers=headers) == expected
    assert events([body[i : i + 1] for i in range(len(body))], headers=headers) == expected


IRREGULAR = {
    "crlf": sse(START, TEXT, text("a"), text("b"), STOP, END).replace(b"\n", b"\r\n"),
    "cr": sse(START, TEXT, text("a"), text("b"), STOP, END).replace(b"\n", b"\r"),
    "no event names": sse(START, TEXT, text("a"), text("b"), STOP, END).replace(b"event: ", b": "),
    "no space": sse(START, TEXT, text("a"), text("b"), STOP, END).replace(b"data: ", b"data:"),
    "byte order mark": b"\xef\xbb\xbf" + sse(START, TEXT, text("a"), text("b"), STOP, END),
    "blank lines in front": b"\n\n" + sse(START, TEXT, text("a"), text("b"), STOP, END),
    "keep-alives": b": hi\n\n" + sse(START, TEXT, text("a")) + b":\n\n:\n\n" + sse(text("b"), STOP, END),
    "no blank line at the end": sse(START, TEXT, text("a"), text("b"), STOP, END)[:-2],
    "line end inside a run": sse(START, TEXT, text("a"))
    + b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,\ndata: "delta":'
    + b'{"type":"text_delta","text":"b"}}\n\n'
    + sse(STOP, END),
}


@pytest.mark.parametrize("body", IRREGULAR.values(), ids=IRREGULAR)
def test_ways_to_write_a_stream(body: bytes) -> None:
    """S2, S1: the same answer however the lines are written, at every split."""
    expected = events([body])
    assert [e.text for e in expected if type(e) is TextDelta] == ["a", "b"]
    assert expected[-1] == ResponseEnded("stop", "end_turn", Usage(7, 3))
    for cut in range(len(body) + 1):
        assert events([body[:cut], body[cut:]]) == expected


HOSTILE = [
    # Two halves that are JSON only when glued together; more than one value in a payload; line ends inside a payload.
    b'event: content_block_delta\ndata: {"x":[{}\n\nevent: content_block_delta\ndata: {}]}\n\n',
    b'event: content_block_delta\ndata: {"type":"ping"}{"type":"ping"}\n\n',
    b'event: content_block_delta\ndata: {"type":\n"ping"}\n\n',
    b'event: content_block_delta\ndata: {"type":\r"ping"}\n\n',
    b'event: content_block_delta\ndata: {"type":"ping"}\r\n\r\n',
    b'event: content_block_delta\ndata: {"type":"ping"}\n\n\n',
    b"event: content_block_delta\ndata: \n\n",
    sse(text("ok")),
    sse(text("ok")).replace(b'"index"', b'\n"index"'),
    sse(text("ok")).replace(b'"index"', b'\r"index"'),
]


PIECES = st.sampled_from(
    [
        sse(text("x")),
        sse(text("yy")) * 3,
        sse(text("z")).replace(b"\n", b"\r\n"),
        sse({"type": "ping"}),
        b": note\n\n",
        b"\n",
        b"\r",
        *HOSTILE,
    ]
)


@given(st.lists(PIECES, max_size=8), st.lists(st.floats(0, 1), max_size=6))
@examples(300)
def test_any_split_of_any_mixture(pieces: list[bytes], cuts: list[float]) -> None:
    """S1 where the decoder takes short cuts: runs of regular deltas between everything else, cut anywhere."""
    begin, end = sse(START, TEXT, text("a")), sse(STOP, END)
    body = b"".join([begin, *pieces, end])
    expected = events([body[i : i + 1] for i in range(len(body))])
    places = sorted([round(c * len(body)) for c in cuts])
    anywhere = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    for chunks in ([body], anywhere, [begin, *pieces, end]):
        assert events(chunks) == expected


@pytest.mark.parametrize("piece", HOSTILE)
def test_odd_events_after_half_a_line(piece: bytes) -> None:
    """S1: what a line begins with counts also when the rest of it looks like an event of its own."""
    begin = sse(START, TEXT, text("a"))
    for half in (b"data", b"data: ", b": note", b"event: x\n", b"data: {}\n", b"\r"):
        rest = [sse(text("b")), sse(STOP, END)]
        body = b"".join([begin, half, piece, *rest])
        expected = events([body[i : i + 1] for i in range(len(body))])
        assert events([begin, half, piece, *rest]) == expected
        assert events([begin, half + piece, *rest]) == expected


@pytest.mark.parametrize("first", [b'data: {"type":"ping"}\n', sse(text("b"))[:-1] + b"x\n"])
def test_events_that_are_not_parted_by_an_empty_line(first: bytes) -> None:
    """S1, S8: what looks like the beginning of the next event still belongs to this one."""
    second = sse(text("c"))
    for cut in range(len(second)):
        found = events([sse(START, TEXT, text("a")), first + second[:cut], second[cut:], sse(STOP, END)])
        assert failure(found).error.code == "protocol"


# --- S3, S7: what ends too early, and what fails in the middle ---


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_cut_anywhere_is_truncated(name: str) -> None:
    """S3: whatever is missing, the answer is never taken for whole; what came before it is kept."""
    body = stream(name)
    for cut in range(1, len(body) - len('data: {"type":"message_stop"}\n\n')):
        last = failure(events([body[:cut]]))
        assert last.error.code == "truncated" and last.error.retryable
        assert last.usage is None or last.usage.provenance == "partial"


def test_a_cut_stream_keeps_its_text() -> None:
    """S3, S4."""
    response = read(sse(START, TEXT, text("half an ans")))
    assert response.message is not None and response.message.partial
    assert response.message.text == "half an ans"
    assert response.usage == Usage(7, provenance="partial")


def test_an_error_event_in_a_stream() -> None:
    """S3: nothing follows it."""
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    found = events([sse(START, TEXT, text("a"), error, text("b"), STOP, END)])
    assert found[:-1] == [ResponseStarted("claude", "m"), TextDelta("a", 0)]
    last = failure(found)
    assert (last.error.code, last.error.message, last.error.detail) == ("overloaded", "Overloaded", "overloaded_error")
    assert last.error.retryable and last.error.status is None
    assert last.usage == Usage(7, provenance="partial")


def test_an_error_without_a_type_in_a_stream() -> None:
    """S3: as gateways write it."""
    found = events([sse(START) + b'data: {"error":{"message":"upstream gone","code":"server_error"}}\n\n'])
    assert failure(found).error.message == "upstream gone"


def test_who_answers_is_told_first_or_not_at_all() -> None:
    assert [type(e) for e in events([sse(START, START, STOP, END)])] == [ResponseStarted, ResponseEnded]
    assert [type(e) for e in events([sse(TEXT, text("a"), START, STOP, END)])] == [TextDelta, ResponseEnded]


def test_nothing_follows_the_end() -> None:
    made = decoder(API, 200, SSE)
    begun = made.feed(sse(START, STOP, END, text("late")))
    assert not any(isinstance(e, TextDelta) for e in begun)
    assert made.feed(sse(TEXT, text("later"))) == []
    assert [type(e) for e in made.finish()] == [ResponseEnded]


@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_json_body_cut_short_is_truncated(cut: int) -> None:
    """S3."""
    assert failure(events([whole("text")[:cut]], headers=JSON)).error.code == "truncated"


# --- S4: usage ---


def test_later_counts_replace_earlier_ones() -> None:
    """S4: every report is a running total; what a later one leaves out stays."""
    first = {**START, "message": {"usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 1}}}
    between = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 20}}
    final = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 30}}
    assert events([sse(first, between, final, END)])[-1].usage == Usage(15, 30, 5)


def test_input_counts_may_grow_at_the_end() -> None:
    """S4: searches on the provider's side read more than was sent."""
    assert read(stream("server_tools")).usage == Usage(625, 77, 200, 0)


@pytest.mark.parametrize("usage", [None, "many", {"output_tokens": "3"}, [1]])
def test_strange_usage_is_no_usage(usage: Any) -> None:
    """S4: never a zero, and never worth a failed answer."""
    start = {"type": "message_start", "message": {"usage": usage}}
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage}
    assert events([sse(start, stop, END)])[-1] == ResponseEnded("stop", "end_turn", None)


def test_no_final_count_is_partial() -> None:
    """S4: the count at the start of a stream is a placeholder."""
    stop = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}}
    assert events([sse(START, stop, END)])[-1].usage == Usage(7, provenance="partial")


# --- S5: both forms of one answer ---


@pytest.mark.parametrize("name", NAMES)
def test_streamed_and_whole_are_equal(name: str) -> None:
    """S5."""
    streamed, complete = read(stream(name)), read(whole(name), headers=JSON)
    assert streamed.error is None and complete.error is None
    assert streamed.message is not None
    assert streamed.message == complete.message
    assert streamed.usage == complete.usage


@pytest.mark.parametrize("headers", [{}, {"content-type": "text/plain"}, SSE, JSON])
@pytest.mark.parametrize("form", ["sse", "json"])
def test_the_bytes_tell_the_form(form: str, headers: dict[str, str]) -> None:
    """A wrong or missing content type does no harm."""
    response = read(stream("text") if form == "sse" else whole("text"), headers=headers)
    assert response.error is None and response.message is not None
    assert response.message.text == "Grüße aus 東京 🌸\n"


# --- S6: calls ---


def test_interleaved_fragments_go_to_their_own_call() -> None:
    """S6."""

    def call(index: int) -> dict[str, Any]:
        block = {"type": "tool_use", "id": "same", "name": f"tool{index}", "input": {}}
        return {"type": "content_block_start", "index": index, "content_block": block}

    fragments = [delta(i, "input_json_delta", partial_json=p) for i, p in ((1, '{"a"'), (0, "{}"), (1, ":1}"))]
    stops = [{"type": "content_block_stop", "index": i} for i in (0, 1)]
    message = read(sse(START, call(0), call(1), *fragments, *stops, STOP, END)).message
    assert message is not None
    assert message.tool_calls == (
        ToolCall("t0.s0.c0", "tool0", "{}", "same"),
        ToolCall("t0.s0.c1", "tool1", '{"a":1}', "same"),
    )


def test_fragments_replace_a_filled_start() -> None:
    """S6."""
    block = {"type": "tool_use", "id": "x", "name": "f", "input": {"old": 1}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    message = read(sse(START, start, delta(0, "input_json_delta", partial_json='{"new":2}'), STOP, END)).message
    assert message is not None and message.tool_calls[0].arguments == '{"new":2}'


def test_arguments_that_are_not_json_are_kept_as_they_are() -> None:
    """E2 begins here: nothing is mended and nothing dropped."""
    block = {"type": "tool_use", "id": "x", "name": "f", "input": {}}
    start = {"type": "content_block_start", "index": 0, "content_block": block}
    message = read(sse(START, start, delta(0, "input_json_delta", partial_json='{"a": tru'), STOP, END)).message
    assert message is not None and message.tool_calls[0].arguments == '{"a": tru'


# --- what the API may add ---


def test_unknown_events_blocks_and_deltas() -> None:
    """Unknown events and deltas are passed over; unknown blocks are kept with what their deltas say."""
    odd = {"type": "content_block_start", "index": 1, "content_block": {"type": "compaction", "content": "a"}}
    found = events(
        [
            sse(
                START,
                {"type": "weather_report", "index": {}, "delta": 3},
                TEXT,
                delta(0, "sparkle_delta", sparkle=1),
                text("hi"),
                odd,
                delta(1, "compaction_delta", content="b", size=2),
                {"type": "content_block_stop", "index": 1},
                STOP,
                END,
            )
        ]
    )
    native = Native("anthropic", '{"type":"compaction","content":"ab","size":2}')
    assert found[1:-1] == [TextDelta("hi", 0), BlockAdded(1, Opaque("compaction", native))]
    assert type(found[-1]) is ResponseEnded


def test_citations_without_text_do_not_become_thinking() -> None:
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    cited = delta(0, "citations_delta", citation={"cited_text": "x"})
    message = read(sse(START, block, cited, {"type": "content_block_stop", "index": 0}, STOP, END)).message
    assert message is not None
    assert message.content == (Text("", Native("anthropic", '{"citations":[{"cited_text":"x"}]}')),)


# --- responses that are errors, or no responses at all ---


@pytest.mark.parametrize(
    ("status", "kind", "code", "retryable"),
    [
        (400, "invalid_request_error", "invalid_request", False),
        (401, "authentication_error", "auth", False),
        (402, "billing_error", "quota", False),
        (403, "permission_error", "permission", False),
        (404, "not_found_error", "not_found", False),
        (413, "request_too_large", "too_large", False),
        (429, "rate_limit_error", "rate_limit", True),
        (500, "api_error", "server", True),
        (504, "timeout_error", "provider_timeout", True),
        (529, "overloaded_error", "overloaded", True),
    ],
)
def test_error_responses(status: int, kind: str, code: str, retryable: bool) -> None:
    """One row per line of the API's errors page."""
    body = json.dumps({"type": "error", "error": {"type": kind, "message": "What happened."}, "request_id": "req_1"})
    response = read(body.encode(), status, {**JSON, "retry-after": "7"})
    assert response.message is None and response.error is not None
    error = response.error
    assert (error.code, error.retryable, error.status, error.detail) == (code, retryable, status, kind)
    assert error.message == "What happened." and error.hint and error.retry_after_s == 7
    assert error.provider == "anthropic"


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (200, b"", "protocol"),
        (200, b" \n", "protocol"),
        (204, b"", "protocol"),
        (200, b"<html><title>Portal</title></html>", "protocol"),
        (200, b"Bad things happened", "protocol"),
        (200, b"[1, 2]", "protocol"),
        (200, b"null", "protocol"),
        (200, b'{"object":"chat.completion"}', "protocol"),
        (200, b'{"type":"error","error":{"type":"overloaded_error","message":"no"}}', "overloaded"),
        (301, b"", "redirect"),
        (502, b"<html><head><title>502 Bad Gateway</title></head></html>", "server"),
        (503, b"", "overloaded"),
        (500, b"plain words", "server"),
        (404, b'{"detail":"Not Found"}', "not_found"),
    ],
)
@pytest.mark.parametrize("headers", [{}, SSE, JSON])
def test_bodies_that_are_no_message(status: int, body: bytes, code: str, headers: dict[str, str]) -> None:
    """S3, S8: always one typed error with a message, at every split."""
    if code == "protocol" and headers is SSE and body[:1] in (b"B", b"n"):
        code = "truncated"  # declared as a stream, and it is one: of nothing
    found = events([body], status, headers)
    last = failure(found)
    assert (len(found), last.error.code) == (1, code)
    assert last.error.message and last.error.hint
    assert events([body[i : i + 1] for i in range(len(body))], status, headers) == found


# --- S8: garbage ---


def check_sound(found: list[Any]) -> None:
    """What every decoder promises about its events."""
    assert [type(e) in (ResponseEnded, ResponseFailed) for e in found] == [False] * (len(found) - 1) + [True]
    assert ResponseStarted not in [type(e) for e in found[1:]]
    begun = [e.block for e in found if type(e) in (ToolCallStarted, BlockAdded)]
    assert len(begun) == len(set(begun))
    for event in found:
        if type(event) in (TextDelta, ThinkingDelta):
            assert event.text


@given(st.binary(max_size=300), st.sampled_from([200, 204, 404, 500]), st.sampled_from([{}, SSE, JSON]))
@examples(300)
def test_garbage(body: bytes, status: int, headers: dict[str, str]) -> None:
    """S8."""
    found = events([body], status, headers)
    check_sound(found)
    assert events([body[i : i + 1] for i in range(len(body))], status, headers) == found


@pytest.mark.parametrize(
    "begun",
    [
        b'{"type":"tool_use","id":"t","name":"f","input":{"a":"\xcc"}}',
        b'{"type":"later_kind","x":"\xcc"}',
    ],
)
def test_bytes_that_are_no_utf8_in_a_block_without_end(begun: bytes) -> None:
    """S8: a block that is kept raw and ends with the message is looked into only then; nothing is raised."""
    event = b'data: {"type":"content_block_start","index":0,"content_block":' + begun + b"}\n\n"
    body = sse(START) + event + sse(STOP, END)
    found = events([body])
    check_sound(found)
    assert found[-1].error.code == "protocol"
    assert events([body[i : i + 1] for i in range(len(body))]) == found


def test_a_call_keeps_who_called_it_and_what_else_is_said_of_it() -> None:
    """Fields beside the known ones go back with the call, streamed as whole."""
    block = {"type": "tool_use", "id": "t", "name": "f", "input": {}, "caller": {"type": "direct"}, "new": [1]}
    body = sse(START, {"type": "content_block_start", "index": 0, "content_block": block}, STOP, END)
    message = {"id": "m", "model": "claude", "content": [block], "stop_reason": "tool_use"}
    for found in (events([body]), events([json.dumps(message).encode()], headers=JSON)):
        (sealed,) = [e for e in found if type(e) is BlockSealed]
        assert sealed.native == Native("anthropic", '{"caller":{"type":"direct"},"new":[1]}')


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
@examples(400)
def test_wrong_types_anywhere(data: st.DataObject) -> None:
    """S8: one value of a good stream, or of a good answer, is replaced by anything."""
    name = data.draw(st.sampled_from(NAMES))
    if data.draw(st.booleans()):
        values = [json.loads(line[6:]) for line in stream(name).splitlines() if line.startswith(b"data: ")]
        spoil(values, data)
        body = b"".join(b"data: " + json.dumps(v).encode() + b"\n\n" for v in values)
    else:
        values = [json.loads(whole(name))]
        spoil(values, data)
        body = json.dumps(values[0]).encode()
    found = events([body])
    check_sound(found)
    cut = data.draw(st.integers(0, len(body)))
    assert events([body[:cut], body[cut:]]) == found


def spoil(value: Any, data: st.DataObject) -> None:
    """Replace, rename or remove something inside `value`."""
    key = data.draw(st.sampled_from(list(value) if isinstance(value, dict) else list(range(len(value)))))
    if isinstance(value[key], dict | list) and value[key] and data.draw(st.integers(0, 3)):
        spoil(value[key], data)
    elif isinstance(value, dict) and data.draw(st.booleans()):
        del value[key]
    else:
        value[key] = data.draw(JUNK)


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b'{"type":"content_block_start","index":0,"content_block":' + b'{"a":' * 50_000,
        b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\xff\xfe"}}',
        b'{"type":"content_block_delta","index":99999999999999999999,"delta":{"type":"text_delta","text":"a"}}',
        b'{"type":"content_block_delta","index":5,"delta":{"type":"text_delta","text":"a"}}',
        b'{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"a"}}',
        b'{"type":"content_block_delta","index":0,"delta":{}}',
        b'{"type":"content_block_delta","index":0}',
        b'{"index":0}',
        b"[DONE]",
        b"\x00",
    ],
)
def test_broken_events(payload: bytes) -> None:
    """S8: typed, and what came before is kept."""
    found = events([sse(START, TEXT, text("a")) + b"data: " + payload + b"\n\n" + sse(STOP, END)])
    assert found[:2] == [ResponseStarted("claude", "m"), TextDelta("a", 0)]
    assert failure(found).error.code == "protocol"


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_json_in_an_answer(depth: int) -> None:
    """S8."""
    deep = b"[" * depth + b"]" * depth
    body = b'{"content":[{"type":"tool_use","id":"a","name":"f","input":{"x":' + deep + b"}}]}"
    check_sound(events([body], headers=JSON))


def test_numbers_beyond_all_bounds() -> None:
    """S8: natives keep what cannot be written again."""
    odd = {"type": "content_block_start", "index": 0, "content_block": {"type": "odd", "n": 10**30}}
    message = read(sse(START, odd, {"type": "content_block_stop", "index": 0}, STOP, END)).message
    assert message is not None
    block = message.content[0]
    assert isinstance(block, Opaque) and json.loads(block.native.data)["n"] == 10**30


def test_an_endless_line_is_given_up() -> None:
    """S8: memory stays bounded."""
    made = decoder(API, 200, SSE)
    made.feed(sse(START))
    chunk, fed = b"x" * (1 << 20), 0
    found: list[Any] = made.feed(b"data: ")
    while not found and fed <= limits.MAX_EVENT_BYTES:
        found = made.feed(chunk)
        fed += len(chunk)
    assert failure(found).error.code == "protocol"
    assert made.feed(chunk) == [] and made.finish() == []


def test_an_endless_body_is_given_up() -> None:
    """S8."""
    made = decoder(API, 200, JSON)
    found: list[Any] = made.feed(b'{"content":"')
    chunk, fed = b"x" * (1 << 22), 0
    while not found and fed <= limits.MAX_BODY_BYTES:
        found = made.feed(chunk)
        fed += len(chunk)
    assert failure(found).error.code == "protocol"


def test_an_endless_error_body_is_kept_in_part() -> None:
    """S8."""
    made = decoder(API, 500, {})
    for _ in range(100):
        assert made.feed(b"sorry " * 10_000) == []
    last = failure(made.finish())
    assert last.error.message.startswith("sorry sorry") and len(last.error.message) <= 4000

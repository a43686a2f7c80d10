"""Answers of Ollama's own API, by hazard: splits, truncation, usage, both forms of an answer, calls without ids, errors, garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Image, Inline, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.testing import call, error_event, raw_call, redacted, reply, text, think
from turnwise.wire import codec, decoder, read_response
from turnwise.wire.framing import json_lines
from turnwise.wire.framing import sse as framing
from turnwise.wire.serve import Exchange, Response, serve_codec

API = "ollama.chat"
FOLDER = Path(__file__).parent / "fixtures" / "ollama"
NAMES = ("text", "tools")
NDJSON = {"content-type": "application/x-ndjson"}
JSON = {"content-type": "application/json; charset=utf-8"}
END = {"done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3}
EXCHANGE = Exchange(number=7, model="m", created=1_750_000_000, request_bytes=400)


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.ndjson").read_bytes()


def whole(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def line(said: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "message": {"role": "assistant", "content": "", **(said or {})}, "done": False, **fields}


def asked(name: str = "weather", arguments: Any = None, **fields: Any) -> dict[str, Any]:
    return {"tool_calls": [{"function": {"name": name, "arguments": {} if arguments is None else arguments}, **fields}]}


def ndjson(*lines: Any, end: bool = True) -> bytes:
    every = [*lines, line(**END)] if end else lines
    return b"".join(json.dumps(one).encode() + b"\n" for one in every)


def events(chunks: list[bytes], status: int = 200, headers: dict[str, str] = NDJSON) -> list[Any]:
    made = decoder(API, status, headers)
    out: list[Any] = []
    for data in chunks:
        out += made.feed(data)
    return out + made.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [bytes([b]) for b in body]


def read(body: bytes, status: int = 200, headers: dict[str, str] = NDJSON) -> Any:
    return read_response(API, status, headers, [body])


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    assert not any(type(e) in (ResponseEnded, ResponseFailed) for e in found[:-1])
    return found[-1]


# --- what an answer says ---


def test_events_of_a_text() -> None:
    assert events([stream("text")]) == [
        ResponseStarted("llama3.2"),
        TextDelta("Grüße"),
        TextDelta(" aus 🇳🇴"),
        TextDelta(" – tørt."),
        ResponseEnded("stop", "stop", Usage(42, 9)),
    ]


def test_events_of_reasoning_and_calls() -> None:
    """T4, T5: calls are counted by us, with or without ids; reasoning is marked as Ollama's."""
    made = codec(API).decoder(200, NDJSON, step="t4.s2", attempt=3)
    assert made.feed(stream("tools")) + made.finish() == [
        ResponseStarted("qwen3:8b"),
        ThinkingDelta("Two cities", 0, 3),
        ThinkingDelta(", two calls.", 0, 3),
        TextDelta("Looking.", 1, 3),
        ToolCallStarted("t4.s2.c0", "weather", 2, 3, "call_k3x9"),
        ToolCallDelta('{"city":"Oslo", "days":3}', 2, 3),
        ToolCallStarted("t4.s2.c1", "weather", 3, 3, None),
        ToolCallDelta('{"city":"Bergen"}', 3, 3),
        BlockSealed(0, origin="ollama"),
        ResponseEnded("tool_calls", "stop", Usage(80, 31)),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_whole_and_streamed_are_equal(name: str) -> None:
    """S5."""
    a, b = read(stream(name)), read(whole(name), headers=JSON)
    assert a.error is None and a == b


@pytest.mark.parametrize("headers", [{}, JSON, NDJSON, {"content-type": "text/plain"}])
@pytest.mark.parametrize("name", NAMES)
def test_content_types_may_be_wrong(name: str, headers: dict[str, str]) -> None:
    assert read(stream(name), headers=headers) == read(whole(name), headers=headers) == read(stream(name))


def test_a_document_over_several_lines() -> None:
    body = json.dumps(json.loads(whole("tools")), indent=2).encode()
    message = read(body, headers=JSON).message
    assert [c.name for c in message.tool_calls] == ["weather", "weather"]


def test_a_stream_that_looks_like_a_document_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A first line that is longer than what is waited for, and no content type that says so."""
    monkeypatch.setattr(json_lines, "_SNIFF_BYTES", 40)
    assert read(stream("tools"), headers=JSON) == read(stream("tools"))


def test_text_after_calls_and_reasoning_has_blocks_of_its_own() -> None:
    body = ndjson(
        line({"content": "a"}), line(asked()), line({"content": "b"}), line({"thinking": "c"}), line({"content": "d"})
    )
    assert [type(b) for b in read(body).message.content] == [Text, ToolCall, Text, Thinking, Text]


def test_images_that_the_model_made() -> None:
    body = ndjson(line({"images": ["iVBORw0KGgo=", "/9j/4AAQ", "no base64!"]}))
    png, jpeg, kept = read(body).message.content
    assert (png.source, jpeg.source.media_type) == (Inline(b"\x89PNG\r\n\x1a\n", "image/png"), "image/jpeg")
    assert type(png) is Image and type(kept) is Opaque and "no base64!" in kept.native.data


@pytest.mark.parametrize(
    ("arguments", "read_as"),
    [
        ({"b": 1, "a": [1.50]}, None),
        ({}, "{}"),
        (None, "{}"),
        ("", ""),
        ('{"city": "Os', '{"city": "Os'),
        ([1], "[1]"),
        (7, "7"),
    ],
)
def test_arguments(arguments: Any, read_as: str | None) -> None:
    """E2: objects keep their text, and text is what it says; nothing is replaced."""
    body = ndjson(line(asked(arguments=arguments)))
    (made,) = read(body).message.tool_calls
    assert made.arguments == (json.dumps(arguments) if read_as is None else read_as)


def test_null_arguments_and_missing_ones_are_blank() -> None:
    calls = [{"function": {"name": "a", "arguments": None}}, {"function": {"name": "b"}}, {"id": "x"}]
    body = ndjson(line({"tool_calls": calls}))
    assert [(c.name, c.arguments) for c in read(body).message.tool_calls] == [("a", ""), ("b", ""), ("", "")]


def test_arguments_keep_big_numbers_and_order() -> None:
    body = ndjson(line(asked(arguments="@"))).replace(b'"@"', b'{"z":12345678901234567890123, "a":1.0}')
    assert read(body).message.tool_calls[0].arguments == '{"z":12345678901234567890123, "a":1.0}'


# --- splits and truncation ---


@pytest.mark.parametrize("name", NAMES)
def test_same_events_at_every_split(name: str) -> None:
    """S1."""
    for body, headers in ((stream(name), NDJSON), (whole(name), JSON)):
        expected = events([body], headers=headers)
        assert events(bytewise(body), headers=headers) == expected
        for cut in range(len(body)):
            assert events([body[:cut], body[cut:]], headers=headers) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_anywhere_is_a_truncation(name: str) -> None:
    """S3: nothing but the last line ends an answer."""
    body = stream(name).rstrip(b"\n")
    for cut in range(1, len(body)):
        assert failure(events([body[:cut]])).error.code == "truncated", cut
    document = whole(name).rstrip()
    for cut in range(1, len(document)):
        assert failure(events([document[:cut]], headers=JSON)).error.code == "truncated", cut


def test_a_document_that_is_not_done_is_a_truncation() -> None:
    assert failure(events([json.dumps(line({"content": "x"})).encode()], headers=JSON)).error.code == "truncated"


def test_what_follows_the_end_does_not_count() -> None:
    for tail in (b"garbage\n", ndjson(line({"content": "more"}))):
        assert events([stream("text") + tail]) == events([stream("text"), tail]) == events([stream("text")])


def test_split_characters_and_line_separators() -> None:
    """S2: U+2028 and U+0085 end no line."""
    said = "a\u2028b\u0085c\u2029 🇳🇴"
    body = json.dumps(line({"content": said}), ensure_ascii=False).encode() + b"\n" + ndjson()
    assert read_response(API, 200, NDJSON, bytewise(body)).message == read(body).message
    assert read(body).message.text == said


# --- usage and stop reasons ---


@pytest.mark.parametrize(
    ("end", "usage"),
    [
        ({"prompt_eval_count": 5, "eval_count": 2}, Usage(5, 2)),
        ({"eval_count": 2}, Usage(None, 2)),
        ({"prompt_eval_count": 0, "eval_count": 0}, Usage(0, 0)),
        ({}, None),
    ],
)
def test_usage(end: dict[str, Any], usage: Usage | None) -> None:
    """S4: a count that is not said is not zero."""
    assert read(ndjson(line({"content": "x"}), line(done=True, **end), end=False)).usage == usage


@pytest.mark.parametrize(
    ("raw", "calls", "normal"),
    [
        ("stop", False, "stop"),
        ("stop", True, "tool_calls"),
        ("length", False, "length"),
        ("length", True, "length"),
        ("load", False, "unknown"),
        (None, False, "unknown"),
        (None, True, "tool_calls"),
    ],
)
def test_stop_reasons(raw: str | None, calls: bool, normal: str) -> None:
    """S7: calls of an answer that was cut off stay cut off."""
    end = {"done": True} if raw is None else {"done": True, "done_reason": raw}
    message = read(ndjson(line(asked() if calls else {"content": "x"}), line(**end), end=False)).message
    assert (message.stop_reason, message.raw_stop_reason) == (normal, raw)


# --- errors ---


def test_an_error_inside_a_stream() -> None:
    """S3: no status tells of it."""
    for lines in (
        [line({"content": "Ha"}), {"error": "the model failed"}],
        [{"error": {"message": "the model failed"}}],
    ):
        body = ndjson(*lines, end=False)
        for chunks in ([body], bytewise(body)):
            failed = failure(events(chunks))
            assert (failed.error.message, failed.error.status) == ("the model failed", None)
    assert read(ndjson(line({"content": "Ha"}), {"error": "x"}, end=False)).message.text == "Ha"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (404, "model 'nope' not found", "not_found"),
        (400, "registry.ollama.ai/library/gemma:2b does not support tools", "tools_unsupported"),
        (401, "unauthorized", "auth"),
        (429, "too many concurrent requests", "rate_limit"),
        (503, "server busy, please try again.  maximum pending requests exceeded", "overloaded"),
        (500, "model runner has unexpectedly stopped, this may be due to resource limitations", "server"),
        (400, '"llama3.2" does not support thinking', "invalid_request"),
    ],
)
def test_errors_by_status(status: int, said: str, code: str) -> None:
    info = failure(events([json.dumps({"error": said}).encode()], status, JSON)).error
    assert (info.code, info.message, info.status) == (code, said, status)


def test_a_model_without_tools_is_told_how_to_go_on() -> None:
    body = b'{"error":"registry.ollama.ai/library/gemma:2b does not support tools"}'
    assert 'tools="prompted"' in failure(events([body], 400, JSON)).error.hint


def test_an_overflow_inside_an_error_inside_an_error() -> None:
    """X5: newer servers quote the model's own process as JSON within the text; the hint names the setting that helps."""
    inner = {
        "error": {"code": 400, "message": "request (8889 tokens) exceeds the available context size (4096 tokens)"}
    }
    info = failure(events([json.dumps({"error": json.dumps(inner)}).encode()], 400, JSON)).error
    assert info.code == "context_overflow" and info.message.startswith("request (8889 tokens)")
    assert "num_ctx" in info.hint


@pytest.mark.parametrize("body", [b"", b"Bad Gateway", b"<html><title>502</title>", b'{"error":"{not json"}', b"[]"])
def test_error_bodies_of_any_form(body: bytes) -> None:
    assert failure(events([body], 502, JSON)).error.message


# --- garbage ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]\n",
        b"{}",
        b'{"done":true}',
        b'{"message":"x","done":true}\n',
        b'{"message":{"content":5}}\n',
        b'{"message":{"content":"x"}}\n{nope}\n',
        b'{"message":{"tool_calls":[{"function":{"name":"a","arguments":"\\ud800"}}]},"done":true}\n',
        b'{"message":{"content":"\xff"},"done":true}\n',
        b'{"message":' + b"[" * 200_000 + b"\n",
    ],
)
def test_garbage_is_a_protocol_error(body: bytes) -> None:
    """S8: never an exception, whatever the split."""
    found = events([body])
    failed = failure(found)
    assert failed.error.code in ("protocol", "truncated")
    if len(body) < 1000:
        assert failure(events(bytewise(body))).error.code == failed.error.code


@pytest.mark.parametrize(
    "joined", [b"%s%s\n", b"%s %s\n", b"%s\r%s\n"], ids=["together", "with a space", "with a CR alone"]
)
def test_two_values_on_one_line_are_no_line(joined: bytes) -> None:
    """S1: they are refused wherever the bytes are cut, not read if they happen to come in one piece."""
    a, b = ndjson(line({"content": "a"}), end=False).strip(), ndjson(end=True).strip()
    body = ndjson(line({"content": "first"}), end=False) + joined % (a, b)
    found = events([body])
    assert failure(found).error.code == "protocol" and found[1] == TextDelta("first")
    assert events(bytewise(body)) == found


def test_a_value_on_two_lines_is_no_line() -> None:
    """S1: nor if another line makes up for it, so that there are as many values as lines."""
    first, end = ndjson(line({"content": "first"}), end=False), ndjson(end=True).strip()
    body = first + b'{"message":\n{"content":"a"}}' + end + b"\n"
    found = events([body])
    assert failure(found).error.code == "protocol" and found[1] == TextDelta("first")
    assert events(bytewise(body)) == found


def test_what_comes_before_garbage_counts() -> None:
    body = ndjson(line({"content": "Half"}), line({"content": " an"}), end=False) + b"{nope}\n"
    done = read(body)
    assert done.message.text == "Half an" and done.error.code == "protocol"


def test_unknown_fields_and_lines_are_passed_over() -> None:
    """Fields that the server adds later change nothing."""
    body = ndjson({"new": 1}, line({"content": "x", "mood": {}}, logprobs=[1], remote_host="y"), line(new=[1]))
    assert read(body).message.text == "x"


def test_huge_lines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8."""
    monkeypatch.setattr(json_lines.JsonLinesFramer.__init__, "__defaults__", (1000,))
    body = ndjson(line({"content": "ok"}), line({"content": "x" * 2000}))
    for chunks in ([body], bytewise(body)):
        assert failure(events(chunks)).error.code == "protocol"
    assert framing.MAX_EVENT_BYTES == 16 * 1024 * 1024


@examples(150)
@given(body=st.binary(max_size=200), cut=st.integers(0, 200), status=st.sampled_from([200, 400, 500]))
def test_any_bytes_end_with_one_answer(body: bytes, cut: int, status: int) -> None:
    """S8, S1."""
    for given_body in (body, stream("tools")[: len(body) * 5] + body):
        found = events([given_body[:cut], given_body[cut:]], status)
        assert type(found[-1]) in (ResponseEnded, ResponseFailed)
        assert sum(type(e) in (ResponseEnded, ResponseFailed) for e in found) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["message", "content", "thinking", "tool_calls", "function", "arguments", "name", "done", "error", "images"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@examples(200)
@given(lines=st.lists(json_values, max_size=4), split=st.integers(1, 30))
def test_any_json_ends_with_one_answer(lines: list[Any], split: int) -> None:
    """S8, S1: values of the wrong type in the right places."""
    body = ndjson(*lines)
    found = events([body])
    assert type(found[-1]) in (ResponseEnded, ResponseFailed)
    again = events([body[i : i + split] for i in range(0, len(body), split)])
    assert [type(e) for e in again if "Delta" not in type(e).__name__] == [
        type(e) for e in found if "Delta" not in type(e).__name__
    ]


# --- our own serving side ---


def response(*parts: Any, **more: Any) -> Response:
    made = reply(*parts, **more).answer
    assert isinstance(made, Response)
    return made


def served(made: Response, streamed: bool, split: int = 1 << 20) -> Any:
    side = serve_codec(API)
    body = b"".join(side.stream(made, EXCHANGE)) if streamed else side.body(made, EXCHANGE)
    headers = NDJSON if streamed else JSON
    return read_response(API, 200, headers, [body[i : i + split] for i in range(0, len(body), split)])


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
pieces = st.lists(words, min_size=1, max_size=4)
arguments = st.dictionaries(words, st.integers() | words, max_size=3)
part_lists = st.tuples(
    st.lists(pieces.map(lambda p: think(*p, ".")), max_size=1),
    st.lists(pieces.map(lambda p: text(*p, "!")), max_size=1),
    st.lists(arguments.map(lambda a: raw_call("tool_x", json.dumps(a), size=3)), max_size=3),
).map(lambda groups: [part for group in groups for part in group])


@given(parts=part_lists, split=st.integers(1, 60))
def test_served_whole_and_streamed_are_equal(parts: list[Any], split: int) -> None:
    """S1, S5."""
    made = response(*parts)
    a, b = served(made, True, split), served(made, False)
    assert a.error is None and a == b
    assert [type(p).__name__[:4] for p in parts] == [{"Thinking": "Thin", "Text": "Text", "ToolCall": "Call"}[type(x).__name__] for x in a.message.content]  # fmt: skip


def test_what_the_api_cannot_say_is_left_out_or_said_otherwise() -> None:
    made = response(redacted("c2VhbGVk"), text("Hi"), raw_call("w", '{"ci', 'ty": '), call("x"), stop="length")
    for streamed in (True, False):
        done = served(made, streamed)
        assert [(c.name, c.arguments) for c in done.message.tool_calls] == [("w", '{"city": '), ("x", "{}")]
        assert done.message.stop_reason == "length" and done.message.text == "Hi"


def test_served_errors_and_missing_ends() -> None:
    """S3."""
    broken = response("Half", error_event("Too busy"), "never")
    assert served(broken, True).error.message == served(broken, False).error.message == "Too busy"
    for missing in ("end", "terminator"):
        assert served(response("Hi", missing=missing), True).error.code == "truncated"

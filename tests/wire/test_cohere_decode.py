"""Answers of Cohere's chat API, by hazard: splits, truncation, usage, both forms of an answer, plans, citations, errors, garbage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Native, Opaque, Text, Thinking
from turnwise.core.decoded import BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.testing import error_event, raw_call, redacted, reply, text, think
from turnwise.wire import codec, decoder, read_response
from turnwise.wire.cohere import fold as cohere_fold
from turnwise.wire.serve import Exchange, Response, serve_codec

API = "cohere.v2.chat"
FOLDER = Path(__file__).parent / "fixtures" / "cohere"
NAMES = ("text", "tools", "reasoning")
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
DONE = b"data: [DONE]\n\n"
EXCHANGE = Exchange(number=7, model="m", created=1_750_000_000, request_bytes=400)


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def whole(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def start(index: int, kind: str = "text") -> dict[str, Any]:
    return {"type": "content-start", "index": index, "delta": {"message": {"content": {"type": kind, kind: ""}}}}


def more(index: int, said: str, kind: str = "text") -> dict[str, Any]:
    return {"type": "content-delta", "index": index, "delta": {"message": {"content": {kind: said}}}}


def call(index: int, fragment: str | None = None, **made: Any) -> dict[str, Any]:
    if fragment is None:
        made = {"id": f"c{index}", "type": "function", "function": {"name": "weather", "arguments": ""}, **made}
        return {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": made}}}
    made = {"function": {"arguments": fragment}}
    return {"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": made}}}


def end(reason: str | None = "COMPLETE", **fields: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": reason, **fields}}


def sse(*made: Any, done: bool = True) -> bytes:
    written = b"".join(b"event: %s\ndata: %s\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in made)
    return written + DONE if done else written


def events(chunks: list[bytes], status: int = 200, headers: dict[str, str] = SSE) -> list[Any]:
    made = decoder(API, status, headers)
    out: list[Any] = []
    for data in chunks:
        out += made.feed(data)
    return out + made.finish()


def bytewise(body: bytes) -> list[bytes]:
    return [bytes([b]) for b in body]


def read(body: bytes, status: int = 200, headers: dict[str, str] = SSE) -> Any:
    return read_response(API, status, headers, [body])


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    assert not any(type(e) in (ResponseEnded, ResponseFailed) for e in found[:-1])
    return found[-1]


# --- what an answer says ---


def test_events_of_a_text() -> None:
    assert events([stream("text")]) == [
        ResponseStarted("", "c-text"),
        TextDelta("Grüße"),
        TextDelta(" aus 🇳🇴"),
        TextDelta(" – tørt."),
        ResponseEnded("stop", "COMPLETE", Usage(42, 9, 32)),
    ]


def test_events_of_a_plan_and_calls() -> None:
    """T4, T5: the plan is reasoning that is known for a plan; calls are counted by us."""
    made = codec(API).decoder(200, SSE, step="t4.s2", attempt=3)
    assert made.feed(stream("tools")) + made.finish() == [
        ResponseStarted("", "c-tools"),
        ThinkingDelta("I will", 0, 3),
        ThinkingDelta(" ask twice.", 0, 3),
        ToolCallStarted("t4.s2.c0", "weather", 1, 3, "weather_k3x9"),
        ToolCallDelta('{"ci', 1, 3),
        ToolCallDelta('ty": "Oslo"}', 1, 3),
        ToolCallStarted("t4.s2.c1", "weather", 2, 3, "weather_p7q2"),
        ToolCallDelta('{"city":"Bergen","days":3}', 2, 3),
        BlockSealed(0, origin="cohere", native=Native("cohere", '{"type":"tool_plan"}')),
        ResponseEnded("tool_calls", "TOOL_CALL", Usage(90, 31, 16)),
    ]


def test_reasoning_and_citations() -> None:
    """T5: citations stand with the text that they are of, whole."""
    thought, said = read(stream("reasoning")).message.content
    assert thought == Thinking("The tool said rain.", origin="cohere")
    assert said.text == "Rain in Oslo." and said.native.origin == "cohere"
    cited = json.loads(said.native.data)["citations"]
    assert cited == json.loads(whole("reasoning"))["message"]["citations"]
    assert read(stream("reasoning")).usage == Usage(70, 40, 0, None, 25)


@pytest.mark.parametrize("name", NAMES)
def test_whole_and_streamed_are_equal(name: str) -> None:
    """S5."""
    a, b = read(stream(name)), read(whole(name), headers=JSON)
    assert a.error is None and a == b


@pytest.mark.parametrize("headers", [{}, JSON, SSE, {"content-type": "text/plain"}])
@pytest.mark.parametrize("name", NAMES)
def test_content_types_may_be_wrong(name: str, headers: dict[str, str]) -> None:
    assert read(stream(name), headers=headers) == read(whole(name), headers=headers) == read(stream(name))


def test_interleaved_calls_and_content() -> None:
    """S6: content and calls are counted apart, and fragments go to their own."""
    body = sse(start(0), more(0, "a"), call(0), call(1), call(0, '{"a'), call(1, "{"), call(0, '":1}'), call(1, "}"), more(0, "b"), end())  # fmt: skip
    message = read(body).message
    assert [(c.provider_id, c.arguments) for c in message.tool_calls] == [("c0", '{"a":1}'), ("c1", "{}")]
    assert message.text == "ab"


def test_citations_of_several_texts() -> None:
    """Those that name no content, or none that is text, are of the last text."""
    places: tuple[Any, ...] = (2, 0, None, 1, 9, "odd")
    cited = [{"start": n, "end": n + 1, "content_index": place} for n, place in enumerate(places)]
    content = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}, {"type": "text", "text": "c"}]
    body = {"id": "x", "message": {"content": content, "citations": cited}, "finish_reason": "COMPLETE"}
    first, _, last = read(json.dumps(body).encode(), headers=JSON).message.content
    assert [[c["start"] for c in json.loads(t.native.data)["citations"]] for t in (first, last)] == [
        [1],
        [0, 2, 3, 4, 5],
    ]


def test_content_of_unknown_types_is_kept() -> None:
    strange = {"type": "image", "image": {"url": "x"}, "text": {"a": 1}}
    streamed = sse(
        {**start(0), "delta": {"message": {"content": strange}}}, more(0, "?"), start(1), more(1, "x"), end()
    )
    body = {"id": None, "message": {"content": [strange, {"type": "text", "text": "x"}]}, "finish_reason": "COMPLETE"}
    for done in (read(streamed), read(json.dumps(body).encode(), headers=JSON)):
        kept, said = done.message.content
        assert type(kept) is Opaque and json.loads(kept.native.data) == strange
        assert said == Text("x")


def test_an_index_that_begins_anew_is_a_new_block() -> None:
    strange = {**start(0), "delta": {"message": {"content": {"type": "image"}}}}
    body = sse(start(0), more(0, "a"), strange, more(0, "?"), start(0), more(0, "b"), more(0, "c"), end())
    for chunks in ([body], bytewise(body)):
        said = read_response(API, 200, SSE, chunks).message.content
        assert [getattr(b, "text", "-") for b in said] == ["a", "-", "bc"]


@pytest.mark.parametrize("arguments", ["", " ", '{"ci', "[1]", "null", '{"a":"🇳🇴\u2028"}'])
def test_arguments_are_kept_as_they_are(arguments: str) -> None:
    """E2."""
    assert read(sse(call(0), call(0, arguments), end("TOOL_CALL"))).message.tool_calls[0].arguments == arguments
    assert read(sse(call(0, function={"name": "a", "arguments": arguments}), end())).message.tool_calls[0].arguments == arguments  # fmt: skip


def test_content_that_never_began_and_kinds_that_change() -> None:
    body = sse(more(0, "a"), more(0, "b", "thinking"), more(0, "c"), end())
    assert [(type(b), b.text) for b in read(body).message.content] == [(Text, "a"), (Thinking, "b"), (Text, "c")]


# --- splits and truncation ---


@pytest.mark.parametrize("name", NAMES)
def test_same_events_at_every_split(name: str) -> None:
    """S1."""
    crlf = stream(name).replace(b"\n", b"\r\n")
    for body, headers in ((stream(name), SSE), (whole(name), JSON), (crlf, SSE)):
        expected = events([body], headers=headers)
        assert events(bytewise(body), headers=headers) == expected
        for cut in range(len(body)):
            assert events([body[:cut], body[cut:]], headers=headers) == expected
    assert events([crlf]) == events([stream(name)])


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_before_the_end_is_a_truncation(name: str) -> None:
    """S3: an answer is whole with `message-end`, `[DONE]` or not."""
    body = stream(name)
    ended = body.index(DONE)
    for cut in range(1, ended - 2):
        assert failure(events([body[:cut]])).error.code == "truncated", cut
    for cut in range(ended, len(body)):
        assert events([body[:cut]]) == events([body])
    document = whole(name).rstrip()
    for cut in range(1, len(document)):
        assert failure(events([document[:cut]], headers=JSON)).error.code == "truncated", cut


def test_done_alone_is_no_end() -> None:
    assert failure(events([sse(start(0), more(0, "x"))])).error.code == "truncated"


def test_what_follows_the_end_does_not_count() -> None:
    for tail in (b"garbage\n\n", sse(more(0, "more"))):
        assert events([stream("text") + tail]) == events([stream("text")])


# --- usage and stop reasons ---


@pytest.mark.parametrize(
    ("said", "usage"),
    [
        ({"tokens": {"input_tokens": 5.0, "output_tokens": 2}, "cached_tokens": 3}, Usage(5, 2, 3)),
        ({"tokens": {"input_tokens": 5, "output_tokens": 2, "image_tokens": 9}}, Usage(5, 2)),
        ({"billed_units": {"input_tokens": 5, "output_tokens": 2}}, None),
        ({"tokens": {"output_tokens": 2, "reasoning_tokens": 1}}, Usage(None, 2, None, None, 1)),
        ({"tokens": {"input_tokens": 1e300}}, Usage()),
        ({}, None),
        (None, None),
    ],
)
def test_usage(said: Any, usage: Usage | None) -> None:
    """S4: tokens, not billed units; what is not said is not zero."""
    assert read(sse(more(0, "x"), end(usage=said))).usage == usage
    body = {"message": {"content": [{"type": "text", "text": "x"}]}, "finish_reason": "COMPLETE", "usage": said}
    assert read(json.dumps(body).encode(), headers=JSON).usage == usage


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"),
        ("STOP_SEQUENCE", "stop_sequence"),
        ("TOOL_CALL", "tool_calls"),
        ("ERROR_TOXIC", "content_filter"),
        ("SOMETHING_NEW", "unknown"),
        (None, "unknown"),
    ],
)
def test_stop_reasons(raw: str | None, normal: str) -> None:
    message = read(sse(more(0, "x"), end(raw))).message
    assert (message.stop_reason, message.raw_stop_reason) == (normal, raw)


# --- errors ---


@pytest.mark.parametrize(
    ("last", "code", "message"),
    [
        (end("ERROR", error="invalid tool generation", error_type="INVALID_TOOL_GENERATION"), "server", "invalid tool generation"),
        (end("ERROR"), "server", "'ERROR'"),
        (end("TIMEOUT"), "provider_timeout", "'TIMEOUT'"),
        (end("COMPLETE", error="odd"), "server", "odd"),
        ({"type": "error", "message": "internal server error"}, "server", "internal server error"),
        ({"type": "x", "error": {"message": "broken"}}, "server", "broken"),
    ],
)  # fmt: skip
def test_errors_inside_a_stream(last: dict[str, Any], code: str, message: str) -> None:
    """S3: what came before them counts as a partial message."""
    body = sse(more(0, "Half"), last)
    for chunks in ([body], bytewise(body)):
        info = failure(events(chunks)).error
        assert (info.code, info.status) == (code, None) and message in info.message
    assert read(body).message.text == "Half"


def test_errors_without_an_event_name_or_type() -> None:
    assert failure(events([b'data: {"message":"too bad"}\n\n'])).error.message == "too bad"
    assert failure(events([b'{"message":"too bad"}'], headers=JSON)).error.message == "too bad"
    whole_error = {"message": {"role": "assistant"}, "finish_reason": "ERROR", "error": "too bad"}
    assert failure(events([json.dumps(whole_error).encode()], headers=JSON)).error.message == "too bad"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (401, "invalid api token", "auth"),
        (404, "model 'x' not found, make sure the correct model ID was used", "not_found"),
        (429, "You are past the per minute request limit, please wait and try again later.", "rate_limit"),
        (400, "too many tokens: size limit exceeded by 11326 tokens.", "context_overflow"),
        (422, "text content is not allowed when tool_calls are provided", "invalid_request"),
        (500, "internal server error", "server"),
        (503, "service unavailable", "overloaded"),
    ],
)
def test_errors_by_status(status: int, said: str, code: str) -> None:
    info = failure(events([json.dumps({"id": "x", "message": said}).encode()], status, JSON)).error
    assert (info.code, info.message, info.status) == (code, said, status)


# --- garbage ---


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"{}",
        b"[]",
        b'{"message":5}',
        b"data: {nope}\n\n",
        b'data: {"type":5}\n\n',
        b'data: {"type":"content-delta"}\n\n',
        b'data: {"type":"content-delta","index":"0","delta":{"message":{"content":{"text":"x"}}}}\n\n',
        b'data: {"type":"content-start","index":0,"delta":{"message":{"content":{"type":"text","text":5}}}}\n\n',
        b'data: {"type":"content-start","index":0,"delta":{"message":{"content":[]}}}\n\n',
        b'data: {"type":"tool-call-delta","index":3,"delta":{"message":{"tool_calls":{}}}}\n\n',
        b'data: {"type":"content-delta","index":0,"delta":' + b"[" * 200_000 + b"\n\n",
        b'{"message":{"content":[{"type":"text","text":5}]}}',
    ],
)
def test_garbage_is_a_protocol_error(body: bytes) -> None:
    """S8: never an exception, whatever the split."""
    failed = failure(events([body]))
    assert failed.error.code == ("truncated" if body == b"hello" else "protocol") and failed.error.message
    if len(body) < 1000:
        assert failure(events(bytewise(body))).error.code == failed.error.code


def test_bytes_that_are_no_utf8_in_a_citation_are_an_error() -> None:
    """S8: citations are kept as raw JSON, and looked into at the end; nothing is raised."""
    cited = b'data: {"type":"citation-start","index":0,"delta":{"message":{"citations":{"text":"\xcc"}}}}\n\n'
    body = sse(start(0), more(0, "x"), done=False) + cited + sse(end())
    assert failure(events([body])).error.code == failure(events(bytewise(body))).error.code == "protocol"


def test_unknown_events_and_fields_are_passed_over() -> None:
    """Events and fields that the API adds later change nothing; ends of parts and debug events say nothing."""
    extras = [
        {"type": "debug", "prompt": "x"},
        {"type": "new-thing", "index": "odd"},
        {"type": "content-end", "index": 0},
    ]
    again = {"type": "message-start", "id": "late"}
    body = sse(
        start(0), again, *extras, {**more(0, "x"), "new": 1, "logprobs": {}}, {"type": "citation-end"}, end(new=1)
    )
    assert read(body).message.text == "x" and ResponseStarted("", "late") not in events([body])


def test_citations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8."""
    monkeypatch.setattr(cohere_fold, "MAX_BODY_BYTES", 300)
    cited = {"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"text": "x" * 100}}}}
    assert failure(events([sse(more(0, "x"), cited, cited, cited, end())])).error.code == "protocol"


@examples(150)
@given(body=st.binary(max_size=200), cut=st.integers(0, 400), status=st.sampled_from([200, 400, 500]))
def test_any_bytes_end_with_one_answer(body: bytes, cut: int, status: int) -> None:
    """S8."""
    for given_body in (body, b"data: " + body + b"\n\n", stream("tools")[: len(body) * 6] + body):
        found = events([given_body[:cut], given_body[cut:]], status)
        assert sum(type(e) in (ResponseEnded, ResponseFailed) for e in found) == 1
        assert type(found[-1]) in (ResponseEnded, ResponseFailed)


_KEYS = "type index delta message content tool_calls function arguments text thinking tool_plan citations error usage tokens"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS.split()), inner, max_size=4),
    max_leaves=12,
)
kinds = st.sampled_from([*sorted(cohere_fold.KNOWN), "error", "debug"])


@examples(200)
@given(made=st.lists(st.tuples(kinds, json_values, json_values), max_size=4), split=st.integers(1, 60))
def test_any_json_ends_with_one_answer(made: list[Any], split: int) -> None:
    """S8, S1: values of the wrong type in the right places."""
    body = sse(*[{"type": kind, "index": index, "delta": {"message": delta}} for kind, index, delta in made], end())
    found = events([body])
    assert sum(type(e) in (ResponseEnded, ResponseFailed) for e in found) == 1
    assert events([body[i : i + split] for i in range(0, len(body), split)]) == found


# --- our own serving side ---


def response(*parts: Any, **more: Any) -> Response:
    made = reply(*parts, **more).answer
    assert isinstance(made, Response)
    return made


def served(made: Response, streamed: bool, split: int = 1 << 20) -> Any:
    side = serve_codec(API)
    body = b"".join(side.stream(made, EXCHANGE)) if streamed else side.body(made, EXCHANGE)
    headers = SSE if streamed else JSON
    return read_response(API, 200, headers, [body[i : i + split] for i in range(0, len(body), split)])


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
pieces = st.lists(words, min_size=1, max_size=4)
arguments = st.dictionaries(words, st.integers() | words, max_size=3)
part_lists = st.tuples(
    st.lists(pieces.map(lambda p: think(*p, ".")), max_size=1),
    st.lists(pieces.map(lambda p: text(*p, "!")), max_size=1),
    st.lists(arguments.map(lambda a: raw_call("tool_x", json.dumps(a), size=3)), max_size=3),
).map(lambda groups: [part for group in groups for part in group])


@given(parts=part_lists, interleaved=st.booleans(), split=st.integers(1, 60))
def test_served_whole_and_streamed_are_equal(parts: list[Any], interleaved: bool, split: int) -> None:
    """S1, S5, S6."""
    made = response(*parts, interleaved=interleaved)
    a, b = served(made, True, split), served(made, False)
    assert a.error is None and a == b
    assert len(a.message.content) == len(parts)


@pytest.mark.parametrize("normal", ["stop", "length", "tool_calls", "stop_sequence", "content_filter"])
def test_served_stop_reasons(normal: str) -> None:
    for streamed in (True, False):
        assert served(response("Hi", stop=normal), streamed).message.stop_reason == normal


def test_what_the_api_cannot_say_is_left_out() -> None:
    made = response(redacted("c2VhbGVk"), text("Hi"), raw_call("w", '{"ci', 'ty": '), usage=Usage(100, 20, 30, 10, 5))
    for streamed in (True, False):
        done = served(made, streamed)
        assert done.message.tool_calls[0].arguments == '{"city": ' and done.message.text == "Hi"
        assert done.usage == Usage(100, 20, 30, None, 5)


def test_served_errors_and_missing_ends() -> None:
    """S3."""
    broken = response("Half", error_event("Too busy"), "never")
    assert served(broken, True).error.message == served(broken, False).error.message == "Too busy"
    assert served(response("Hi", missing="end"), True).error.code == "truncated"
    assert served(response("Hi", missing="terminator"), True).error is None

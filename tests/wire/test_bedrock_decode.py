"""Converse answers, by hazard: splits, truncation, exceptions in the stream, usage, both forms of an answer, calls, garbage."""

from __future__ import annotations

import base64
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Image, Inline, Native, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import BlockAdded, BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.wire import codec, decoder, read_response
from turnwise.wire.framing.event_stream import write_message
from turnwise.wire.serve import (
    ApiError,
    CallPart,
    ErrorPart,
    Exchange,
    Part,
    Response,
    TextPart,
    ThinkingPart,
    serve_codec,
)

API = "bedrock.converse"
STREAM = {"content-type": "application/vnd.amazon.eventstream"}
JSON = {"content-type": "application/json", "x-amzn-requestid": "req-1"}
SERVE = serve_codec(API)
EXCHANGE = Exchange(1, "a-model", request_bytes=400)


@cache
def shapes() -> Any:
    spec = importlib.util.spec_from_file_location("botocore_shapes", Path(__file__).with_name("botocore_shapes.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def event(kind: str, **document: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return write_message(headers, json.dumps({**document, "p": "abcdefg"}).encode())


def exception(kind: str, **document: Any) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return write_message(headers, json.dumps(document).encode())


def delta(index: int, **kind: Any) -> bytes:
    return event("contentBlockDelta", contentBlockIndex=index, delta=kind)


def text(words: str, index: int = 0) -> bytes:
    return delta(index, text=words)


def block_start(index: int, **kind: Any) -> bytes:
    return event("contentBlockStart", contentBlockIndex=index, start=kind)


def block_stop(index: int) -> bytes:
    return event("contentBlockStop", contentBlockIndex=index)


START = event("messageStart", role="assistant")
STOP = event("messageStop", stopReason="end_turn")
COUNTS = {"inputTokens": 7, "outputTokens": 3, "totalTokens": 10}
META = event("metadata", usage=COUNTS, metrics={"latencyMs": 12})


def stream(*parts: bytes) -> bytes:
    return b"".join([START, *parts, STOP, META])


def document(*content: Any, stop: str = "end_turn", usage: Any = COUNTS) -> bytes:
    message = {"role": "assistant", "content": list(content)}
    return json.dumps(
        {"metrics": {"latencyMs": 5}, "output": {"message": message}, "stopReason": stop, "usage": usage}
    ).encode()


def events(chunks: list[bytes], status: int = 200, headers: dict[str, str] = STREAM) -> list[Any]:
    made = decoder(API, status, headers)
    out: list[Any] = []
    for chunk in chunks:
        out += made.feed(chunk)
    return out + made.finish()


def read(body: bytes, status: int = 200, headers: dict[str, str] = STREAM):
    return read_response(API, status, headers, [body])


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    return found[-1]


STREAMS: dict[str, bytes] = {
    "text": stream(text("Grü"), text("ße 🌸"), text("\u2028"), block_stop(0)),
    "tools": stream(
        text("Looking."),
        block_stop(0),
        block_start(1, toolUse={"toolUseId": "tooluse_a", "name": "weather"}),
        delta(1, toolUse={"input": ""}),
        delta(1, toolUse={"input": '{"city":"Os'}),
        delta(1, toolUse={"input": 'lo"}'}),
        block_stop(1),
        block_start(2, toolUse={"toolUseId": "tooluse_b", "name": "clock"}),
        delta(2, toolUse={"input": ""}),
        block_stop(2),
    ),
    "thinking": stream(
        delta(0, reasoningContent={"text": "Two and "}),
        delta(0, reasoningContent={"text": "two."}),
        delta(0, reasoningContent={"signature": "c2VhbA=="}),
        block_stop(0),
        delta(1, reasoningContent={"redactedContent": "c2VjcmV0"}),
        block_stop(1),
        text("Four.", 2),
        block_stop(2),
    ),
    "server tools": stream(
        block_start(0, toolUse={"toolUseId": "s", "name": "nova_code_interpreter", "type": "server_tool_use"}),
        delta(0, toolUse={"input": '{"snippet":'}),
        delta(0, toolUse={"input": '"1+1"}'}),
        block_stop(0),
        block_start(1, toolResult={"toolUseId": "s", "status": "success", "type": "nova_code_interpreter_result"}),
        delta(1, toolResult=[{"json": {"stdOut": "2", "big": 123456789012345678901234567890}}]),
        block_stop(1),
        text("Two", 2),
        delta(2, citation={"title": "t", "location": {"web": {"url": "https://e.example"}}}),
        block_stop(2),
        delta(3, citation={"title": "u"}),
        block_stop(3),
    ),
}
DOCUMENTS: dict[str, bytes] = {
    "text": document({"text": "Grüße 🌸\u2028"}),
    "tools": document(
        {"text": "Looking."},
        {"toolUse": {"input": {"city": "Oslo"}, "name": "weather", "toolUseId": "tooluse_a", "type": "tool_use"}},
        {"toolUse": {"toolUseId": "tooluse_b", "name": "clock", "input": {}}},
    ).replace(b'{"city": "Oslo"}', b'{"city":"Oslo"}'),
    "thinking": document(
        {"reasoningContent": {"reasoningText": {"signature": "c2VhbA==", "text": "Two and two."}}},
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"text": "Four."},
    ),
    "server tools": document(
        {
            "toolUse": {
                "input": {"snippet": "1+1"},
                "name": "nova_code_interpreter",
                "toolUseId": "s",
                "type": "server_tool_use",
            }
        },
        {
            "toolResult": {
                "content": [{"json": {"stdOut": "2", "big": 123456789012345678901234567890}}],
                "status": "success",
                "toolUseId": "s",
                "type": "nova_code_interpreter_result",
            }
        },
        {
            "citationsContent": {
                "content": [{"text": "Two"}],
                "citations": [{"location": {"web": {"url": "https://e.example"}}, "title": "t"}],
            }
        },
        {"citationsContent": {"citations": [{"title": "u"}]}},
    ),
}


# --- what an answer says ---


def test_events_of_a_text() -> None:
    assert events([stream(text("Hel"), text(""), text("lo"), block_stop(0))], headers={"x-amzn-requestid": "r"}) == [
        ResponseStarted("", "r"),
        TextDelta("Hel", 0),
        TextDelta("lo", 0),
        ResponseEnded("stop", "end_turn", Usage(7, 3)),
    ]


def test_events_of_calls() -> None:
    """Ids are ours, the provider's stand beside (T4); a call without arguments has none (E2)."""
    made = codec(API).decoder(200, STREAM, step="t3.s1", attempt=2)
    found = [*made.feed(STREAMS["tools"]), *made.finish()]
    assert found[:-1] == [
        TextDelta("Looking.", 0, 2),
        ToolCallStarted("t3.s1.c0", "weather", 1, 2, "tooluse_a"),
        ToolCallDelta('{"city":"Os', 1, 2),
        ToolCallDelta('lo"}', 1, 2),
        ToolCallStarted("t3.s1.c1", "clock", 2, 2, "tooluse_b"),
        ToolCallDelta("{}", 2, 2),
    ]


def test_blocks_of_thinking() -> None:
    """T5: order, text and seals of reasoning survive, also of redacted reasoning."""
    message = read(STREAMS["thinking"]).message
    assert message is not None
    assert message.content == (
        Thinking("Two and two.", "c2VhbA==", False, "bedrock"),
        Thinking("", "c2VjcmV0", True, "bedrock"),
        Text("Four."),
    )


def test_sealed_reasoning_in_pieces() -> None:
    pieces = [base64.b64encode(p).decode() for p in (b"abcd", b"efg")]
    body = stream(*[delta(0, reasoningContent={"redactedContent": p}) for p in pieces], text("x", 1))
    message = read(body).message
    assert message is not None
    assert message.content[0] == Thinking("", base64.b64encode(b"abcdefg").decode(), True, "bedrock")


def test_what_bedrock_runs_itself_is_kept_whole() -> None:
    """T5: calls, results and citations, in order, numbers as they were written."""
    message = read(STREAMS["server tools"]).message
    assert message is not None
    call, result, cited, alone = message.content
    assert isinstance(call, Opaque) and isinstance(result, Opaque) and isinstance(cited, Text)
    assert json.loads(call.native.data)["toolUse"]["input"] == {"snippet": "1+1"}
    assert "123456789012345678901234567890" in result.native.data
    assert cited.native == Native(
        "bedrock", '{"citations":[{"location":{"web":{"url":"https://e.example"}},"title":"t"}]}'
    )
    assert alone == Text("", Native("bedrock", '{"citations":[{"title":"u"}]}'))


def test_pictures() -> None:
    data = [base64.b64encode(p).decode() for p in (b"\x89PNG", b"rest")]
    parts = [delta(0, image={"source": {"bytes": d}}) for d in data]
    streamed = read(stream(block_start(0, image={"format": "png"}), *parts, block_stop(0))).message
    joined = base64.b64encode(b"\x89PNGrest").decode()
    whole = read(document({"image": {"format": "png", "source": {"bytes": joined}}}), headers=JSON).message
    assert streamed is not None and whole is not None
    assert streamed.content == whole.content == (Image(Inline(b"\x89PNGrest", "image/png")),)


@pytest.mark.parametrize(
    ("word", "normal"),
    [
        ("end_turn", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("stop_sequence", "stop_sequence"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
        ("malformed_tool_use", "unknown"),
        ("a_word_of_the_future", "unknown"),
    ],
)
def test_stop_reasons(word: str, normal: str) -> None:
    for found in (
        events([START + event("messageStop", stopReason=word)]),
        events([document({"text": "x"}, stop=word)], headers=JSON),
    ):
        assert (found[-1].stop_reason, found[-1].raw_stop_reason) == (normal, word)


# --- S1: splits ---


@pytest.mark.parametrize("name", STREAMS)
def test_split_at_every_byte(name: str) -> None:
    """S1."""
    for body, headers in ((STREAMS[name], STREAM), (DOCUMENTS[name], JSON)):
        expected = events([body], headers=headers)
        assert len(expected) > 2 and type(expected[-1]) is ResponseEnded
        for cut in range(len(body) + 1):
            assert events([body[:cut], body[cut:]], headers=headers) == expected
        assert events([body[i : i + 1] for i in range(len(body))], headers=headers) == expected


# --- S5: both forms ---


@pytest.mark.parametrize("name", STREAMS)
def test_both_forms_of_an_answer_are_one_message(name: str) -> None:
    """S5."""
    streamed, whole = read(STREAMS[name]), read(DOCUMENTS[name], headers=JSON)
    assert streamed.message is not None and whole.message is not None
    assert streamed.message.content == whole.message.content
    assert streamed.usage == whole.usage == Usage(7, 3)


FRAGMENTS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), min_size=1, max_size=4).map(tuple)
ARGUMENTS = st.sampled_from(['{"a":1}', '{"city":"東京"}', "{}", '{"a":{"b":[1,2]}}']).flatmap(
    lambda a: st.integers(1, len(a)).map(lambda n: tuple(a[i : i + n] for i in range(0, len(a), n)))
)
SEALS = st.sampled_from(["c2lnbmVk", None])
PARTS: st.SearchStrategy[Part] = st.one_of(
    FRAGMENTS.map(TextPart),
    st.builds(ThinkingPart, FRAGMENTS, SEALS),
    st.just(ThinkingPart(("c2VjcmV0",), None, True)),
    st.builds(CallPart, st.sampled_from(["f", "g-h_1"]), ARGUMENTS),
)


@given(st.lists(PARTS, max_size=5), st.booleans(), st.lists(st.floats(0, 1), max_size=5))
@examples(200)
def test_served_answers_say_the_same_in_both_forms(parts: list[Part], interleaved: bool, cuts: list[float]) -> None:
    """S5, S6, S1: whatever a model says, with calls taking turns, cut anywhere."""
    response = Response(tuple(parts), interleaved=interleaved, usage=Usage(100, 20, 30, 10))
    body = b"".join(SERVE.stream(response, EXCHANGE))
    places = sorted([round(c * len(body)) for c in cuts])
    chunks = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    streamed = read_response(API, 200, STREAM, chunks)
    whole = read(SERVE.body(response, EXCHANGE), headers=JSON)
    assert streamed.error is None and whole.error is None
    assert streamed.message is not None and whole.message is not None
    assert streamed.message.content == whole.message.content
    assert streamed.message.stop_reason == whole.message.stop_reason
    assert streamed.usage == whole.usage == Usage(100, 20, 30, 10)


def test_served_answers_are_what_aws_says() -> None:
    """By botocore's reader and AWS's own model of events, answers and exceptions."""
    parts = (
        ThinkingPart(("Hm", "."), "c2VhbA=="),
        ThinkingPart(("c2VjcmV0",), None, True),
        TextPart(("a", "b")),
        CallPart("f", ('{"a"', ":1}")),
        CallPart("g", ("{}",)),
    )
    response = Response(parts, interleaved=True, usage=Usage(100, 20, 30, 10))
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(SERVE.stream(response, EXCHANGE)))
    found = [(m.headers[":event-type"], json.loads(m.payload)) for m in buffer]
    assert [p for kind, body in found for p in shapes().problems_of_event(kind, body)] == []
    assert [kind for kind, _ in found][-2:] == ["messageStop", "metadata"]
    assert shapes().problems_of_answer(json.loads(SERVE.body(response, EXCHANGE))) == []
    buffer.add_data(SERVE.error_event(ApiError(429, "Slow."), EXCHANGE))
    assert shapes().problems_of_event(next(buffer).headers[":exception-type"], {"message": "Slow."}) == []


def test_arguments_that_are_not_json() -> None:
    """E2: as text in a stream, as a string in a document; never an object."""
    response = Response((CallPart("f", ('{"a":',)),))
    for body, headers in (
        (b"".join(SERVE.stream(response, EXCHANGE)), STREAM),
        (SERVE.body(response, EXCHANGE), JSON),
    ):
        message = read(body, headers=headers).message
        assert message is not None
        arguments = message.tool_calls[0].arguments
        assert '{"a":' in arguments.replace("\\", "")
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(arguments, type=dict)


# --- S3: what ends too early, and what fails in the middle ---


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_cut_anywhere_is_truncated(name: str) -> None:
    """S3: whatever is missing, the answer is never taken for whole; once all is said, only the counts may be missing."""
    body = STREAMS[name]
    said = len(body) - len(META)
    for cut in range(1, said):
        assert failure(events([body[:cut]])).error.code == "truncated"
    for cut in range(said, len(body)):
        last = events([body[:cut]])[-1]
        assert last == ResponseEnded("stop", "end_turn", None)


@pytest.mark.parametrize("cut", [1, 40, 120])
def test_a_document_cut_short_is_truncated(cut: int) -> None:
    """S3."""
    assert failure(events([DOCUMENTS["text"][:cut]], headers=JSON)).error.code == "truncated"


@pytest.mark.parametrize("missing", ["terminator", "end"])
def test_an_answer_without_its_end(missing: Any) -> None:
    """S3, S4: what was counted before it broke off counts."""
    body = b"".join(SERVE.stream(Response((TextPart(("a",)),), missing=missing, usage=Usage(5, 1)), EXCHANGE))
    last = failure(events([body]))
    assert last.error.code == "truncated"
    assert last.usage == (Usage(5, 1, provenance="partial") if missing == "terminator" else None)


@pytest.mark.parametrize(
    ("kind", "code", "retryable"),
    [
        ("throttlingException", "rate_limit", True),
        ("serviceUnavailableException", "overloaded", True),
        ("internalServerException", "server", True),
        ("modelStreamErrorException", "server", True),
        ("modelTimeoutException", "provider_timeout", True),
        ("validationException", "invalid_request", False),
    ],
)
def test_exceptions_in_a_stream(kind: str, code: str, retryable: bool) -> None:
    """S3: nothing follows one; what was said before stays."""
    found = events([START + text("half") + exception(kind, message="no more") + text("late") + STOP + META])
    assert found[0] == TextDelta("half", 0)
    last = failure(found).error
    assert (last.code, last.retryable, last.message, last.detail) == (code, retryable, "no more", kind)
    assert last.status is None and len(found) == 2


def test_an_overflow_in_a_stream() -> None:
    """Told apart from other refusals by its wording."""
    error = exception(
        "validationException", message="The model returned the following errors: prompt is too long: 9 > 8"
    )
    assert failure(events([START + error])).error.code == "context_overflow"


def test_an_error_of_the_models_own_server() -> None:
    error = exception("modelStreamErrorException", message="failed", originalMessage="CUDA", originalStatusCode=500)
    assert failure(events([START + error])).error.message == "failed (CUDA)"


def test_errors_without_a_shape() -> None:
    """S3: the format has errors beside the API's own exceptions."""
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "Something broke."}
    last = failure(events([START + write_message(headers, b"")])).error
    assert (last.code, last.message, last.detail) == ("server", "Something broke.", "InternalError")


def test_an_error_after_the_end() -> None:
    """S3: until the counts have come, an exception is one."""
    assert failure(events([START + text("a") + STOP + exception("throttlingException", message="m")])).error.code
    assert type(events([stream(text("a")) + exception("throttlingException", message="m")])[-1]) is ResponseEnded


def test_served_errors() -> None:
    """As the serving side writes them, in a stream and in place of an answer."""
    error = ApiError(429, "Too many tokens, please wait before trying again.")
    body = b"".join(SERVE.stream(Response((TextPart(("a",)), ErrorPart(error))), EXCHANGE))
    assert failure(events([body])).error.code == "rate_limit"
    for status, code in (
        (403, "permission"),
        (404, "not_found"),
        (429, "rate_limit"),
        (500, "server"),
        (503, "overloaded"),
    ):
        made = ApiError(status)
        headers = {**JSON, **SERVE.error_headers(made)}
        last = failure(events([SERVE.error_body(made, EXCHANGE)], status, headers)).error
        assert (last.code, last.status) == (code, status) and last.detail.endswith("Exception")


@pytest.mark.parametrize(
    ("status", "headers", "body", "code", "detail"),
    [
        (403, {"x-amzn-errortype": "ExpiredTokenException:http://x/"}, b'{"message":"expired"}', "auth", "ExpiredTokenException"),
        (403, {}, b'{"__type":"com.amazon.coral.service#UnrecognizedClientException","Message":"bad"}', "auth", "UnrecognizedClientException"),
        (403, {"x-amzn-errortype": "AccessDeniedException"}, b'{"Message":"no"}', "permission", "AccessDeniedException"),
        (400, {"x-amzn-errortype": "ServiceQuotaExceededException"}, b'{"message":"m"}', "quota", "ServiceQuotaExceededException"),
        (400, {"x-amzn-errortype": "ValidationException"}, b'{"message":"Input is too long for requested model."}', "context_overflow", "ValidationException"),
        (400, {"x-amzn-errortype": "ValidationException"}, b'{"message":"The provided model identifier is invalid."}', "not_found", "ValidationException"),
        (429, {"x-amzn-errortype": "ModelNotReadyException"}, b'{"message":"m"}', "overloaded", "ModelNotReadyException"),
        (429, {"retry-after": "3"}, b'{"message":"Too many requests"}', "rate_limit", ""),
        (424, {"x-amzn-errortype": "ModelErrorException"}, b'{"message":"m"}', "server", "ModelErrorException"),
        (502, {}, b"<html><title>Bad Gateway</title></html>", "server", ""),
        (500, {"x-amzn-errortype": "InternalServerException"}, b"", "server", "InternalServerException"),
    ],
)  # fmt: skip
def test_error_responses(status: int, headers: dict[str, str], body: bytes, code: str, detail: str) -> None:
    for chunks in ([body], [body[i : i + 1] for i in range(len(body))]):
        last = failure(events(chunks, status, headers)).error
        assert (last.code, last.status, last.detail) == (code, status, detail) and last.message
        assert last.retry_after_s == (3.0 if "retry-after" in headers else None)


def test_an_error_in_a_200() -> None:
    """S3."""
    last = failure(events([b'{"message":"Too many requests","__type":"ThrottlingException"}'], headers=JSON)).error
    assert (last.code, last.message) == ("rate_limit", "Too many requests")


# --- S4: usage ---


def test_cached_tokens_are_input() -> None:
    """S4: the API counts them apart; its doubled fields are passed over."""
    usage = {
        **COUNTS,
        "cacheReadInputTokens": 100,
        "cacheReadInputTokenCount": 100,
        "cacheWriteInputTokens": 20,
        "serverToolUsage": {},
    }
    for found in (
        events([START + STOP + event("metadata", usage=usage)]),
        events([document({"text": "x"}, usage=usage)], headers=JSON),
    ):
        assert found[-1].usage == Usage(127, 3, 100, 20)


def test_no_usage_is_no_zero() -> None:
    """S4."""
    assert events([START + STOP])[-1].usage is None
    assert events([document({"text": "x"}, usage=None)], headers=JSON)[-1].usage is None
    assert events([START + STOP + event("metadata", metrics={})])[-1].usage is None


def test_counts_before_the_end() -> None:
    found = events([START, text("a"), META, STOP, text("late")])
    assert found == [TextDelta("a", 0), ResponseEnded("stop", "end_turn", Usage(7, 3))]


# --- S8: what was not foreseen ---


def test_unknown_events_deltas_and_blocks() -> None:
    """What the API adds later is passed over, or kept whole."""
    body = stream(
        event("initial-response"),
        text("a"),
        delta(0, somethingNew={"x": 1}),
        text("b"),
        block_start(1, novelty={"title": "t", "size": 1}),
        delta(1, novelty={"size": 2, "input": "{}"}),
        block_start(2, text={}),
        text("c", 2),
        event("musing", thought="?"),
    )
    message = read(body).message
    assert message is not None
    first, new, last = message.content
    assert (first, last) == (Text("ab"), Text("c"))
    assert isinstance(new, Opaque) and new.kind == "novelty"
    assert json.loads(new.native.data) == {"novelty": {"title": "t", "size": 2, "input": {}}}
    whole = read(document({"novelty": {"title": "t"}}, {"text": "c"}), headers=JSON).message
    assert whole is not None and [type(b) for b in whole.content] == [Opaque, Text]


def test_blocks_that_are_not_ended() -> None:
    """A block ends where the next one of its index begins, or with the answer."""
    body = stream(
        delta(0, reasoningContent={"text": "Hm."}),
        text("a"),
        block_start(1, toolUse={"toolUseId": "i", "name": "f"}),
        delta(1, toolUse={"input": '{"x":1}'}),
        block_start(1, toolUse={"toolUseId": "i", "name": "g"}),
    )
    message = read(body).message
    assert message is not None
    assert message.content == (
        Thinking("Hm."),
        Text("a"),
        ToolCall("t0.s0.c0", "f", '{"x":1}', "i"),
        ToolCall("t0.s0.c1", "g", "{}", "i"),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        write_message({":event-type": "contentBlockDelta", ":message-type": "event"}, b"{"),
        write_message({":event-type": "contentBlockDelta", ":message-type": "event"}, b'{"delta":{"text":7}}'),
        write_message({":event-type": "messageStop", ":message-type": "event"}, b"{}"),
        delta(0, toolUse={"input": "{}"}),
        delta(0, image={"source": {"bytes": "AA=="}}) + block_start(1, image={"format": "png"})
        + delta(1, image={"source": {"bytes": "no base64!"}}) + block_stop(1),
        text("x")[:-1] + b"\x00",
    ],
)  # fmt: skip
def test_what_the_api_never_sends(wrong: bytes) -> None:
    """S8: a protocol error, the same at every split."""
    body = START + wrong + text("more") + STOP + META
    expected = events([body])
    assert failure(expected).error.code == "protocol"
    assert events([body[i : i + 1] for i in range(len(body))]) == expected


@pytest.mark.parametrize(
    "body", [b"", b"<html>busy</html>", b"[]", b'{"output":{}}', b'{"output":{"message":{"content":[{"text":1}]}}}']
)
def test_documents_that_are_no_answer(body: bytes) -> None:
    assert failure(events([body], headers=JSON)).error.code == "protocol"


def test_deep_json() -> None:
    """S8."""
    deep = b"[" * 100_000 + b"]" * 100_000
    body = START + write_message({":event-type": "contentBlockDelta", ":message-type": "event"}, deep)
    assert failure(events([body])).error.code == "protocol"
    nested = b'{"output":{"message":{"content":[{"toolUse":{"input":' + deep + b"}}]}}}"
    assert failure(events([nested], headers=JSON)).error.code == "protocol"


def test_huge_arguments() -> None:
    arguments = json.dumps({"text": "x" * 1_000_000})
    pieces = [arguments[i : i + 1000] for i in range(0, len(arguments), 1000)]
    body = stream(
        block_start(0, toolUse={"toolUseId": "i", "name": "f"}), *[delta(0, toolUse={"input": p}) for p in pieces]
    )
    message = read(body).message
    assert message is not None and message.tool_calls[0].arguments == arguments


def test_wrong_content_type() -> None:
    """Proxies get it wrong: the first byte decides."""
    for headers in ({"content-type": "text/html"}, {}):
        assert read(STREAMS["text"], headers=headers).error is None
        assert read(DOCUMENTS["text"], headers=headers).error is None
    assert read(DOCUMENTS["text"], headers=STREAM).error is None


GARBAGE = st.lists(
    st.binary(max_size=60)
    | st.sampled_from(
        [START, text("a"), STOP, META, block_start(0, toolUse={}), block_stop(0), b"{", DOCUMENTS["text"]]
    )
    | st.builds(
        lambda kind, payload: write_message({":event-type": kind, ":message-type": "event"}, payload),
        st.sampled_from(["contentBlockDelta", "contentBlockStart", "contentBlockStop", "messageStop", "metadata", "x"]),
        st.binary(max_size=40) | st.sampled_from([b"{}", b"null", b'{"delta":null}', b'{"start":{"image":1}}']),
    ),
    max_size=6,
)


@given(GARBAGE, st.sampled_from([200, 204, 400, 500]))
@examples(400)
def test_garbage(chunks: list[bytes], status: int) -> None:
    """S8, S1: never an exception, always one end, the same however it is split."""
    body = b"".join(chunks)
    expected = events([body], status)
    assert type(expected[-1]) in (ResponseEnded, ResponseFailed)
    assert not any(type(e) in (ResponseEnded, ResponseFailed) for e in expected[:-1])
    assert events([body[i : i + 1] for i in range(len(body))], status) == expected


def test_types_of_events_are_what_they_say() -> None:
    """The reducer is told each block once, with its seal."""
    kinds = [type(e) for e in events([STREAMS["thinking"]])]
    assert kinds == [ThinkingDelta, ThinkingDelta, BlockSealed, BlockAdded, TextDelta, ResponseEnded]

"""Responses of Google's generateContent, whole, as server-sent events and as a JSON array: what can go wrong on the way in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import Image, Inline, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import DecoderEvent, ResponseEnded, ResponseFailed
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta
from turnwise.core.messages import AssistantMessage
from turnwise.core.usage import Usage
from turnwise.testing import call, redacted, reply, text, think
from turnwise.wire import decoder, read_response
from turnwise.wire.base import ReadResponse
from turnwise.wire.serve import Exchange, Response, serve_codec

API = "gemini.streamGenerateContent"
FOLDER = Path(__file__).parent / "fixtures" / "gemini"
NAMES = ("text", "thinking", "tools", "server_tools", "image")
FORMS = ("sse", "array", "json")
SIG = "c2lnbmF0dXJlLW9uZQ=="
JSON = {"content-type": "application/json; charset=UTF-8"}
SSE = {"content-type": "text/event-stream"}


def body(name: str, form: str) -> bytes:
    return (FOLDER / f"{name}.{form}").read_bytes()


def read(
    data: bytes | list[bytes], status: int = 200, headers: dict[str, str] | None = None, api: str = API
) -> ReadResponse:
    return read_response(api, status, JSON if headers is None else headers, [data] if isinstance(data, bytes) else data)


def events_of(chunks: list[bytes], status: int = 200) -> list[DecoderEvent]:
    made = decoder(API, status, JSON)
    return joined([e for c in chunks for e in made.feed(c)] + made.finish())


def joined(events: list[DecoderEvent]) -> list[DecoderEvent]:
    """Neighbouring deltas of one block as one."""
    out: list[DecoderEvent] = []
    for event in events:
        last = out[-1] if out else None
        if type(event) is TextDelta and type(last) is TextDelta and event.block == last.block:
            out[-1] = TextDelta(last.text + event.text, event.block)
        elif type(event) is ThinkingDelta and type(last) is ThinkingDelta and event.block == last.block:
            out[-1] = ThinkingDelta(last.text + event.text, event.block)
        elif type(event) is ToolCallDelta and type(last) is ToolCallDelta and event.block == last.block:
            out[-1] = ToolCallDelta(last.arguments + event.arguments, event.block)
        else:
            out.append(event)
    return out


def message(data: bytes) -> AssistantMessage:
    done = read(data)
    assert done.error is None and done.message is not None
    return done.message


def sse(*documents: dict[str, Any]) -> bytes:
    return b"".join([b"data: " + json.dumps(d).encode() + b"\r\n\r\n" for d in documents])


def candidate(parts: list[dict[str, Any]], stop: str | None = None, **fields: Any) -> dict[str, Any]:
    ended = {"finishReason": stop} if stop else {}
    return {"candidates": [{"content": {"role": "model", "parts": parts}, **ended, "index": 0}], **fields}


# --- S1: however the bytes are split ---


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_split_at_every_byte(name: str, form: str) -> None:
    data = body(name, form)
    whole = events_of([data])
    assert isinstance(whole[-1], ResponseEnded)
    assert events_of([data[i : i + 1] for i in range(len(data))]) == whole
    for cut in range(1, len(data)):
        assert events_of([data[:cut], data[cut:]]) == whole, cut


@pytest.mark.parametrize(
    "change", [(b"\r\n", b"\n"), (b"\r\n", b"\r"), (b"data: ", b"data:"), (b"data: ", b": hi\r\ndata: ")]
)
def test_other_spellings_of_a_stream(change: tuple[bytes, bytes]) -> None:
    """S2"""
    data = body("tools", "sse")
    wanted, spelled = events_of([data]), data.replace(*change)
    for split in (len(spelled), 1, 7):
        assert events_of([spelled[i : i + split] for i in range(0, len(spelled), split)]) == wanted
    assert events_of([b"\xef\xbb\xbf" + spelled.rstrip()]) == wanted


# --- S5: streamed and whole say the same ---


@pytest.mark.parametrize("form", ["sse", "array"])
@pytest.mark.parametrize("name", NAMES)
def test_streamed_is_what_whole_is(name: str, form: str) -> None:
    streamed, whole = read(body(name, form)), read(body(name, "json"))
    assert streamed == whole and whole.message is not None and whole.message.model == "gemini-3-flash"


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)
texts = st.lists(words, min_size=1, max_size=3).map(lambda p: text(*p))
thoughts = st.tuples(words, st.none() | st.just(SIG)).map(lambda p: think(p[0], signature=p[1]))
calls = st.dictionaries(words, st.integers() | words, max_size=2).map(lambda a: call("look", a=a))
spoken = st.lists(texts | thoughts | calls | st.just(redacted(SIG)), max_size=6)


@given(parts=spoken, split=st.integers(1, 50), array=st.booleans(), interleaved=st.booleans())
@examples(60)
def test_what_is_served_comes_back_alike(parts: list[Any], split: int, array: bool, interleaved: bool) -> None:
    made = reply(*parts, interleaved=interleaved).answer
    assert isinstance(made, Response)
    served, exchange = (
        serve_codec("gemini.generateContent"),
        Exchange(3, "gemini-3-pro", query="alt=json" if array else "alt=sse"),
    )
    stream, whole = b"".join(served.stream(made, exchange)), served.body(made, exchange)
    assert stream.startswith(b"[") == array
    streamed = read([stream[i : i + split] for i in range(0, len(stream), split)])
    assert streamed == read(whole) and streamed.error is None
    said = streamed.message
    assert said is not None
    assert said.text == "".join(["".join(p.fragments) for p in parts if type(p).__name__ == "TextPart"])
    assert len(said.tool_calls) == sum(type(p).__name__ == "CallPart" for p in parts)


# --- what stands in a response ---


def test_calls_are_whole_numbered_and_signed() -> None:
    """T4, T5: ids are ours; the provider's is kept; a signature stays with its call."""
    said = message(body("tools", "json"))
    assert [type(b) for b in said.content] == [Text, ToolCall, ToolCall, ToolCall]
    first, second, third = said.tool_calls
    assert [c.id for c in said.tool_calls] == ["t0.s0.c0", "t0.s0.c1", "t0.s0.c2"]
    assert [c.provider_id for c in said.tool_calls] == [None, "k9", None]
    assert first.arguments == '{"city":"Oslo","days":[1,2.50]}', "numbers keep their spelling"
    assert json.loads(second.arguments) == {"city": 'Zürich \u2028 "x"'} and third.arguments == ""
    assert first.native is not None and json.loads(first.native.data) == {"thoughtSignature": SIG}
    assert second.native is not None and second.native.data == "{}" and third.native is None
    assert (said.stop_reason, said.raw_stop_reason) == ("tool_calls", "STOP")


def test_thoughts_are_thoughts() -> None:
    said = message(body("thinking", "sse"))
    thought, answer = said.content
    assert isinstance(thought, Thinking) and thought.text == "First I compare.\n\nThen I decide."
    assert thought.origin == "gemini" and said.text == "It is blue." and isinstance(answer, Text)
    assert said.usage == Usage(20, 35, 8, None, 31), "output with thoughts; counts that a later report leaves out stay"


def test_a_signature_seals_the_text_it_came_on() -> None:
    """T5: never moved to another part, and what follows is a part of its own."""
    parts = [{"text": "a"}, {"text": "b", "thoughtSignature": SIG}, {"text": "c"}, {"text": "d"}]
    split = sse(*[candidate([p]) for p in parts], candidate([{"text": ""}], "STOP"))
    for data in (json.dumps(candidate(parts, "STOP")).encode(), split):
        first, second = message(data).content
        assert isinstance(first, Text) and isinstance(second, Text)
        assert (first.text, second.text, second.native) == ("ab", "cd", None)
        assert first.native is not None and json.loads(first.native.data) == {"thoughtSignature": SIG}


def test_a_signature_without_text_is_kept() -> None:
    for carrier in ({"text": "", "thoughtSignature": SIG}, {"thoughtSignature": SIG}):
        parts: list[dict[str, Any]] = [{"functionCall": {"name": "f"}}, carrier]
        last = message(json.dumps(candidate(parts, "STOP")).encode()).content[-1]
        assert isinstance(last, Text) and last.text == "" and last.native is not None
    assert len(message(json.dumps(candidate([{}, {"text": "a"}], "STOP")).encode()).content) == 1


def test_what_google_runs_is_kept_to_be_returned() -> None:
    said = message(body("server_tools", "sse"))
    assert said.text == "I compute.It is 42." and not said.tool_calls
    kept = [b for b in said.content if isinstance(b, Opaque)]
    assert [b.kind for b in kept] == [
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
        "groundingMetadata",
    ]
    assert json.loads(kept[0].native.data)["thoughtSignature"] == SIG
    assert said.usage is not None and said.usage.input_tokens == 30


def test_images_are_images() -> None:
    said = message(body("image", "array"))
    image = said.content[1]
    assert isinstance(image, Image) and image.source == Inline(b"\x89PNG\r\n\x1a\n", "image/png")
    assert image.native is not None and json.loads(image.native.data) == {"thoughtSignature": SIG}
    broken = candidate(
        [{"inlineData": {"mimeType": "image/png", "data": "?"}}, {"inlineData": {"mimeType": "x/y", "data": ""}}],
        "STOP",
    )
    assert [type(b) for b in message(json.dumps(broken).encode()).content] == [Opaque, Opaque]


@pytest.mark.parametrize(
    ("raw", "normal"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "unknown"),
        ("OTHER", "unknown"),
        ("A_NEW_ONE", "unknown"),
    ],
)
def test_finish_reasons(raw: str, normal: str) -> None:
    said = message(sse({"candidates": [{"content": {}, "finishReason": raw, "finishMessage": "Because."}]}))
    assert (said.stop_reason, said.raw_stop_reason) == (normal, raw)
    assert [b.kind for b in said.content if isinstance(b, Opaque)] == ["finishMessage"]


def test_calls_that_were_cut_off_do_not_count_as_a_reason() -> None:
    """S7: the runtime does not run the calls of an answer that ends in another way."""
    call_part: list[dict[str, Any]] = [{"functionCall": {"name": "f", "args": {}}}]
    assert message(sse(candidate(call_part, "MAX_TOKENS"))).stop_reason == "length"
    assert message(sse(candidate(call_part, "SAFETY"))).stop_reason == "content_filter"
    assert message(sse(candidate(call_part, "UNEXPECTED_TOOL_CALL"))).stop_reason == "tool_calls"


def test_a_blocked_prompt_is_a_refusal_and_not_a_failure() -> None:
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 7},
        "modelVersion": "m",
    }
    for data in (json.dumps(blocked).encode(), sse(blocked), b"[" + json.dumps(blocked).encode() + b"]"):
        said = message(data)
        assert (said.stop_reason, said.raw_stop_reason, said.text) == ("content_filter", "SAFETY", "")
        assert said.usage == Usage(7, None)


def test_usage_is_read_to_the_end() -> None:
    """S4: counts after the finish reason count; what nobody said is None and not zero."""
    said = message(
        sse(candidate([{"text": "a"}], "STOP"), {"usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 9}})
    )
    assert said.usage == Usage(3, 9)
    assert message(sse(candidate([{"text": "a"}], "STOP"))).usage is None
    assert message(sse(candidate([{"text": "a"}], "STOP", usageMetadata={"promptTokenCount": "x"}))).usage is None
    cut = read(sse(candidate([{"text": "a"}], usageMetadata={"promptTokenCount": 3, "candidatesTokenCount": 1})))
    assert cut.usage == Usage(3, 1, provenance="partial")


@pytest.mark.parametrize(
    "left_out", ["promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount", "cachedContentTokenCount"]
)
def test_counts_that_a_later_report_leaves_out_stay(left_out: str) -> None:
    """S4: also while text is running."""
    counts = {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 3, "cachedContentTokenCount": 4}
    fewer = {name: n for name, n in counts.items() if name != left_out}
    chunks = [candidate([{"text": "a"}], usageMetadata=u) for u in (counts, counts, fewer)]
    assert message(sse(*chunks, candidate([{"text": ""}], "STOP"))).usage == Usage(9, 8, 4, None, 3)


def test_odd_arguments_and_names() -> None:
    parts = [
        {"functionCall": {"name": "f", "args": "not json"}},
        {"functionCall": {"name": "f", "args": [1]}},
        {"functionCall": {"args": {"a": 1}}},
    ]
    said = message(sse(candidate(parts, "STOP")))
    assert [(c.name, c.arguments) for c in said.tool_calls] == [("f", "not json"), ("f", "[1]"), ("", '{"a":1}')]


def test_unknown_things_are_passed_over() -> None:
    data = sse(
        {"brandNew": {"a": 1}},
        candidate([{"text": "a", "newField": {"b": 2}}], other=[1]),
        {"candidates": [{"index": 1, "content": {"parts": [{"text": "of another candidate"}]}}]},
        candidate([{"brandNewPart": {"c": 3}}], "STOP"),
    )
    said = message(data)
    assert said.text == "a" and [b.kind for b in said.content if isinstance(b, Opaque)] == ["brandNewPart"]
    assert read(sse(candidate([{"text": "a"}], "STOP")) + b"data: [DONE]\r\n\r\n").error is None


# --- S3: ends and errors ---


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NAMES)
def test_cut_anywhere_it_is_never_a_clean_end_with_parts_missing(name: str, form: str) -> None:
    data = body(name, form)
    whole = message(data)
    for cut in range(len(data)):
        done = read(data[:cut])
        if done.error is None:
            assert done.message is not None
            assert done.message.content == whole.content and done.message.stop_reason == whole.stop_reason, cut
        else:
            assert done.error.code in ("truncated", "protocol"), cut


def test_an_error_inside_a_stream() -> None:
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    for data in (
        sse(candidate([{"text": "Half"}]), error),
        json.dumps([candidate([{"text": "Half"}]), error]).encode(),
    ):
        done = read(data + b"never read")
        assert done.error is not None and done.message is not None
        assert (done.error.code, done.error.status, done.message.text) == ("overloaded", None, "Half")
        assert done.message.partial


@pytest.mark.parametrize(
    ("status", "error", "code", "retryable"),
    [
        (400, {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}, "auth", False),
        (400, {"message": "Please ensure that it is right.", "status": "INVALID_ARGUMENT"}, "invalid_request", False),
        (400, {"message": "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}, "context_overflow", False),
        (403, {"message": "Permission denied.", "status": "PERMISSION_DENIED"}, "permission", False),
        (404, {"message": "models/x is not found for API version v1beta.", "status": "NOT_FOUND"}, "not_found", False),
        (429, {"message": "Resource exhausted. Please try again later.", "status": "RESOURCE_EXHAUSTED"}, "rate_limit", True),
        (500, {"message": "Internal.", "status": "INTERNAL"}, "server", True),
        (503, {"message": "Overloaded.", "status": "UNAVAILABLE"}, "overloaded", True),
    ],
)  # fmt: skip
def test_errors_are_classified(status: int, error: dict[str, Any], code: str, retryable: bool) -> None:
    plain = json.dumps({"error": {"code": status, **error}}).encode()
    for data in (plain, b"[" + plain + b"\n]"):
        info = read(data, status).error
        assert info is not None
        assert (info.code, info.retryable, info.status, info.detail) == (code, retryable, status, error["status"])
        assert info.message == error["message"] and info.provider == "gemini"
    inside = read(plain).error
    assert inside is not None and (inside.code, inside.status) == (code, None)


def limited(*quotas: str) -> bytes:
    details = [
        {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": q} for q in quotas]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "24.5s"},
    ]
    error = {
        "code": 429,
        "message": "You exceeded your current quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": details,
    }
    return json.dumps({"error": error}).encode()


def test_how_long_to_wait_is_told_in_the_body() -> None:
    info = read(limited("GenerateContentInputTokensPerModelPerMinute-FreeTier"), 429).error
    assert info is not None and (info.code, info.retryable, info.retry_after_s) == ("rate_limit", True, 24.5)


def test_the_quota_of_the_day_does_not_come_back_by_waiting() -> None:
    quotas = ("GenerateRequestsPerMinutePerProjectPerModel", "GenerateRequestsPerDayPerProjectPerModel-FreeTier")
    info = read(limited(*quotas), 429).error
    assert info is not None and (info.code, info.retryable, info.retry_after_s) == ("quota", False, None)


# --- S8: garbage ---


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<html>no</html>",
        b"[1, 2]",
        b"[",
        b"{}",
        b"[]",
        b"[{}]",
        b"null",
        b'{"candidates": 1}',
        b'{"candidates": [{"content": {"parts": [7]}}]}',
        b'data: {"candidates": [{"content": {"parts": [{"text": 7}]}}]}\n\n',
        b'[{"a":' * 100_000,
        b"data: " + b'{"a":' * 100_000 + b"\n\n",
    ],
)
def test_what_is_no_answer_is_an_error(data: bytes) -> None:
    for api in (API, "vertex.generateContent"):
        error = read(data, api=api).error
        assert error is not None and error.code in ("protocol", "truncated") and error.message


@pytest.mark.parametrize(
    "candidate_text",
    [
        b'{"content":{"parts":[{"text":"a"},{"newKind":{"x":"\xcc"}}]}}',
        b'{"content":{"parts":[{"text":"a","newField":"\xcc"}]}}',
        b'{"content":{"parts":[{"functionCall":{"name":"f","args":{"x":"\xcc"}}}]}}',
        b'{"content":{"parts":[{"functionCall":{"name":"f","args":"\xcc"}}]}}',
        b'{"content":{"parts":[{"text":"a"}]},"groundingMetadata":{"x":"\xcc"},"finishReason":"STOP"}',
    ],
)
@pytest.mark.parametrize("form", ["sse", "array", "json"])
def test_bytes_that_are_no_utf8_in_what_is_kept_whole_are_an_error(candidate_text: bytes, form: str) -> None:
    """S8: what is kept as raw JSON may turn out to be unreadable late, even at the end; nothing is raised."""
    chunk = b'{"candidates":[' + candidate_text + b"]}"
    data = {"sse": b"data: " + chunk + b"\n\n", "array": b"[" + chunk + b"]", "json": chunk}[form]
    for chunks in ([data], [data[i : i + 1] for i in range(len(data))]):
        last = events_of(chunks)[-1]
        assert isinstance(last, ResponseFailed) and last.error.code == "protocol" and last.error.message


def test_streamed_arguments_that_nobody_asked_for_are_refused() -> None:
    part = {"functionCall": {"name": "f", "willContinue": True}}
    error = read(sse(candidate([part]))).error
    assert error is not None and error.code == "protocol" and "streamFunctionCallArguments" in error.message


def test_what_is_held_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnwise.wire.gemini.fold.MAX_BODY_BYTES", 200)
    many = [{"candidates": [{"citationMetadata": {"citations": [{"uri": f"https://{n}"}]}}]} for n in range(20)]
    error = read(sse(*many)).error
    assert error is not None and error.code == "protocol"


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["candidates", "content", "parts", "text", "functionCall", "args", "error", "usageMetadata", "thought", "finishReason", "promptFeedback", "blockReason", "name", "inlineData", "index"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    data=st.binary(max_size=60) | json_like.map(lambda v: json.dumps(v).encode()) | json_like.map(lambda v: b"data: " + json.dumps([v]).encode()[1:-1] + b"\r\n\r\n"),
    status=st.sampled_from([200, 200, 400, 503]),
    split=st.integers(1, 20),
)  # fmt: skip
@example(data=b"[" * 200_000, status=200, split=100_000)
@examples(200)
def test_no_bytes_raise_and_one_event_ends_it(data: bytes, status: int, split: int) -> None:
    chunks = [data[i : i + split] for i in range(0, len(data), split)]
    events = events_of(chunks, status)
    assert [type(e) in (ResponseEnded, ResponseFailed) for e in events] == [False] * (len(events) - 1) + [True]
    assert events_of([data], status) == events

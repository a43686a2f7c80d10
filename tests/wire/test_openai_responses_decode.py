"""Responses answers, by hazard: splits, truncation, usage, both forms of an answer, items, calls, errors, garbage."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response as SdkResponse
from openai.types.responses import ResponseStreamEvent
from pydantic import TypeAdapter
from tests.examples import examples

from turnwise.core.content import Image, Inline, Native, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import BlockSealed, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.usage import Usage
from turnwise.testing import call, error_event, raw_call, redacted, reply, text, think
from turnwise.wire import codec, decoder, read_response, reader
from turnwise.wire.framing import limits
from turnwise.wire.serve import ApiError, Exchange, Response, serve_codec

API = "openai.responses"
FOLDER = Path(__file__).parent / "fixtures" / "openai_responses"
NAMES = ("text", "tools", "reasoning", "server_tools", "refusal", "cut_off")
SSE = {"content-type": "text/event-stream; charset=utf-8"}
JSON = {"content-type": "application/json"}
USAGE = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
PHASE = '{"item":{"id":"msg_1","status":"completed","phase":"%s"},"part":{"type":"output_text","annotations":[],"logprobs":[]}}'


def stream(name: str) -> bytes:
    return (FOLDER / f"{name}.sse").read_bytes()


def whole(name: str) -> bytes:
    return (FOLDER / f"{name}.json").read_bytes()


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def delta(words: Any, index: int = 0, part: int = 0) -> dict[str, Any]:
    return event("output_text.delta", output_index=index, content_index=part, delta=words)


def item_done(item: Any, index: int = 0) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item=item)


def message_item(*texts: str, **fields: Any) -> dict[str, Any]:
    parts = [{"type": "output_text", "text": t, "annotations": []} for t in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": parts, **fields}


def end(status: str = "completed", **fields: Any) -> dict[str, Any]:
    said = {"id": "resp_1", "model": "m", "status": status, "usage": USAGE, **fields}
    return event(status if status in ("incomplete", "failed") else "completed", response=said)


def sse(*events: Any) -> bytes:
    return b"".join(b"event: x\ndata: " + json.dumps(e).encode() + b"\n\n" for e in events)


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


def message_of(*events: Any):
    found = read(sse(*events))
    assert found.message is not None and found.error is None
    return found.message


def failure(found: list[Any]) -> ResponseFailed:
    assert type(found[-1]) is ResponseFailed
    assert not any(type(e) in (ResponseEnded, ResponseFailed) for e in found[:-1])
    return found[-1]


@pytest.mark.parametrize("name", NAMES)
def test_the_fixtures_are_what_the_sdk_reads(name: str) -> None:
    """What the tests below stand on has the API's form."""
    SdkResponse.model_validate_json(whole(name))
    adapter = TypeAdapter[Any](ResponseStreamEvent)
    for line in stream(name).splitlines():
        if line.startswith(b"data: "):
            adapter.validate_json(line[6:])


# --- what a response says ---


def test_events_of_a_text() -> None:
    assert events([stream("text")]) == [
        ResponseStarted("gpt-5-mini", "resp_text"),
        TextDelta("Grüße"),
        TextDelta(" aus 🇳🇴"),
        TextDelta(" – tørt."),
        ResponseEnded("stop", "completed", Usage(42, 9, 32, 0, 0)),
    ]


def test_events_of_calls() -> None:
    """T4: ids and blocks count in order of appearance; a custom tool's call remembers that it is one, a phase stays."""
    made = codec(API).decoder(200, SSE, step="t4.s2", attempt=3)
    assert made.feed(stream("tools")) + made.finish() == [
        ResponseStarted("gpt-5-mini", "resp_tools"),
        TextDelta("Looking.", 0, 3),
        BlockSealed(0, native=Native(API, PHASE % "commentary")),
        ToolCallStarted("t4.s2.c0", "weather", 1, 3, "call_a"),
        ToolCallDelta('{"ci', 1, 3),
        ToolCallDelta('ty":"Oslo', 1, 3),
        ToolCallDelta('"}', 1, 3),
        ToolCallStarted("t4.s2.c1", "weather", 2, 3, "call_b"),
        ToolCallDelta('{"city":"Bergen"', 2, 3),
        ToolCallDelta(',"days":3}', 2, 3),
        ToolCallStarted("t4.s2.c2", "sum", 3, 3, "call_c"),
        ToolCallDelta("4 +", 3, 3),
        ToolCallDelta(" 4", 3, 3),
        BlockSealed(3, native=Native(API, '{"type":"custom_tool_call"}')),
        ToolCallStarted("t4.s2.c3", "now", 4, 3, "call_d"),
        ResponseEnded("tool_calls", "completed", Usage(80, 31, 0, 0, 0)),
    ]


def test_reasoning_keeps_its_seal() -> None:
    """T5: summaries are shown one after the other; item and seal are those of the item as it finally was."""
    message = read(stream("reasoning")).message
    assert message is not None
    first, second, answer = message.content
    assert isinstance(first, Thinking) and first.text == "**Sum**\n\nTwo and two is four."
    assert (first.signature, first.origin) == ("gAAAAABseal-one==", API)
    assert first.native is not None and first.native.origin == API
    item = json.loads(whole("reasoning"))["output"][0]
    assert json.loads(first.native.data) | {"encrypted_content": first.signature} == item
    assert isinstance(second, Thinking) and (second.text, second.signature) == ("", "gAAAAABseal-two==")
    assert answer == Text("Four.", Native(API, PHASE % "final_answer"))
    assert message.usage == Usage(12, 20, 0, 0, 15)


def test_reasoning_without_a_seal_is_shown_only() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}
    message = message_of(item_done(item), item_done(message_item("Yes"), 1), end())
    assert message.content == (Thinking("Hm.", None, False, API), Text("Yes"))


def test_open_reasoning_is_its_own_seal() -> None:
    """T5: hosts of open models send the reasoning itself, in full, and take it back."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
    pieces = [event("reasoning_text.delta", output_index=0, content_index=0, delta=d) for d in ("H", "m.")]
    message = message_of(event("output_item.added", output_index=0, item=item), *pieces, item_done(item), end())
    (thinking,) = message.content
    assert isinstance(thinking, Thinking) and thinking.text == "Hm." and thinking.native is not None
    assert json.loads(thinking.native.data) == item


def test_numbers_beyond_64_bits_are_kept() -> None:
    """S8: they can be read, and go back as they came."""
    for kind in ("new", "reasoning", "function_call"):
        item = {"type": kind, "id": "x", "encrypted_content": "s", "list": [10**30, 1, True, None, {"n": -(10**20)}]}
        (block,) = message_of(item_done(item), end()).content
        assert isinstance(block, Opaque | Thinking | ToolCall) and block.native is not None
        assert json.loads(block.native.data)["list"] == item["list"]


def test_what_the_provider_ran_is_kept() -> None:
    message = read(stream("server_tools")).message
    assert message is not None
    thinking, search, picture, first, second = message.content
    items = json.loads(whole("server_tools"))["output"]
    assert isinstance(thinking, Thinking) and thinking.signature == items[0]["encrypted_content"]
    assert (
        isinstance(search, Opaque) and search.kind == "web_search_call" and json.loads(search.native.data) == items[1]
    )
    assert isinstance(picture, Image) and picture.source == Inline(b"RIFF\x01\x02\x03\x04", "image/webp")
    assert picture.native is not None
    assert json.loads(picture.native.data) | {"result": "UklGRgECAwQ="} == items[2]
    assert (
        isinstance(first, Text)
        and first.native is not None
        and first.text + getattr(second, "text", "") == "Rain and wind."
    )
    assert json.loads(first.native.data)["part"]["annotations"] == items[3]["content"][0]["annotations"]


def test_a_picture_that_is_no_base64_stays_opaque() -> None:
    for result in (None, "", "AB", "QUJD\n", "QQ=\u00e9", 7):
        item = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": result}
        (block,) = message_of(item_done(item), end()).content
        assert isinstance(block, Opaque) and json.loads(block.native.data) == item


def test_a_refusal_is_no_text_and_not_lost() -> None:
    message = read(stream("refusal")).message
    assert message is not None and message.text == "" and message.stop_reason == "refusal"
    (block,) = message.content
    assert isinstance(block, Opaque) and block.kind == "refusal"
    assert json.loads(block.native.data) == {
        "item": {"id": "msg_1", "status": "completed"},
        "part": {"type": "refusal", "refusal": "I can't help with that."},
    }


def test_a_cut_off_answer_is_whole_and_says_so() -> None:
    message = read(stream("cut_off")).message
    assert message is not None and not message.partial and message.text == "Good API"
    assert (message.stop_reason, message.raw_stop_reason) == ("length", "incomplete")


@pytest.mark.parametrize(
    ("response", "normal"),
    [
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
        ({"status": "incomplete", "incomplete_details": {"reason": "something new"}}, "unknown"),
        ({"status": "incomplete", "incomplete_details": None}, "unknown"),
        ({"status": "queued"}, "unknown"),
    ],
)
def test_stop_reasons(response: dict[str, Any], normal: str) -> None:
    """The normal word, and the response's own status beside it; alike in both forms of an answer."""
    streamed = message_of(delta("a"), end(**response))
    document = read(
        json.dumps({"output": [message_item("a")], "usage": USAGE, **response}).encode(), headers=JSON
    ).message
    for message in (streamed, document):
        assert message is not None
        assert (message.stop_reason, message.raw_stop_reason) == (normal, response["status"])


def test_calls_of_a_cut_off_answer_are_not_asked_for() -> None:
    """S7."""
    item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": '{"a":'}
    details = {"reason": "max_output_tokens"}
    assert message_of(item_done(item), end("incomplete", incomplete_details=details)).stop_reason == "length"


# --- S5: streamed or whole ---


@pytest.mark.parametrize("name", NAMES)
def test_streamed_is_whole(name: str) -> None:
    """S5: the same message, stop reason and usage."""
    assert read(stream(name)) == read(whole(name), headers=JSON)


@pytest.mark.parametrize("kept", ["no deltas", "no items done", "no items begun", "the end alone"])
@pytest.mark.parametrize("name", ["text", "tools", "reasoning", "server_tools"])
def test_events_that_a_host_leaves_out(name: str, kept: str) -> None:
    """S5: pieces, items and the response as a whole say the same; what one of them does not say, another does."""
    dropped = {
        "no deltas": lambda kind: kind.endswith(".delta"),
        "no items done": lambda kind: kind == "response.output_item.done",
        "no items begun": lambda kind: kind == "response.output_item.added" or "call" in kind,
        "the end alone": lambda kind: kind != "response.completed",
    }[kept]
    pieces = [
        p for p in stream(name).split(b"\n\n") if p and not dropped(p.splitlines()[0].removeprefix(b"event: ").decode())
    ]
    assert read(b"\n\n".join(pieces) + b"\n\n") == read(whole(name), headers=JSON)


@pytest.mark.parametrize(
    "made",
    [
        reply("Hello ", "you", usage=Usage(100, 20, 30, None, 5)),
        reply(think("Let me ", "see.", signature="c2Vh"), text("I look", " twice."), call("weather", city="Oslo")),
        reply(call("a", x=1), call("b"), raw_call("c", "{"), raw_call("d", ""), interleaved=True),
        reply(redacted("c2VhbGVk"), text("Yes")),
        reply(text("And th"), stop="length"),
        reply(text("No"), stop="content_filter"),
        reply(text("Silent"), usage=None),
    ],
)
def test_served_streams_are_served_bodies(made: Any) -> None:
    """S5, S6: what the serving codec says is the same in both forms, and the official SDK reads it."""
    response, exchange = made.answer, Exchange(7, "a-model", 1_750_000_000, 400)
    assert isinstance(response, Response)
    served = serve_codec(API)
    body, pieces = served.body(response, exchange), [*served.stream(response, exchange)]
    streamed, document = read(b"".join(pieces)), read(body, headers=JSON)
    assert streamed.error is None and streamed.message is not None and streamed.message.content
    assert streamed.message.content == document.message.content if document.message else False
    assert streamed.message.response.stop_reason == document.message.response.stop_reason if document.message else False
    assert (streamed.usage is None) == (document.usage is None) == (response.usage is None)
    SdkResponse.model_validate_json(body)
    adapter = TypeAdapter[Any](ResponseStreamEvent)
    numbers = [adapter.validate_json(p.partition(b"data: ")[2].strip()).sequence_number for p in pieces]
    assert numbers == list(range(len(pieces)))


def test_a_served_error_breaks_the_stream_off() -> None:
    """S3."""
    response = reply("Half", error_event("Too busy", status=503), "never").answer
    assert isinstance(response, Response)
    found = read(b"".join(serve_codec(API).stream(response, Exchange(1, "m"))))
    assert found.error is not None and found.error.message == "Too busy" and found.error.retryable
    assert found.message is not None and found.message.partial and found.message.text == "Half"
    assert serve_codec(API).body(response, Exchange(1, "m")) == serve_codec(API).error_body(
        ApiError(503, "Too busy"), Exchange(1, "m")
    )
    assert read(serve_codec(API).error_event(ApiError(500), Exchange(1, "m"))).error is not None
    served = serve_codec(API).error_body(ApiError(429), Exchange(1, "m"))
    refused = read(served, 429, JSON).error
    assert refused is not None and refused.code == "rate_limit" and refused.status == 429


# --- S1, S2: the same however the bytes are split, and in every form of stream ---


@pytest.mark.parametrize("name", NAMES)
def test_every_split_gives_the_same_events(name: str) -> None:
    """S1."""
    for body, headers in ((stream(name), SSE), (whole(name), JSON)):
        expected = events([body], headers=headers)
        assert type(expected[-1]) is ResponseEnded
        assert events(bytewise(body), headers=headers) == expected
        for place in range(0, len(body) + 1, 1 if name in ("text", "refusal") else 7):
            assert events([body[:place], body[place:]], headers=headers) == expected, f"cut at {place}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form",
    [
        lambda b: b.replace(b"\n", b"\r\n"),
        lambda b: b.replace(b"data: ", b"data:"),
        lambda b: b"\xef\xbb\xbf" + b,
        lambda b: b.replace(b"\n\n", b"\n\n: waiting\n\n"),
        lambda b: b.replace(b"event: ", b"id: 1\nevent: "),
        lambda b: b"\n".join([line for line in b.split(b"\n") if not line.startswith(b"event:")]),
        lambda b: b.rstrip(),
        lambda b: b + b"data: [DONE]\n\n",
        lambda b: b.replace(b"\n\nevent", b"\n\ndata: [DONE]\n\nevent", 2),
        lambda b: b.replace(b"\n\nevent", b'\n\ndata: {"type":"response.something_new","item":7}\n\nevent'),
    ],
    ids=["crlf", "no space", "bom", "comments", "ids", "no names", "no end", "done", "done early", "unknown events"],
)
def test_forms_of_a_stream(name: str, form: Any) -> None:
    """S2, S8."""
    body = form(stream(name))
    assert events([body]) == events([stream(name)])
    assert events(bytewise(body)) == events([stream(name)])


@st.composite
def odd_streams(draw: st.DrawFn) -> bytes:
    """Streams of likely and unlikely events, legal and broken."""
    call_item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}"}
    odd: list[Any] = [
        delta("a"), delta(""), delta("ü\u2028\n"), delta("b", 1), delta("c", 0, 1), delta(None), delta(5), end(), end("failed"),
        end("incomplete"), event("in_progress"), event("web_search_call.searching", output_index="x"), item_done(call_item),
        item_done(message_item("a")), item_done(message_item("x", "y"), 1), item_done({}), item_done(None), item_done({"type": "new"}),
        event("output_item.added", output_index=0, item={"type": "message", "content": []}), {"type": "error"}, {"error": {"message": "no"}},
        event("output_item.added", output_index=0, item=call_item), event("output_item.added", output_index=2, item={"type": "reasoning"}),
        event("function_call_arguments.delta", output_index=0, delta="{"), event("reasoning_summary_text.delta", output_index=2, delta="r"),
        event("reasoning_text.delta", output_index=0, delta="r"), event("refusal.delta", delta="no"), {}, [], None, 3, "x",
        item_done({"type": "message", "content": "text", "phase": 5}), item_done({"type": "message", "content": [None, {"type": 3}]}),
        end(output=[message_item("z")]), end(output="x"), end(usage="much"), end(usage={"input_tokens": "7"}), event("created"),
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
    pieces = st.one_of(st.sampled_from(odd).map(sse), st.sampled_from(raw))
    start = [sse(event("created", response={"id": "r", "model": "m"}), delta("start")), b""]
    return b"".join(
        [draw(st.sampled_from(start)), *draw(st.lists(pieces, max_size=8)), draw(st.sampled_from([sse(end()), b""]))]
    )


@given(odd_streams(), st.lists(st.integers(0, 600), max_size=5))
def test_odd_streams_are_read_alike_however_split(body: bytes, at: list[int]) -> None:
    """S1, S8."""
    expected = events(bytewise(body), headers=SSE)
    assert type(expected[-1]) in (ResponseEnded, ResponseFailed)
    assert not any(type(e) is ResponseStarted for e in expected[1:])
    places = [0, *sorted(min(p, len(body)) for p in at), len(body)]
    assert events([body], headers=SSE) == expected
    assert events([body[a:b] for a, b in pairwise(places)], headers=SSE) == expected


# --- S3: errors and ends ---


@pytest.mark.parametrize("name", NAMES)
def test_every_early_end_is_an_error(name: str) -> None:
    """S3: a stream is whole with its last event, and not before."""
    body = stream(name)
    last = body.rindex(b"data: ")
    for place in [*range(1, len(body), 5), *range(last, len(body))]:
        found = events([body[:place]])[-1]
        if place < len(body) - 2:
            assert type(found) is ResponseFailed and found.error.code in ("truncated", "protocol"), place
            assert found.error.retryable and (found.error.code == "truncated" or place < 7)
        else:
            assert type(found) is ResponseEnded, place


@pytest.mark.parametrize("name", NAMES)
def test_a_cut_document_is_an_error(name: str) -> None:
    body = whole(name).strip()
    for place in range(1, len(body)):
        assert failure(events([body[:place]], headers=JSON)).error.code == "truncated"


def test_a_cut_stream_keeps_what_came() -> None:
    """S3, S7: the message so far is partial, and its calls are never run."""
    body = stream("tools")
    response = read(body[: body.index(b"Bergen")])
    assert response.error is not None and response.error.code == "truncated"
    assert response.message is not None and response.message.partial and response.message.text == "Looking."


def test_nothing_counts_after_the_end() -> None:
    body = sse(delta("a"), end())
    expected = events([body])
    for rest in (sse(delta("b")), b"garbage", b"data: {\n\n", sse({"type": "error"}), sse(end("failed"))):
        assert events([body + rest]) == expected
        assert events([body, rest]) == expected


ERROR = {"code": "rate_limit_exceeded", "message": "Slow down"}


@pytest.mark.parametrize(
    ("error", "message", "code", "retryable"),
    [
        ({"type": "error", **ERROR, "param": None}, "Slow down", "rate_limit", True),
        ({"type": "error", "error": {"type": "server_error", **ERROR}}, "Slow down", "rate_limit", True),
        (
            {"type": "error", "code": "context_length_exceeded", "message": "Too long"},
            "Too long",
            "context_overflow",
            False,
        ),
        ({"type": "error", "code": "ERR_SOMETHING", "message": "Lost"}, "Lost", "server", True),
        (end("failed", error=ERROR, usage=None), "Slow down", "rate_limit", True),
        (end("failed", error=None, usage=None), "The provider failed to answer.", "server", True),
        (end("completed", error=ERROR, usage=None), "Slow down", "rate_limit", True),
        (end("cancelled", usage=None), "The answer was cancelled at the provider.", "truncated", True),
        ({"error": ERROR}, "Slow down", "rate_limit", True),
    ],
)
def test_errors_inside_a_stream(error: Any, message: str, code: str, retryable: bool) -> None:
    """S3."""
    found = events([sse(delta("a"), error, delta("b"))])
    failed = failure(found).error
    assert (failed.message, failed.code, failed.retryable, failed.status) == (message, code, retryable, None)
    assert [e.text for e in found if type(e) is TextDelta] == ["a"]


@pytest.mark.parametrize(
    "event_",
    [
        item_done({"id": "x"}),
        item_done("text"),
        event("output_item.added", output_index=0, item={}),
        event("reasoning_text.delta", output_index=0, delta="r"),
        event("completed", response={"output": [{}]}),
        event("completed"),
        delta(5),
    ],
)
def test_what_does_not_fit_is_an_error(event_: Any) -> None:
    """S8: where something is missing that the answer needs, it is not passed over."""
    failed = failure(events([sse(delta("a"), event_, end())])).error
    assert failed.code == "protocol" and failed.retryable and "cannot be read" in failed.message


def test_a_failed_response_says_what_it_cost() -> None:
    """S4."""
    for body, headers in ((sse(end("failed")), SSE), (json.dumps(end("failed", output=[])["response"]).encode(), JSON)):
        assert failure(events([body], headers=headers)).usage == Usage(7, 3, provenance="partial")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, b'{"error":{"message":"Incorrect API key provided","code":"invalid_api_key"}}', "auth"),
        (400, b'{"error":{"message":"Your input exceeds the context window of this model."}}', "context_overflow"),
        (429, b'{"error":{"message":"quota","code":"insufficient_quota"}}', "quota"),
        (400, b"<html><title>Bad gateway</title></html>", "invalid_request"),
        (200, b'{"error":{"message":"busy","code":"server_error"}}', "server"),
        (200, b'{"message":"no"}', "server"),
        (200, b'{"object":"list"}', "protocol"),
        (200, b'{"output":[7]}', "protocol"),
        (200, b"", "protocol"),
        (204, b"", "protocol"),
    ],
)
def test_error_bodies(status: int, body: bytes, code: str) -> None:
    error = failure(events([body], status, JSON)).error
    assert error.code == code and error.message
    assert error.status == (status if status >= 400 else None)


# --- S4: usage ---


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"input_tokens": 9, "output_tokens": 4}, Usage(9, 4)),
        ({"input_tokens": 9, "input_tokens_details": {"cached_tokens": 8, "cache_write_tokens": 1}, "output_tokens": 4}, Usage(9, 4, 8, 1)),
        ({"input_tokens": 9, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 3}}, Usage(9, 4, None, None, 3)),
        ({"input_tokens": 9, "output_tokens": 4, "total_tokens": 16, "output_tokens_details": {"reasoning_tokens": 3}}, Usage(9, 7, None, None, 3)),
        ({"input_tokens": "9", "output_tokens": 4.0, "new": {}}, Usage(9, 4)),
        ({}, None),
        (None, None),
        ("much", None),
    ],
)  # fmt: skip
def test_usage(counts: Any, usage: Usage | None) -> None:
    """Cached and reasoning tokens count once; nothing said is None, never zero."""
    assert message_of(delta("a"), end(usage=counts)).usage == usage


# --- calls ---


def calls_of(*events: Any) -> list[tuple[str, str | None, str, str]]:
    return [(c.id, c.provider_id, c.name, c.arguments) for c in message_of(*events, end()).tool_calls]


@pytest.mark.parametrize("arguments", ["", "  ", '{ "a" : 1 }', '{"a":', "null", "ü\u2028"])
def test_arguments_are_kept_as_they_came(arguments: str) -> None:
    """Blank, spaced and broken arguments are the runtime's business."""
    item = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": arguments}
    assert calls_of(item_done(item)) == [("t0.s0.c0", "c", "f", arguments)]


def test_calls_that_lack_something() -> None:
    """S6, T4: no name at first, no call id, the same ids twice, arguments as an object: nothing is lost or mixed up."""
    item = {"type": "function_call", "id": "x", "call_id": "x", "name": "f", "arguments": "{}"}
    nameless = {**item, "name": "", "arguments": ""}
    pieces = event("function_call_arguments.delta", output_index=0, delta="{}")
    assert calls_of(event("output_item.added", output_index=0, item=nameless), pieces, item_done(item)) == [
        ("t0.s0.c0", "x", "f", "{}")
    ]
    assert calls_of(item_done(item), item_done(item, 1)) == [("t0.s0.c0", "x", "f", "{}"), ("t0.s0.c1", "x", "f", "{}")]
    assert calls_of(item_done({"type": "function_call"})) == [("t0.s0.c0", None, "", "")]
    assert calls_of(item_done({**item, "arguments": {"a": 1}})) == [("t0.s0.c0", "x", "f", '{"a":1}')]
    assert calls_of(pieces) == []


def test_items_with_one_id_are_each_their_own() -> None:
    """T5: xAI gives two reasoning items of one answer the same id."""
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "a"}
    output = [item, {**item, "encrypted_content": "b"}, message_item("Yes")]
    message = read(json.dumps({"status": "completed", "output": output}).encode(), headers=JSON).message
    assert message is not None
    assert [b.signature for b in message.content if isinstance(b, Thinking)] == ["a", "b"]


def test_items_that_a_host_numbers_and_names_badly() -> None:
    """S5: every item as number 0, other ids in the response as a whole: nothing is said twice."""
    item = {"type": "function_call", "id": "x", "call_id": "x", "name": "f", "arguments": "{}"}
    output = [message_item("Yes", id="msg_other"), {**item, "id": "other"}]
    message = message_of(delta("Yes"), item_done(message_item("Yes")), item_done(item), end(output=output))
    assert message.text == "Yes" and len(message.tool_calls) == 1


def test_a_calls_extras_are_kept() -> None:
    item = {
        "type": "function_call",
        "id": "x",
        "call_id": "x",
        "name": "f",
        "arguments": "{}",
        "namespace": "n",
        "caller": None,
    }
    (found,) = message_of(item_done(item), end()).tool_calls
    assert found == ToolCall("t0.s0.c0", "f", "{}", "x", Native(API, '{"namespace":"n"}'))


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=6)), max_size=30))
def test_interleaved_fragments_find_their_items(pieces: list[tuple[int, str]]) -> None:
    """S6: whatever the order, each item gets its own fragments in order."""
    kinds: list[dict[str, Any]] = [
        {"type": "function_call", "call_id": f"c{i}", "name": f"f{i}", "arguments": ""} for i in range(3)
    ]
    begun = [event("output_item.added", output_index=i, item=k) for i, k in enumerate([*kinds, {"type": "message"}])]
    grown = [
        delta(p, 3) if i == 3 else event("function_call_arguments.delta", output_index=i, delta=p) for i, p in pieces
    ]
    message = message_of(*begun, *grown, end())
    said = ["".join(p for n, p in pieces if n == i) for i in range(4)]
    assert [c.arguments for c in message.tool_calls] == said[:3] and message.text == said[3]


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


NAMES_OF_FIELDS = [
    "type", "id", "output", "item", "content", "text", "status", "role", "error", "message", "code", "delta", "output_index", "content_index", "response", "usage", "summary", "encrypted_content", "arguments", "name", "call_id", "result", "phase", "reason", "incomplete_details", "annotations",
]  # fmt: skip
TYPES = (
    "message",
    "reasoning",
    "function_call",
    "image_generation_call",
    "output_text",
    "refusal",
    "response.completed",
    "error",
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TYPES)
)
JSON_VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES_OF_FIELDS), inner, max_size=5),
    max_leaves=12,
)


@given(st.lists(JSON_VALUES, max_size=4), st.sampled_from(TYPES), st.sampled_from([200, 500]))
@examples(300)
def test_wrong_types_never_raise(values: list[Any], kind: str, status: int) -> None:
    """S8: anything in any place, in a stream, in a document, in an item."""
    items = [{**v, "type": kind} if isinstance(v, dict) else v for v in values]
    check_safe([sse(*values, *items)], 200, SSE)
    check_safe([sse(*(item_done(v) for v in items), end(output=items))], 200, SSE)
    for value in values:
        check_safe([json.dumps(value).encode()], status, JSON)
    check_safe([json.dumps({"output": items, "error": None}).encode()], status, JSON)


@pytest.mark.parametrize("depth", [50, 500, 900, 1000, 1100, 5000, 200_000])
@pytest.mark.parametrize("form", ["%s", '{"error":%s}', '{"output":[{"type":"new","a":%s}]}', '{"type":"response.output_item.done","item":{"type":"x","a":%s}}'])  # fmt: skip
def test_deep_json_never_raises(depth: int, form: str) -> None:
    """S8."""
    deep = (form % ("[" * depth + "]" * depth)).encode()
    check_safe([b"data: " + deep + b"\n\n"], 200, SSE)
    check_safe([deep], 200, JSON)
    check_safe([deep], 500, JSON)


def test_huge_bodies_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8: bounds are those of `framing`; here they are lowered."""
    assert reader.MAX_BODY_BYTES == limits.MAX_BODY_BYTES
    monkeypatch.setattr(reader, "MAX_BODY_BYTES", 1000)
    assert failure(events([b'{"a":"', *[b"x" * 100] * 11], headers=JSON)).error.code == "protocol"
    assert type(events([sse(*[delta("x" * 100)] * 11, end())])[-1]) is ResponseEnded


def test_huge_arguments_arrive() -> None:
    value = json.dumps({"text": "é\u2028" * 250_000})
    item = {"type": "function_call", "id": "x", "call_id": "x", "name": "f", "arguments": value}
    assert calls_of(item_done(item)) == [("t0.s0.c0", "x", "f", value)]


def test_thinking_is_shown_as_it_comes() -> None:
    found = events([stream("reasoning")])
    assert [e.text for e in found if type(e) is ThinkingDelta] == ["**Sum**\n\n", "Two and two", " is four."]

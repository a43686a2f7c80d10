"""What the serving codecs say is what the APIs say: read by the official SDKs' types, and by our own decoders (rule S5)."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import anthropic.types as anthropic_types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import TypeAdapter

from turnwise.core.content import Text, Thinking, ToolCall
from turnwise.core.errors import ConfigError
from turnwise.core.usage import Usage
from turnwise.testing import call, error_event, raw_call, redacted, reply, text, think
from turnwise.wire import read_response
from turnwise.wire.serve import SERVED_APIS, ApiError, Exchange, Response, serve_codec
from turnwise.wire.serve.response import Part

EXCHANGE = Exchange(number=7, model="a-model", created=1_750_000_000, request_bytes=400, include_usage=True)
SSE = {"content-type": "text/event-stream"}
JSON = {"content-type": "application/json"}
RAW_STOP = {
    "openai.chat": {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
    "anthropic.messages": {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "stop_sequence": "stop_sequence",
        "refusal": "refusal",
        "pause": "pause_turn",
    },
}


def response(*parts: Part | str, **more: Any) -> Response:
    made = reply(*parts, **more).answer
    assert isinstance(made, Response)
    return made


def events(stream: list[bytes]) -> list[dict[str, Any]]:
    """The JSON documents of a stream's events; each piece is one whole event."""
    documents = []
    for piece in stream:
        assert piece.endswith(b"\n\n") and piece.count(b"\n\n") == 1
        data = piece.partition(b"data: ")[2].strip()
        if data != b"[DONE]":
            documents.append(json.loads(data))
    return documents


EVERYTHING = response(
    think("Let me ", "see."),
    text("I look", " twice."),
    call("weather", city="Oslo"),
    call("weather", city="Bergen", days=2),
    usage=Usage(100, 20, 30, 10, 5),
    interleaved=True,
)


# --- by the SDKs' types


def test_chat_chunks_are_what_the_sdk_expects():
    chunks = [
        ChatCompletionChunk.model_validate(d, strict=True)
        for d in events([*serve_codec("openai.chat").stream(EVERYTHING, EXCHANGE)])
    ]
    deltas = [c.choices[0].delta for c in chunks if c.choices]
    assert deltas[0].role == "assistant"
    assert "".join([d.content or "" for d in deltas]) == "I look twice."
    assert "".join([getattr(d, "reasoning_content", "") for d in deltas]) == "Let me see."
    arguments = {0: "", 1: ""}
    for delta in deltas:
        for piece in delta.tool_calls or []:
            arguments[piece.index] += piece.function.arguments if piece.function else ""
    assert [json.loads(a) for a in arguments.values()] == [{"city": "Oslo"}, {"city": "Bergen", "days": 2}]
    order = [p.index for d in deltas for p in d.tool_calls or []]
    assert order[:6] == [0, 1, 0, 1, 0, 1]
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "tool_calls"
    assert chunks[-1].usage is not None and chunks[-1].choices == []
    assert len({c.id for c in chunks}) == 1


def test_a_chat_body_is_what_the_sdk_expects():
    body = ChatCompletion.model_validate_json(serve_codec("openai.chat").body(EVERYTHING, EXCHANGE), strict=True)
    message = body.choices[0].message
    assert message.content == "I look twice."
    assert [c.function.name for c in message.tool_calls or []] == ["weather", "weather"]
    assert len({c.id for c in message.tool_calls or []}) == 2
    assert body.usage is not None
    assert (body.usage.prompt_tokens, body.usage.completion_tokens, body.usage.total_tokens) == (100, 20, 120)
    assert body.usage.prompt_tokens_details is not None and body.usage.prompt_tokens_details.cached_tokens == 30


def test_chat_usage_comes_only_if_asked_for():  # S4
    silent = msgspec.structs.replace(EXCHANGE, include_usage=False)
    stream = b"".join(serve_codec("openai.chat").stream(EVERYTHING, silent))
    assert b'"usage"' not in stream
    assert stream.endswith(b"data: [DONE]\n\n")


def test_anthropic_events_are_what_the_sdk_expects():
    pieces = [*serve_codec("anthropic.messages").stream(EVERYTHING, EXCHANGE)]
    documents = events(pieces)
    for piece, document in zip(pieces, documents, strict=True):
        assert piece.startswith(f"event: {document['type']}\n".encode())
    adapter = TypeAdapter(anthropic_types.RawMessageStreamEvent)
    read = [adapter.validate_python(d, strict=True) for d in documents if d["type"] != "ping"]
    assert [e.type for e in (read[0], read[-2], read[-1])] == ["message_start", "message_delta", "message_stop"]
    starts = [e for e in read if isinstance(e, anthropic_types.RawContentBlockStartEvent)]
    assert [s.content_block.type for s in starts] == ["thinking", "text", "tool_use", "tool_use"]
    assert [s.index for s in starts] == [0, 1, 2, 3]
    deltas = [e for e in read if isinstance(e, anthropic_types.RawContentBlockDeltaEvent)]
    assert [d.index for d in deltas if d.index >= 2][:6] == [2, 3, 2, 3, 2, 3]
    assert "signature_delta" in {d.delta.type for d in deltas}
    assert sorted(e.index for e in read if e.type == "content_block_stop") == [0, 1, 2, 3]


def test_an_anthropic_body_is_what_the_sdk_expects():
    body = serve_codec("anthropic.messages").body(EVERYTHING, EXCHANGE)
    message = anthropic_types.Message.model_validate_json(body, strict=True)
    assert [b.type for b in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (60, 30)
    assert (message.usage.cache_creation_input_tokens, message.usage.output_tokens) == (10, 20)


def test_errors_have_each_apis_form():
    openai_error = json.loads(serve_codec("openai.chat").error_body(ApiError(429), EXCHANGE))["error"]
    assert set(openai_error) == {"message", "type", "param", "code"}
    assert openai_error["code"] == "rate_limit_exceeded"
    anthropic_error = json.loads(serve_codec("anthropic.messages").error_body(ApiError(529), EXCHANGE))
    assert anthropic_error["type"] == "error"
    assert anthropic_error["error"] == {"type": "overloaded_error", "message": "Overloaded"}
    assert anthropic_error["request_id"].startswith("req_")


@pytest.mark.parametrize("api", SERVED_APIS)
def test_nothing_follows_an_error_event(api):  # S3
    made = response("Half", error_event("Too busy"), "never")
    last = events([*serve_codec(api).stream(made, EXCHANGE)])[-1]
    assert last["error"]["message"] == "Too busy"
    assert json.loads(serve_codec(api).body(made, EXCHANGE))["error"]["message"] == "Too busy"


def test_hosts_that_repeat_ids_or_leave_out_ids_and_indices():  # S6, T4
    made = response(raw_call("a", "{", "}", id="same", repeats_id=True), raw_call("b", "{}", id="", has_index=False))
    pieces = [
        p
        for d in events([*serve_codec("openai.chat").stream(made, EXCHANGE)])
        for c in d["choices"]
        for p in c["delta"].get("tool_calls", [])
    ]
    assert [p.get("id") for p in pieces] == ["same", "same", "same", None, None]
    assert [p.get("index") for p in pieces] == [0, 0, 0, None, None]


def test_an_unknown_api_is_named():
    with pytest.raises(ConfigError, match=r"openai\.chat"):
        serve_codec("morse")


def test_serving_loads_no_io():
    code = (
        "import sys, msgspec\nbefore = set(sys.modules)\nimport turnwise.wire.serve as s\n"
        "[s.serve_codec(a) for a in s.SERVED_APIS]\n"
        "print({'asyncio', 'socket', 'time', 'aiohttp', 'random', 'threading'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- by our own decoders


def said(api: str, made: Response, *, streamed: bool, split: int | None = None) -> Any:
    served = serve_codec(api)
    if not streamed:
        return read_response(api, 200, JSON, [served.body(made, EXCHANGE)])
    stream = b"".join(served.stream(made, EXCHANGE))
    chunks = [stream] if split is None else [stream[i : i + split] for i in range(0, len(stream), split)]
    return read_response(api, 200, SSE, chunks)


def expected(api: str, made: Response) -> list[tuple[str, ...]]:
    """The blocks that must come out, as comparable tuples."""
    out: list[tuple[str, ...]] = []
    for part in made.parts:
        whole = "".join(part.fragments)  # type: ignore[union-attr]
        match type(part).__name__:
            case "TextPart" if whole:
                out.append(("text", whole))
            case "ThinkingPart" if api == "anthropic.messages":
                out.append(("redacted" if part.redacted else "thinking", whole, part.signature or ""))  # type: ignore[union-attr]
            case "ThinkingPart" if whole and not part.redacted:  # type: ignore[union-attr]
                out.append(("thinking", whole, ""))
            case "CallPart":
                # Anthropic streams no arguments at all for a call that has none.
                whole = "" if whole == "{}" and api == "anthropic.messages" else whole
                out.append(("call", part.name, whole))  # type: ignore[union-attr]
            case _:
                pass
    return out


def got(message: Any) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for block in message.content:
        match block:
            case Text(text=whole):
                out.append(("text", whole))
            case Thinking(redacted=True):
                out.append(("redacted", block.signature or block.text, ""))
            case Thinking():
                out.append(("thinking", block.text, block.signature or ""))
            case ToolCall():
                out.append(("call", block.name, block.arguments))
            case _:
                raise AssertionError(f"unexpected block {block!r}")
    return out


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_everything_comes_back_from_our_decoders(api, streamed):  # S5
    done = said(api, EVERYTHING, streamed=streamed)
    assert done.error is None
    assert got(done.message) == expected(api, EVERYTHING)
    assert done.message.stop_reason == "tool_calls"
    assert done.message.model == "a-model"
    usage = done.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_tokens) == (100, 20, 30)
    assert usage.reasoning_tokens == 5
    if api == "anthropic.messages":
        assert usage.cache_write_tokens == 10


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_stop_reasons_come_back(api, streamed):
    for normal, raw in RAW_STOP[api].items():
        message = said(api, response("Hi.", stop=normal), streamed=streamed).message
        assert (message.stop_reason, message.raw_stop_reason) == (normal, raw)


@pytest.mark.parametrize("missing", ["end", "terminator"])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_a_missing_end_is_a_truncation_for_our_decoders(api, missing):  # S3
    done = said(api, response("Hi there.", missing=missing), streamed=True)
    assert done.message.text == "Hi there."
    if api == "openai.chat" and missing == "terminator":
        assert done.error is None, "hosts leave [DONE] out: a finish reason is an end"
    else:
        assert done.error is not None and done.error.code == "truncated"


words = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
pieces = st.lists(words, min_size=1, max_size=4)
json_arguments = st.dictionaries(words, st.integers() | words, max_size=3)
texts = pieces.map(lambda p: text(*p, "!"))
thoughts = pieces.map(lambda p: think(*p, "."))
calls = json_arguments.map(lambda a: raw_call("tool_x", json.dumps(a), size=3))
parts = st.tuples(st.lists(thoughts, max_size=1), st.lists(texts, max_size=1), st.lists(calls, max_size=3)).map(
    lambda t: [p for group in t for p in group]
)


@pytest.mark.parametrize("api", SERVED_APIS)
@given(parts=parts, interleaved=st.booleans(), split=st.integers(1, 40))
def test_streamed_and_unstreamed_say_the_same(api, parts, interleaved, split):  # S1, S5, S6
    made = response(*parts, interleaved=interleaved, id="r1")
    whole = said(api, made, streamed=False)
    streamed = said(api, made, streamed=True, split=split)
    assert whole.error is None and streamed.error is None
    assert streamed.message == whole.message
    assert streamed.usage == whole.usage
    assert got(whole.message) == expected(api, made)


def test_arguments_that_are_not_json_come_back_as_they_are_in_a_stream():  # E2
    for api in SERVED_APIS:
        done = said(api, response(raw_call("weather", '{"ci', 'ty": ')), streamed=True)
        assert done.message.tool_calls[0].arguments == '{"city": '


def test_redacted_and_unsigned_thinking_come_back_from_anthropic():  # T5
    made = response(redacted("c2VhbGVk"), think("Hm.", signature=None), "So.")
    for streamed in (True, False):
        assert got(said("anthropic.messages", made, streamed=streamed).message) == expected("anthropic.messages", made)

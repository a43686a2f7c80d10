"""What the serving codecs say is what the APIs say: read by the official SDKs, and by our own decoders (rule S5)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.testing.official_answers import documents, read

from turnwise.core.content import Text, Thinking, ToolCall
from turnwise.core.errors import ConfigError
from turnwise.core.usage import Usage
from turnwise.testing import call, error_event, raw_call, redacted, reply, text, think
from turnwise.wire import read_response
from turnwise.wire.serve import (
    SERVED_APIS,
    ApiError,
    CallPart,
    Exchange,
    Response,
    TextPart,
    ThinkingPart,
    serve_codec,
)
from turnwise.wire.serve.response import Part

EXCHANGE = Exchange(number=7, model="a-model", created=1_750_000_000, request_bytes=400, include_usage=True)
JSON = {"content-type": "application/json"}


class Form(msgspec.Struct, frozen=True):
    """What an API has a place for, beside text, thinking and calls, which all have.

    `stops` are the reasons that it can tell, in its own words; `usage` what comes back of `EVERYTHING`'s. `untyped` are
    words that the SDK's types do not have. `seals`: signatures of
    thinking; `redacts`: redacted thinking, told from thinking that is sealed and empty. `names_model`: answers say which model they are of. `ends_before_terminator`: the stop reason is an end, and
    what follows it says nothing. `arguments`: a call's arguments as they come back, where they are not the text that was said.
    """

    stops: dict[str, str]
    usage: Usage
    untyped: tuple[str, ...] = ()
    seals: bool = False
    redacts: bool = False
    names_model: bool = True
    ends_before_terminator: bool = False
    arguments: Callable[[str], str] = str


def compact(arguments: str) -> str:
    """Google's calls hold an object: white space is nothing that was said."""
    return json.dumps(json.loads(arguments), separators=(",", ":"))


GOOGLE = Form(
    {"stop": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}, Usage(100, 20, 30, None, 5), arguments=compact
)
FORMS = {
    "openai.chat": Form(
        {"stop": "stop", "length": "length", "tool_calls": "tool_calls", "content_filter": "content_filter"},
        Usage(100, 20, 30, 10, 5),
        ends_before_terminator=True,
    ),
    "anthropic.messages": Form(
        {
            "stop": "end_turn",
            "length": "max_tokens",
            "tool_calls": "tool_use",
            "stop_sequence": "stop_sequence",
            "refusal": "refusal",
            "pause": "pause_turn",
        },
        Usage(100, 20, 30, 10, 5),
        seals=True,
        redacts=True,
        # No arguments at all are streamed for a call that has none.
        arguments=lambda said: "" if said == "{}" else said,
    ),
    "openai.responses": Form(
        {"stop": "completed", "length": "incomplete", "content_filter": "incomplete"},
        Usage(100, 20, 30, 10, 5),
        seals=True,
    ),
    "cohere.v2.chat": Form(
        {
            "stop": "COMPLETE",
            "length": "MAX_TOKENS",
            "tool_calls": "TOOL_CALL",
            "stop_sequence": "STOP_SEQUENCE",
            "content_filter": "ERROR_TOXIC",
        },
        Usage(100, 20, 30, None, 5),
        untyped=("ERROR_TOXIC",),  # of the API's first version
        names_model=False,
        ends_before_terminator=True,
    ),
    "ollama.chat": Form({"stop": "stop", "length": "length"}, Usage(100, 20)),
    "bedrock.converse": Form(
        {
            "stop": "end_turn",
            "length": "max_tokens",
            "tool_calls": "tool_use",
            "stop_sequence": "stop_sequence",
            "content_filter": "guardrail_intervened",
            "refusal": "refusal",
            "pause": "pause_turn",
        },
        Usage(100, 20, 30, 10),
        untyped=("refusal", "pause_turn"),  # Claude's own words
        seals=True,
        redacts=True,
        names_model=False,
    ),
    "gemini.generateContent": GOOGLE,
    "vertex.generateContent": GOOGLE,
}


def response(*parts: Part | str, **more: Any) -> Response:
    made = reply(*parts, **more).answer
    assert isinstance(made, Response)
    return made


EVERYTHING = response(
    think("Let me ", "see."),
    text("I look", " twice."),
    call("weather", city="Oslo"),
    call("weather", city="Bergen", days=2),
    usage=Usage(100, 20, 30, 10, 5),
    interleaved=True,
)


# --- by the SDKs' types


@pytest.mark.parametrize("api", SERVED_APIS)
@pytest.mark.parametrize("streamed", [True, False])
def test_the_official_sdk_reads_what_was_said(api: str, streamed: bool) -> None:
    """Strictly: no key that its types do not know, and what it makes of an answer is what was meant, stop and counts included."""
    served = serve_codec(api)
    seen = read(api, [*served.stream(EVERYTHING, EXCHANGE)] if streamed else served.body(EVERYTHING, EXCHANGE))
    assert (seen.text, seen.thinking) == ("I look twice.", "Let me see.")
    assert seen.calls == [("weather", {"city": "Oslo"}), ("weather", {"city": "Bergen", "days": 2})]
    assert len(set(seen.ids)) == (1 if api == "ollama.chat" else 2), "Ollama's types have no ids"
    stops = FORMS[api].stops
    assert seen.stop == stops.get("tool_calls", stops["stop"])
    # Anthropic and AWS count what was read from or written to the cache apart from the input.
    assert seen.tokens == (60 if api in ("anthropic.messages", "bedrock.converse") else 100, 20)


@pytest.mark.parametrize("api", SERVED_APIS)
def test_the_official_sdk_knows_the_stop_reasons(api: str) -> None:
    served = serve_codec(api)
    for normal, raw in FORMS[api].stops.items():
        made = response("Hi.", stop=normal)
        for answer in ([*served.stream(made, EXCHANGE)], served.body(made, EXCHANGE)):
            if raw in FORMS[api].untyped:
                with pytest.raises(AssertionError, match=raw):
                    read(api, answer)
            else:
                assert read(api, answer).stop == raw


def test_fragments_of_parallel_calls_take_turns() -> None:  # S6
    chunks = [*documents([*serve_codec("openai.chat").stream(EVERYTHING, EXCHANGE)])]
    order = [c["index"] for d in chunks for o in d["choices"] for c in o["delta"].get("tool_calls", [])]
    assert order[:6] == [0, 1, 0, 1, 0, 1]
    assert chunks[-1]["usage"] and chunks[-1]["choices"] == []
    assert len({c["id"] for c in chunks}) == 1
    sent = [*documents([*serve_codec("anthropic.messages").stream(EVERYTHING, EXCHANGE)])]
    assert [d["type"] for d in (sent[0], sent[-2], sent[-1])] == ["message_start", "message_delta", "message_stop"]
    assert [d["index"] for d in sent if d["type"] == "content_block_start"] == [0, 1, 2, 3]
    assert [d["index"] for d in sent if d["type"] == "content_block_delta" and d["index"] >= 2][:6] == [
        2,
        3,
        2,
        3,
        2,
        3,
    ]
    assert sorted([d["index"] for d in sent if d["type"] == "content_block_stop"]) == [0, 1, 2, 3]
    assert "signature_delta" in {d["delta"]["type"] for d in sent if d["type"] == "content_block_delta"}


def test_chat_usage_comes_only_if_asked_for():  # S4
    silent = msgspec.structs.replace(EXCHANGE, include_usage=False)
    stream = b"".join(serve_codec("openai.chat").stream(EVERYTHING, silent))
    assert b'"usage"' not in stream
    assert stream.endswith(b"data: [DONE]\n\n")


GOOGLE_429 = {"error": {"code": 429, "message": "Slow down", "status": "RESOURCE_EXHAUSTED"}}
OPENAI_429 = {"message": "Slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}
ERRORS: dict[str, dict[str, Any]] = {
    "openai.chat": {"error": OPENAI_429},
    "openai.responses": {"error": OPENAI_429},
    "anthropic.messages": {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Slow down"},
        "request_id": f"req_{7:024d}",
    },
    "cohere.v2.chat": {"id": f"{7:032x}", "message": "Slow down"},
    "ollama.chat": {"error": "Slow down"},
    "bedrock.converse": {"message": "Slow down"},
    "gemini.generateContent": GOOGLE_429,
    "vertex.generateContent": GOOGLE_429,
}
KINDS = {401: "auth", 404: "not_found", 429: "rate_limit", 500: "server", 503: "overloaded"}


@pytest.mark.parametrize("api", SERVED_APIS)
def test_errors_have_each_apis_form(api: str) -> None:
    served = serve_codec(api)
    assert json.loads(served.error_body(ApiError(429, "Slow down"), EXCHANGE)) == ERRORS[api]
    for status, code in KINDS.items():
        error = ApiError(status)
        body, headers = served.error_body(error, EXCHANGE), {**JSON, **served.error_headers(error)}
        found = read_response(api, status, headers, [body]).error
        assert found is not None and (found.code, found.status) == (code, status) and found.message


@pytest.mark.parametrize("api", SERVED_APIS)
def test_nothing_follows_an_error_event(api: str) -> None:  # S3
    made = response("Half", error_event("Too busy"), "never")
    pieces = [*serve_codec(api).stream(made, EXCHANGE)]
    assert b"Too busy" in pieces[-1] and not any(b"never" in p or b"Too busy" in p for p in pieces[:-1])
    streamed = said(api, made, streamed=True)
    assert (streamed.error.message, streamed.message.text) == ("Too busy", "Half")
    body = serve_codec(api).body(made, EXCHANGE)
    assert b"Half" not in body and b"never" not in body
    whole = read_response(api, 529, JSON, [body])
    assert (whole.error.message, whole.error.status, whole.message) == ("Too busy", 529, None)


def test_hosts_that_repeat_ids_or_leave_out_ids_and_indices():  # S6, T4
    made = response(raw_call("a", "{", "}", id="same", repeats_id=True), raw_call("b", "{}", id="", has_index=False))
    pieces = [
        p
        for d in documents([*serve_codec("openai.chat").stream(made, EXCHANGE)])
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
    return read_response(api, 200, {"content-type": served.stream_type}, chunks)


def expected(api: str, made: Response) -> list[tuple[str, ...]]:
    """The blocks that must come out, as comparable tuples."""
    form = FORMS[api]
    out: list[tuple[str, ...]] = []
    for part in made.parts:
        match part:
            case TextPart(fragments=said):
                out.append(("text", "".join(said)))
            case ThinkingPart(fragments=said, redacted=True):
                sealed = ("redacted", "".join(said)) if form.redacts else ("thinking", "", "".join(said))
                out += [sealed] if form.seals else []
            case ThinkingPart(fragments=said, signature=signature):
                out.append(("thinking", "".join(said), (signature or "") if form.seals else ""))
            case CallPart(fragments=said, name=name):
                out.append(("call", name, form.arguments("".join(said))))
            case _:
                pass
    return [o for o in out if any(o[1:])]


def got(message: Any) -> list[tuple[str, ...]]:
    out: list[tuple[str, ...]] = []
    for block in message.content:
        match block:
            case Text(text=whole):
                out.append(("text", whole))
            case Thinking(redacted=True):
                out.append(("redacted", block.signature or block.text))
            case Thinking():
                out.append(("thinking", block.text, block.signature or ""))
            case ToolCall():
                out.append(("call", block.name, block.arguments))
            case _:
                raise AssertionError(f"unexpected block {block!r}")
    return out


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_everything_comes_back_from_our_decoders(api: str, streamed: bool) -> None:  # S5
    done, form = said(api, EVERYTHING, streamed=streamed), FORMS[api]
    assert done.error is None
    assert got(done.message) == expected(api, EVERYTHING)
    assert done.message.stop_reason == "tool_calls"
    assert done.message.model == ("a-model" if form.names_model else "")
    assert done.usage == form.usage


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_stop_reasons_come_back(api: str, streamed: bool) -> None:
    for normal, raw in FORMS[api].stops.items():
        message = said(api, response("Hi.", stop=normal), streamed=streamed).message
        assert (message.stop_reason, message.raw_stop_reason) == (normal, raw)


@pytest.mark.parametrize("missing", ["end", "terminator"])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_a_missing_end_is_a_truncation_for_our_decoders(api: str, missing: str) -> None:  # S3
    done = said(api, response("Hi there.", missing=missing), streamed=True)
    assert done.message.text == "Hi there."
    if missing == "terminator" and FORMS[api].ends_before_terminator:
        assert done.error is None and done.message.stop_reason == "stop"
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


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_arguments_that_are_not_json_come_back_as_they_are(api: str, streamed: bool) -> None:  # E2
    done = said(api, response(raw_call("weather", '{"ci', 'ty": ')), streamed=streamed)
    arguments = done.message.tool_calls[0].arguments
    # Where arguments are an object by the API, they are said as a JSON string.
    assert arguments in ('{"city": ', json.dumps('{"city": '))


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("api", SERVED_APIS)
def test_redacted_and_unsigned_thinking(api: str, streamed: bool) -> None:  # T5
    made = response(redacted("c2VhbGVk"), think("Hm.", signature=None), "So.")
    done = said(api, made, streamed=streamed)
    assert done.error is None and got(done.message) == expected(api, made)

"""Anthropic requests, by hazard: what the API refuses, prefixes that change, reasoning of others, ids that collide."""

from __future__ import annotations

import importlib.util
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Required, get_origin

import pytest
import typing_extensions
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from hypothesis import example, given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise.core.content import (
    Audio,
    BlobRef,
    Document,
    Image,
    Inline,
    Native,
    Opaque,
    ProviderFile,
    Text,
    Thinking,
    ToolCall,
    Url,
)
from turnwise.core.errors import ConfigError, ErrorInfo, StateError
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Denied, Failed, ToolResult, result_of
from turnwise.core.request import ModelSettings, OneTool, Patch, Reasoning, Request, RequestHead, ToolSpec
from turnwise.wire import codec, encode, read_response
from turnwise.wire.extras import AnthropicExtra

API = "anthropic.messages"
CODEC = codec(API)
FOLDER = Path(__file__).parent / "fixtures" / "anthropic"
PNG = b"\x89PNG\r\n\x1a\n"
BUDGETED = "claude-sonnet-4-5"
ADAPTIVE = "claude-opus-4-8"
WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')


@cache
def checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("sdk_types", Path(__file__).with_name("sdk_types.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plain, typed_dict = module._check_plain, module._check_typed_dict

    def check_plain(type_: Any, value: Any, at: str) -> list[str]:
        # Open files and paths, which Anthropic's types allow for binary data beside text: no JSON is one.
        return [f"{at}: is no file"] if get_origin(type_) in (IO, PathLike) else plain(type_, value, at)

    def check_typed_dict(type_: Any, value: Any, at: str) -> list[str]:
        # The types are written with annotations as strings, so the class itself does not know its required keys.
        marked = [
            n for n, hint in module._hints(type_).items() if get_origin(hint) in (Required, typing_extensions.Required)
        ]
        lacking = [f"{at}: lacks {n!r}" for n in marked if isinstance(value, dict) and n not in value]
        return typed_dict(type_, value, at) + lacking

    module._check_plain, module._check_typed_dict = check_plain, check_typed_dict
    return module


def check_against(type_: Any, value: Any) -> list[str]:
    return checker().check_against(type_, value)


def head(model: str = BUDGETED, *, stream: bool = True, tools: Sequence[ToolSpec] = (), **fields: Any) -> RequestHead:
    return RequestHead(model, "Be brief.", tuple(tools), ModelSettings(**fields), stream)


def body_of(h: RequestHead, *messages: Message, blobs: dict[str, bytes] | None = None) -> dict[str, Any]:
    return json.loads(encode(API, Request(h, messages), blobs).body)


def sent(*messages: Message, blobs: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + CODEC.encode_messages(messages, 0, blobs or {}) + b"]")


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', **fields: Any) -> ToolCall:
    return ToolCall(f"t1.s1.c{n}", "weather", arguments, **fields)


def signed(text: str = "Hm.") -> Thinking:
    return Thinking(text, "c2VhbA==", False, "anthropic")


def test_the_checker_sees_mistakes() -> None:
    """A check that cannot fail would hold nothing."""
    good = body_of(head(), UserMessage("hi"))
    assert check_against(MessageCreateParamsStreaming, good) == []
    for broken in (
        {**good, "seed": 1},
        {**good, "messages": [{"role": "user", "content": [{"type": "text", "txt": "hi"}]}]},
        {
            **good,
            "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64", "data": 1}}]}],
        },
        {k: v for k, v in good.items() if k != "max_tokens"},
    ):
        assert check_against(MessageCreateParamsStreaming, broken) != []
    assert rules_broken([{"role": "assistant", "content": " "}])


# --- T8: accepted by the official types and by the API's rules ---

HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (UserMessage("hi"), AssistantMessage("hello"), UserMessage("and?")),
    "images and documents": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png")),
                Image(BlobRef("aa", 8, "image/webp")),
                Image(Url("https://example.com/a.png")),
                Image(ProviderFile("anthropic", "file_1")),
                Document(Inline(b"%PDF-1.7", "application/pdf"), "report"),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8")),
                Document(Url("https://example.com/a.pdf")),
                Document(ProviderFile("anthropic", "file_2")),
            )
        ),
    ),
    "parallel tools with one error": (
        UserMessage("weather?"),
        AssistantMessage((Text("Looking. "), call(0), call(1, ""), call(2))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", "rain"),
                result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
                ToolResult("t1.s1.c2", (Text("a map"), Image(Inline(PNG, "image/png")))),
            )
        ),
        UserMessage("and now?"),
    ),
    "signed, redacted and foreign reasoning": (
        UserMessage("think"),
        AssistantMessage((signed(), Thinking("", "ZGF0YQ==", True, "anthropic"), Text("Four."))),
        UserMessage("again"),
        AssistantMessage((Thinking("secret plan", "sig", False, "openai.responses"), Text("Five."))),
        UserMessage("and?"),
    ),
    "interrupted": (
        UserMessage("go"),
        AssistantMessage((call(0), call(1))),
        ToolMessage((ToolResult("t1.s1.c0", "rain"), result_of("t1.s1.c1", Cancelled("interrupted by the user")))),
        AssistantMessage("Half an answ", partial=True),
        UserMessage("go on"),
        UserMessage("please"),
    ),
    "nothing to say": (
        UserMessage(" \n"),
        AssistantMessage(""),
        UserMessage(()),
        AssistantMessage((Text("  "), call(0, " "))),
        ToolMessage((ToolResult("t1.s1.c0", ""),)),
        AssistantMessage((signed(), Text("\n"))),
        UserMessage((Text(""), Text("x"))),
    ),
    "an error that says nothing, with an image": (
        UserMessage("go"),
        AssistantMessage((call(0), call(1))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", (Image(Inline(PNG, "image/png")),), Denied("no")),
                ToolResult("t1.s1.c1", "   ", Denied("no")),
            )
        ),
    ),
    "the assistant first": (AssistantMessage("Summary so far. \n"), UserMessage("go on")),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
def test_requests_fit_the_official_types(name: str, stream: bool) -> None:
    """T8."""
    h = head(stream=stream, tools=[WEATHER], stop=("END",), tool_choice="auto", parallel_tool_calls=False)
    body = body_of(h, *HISTORIES[name], blobs={"aa": PNG})
    assert check_against(MessageCreateParamsStreaming if stream else MessageCreateParamsNonStreaming, body) == []
    assert rules_broken(body["messages"]) == []


@pytest.mark.parametrize("name", ["text", "tools", "thinking"])
def test_what_was_received_can_be_sent(name: str) -> None:
    """T5: through the decoder and back. Reasoning and its seals are the same, and every block is in its place."""
    received = (FOLDER / f"{name}.json").read_bytes()
    message = read_response(API, 200, {}, [received]).message
    assert message is not None
    results = tuple([ToolResult(c.id, "ok") for c in message.tool_calls])
    history: list[Message] = [UserMessage("go"), message, *([ToolMessage(results)] if results else [])]
    body = body_of(head(tools=[WEATHER]), *history)
    assert check_against(MessageCreateParamsStreaming, body) == []
    assert rules_broken(body["messages"]) == []
    original, back = json.loads(received)["content"], body["messages"][1]["content"]
    if isinstance(back, str):
        back = [{"type": "text", "text": back}]
    assert [b["type"] for b in back] == [b["type"] for b in original]
    for was, now in zip(original, back, strict=True):
        if was["type"] in ("thinking", "redacted_thinking"):
            assert now == was
        if was["type"] == "tool_use":
            assert {**now, "id": was["id"]} == was


def test_server_tools_go_back_unchanged() -> None:
    """T5: what the provider ran itself, and the citations of its text."""
    received = (FOLDER / "server_tools.json").read_bytes()
    message = read_response(API, 200, {}, [received]).message
    assert message is not None
    assert sent(UserMessage("go"), message)[1]["content"] == json.loads(received)["content"]


def rules_broken(messages: list[dict[str, Any]]) -> list[str]:
    """The API's rules that its types do not hold, over the turns that it joins messages of one role into."""
    out: list[str] = []
    turns: list[tuple[str, list[Any]]] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            out.append("a message without content")
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message["role"], list(blocks)))
    if turns and turns[0][0] != "user":
        out.append("the first message is not the user's")
    open_calls: list[str] = []
    for role, blocks in turns:
        kinds = [b["type"] for b in blocks]
        answers = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if answers != open_calls:
            out.append(f"calls {open_calls} are answered by {answers}")
        if kinds[: len(answers)] != ["tool_result"] * len(answers):
            out.append("results do not come first")
        open_calls = [b["id"] for b in blocks if b["type"] == "tool_use"]
        out += [f"id {i}" for i in open_calls if not re.fullmatch(r"[a-zA-Z0-9_-]+", i)]
        if role == "assistant" and kinds[-1] in ("thinking", "redacted_thinking"):
            out.append("an assistant message ends in thinking")
        out += [p for b in blocks for p in block_rules_broken(b)]
    if turns and turns[-1][0] == "assistant" and turns[-1][1][-1].get("text", "x")[-1:].isspace():
        out.append("the final message ends in white space")
    return out


def block_rules_broken(block: dict[str, Any]) -> list[str]:
    if block["type"] == "text" and not block["text"].strip():
        return ["blank text"]
    if block["type"] == "thinking" and not block["signature"]:
        return ["unsigned thinking"]
    if block["type"] == "tool_result":
        content = block.get("content", [])
        inner = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if block.get("is_error") and (not inner or any(b["type"] != "text" for b in inner)):
            return ["an error result without text, or with more than text"]
        return [p for b in inner for p in block_rules_broken(b)]
    return []


# --- T1, T4, T7: any history ---

WORDS = st.text(alphabet=' \n\tab.é🌸"\\', max_size=6)
NATIVE = st.sampled_from([None, Native("anthropic", '{"citations":[]}'), Native("gemini", "{}")])
TEXTS = st.builds(Text, WORDS, NATIVE)
IMAGES = st.just(Image(Inline(PNG, "image/png")))
THOUGHTS = st.builds(
    Thinking, WORDS, st.sampled_from([None, "", "c2ln"]), st.booleans(), st.sampled_from(["anthropic", "x"])
)
OPAQUES = st.sampled_from(
    [
        Opaque("mcp_tool_use", Native("anthropic", '{"type":"mcp_tool_use","id":"a","name":"b","input":{}}')),
        Opaque("reasoning", Native("openai.responses", "{}")),
    ]
)
ARGUMENTS = st.sampled_from(["", " ", "{}", '{"a": 1}', "[1]", '{"a":', "null", '"text"', "\x00"])
USERS = st.builds(UserMessage, WORDS | st.lists(TEXTS | IMAGES, max_size=3).map(tuple))


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Valid transcripts (T1) of anything: any order of messages, calls answered at once and in order."""
    out: list[Message] = []
    for turn in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            out.append(draw(USERS))
            continue
        blocks = draw(st.lists(TEXTS | THOUGHTS | OPAQUES | IMAGES, max_size=4))
        calls = [ToolCall(f"t{turn}.s1.c{n}", "f", draw(ARGUMENTS)) for n in range(draw(st.integers(0, 2)))]
        for made in calls:
            blocks.insert(draw(st.integers(0, len(blocks))), made)
        out.append(AssistantMessage(tuple(blocks)) if draw(st.booleans()) or calls else AssistantMessage(draw(WORDS)))
        ordered = [b for b in blocks if type(b) is ToolCall]
        if calls:
            bodies = WORDS | st.lists(TEXTS | IMAGES, max_size=2).map(tuple)
            outcomes = st.sampled_from([Denied("no"), None])
            results = [
                ToolResult(c.id, draw(bodies)) if (o := draw(outcomes)) is None else ToolResult(c.id, draw(bodies), o)
                for c in ordered
            ]
            out.append(ToolMessage(tuple(results)))
    return out


@given(histories())
@examples(300)
def test_any_history_keeps_the_rules(history: list[Message]) -> None:
    """T1, T5, T8."""
    written = sent(*history)
    assert rules_broken(written) == []
    assert "openai" not in json.dumps(written)


@given(histories(), st.data())
@examples(300)
def test_encoding_in_parts_is_encoding_at_once(history: list[Message], data: st.DataObject) -> None:
    """T7: the bytes of a message do not depend on what comes later, nor on where the encoding paused."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=3)))
    parts = [
        CODEC.encode_messages(history[:end], start, {})
        for start, end in zip([0, *cuts], [*cuts, len(history)], strict=True)
    ]
    assert b",".join([p for p in parts if p]) == CODEC.encode_messages(history, 0, {})


@example({"a.b", "a_b", "a-ub", "a-b"})
@given(st.sets(st.text(min_size=0, max_size=6) | st.text(alphabet="a.-_ux", max_size=6), min_size=2, max_size=8))
def test_ids_stay_different(ids: set[str]) -> None:
    """T4: injective, within the API's pattern, the same for a call and for its result."""
    calls = tuple([ToolCall(i, "f", "{}") for i in ids])
    results = tuple([ToolResult(i, "x") for i in ids])
    _, said, done = sent(UserMessage("go"), AssistantMessage(calls), ToolMessage(results))
    written = [b["id"] for b in said["content"]]
    assert len(set(written)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", w) for w in written)
    assert [b["tool_use_id"] for b in done["content"]] == written


def test_ids_of_the_engine_are_readable() -> None:
    """T4."""
    assert sent(UserMessage("go"), AssistantMessage((call(7),)))[1]["content"][0]["id"] == "t1_s1_c7"


# --- messages, one by one ---


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        (" \n", {}),
        ("[1]", {"_invalid": "[1]"}),
        ('{"a":', {"_invalid": '{"a":'}),
        ("null", {"_invalid": "null"}),
        ("[" * 100_000, {"_invalid": "[" * 100_000}),
    ],
)
def test_arguments(arguments: str, written: Any) -> None:
    """E2: an object as it is, blank as {}, everything else shown to the model as what it wrote."""
    assert sent(UserMessage("go"), AssistantMessage((call(0, arguments),)))[1]["content"][0]["input"] == written


def test_arguments_keep_their_text() -> None:
    """The raw text goes back: numbers, order and spacing as the model wrote them."""
    raw = '{"b" : 1.0,"a":12345678901234567890123, "b2":"\\u00e9"}'
    assert raw.encode() in CODEC.encode_messages([UserMessage("go"), AssistantMessage((call(0, raw),))], 0, {})


def test_text_that_is_no_unicode() -> None:
    """What a tool read from an odd file name must not end the session."""
    odd = "file\udcff.txt"
    history = (
        UserMessage(odd),
        AssistantMessage((Text(odd), call(0, f'{{"a": "{odd}"}}'))),
        ToolMessage((ToolResult("t1.s1.c0", odd),)),
    )
    user, said, done = sent(*history)
    assert user["content"] == "file?.txt" and done["content"][0]["content"] == "file?.txt"
    assert said["content"][0]["text"] == "file?.txt" and "file?.txt" in said["content"][1]["input"]["_invalid"]


def test_results_in_one_message_in_order() -> None:
    written = sent(*HISTORIES["parallel tools with one error"])
    results = written[2]["content"]
    assert written[2]["role"] == "user"
    assert [r["tool_use_id"] for r in results] == ["t1_s1_c0", "t1_s1_c1", "t1_s1_c2"]
    assert [r.get("is_error", False) for r in results] == [False, True, False]
    assert results[0]["content"] == "rain" and "no such city" in results[1]["content"]
    assert results[2]["content"][1]["source"] == {
        "type": "base64",
        "media_type": "image/png",
        "data": b64encode(PNG).decode(),
    }
    assert written[3] == {"role": "user", "content": "and now?"}


def test_an_empty_result_has_no_content() -> None:
    """The smallest that is true; a failed call needs words."""
    results = (ToolResult("t1.s1.c0", ""), ToolResult("t1.s1.c1", "", Denied("no")))
    ok, failed = sent(UserMessage("go"), AssistantMessage((call(0), call(1))), ToolMessage(results))[2]["content"]
    assert ok == {"type": "tool_result", "tool_use_id": "t1_s1_c0"}
    assert failed["content"].strip() and failed["is_error"] is True


def test_media_of_a_failed_call_follow_the_results() -> None:
    """The API takes text only in a failed result; nothing is lost."""
    content = sent(*HISTORIES["an error that says nothing, with an image"])[2]["content"]
    assert [b["type"] for b in content] == ["tool_result", "tool_result", "image"]


def test_foreign_and_unsigned_reasoning_is_never_sent() -> None:
    """T5."""
    thoughts = [
        Thinking("plan one", None, False, "anthropic"),
        Thinking("plan two", "", False, "anthropic"),
        Thinking("plan three", "sig", False, "bedrock"),
        Thinking("", "sig", True, "gemini"),
    ]
    message = AssistantMessage((*thoughts, signed("mine"), Text("done")))
    assert sent(UserMessage("go"), message)[1]["content"] == [
        {"type": "thinking", "thinking": "mine", "signature": "c2VhbA=="},
        {"type": "text", "text": "done"},
    ]


def test_a_message_of_reasoning_alone_is_left_out() -> None:
    written = sent(UserMessage("go"), AssistantMessage((signed(),)), UserMessage("well?"))
    assert [m["role"] for m in written] == ["user", "user"]


def test_native_fields_of_others_are_dropped() -> None:
    """T5."""
    mine, other = Native("anthropic", '{"caller":{"type":"direct"}}'), Native("gemini", '{"thoughtSignature":"x"}')
    message = AssistantMessage((call(0, native=mine), call(1, native=other)))
    first, second = sent(UserMessage("go"), message)[1]["content"]
    assert first["caller"] == {"type": "direct"}
    assert set(second) == {"type", "id", "name", "input"}


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (Audio(Inline(b"RIFF", "audio/wav")), "audio"),
        (Image(Inline(b"<svg/>", "image/svg+xml")), "image/svg+xml"),
        (Document(Inline(b"PK", "application/zip")), "application/zip"),
        (Image(ProviderFile("openai", "file-1")), "openai"),
    ],
)
def test_content_the_api_cannot_take(block: Any, named: str) -> None:
    """Refused before any I/O, naming provider and feature."""
    with pytest.raises(ConfigError, match="Anthropic") as caught:
        sent(UserMessage((block,)))
    assert caught.value.code == "unsupported_feature" and named in caught.value.message and caught.value.hint


def test_a_missing_blob_is_told() -> None:
    with pytest.raises(StateError) as caught:
        sent(UserMessage((Image(BlobRef("beef", 8, "image/png")),)))
    assert caught.value.code == "missing_blob" and "beef" in caught.value.message


# --- heads ---


def test_a_head() -> None:
    made = CODEC.encode_head(
        head(tools=[WEATHER], temperature=0.5, stop=("END",), tool_choice=OneTool("weather"), cache="off")
    )
    assert made.path == "/v1/messages"
    assert made.headers == {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    assert json.loads(made.before + made.after) == {
        "model": BUDGETED,
        "max_tokens": 4096,
        "system": "Be brief.",
        "tools": [
            {
                "name": "weather",
                "description": "Forecast for a city.",
                "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
            }
        ],
        "tool_choice": {"type": "tool", "name": "weather"},
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "stream": True,
        "messages": [],
    }


def test_a_small_head() -> None:
    """Blank instructions and absent settings are left out."""
    h = RequestHead(BUDGETED, " \n", settings=ModelSettings(tool_choice="none"), stream=False)
    assert body_of(h, UserMessage("hi")) == {
        "model": BUDGETED,
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_a_patch_is_merged_last() -> None:
    extra = AnthropicExtra(metadata={"user_id": "u"}, betas=("a", "b"))
    patch: Patch = {
        "body": {"max_tokens": 9, "thinking": {"type": "disabled"}, "stream": None},
        "headers": {"X-A": "1"},
    }
    made = encode(API, Request(head(max_output_tokens=5, extra=extra, patch=patch), (UserMessage("x"),)))
    body = json.loads(made.body)
    assert (body["max_tokens"], body["metadata"], body["thinking"]) == (9, {"user_id": "u"}, {"type": "disabled"})
    assert "stream" not in body
    assert (made.headers["x-a"], made.headers["anthropic-beta"]) == ("1", "a,b")


def test_cache_breakpoints() -> None:
    """F-M4: tools and instructions end in a breakpoint each; messages are marked at send time, two at most."""
    h = head(tools=[WEATHER, WEATHER], extra=AnthropicExtra(cache_ttl="1h"))
    made = CODEC.encode_head(h)
    body = json.loads(made.before + made.after)
    mark = {"type": "ephemeral", "ttl": "1h"}
    assert body["system"] == [{"type": "text", "text": "Be brief.", "cache_control": mark}]
    assert [t.get("cache_control") for t in body["tools"]] == [None, mark]
    assert made.breakpoints == 2
    results = ToolMessage((result_of("t1.s1.c0", Cancelled("no")),))
    for message in (UserMessage("hi"), UserMessage((Text("a"), Text("b"))), results):
        element = bytes(CODEC.encode_messages((message,), 0, {}))
        marked, at = b"", 0
        for offset, inserted in CODEC.mark(element, made.mark):
            marked, at = marked + element[at:offset] + inserted, offset
        content = json.loads(marked + element[at:])["content"]
        assert content[-1].pop("cache_control") == mark
        assert all("cache_control" not in block for block in content)


@pytest.mark.parametrize(
    ("choice", "parallel", "written"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
    ],
)
def test_tool_choice(choice: Any, parallel: bool | None, written: Any) -> None:
    h = head(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=parallel)
    assert body_of(h, UserMessage("x")).get("tool_choice") == written


@pytest.mark.parametrize(
    ("model", "reasoning", "most", "written"),
    [
        (BUDGETED, Reasoning(budget_tokens=2000), None, {"type": "enabled", "budget_tokens": 2000}),
        (BUDGETED, Reasoning("low"), None, {"type": "enabled", "budget_tokens": 2048}),
        (BUDGETED, Reasoning("high"), 8000, {"type": "enabled", "budget_tokens": 4000}),
        (BUDGETED, Reasoning("none"), None, None),
        ("claude-3-7-sonnet-20250219", Reasoning("minimal"), None, {"type": "enabled", "budget_tokens": 1024}),
        (
            "us.anthropic.claude-opus-4-20250514-v1:0",
            Reasoning("low"),
            None,
            {"type": "enabled", "budget_tokens": 2048},
        ),
        ("local-model", Reasoning("medium"), None, {"type": "enabled", "budget_tokens": 8192}),
        ("claude-opus-4-6", Reasoning(budget_tokens=2000), None, {"type": "enabled", "budget_tokens": 2000}),
        ("claude-opus-4-6", Reasoning("minimal"), None, {"type": "adaptive", "effort": "low"}),
        (ADAPTIVE, Reasoning("high"), None, {"type": "adaptive", "effort": "high"}),
        ("anthropic/claude-opus-4.7", Reasoning("medium"), None, {"type": "adaptive", "effort": "medium"}),
        ("claude-mythos-preview", Reasoning("low"), None, {"type": "adaptive", "effort": "low"}),
        ("claude-opus-5", Reasoning("none"), None, {"type": "disabled"}),
    ],
)
def test_reasoning(model: str, reasoning: Reasoning, most: int | None, written: Any) -> None:
    """By budget or by effort, as the model takes it; the answer always has room."""
    body = body_of(head(model, reasoning=reasoning, max_output_tokens=most), UserMessage("x"))
    thinking = body.get("thinking")
    if thinking is not None and "output_config" in body:
        thinking = thinking | body["output_config"]
    assert thinking == written
    if thinking is not None and "budget_tokens" in thinking:
        assert body["max_tokens"] > thinking["budget_tokens"]
    assert check_against(MessageCreateParamsStreaming, body) == []


THINK = Reasoning(budget_tokens=2000)


@pytest.mark.parametrize(
    ("model", "fields", "code", "named"),
    [
        (BUDGETED, {"seed": 1}, "unsupported_feature", "seed"),
        (BUDGETED, {"reasoning": THINK, "temperature": 0.2}, "conflicting_settings", "temperature"),
        (BUDGETED, {"reasoning": THINK, "top_p": 0.5}, "conflicting_settings", "top_p"),
        (BUDGETED, {"reasoning": THINK, "tool_choice": "required"}, "conflicting_settings", "tool choice"),
        (BUDGETED, {"reasoning": THINK, "tool_choice": OneTool("weather")}, "conflicting_settings", "tool choice"),
        (BUDGETED, {"reasoning": THINK, "max_output_tokens": 2000}, "conflicting_settings", "2000"),
        (BUDGETED, {"reasoning": Reasoning("low"), "max_output_tokens": 500}, "conflicting_settings", "500"),
        (BUDGETED, {"reasoning": Reasoning(budget_tokens=10)}, "invalid_setting", "1024"),
        (ADAPTIVE, {"reasoning": THINK}, "unsupported_feature", "budget"),
        (ADAPTIVE, {"temperature": 0.2}, "unsupported_feature", "temperature"),
        (BUDGETED, {"temperature": 1.5}, "invalid_setting", "1.5"),
        (BUDGETED, {"stop": (" ",)}, "invalid_setting", "stop"),
        (BUDGETED, {"patch": {"body": {"messages": []}}}, "invalid_setting", "messages"),
        (BUDGETED, {"patch": {"body": {"a": object()}}}, "invalid_setting", "JSON"),
    ],
)
def test_settings_the_api_cannot_take(model: str, fields: dict[str, Any], code: str, named: str) -> None:
    """Refused before any I/O, with a name for what is wrong."""
    with pytest.raises(ConfigError) as caught:
        CODEC.encode_head(head(model, tools=[WEATHER], **fields))
    assert caught.value.code == code
    assert named in caught.value.message


def test_a_forced_choice_needs_tools() -> None:
    with pytest.raises(ConfigError, match="has none"):
        CODEC.encode_head(head(tool_choice="required"))


# --- T5: a model that takes over in mid-turn ---

FOREIGN = AssistantMessage((Thinking("plan", "sig", False, "openai.responses"), call(0)))
UNSIGNED = AssistantMessage((call(0),))
MINE = AssistantMessage((signed(), call(0)))
DONE = ToolMessage((ToolResult("t1.s1.c0", "rain"),))


@pytest.mark.parametrize(
    ("model", "loop", "on"),
    [
        (BUDGETED, (), True),
        (BUDGETED, (MINE, DONE), True),
        (BUDGETED, (MINE, DONE, UNSIGNED, DONE), True),
        (BUDGETED, (UNSIGNED, DONE), False),
        (BUDGETED, (FOREIGN, DONE), False),
        (BUDGETED, (FOREIGN, DONE, UNSIGNED, DONE), False),
        (BUDGETED, (MINE, DONE, FOREIGN, DONE), False),
        (BUDGETED, (FOREIGN, DONE, AssistantMessage("done"), UserMessage("next")), True),
        # Said right behind results, it is sent in one message with them.
        (BUDGETED, (FOREIGN, DONE, UserMessage("next")), False),
        (BUDGETED, (UNSIGNED, DONE, UserMessage("next"), UserMessage("and")), False),
        (BUDGETED, (MINE, DONE, UserMessage("next")), True),
        (ADAPTIVE, (FOREIGN, DONE, UserMessage("next")), True),
        ("claude-sonnet-4-6", (UNSIGNED, DONE), True),
        (ADAPTIVE, (MINE, DONE), True),
        (ADAPTIVE, (UNSIGNED, DONE), True),  # a model that decides by itself may not have thought
        (ADAPTIVE, (FOREIGN, DONE), False),
    ],
)
def test_thinking_is_off_after_another_model_began_the_loop(model: str, loop: tuple[Message, ...], on: bool) -> None:
    """T5: off until the next user message; the API refuses such a loop otherwise."""
    h = head(model, reasoning=Reasoning("low"), tools=[WEATHER])
    history = (UserMessage("go"), *loop)
    made = CODEC.head_for(h, history)
    assert (made.settings.reasoning is not None) is on
    assert made is h or made == head(model, tools=[WEATHER])
    body = body_of(h, *history)
    assert ("thinking" in body) is on
    assert "plan" not in json.dumps(body)


def test_without_reasoning_the_head_stays_itself() -> None:
    h = head(reasoning=Reasoning("none"))
    assert CODEC.head_for(h, [UserMessage("go"), FOREIGN, DONE]) is h


def test_turning_thinking_off_keeps_the_messages() -> None:
    """T7: the head changes, the message bytes do not."""
    history = (UserMessage("go"), FOREIGN, DONE)
    before = CODEC.encode_messages(history, 0, {})
    body = encode(API, Request(head(reasoning=Reasoning("low")), history)).body
    assert before in body

"""Requests to Ollama's own API, by hazard: what it has no place for, prefixes that change, reasoning of others, ids and names of
calls, text that is no text. Held against the types of Ollama's own client, made strict, and against the rules of its documents."""

from __future__ import annotations

import importlib.util
import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.wire.official import ollama_problems

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
from turnwise.core.ids import call_id
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Failed, ToolResult, result_of
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, Reasoning, Request, RequestHead, ToolSpec
from turnwise.testing.validators import check
from turnwise.wire import codec, encode, read_response
from turnwise.wire.extras import OllamaExtra

API = "ollama.chat"
FOLDER = Path(__file__).parent / "fixtures" / "ollama"
PNG = b"\x89PNG\r\n\x1a\n"
IMAGE = b64encode(PNG).decode()
SCHEMA = '{"type":"object","properties":{"city":{"type":"string"}}}'
WEATHER = ToolSpec("weather", "Forecast for a city.", SCHEMA)
HI = UserMessage("hi")


def _histories() -> Any:
    spec = importlib.util.spec_from_file_location("histories", Path(__file__).with_name("histories.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.histories()


def head(*, stream: bool = True, tools: tuple[ToolSpec, ...] = (), instructions: str = "Be brief.", **fields: Any):
    return RequestHead("qwen3:8b", instructions, tools, ModelSettings(**fields), stream)


def body_of(h: RequestHead, *messages: Message, blobs: Any = None) -> dict[str, Any]:
    return json.loads(encode(API, Request(h, messages), blobs or {}).body)


def sent(*messages: Message, blobs: Any = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + codec(API).encode_messages(messages, 0, blobs or {}) + b"]")


def accepted(body: dict[str, Any]) -> bool:
    return [*ollama_problems(body), *check(API, body)] == []


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', name: str = "weather", **fields: Any) -> ToolCall:
    return ToolCall(call_id(1, 1, n), name, arguments, **fields)


def refusal(h: RequestHead, *messages: Message) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        body_of(h, *messages)
    assert "Ollama" in raised.value.info.message
    return raised.value


# --- T8: accepted by the API's rules ---

HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (HI, AssistantMessage("hello"), UserMessage("and?")),
    "media": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png"), "low"),
                Image(BlobRef("aa", 8, "image/webp")),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "notes.md"),
            )
        ),
    ),
    "parallel tools with one error": (
        UserMessage("weather?"),
        AssistantMessage((Text("Looking. "), call(0), call(1, ""), call(2, '{"ci', "map"))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", "rain"),
                result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
                ToolResult(
                    "t1.s1.c2", (Text("a map"), Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav")))
                ),
            )
        ),
        UserMessage("and now?"),
    ),
    "foreign reasoning and items": (
        UserMessage("think"),
        AssistantMessage((Thinking("mine", None, False, "ollama"), Text("Four."))),
        AssistantMessage((Thinking("plan", "sig", False, "anthropic"), Text("Five.", Native("anthropic", "{}")))),
        AssistantMessage((Thinking("", "ZGF0YQ==", True, "anthropic"),)),
        AssistantMessage((Opaque("web_search_call", Native("openai.responses", "{}")), Text("Six."))),
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
        AssistantMessage((Text("\n"),)),
        UserMessage((Text(""), Text("x"))),
    ),
    "media made by the model": (
        UserMessage("draw"),
        AssistantMessage((Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav")), call(0))),
        ToolMessage((ToolResult("t1.s1.c0", (Image(Inline(PNG, "image/png")),)),)),
    ),
    "media in results that cannot be sent": (
        UserMessage("read"),
        AssistantMessage((call(0), call(1))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", (Document(Inline(b"%PDF", "application/pdf")),)),
                ToolResult("t1.s1.c1", (Image(Url("https://example.com/a.png")), Image(Inline(b"x", "video/mp4")))),
            )
        ),
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
def test_requests_keep_the_rules(name: str, stream: bool) -> None:
    """T8."""
    h = head(stream=stream, tools=(WEATHER,), stop=("END",), tool_choice="auto", parallel_tool_calls=True, seed=7)
    body = body_of(h, *HISTORIES[name], blobs={"aa": PNG})
    assert accepted(body)
    assert body["stream"] is stream, "it streams if nothing is said"


def test_the_validator_sees_mistakes() -> None:
    good = body_of(head(tools=(WEATHER,), temperature=0.5), *HISTORIES["parallel tools with one error"])
    assert accepted(good)
    user, asked = {"role": "user", "content": "x"}, {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "a", "arguments": {}}}]}  # fmt: skip
    answer = {"role": "tool", "content": "x", "tool_name": "a"}
    for broken in (
        {**good, "tool_choice": "auto"},
        {**good, "think": "very"},
        {**good, "options": {"max_tokens": 5}},
        {**good, "options": {"seed": "x"}},
        {**good, "messages": []},
        {**good, "messages": [user, asked]},
        {**good, "messages": [user, answer]},
        {**good, "messages": [user, asked, answer, answer]},
        {**good, "messages": [user, asked, {**answer, "tool_name": "b"}]},
        {**good, "messages": [user, asked, {"role": "tool", "content": "x", "tool_call_id": "1"}]},
        {**good, "messages": [{**user, "content": [{"type": "text", "text": "x"}]}]},
        {**good, "messages": [{**user, "images": ["!"]}]},
        {**good, "messages": [{**user, "content": " "}]},
        {**good, "tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "array"}}}]},
        {k: v for k, v in good.items() if k != "model"},
    ):
        assert check(API, broken) != [], broken
    assert accepted({**good, "messages": [user, asked, answer]})


@pytest.mark.parametrize("name", ["text", "tools"])
def test_what_was_received_can_be_sent(name: str) -> None:
    """T8, T5: through the decoder and back, reasoning included."""
    message = read_response(API, 200, {}, [(FOLDER / f"{name}.json").read_bytes()]).message
    assert message is not None
    results = tuple([ToolResult(c.id, "ok") for c in message.tool_calls])
    body = body_of(head(tools=(WEATHER,)), UserMessage("go"), message, *([ToolMessage(results)] if results else []))
    assert accepted(body)
    original, back = json.loads((FOLDER / f"{name}.json").read_bytes())["message"], body["messages"][2]
    assert (back["content"], back.get("thinking")) == (original["content"], original.get("thinking"))
    for was, now in zip(original.get("tool_calls", []), back.get("tool_calls", []), strict=True):
        assert now["function"] == {k: v for k, v in was["function"].items() if k != "index"}


@examples(150)
@given(history=_histories(), at=st.integers(0, 12))
def test_any_history_keeps_the_rules(history: list[Message], at: int) -> None:
    """T8, T7."""
    assert accepted(body_of(head(tools=(WEATHER,)), *history))
    parts = [
        codec(API).encode_messages(history[:at], 0, {}),
        codec(API).encode_messages(history, min(at, len(history)), {}),
    ]
    assert b",".join([bytes(part) for part in parts if part]) == codec(API).encode_messages(history, 0, {})


# --- messages ---


def test_results_name_their_tool_and_images_follow() -> None:
    """T1, T4: nothing stands between calls and results; each names its tool and its call."""
    written = sent(*HISTORIES["parallel tools with one error"])
    assert [m["role"] for m in written] == ["user", "assistant", "tool", "tool", "tool", "user", "user"]
    assert [m["tool_name"] for m in written[2:5]] == ["weather", "weather", "map"]
    assert [m["tool_call_id"] for m in written[2:5]] == [c["id"] for c in written[1]["tool_calls"]]
    assert "no such city" in written[3]["content"]
    assert written[4]["content"] == "a map\n\n(a recording)"
    assert written[5] == {"role": "user", "content": "Attached to the result of tool call t1_s1_c2:", "images": [IMAGE]}


def test_names_of_tools_are_found_where_a_history_is_continued() -> None:
    """T7: the calls may have been encoded long before."""
    history = [HI, AssistantMessage((call(0, name="a"),)), ToolMessage((ToolResult("t1.s1.c0", "x"),)), HI]
    tail = json.loads(b"[" + codec(API).encode_messages(history, 2, {}) + b"]")
    assert tail[0]["tool_name"] == "a"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{ "a" : 1.0 }', b'{ "a" : 1.0 }'),
        ("", b"{}"),
        (" \n", b"{}"),
        ('{"a":', b'{"_invalid":"{\\"a\\":"}'),
        ("[1]", b'{"_invalid":"[1]"}'),
        ("null", b'{"_invalid":"null"}'),
        ("[" * 100_000, b'{"_invalid":"' + b"[" * 100_000 + b'"}'),
        ('{"a":"\ud800"}', b'{"_invalid":"{\\"a\\":\\"?\\"}"}'),
        ('{"a":1e999}', b'{"_invalid":"{\\"a\\":1e999}"}'),
    ],
    ids=["object", "empty", "blank", "cut", "array", "null", "deep", "surrogate", "number"],
)
def test_arguments(arguments: str, written: bytes) -> None:
    """E2: objects go as they came, byte for byte; anything else inside an object."""
    assert b'"arguments":' + written in codec(API).encode_messages([AssistantMessage((call(0, arguments),))], 0, {})


def test_text_that_is_not_unicode_is_replaced() -> None:
    history = (
        UserMessage("a\ud800"),
        AssistantMessage((call(),)),
        ToolMessage((ToolResult("t1.s1.c0", "\udfff.txt"),)),
    )
    assert [m["content"] for m in sent(*history)] == ["a?", "", "?.txt"]


def test_assistant_messages_with_nothing_to_send_are_left_out() -> None:
    nothing: tuple[Any, ...] = ("", " ", (), (Text(" "),), (Thinking("x", None, False, "ollama"),))
    assert sent(*[AssistantMessage(body) for body in nothing]) == []


def test_reasoning_goes_back_to_its_own_family_only() -> None:
    """T5."""
    own, foreign = Thinking("own", None, False, "ollama"), Thinking("foreign", "sig", False, "anthropic")
    assert sent(AssistantMessage((own, foreign, Text("Four.")))) == [
        {"role": "assistant", "content": "Four.", "thinking": "own"}
    ]


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        (Image(Url("https://example.com/a.png")), "images by URL"),
        (Image(ProviderFile("openai", "f")), "file id"),
        (Image(Inline(b"x", "video/mp4")), "video/mp4"),
        (Audio(Inline(b"x", "audio/wav")), "audio"),
        (Document(Inline(b"%PDF", "application/pdf")), "documents that are not text"),
        (Document(Url("https://example.com/a.pdf")), "documents that are not text"),
    ],
)
def test_media_that_the_api_does_not_take(block: Any, feature: str) -> None:
    error = refusal(head(), UserMessage((Text("x"), block)))
    assert error.info.code == "unsupported_feature" and feature in error.info.message and error.info.hint


def test_a_missing_blob_is_told() -> None:
    with pytest.raises(StateError, match="aa"):
        sent(UserMessage((Image(BlobRef("aa", 8, "image/png")),)))


# --- settings ---


def test_a_whole_head() -> None:
    h = head(
        tools=(WEATHER, ToolSpec("bare", " ", '{"type":"object"}', strict=True)),
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=("A", "B"),
        reasoning=Reasoning("low"),
        output=OutputFormat(SCHEMA),
        extra=OllamaExtra(
            keep_alive="10m", num_ctx=8192, top_k=20, min_p=0.1, shift=False, options={"num_gpu": 1, "seed": 1}
        ),
    )
    body = body_of(h, HI)
    assert accepted(body)
    assert body == {
        "model": "qwen3:8b",
        "stream": True,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Forecast for a city.",
                    "parameters": json.loads(SCHEMA),
                },
            },
            {"type": "function", "function": {"name": "bare", "parameters": {"type": "object"}}},
        ],
        "format": json.loads(SCHEMA),
        "think": "low",
        "truncate": False,
        "keep_alive": "10m",
        "shift": False,
        "options": {
            "num_gpu": 1,
            "seed": 7,
            "num_ctx": 8192,
            "top_k": 20,
            "min_p": 0.1,
            "num_predict": 100,
            "temperature": 0.5,
            "top_p": 0.9,
            "stop": ["A", "B"],
        },
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }


def test_a_bare_head() -> None:
    body = body_of(head(instructions=" ", stream=False), HI)
    assert body == {
        "model": "qwen3:8b",
        "stream": False,
        "truncate": False,
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_nothing_is_cut_off_unless_asked_for() -> None:
    """The server would drop the beginning of a long conversation and say nothing."""
    assert body_of(head(), HI)["truncate"] is False
    assert body_of(head(extra=OllamaExtra(truncate=True)), HI)["truncate"] is True


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", "medium"), ("high", "high"), ("xhigh", "high"), ("max", "high")],
)  # fmt: skip
def test_effort_levels(effort: Any, think: Any) -> None:
    assert body_of(head(reasoning=Reasoning(effort)), HI)["think"] == think
    assert body_of(head(reasoning=Reasoning(effort), extra=OllamaExtra(think="max")), HI)["think"] == "max"


def test_tool_choices() -> None:
    assert "tools" not in body_of(head(tools=(WEATHER,), tool_choice="none"), HI)
    assert "tool_choice" not in body_of(head(tools=(WEATHER,), tool_choice="auto"), HI)
    for choice in ("required", OneTool("weather")):
        assert "tool choice" in refusal(head(tools=(WEATHER,), tool_choice=choice), HI).info.message


@pytest.mark.parametrize(
    ("fields", "feature"),
    [
        ({"reasoning": Reasoning(budget_tokens=1000)}, "budget"),
        ({"parallel_tool_calls": False, "tools": (WEATHER,)}, "parallel_tool_calls"),
    ],
)
def test_what_the_api_has_no_place_for(fields: dict[str, Any], feature: str) -> None:
    error = refusal(head(**fields), HI)
    assert error.info.code == "unsupported_feature" and feature in error.info.message


def test_a_patch_is_merged() -> None:
    body = body_of(head(temperature=1.0, patch={"body": {"options": {"mirostat": 1}, "logprobs": True}}), HI)
    assert body["options"] == {"temperature": 1.0, "mirostat": 1} and body["logprobs"] is True
    assert accepted(body)


# --- prefixes and ids ---

ids = st.builds(call_id, st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)) | st.text(min_size=1, max_size=50)


@given(pair=st.lists(ids, min_size=2, max_size=2, unique=True))
def test_different_ids_stay_different(pair: list[str]) -> None:
    """T4."""
    made = sent(AssistantMessage(tuple([ToolCall(id, "a", "{}") for id in pair])))[0]["tool_calls"]
    assert len({c["id"] for c in made}) == 2


@given(names=st.lists(st.sampled_from(sorted(HISTORIES)), min_size=1, max_size=4), data=st.data())
def test_two_goes_give_the_same_bytes(names: list[str], data: st.DataObject) -> None:
    """T7."""
    history = [message for name in names for message in HISTORIES[name]]
    at = data.draw(st.integers(0, len(history)))
    first = codec(API).encode_messages(history[:at], 0, {"aa": PNG})
    second = codec(API).encode_messages(history, at, {"aa": PNG})
    whole = codec(API).encode_messages(history, 0, {"aa": PNG})
    assert b",".join([bytes(part) for part in (first, second) if part]) == whole

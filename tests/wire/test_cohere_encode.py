"""Requests to Cohere's chat API, by hazard: text beside calls, what it has no place for, prefixes that change, reasoning of
others, citations, ids. Held against the official SDK's models, made strict, and against the rules of the API's documents."""

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
from tests.wire.official import cohere_problems

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
from turnwise.wire.cohere.fold import PLAN
from turnwise.wire.extras import CohereExtra, OllamaExtra

API = "cohere.v2.chat"
FOLDER = Path(__file__).parent / "fixtures" / "cohere"
PNG = b"\x89PNG\r\n\x1a\n"
DATA_URL = f"data:image/png;base64,{b64encode(PNG).decode()}"
SCHEMA = '{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}'
WEATHER = ToolSpec("weather", "Forecast for a city.", SCHEMA)
MAP = ToolSpec("map", " ", '{"type":"object"}', strict=True)
HI = UserMessage("hi")

# --- helpers ---


def head(*, stream: bool = True, tools: tuple[ToolSpec, ...] = (), instructions: str = "Be brief.", **fields: Any):
    return RequestHead("command-a-03-2025", instructions, tools, ModelSettings(**fields), stream)


def body_of(h: RequestHead, *messages: Message, blobs: Any = None) -> dict[str, Any]:
    return json.loads(encode(API, Request(h, messages), blobs or {}).body)


def sent(*messages: Message, blobs: Any = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + codec(API).encode_messages(messages, 0, blobs or {}) + b"]")


def accepted(body: dict[str, Any]) -> None:
    assert cohere_problems(body) == []
    assert check(API, body) == []


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', **fields: Any) -> ToolCall:
    return ToolCall(call_id(1, 1, n), "weather", arguments, **fields)


def refusal(h: RequestHead, *messages: Message) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        body_of(h, *messages)
    assert "Cohere" in raised.value.info.message
    return raised.value


def _histories() -> Any:
    spec = importlib.util.spec_from_file_location("histories", Path(__file__).with_name("histories.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.histories()


OWN, FOREIGN = Thinking("own", None, False, "cohere"), Thinking("foreign", "sig", False, "anthropic")

HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (HI, AssistantMessage("hello"), UserMessage("and?")),
    "media": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png"), "low"),
                Image(BlobRef("aa", 8, "image/webp"), "original"),
                Image(Url("https://example.com/a.png")),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "notes.md"),
            )
        ),
    ),
    "parallel tools with one error": (
        UserMessage("weather?"),
        AssistantMessage((Text("Looking. "), call(0), call(1, ""), call(2, '{"ci'))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", "rain"),
                result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
                ToolResult(
                    "t1.s1.c2",
                    (Text("a map"), Text("b"), Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav"))),
                ),
            )
        ),
        UserMessage("and now?"),
    ),
    "reasoning": (
        UserMessage("think"),
        AssistantMessage((OWN, FOREIGN, Text("Four."))),
        AssistantMessage((OWN,)),
        AssistantMessage((Thinking("", "ZGF0YQ==", True, "anthropic"), Opaque("x", Native("openai.responses", "{}")))),
        UserMessage("and?"),
    ),
    "interrupted": (
        UserMessage("go"),
        AssistantMessage((OWN, call(0), call(1))),
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
        AssistantMessage((Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav")))),
        AssistantMessage((Image(Inline(PNG, "image/png")), call(0))),
        ToolMessage((ToolResult("t1.s1.c0", (Image(Inline(PNG, "image/png")),)),)),
    ),
    "media in results that cannot be sent": (
        UserMessage("read"),
        AssistantMessage((call(0), call(1))),
        ToolMessage(
            (
                ToolResult(
                    "t1.s1.c0", (Document(Inline(b"%PDF", "application/pdf")), Image(Inline(b"x", "image/svg+xml")))
                ),
                ToolResult("t1.s1.c1", (Image(ProviderFile("openai", "f")),)),
            )
        ),
    ),
}


# --- T8: accepted by the official types and by the API's rules ---


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
def test_requests_fit_the_official_types(name: str, stream: bool) -> None:
    """T8."""
    h = head(stream=stream, tools=(WEATHER, MAP), stop=("END",), tool_choice="auto", parallel_tool_calls=True)
    body = body_of(h, *HISTORIES[name], blobs={"aa": PNG})
    accepted(body)
    assert body["stream"] is stream


def test_both_checkers_see_mistakes() -> None:
    good = body_of(head(tools=(WEATHER,)), *HISTORIES["parallel tools with one error"])
    accepted(good)
    user, asked = (
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": good["messages"][2]["tool_calls"][:1]},
    )
    answer = {"role": "tool", "tool_call_id": "t1_s1_c0", "content": "x"}
    for broken in (
        {**good, "top_p": 1},
        {**good, "temperature": "1"},
        {**good, "tool_choice": "auto"},
        {**good, "safety_mode": "NONE"},
        {**good, "response_format": {"type": "json_schema"}},
        {**good, "thinking": {"type": "enabled", "budget_tokens": 5}},
        {**good, "messages": [{"role": "user", "content": [{"type": "text", "txt": "x"}]}]},
        {**good, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
        {**good, "messages": [{**answer, "tool_name": "x"}]},
        {k: v for k, v in good.items() if k != "model"},
    ):
        assert cohere_problems(broken) != [] and check(API, broken) != [], broken
    accepted({**good, "messages": [user, asked, answer]})
    for broken in (
        {**good, "messages": []},
        {**good, "messages": [user, asked]},
        {**good, "messages": [user, asked, answer, answer]},
        {**good, "messages": [user, answer]},
        {**good, "messages": [user, {**asked, "content": "text beside calls"}, answer]},
        {**good, "messages": [user, {"role": "assistant", "content": [{"type": "thinking", "thinking": "x"}]}]},
        {**good, "messages": [user, {"role": "assistant", "content": "x", "tool_plan": "y"}]},
        {**good, "messages": [{**user, "content": " "}]},
        {**good, "response_format": {"type": "json_object"}},
        {**good, "stop_sequences": list("abcdef")},
        {**good, "p": 1.0},
        {**good, "tools": [], "tool_choice": "REQUIRED"},
    ):
        assert check(API, broken) != [], broken


@examples(150)
@given(history=_histories(), at=st.integers(0, 12))
def test_any_history_is_accepted(history: list[Message], at: int) -> None:
    """T8, T7."""
    accepted(body_of(head(tools=(WEATHER,)), *history))
    parts = [
        codec(API).encode_messages(history[:at], 0, {}),
        codec(API).encode_messages(history, min(at, len(history)), {}),
    ]
    assert b",".join([bytes(part) for part in parts if part]) == codec(API).encode_messages(history, 0, {})


@pytest.mark.parametrize("form", ["json", "sse"])
@pytest.mark.parametrize("name", ["text", "tools", "reasoning"])
def test_what_was_received_can_be_sent(name: str, form: str) -> None:
    """T8, T5: through the decoder and back, with plan, reasoning and citations."""
    message = read_response(API, 200, {}, [(FOLDER / f"{name}.{form}").read_bytes()]).message
    assert message is not None
    results = tuple([ToolResult(c.id, "ok") for c in message.tool_calls])
    body = body_of(head(tools=(WEATHER,)), UserMessage("go"), message, *([ToolMessage(results)] if results else []))
    accepted(body)
    original, back = json.loads((FOLDER / f"{name}.json").read_bytes())["message"], body["messages"][2]
    if name == "text":
        original = {**original, "content": original["content"][0]["text"]}
    for was, now in zip(original.pop("tool_calls", []), back.pop("tool_calls", []), strict=True):
        assert now["function"] == was["function"]
    assert back == original


# --- messages ---


def test_text_beside_calls_is_the_plan() -> None:
    """The API refuses text content there; what was said is not lost."""
    plan = Thinking("I will look.", None, False, "cohere", PLAN)
    (written,) = sent(AssistantMessage((plan, Text("Looking."), call())))
    assert written["tool_plan"] == "I will look.\n\nLooking." and "content" not in written
    (written,) = sent(AssistantMessage((OWN, call())))
    assert written["content"] == [{"type": "thinking", "thinking": "own"}] and "tool_plan" not in written
    assert sent(AssistantMessage((plan, Text("No calls after all.")))) == [
        {"role": "assistant", "content": [{"type": "text", "text": "No calls after all."}]}
    ]


def test_reasoning_goes_back_to_its_own_family_only() -> None:
    """T5: a foreign plan is foreign, too."""
    foreign_plan = Thinking("foreign plan", None, False, "elsewhere", PLAN)
    (written, asked) = sent(AssistantMessage((OWN, FOREIGN, Text("Four."))), AssistantMessage((foreign_plan, call())))
    assert written["content"] == [{"type": "thinking", "thinking": "own"}, {"type": "text", "text": "Four."}]
    assert "foreign" not in json.dumps(asked)


def test_citations_go_back_with_their_text_where_it_stands_now() -> None:
    """Content that is not sent again moves the rest; citations of another family stay at home."""
    cited = {"start": 0, "end": 1, "text": "a", "sources": [], "content_index": 2}
    mine = Text("a", Native("cohere", json.dumps({"citations": [cited, {**cited, "start": 1}]})))
    theirs = Text("b", Native("anthropic", '{"citations":[{"type":"page"}]}'))
    (written,) = sent(AssistantMessage((FOREIGN, Text(" "), OWN, mine, theirs)))
    assert [p["type"] for p in written["content"]] == ["thinking", "text", "text"]
    assert written["citations"] == [{**cited, "content_index": 1}, {**cited, "start": 1, "content_index": 1}]
    (asked,) = sent(AssistantMessage((mine, call())))
    assert "citations" not in asked and asked["tool_plan"] == "a"


def test_content_of_unknown_types_goes_back_unchanged() -> None:
    kept = Opaque("image", Native("cohere", '{"type":"image","x":1.50}'))
    made = codec(API).encode_messages([AssistantMessage((kept, Text("x")))], 0, {})
    assert b'[{"type":"image","x":1.50},{"type":"text","text":"x"}]' in made


def test_results_are_one_message_each_and_images_follow() -> None:
    """T1: nothing stands between the calls and their results; each text of a result can be cited by itself."""
    written = sent(*HISTORIES["parallel tools with one error"])
    assert [m["role"] for m in written] == ["user", "assistant", "tool", "tool", "tool", "user", "user"]
    assert [m["tool_call_id"] for m in written[2:5]] == [c["id"] for c in written[1]["tool_calls"]]
    assert written[2]["content"] == "rain" and "no such city" in written[3]["content"]
    assert [p["text"] for p in written[4]["content"]] == ["a map", "b", "(a recording)"]
    assert written[5]["content"] == [
        {"type": "text", "text": "Attached to the result of tool call t1_s1_c2:"},
        {"type": "image_url", "image_url": {"url": DATA_URL}},
    ]


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ('{ "a" : 1.0 }', '{ "a" : 1.0 }'),
        ("", "{}"),
        (" \n", "{}"),
        ('{"a":', '{"_invalid":"{\\"a\\":"}'),
        ("[1]", '{"_invalid":"[1]"}'),
        ("null", '{"_invalid":"null"}'),
        ("[" * 100_000, '{"_invalid":"' + "[" * 100_000 + '"}'),
        ('{"a":"\ud800"}', '{"_invalid":"{\\"a\\":\\"?\\"}"}'),
    ],
    ids=["object", "empty", "blank", "cut", "array", "null", "deep", "surrogate"],
)
def test_arguments(arguments: str, written: str) -> None:
    """E2: objects go as they came, byte for byte; anything else inside an object."""
    assert sent(AssistantMessage((call(0, arguments),)))[0]["tool_calls"][0]["function"]["arguments"] == written


def test_text_that_is_not_unicode_is_replaced() -> None:
    history = (
        UserMessage("a\ud800"),
        AssistantMessage((Text("b\ud800"),)),
        ToolMessage((ToolResult("x", "\udfff.txt"),)),
    )
    assert [m["content"] for m in sent(*history)] == ["a?", [{"type": "text", "text": "b?"}], "?.txt"]


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        (Image(ProviderFile("openai", "f")), "file id"),
        (Image(Inline(b"x", "image/svg+xml")), "image/svg+xml"),
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
        tools=(WEATHER,),
        max_output_tokens=100,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=("A", "B"),
        reasoning=Reasoning(budget_tokens=500),
        tool_choice="required",
        extra=(
            OllamaExtra(top_k=1),
            CohereExtra(k=20, safety_mode="STRICT", citation_options={"mode": "OFF"}, priority=1),
        ),
    )
    body = body_of(h, HI)
    accepted(body)
    function = {"name": "weather", "description": "Forecast for a city.", "parameters": json.loads(SCHEMA)}
    assert body == {
        "model": "command-a-03-2025",
        "stream": True,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "REQUIRED",
        "max_tokens": 100,
        "temperature": 0.5,
        "p": 0.9,
        "stop_sequences": ["A", "B"],
        "seed": 7,
        "thinking": {"type": "enabled", "token_budget": 500},
        "safety_mode": "STRICT",
        "citation_options": {"mode": "OFF"},
        "k": 20,
        "priority": 1,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}],
    }


def test_a_bare_head_and_documents() -> None:
    body = body_of(head(instructions=" ", stream=False), HI)
    assert body == {"model": "command-a-03-2025", "stream": False, "messages": [{"role": "user", "content": "hi"}]}
    documents = ("plain text", {"id": "doc:0", "data": {"title": "facts", "text": "x"}})
    body = body_of(head(extra=CohereExtra(documents=documents)), HI)
    accepted(body)
    assert body["documents"] == list(documents)


@pytest.mark.parametrize(
    ("reasoning", "thinking"),
    [
        (Reasoning("none"), {"type": "disabled"}),
        (Reasoning("minimal"), {"type": "enabled", "token_budget": 1024}),
        (Reasoning("low"), {"type": "enabled", "token_budget": 2048}),
        (Reasoning("medium"), {"type": "enabled", "token_budget": 8192}),
        (Reasoning("high"), {"type": "enabled"}),
        (Reasoning("max"), {"type": "enabled"}),
        (Reasoning("max", 7), {"type": "enabled", "token_budget": 7}),
    ],
)
def test_reasoning(reasoning: Reasoning, thinking: dict[str, Any]) -> None:
    body = body_of(head(reasoning=reasoning), HI)
    accepted(body)
    assert body["thinking"] == thinking


def test_tool_choices() -> None:
    """The API can be told to call some tool, not which: it is then given no other."""
    both = (WEATHER, MAP)
    assert "tool_choice" not in body_of(head(tools=both, tool_choice="auto"), HI)
    assert body_of(head(tools=both, tool_choice="none"), HI)["tool_choice"] == "NONE"
    one = body_of(head(tools=both, tool_choice=OneTool("map")), HI)
    accepted(one)
    assert one["tool_choice"] == "REQUIRED" and [t["function"]["name"] for t in one["tools"]] == ["map"]
    for fields in ({"tool_choice": "required"}, {"tool_choice": OneTool("nope"), "tools": both}):
        assert refusal(head(**fields), HI).info.code == "conflicting_settings"
    assert "tools" not in body_of(head(tool_choice="none", parallel_tool_calls=False), HI)


def test_strict_tools_are_all_or_none() -> None:
    strict = ToolSpec("weather", "", SCHEMA, strict=True)
    assert body_of(head(tools=(strict, MAP)), HI)["strict_tools"] is True
    assert "strict_tools" not in body_of(head(tools=(strict, WEATHER)), HI)
    assert body_of(head(tools=(WEATHER,), extra=CohereExtra(strict_tools=True)), HI)["strict_tools"] is True
    assert body_of(head(tools=(strict,), extra=CohereExtra(strict_tools=False)), HI)["strict_tools"] is False


def test_structured_output() -> None:
    body = body_of(head(output=OutputFormat(SCHEMA)), HI)
    accepted(body)
    assert body["response_format"] == {"type": "json_object", "json_schema": json.loads(SCHEMA)}
    error = refusal(head(output=OutputFormat(SCHEMA), tools=(WEATHER,)), HI)
    assert error.info.code == "unsupported_feature" and "structured output" in error.info.message


def test_what_the_api_has_no_place_for() -> None:
    error = refusal(head(tools=(WEATHER,), parallel_tool_calls=False), HI)
    assert error.info.code == "unsupported_feature" and "parallel_tool_calls" in error.info.message
    assert refusal(head(reasoning=Reasoning(budget_tokens=0)), HI).info.code == "invalid_setting"


def test_a_patch_is_merged() -> None:
    body = body_of(head(patch={"body": {"logprobs": True, "temperature": None}}, temperature=1.0), HI)
    assert body["logprobs"] is True and "temperature" not in body


# --- ids ---

ids = st.builds(call_id, st.integers(0, 99), st.integers(0, 9), st.integers(0, 9)) | st.text(min_size=1, max_size=50)


@given(pair=st.lists(ids, min_size=2, max_size=2, unique=True))
def test_different_ids_stay_different(pair: list[str]) -> None:
    """T4."""
    made = sent(AssistantMessage(tuple([ToolCall(id, "a", "{}") for id in pair])))[0]["tool_calls"]
    assert len({c["id"] for c in made}) == 2

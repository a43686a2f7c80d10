"""Converse requests, by hazard: what the API refuses, prefixes that change, reasoning of others, ids and names that collide."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest
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
from turnwise.core.reducer import Reducer
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, Reasoning, Request, RequestHead, ToolSpec
from turnwise.testing import check
from turnwise.wire import codec, encode, read_response
from turnwise.wire.base import assemble
from turnwise.wire.bedrock.codec import bedrock_codec
from turnwise.wire.bedrock.models import family_of, origin_of
from turnwise.wire.extras import AnthropicExtra, BedrockExtra
from turnwise.wire.percent import decoded

API = "bedrock.converse"
CODEC = codec(API)
PNG = b"\x89PNG\r\n\x1a\n"
BUDGETED = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ADAPTIVE = "anthropic.claude-opus-4-8-v1"
NOVA = "us.amazon.nova-2-lite-v1:0"
GPT = "openai.gpt-oss-120b-1:0"
LLAMA = "meta.llama3-2-1b-instruct-v1:0"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/mi1dadi0g15f"
WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')


@cache
def sdk() -> Any:
    spec = importlib.util.spec_from_file_location("botocore_shapes", Path(__file__).with_name("botocore_shapes.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def head(model: str = BUDGETED, *, stream: bool = True, tools: Sequence[ToolSpec] = (), **fields: Any) -> RequestHead:
    return RequestHead(model, "Be brief.", tuple(tools), ModelSettings(**fields), stream)


def request(h: RequestHead, *messages: Message, blobs: dict[str, bytes] | None = None) -> tuple[str, dict[str, Any]]:
    made = encode(API, Request(h, messages), blobs)
    return made.path, json.loads(made.body)


def body_of(h: RequestHead, *messages: Message, blobs: dict[str, bytes] | None = None) -> dict[str, Any]:
    return request(h, *messages, blobs=blobs)[1]


def sent(*messages: Message, blobs: dict[str, bytes] | None = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + CODEC.encode_messages(messages, 0, blobs or {}) + b"]")


def accepted(h: RequestHead, *messages: Message, blobs: dict[str, bytes] | None = None) -> dict[str, Any]:
    """The body, once AWS's model of the API and the rules of its documents have found nothing."""
    path, body = request(h, *messages, blobs=blobs)
    assert sdk().problems_of("ConverseStream" if h.stream else "Converse", body) == []
    assert check(API, body, path=path) == []
    return body


def refused(code: str, h: RequestHead, *messages: Message) -> ConfigError:
    with pytest.raises(ConfigError) as error:
        encode(API, Request(CODEC.head_for(h, messages), messages))
    assert error.value.code == code
    return error.value


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', **fields: Any) -> ToolCall:
    return ToolCall(f"t1.s1.c{n}", "weather", arguments, **fields)


def signed(text: str = "Hm.") -> Thinking:
    return Thinking(text, "c2VhbA==", False, "bedrock")


def pdf(name: str | None = None) -> Document:
    return Document(Inline(b"%PDF-1.7", "application/pdf"), name)


def test_both_checkers_see_mistakes() -> None:
    """A check that cannot fail would hold nothing."""
    good = accepted(head(tools=[WEATHER]), UserMessage("hi"))
    user, hello = {"role": "user", "content": [{"text": "hi"}]}, {"role": "assistant", "content": [{"text": "hello"}]}
    use = {"toolUse": {"toolUseId": "a", "name": "f", "input": {}}}
    result = {"toolResult": {"toolUseId": "a", "content": [{"text": "x"}]}}
    document = {"document": {"name": "a", "format": "pdf", "source": {"bytes": "eA=="}}}
    for wrong in (
        {**good, "seed": 1},
        {**good, "messages": [{"role": "user", "content": [{"text": "hi", "image": {}}]}]},
        {
            **good,
            "messages": [{"role": "user", "content": [{"image": {"format": "bmp", "source": {"bytes": "eA=="}}}]}],
        },
        {**good, "messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "?"}}}]}]},
        {**good, "toolConfig": {"tools": []}},
        {**good, "messages": [user, {"role": "assistant", "content": [{"toolUse": {"toolUseId": "a", "name": "f"}}]}]},
    ):
        assert sdk().problems_of("ConverseStream", wrong) != []
        assert check(API, wrong) != []
    for messages in (
        [user, user],
        [hello, user],
        [{"role": "user", "content": [{"text": " "}]}],
        [{"role": "user", "content": []}],
        [user, {"role": "assistant", "content": [use]}],
        [user, {"role": "assistant", "content": [use]}, user],
        [{"role": "user", "content": [result]}],
        [user, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result, result]}],
        [
            user,
            {"role": "assistant", "content": [{"reasoningContent": {"reasoningText": {"text": "a"}}}, {"text": "b"}]},
        ],
        [{"role": "user", "content": [document]}],
        [{"role": "user", "content": [{"text": "a"}, document, document]}],
        [{"role": "user", "content": [{"text": "a"}, document, {"cachePoint": {"type": "default"}}]}],
        [{"role": "user", "content": [{"text": "a"}, *[{"cachePoint": {"type": "default"}}] * 5]}],
        [user, {"role": "assistant", "content": [{"text": "a "}]}],
    ):
        assert check(API, {**good, "messages": messages}) != [], messages
    assert check(
        API, {"messages": [user, {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}]}
    )
    assert check(API, good, path="/v1/messages") and check(API, good, path="/model/a%20b/converse")


# --- T8: accepted by AWS's model of the API and by its rules ---

HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (UserMessage("hi"), AssistantMessage("hello"), UserMessage("and?")),
    "media": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png")),
                Image(BlobRef("aa", 8, "image/webp")),
                Image(Url("s3://bucket/a.jpg")),
                Audio(Inline(b"RIFF", "audio/wav")),
                pdf("report_2024.pdf"),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "Grüße  aus\n東京"),
                Document(ProviderFile("bedrock", "s3://bucket/b.docx")),
            )
        ),
    ),
    "documents alone, and again": (
        UserMessage((pdf("a"),)),
        AssistantMessage("Read."),
        UserMessage((pdf("a"), Image(Inline(PNG, "image/png")))),
        UserMessage((pdf("a"), pdf())),
    ),
    "parallel tools with one error": (
        UserMessage("weather?"),
        AssistantMessage((Text("Looking. "), call(0), call(1, ""), call(2))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", "rain"),
                result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
                ToolResult("t1.s1.c2", (Text("a map"), Image(Inline(PNG, "image/png")), pdf("map"))),
            )
        ),
        UserMessage("and now?"),
    ),
    "signed, redacted and foreign reasoning": (
        UserMessage("think"),
        AssistantMessage((signed(), Thinking("", "ZGF0YQ==", True, "bedrock"), Text("Four."))),
        UserMessage("again"),
        AssistantMessage((Thinking("secret plan", "sig", False, "anthropic"), Thinking("unsigned"), Text("Five."))),
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
    "the assistant first, and twice": (
        AssistantMessage("Summary so far. \n"),
        AssistantMessage("Go."),
        UserMessage("on"),
    ),
    "made elsewhere": (
        UserMessage("draw"),
        AssistantMessage(
            (
                Opaque("reasoning", Native("openai.responses", '{"type":"reasoning"}')),
                Image(Inline(PNG, "image/png")),
                Audio(Inline(b"x", "audio/odd")),
                Text("There.", Native("anthropic", '{"citations":[{}]}')),
            )
        ),
        UserMessage("thanks"),
    ),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
def test_requests_are_accepted(name: str, stream: bool) -> None:
    """T8."""
    h = head(stream=stream, tools=[WEATHER], stop=("END",), tool_choice="auto", temperature=0.5, max_output_tokens=100)
    body = accepted(h, *HISTORIES[name], blobs={"aa": PNG})
    written = json.dumps(body["messages"])
    assert "secret plan" not in written and "unsigned" not in written and "openai" not in written


@pytest.mark.parametrize("name", ["parallel tools with one error", "interrupted"])
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"tool_choice": "none", "tools": [WEATHER], "parallel_tool_calls": False},
        {"tool_choice": "none", "extra": BedrockExtra(system_tools=("nova_grounding",))},
    ],
)
def test_calls_in_the_history_want_tools(name: str, fields: dict[str, Any]) -> None:
    """T8: the API refuses calls in a request without tools, and has no word for "none"."""
    body = accepted(head(**fields), *HISTORIES[name])
    names = [one.get("name") for tool in body["toolConfig"]["tools"] for one in tool.values()]
    assert names == ["no_tool_is_available", None], "the tool that does nothing, and a cache point"
    assert "toolConfig" not in accepted(head(**fields), UserMessage("hi"))


def test_two_of_one_role_are_kept_apart() -> None:
    """Merging would change what was written (T7), and the API wants turns to be taken."""
    body = sent(UserMessage("a"), UserMessage("b"), AssistantMessage("c"), AssistantMessage("d"))
    assert [(m["role"], m["content"][0]["text"]) for m in body] == [
        ("user", "a"),
        ("assistant", "(no reply)"),
        ("user", "b"),
        ("assistant", "c"),
        ("user", "(The conversation goes on from here.)"),
        ("assistant", "d"),
    ]


def test_what_was_received_goes_back() -> None:
    """T5: reasoning with its seal, server tools and citations, unchanged and in place."""
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2VhbA=="}}},
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"toolUse": {"input": {"q": 1}, "name": "nova_grounding", "toolUseId": "s", "type": "server_tool_use"}},
        {"toolResult": {"content": [{"text": "[HIDDEN]"}], "status": "success", "toolUseId": "s", "type": "r"}},
        {"citationsContent": {"content": [{"text": "Rain."}], "citations": [{"title": "t"}]}},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Oslo"}}},
    ]
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "tool_use"}
    message = read_response(API, 200, {}, [json.dumps(answer).encode()]).message
    assert message is not None
    (made,) = message.tool_calls
    history = (UserMessage("go"), message, ToolMessage((ToolResult(made.id, "ok"),)))
    body = accepted(head(tools=[WEATHER], extra=BedrockExtra(system_tools=("nova_grounding",))), *history)
    *rest, own = body["messages"][1]["content"]
    assert rest == content[:-1]
    assert own == {"toolUse": {**content[-1]["toolUse"], "toolUseId": own["toolUse"]["toolUseId"]}}


def test_documents_have_names_of_their_own() -> None:
    """No two may be called the same in a request, in whatever message; the API's characters only."""
    bad = "../a_b.pdf  <ignore\tme> " + "x" * 300
    history = [UserMessage((pdf(bad), Text("a"))), AssistantMessage("b"), UserMessage((Text("c"), pdf(bad), pdf(None)))]
    documents = [b["document"]["name"] for m in sent(*history) for b in m["content"] if "document" in b]
    assert documents[0].startswith("a b pdf ignore me xxx") and documents[0].endswith(" [1]")
    assert [d[-4:] for d in documents] == [" [1]", " [2]", " [3]"] and documents[2] == "document [3]"
    assert len(documents[0]) <= 200
    accepted(head(), *history)


@pytest.mark.parametrize(
    "block",
    [
        Image(Inline(b"x", "image/bmp")),
        Image(Url("https://example.com/a.png")),
        Image(ProviderFile("anthropic", "file_1")),
        Image(Url("s3://bucket/no-ending")),
        Document(Inline(b"x", "application/zip")),
        Document(Url("https://example.com/a.pdf")),
        Audio(Inline(b"x", "audio/odd")),
    ],
)
def test_media_that_the_api_cannot_take(block: Any) -> None:
    assert "Bedrock" in refused("unsupported_feature", head(), UserMessage((block, Text("?")))).message


def test_a_missing_blob() -> None:
    with pytest.raises(StateError):
        sent(UserMessage((Image(BlobRef("gone", 1, "image/png")),)))


def test_surrogates_and_invalid_arguments() -> None:
    """E2; what no JSON can hold is replaced, everything else is as it was."""
    history = (
        UserMessage("a\ud800b"),
        AssistantMessage((call(0, '{"a":'), call(1, "[1]"), call(2, '{"n": 1.50}'))),
        ToolMessage(tuple([ToolResult(f"t1.s1.c{n}", "c\udfff") for n in range(3)])),
    )
    body = accepted(head(tools=[WEATHER]), *history)
    assert body["messages"][0]["content"] == [{"text": "a?b"}]
    inputs = [b["toolUse"]["input"] for b in body["messages"][1]["content"]]
    assert inputs == [{"_invalid": '{"a":'}, {"_invalid": "[1]"}, {"n": 1.5}]
    assert b'"input":{"n": 1.50}' in CODEC.encode_messages(history[1:], 0, {})


# --- T1, T4, T7: any history ---

WORDS = st.text(alphabet=' \n\tab.é🌸"\\', max_size=6)
NATIVE = st.sampled_from([None, Native("bedrock", '{"citations":[{"title":"t"}]}'), Native("gemini", "{}")])
TEXTS = st.builds(Text, WORDS, NATIVE)
MEDIA = st.sampled_from([Image(Inline(PNG, "image/png")), pdf("a"), pdf(), Audio(Inline(b"x", "audio/mpeg"))])
THOUGHTS = st.builds(
    Thinking, WORDS, st.sampled_from([None, "", "c2ln"]), st.booleans(), st.sampled_from(["bedrock", "anthropic"])
)
OPAQUES = st.sampled_from([Opaque("reasoning", Native("openai.responses", "{}"))])
CALL_ARGUMENTS = st.sampled_from(["", " ", "{}", '{"a": 1}', "[1]", '{"a":', "null", '"text"', "\x00"])
USERS = st.builds(UserMessage, WORDS | st.lists(TEXTS | MEDIA, max_size=3).map(tuple))


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Valid transcripts (T1) of anything: any order of messages, calls answered at once and in order."""
    out: list[Message] = []
    for turn in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            out.append(draw(USERS))
            continue
        blocks = draw(
            st.lists(TEXTS | THOUGHTS | OPAQUES | MEDIA.filter(lambda b: type(b) is not Document), max_size=4)
        )
        calls = [ToolCall(f"t{turn}.s1.c{n}", "f", draw(CALL_ARGUMENTS)) for n in range(draw(st.integers(0, 2)))]
        for made in calls:
            blocks.insert(draw(st.integers(0, len(blocks))), made)
        out.append(AssistantMessage(tuple(blocks)) if draw(st.booleans()) or calls else AssistantMessage(draw(WORDS)))
        ordered = [b for b in blocks if type(b) is ToolCall]
        if calls:
            bodies = WORDS | st.lists(TEXTS | MEDIA, max_size=2).map(tuple)
            outcome = st.sampled_from([(), (Denied("no"),)])
            out.append(ToolMessage(tuple([ToolResult(c.id, draw(bodies), *draw(outcome)) for c in ordered])))
    return out


@given(histories())
@examples(200)
def test_any_history_is_accepted(history: list[Message]) -> None:
    """T1, T5, T8."""
    body = accepted(head(tools=[WEATHER]), *history)
    assert "anthropic" not in json.dumps(body["messages"])


@given(histories(), st.data())
@examples(200)
def test_encoding_in_parts_is_encoding_at_once(history: list[Message], data: st.DataObject) -> None:
    """T7: the bytes of a message do not depend on what comes later, nor on where the encoding paused."""
    cuts = sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=3)))
    pieces: list[bytearray] = []
    for a, b in zip([0, *cuts], [*cuts, len(history)], strict=True):
        pieces.append(CODEC.encode_messages(history[:b], a, {}))
    assert b",".join([p for p in pieces if p]) == CODEC.encode_messages(history, 0, {})


@given(st.lists(st.text(max_size=8) | st.from_regex(r"t[0-9]{1,2}\.s[0-9]\.c[0-9]", fullmatch=True), unique=True))
@example(["t1.s1.c0", "t1.s2.c0", "t2.s1.c0", "t1.s1.c1"])
@examples(200)
def test_ids_stay_different(ids: list[str]) -> None:
    """T4: within the pattern of every model, Mistral's nine letters and digits included."""
    results = sent(ToolMessage(tuple([ToolResult(i, "x") for i in ids])))[0]["content"] if ids else []
    written = [b["toolResult"]["toolUseId"] for b in results]
    assert len(set(written)) == len(ids)
    assert all(len(w) == 9 and w.isalnum() and w.isascii() for w in written)


# --- settings ---


def test_every_setting_has_its_place() -> None:
    extra = BedrockExtra(
        additionalModelRequestFields={"anthropic_beta": ["x"]},
        additionalModelResponseFieldPaths=["/stop_sequence"],
        guardrailConfig={"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"},
        performanceConfig={"latency": "optimized"},
        requestMetadata={"team": "a"},
        serviceTier={"type": "flex"},
        system_tools=("nova_grounding",),
        top_k=5,
    )
    h = head(
        tools=[ToolSpec("weather", " ", WEATHER.parameters, strict=True)],
        max_output_tokens=100,
        temperature=0.2,
        top_p=0.9,
        stop=("END",),
        tool_choice=OneTool("weather"),
        output=OutputFormat('{"type":"object"}', "city", "A city."),
        extra=(AnthropicExtra(top_k=9), extra),
        cache="off",
    )
    body = accepted(h, UserMessage("hi"))
    assert {k: v for k, v in body.items() if k != "messages"} == {
        "system": [{"text": "Be brief."}],
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.2, "topP": 0.9, "stopSequences": ["END"]},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "weather",
                        "inputSchema": {"json": json.loads(WEATHER.parameters)},
                        "strict": True,
                    }
                },
                {"systemTool": {"name": "nova_grounding"}},
            ],
            "toolChoice": {"tool": {"name": "weather"}},
        },
        "outputConfig": {
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "city", "description": "A city."}},
            }
        },
        "additionalModelRequestFields": {"top_k": 5, "anthropic_beta": ["x"]},
        "additionalModelResponseFieldPaths": ["/stop_sequence"],
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"},
        "performanceConfig": {"latency": "optimized"},
        "requestMetadata": {"team": "a"},
        "serviceTier": {"type": "flex"},
    }


@pytest.mark.parametrize(
    ("asked", "choice"),
    [("auto", {"auto": {}}), ("required", {"any": {}}), (OneTool("weather"), {"tool": {"name": "weather"}})],
)
def test_tool_choice(asked: Any, choice: Any) -> None:
    assert accepted(head(tools=[WEATHER], tool_choice=asked), UserMessage("hi"))["toolConfig"]["toolChoice"] == choice
    body = accepted(head(tools=[WEATHER], tool_choice=asked, parallel_tool_calls=False), UserMessage("hi"))
    own = body["additionalModelRequestFields"]["tool_choice"]
    assert "toolChoice" not in body["toolConfig"] and own["disable_parallel_tool_use"] is True
    assert own["type"] == {"auto": "auto", "required": "any"}.get(asked if isinstance(asked, str) else "", "tool")


@pytest.mark.parametrize(
    ("model", "reasoning", "fields"),
    [
        (BUDGETED, Reasoning("low"), {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (BUDGETED, Reasoning(budget_tokens=5000), {"thinking": {"type": "enabled", "budget_tokens": 5000}}),
        (ADAPTIVE, Reasoning("xhigh"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
        (ADAPTIVE, Reasoning("minimal"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
        ("anthropic.claude-sonnet-4-6", Reasoning("xhigh"), {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
        ("anthropic.claude-sonnet-4-6", Reasoning(budget_tokens=2000), {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (NOVA, Reasoning("max"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        (NOVA, Reasoning(), None),
        (GPT, Reasoning("minimal"), {"reasoning_effort": "low"}),
        (LLAMA, Reasoning("none"), None),
        (ADAPTIVE, Reasoning("none"), None),
    ],
)  # fmt: skip
def test_reasoning_in_each_familys_words(model: str, reasoning: Reasoning, fields: Any) -> None:
    body = accepted(head(model, reasoning=reasoning), UserMessage("hi"))
    assert body.get("additionalModelRequestFields") == fields


def test_an_effort_gives_way_to_other_settings() -> None:
    body = accepted(head(reasoning=Reasoning("high"), max_output_tokens=4000), UserMessage("hi"))
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2000
    body = accepted(head(NOVA, reasoning=Reasoning("high"), max_output_tokens=4000), UserMessage("hi"))
    assert body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"] == "medium"


@pytest.mark.parametrize(
    ("code", "h"),
    [
        ("unsupported_feature", head(seed=1)),
        ("invalid_setting", head(stop=(" ",))),
        ("invalid_setting", head(temperature=1.5)),
        ("invalid_setting", head(tools=[ToolSpec("größe", "", "{}")])),
        ("invalid_setting", head(tools=[ToolSpec("x" * 65, "", "{}")])),
        ("conflicting_settings", head(tool_choice="required")),
        ("unsupported_feature", head(NOVA, tools=[WEATHER], parallel_tool_calls=False)),
        ("unsupported_feature", head("anthropic.claude-3-7-sonnet-20250219-v1:0", tools=[WEATHER], parallel_tool_calls=False)),
        ("unsupported_feature", head(NOVA, tools=[ToolSpec("f", "", "{}", strict=True)])),
        ("unsupported_feature", head(LLAMA, reasoning=Reasoning("low"))),
        ("unsupported_feature", head(PROFILE, reasoning=Reasoning("low"))),
        ("unsupported_feature", head(NOVA, reasoning=Reasoning(budget_tokens=2000))),
        ("unsupported_feature", head(ADAPTIVE, reasoning=Reasoning(budget_tokens=2000))),
        ("unsupported_feature", head(ADAPTIVE, temperature=0.5)),
        ("unsupported_feature", head(LLAMA, extra=BedrockExtra(top_k=3))),
        ("invalid_setting", head(reasoning=Reasoning(budget_tokens=100))),
        ("conflicting_settings", head(reasoning=Reasoning(budget_tokens=2000), max_output_tokens=2000)),
        ("conflicting_settings", head(reasoning=Reasoning("low"), temperature=0.5)),
        ("conflicting_settings", head(reasoning=Reasoning("low"), tools=[WEATHER], tool_choice="required")),
        ("invalid_setting", head(patch={"body": {"messages": []}})),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_is_sent(code: str, h: RequestHead) -> None:
    assert refused(code, h, UserMessage("hi")).message


def test_paths() -> None:
    """The model is one segment of the path, written as HTTP clients send it: the signature covers it (see models/sigv4)."""
    for model in (BUDGETED, PROFILE, "arn:aws:sagemaker:us-east-1:123456789012:endpoint/a"):
        for stream, end in ((True, "/converse-stream"), (False, "/converse")):
            path, _ = request(head(model, stream=stream), UserMessage("hi"))
            _, first, segment, *rest = path.split("/")
            assert (first, decoded(segment), "/" + "/".join(rest)) == ("model", model, end)
    assert request(head(PROFILE), UserMessage("hi"))[0].startswith("/model/arn:aws:bedrock:us-east-1:123456789012:app")


def test_a_patch_is_merged_last() -> None:
    body = body_of(
        head(temperature=0.1, patch={"body": {"inferenceConfig": {"temperature": None, "x": 1}}}), UserMessage("hi")
    )
    assert body["inferenceConfig"] == {"x": 1}


# --- T5: reasoning that blocks reasoning ---


@pytest.mark.parametrize("model", [BUDGETED, ADAPTIVE])
def test_foreign_reasoning_in_a_tool_loop_turns_reasoning_off(model: str) -> None:
    h = head(model, tools=[WEATHER], reasoning=Reasoning("low"))
    loop = (UserMessage("go"), AssistantMessage((Thinking("Hm.", "s", False, "anthropic"), call(0))))
    done = (*loop, ToolMessage((ToolResult("t1.s1.c0", "x"),)))
    assert "additionalModelRequestFields" not in accepted(h, *done)
    assert "additionalModelRequestFields" in accepted(h, *done, UserMessage("and?"))
    own = (UserMessage("go"), AssistantMessage((signed(), call(0))), done[2])
    assert "additionalModelRequestFields" in accepted(h, *own)


def test_a_loop_that_began_without_reasoning() -> None:
    """Where thinking goes by budget, a loop must have begun with some; other families do not mind."""
    loop = (UserMessage("go"), AssistantMessage((call(0),)), ToolMessage((ToolResult("t1.s1.c0", "x"),)))
    for model, thinks in ((BUDGETED, False), (ADAPTIVE, True), (NOVA, True)):
        body = accepted(head(model, tools=[WEATHER], reasoning=Reasoning("low")), *loop)
        assert ("additionalModelRequestFields" in body) is thinks


# --- caching ---


def marked(h: RequestHead, *messages: Message) -> dict[str, Any]:
    """The request with its last two messages marked, as the runtime does it."""
    encoded = CODEC.encode_head(CODEC.head_for(h, messages))
    out: list[bytes] = []
    for n in range(len(messages)):
        element = bytes(CODEC.encode_messages(messages[: n + 1], n, {}))
        if n >= len(messages) - encoded.breakpoints:
            for offset, mark in reversed(CODEC.mark(element, encoded.mark)):
                element = element[:offset] + mark + element[offset:]
        out.append(element)
    body = json.loads(encoded.before + b",".join(out) + encoded.after)
    assert sdk().problems_of("ConverseStream", body) == []
    assert check(API, body) == []
    return body


def points(value: Any) -> int:
    if isinstance(value, dict):
        return ("cachePoint" in value) + sum(map(points, value.values()))
    return sum(map(points, value)) if isinstance(value, list) else 0


@pytest.mark.parametrize("name", HISTORIES)
def test_cache_points_are_where_the_api_takes_them(name: str) -> None:
    """F-M4, T7: at most four, none behind a document, an assistant's message or nothing."""
    history = [m for m in HISTORIES[name] if "media" not in name] or [UserMessage((Text("a"), pdf()))]
    body = marked(head(tools=[WEATHER]), *history)
    assert 3 <= points(body) <= 4
    assert points(body["toolConfig"]) == points(body["system"]) == 1
    for message in body["messages"]:
        assert points(message) == 0 or (message["role"], "cachePoint" in message["content"][-1]) == ("user", True)


def test_only_families_that_cache_are_marked() -> None:
    for model, parts in (
        (BUDGETED, {"system": 1, "toolConfig": 1, "messages": 1}),
        (NOVA, {"system": 1, "toolConfig": 0, "messages": 0}),
        (LLAMA, {"system": 0, "toolConfig": 0, "messages": 0}),
        (PROFILE, {"system": 0, "toolConfig": 0, "messages": 0}),
    ):
        body = marked(head(model, tools=[WEATHER]), UserMessage("hi"))
        assert {part: points(body[part]) for part in parts} == parts
    assert points(marked(head(tools=[WEATHER], cache="off"), UserMessage("hi"))) == 0
    body = marked(head(extra=BedrockExtra(cache_ttl="1h")), UserMessage("hi"))
    assert body["messages"][0]["content"][-1] == {"cachePoint": {"type": "default", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("model", "thinks", "caches"),
    [
        ("anthropic.claude-v2:1", "", False),
        ("anthropic.claude-instant-v1", "", False),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "", False),
        ("us.anthropic.claude-3-5-haiku-20241022-v1:0", "", True),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", "budget", True),
        ("eu.anthropic.claude-sonnet-4-20250514-v1:0", "budget", True),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude-opus-4-6-v1", "adaptive", True),
        ("us.anthropic.claude-sonnet-5", "adaptive", True),
        ("anthropic.claude-mythos-preview", "adaptive", True),
        ("amazon.nova-micro-v1:0", "", True),
        ("us.amazon.nova-2-lite-v1:0", "nova", True),
        ("us.deepseek.r1-v1:0", "", False),
        ("amazon.titan-text-express-v1", "", False),
    ],
)
def test_families(model: str, thinks: str, caches: bool) -> None:
    family = family_of(model)
    assert (family.thinks, bool(family.caches)) == (thinks, caches)


@pytest.mark.parametrize(
    ("model", "origin"),
    [
        (BUDGETED, "bedrock.anthropic"),
        ("anthropic.claude-v2:1", "bedrock.anthropic"),
        ("arn:aws:bedrock:us-east-1:1:inference-profile/global.anthropic.claude-opus-4-6-v1", "bedrock.anthropic"),
        ("arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0", "bedrock.amazon"),
        (NOVA, "bedrock.amazon"),
        ("us-gov.openai.gpt-oss-120b-1:0", "bedrock.openai"),
        ("zai.glm-4.7-flash", "bedrock.zai"),
        (PROFILE, "bedrock"),
        ("my-custom-model", "bedrock"),
    ],
)
def test_signature_families(model: str, origin: str) -> None:
    assert origin_of(model) == bedrock_codec(model).origin == origin
    assert bedrock_codec(model) == bedrock_codec(model)


def test_a_history_handed_from_vendor_to_vendor() -> None:
    """T5, T8: reasoning and server tools of one vendor's model are not sent to another's on the same API."""
    nova, claude = bedrock_codec(NOVA), bedrock_codec(BUDGETED)
    content = [
        {"reasoningContent": {"reasoningText": {"text": "plan", "signature": "c2VhbA=="}}},
        {"toolUse": {"input": {"q": 1}, "name": "nova_grounding", "toolUseId": "s", "type": "server_tool_use"}},
        {"toolResult": {"content": [{"text": "[HIDDEN]"}], "status": "success", "toolUseId": "s"}},
        {"citationsContent": {"content": [{"text": "Rain."}], "citations": [{"title": "t"}]}},
    ]
    answer = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": "end_turn"}
    decoder = nova.decoder(200, {})
    reducer = Reducer()
    reducer.feed([*decoder.feed(json.dumps(answer).encode()), *decoder.finish()])
    message = reducer.finish().message
    assert message is not None
    history = [UserMessage("weather?"), message, UserMessage("sure?")]
    for made, h, expected in (
        (nova, head(NOVA, extra=BedrockExtra(system_tools=("nova_grounding",))), content),
        (claude, head(BUDGETED), [{"text": "Rain."}]),
    ):
        sealed = made.encode_head(made.head_for(h, history))
        body = json.loads(assemble(sealed, made.encode_messages(history, 0, {})).body)
        assert body["messages"][1]["content"] == expected
        assert check(API, body, path=sealed.path) == []
        assert sdk().problems_of("ConverseStream", body) == []

"""Responses requests, by hazard: what the API refuses, reasoning out of place, items that changed on the way, prefixes that change."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
    ResponseCreateParamsStreaming,
)
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
from turnwise.core.ids import call_id
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Failed, ToolResult, result_of
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, Reasoning, Request, RequestHead, ToolSpec
from turnwise.testing.validators import check
from turnwise.wire import codec, encode, read_response
from turnwise.wire.base import assemble
from turnwise.wire.extras import OpenAIExtra, ResponsesExtra
from turnwise.wire.openai_responses.codec import CODEC, responses_codec

API = "openai.responses"
FOLDER = Path(__file__).parent / "fixtures" / "openai_responses"
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')
STRICT = ToolSpec("now", "", '{"type":"object","properties":{},"additionalProperties":false,"required":[]}', True)
SCHEMA = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"],"additionalProperties":false}'
SEARCH = {"type": "web_search", "search_context_size": "low"}
SEALED = "reasoning.encrypted_content"


def _checker() -> Callable[[Any, Any], list[str]]:
    spec = importlib.util.spec_from_file_location("sdk_types", Path(__file__).with_name("sdk_types.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check_against


check_against = _checker()


def head(
    *,
    stream: bool = True,
    tools: tuple[ToolSpec, ...] = (),
    instructions: str = "Be brief.",
    model: str = "gpt-5-mini",
    **fields: Any,
):
    return RequestHead(model, instructions, tools, ModelSettings(**fields), stream)


def body_of(h: RequestHead, *messages: Message, blobs: Any = None) -> dict[str, Any]:
    return json.loads(assemble(CODEC.encode_head(h), CODEC.encode_messages(messages, 0, blobs or {})).body)


def sent(*messages: Message, blobs: Any = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + CODEC.encode_messages(messages, 0, blobs or {}) + b"]")


def problems_of(body: dict[str, Any]) -> list[Any]:
    type_ = ResponseCreateParamsStreaming if body.get("stream") else ResponseCreateParamsNonStreaming
    return [*check_against(type_, body), *check(API, body)]


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', **fields: Any) -> ToolCall:
    return ToolCall(call_id(1, 1, n), "weather", arguments, **fields)


def thought(id: str = "rs_1", seal: str | None = "gAAAAAB", **fields: Any) -> Thinking:
    item = {"id": id, "type": "reasoning", "summary": [], **fields}
    return Thinking("", seal, False, API, Native(API, json.dumps(item)))


def part(text: str, id: str = "msg_1", phase: str | None = None, **fields: Any) -> Text:
    item = {"id": id, "status": "completed"} | ({"phase": phase} if phase else {})
    return Text(
        text,
        Native(
            API,
            json.dumps(
                {"item": item, "part": {"type": "output_text", "annotations": [], **fields}}, separators=(",", ":")
            ),
        ),
    )


def opaque(kind: str, **fields: Any) -> Opaque:
    return Opaque(kind, Native(API, json.dumps({"type": kind, "id": "x_1", **fields})))


CITE = {"type": "url_citation", "start_index": 0, "end_index": 4, "url": "https://example.com/a", "title": "A"}
REFUSAL = Opaque(
    "refusal", Native(API, '{"item":{"id":"msg_1","status":"completed"},"part":{"type":"refusal","refusal":"No."}}')
)
SEARCHED = opaque("web_search_call", status="completed", action={"type": "search", "query": "Oslo"})


def refusal_of(h: RequestHead, *messages: Message) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        body_of(h, *messages)
    return raised.value


def test_the_checkers_see_mistakes() -> None:
    """A check that cannot fail would hold nothing."""
    answered = ToolMessage((ToolResult("t1.s1.c0", "rain"),))
    good = body_of(head(tools=(WEATHER,)), UserMessage("hi"), AssistantMessage((thought(), call())), answered)
    assert problems_of(good) == []
    user, reasoning, asked, result = good["input"]
    for broken in (
        {**good, "top_k": 1},
        {**good, "stream": "yes"},
        {**good, "temperature": True},
        {**good, "input": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        {**good, "input": [{"role": "user", "content": [{"type": "input_image", "detail": "auto", "image_url": {}}]}]},
        {**good, "tools": [{"type": "function", "name": "f", "parameters": {}}]},
        {**good, "input": [user, {**asked, "arguments": {}}, result]},
        {**good, "input": [user, {**reasoning, "id": 5}, asked, result]},
    ):
        assert check_against(ResponseCreateParamsStreaming, broken) != []
        assert check(API, broken) != []
    for broken in (
        [user, reasoning],
        [user, reasoning, user],
        [user, reasoning, result],
        [user, asked],
        [user, result],
        [user, asked, user, result],
        [user, asked, result, result],
        [user, asked, asked, result],
        [user, asked, {**result, "type": "custom_tool_call_output"}],
        [user, {k: v for k, v in reasoning.items() if k != "encrypted_content"}, asked, result],
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": []}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,"}]}],
        [{"role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}]}],
        [{"type": "web_search_call"}],
        [{"type": "shell_call", "call_id": "c", "action": {"commands": ["ls"]}}],
        [{"type": "nonsense"}],
        [{"role": "user", "content": "x", "id": "msg_1"}],
        [{"role": "user", "content": [{"type": "input_text", "text": "x"}], "phase": "commentary"}],
        [{"role": "user", "content": [{"type": "input_text", "text": " "}]}],
        [{"role": "user", "content": [{"type": "input_file", "file_id": "f", "file_url": "https://x"}]}],
        [{"role": "user", "content": [{"type": "input_image", "image_url": "data:image/svg+xml;base64,aGk="}]}],
    ):
        assert check(API, {**good, "input": broken}) != [], broken
    for broken in (
        {"max_output_tokens": 1},
        {"include": ["everything"]},
        {"reasoning": {"effort": "huge"}},
        {"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}},
        {"tool_choice": {"type": "function", "name": "nobody"}},
        {"stop": ["x"]},
        {"seed": 1},
        {"model": None},
        {"input": 5},
        {"instructions": ["Be brief."]},
        {"stream": False, "stream_options": {"include_obfuscation": False}},
        {"metadata": {str(n): "x" for n in range(17)}},
        {"text": {"format": {"type": "xml"}}},
        {"text": {"size": 1}},
        {"tools": []},
        {"tools": [{"name": "f"}]},
        {"tools": good["tools"] * 2},
        {"tools": [{**good["tools"][0], "name": f"f{n}"} for n in range(129)]},
        {"tools": [{**good["tools"][0], "parameters": {"type": "array"}}]},
        {"tools": [{**good["tools"][0], "strict": True}]},
        {"tools": [{**good["tools"][0], "strict": True, "parameters": {"type": "object", "properties": 1}}]},
        {"tool_choice": "sometimes"},
    ):
        made = {**good, "tool_choice": "required"} if broken == {"tools": []} else good
        assert check(API, {**made, **broken}) != [], broken
    assert check(API, {**good, "input": "hi"}) == []
    assert check(API, {**good, "input": [result], "previous_response_id": "resp_1"}) == []


# --- T8: accepted by the official types and by the API's rules ---

HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (UserMessage("hi"), AssistantMessage("hello"), UserMessage("and?")),
    "media": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png"), "low"),
                Image(BlobRef("aa", 8, "image/webp")),
                Image(Url("https://example.com/a.png"), "auto"),
                Image(ProviderFile("openai", "file-2")),
                Document(Inline(b"%PDF-1.7", "application/pdf"), "report.pdf"),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "notes.md"),
                Document(Url("https://example.com/a.pdf")),
                Document(ProviderFile("openai.responses", "file-1")),
            )
        ),
    ),
    "parallel tools with one error": (
        UserMessage("weather?"),
        AssistantMessage((thought(), Text("Looking. "), call(0), call(1, ""), call(2, '{"ci'), call(3))),
        ToolMessage(
            (
                ToolResult("t1.s1.c0", "rain"),
                result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
                ToolResult(
                    "t1.s1.c2",
                    (Text("a map"), Image(Inline(PNG, "image/png")), Document(Inline(b"%PDF", "application/pdf"))),
                ),
                ToolResult("t1.s1.c3", (Audio(Inline(b"RIFF", "audio/wav")), Image(ProviderFile("gemini", "f")))),
            )
        ),
        UserMessage("and now?"),
    ),
    "reasoning of many origins": (
        UserMessage("think"),
        AssistantMessage((thought(), thought("rs_2"), part("Four.", phase="final_answer"))),
        AssistantMessage((Thinking("secret plan", "sig", False, "anthropic"), Text("Five."))),
        AssistantMessage((Thinking("", "ZGF0YQ==", True, "anthropic"),)),
        AssistantMessage((Thinking("summary alone", None, False, API), Text("Six."))),
        AssistantMessage((thought("rs_3"),)),
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
        AssistantMessage((thought(), Text("  "), call(0, " "))),
        ToolMessage((ToolResult("t1.s1.c0", ""),)),
        AssistantMessage((Text("\n"),)),
        UserMessage((Text(""), Text("x"))),
    ),
    "refused and cited": (
        UserMessage("go"),
        AssistantMessage((REFUSAL,)),
        UserMessage("why?"),
        AssistantMessage((thought(), SEARCHED, part("Rain", annotations=[CITE]), part(" and wind."))),
        AssistantMessage((Opaque("refusal", Native("elsewhere", '{"refusal":"No."}')), Text("Well."))),
    ),
    "made and run by others": (
        UserMessage("draw"),
        AssistantMessage((Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav")), call(0))),
        ToolMessage((ToolResult("t1.s1.c0", (Image(Inline(PNG, "image/png")),)),)),
        AssistantMessage((Opaque("server_tool_use", Native("anthropic", '{"type":"server_tool_use"}')), Text("Done."))),
        AssistantMessage(
            (
                thought(),
                opaque(
                    "local_shell_call",
                    call_id="c",
                    status="completed",
                    action={"type": "exec", "command": [], "env": {}},
                ),
            )
        ),
    ),
    "nothing at all": (),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
def test_requests_fit_the_official_types(name: str, stream: bool) -> None:
    """T8, and no foreign reasoning (T5)."""
    h = head(stream=stream, tools=(WEATHER, STRICT), tool_choice="auto", parallel_tool_calls=False)
    body = body_of(h, *HISTORIES[name], blobs={"aa": PNG})
    assert problems_of(body) == []
    assert not {"secret plan", "sig", "ZGF0YQ=="} & set(re.findall(r'"([^"]*)"', json.dumps(body)))


@pytest.mark.parametrize("name", ["text", "tools", "reasoning", "server_tools", "refusal", "cut_off"])
def test_what_was_received_can_be_sent(name: str) -> None:
    """T5, T8: through the decoder and back: reasoning, what the provider ran, refusals and cited text exactly as they came."""
    received = (FOLDER / f"{name}.json").read_bytes()
    message = read_response(API, 200, {}, [received]).message
    assert message is not None
    results = tuple([ToolResult(c.id, "ok") for c in message.tool_calls])
    history: list[Message] = [UserMessage("go"), message, *([ToolMessage(results)] if results else [])]
    body = body_of(head(tools=(WEATHER,)), *history)
    assert problems_of(body) == []
    came, back = json.loads(received)["output"], body["input"][1 : len(body["input"]) - len(results)]
    assert len(came) == len(back)
    for was, now in zip(came, back, strict=True):
        if was["type"] == "function_call":
            assert (now["name"], now["arguments"]) == (was["name"], was["arguments"] or "{}")
            assert "id" not in now
        elif was["type"] == "custom_tool_call":
            assert (now["type"], now["name"], now["input"]) == (was["type"], was["name"], was["input"])
        elif was["type"] == "message" and now.get("type") != "message":
            assert now["content"] == "".join(p["text"] for p in was["content"]) and now.get("phase") == was.get("phase")
            assert not any(p["annotations"] for p in was["content"])
        else:
            assert now == was
    kinds = [i["type"] for i in body["input"][len(body["input"]) - len(results) :]]
    assert kinds == [c["type"] + "_output" for c in came if "call_id" in c]


# --- T5: reasoning ---


@pytest.mark.parametrize(
    ("blocks", "kinds"),
    [
        ((thought(), Text("a")), ["reasoning", "assistant"]),
        ((thought(), thought("rs_2"), call()), ["reasoning", "reasoning", "function_call"]),
        ((thought(), SEARCHED, thought("rs_2"), Text("a")), ["reasoning", "web_search_call", "reasoning", "assistant"]),
        ((Text("a"), thought()), ["assistant"]),
        ((thought(),), []),
        ((thought(), Text(" "), call()), ["function_call"]),
        ((thought(), Opaque("x", Native("elsewhere", "{}")), Text("a")), ["assistant"]),
        ((thought(), Thinking("no seal", None, False, API), Text("a")), ["assistant"]),
        ((thought(), opaque("computer_call", call_id="c"), Text("a")), ["assistant"]),
        ((Thinking("x", "sig", False, "gemini"), Text("a")), ["assistant"]),
        ((Thinking("x", "sig", False, API), Text("a")), ["assistant"]),
    ],
)
def test_reasoning_goes_with_what_followed_it(blocks: Any, kinds: list[str]) -> None:
    """T5: never alone, never at the end, never when what it led to is left out."""
    assert [i.get("type") or i["role"] for i in sent(AssistantMessage(blocks))] == kinds


def test_reasoning_of_another_family_of_hosts_stays_there() -> None:
    """T5: hosts of one API need not be able to read each other's seals."""
    message = AssistantMessage((thought(), part("a", phase="final_answer"), REFUSAL))
    other = responses_codec("xai.responses", "xAI")
    assert json.loads(b"[" + other.encode_messages((message,), 0, {}) + b"]") == [{"role": "assistant", "content": "a"}]
    made = other.decoder(200, {})
    document = {
        "status": "completed",
        "output": [{"type": "reasoning", "id": "r", "summary": [], "encrypted_content": "s"}],
    }
    found = made.feed(json.dumps(document).encode()) + made.finish()
    assert [getattr(e, "origin", None) for e in found if hasattr(e, "origin")] == ["xai.responses"]


def test_seals_are_asked_for_where_there_are_any() -> None:
    """T5: nothing is kept with the provider, so reasoning must come sealed; models that do not reason refuse to be asked."""
    for model in ("gpt-5-mini", "o3", "gpt-5.6-sol", "codex-mini-latest", "grok-4", "gpt-oss-120b", "anything-new"):
        body = body_of(head(model=model), UserMessage("hi"))
        assert body["store"] is False and body["include"] == [SEALED]
    for model in ("gpt-4o", "gpt-4.1-mini", "gpt-3.5-turbo", "chatgpt-4o-latest", "gpt-5-chat-latest", "openai/gpt-4o"):
        assert "include" not in body_of(head(model=model), UserMessage("hi"))
    extra = ResponsesExtra(include=("web_search_call.results", SEALED), store=True)
    body = body_of(head(extra=extra), UserMessage("hi"))
    assert body["store"] is True and body["include"] == [SEALED, "web_search_call.results"]


# --- messages ---


def test_texts_are_one_message_until_something_stands_between() -> None:
    written = sent(
        AssistantMessage((Text("a "), Text("b"), call(), Text("c"), part("d", phase="commentary"), part("e", "msg_2")))
    )
    assert [i.get("content") for i in written] == ["a b", None, "c", "d", "e"]
    assert [i.get("phase") for i in written] == [None, None, None, "commentary", None]


def test_cited_text_without_an_id_is_text() -> None:
    """Hosts that give no ids: the item has no form without one."""
    native = Native(API, json.dumps({"item": {}, "part": {"type": "output_text", "annotations": [CITE]}}))
    refusal = Opaque(
        "refusal", Native(API, '{"item":{"status":"completed"},"part":{"type":"refusal","refusal":"No."}}')
    )
    unknown = Opaque("hologram", Native(API, '{"item":{},"part":{"type":"hologram"}}'))
    written = [sent(AssistantMessage((thought(), b))) for b in (Text("a", native), refusal, unknown)]
    assert [[i.get("content", i.get("type")) for i in w] for w in written] == [
        ["reasoning", "a"],
        ["reasoning", "No."],
        [],
    ]


def test_calls_that_the_provider_ran_go_back_with_their_outputs() -> None:
    ran = opaque("shell_call", call_id="c", action={"commands": ["ls"]}, status="completed")
    output = opaque("shell_call_output", call_id="c", output=[], max_output_length=None)
    assert [i["type"] for i in sent(AssistantMessage((ran, output)))] == ["shell_call", "shell_call_output"]
    assert [i["type"] for i in sent(AssistantMessage((ran, opaque("shell_call_output", call_id="d"))))] == [
        "shell_call_output"
    ]


def test_numbers_beyond_64_bits_go_back() -> None:
    """T5: what a provider wrote is not read and written anew."""
    big: dict[str, Any] = {"n": 10**30, "list": [-(10**20)]}
    item = {"type": "image_generation_call", "id": "ig_1", **big}
    said = AssistantMessage(
        (
            thought(**big),
            part("a", annotations=[big]),
            Image(Inline(b"hi", "image/png"), native=Native(API, json.dumps(item))),
            opaque("new", **big),
            call(native=Native(API, json.dumps(big))),
        )
    )
    written = sent(said)
    assert [i | big for i in written if "content" not in i] == [i for i in written if "content" not in i]
    assert len(written) == 5 and written[1]["content"][0]["annotations"] == [big]


def test_a_picture_goes_back_from_the_blob_store() -> None:
    """The bytes are stored once; with them the item is as it came."""
    item = {"id": "ig_1", "type": "image_generation_call", "status": "completed", "output_format": "png"}
    picture = Image(BlobRef("aa", 2, "image/png"), native=Native(API, json.dumps(item)))
    assert sent(AssistantMessage((picture,)), blobs={"aa": b"hi"}) == [{**item, "result": "aGk="}]
    with pytest.raises(StateError, match="aa"):
        sent(AssistantMessage((picture,)))
    foreign = Image(BlobRef("aa", 2, "image/png"), native=Native("elsewhere", json.dumps(item)))
    assert sent(AssistantMessage((foreign,))) == [
        {"role": "assistant", "content": "(an image that the assistant made)"}
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
        ("[" * 100_000, json.dumps({"_invalid": "[" * 100_000}, separators=(",", ":"))),
        ("\ud800", '{"_invalid":"?"}'),
        ('{"a":"\ud800"}', '{"a":"?"}'),
    ],
    ids=["object", "empty", "blank", "cut", "array", "null", "deep", "half a pair", "half a pair inside"],
)
def test_arguments(arguments: str, written: str) -> None:
    """E2: objects go as they came, byte for byte; anything else inside an object."""
    (item,) = sent(AssistantMessage((call(0, arguments),)))
    assert item == {"type": "function_call", "call_id": "t1_s1_c0", "name": "weather", "arguments": written}


def test_media_in_results_stay_in_results() -> None:
    """T1: nothing stands between the results; what cannot be shown is said in words."""
    results = (
        ToolResult("t1.s1.c0", (Text("a map"), Image(Inline(PNG, "image/png")))),
        ToolResult("t1.s1.c1", (Text("x"), Text("y"))),
        ToolResult("t1.s1.c2", (Audio(Inline(b"x", "audio/wav")),)),
    )
    first, second, third = sent(AssistantMessage((call(0), call(1), call(2))), ToolMessage(results))[3:]
    assert [p["type"] for p in first["output"]] == ["input_text", "input_image"]
    assert second["output"] == "xy"
    assert "does not take audio" in third["output"][0]["text"]


@pytest.mark.parametrize(
    ("block", "written"),
    [
        (Image(Url("https://x/a.png"), "high"), {"type": "input_image", "detail": "high", "image_url": "https://x/a.png"}),
        (Image(BlobRef("aa", 1, "image/webp")), {"type": "input_image", "detail": "auto", "image_url": "data:image/webp;base64,aGk="}),
        (Image(ProviderFile("openai", "f")), {"type": "input_image", "detail": "auto", "file_id": "f"}),
        (Document(ProviderFile("openai", "f")), {"type": "input_file", "file_id": "f"}),
        (Document(Url("https://x/a.pdf")), {"type": "input_file", "file_url": "https://x/a.pdf"}),
        (Document(BlobRef("aa", 1, "application/pdf")), {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="}),
        (Document(Inline(b"", "text/plain")), {"type": "input_text", "text": "(empty document)"}),
    ],
)  # fmt: skip
def test_media(block: Any, written: dict[str, Any]) -> None:
    (message,) = sent(UserMessage((block,)), blobs={"aa": b"hi"})
    assert message == {"role": "user", "content": [written]}


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        (Audio(Inline(b"x", "audio/wav")), "audio"),
        (Image(Inline(b"x", "image/svg+xml")), "'image/svg+xml' as an image"),
        (Document(Inline(b"x", "audio/mpeg")), "'audio/mpeg' as a document"),
        (Document(ProviderFile("anthropic", "file_1")), "the file 'file_1' of 'anthropic'"),
        (Image(ProviderFile("gemini", "file_1")), "the image 'file_1' of 'gemini'"),
    ],
)
def test_content_that_is_refused(block: Any, feature: str) -> None:
    """Said before any I/O, with provider, feature and what to do."""
    error = refusal_of(head(), UserMessage((block,)))
    assert error.code == "unsupported_feature" and error.hint
    assert "OpenAI Responses" in error.message and feature in error.message


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    """Tools read them from odd file names, and no JSON can hold them."""
    odd = "a\ud800b"
    said = (UserMessage(odd), AssistantMessage((Text(odd), call(0, odd))), ToolMessage((ToolResult("t1.s1.c0", odd),)))
    written = sent(*said)
    assert "\ud800" not in json.dumps(written, ensure_ascii=False) and written[0]["content"] == "a?b"
    assert problems_of(body_of(head(tools=(WEATHER,)), *said)) == []


# --- T4: ids ---

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
NUMBERS = st.integers(0, 40) | st.integers(0, 10**7) | st.integers(0, 10**12)
IDS = (
    st.builds(call_id, NUMBERS, NUMBERS, NUMBERS)
    | st.text(max_size=80)
    | st.from_regex(r"[-_.a-z0-9]{1,45}", fullmatch=True)
)


@given(st.lists(IDS, min_size=1, max_size=8, unique=True))
def test_ids_fit_and_stay_apart(ids: list[str]) -> None:
    """T4: in the API's pattern, alike for call and result, and different ids stay different."""
    asked = sent(AssistantMessage(tuple([ToolCall(i, "f", "", "call_same") for i in ids])))
    answered = sent(ToolMessage(tuple([ToolResult(i, "") for i in ids])))
    written = [cast("str", a["call_id"]) for a in asked]
    assert written == [a["call_id"] for a in answered]
    assert all(PLAIN.fullmatch(w) for w in written) and len(set(written)) == len(ids)


# --- T7: the prefix ---

WORDS = st.text(alphabet=' \n\tab.é🌸"\\\ud800', max_size=6)
BLOCKS = st.one_of(
    st.builds(Text, WORDS),
    st.builds(part, WORDS, st.sampled_from(["msg_1", "msg_2"]), st.sampled_from([None, "commentary"])),
    st.builds(Thinking, WORDS, st.none() | st.just("sig"), st.booleans(), st.sampled_from([API, "x"])),
    st.builds(thought, st.sampled_from(["rs_1", "rs_2"])),
    st.sampled_from(
        [REFUSAL, SEARCHED, part("cited", annotations=[CITE]), opaque("local_shell_call", call_id="c"), Image(Inline(PNG, "image/png")),
         Opaque("x", Native("x", "{}")), Image(Inline(PNG, "image/png"), native=Native(API, '{"type":"image_generation_call","id":"ig","status":"completed"}'))]
    ),
)  # fmt: skip
ARGUMENTS = st.sampled_from(["", " ", "{}", '{"a": 1}', "[1]", '{"a":', "null", '"text"', "\x00"])
CUSTOM = st.sampled_from([None, Native(API, '{"type":"custom_tool_call"}'), Native("x", '{"type":"custom_tool_call"}')])
MEDIA = st.lists(
    st.builds(Text, WORDS) | st.sampled_from([Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav"))]),
    max_size=3,
).map(tuple)
INPUT = st.lists(st.builds(Text, WORDS) | st.just(Image(Inline(PNG, "image/png"))), max_size=3).map(tuple)


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Valid transcripts (T1) of anything: calls are answered at once and in order."""
    out: list[Message] = []
    for turn in range(draw(st.integers(0, 5))):
        if draw(st.booleans()):
            out.append(UserMessage(draw(WORDS | INPUT)))
            continue
        calls = [
            ToolCall(f"t{turn}.s1.c{n}", "f", draw(ARGUMENTS), "same", draw(CUSTOM))
            for n in range(draw(st.integers(0, 3)))
        ]
        said: Any = (*draw(st.lists(BLOCKS, max_size=4)), *calls) if calls or draw(st.booleans()) else draw(WORDS)
        out.append(AssistantMessage(said))
        if calls:
            out.append(ToolMessage(tuple([ToolResult(c.id, draw(WORDS | MEDIA)) for c in calls])))
    return out


@given(histories(), st.data())
@examples(300)
def test_encoding_in_parts_is_encoding_at_once(history: list[Message], data: st.DataObject) -> None:
    """T7: the bytes of a message do not depend on what comes later, nor on where the encoding paused."""
    places = [0, *sorted(data.draw(st.lists(st.integers(0, len(history)), max_size=3))), len(history)]
    made = codec(API)
    parts = [made.encode_messages(history[:end], start, {}) for start, end in pairwise(places)]
    assert b",".join([p for p in parts if p]) == made.encode_messages(history, 0, {})


@given(histories())
@examples(300)
def test_any_history_is_accepted(history: list[Message]) -> None:
    """T1, T5, T8."""
    assert problems_of(body_of(head(), UserMessage("go"), *history)) == []


# --- the head ---


def test_a_body_is_written_in_parts() -> None:
    """T7: the head's bytes stand in front of the input."""
    request = Request(head(), (UserMessage("hi"),))
    assert encode(API, request).body == (
        b'{"model":"gpt-5-mini","instructions":"Be brief.","store":false,"include":["reasoning.encrypted_content"],'
        b'"stream":true,"input":[{"role":"user","content":"hi"}]}'
    )
    assert encode(API, request).path == "/responses"
    assert encode(API, request).headers == {"content-type": "application/json"}
    assert codec(API).mark(b"{}", b"") == () and codec(API).extras == (ResponsesExtra,)


def test_settings() -> None:
    h = head(
        stream=False,
        tools=(WEATHER, STRICT),
        max_output_tokens=99,
        temperature=0.5,
        top_p=0.9,
        tool_choice=OneTool("weather"),
        parallel_tool_calls=True,
        reasoning=Reasoning("high"),
        output=OutputFormat(SCHEMA, "answer", "A number."),
        extra=(
            OpenAIExtra(user="not for this API"),
            ResponsesExtra(
                server_tools=(SEARCH,), verbosity="low", service_tier="flex", prompt_cache_key="k", metadata={"a": "b"},
                max_tool_calls=3, truncation="auto", top_logprobs=2, safety_identifier="me", prompt_cache_retention="24h",
                context_management=[{"type": "compaction", "compact_threshold": 1000}],
            ),
        ),
    )  # fmt: skip
    body = body_of(h, UserMessage("hi"))
    assert problems_of(body) == []
    schema = json.loads(WEATHER.parameters)
    assert body.pop("tools") == [
        SEARCH,
        {
            "type": "function",
            "name": "weather",
            "description": "Forecast for a city.",
            "parameters": schema,
            "strict": False,
        },
        {"type": "function", "name": "now", "parameters": json.loads(STRICT.parameters), "strict": True},
    ]
    form = {
        "type": "json_schema",
        "name": "answer",
        "description": "A number.",
        "schema": json.loads(SCHEMA),
        "strict": True,
    }
    assert body == {
        "model": "gpt-5-mini",
        "instructions": "Be brief.",
        "tool_choice": {"type": "function", "name": "weather"},
        "parallel_tool_calls": True,
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {"format": form, "verbosity": "low"},
        "store": False,
        "include": [SEALED],
        "service_tier": "flex",
        "safety_identifier": "me",
        "prompt_cache_key": "k",
        "prompt_cache_retention": "24h",
        "metadata": {"a": "b"},
        "max_tool_calls": 3,
        "top_logprobs": 2,
        "truncation": "auto",
        "context_management": [{"type": "compaction", "compact_threshold": 1000}],
        "input": [{"role": "user", "content": "hi"}],
    }


@pytest.mark.parametrize(
    ("reasoning", "summary", "written"),
    [
        (None, None, None),
        (Reasoning(), None, None),
        (None, "detailed", {"summary": "detailed"}),
        (Reasoning("low"), None, {"effort": "low", "summary": "auto"}),
        (Reasoning("low"), "concise", {"effort": "low", "summary": "concise"}),
        (Reasoning("low"), "off", {"effort": "low"}),
        (Reasoning("none"), None, {"effort": "none"}),
        *[
            (Reasoning(e), None, {"effort": e, "summary": "auto"})
            for e in ("minimal", "medium", "high", "xhigh", "max")
        ],
    ],
)
def test_reasoning(reasoning: Reasoning | None, summary: Any, written: Any) -> None:
    body = body_of(head(reasoning=reasoning, extra=ResponsesExtra(summary=summary)), UserMessage("hi"))
    assert body.get("reasoning") == written and problems_of(body) == []


@pytest.mark.parametrize("instructions", ["", " \n"])
def test_blank_instructions_are_left_out(instructions: str) -> None:
    assert "instructions" not in body_of(head(instructions=instructions), UserMessage("hi"))


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_tool_settings_without_tools_are_left_out(choice: Any) -> None:
    body = body_of(head(tool_choice=choice, parallel_tool_calls=False), UserMessage("hi"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


@pytest.mark.parametrize("choice", ["auto", "none", "required"])
def test_a_choice_among_the_providers_tools(choice: Any) -> None:
    body = body_of(head(tool_choice=choice, extra=ResponsesExtra(server_tools=(SEARCH,))), UserMessage("hi"))
    assert body["tools"] == [SEARCH] and body["tool_choice"] == choice and problems_of(body) == []


def test_a_patch_is_merged_last() -> None:
    patch = {"body": {"include": None, "stream_options": {"include_obfuscation": False}}, "headers": {"X-A": "b"}}
    body = body_of(head(patch=patch), UserMessage("hi"))
    assert "include" not in body and body["stream_options"] == {"include_obfuscation": False}
    assert CODEC.encode_head(head(patch=patch)).headers["x-a"] == "b"


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"stop": ("END",)}, "unsupported_feature", "OpenAI Responses does not take stop sequences."),
        ({"seed": 1}, "unsupported_feature", "OpenAI Responses does not take a seed."),
        ({"reasoning": Reasoning(None, 9)}, "unsupported_feature", "does not take a reasoning budget in tokens"),
        ({"tool_choice": "required"}, "conflicting_settings", "OpenAI Responses cannot be made to call a tool"),
        ({"tool_choice": OneTool("f")}, "conflicting_settings", "OpenAI Responses cannot be made to call a tool"),
        ({"patch": {"body": {"input": []}}}, "invalid_setting", "patch may not hold `input`"),
        ({"patch": {"body": {"x": object()}}}, "invalid_setting", "cannot be written as JSON"),
        ({"instructions": "\ud800"}, "invalid_setting", "cannot be written as JSON"),
    ],
)
def test_settings_that_are_refused(fields: dict[str, Any], code: str, said: str) -> None:
    """Before any I/O, naming provider and feature."""
    error = refusal_of(head(**fields))
    assert error.code == code and said in error.message

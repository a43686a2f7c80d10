"""Chat Completions requests, by hazard: what hosts refuse, prefixes that change, reasoning of others, ids that collide."""

from __future__ import annotations

import importlib.util
import json
import re
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import (
    CompletionCreateParamsNonStreaming,
    CompletionCreateParamsStreaming,
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
from turnwise.wire.extras import OpenAIExtra
from turnwise.wire.openai_chat.codec import chat_codec
from turnwise.wire.openai_chat.profile import COMPATIBLE, LEVELS, OPENAI, Profile, nearest
from turnwise.wire.openai_chat.profiles import PROFILES

API = "openai.chat"
FOLDER = Path(__file__).parent / "fixtures" / "openai_chat"
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')
ROUTER = msgspec.structs.replace(
    COMPATIBLE,
    name="Router",
    effort="reasoning",
    budget="reasoning",
    reasoning_field="reasoning",
    returned_fields=("reasoning_details",),
)
BARE = Profile(
    "Bare",
    "bare",
    stream_usage=False,
    effort=None,
    call_ids="nine",
    images=False,
    audio=False,
    documents=None,
    parallel_tool_calls=False,
    seed_field=None,
)
NO_JSON = msgspec.structs.replace(BARE, output=None)


def _checker() -> Callable[[Any, Any], list[str]]:
    spec = importlib.util.spec_from_file_location("sdk_types", Path(__file__).with_name("sdk_types.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check_against


check_against = _checker()


def head(*, stream: bool = True, tools: tuple[ToolSpec, ...] = (), instructions: str = "Be brief.", **fields: Any):
    return RequestHead("gpt-5-mini", instructions, tools, ModelSettings(**fields), stream)


def body_of(h: RequestHead, *messages: Message, profile: Profile = OPENAI, blobs: Any = None) -> dict[str, Any]:
    made = chat_codec(profile)
    return json.loads(assemble(made.encode_head(h), made.encode_messages(messages, 0, blobs or {})).body)


def sent(*messages: Message, profile: Profile = OPENAI, blobs: Any = None) -> list[dict[str, Any]]:
    return json.loads(b"[" + chat_codec(profile).encode_messages(messages, 0, blobs or {}) + b"]")


def call(n: int = 0, arguments: str = '{"city": "Oslo"}', **fields: Any) -> ToolCall:
    return ToolCall(call_id(1, 1, n), "weather", arguments, **fields)


def refusal_of(h: RequestHead, *messages: Message, profile: Profile = OPENAI) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        body_of(h, *messages, profile=profile)
    return raised.value


def test_the_checker_sees_mistakes() -> None:
    """A check that cannot fail would hold nothing."""
    good = body_of(head(tools=(WEATHER,)), UserMessage("hi"), AssistantMessage((call(),)))
    assert check_against(CompletionCreateParamsStreaming, good) == []
    mistakes: list[Any] = [
        {**good, "top_k": 1},
        {**good, "stream": False},
        {k: v for k, v in good.items() if k != "model"},
        {**good, "temperature": True},
        {**good, "messages": [{"role": "user", "content": [{"type": "text", "txt": "hi"}]}]},
        {**good, "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "https://x"}]}]},
        {**good, "messages": [{"role": "tool", "content": "x"}]},
        {**good, "messages": [{"role": "assistant", "tool_calls": [{"id": "x", "type": "function", "function": {}}]}]},
    ]
    for broken in mistakes:
        assert check_against(CompletionCreateParamsStreaming, broken) != []
    assert check(API, good) != [], "its call is not answered"


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
                Audio(Inline(b"RIFF", "audio/wav")),
                Audio(BlobRef("aa", 8, "audio/mpeg")),
                Document(Inline(b"%PDF-1.7", "application/pdf"), "report.pdf"),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "notes.md"),
                Document(ProviderFile("openai", "file-1")),
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
                ToolResult("t1.s1.c2", (Text("a map"), Image(Inline(PNG, "image/png")))),
            )
        ),
        UserMessage("and now?"),
    ),
    "reasoning of many origins": (
        UserMessage("think"),
        AssistantMessage((Thinking("mine", None, False, "openai.chat"), Text("Four."))),
        AssistantMessage((Thinking("secret plan", "sig", False, "anthropic"), Text("Five."))),
        AssistantMessage((Thinking("", "ZGF0YQ==", True, "anthropic"),)),
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
    "refused": (
        UserMessage("go"),
        AssistantMessage((Opaque("refusal", Native("openai.chat", '{"refusal":"No."}')),)),
        UserMessage("why?"),
        AssistantMessage((Text("Because."), Opaque("refusal", Native("openai.chat", '{"refusal":"No."}')))),
        UserMessage("oh"),
        AssistantMessage((Opaque("refusal", Native("elsewhere", '{"refusal":"No."}')),)),
    ),
    "media made by the model": (
        UserMessage("draw"),
        AssistantMessage((Image(Inline(PNG, "image/png")), Audio(Inline(b"x", "audio/wav")), call(0))),
        ToolMessage((ToolResult("t1.s1.c0", (Image(Inline(PNG, "image/png")),)),)),
    ),
    "nothing at all": (),
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", HISTORIES)
@pytest.mark.parametrize("profile", ["openai", "azure", "compatible"])
def test_requests_fit_the_official_types(name: str, stream: bool, profile: str) -> None:
    """T8."""
    h = head(stream=stream, tools=(WEATHER,), stop=("END",), tool_choice="auto", parallel_tool_calls=False)
    row = msgspec.structs.replace(PROFILES[profile], file_origins=("openai",))
    body = body_of(h, *HISTORIES[name], profile=row, blobs={"aa": PNG})
    type_ = CompletionCreateParamsStreaming if stream else CompletionCreateParamsNonStreaming
    assert check_against(type_, {**body, "stream": stream}) == []
    assert check(API, body) == []


@pytest.mark.parametrize("name", ["text", "tools", "reasoning", "refusal", "parts"])
def test_what_was_received_can_be_sent(name: str) -> None:
    """T8: through the decoder and back."""
    message = read_response(API, 200, {}, [(FOLDER / f"{name}.json").read_bytes()]).message
    assert message is not None
    results = tuple([ToolResult(c.id, "ok") for c in message.tool_calls])
    history: list[Message] = [UserMessage("go"), message, *([ToolMessage(results)] if results else [])]
    body = body_of(head(tools=(WEATHER,)), *history)
    assert check_against(CompletionCreateParamsStreaming, body) == []
    assert check(API, body) == []
    back = body["messages"][2]
    original = json.loads((FOLDER / f"{name}.json").read_bytes())["choices"][0]["message"]
    if name in ("text", "tools"):
        assert back["content"] == original["content"]
    for was, now in zip(original.get("tool_calls", []), back.get("tool_calls", []), strict=True):
        assert now["function"] == {**was["function"], "arguments": was["function"]["arguments"] or "{}"}


# --- messages ---


def test_results_are_one_message_each_and_media_follow() -> None:
    """T1: nothing stands between the calls and their results; the tool role takes text only."""
    picture, results = Image(Inline(PNG, "image/png")), [ToolResult(call_id(1, 1, n), f"r{n}") for n in range(3)]
    results[0] = ToolResult(call_id(1, 1, 0), (Text("a map"), picture))
    results[2] = ToolResult(call_id(1, 1, 2), (picture,))
    written = sent(AssistantMessage((call(0), call(1), call(2))), ToolMessage(tuple(results)), UserMessage("thanks"))
    assert [m["role"] for m in written] == ["assistant", "tool", "tool", "tool", "user", "user"]
    assert [m["tool_call_id"] for m in written[1:4]] == [c["id"] for c in written[0]["tool_calls"]]
    assert [m["content"] for m in written[1:4]] == ["a map", "r1", "(The result is attached to the message below.)"]
    data = f"data:image/png;base64,{b64encode(PNG).decode()}"
    shown = {"type": "image_url", "image_url": {"url": data}}
    assert written[4]["content"] == [
        {"type": "text", "text": "Attached to the result of tool call t1_s1_c0:"},
        shown,
        {"type": "text", "text": "Attached to the result of tool call t1_s1_c2:"},
        shown,
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
        ('{"a": NaN}', '{"_invalid":"{\\"a\\": NaN}"}'),
        ("[" * 100_000, json.dumps({"_invalid": "[" * 100_000}, separators=(",", ":"))),
    ],
    ids=["object", "empty", "blank", "cut", "array", "null", "not JSON", "deep"],
)
def test_arguments(arguments: str, written: str) -> None:
    """E2: objects go as they came, byte for byte; anything else inside an object."""
    (message,) = sent(AssistantMessage((call(0, arguments),)))
    assert message["tool_calls"][0]["function"]["arguments"] == written
    assert message["content"] is None


def test_assistant_messages_with_nothing_to_send_are_left_out() -> None:
    nothing: tuple[Any, ...] = ("", "  ", (), (Text(" "),), (Thinking("x", None, False, "anthropic"),))
    assert sent(*[AssistantMessage(body) for body in nothing]) == []


def test_texts_of_one_message_are_joined() -> None:
    (message,) = sent(AssistantMessage((Text("a "), Thinking("x"), Text("b"), call(), Text(" c"))))
    assert message["content"] == "a b c"


def test_foreign_reasoning_is_never_sent() -> None:
    """T5: only reasoning of the same family goes back, and only where the host wants it."""
    details = Native("openai.compatible", '{"reasoning_details":[{"type":"reasoning.text","text":"own"}],"other":1}')
    own = Thinking("own", None, False, "openai.compatible", details)
    foreign = Thinking("foreign", "sig", False, "anthropic", Native("anthropic", '{"reasoning_details":["foreign"]}'))
    message = AssistantMessage((own, foreign, Text("Four.")))
    (written,) = sent(message, profile=ROUTER)
    assert written == {
        "role": "assistant",
        "content": "Four.",
        "reasoning": "own",
        "reasoning_details": [{"type": "reasoning.text", "text": "own"}],
    }
    for profile in (OPENAI, COMPATIBLE):
        assert sent(message, profile=profile) == [{"role": "assistant", "content": "Four."}]


def test_a_calls_extras_go_back_to_their_family() -> None:
    """T5: thought signatures beside a call."""
    extra = '{"extra_content":{"google":{"thought_signature":"c2ln"}}}'
    profile = msgspec.structs.replace(COMPATIBLE, returned_fields=("extra_content",))
    (written,) = sent(AssistantMessage((call(native=Native(profile.origin, extra)),)), profile=profile)
    assert written["tool_calls"][0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    (other,) = sent(AssistantMessage((call(native=Native("gemini", extra)),)), profile=profile)
    assert "extra_content" not in other["tool_calls"][0]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (Image(Url("https://x/a.png"), "high"), {"url": "https://x/a.png", "detail": "high"}),
        (Image(BlobRef("aa", 1, "image/webp")), {"url": "data:image/webp;base64,aGk="}),
        (Audio(Inline(b"hi", "audio/x-wav")), {"data": "aGk=", "format": "wav"}),
        (Audio(Inline(b"hi", "audio/mpeg; rate=1")), {"data": "aGk=", "format": "mp3"}),
        (Document(ProviderFile("openai", "file-1")), {"file_id": "file-1"}),
        (
            Document(BlobRef("aa", 1, "application/pdf")),
            {"filename": "document.pdf", "file_data": "data:application/pdf;base64,aGk="},
        ),
    ],
)
def test_media(block: Any, part: dict[str, Any]) -> None:
    (message,) = sent(UserMessage((block,)), blobs={"aa": b"hi"})
    (written,) = message["content"]
    assert written[written["type"]] == part


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        (Image(ProviderFile("openai", "file-1")), "images by file id"),
        (Image(Inline(b"x", "application/pdf")), "'application/pdf' as an image"),
        (Audio(Url("https://x/a.wav")), "audio by URL"),
        (Audio(Inline(b"x", "audio/ogg")), "'audio/ogg' as audio"),
        (Document(Url("https://x/a.pdf")), "documents by URL"),
        (Document(ProviderFile("anthropic", "file_1")), "the file 'file_1' of 'anthropic'"),
    ],
)
def test_content_that_is_refused(block: Any, feature: str) -> None:
    """Said before any I/O, with host, feature and what to do."""
    error = refusal_of(head(), UserMessage((block,)))
    assert error.code == "unsupported_feature" and error.hint
    assert "OpenAI" in error.message and feature in error.message


@pytest.mark.parametrize(
    ("block", "feature"),
    [
        (Image(Url("https://x/a.png")), "images"),
        (Audio(Inline(b"x", "audio/wav")), "audio"),
        (Document(Inline(b"x", "application/pdf")), "documents"),
    ],
)
def test_content_that_a_host_lacks(block: Any, feature: str) -> None:
    error = refusal_of(head(), UserMessage((block,)), profile=BARE)
    assert error.code == "unsupported_feature" and f"Bare does not take {feature}." in error.message


@pytest.mark.parametrize(
    ("block", "told"),
    [
        (Image(Url("https://x/a.png")), "(an image)"),
        (Audio(Inline(b"x", "audio/wav")), "(a recording)"),
        (Document(Inline(b"x", "application/pdf")), "(a document)"),
    ],
)
def test_results_that_a_host_lacks_are_told_in_words(block: Any, told: str) -> None:
    """What a tool gave back, elsewhere perhaps, must not end the conversation."""
    for body, text in (((block,), told), ((Text("here:"), block), f"here:\n{told}")):
        assert sent(ToolMessage((ToolResult("t1.s1.c0", body),)), profile=BARE) == [
            {"role": "tool", "tool_call_id": "000100100", "content": text}
        ]


def test_a_document_that_is_text_can_always_be_sent() -> None:
    note = Document(Inline(b"hi", "text/plain"), "a.txt")
    (_, attached) = sent(ToolMessage((ToolResult("t1.s1.c0", (note,)),)), profile=BARE)
    assert attached["content"][1] == {"type": "text", "text": "a.txt:\n\nhi"}


def test_a_missing_blob_is_named() -> None:
    with pytest.raises(StateError, match="aa"):
        sent(UserMessage((Image(BlobRef("aa", 1, "image/png")),)))


def test_halves_of_surrogate_pairs_are_replaced() -> None:
    """A tool that met an odd file name must not end the conversation, nor arguments that hold one."""
    odd = "a\ud800"
    call = ToolCall("t1.s1.c0", "f", f'{{"x":"{odd}"}}')
    user, said, result = sent(
        UserMessage(odd), AssistantMessage((Text(odd), call)), ToolMessage((ToolResult("t1.s1.c0", odd),))
    )
    assert user["content"] == said["content"] == result["content"] == "a?"
    assert said["tool_calls"][0]["function"]["arguments"] == '{"_invalid":"{\\"x\\":\\"a?\\"}"}'


# --- T4: ids ---

PLAIN = re.compile(r"[A-Za-z0-9_-]{1,40}")
NINE = re.compile(r"[A-Za-z0-9]{9}")
NUMBERS = st.integers(0, 40) | st.integers(0, 10**7) | st.integers(0, 10**12)
IDS = (
    st.builds(call_id, NUMBERS, NUMBERS, NUMBERS)
    | st.text(max_size=60)
    | st.from_regex(r"[-_.a-z0-9]{1,45}", fullmatch=True)
)


def mapped(id: str, profile: Profile) -> str:
    (asked,) = sent(AssistantMessage((ToolCall(id, "f", ""),)), profile=profile)
    (answered,) = sent(ToolMessage((ToolResult(id, ""),)), profile=profile)
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"]
    return cast("str", answered["tool_call_id"])


@given(st.lists(IDS, min_size=1, max_size=8, unique=True))
def test_ids_fit_and_stay_apart(ids: list[str]) -> None:
    """T4: in each host's pattern, and different ids stay different."""
    for profile, pattern in ((OPENAI, PLAIN), (BARE, NINE)):
        written = [mapped(i, profile) for i in ids]
        assert all(pattern.fullmatch(w) for w in written)
        assert len(set(written)) == len(ids)


def test_ids_once_sent_never_change() -> None:
    """T4: these are in the histories of people's sessions."""
    ids = ("t3.s1.c0", "t100.s20.c7", "call_abc", "x" * 50)
    assert [mapped(i, OPENAI) for i in ids] == [
        "t3_s1_c0",
        "t100_s20_c7",
        "-ed01972d3c168ca78408a00c7513ed973bf243c",
        "-77cf12060d47183ea8c40345e7389e7e05cb075",
    ]
    assert [mapped(i, BARE) for i in ids] == ["000300100", "001C00k07", "P3IaDGSzy", "K1M89i50e"]


# --- T7: the prefix ---

WORDS = st.text(alphabet=' \n\tab.é🌸"\\', max_size=6)
BLOCKS = st.one_of(
    st.builds(Text, WORDS),
    st.builds(Thinking, WORDS, st.none(), st.booleans(), st.sampled_from(["openai.chat", "x"])),
    st.just(Opaque("refusal", Native("openai.chat", '{"refusal":"No."}'))),
    st.just(Image(Inline(PNG, "image/png"))),
)
ARGUMENTS = st.sampled_from(["", " ", "{}", '{"a": 1}', "[1]", '{"a":', "null", '"text"', "\x00"])


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Valid transcripts (T1) of anything: calls are answered at once and in order."""
    out: list[Message] = []
    for turn in range(draw(st.integers(0, 5))):
        media = st.lists(st.builds(Text, WORDS) | st.just(Image(Inline(PNG, "image/png"))), max_size=3).map(tuple)
        if draw(st.booleans()):
            out.append(UserMessage(draw(WORDS | media)))
            continue
        calls = [ToolCall(f"t{turn}.s1.c{n}", "f", draw(ARGUMENTS)) for n in range(draw(st.integers(0, 3)))]
        said: Any = (*draw(st.lists(BLOCKS, max_size=3)), *calls) if calls or draw(st.booleans()) else draw(WORDS)
        out.append(AssistantMessage(said))
        if calls:
            out.append(ToolMessage(tuple([ToolResult(c.id, draw(WORDS | media)) for c in calls])))
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
    body = body_of(head(), UserMessage("go"), *history)
    assert check_against(CompletionCreateParamsStreaming, body) == []
    assert check(API, body) == []


# --- the head ---


def test_a_body_is_written_in_parts() -> None:
    """T7: the head's bytes stand in front, the instructions first among the messages."""
    request = Request(head(), (UserMessage("hi"),))
    assert encode(API, request).body == (
        b'{"model":"gpt-5-mini","stream":true,"stream_options":{"include_usage":true},'
        b'"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}]}'
    )
    assert encode(API, request).path == "/chat/completions"
    assert encode(API, request).headers == {"content-type": "application/json"}


@pytest.mark.parametrize("instructions", ["", " \n", "Be brief."])
@pytest.mark.parametrize("messages", [(), (UserMessage("hi"),), (AssistantMessage(""),)])
def test_commas_between_instructions_and_messages(instructions: str, messages: tuple[Message, ...]) -> None:
    body = body_of(head(instructions=instructions), *messages)
    count = bool(instructions.strip()) + sum(type(m) is UserMessage for m in messages)
    assert len(body["messages"]) == count


def test_settings() -> None:
    h = head(
        tools=(msgspec.structs.replace(WEATHER, strict=True),),
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=("a", "b"),
        seed=7,
        tool_choice=OneTool("weather"),
        parallel_tool_calls=True,
        reasoning=Reasoning("low"),
        extra=OpenAIExtra(logit_bias={"1": 2}),
        patch={"body": {"seed": 8}},
    )
    body = body_of(h, UserMessage("hi"))
    assert check_against(CompletionCreateParamsStreaming, body) == []
    del body["messages"]
    function = {"name": "weather", "description": WEATHER.description, "parameters": json.loads(WEATHER.parameters)}
    assert body == {
        "model": "gpt-5-mini",
        "tools": [{"type": "function", "function": {**function, "strict": True}}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": True,
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "stop": ["a", "b"],
        "seed": 8,
        "reasoning_effort": "low",
        "stream": True,
        "stream_options": {"include_usage": True},
        "logit_bias": {"1": 2},
    }


def test_a_schema_is_sent_as_written() -> None:
    """The schema's bytes are the caller's: order, spaces and numbers included."""
    schema = '{ "type":"object", "properties":{ "b":{}, "a":{"default":1.0} } }'
    written = codec(API).encode_head(head(tools=(ToolSpec("f", "", schema),))).before
    assert schema.encode() in written and b"description" not in written


def test_profiles_change_requests() -> None:
    h = head(tools=(msgspec.structs.replace(WEATHER, strict=True),), max_output_tokens=9, parallel_tool_calls=True)
    bare = body_of(h, UserMessage("hi"), profile=BARE)
    assert bare["max_tokens"] == 9 and bare["stream"] is True
    assert not {"stream_options", "parallel_tool_calls", "max_completion_tokens"} & bare.keys()
    assert "strict" not in bare["tools"][0]["function"]
    developer = msgspec.structs.replace(OPENAI, instructions_role="developer")
    assert body_of(head(), profile=developer)["messages"][0]["role"] == "developer"


@pytest.mark.parametrize(
    ("reasoning", "profile", "fields"),
    [
        (Reasoning(), OPENAI, {}),
        (Reasoning("none"), OPENAI, {"reasoning_effort": "none"}),
        (Reasoning("high"), COMPATIBLE, {"reasoning_effort": "high"}),
        (Reasoning("high"), ROUTER, {"reasoning": {"effort": "high"}}),
        (Reasoning("high", 2000), ROUTER, {"reasoning": {"max_tokens": 2000}}),
        (Reasoning(), BARE, {}),
        (Reasoning("xhigh"), OPENAI, {"reasoning_effort": "xhigh"}),
        (Reasoning("max"), PROFILES["groq"], {"reasoning_effort": "high", "reasoning_format": "parsed"}),
        (Reasoning("minimal"), PROFILES["groq"], {"reasoning_effort": "low", "reasoning_format": "parsed"}),
        (Reasoning("none"), PROFILES["groq"], {"reasoning_effort": "none"}),
        (Reasoning("none"), PROFILES["together"], {"reasoning": {"enabled": False}}),
        (Reasoning("max"), PROFILES["together"], {"reasoning": {"enabled": True}, "reasoning_effort": "high"}),
    ],
)
def test_reasoning(reasoning: Reasoning, profile: Profile, fields: dict[str, Any]) -> None:
    body = body_of(head(reasoning=reasoning), profile=profile)
    assert {n: v for n, v in body.items() if n.startswith("reasoning")} == fields


@pytest.mark.parametrize(
    ("asked", "known", "sent_as"),
    [
        ("max", LEVELS, "max"),
        ("max", ("low", "high"), "high"),
        ("minimal", ("low", "high"), "low"),
        ("medium", ("low", "high"), "high"),
        ("minimal", ("none", "high"), "high"),
        ("none", ("low", "high"), "low"),
        ("low", ("none",), "none"),
    ],
)
def test_the_nearest_level(asked: Any, known: Any, sent_as: str) -> None:
    """A wish to think is not answered with none."""
    assert nearest(asked, known) == sent_as


SCHEMA = '{ "type":"object", "properties":{"a":{"type":"number"}} }'


def test_structured_output() -> None:
    """By schema where the host has it: the schema's own bytes."""
    asked = head(output=OutputFormat(SCHEMA, "answer", "An answer."))
    format = body_of(asked, UserMessage("hi"))["response_format"]
    assert format == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "description": "An answer.", "schema": json.loads(SCHEMA), "strict": True},
    }
    assert check_against(CompletionCreateParamsStreaming, body_of(asked, UserMessage("hi"))) == []
    assert SCHEMA.encode() in codec(API).encode_head(asked).before
    loose = body_of(head(output=OutputFormat(SCHEMA, strict=False)), UserMessage("hi"))["response_format"]
    assert loose["json_schema"] == {"name": "output", "schema": json.loads(SCHEMA), "strict": False}


def test_structured_output_without_schemas() -> None:
    """A host that knows JSON alone is not said to enforce a schema; asked not to, it gets the schema in words."""
    lesser = msgspec.structs.replace(BARE, output="object")
    error = refusal_of(head(output=OutputFormat(SCHEMA)), profile=lesser)
    assert "Bare does not take structured output by a schema" in error.message and "strict=False" in (error.hint or "")
    body = body_of(head(output=OutputFormat(SCHEMA, strict=False)), profile=lesser)
    assert body["response_format"] == {"type": "json_object"}
    said = body["messages"][0]["content"]
    assert said.startswith("Be brief.\n\n") and "JSON" in said and SCHEMA in said
    alone = body_of(head(output=OutputFormat(SCHEMA, strict=False), instructions=""), profile=lesser)
    assert alone["messages"][0]["content"].endswith(SCHEMA)


@pytest.mark.parametrize("choice", [None, "auto", "none"])
def test_tool_settings_without_tools_are_left_out(choice: Any) -> None:
    body = body_of(head(tool_choice=choice, parallel_tool_calls=False), UserMessage("hi"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()


@pytest.mark.parametrize(
    ("fields", "profile", "code", "said"),
    [
        ({"seed": 1}, BARE, "unsupported_feature", "Bare does not take a seed."),
        ({"reasoning": Reasoning("low")}, BARE, "unsupported_feature", "Bare does not take reasoning settings."),
        ({"reasoning": Reasoning(None, 9)}, OPENAI, "unsupported_feature", "OpenAI does not take a reasoning budget"),
        (
            {"parallel_tool_calls": False, "tools": (WEATHER,)},
            BARE,
            "unsupported_feature",
            "Bare does not take parallel",
        ),
        ({"output": OutputFormat("{}")}, NO_JSON, "unsupported_feature", "Bare does not take structured output."),
        ({"output": OutputFormat("{")}, OPENAI, "invalid_setting", "The schema of `output`"),
        ({"output": OutputFormat("[]")}, OPENAI, "invalid_setting", "The schema of `output`"),
        ({"stop": ("a", "b", "c", "d", "e")}, OPENAI, "unsupported_feature", "more than 4 stop sequences"),
        ({"extra": OpenAIExtra(top_k=3)}, OPENAI, "unsupported_feature", "OpenAI does not take `top_k`."),
        ({"tools": (WEATHER,)}, PROFILES["perplexity"], "unsupported_feature", "Perplexity does not take tools."),
        (
            {"tools": (WEATHER,), "tool_choice": "required"},
            PROFILES["zai"],
            "unsupported_feature",
            "Z.ai does not take tool_choice='required'.",
        ),
        (
            {"tools": (WEATHER,), "tool_choice": OneTool("weather")},
            PROFILES["lmstudio"],
            "unsupported_feature",
            "LM Studio does not take a tool choice by name (weather).",
        ),
        ({"tool_choice": "required"}, OPENAI, "conflicting_settings", "OpenAI cannot be made to call a tool"),
        ({"tool_choice": OneTool("f")}, OPENAI, "conflicting_settings", "OpenAI cannot be made to call a tool"),
        ({"patch": {"body": {"messages": []}}}, OPENAI, "invalid_setting", "patch may not hold `messages`"),
        ({"patch": {"body": {"x": object()}}}, OPENAI, "invalid_setting", "cannot be written as JSON"),
        ({"stop": ("\ud800",)}, OPENAI, "invalid_setting", "cannot be written as JSON"),
        ({"instructions": "\ud800"}, OPENAI, "invalid_setting", "cannot be written as JSON"),
    ],
)
def test_settings_that_are_refused(fields: dict[str, Any], profile: Profile, code: str, said: str) -> None:
    """Before any I/O, naming host and feature."""
    error = refusal_of(head(**fields), profile=profile)
    assert error.code == code and said in error.message

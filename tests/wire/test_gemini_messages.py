"""Messages in requests to Google's generateContent: histories are accepted by Google's own types and the API's rules, and what came
from it goes back as it came. Settings are in `test_gemini_encode`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.wire.gemini_support import ORIGINS, body_of, call, head, own, result, sent

from turnwise import Agent, ToolError
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
from turnwise.core.outcomes import Failed, ToolResult
from turnwise.core.request import ToolSpec
from turnwise.events import ThinkingDelta
from turnwise.models.connection import Model
from turnwise.testing import ScriptedProvider, raw, reply, text, think
from turnwise.testing import call as tool_call
from turnwise.wire import read_response
from turnwise.wire.base import codec

FOLDER = Path(__file__).parent / "fixtures" / "gemini"
STUDIO, VERTEX = "gemini.generateContent", "vertex.generateContent"
BOTH = pytest.mark.parametrize("api", [STUDIO, VERTEX])
SIG = "c2lnbmF0dXJlLW9uZQ=="
SKIP = "skip_thought_signature_validator"
PNG = b"\x89PNG\r\n\x1a\n"
WEATHER = ToolSpec("weather", "Forecast.", '{"type":"object","properties":{"city":{"type":"string"}}}')
FAILED = Failed(ErrorInfo("tool", "tool_failed", "no such city"))


# --- histories (T8) ---

DRAWN = (Text("Here:"), Image(Inline(PNG, "image/png")))
HISTORIES: dict[str, tuple[Message, ...]] = {
    "plain": (UserMessage("hi"), AssistantMessage("hello"), UserMessage("and?")),
    "two users": (UserMessage("hi"), UserMessage(" "), UserMessage("there")),
    "begins with the model": (AssistantMessage("hello"), UserMessage("hi")),
    "two of the model": (UserMessage("hi"), AssistantMessage("a"), AssistantMessage((call(),)), ToolMessage((result(),))),
    "media": (
        UserMessage(
            (
                Text("Look:"),
                Image(Inline(PNG, "image/png")),
                Image(BlobRef("aa", 8, "image/webp")),
                Image(Url("https://example.com/a.png")),
                Audio(Inline(b"RIFF", "audio/wav")),
                Document(Inline(b"%PDF-1.7", "application/pdf"), "report"),
                Document(Inline("Grüße".encode(), "text/markdown; charset=utf-8"), "notes"),
                Document(Inline(b"", "application/json")),
                Document(Inline(b"mp4", "video/mp4")),
            )
        ),
    ),
    "parallel calls, one failed": (
        UserMessage("weather?"),
        AssistantMessage((Text("Let me see."), call(0, native=own(thoughtSignature=SIG)), call(1, ""), call(2, "{"))),
        ToolMessage((result(0), result(1, "no such city", outcome=FAILED), result(2, ""))),
        AssistantMessage("Sunny."),
        UserMessage("thanks"),
    ),
    "media in results": (
        UserMessage("draw"),
        AssistantMessage((call(0), call(1))),
        ToolMessage((result(0, DRAWN), result(1, (Image(Inline(PNG, "image/png")),)))),
    ),
    "interrupted": (UserMessage("tell"), AssistantMessage("Once upon", partial=True), UserMessage("go on")),
    "nothing said": (UserMessage("hi"), AssistantMessage(""), UserMessage("?"), AssistantMessage((Text(" "),)), UserMessage("!")),
    "blank thoughts": (
        UserMessage("hi"),
        AssistantMessage((*[Thinking("\n", None, False, o) for o in ORIGINS.values()], Text("a"))),
        UserMessage("go on"),
    ),
    "foreign": (
        UserMessage("hi"),
        AssistantMessage(
            (
                Thinking("theirs", "sig", False, "anthropic"),
                Text("a", Native("anthropic", '{"citations": []}')),
                Opaque("web_search", Native("openai.responses", '{"type": "x"}')),
                Image(Url("https://example.com/made.png")),
                call(native=Native("openai.chat", '{"x": 1}'), provider_id="call_1"),
            )
        ),
        ToolMessage((result(),)),
    ),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("name", HISTORIES)
def test_histories_are_accepted(name: str, api: str) -> None:
    body = body_of(head(tools=[WEATHER]), *HISTORIES[name], api=api, blobs={"aa": b"RIFFwebp"})
    assert body["contents"] == sent(*HISTORIES[name], api=api, blobs={"aa": b"RIFFwebp"})


@BOTH
@pytest.mark.parametrize("name", HISTORIES)
def test_in_two_goes_as_in_one(name: str, api: str) -> None:
    """T7"""
    messages, made_by = HISTORIES[name], codec(api)
    whole = made_by.encode_messages(messages, 0, {"aa": b""})
    for cut in range(len(messages) + 1):
        parts = [
            made_by.encode_messages(messages[:cut], 0, {"aa": b""}),
            made_by.encode_messages(messages, cut, {"aa": b""}),
        ]
        assert b",".join([p for p in parts if p]) == whole


# --- what becomes of blocks ---


def test_what_came_goes_back_as_it_came() -> None:
    """T5: an answer of the API, taken into the history, is sent back part by part with its signatures."""
    parts = [
        {"text": "Hm.", "thought": True, "thoughtSignature": SIG},
        {"executableCode": {"code": "1", "language": "PYTHON"}, "thoughtSignature": SIG},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK"}},
        {"text": "a", "thoughtSignature": SIG},
        {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}, "thoughtSignature": SIG},
        {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": SIG},
        {"text": "", "thoughtSignature": SIG},
    ]
    about = {"groundingMetadata": {"webSearchQueries": ["q"]}, "finishMessage": "ok"}
    answer = {"candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", **about}]}
    for api in (STUDIO, VERTEX):
        got = read_response(api, 200, {}, [json.dumps(answer).encode()]).message
        assert got is not None
        (content,) = [c for c in sent(UserMessage("q"), got, api=api) if c["role"] == "model"]
        wanted = json.loads(json.dumps(parts))
        if api == STUDIO:
            wanted[5]["functionCall"]["id"] = "t0_s0_c0"
        assert content["parts"] == wanted
        other = VERTEX if api == STUDIO else STUDIO
        foreign = json.dumps(sent(UserMessage("q"), got, api=other))
        assert SIG not in foreign and "Hm." not in foreign and "executableCode" not in foreign
        assert foreign.count(SKIP) == 1 and "an image that the assistant made" in foreign


@BOTH
def test_only_the_first_call_of_a_step_needs_a_signature(api: str) -> None:
    """T5: the documented skip value stands where the API would demand one that it never gave, and nowhere else."""
    signed = call(0, native=own(api, thoughtSignature=SIG))
    steps = [(signed, call(1)), (call(0), call(1)), (Text("Hm."), call(0))]
    assert [
        [p.get("thoughtSignature") for p in sent(UserMessage("q"), AssistantMessage(s), api=api)[1]["parts"]]
        for s in steps
    ] == [[SIG, None], [SKIP, None], [None, SKIP]]


def test_ids_are_ours_and_vertex_gets_them_where_it_gave_one() -> None:
    """T4"""
    calls = (call(0, provider_id="k1", native=own(VERTEX)), call(1), call(2, provider_id="call_9", native=own(STUDIO)))
    history = (UserMessage("q"), AssistantMessage(calls), ToolMessage((result(0), result(1), result(2))))
    for api, ids in ((STUDIO, ["t1_s1_c0", "t1_s1_c1", "t1_s1_c2"]), (VERTEX, ["t1_s1_c0", None, None])):
        _, asked, answered = sent(*history, api=api)
        assert [p["functionCall"].get("id") for p in asked["parts"]] == ids
        assert [p["functionResponse"].get("id") for p in answered["parts"]] == ids
        assert [p["functionResponse"]["name"] for p in answered["parts"]] == ["weather"] * 3


@given(st.lists(st.text(max_size=50), min_size=2, max_size=2, unique=True))
def test_different_ids_stay_different(ids: list[str]) -> None:
    """T4"""
    made_calls = AssistantMessage(tuple([ToolCall(i, "f", "{}") for i in ids]))
    first, second = [p["functionCall"]["id"] for p in sent(UserMessage("q"), made_calls)[1]["parts"]]
    assert first != second


def test_results_say_what_came_of_calls() -> None:
    results = (
        result(0),
        result(1, "no such city", outcome=FAILED),
        result(2, DRAWN),
        result(3, (Image(Inline(PNG, "image/png")),)),
    )
    history = (UserMessage("q"), AssistantMessage(tuple([call(n) for n in range(4)])), ToolMessage(results))
    _, _, answers, media = sent(*history)
    assert [p["functionResponse"]["response"] for p in answers["parts"]] == [
        {"output": "Sun"},
        {"error": "no such city"},
        {"output": "Here:"},
        {"output": "(The result is attached to the message below.)"},
    ]  # fmt: skip
    assert [list(p) for p in media["parts"]] == [["text"], ["inlineData"], ["text"], ["inlineData"]]
    orphan = sent(UserMessage("q"), ToolMessage((result(),)))[1]["parts"][0]["functionResponse"]
    assert orphan["name"] == "unknown_tool"


@pytest.mark.parametrize(
    ("arguments", "written"),
    [
        ("", {}),
        (" \n", {}),
        ("{", {"_invalid": "{"}),
        ("[1]", {"_invalid": "[1]"}),
        ("null", {"_invalid": "null"}),
        ('{"a":1e999}', {"_invalid": '{"a":1e999}'}),
    ],
)
def test_arguments_are_an_object(arguments: str, written: Any) -> None:
    """E2"""
    assert (
        sent(UserMessage("q"), AssistantMessage((call(0, arguments),)))[1]["parts"][0]["functionCall"]["args"]
        == written
    )


def test_arguments_keep_their_spelling() -> None:
    arguments = '{"n": 1.50, "big": 123456789012345678901234567890, "s": "\\u00e9"}'
    assert arguments.encode() in codec(STUDIO).encode_messages(
        [UserMessage("q"), AssistantMessage((call(0, arguments),))], 0, {}
    )


def test_lone_surrogates_do_not_stop_a_conversation() -> None:
    bad = "file\udc80name"
    history = (
        UserMessage(bad),
        AssistantMessage((call(0, json.dumps({"a": bad}, ensure_ascii=False)),)),
        ToolMessage((result(0, bad),)),
    )
    assert "file?name" in json.dumps(sent(*history))


def test_media_by_reference() -> None:
    blocks = (
        Image(Url("https://example.com/a.webp?x=1")),
        Image(Url("https://example.com/a")),
        Document(Url("https://www.youtube.com/watch?v=1", "video/mp4")),
        Document(ProviderFile("gemini", "files/abc")),
    )
    assert [p["fileData"] for p in sent(UserMessage(blocks))[0]["parts"]] == [
        {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"},
        {"mimeType": "image/jpeg", "fileUri": "https://example.com/a"},
        {"mimeType": "video/mp4", "fileUri": "https://www.youtube.com/watch?v=1"},
        {"mimeType": "application/pdf", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"},
    ]  # fmt: skip
    vertex = sent(UserMessage((Document(ProviderFile("vertex", "gs://b/c.pdf")),)), api=VERTEX)
    assert vertex[0]["parts"][0]["fileData"]["fileUri"] == "gs://b/c.pdf"


@pytest.mark.parametrize(
    ("block", "named"),
    [
        (Image(Inline(b"GIF89a", "image/gif")), "image/gif"),
        (Audio(Inline(b"x", "video/mp4")), "video/mp4"),
        (
            Document(Inline(b"PK", "application/vnd.openxmlformats-officedocument.wordprocessingml.document")),
            "wordprocessing",
        ),
        (Document(ProviderFile("openai", "file-1")), "file-1"),
    ],
)
def test_media_that_is_not_taken_is_refused_by_name(block: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        sent(UserMessage((block,)))
    assert caught.value.code == "unsupported_feature"


def test_a_missing_blob_is_named() -> None:
    with pytest.raises(StateError, match="feed"):
        sent(UserMessage((Image(BlobRef("feed", 1, "image/png")),)))


# --- any history ---

origins = st.sampled_from(["gemini", "vertex", "anthropic", "openai.chat"])
words = st.text(max_size=4)
signatures = origins.map(lambda o: Native(o, json.dumps({"thoughtSignature": SIG})))
said_blocks = st.one_of(
    st.builds(Text, words, st.none() | signatures),
    st.builds(Thinking, words, st.none() | st.just(SIG), st.just(False), origins),
    st.builds(lambda n: Opaque("executableCode", Native(n.origin, '{"executableCode": {"code": "1", "language": "PYTHON"}}')), signatures),
    st.builds(lambda n: Image(Inline(PNG, "image/png"), native=n), st.none() | signatures),
)  # fmt: skip
results_bodies = words | st.just(DRAWN) | st.just((Text(""),))


@st.composite
def steps(draw: st.DrawFn) -> list[Message]:
    """What one step of a valid transcript may be: calls have their results, in order, right behind them."""
    blocks: list[Any] = draw(st.lists(said_blocks, max_size=3))
    count, number = draw(st.integers(0, 2)), draw(st.integers(0, 10**6))
    calls = [
        ToolCall(f"t{number}.s0.c{n}", "weather", draw(st.sampled_from(["", "{}", '{"a": 1}', "x"])), draw(st.none() | st.just("k")), draw(st.none() | signatures))
        for n in range(count)
    ]  # fmt: skip
    out: list[Message] = [AssistantMessage((*blocks, *calls))]
    if calls:
        out.append(
            ToolMessage(
                tuple(
                    [
                        ToolResult(
                            c.id, draw(results_bodies), draw(st.just(FAILED) | st.just(ToolResult("", "").outcome))
                        )
                        for c in calls
                    ]
                )
            )
        )
    return out


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    groups = draw(st.lists(steps() | words.map(lambda w: [UserMessage(w)]), max_size=5))
    seen: set[str] = set()
    out: list[Message] = []
    for group in groups:
        first = group[0]
        ids = {c.id for c in first.tool_calls} if isinstance(first, AssistantMessage) else set()
        if not ids & seen:
            seen |= ids
            out += group
    return [*out, UserMessage("end")]


@BOTH
@given(history=histories(), cut=st.integers(0, 12))
@examples(80)
def test_any_history_is_accepted_and_prefix_stable(api: str, history: list[Message], cut: int) -> None:
    """T7, T8"""
    body_of(head(tools=[WEATHER]), *history, api=api)
    made_by, cut = codec(api), min(cut, len(history))
    whole = made_by.encode_messages(history, 0, {})
    parts = [made_by.encode_messages(history[:cut], 0, {}), made_by.encode_messages(history, cut, {})]
    assert b",".join([p for p in parts if p]) == whole


async def test_an_image_that_the_model_made_is_shown_to_it_again() -> None:
    """T5: the bytes go through the blob store and back, the signature stays on the part."""
    answer = (FOLDER / "image.json").read_bytes()
    script = [raw(answer, content_type="application/json"), reply(text("Larger", "."))]
    async with ScriptedProvider(script) as provider:
        agent = Agent(Model("gemini:gemini-3-pro", base_url=provider.url_for(STUDIO), api_key="k"), stream=False)
        session = agent.session()
        first = await session.run("Draw a dot.")
        assert first.text == "A dot:" and (await session.run("Larger!")).text == "Larger."
        assert provider.requests[1].problems == ()
        assert (
            provider.requests[1].body["contents"][1]["parts"] == json.loads(answer)["candidates"][0]["content"]["parts"]
        )


async def test_a_streamed_turn_with_parallel_tools() -> None:
    """T1, T5, E2: reasoning is streamed and goes back signed; each call has its result, in order, under its id."""
    seen: list[str] = []

    async def weather(city: str) -> str:
        """Forecast."""
        seen.append(city)
        if city == "Atlantis":
            raise ToolError("there is no such city")
        return f"Sun in {city}"

    asked = reply(
        think("Two ", "cities.", signature=SIG),
        tool_call("weather", city="Oslo"),
        tool_call("weather", city="Atlantis"),
    )
    async with ScriptedProvider([asked, reply(text("Sunny", "."))]) as provider:
        agent = Agent(Model("gemini:gemini-3-pro", base_url=provider.url_for(STUDIO), api_key="k"), tools=[weather])
        async with agent.session().stream("And there?") as turn:
            thoughts = [e.text async for e in turn if type(e) is ThinkingDelta]
        assert turn.result.text == "Sunny." and thoughts == ["Two ", "cities."] and sorted(seen) == ["Atlantis", "Oslo"]
        first, second = provider.requests
        assert first.path.endswith(":streamGenerateContent?alt=sse") and first.problems == second.problems == ()
        _, said, answered = second.body["contents"]
        assert [(p.get("thought"), p.get("thoughtSignature")) for p in said["parts"]] == [
            (True, None),
            (None, SIG),
            (None, None),
        ]
        answers = [p["functionResponse"] for p in answered["parts"]]
        assert [a["id"] for a in answers] == [p["functionCall"]["id"] for p in said["parts"][1:]]
        assert list(answers[0]["response"]) == ["output"] and list(answers[1]["response"]) == ["error"]

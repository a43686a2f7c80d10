"""Tools spoken of in text, by hazard: tags split anywhere, calls that cannot be read, histories, a turn with a real tool."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples

from turnwise import Agent, tool
from turnwise.core.content import Image, Inline, Native, Opaque, Text, Thinking, ToolCall
from turnwise.core.decoded import BlockAdded, BlockSealed, DecoderEvent, ResponseEnded, ResponseFailed, ResponseStarted
from turnwise.core.errors import ConfigError, ErrorInfo
from turnwise.core.events import TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Failed, ToolResult, result_of
from turnwise.core.reducer import Reducer
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, RequestHead, ToolSpec
from turnwise.models.connection import Model
from turnwise.testing import ScriptedProvider, reply
from turnwise.testing.validators import check
from turnwise.wire import APIS, codec
from turnwise.wire.base import assemble
from turnwise.wire.prompted.codec import PromptedCodec, Spoken, prompted_codec
from turnwise.wire.prompted.text import MAX_HELD_SPACE, PromptedDecoder
from turnwise.wire.prompted.words import spoken

WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')
CLOCK = ToolSpec("clock", "", '{"type":"object"}')


class Says:
    """A decoder that gives the events it was made with: those of one `feed`, the rest at the end."""

    def __init__(self, events: Sequence[DecoderEvent]) -> None:
        self.events = list(events)

    def feed(self, data: bytes) -> list[DecoderEvent]:
        return []

    def finish(self) -> list[DecoderEvent]:
        return self.events


def read(events: Sequence[DecoderEvent]) -> AssistantMessage:
    """The message that these events of a codec become, and the events hold what they promise."""
    out = PromptedDecoder(Says(events), "t1.s1", 1).finish()
    reducer = Reducer()
    reducer.feed(out)
    message = reducer.finish().message
    assert message is not None
    order: list[int] = [e.block for e in out if hasattr(e, "block")]  # type: ignore[attr-defined]
    assert list(dict.fromkeys(order)) == list(range(len(set(order)))), "blocks are numbered in order of appearance"
    return message


def said(*texts: str, stop: Any = "stop") -> AssistantMessage:
    return read([*[TextDelta(t) for t in texts], ResponseEnded(stop, stop)])


def calls(message: AssistantMessage) -> list[tuple[str, str]]:
    return [(c.name, c.arguments) for c in message.tool_calls]


OSLO, BERGEN = '{"city": "Oslo"}', '{"city": "Bergen"}'


def block(name: str, arguments: str) -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


# --- what a model says ---


def test_a_call_is_read_and_the_text_around_it_kept() -> None:
    spaced = '{ "city":  "Oslo" }'
    message = said(f"Looking.\n\n{block('weather', spaced)}\n\nWait.")
    assert [type(b).__name__ for b in message.content] == ["Text", "ToolCall", "Text"]
    assert message.text == "Looking.\n\nWait."
    assert calls(message) == [("weather", spaced)], "arguments are the model's own bytes"
    assert message.tool_calls[0].id == "t1.s1.c0" and message.stop_reason == "tool_calls"
    assert message.raw_stop_reason == "stop"


def test_several_calls_in_one_answer() -> None:
    message = said(f"{block('weather', '{}')}\n{block('clock', '{}')}{block('weather', OSLO)}\n")
    assert calls(message) == [("weather", "{}"), ("clock", "{}"), ("weather", OSLO)]
    assert [c.id for c in message.tool_calls] == ["t1.s1.c0", "t1.s1.c1", "t1.s1.c2"]
    assert len(message.content) == 3, "white space between calls is no text"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ('{"name":"f"}', [("f", "")]),
        ('{"name":"f","arguments":null}', [("f", "null")]),
        ('{"name":"f","parameters":{"a":1}}', [("f", '{"a":1}')]),
        ('{"name":"f","arguments":"{\\"a\\": 1}"}', [("f", '{"a": 1}')]),
        ('{"arguments":{"name":"inner"},"name":"f","id":7}', [("f", '{"name":"inner"}')]),
        ('[{"name":"f","arguments":{}},{"name":"g"}]', [("f", "{}"), ("g", "")]),
        ('{"type":"function","function":{"name":"f","arguments":"{}"}}', [("f", "{}")]),
        ('```json\n{"name":"f","arguments":{}}\n```', [("f", "{}")]),
        ('```\n{"name":"f"}\n```', [("f", "")]),
        ('{"name":"f","arguments":{"html":"</tool_call> \\" <tool_call>"}}', [("f", '{"html":"</tool_call> \\" <tool_call>"}')]),
        ('{"name":"f","arguments":{"x":"é🌸\\u0000"}}', [("f", '{"x":"é🌸\\u0000"}')]),
    ],
)  # fmt: skip
def test_forms_that_models_write(body: str, expected: list[tuple[str, str]]) -> None:
    assert calls(said(f"<tool_call>{body}</tool_call>")) == expected


@pytest.mark.parametrize(
    "body",
    [
        '{"name": "f", "arguments": {"city": "Oslo"}',
        '{"name": "f", "arguments": {"city": Oslo}}',
        '{"name": "f", \'arguments\': {}}',
        '{"name": "f", "arguments": {}} and then some',
        '[{"name": "f"}, {"nam": "g"}]',
        '{"name": "f", "arguments": {"city": "Oslo}}',
    ],
)
def test_a_call_that_cannot_be_read_is_answered(body: str) -> None:
    """E2: it keeps its name and its text, and its arguments are no JSON, so that it never runs and the model is told."""
    message = said(f"So: <tool_call>{body}</tool_call>")
    ((name, arguments),) = calls(message)
    assert name == "f" and arguments == f"<tool_call>{body}</tool_call>" and message.text == "So:"
    again = spoken(message)
    assert isinstance(again, AssistantMessage) and again.text == f"So:\n<tool_call>{body}</tool_call>"


@pytest.mark.parametrize(
    "text",
    [
        "The tag <tool_call> opens a call and </tool_call> closes it.",
        "<tool_call></tool_call>",
        "<tool_call>{}</tool_call>",
        '<tool_call>{"name": 3}</tool_call>',
        '<tool_call>{"name": ""}</tool_call>',
        "a < b, a <tool, <tool_cal",
        "</tool_call>",
        "<tool_call",
        " \n ",
        "<TOOL_CALL>{}</TOOL_CALL>",
        '{"name": "f", "arguments": {}}',
    ],
)
def test_what_names_no_tool_is_text(text: str) -> None:
    message = said(text)
    assert message.text == text and not message.tool_calls and message.stop_reason == "stop"


def test_a_call_that_is_never_closed() -> None:
    """Some models stop at the tag's place; one that was cut off keeps the reason, so that it does not run (S7)."""
    assert calls(said('Hm. <tool_call>\n{"name": "f", "arguments": {"a": 1}}')) == [("f", '{"a": 1}')]
    cut = said('<tool_call>\n{"name": "f", "argum', stop="length")
    assert calls(cut) == [("f", '<tool_call>\n{"name": "f", "argum')] and cut.stop_reason == "length"
    assert said("<tool_call>\n{", stop="length").text == "<tool_call>\n{"


def test_a_string_that_is_never_closed_takes_no_more_than_its_block() -> None:
    text = f'<tool_call>{{"name": "f", "arguments": "}}</tool_call> then {block("g", "{}")} end'
    message = said(text)
    assert [name for name, _ in calls(message)] == ["f", "g"]
    assert message.text == " then end"


def test_thinking_is_not_read() -> None:
    thought = block("weather", "{}")
    message = read([ThinkingDelta(thought, 0), TextDelta("Hi.", 1), ResponseEnded("stop")])
    assert message.content == (Thinking(thought), Text("Hi."))


def test_other_blocks_keep_their_place() -> None:
    """Blocks are numbered anew around the calls; seals of text that held calls no longer fit and are dropped."""
    seal, item = Native("o", '"seal"'), Opaque("x", Native("o", "1"))
    events: list[DecoderEvent] = [
        ResponseStarted("m"),
        ThinkingDelta("hm", 0),
        BlockSealed(0, signature="s", origin="o"),
        TextDelta(f"a {block('f', '{}')} b", 1),
        BlockSealed(1, native=seal),
        BlockAdded(2, item),
        TextDelta("c", 3),
        BlockSealed(3, native=seal),
        ToolCallStarted("t1.s1.c0", "own", 4),
        ToolCallDelta("{}", 4),
        BlockSealed(3, native=seal),
        BlockSealed(1, native=seal),
        ResponseEnded("tool_calls"),
    ]
    assert read(events).content == (
        Thinking("hm", "s", False, "o"),
        Text("a"),
        ToolCall("t1.s1.c0", "f", "{}"),
        Text(" b"),
        item,
        Text("c", seal),
        ToolCall("t1.s1.c1", "own", "{}"),
    )


def test_a_response_that_breaks_off_keeps_its_text() -> None:
    failed = ResponseFailed(ErrorInfo("provider", "truncated", "gone"))
    assert read([TextDelta("Half <tool"), failed]).text == "Half <tool"
    broken = read([TextDelta('Half <tool_call>{"name"'), failed])
    assert broken.text == "Half" and not broken.tool_calls and broken.partial


ANSWERS = st.lists(
    st.sampled_from(
        [
            "Hello",
            " ",
            "\n",
            "<",
            "<tool_call>",
            "</tool_call>",
            "<tool_",
            "call>",
            block("f", '{"a": "</tool_call>"}'),
            block("g", "{}"),
            '{"name": "h"}',
            '"',
            "\\",
            '{"name":"f","arguments":{"x":"\\\\"}}',
            "é🌸",
            " " * (MAX_HELD_SPACE + 3),
        ]
    ),
    max_size=12,
).map("".join)


def joined(events: list[DecoderEvent]) -> list[DecoderEvent]:
    """Neighbouring text deltas of one block as one."""
    out: list[DecoderEvent] = []
    for event in events:
        last = out[-1] if out else None
        if type(event) is TextDelta and type(last) is TextDelta and last.block == event.block:
            out[-1] = TextDelta(last.text + event.text, event.block)
        else:
            out.append(event)
    return out


@given(ANSWERS, st.data())
@examples(300)
def test_splits_change_nothing(answer: str, data: st.DataObject) -> None:
    """S1."""
    cuts = sorted(data.draw(st.sets(st.integers(0, len(answer)), max_size=8)))
    pieces = [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]
    end = ResponseEnded("stop")
    whole = PromptedDecoder(Says([TextDelta(answer), end]), "s", 1).finish()
    split = PromptedDecoder(Says([*[TextDelta(p) for p in pieces], end]), "s", 1).finish()
    assert joined(split) == joined(whole)


@pytest.mark.parametrize("streamed", [True, False])
def test_every_split_of_one_answer(streamed: bool) -> None:
    """S1: at each character, and one character at a time."""
    tricky = '{"a":"</tool_call>\\\\\\" é"}'
    answer = f"Let me see <b>.\n{block('f', tricky)} \n{block('g', '{}')}\n\nDone <tool"
    expected = joined(PromptedDecoder(Says([TextDelta(answer), ResponseEnded("stop")]), "s", 1).finish())
    splits = [[answer[:at], answer[at:]] for at in range(len(answer))] if streamed else [list(answer)]
    for pieces in splits:
        events = [*[TextDelta(p) for p in pieces], ResponseEnded("stop")]
        assert joined(PromptedDecoder(Says(events), "s", 1).finish()) == expected


@given(ANSWERS)
def test_nothing_is_lost(answer: str) -> None:
    """What is no call is text, letter for letter but for white space in front of a call; nothing raises (S8)."""
    message = said(answer)
    text = "".join(message.text.split())
    if not message.tool_calls:
        assert text == "".join(answer.split())
    else:
        assert len(text) < len("".join(answer.split()))


def test_long_answers_take_linear_time() -> None:
    """S8: half a megabyte of what could be calls, character by character."""
    for piece in ("<tool_call>", '<tool_call>"</tool_call>', " ", '<tool_call>{"name":"f","a":"</tool_call>'):
        text = piece * (100_000 // len(piece))
        out = PromptedDecoder(Says([*[TextDelta(c) for c in text], ResponseEnded("stop")]), "s", 1).finish()
        assert type(out[-1]) is ResponseEnded


# --- what it is told ---


def head(*tools: ToolSpec, instructions: str = "Be brief.", **fields: Any) -> RequestHead:
    return RequestHead("m", instructions, tools, ModelSettings(**fields))


def body_of(h: RequestHead, *messages: Message, api: str = "openai.chat") -> dict[str, Any]:
    made = prompted_codec(codec(api))
    sealed = made.encode_head(made.head_for(h, messages))
    return json.loads(assemble(sealed, made.encode_messages(messages, 0, {})).body)


def test_tools_are_described_in_the_instructions() -> None:
    body = body_of(head(WEATHER, CLOCK, tool_choice="auto", parallel_tool_calls=True), UserMessage("hi"))
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & body.keys()
    told = body["messages"][0]["content"]
    assert told.startswith("Be brief.\n\n# Tools") and "<tool_call>" in told
    listed = [json.loads(line) for line in told.splitlines() if line.startswith('{"name":"')]
    assert listed == [
        {"name": t.name, "description": t.description, "parameters": json.loads(t.parameters)} for t in (WEATHER, CLOCK)
    ]


def test_what_is_shown_as_the_form_is_read_as_a_call() -> None:
    """The example in the instructions is one that the decoder takes."""
    told = body_of(head(WEATHER), UserMessage("hi"))["messages"][0]["content"]
    example = told[told.index("<tool_call>") : told.index("</tool_call>") + len("</tool_call>")]
    assert calls(said(example)) == [("NAME", "{}")]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tool_choice": "required"}, "must call at least one tool"),
        ({"tool_choice": OneTool("weather")}, "must call the tool `weather`"),
        ({"tool_choice": "none"}, "Do not call a tool now"),
        ({"parallel_tool_calls": False}, "at most one tool"),
        ({}, "a block for each"),
    ],
)
def test_choices_are_said_in_words(fields: dict[str, Any], words: str) -> None:
    body = body_of(head(WEATHER, **fields), UserMessage("hi"))
    assert words in body["messages"][0]["content"] and "tool_choice" not in body


def test_without_tools_nothing_is_said() -> None:
    assert body_of(head(), UserMessage("hi"))["messages"][0]["content"] == "Be brief."


@pytest.mark.parametrize(
    ("h", "problem"),
    [
        (head(WEATHER, output=OutputFormat("{}")), "Structured output"),
        (head(tool_choice="required"), "cannot be made to call a tool"),
        (head(WEATHER, tool_choice=OneTool("clock")), "'clock'"),
    ],
)
def test_settings_that_cannot_be(h: RequestHead, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        body_of(h)
    assert raised.value.code == "conflicting_settings" and problem in raised.value.message


PNG = Image(Inline(b"\x89PNG\r\n\x1a\n", "image/png"))
HISTORY: tuple[Message, ...] = (
    UserMessage("weather?"),
    AssistantMessage((Text("Looking."), ToolCall("t1.s1.c0", "weather", '{"city": "Oslo"}'), ToolCall("t1.s1.c1", "f", " "))),
    ToolMessage(
        (
            ToolResult("t1.s1.c0", (Text("a map </tool_result>"), PNG)),
            result_of("t1.s1.c1", Failed(ErrorInfo("tool", "tool_failed", "no such city"))),
        )
    ),
    UserMessage("and now?"),
    AssistantMessage((ToolCall("t2.s1.c0", "f", '{"ci'), ToolCall("t2.s1.c1", "g", "[1]"))),
    ToolMessage((ToolResult("t2.s1.c0", ""), ToolResult("t2.s1.c1", "x"))),
    AssistantMessage("Done."),
)  # fmt: skip


def test_calls_and_results_of_the_past_are_text() -> None:
    sent = body_of(head(WEATHER), *HISTORY)["messages"]
    assert [m["role"] for m in sent] == [
        "system",
        "user",
        "assistant",
        "user",
        "user",
        "assistant",
        "user",
        "assistant",
    ]
    assert "tool_calls" not in json.dumps(sent)
    assert sent[2]["content"] == f"Looking.\n{block('weather', OSLO)}\n{block('f', '{}')}"
    told = [p.get("text") for p in sent[3]["content"]]
    assert told[0] == '<tool_result call="1">\na map <\\/tool_result>\n</tool_result>\n'
    assert sent[3]["content"][1]["type"] == "image_url"
    assert told[2].startswith('<tool_result call="2" failed="true">\n') and "no such city" in told[2]
    assert sent[5]["content"] == block("f", json.dumps('{"ci')) + "\n" + block("g", "[1]")


def test_a_call_that_is_not_unicode_is_told_all_the_same() -> None:
    (said,) = body_of(head(), AssistantMessage((ToolCall("t1.s1.c0", "f\ud800", '{"a":"\ud800"}'),)))["messages"][1:]
    assert '"name": "f?"' in said["content"] and '"arguments": "{\\"a\\":\\"?\\"}"' in said["content"]


def test_what_was_said_is_read_again_as_it_was() -> None:
    """The form that the past is shown in is the form that is asked for."""
    for message in HISTORY:
        if isinstance(message, AssistantMessage) and message.tool_calls:
            again = said(spoken(message).text)  # type: ignore[union-attr]
            assert [n for n, _ in calls(again)] == [c.name for c in message.tool_calls]
            assert again.text == message.text


@pytest.mark.parametrize("api", APIS)
def test_histories_are_taken_by_every_api(api: str) -> None:
    """T8: with tools in words, no API sees a call or a result."""
    body = body_of(head(WEATHER, max_output_tokens=100), *HISTORY[:4], api=api)
    assert check(api, body) == []


@given(st.integers(0, len(HISTORY)))
def test_encoding_in_two_goes(start: int) -> None:
    """T7."""
    made = prompted_codec(codec("openai.chat"))
    whole = made.encode_messages(HISTORY, 0, {})
    first, rest = made.encode_messages(HISTORY[:start], 0, {}), made.encode_messages(HISTORY, start, {})
    assert whole == (first + b"," + rest if first and rest else first + rest)


def test_messages_are_rewritten_when_they_are_needed() -> None:
    asked: list[Any] = []

    class Counted(list[Any]):
        def __getitem__(self, at: Any) -> Any:
            asked.append(at)
            return super().__getitem__(at)

    messages = Counted(HISTORY)
    view = Spoken(messages)
    assert len(view) == len(HISTORY) and isinstance(view[2], UserMessage) and len(list(view[5:])) == 2
    assert 0 not in asked


def test_equal_codecs_are_equal() -> None:
    """What was encoded for one is kept for the other."""
    inner = codec("openai.chat")
    made = prompted_codec(inner)
    assert made == prompted_codec(inner) and made != inner
    assert (made.api, made.origin, made.extras) == (inner.api, inner.origin, inner.extras)
    assert isinstance(made, PromptedCodec) and msgspec.structs.asdict(made) == {"inner": inner}


# --- a turn ---


@pytest.mark.parametrize("provider_name", ["openai", "anthropic"])
@pytest.mark.parametrize("stream", [True, False])
def test_a_turn_with_a_real_tool(provider_name: str, stream: bool) -> None:
    """Asked in words, called in text, run, answered in text: with a call that cannot be read on the way."""
    asked: list[str] = []

    @tool
    def weather(city: str) -> str:
        """Forecast for a city."""
        asked.append(city)
        return f"Rain in {city}."

    script = [
        reply('Looking.\n<tool_call>\n{"name": "weather", "arguments": {"city": Oslo}}\n</tool_call>'),
        reply(f"{block('weather', OSLO)}\n{block('weather', BERGEN)}"),
        reply("It rains."),
    ]

    async def talk(provider: ScriptedProvider) -> Any:
        url = provider.openai_url if provider_name == "openai" else provider.anthropic_url
        model = Model(f"{provider_name}:m", tools="prompted", base_url=url, api_key="k")
        async with Agent(model, tools=[weather], stream=stream).session() as session:
            return await session.run("weather?")

    with ScriptedProvider(script) as provider:
        result = asyncio.run(talk(provider))
        assert result.text == "It rains." and sorted(asked) == ["Bergen", "Oslo"]
        for request in provider.requests:
            assert not request.problems and not {"tools", "tool_choice"} & request.body.keys()
        second, third = json.dumps(provider.requests[1].body), json.dumps(provider.requests[2].body)
        assert 'failed=\\"true\\"' in second and "Rain in Oslo." in third and "Rain in Bergen." in third

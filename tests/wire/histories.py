"""Valid histories of any kind, for Hypothesis: turns with text, media, reasoning of several families, calls in parallel with
outcomes of every kind. Ids are those of the engine and unique; each call has its result right behind it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from turnwise.core.content import Audio, Image, Inline, Native, Opaque, Text, Thinking, ToolCall
from turnwise.core.errors import ErrorInfo
from turnwise.core.ids import call_id
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import Cancelled, Failed, ToolResult, result_of

PNG = b"\x89PNG\r\n\x1a\n"
_texts = st.sampled_from(["", " \n", "x", "Grüße 🇳🇴", "two\nlines ", '{"a": 1}', "\ud800"])
_images = st.just(Image(Inline(PNG, "image/png")))
_thoughts = st.builds(
    Thinking,
    _texts,
    st.sampled_from([None, "c2ln"]),
    st.booleans(),
    st.sampled_from(["", "anthropic", "cohere", "ollama", "openai.compatible"]),
)
_items = st.sampled_from([Opaque("x", Native("anthropic", '{"type":"x"}')), Audio(Inline(b"x", "audio/wav"))])
_arguments = st.sampled_from(["", " ", "{}", '{"city": "Oslo"}', '{"ci', "[1]", "null"])


def _outcome(id: str, kind: int) -> ToolResult:
    match kind:
        case 0:
            return ToolResult(id, "rain")
        case 1:
            return ToolResult(id, " ")
        case 2:
            return ToolResult(id, (Text("a map"), Image(Inline(PNG, "image/png"))))
        case 3:
            return ToolResult(id, (Audio(Inline(b"x", "audio/wav")),))
        case 4:
            return result_of(id, Failed(ErrorInfo("tool", "tool_failed", "no such city")))
        case _:
            return result_of(id, Cancelled("interrupted"))


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Begins with the user, ends with the user or with results."""
    out: list[Message] = []
    for turn in range(draw(st.integers(1, 4))):
        for order in range(draw(st.integers(1, 2))):
            blocks = st.lists(_texts.map(Text) | _images, max_size=3).map(tuple)
            out.append(UserMessage(draw(_texts | blocks), turn, 0, order))
        for step in range(draw(st.integers(0, 3))):
            said: list[Any] = draw(st.lists(_texts.map(Text) | _thoughts | _items | _images, max_size=3))
            kinds = draw(st.lists(st.integers(0, 5), max_size=3))
            calls = [
                ToolCall(call_id(turn, step, n), draw(st.sampled_from(["weather", "map"])), draw(_arguments))
                for n in range(len(kinds))
            ]
            out.append(AssistantMessage((*said, *calls), turn, step))
            if not calls:
                break
            results = [_outcome(call.id, kind) for call, kind in zip(calls, kinds, strict=True)]
            out.append(ToolMessage(tuple(results), turn, step))
    if isinstance(out[-1], AssistantMessage):
        out.append(UserMessage("And now?", 99))
    return out

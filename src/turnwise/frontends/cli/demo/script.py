"""What the scripted model says. Where it speaks of files or tools it uses what the request really told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import msgspec

from ....testing import RecordedRequest, Reply, call, reply, text
from ....testing.script import ScriptItem
from ..view import shortened

QUESTIONS = (
    "What are {0} and {1} about?",
    "Tell me when a file in this folder changes.",
    "Never mind. What happened to the watching?",
)


class Pace(msgspec.Struct, frozen=True):
    """Seconds between the model's words, and between two looks of the watching tool."""

    word_s: float
    look_s: float


FOR_PEOPLE = Pace(0.03, 0.35)
FOR_PIPES = Pace(0.0, 0.02)


def script(files: tuple[str, str], pace: Pace) -> Sequence[ScriptItem]:
    """The replies, in the order in which they are asked for: two for the first turn, one each for the others."""

    def speak(words: str, *calls: Any) -> Reply:
        return reply(text(words), *calls, pace_s=pace.word_s)

    def about_files(request: RecordedRequest) -> Reply:
        said = [_about(name, content) for name, content in zip(files, results(request), strict=True)]
        return speak(f"{said[0]} {said[1]} I asked for both at once, and both came back before I went on.")

    def about_the_watching(request: RecordedRequest) -> Reply:
        told = results(request)[-1]
        return speak(f"It was stopped in the middle. My history says of it: “{shortened(told)}” Nothing was lost.")

    return [
        speak("I will read both at once.", call("read_file", name=files[0]), call("read_file", name=files[1])),
        about_files,
        speak("I will watch the folder.", call("wait_for_change")),
        about_the_watching,
    ]


def results(request: RecordedRequest) -> list[str]:
    """The texts of all tool results in a request of Anthropic's Messages API, in order."""
    found: list[str] = []
    for message in cast("list[dict[str, Any]]", request.body["messages"]):
        content = message["content"]
        blocks = cast("list[dict[str, Any]]", content) if isinstance(content, list) else []
        found += [_text(block.get("content", "")) for block in blocks if block.get("type") == "tool_result"]
    return found


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "".join([str(part.get("text", "")) for part in content])


def _about(name: str, content: str) -> str:
    lines = content.splitlines()
    first = next((line for line in lines if line.strip()), "")
    size = "one line" if len(lines) == 1 else f"{len(lines)} lines"
    return f"{name} has {size} and begins with “{shortened(first.strip(' #'), 60)}”."

"""What was said, as attributes of spans: only if asked for, never more than so many characters, and without secrets.

The form is that of the conventions: messages with a role and parts, as JSON text. Whatever is cut off says so; the JSON stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...core.content import Text, Thinking, ToolCall
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...models.secrets import mask

Part = dict[str, Any]
_encode = msgspec.json.Encoder().encode


def messages_as_json(messages: Sequence[Message], limit: int, finish_reason: str = "") -> str:
    """The last of these messages that fit into `limit` characters of text, in their order; of the earliest of them the beginning."""
    left, said = limit, list[dict[str, Any]]()
    for message in reversed(messages):
        if left <= 0:
            said.append({"role": "system", "parts": [{"type": "text", "content": "[earlier messages left out]"}]})
            break
        parts: list[Part] = []
        for part in _parts(message):
            left = _cut(part, left)
            parts.append(part)
        one: dict[str, Any] = {"role": _role(message), "parts": parts}
        if finish_reason and isinstance(message, AssistantMessage):
            one["finish_reason"] = finish_reason
        said.append(one)
    return _encode(said[::-1]).decode()


def text_capped(text: str, limit: int) -> str:
    """A text without secrets, cut to so many characters."""
    text = mask(text)
    return text if len(text) <= limit else f"{text[:limit]}… [{len(text) - limit} characters left out]"


def _cut(part: Part, left: int) -> int:
    for name in ("content", "arguments", "response"):
        if (text := part.get(name)) is not None:
            part[name] = text_capped(text, max(0, left))
            left -= len(part[name])
    return left


def _role(message: Message) -> str:
    if isinstance(message, UserMessage):
        return "user"
    return "assistant" if isinstance(message, AssistantMessage) else "tool"


def _parts(message: Message) -> list[Part]:
    if isinstance(message, ToolMessage):
        return [{"type": "tool_call_response", "id": r.call_id, "response": r.text} for r in message.results]
    return [_part(block) for block in message.content]


def _part(block: object) -> Part:
    match block:
        case Text(text=text):
            return {"type": "text", "content": text}
        case Thinking(text=text):
            return {"type": "reasoning", "content": text}
        case ToolCall(id=id, name=name, arguments=arguments):
            return {"type": "tool_call", "id": id, "name": name, "arguments": arguments}
        case _:
            return {"type": type(block).__name__.lower()}

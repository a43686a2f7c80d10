"""Messages of a conversation as the `contents` of generateContent.

A message is written from itself and what stands before it, so a written history never changes when it grows (rule T7). Thought
signatures go back on the very part that they came on, and to their own platform only (rule T5). Source:
https://ai.google.dev/api/caching#Content and the guides on function calling, thought signatures and the kinds of media; that
calls follow a user's turn, and as many results follow them in one content, are the API's own error messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...core.content import (
    AssistantBlock,
    Audio,
    Image,
    Opaque,
    ResultBlock,
    Text,
    Thinking,
    ToolCall,
    UserBlock,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs
from ..history import (
    CONVERSATION_GOES_ON,
    EMPTY_INPUT,
    MADE,
    SEE_BELOW,
    UNNAMED,
    is_blank,
    object_of,
    own_fields,
    written_elements,
)
from ..openai_chat.ids import plain_id
from .dialect import SKIP_SIGNATURE, Dialect
from .media import inline_data, media_part

METADATA = frozenset(
    ("groundingMetadata", "citationMetadata", "urlContextMetadata", "logprobsResult", "finishMessage", "promptFeedback")
)
"""Kinds of opaque blocks that are about an answer and no part of it: they are kept, and not sent."""

Part = dict[str, Any] | msgspec.Raw
_Calls = dict[str, ToolCall]


class _User(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user"):
    parts: list[Part]


class _Model(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="model"):
    parts: list[Part]


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs, dialect: Dialect) -> bytearray:
    """`messages[start:]` as comma-separated elements of `contents`.

    Media in tool results follow in a user content of their own: only some models take them within a result, and a history
    outlives its model. Raises `ConfigError` for content that the API does not take, `StateError` for a missing blob.
    """
    out: list[_User | _Model] = []
    after_model = _follows_model(messages, start, blobs, dialect)
    for position in range(start, len(messages)):
        message = messages[position]
        if type(message) is AssistantMessage:
            parts = _said(message, blobs, dialect)
            if not parts:
                continue
            if after_model:
                out.append(_User([_text(CONVERSATION_GOES_ON)]))
            out.append(_Model(parts))
        elif type(message) is UserMessage:
            out.append(_User(_asked(message, blobs, dialect)))
        elif type(message) is ToolMessage:
            out += _results(message.results, _calls_before(messages, position), blobs, dialect)
        after_model = type(message) is AssistantMessage
    return written_elements(out)


def _follows_model(messages: Sequence[Message], start: int, blobs: Blobs, dialect: Dialect) -> bool:
    """Whether what is written next comes first of all, or after a content of the model."""
    for position in range(start - 1, -1, -1):
        message = messages[position]
        if type(message) is not AssistantMessage:
            return False
        if _said(message, blobs, dialect):
            return True
    return True


def _calls_before(messages: Sequence[Message], position: int) -> _Calls:
    """The calls that results at this position answer, by id."""
    before = messages[position - 1] if position else None
    return {c.id: c for c in before.tool_calls} if type(before) is AssistantMessage else {}


def _text(text: str) -> dict[str, Any]:
    return {"text": text}


# --- the user -------------------------------------------------------------------------------------------------------


def _asked(message: UserMessage, blobs: Blobs, dialect: Dialect) -> list[Part]:
    body = message.body
    if isinstance(body, str):
        return [_text(body if not is_blank(body) else EMPTY_INPUT)]
    return _content(body, blobs, dialect) or [_text(EMPTY_INPUT)]


def _content(body: tuple[UserBlock, ...] | tuple[ResultBlock, ...], blobs: Blobs, dialect: Dialect) -> list[Part]:
    out: list[Part] = []
    for block in body:
        if isinstance(block, Text):
            if not is_blank(block.text):
                out.append(_text(block.text))
        else:
            out.append(media_part(block, blobs, dialect))
    return out


# --- the model ------------------------------------------------------------------------------------------------------


def _said(message: AssistantMessage, blobs: Blobs, dialect: Dialect) -> list[Part]:
    """The parts of what the model said; none if there is nothing to send but thoughts."""
    body = message.body
    if isinstance(body, str):
        return [_text(body)] if not is_blank(body) else []
    out: list[Part] = []
    needs_signature = True
    speaks = False
    for block in body:
        if type(block) is ToolCall:
            part: Part | None = _call(block, dialect, needs_signature)
            needs_signature = False
        else:
            part = _part(block, blobs, dialect)
        if part is not None:
            out.append(part)
            speaks = speaks or type(block) is not Thinking
    return out if speaks else []


def _part(block: AssistantBlock, blobs: Blobs, dialect: Dialect) -> Part | None:
    """A block as the part that it was, or what stands for it; None if it is not sent."""
    match block:
        case Text(text=text, native=native):
            own = own_fields(native, dialect.origin)
            return _text(text) | own if own or (not is_blank(text)) else None
        case Thinking():
            return _thought(block, dialect)
        case Opaque(kind=kind, native=native):
            is_sent = native.origin == dialect.origin and kind not in METADATA
            return msgspec.Raw(native.data.encode()) if is_sent else None
        case Image(source=source, native=native) | Audio(source=source, native=native):
            data = inline_data(source, blobs) if native is not None and native.origin == dialect.origin else None
            if data is not None:
                return {"inlineData": data} | own_fields(native, dialect.origin)
            return _text(MADE[type(block)])
        case _:
            return None


def _thought(block: Thinking, dialect: Dialect) -> dict[str, Any] | None:
    if block.origin != dialect.origin or not (block.text.strip() or block.signature):
        return None
    part = {"text": block.text, "thought": True} | own_fields(block.native, dialect.origin)
    return part | {"thoughtSignature": block.signature} if block.signature else part


def _call(call: ToolCall, dialect: Dialect, needs_signature: bool) -> dict[str, Any]:
    """A call with its signature. The first of a step must have one: if it never got one, it gets the value that says so."""
    function: dict[str, Any] = {"name": call.name or UNNAMED, "args": object_of(call.arguments)}
    if _has_id(call, dialect):
        function = {"id": plain_id(call.id)} | function
    part: dict[str, Any] = {"functionCall": function} | own_fields(call.native, dialect.origin)
    if needs_signature and "thoughtSignature" not in part:
        part["thoughtSignature"] = SKIP_SIGNATURE
    return part


def _has_id(call: ToolCall, dialect: Dialect) -> bool:
    if dialect.call_ids == "all":
        return True
    return bool(call.provider_id) and call.native is not None and call.native.origin == dialect.origin


# --- results --------------------------------------------------------------------------------------------------------


def _results(results: tuple[ToolResult, ...], calls: _Calls, blobs: Blobs, dialect: Dialect) -> list[_User | _Model]:
    """One content with all results, in call order; after it one with their media."""
    answers: list[Part] = []
    attached: list[Part] = []
    for result in results:
        call = calls.get(result.call_id)
        name, text = (call.name if call else "") or UNNAMED, result.text
        if not isinstance(result.body, str):
            media = _content(tuple([b for b in result.body if type(b) is not Text]), blobs, dialect)
            if media:
                attached += [_text(f"Attached to the result of {name} ({plain_id(result.call_id)}):"), *media]
                text = text if not is_blank(text) else SEE_BELOW
        answer: dict[str, Any] = {"name": name, "response": {"error" if result.is_error else "output": text}}
        if dialect.call_ids == "all" or (call is not None and _has_id(call, dialect)):
            answer = {"id": plain_id(result.call_id)} | answer
        answers.append({"functionResponse": answer})
    return [_User(answers), _User(attached)] if attached else [_User(answers)]

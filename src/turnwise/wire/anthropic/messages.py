"""Messages of a conversation in Anthropic's form.

Each message is written from itself alone, so a written history never changes when it grows (rule T7). What the API refuses is
never sent: blank text, a final thinking block, trailing white space, reasoning that is not its own (rule T5). Source:
https://platform.claude.com/docs/en/api/messages and the guides on tool use, vision, PDF support and thinking; the rules
on blank text and on error results are the API's own error messages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from ...core.content import (
    AssistantBlock,
    Audio,
    BlobRef,
    Document,
    Image,
    Inline,
    Opaque,
    ProviderFile,
    ResultBlock,
    Source,
    Text,
    Thinking,
    ToolCall,
    Url,
    UserBlock,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs
from ..heads import foreign_file, refused_type, unsupported
from ..history import (
    CONVERSATION_GOES_ON,
    EMPTY_INPUT,
    EMPTY_RESULT,
    IMAGE_TYPES,
    MADE,
    UNNAMED,
    base64_of,
    is_blank,
    is_text,
    media_type_of,
    object_of,
    own_fields,
    text_in,
    written_elements,
)
from .head import PROVIDER

ORIGIN = "anthropic"

Block = dict[str, Any] | msgspec.Raw


class _User(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user"):
    content: str | list[Block]


class _Assistant(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="assistant"):
    content: str | list[Block]


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `messages` array.

    Messages of one role that follow each other stay apart: the API reads them as one turn, and so a tool result still
    comes first in its turn. Raises `ConfigError` for content the API does not take, `StateError` for a missing blob.
    """
    out: list[_User | _Assistant] = []
    if start == 0 and messages and type(messages[0]) is AssistantMessage:
        out.append(_User(CONVERSATION_GOES_ON))
    for message in messages[start:] if start else messages:
        if type(message) is UserMessage:
            said = message.body
            if type(said) is str:
                out.append(_User(said if said and not said.isspace() else EMPTY_INPUT))
            else:
                out.append(_User(_user_blocks(message.content, blobs)))
        elif type(message) is AssistantMessage:
            body = message.body
            if type(body) is not str:
                if blocks := _assistant_blocks(message.content):
                    out.append(_Assistant(blocks))
            elif body and not body.isspace():
                out.append(_Assistant(body.rstrip() if body[-1].isspace() else body))
        elif type(message) is ToolMessage:
            out.append(_User(_results(message.results, blobs)))
    return written_elements(out)


def is_sendable(thought: Thinking) -> bool:
    """Whether reasoning goes back to the API: only what it sealed itself."""
    return thought.origin == ORIGIN and bool(thought.signature)


_PLAIN_ID = re.compile(r"[A-Za-z0-9.]+")


def wire_id(call_id: str) -> str:
    """A call's id within `[a-zA-Z0-9_-]+`; different ids stay different (rule T4).

    `.` becomes `_`, so `t3.s1.c0` is `t3_s1_c0`. Ids that the engine did not make may hold other characters: `-` then
    begins an escape (`--`, `-u` for `_`, `-x<hex>-` for the rest).
    """
    if _PLAIN_ID.fullmatch(call_id):
        return call_id.replace(".", "_")
    return "".join([_escape(c) for c in call_id]) or "-e"


def _escape(char: str) -> str:
    if char == ".":
        return "_"
    if char == "_":
        return "-u"
    if char == "-":
        return "--"
    return char if _PLAIN_ID.fullmatch(char) else f"-x{ord(char):x}-"


def _user_blocks(body: tuple[UserBlock, ...], blobs: Blobs) -> list[Block]:
    return _content(body, blobs) or [_text(EMPTY_INPUT)]


def _results(results: tuple[ToolResult, ...], blobs: Blobs) -> list[Block]:
    """All results, then the media of failed calls: within a failed result the API takes text only, and wants some."""
    out: list[Block] = []
    after: list[Block] = []
    for result in results:
        block: dict[str, Any] = {"type": "tool_result", "tool_use_id": wire_id(result.call_id)}
        content: str | list[Block]
        if isinstance(result.body, str):
            content = "" if result.body.isspace() else result.body
        elif result.is_error:
            content = _content(tuple([b for b in result.body if type(b) is Text]), blobs)
            after += _content(tuple([b for b in result.body if type(b) is not Text]), blobs)
        else:
            content = _content(result.body, blobs)
        if content or result.is_error:
            block["content"] = content or EMPTY_RESULT
        if result.is_error:
            block["is_error"] = True
        out.append(block)
    return out + after


def _content(body: tuple[UserBlock, ...] | tuple[ResultBlock, ...], blobs: Blobs) -> list[Block]:
    out: list[Block] = []
    for block in body:
        match block:
            case Text(text=text):
                if not is_blank(text):
                    out.append(_text(text))
            case Image(source=source):
                out.append({"type": "image", "source": _image_source(source, blobs)})
            case Document(source=source, name=name):
                written: dict[str, Any] = {"type": "document", "source": _document_source(source, blobs)}
                if name and not is_blank(name):
                    written["title"] = name
                out.append(written)
            case Audio():
                raise unsupported(PROVIDER, "audio", "Send a transcript in its place.")
    return out


def _assistant_blocks(body: tuple[AssistantBlock, ...]) -> list[Block]:
    kept = list(body)
    while kept and _cannot_end(kept[-1]):
        kept.pop()
    out: list[Block] = []
    for position, block in enumerate(kept):
        match block:
            case Text(text=text, native=native):
                text = text.rstrip() if position == len(kept) - 1 else text
                if not is_blank(text):
                    out.append(_text(text) | own_fields(native, ORIGIN))  # citations
            case Thinking():
                if is_sendable(block):
                    out.append(_thinking(block))
            case ToolCall():
                out.append(_call(block))
            case Opaque(native=native):
                if native.origin == ORIGIN:
                    out.append(msgspec.Raw(native.data.encode()))
            case Image() | Audio():
                out.append(_text(MADE[type(block)]))
    return out


def _cannot_end(block: AssistantBlock) -> bool:
    """Whether an assistant message may not end in this block: thinking, and what is not sent at all."""
    match block:
        case Thinking():
            return True
        case Text(text=text):
            return is_blank(text)
        case Opaque(native=native):
            return native.origin != ORIGIN
        case _:
            return False


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _thinking(block: Thinking) -> dict[str, Any]:
    if block.redacted:
        return {"type": "redacted_thinking", "data": block.signature}
    return {"type": "thinking", "thinking": block.text, "signature": block.signature}


def _call(call: ToolCall) -> dict[str, Any]:
    written = {
        "type": "tool_use",
        "id": wire_id(call.id),
        "name": call.name or UNNAMED,
        "input": object_of(call.arguments),
    }
    return written | own_fields(call.native, ORIGIN)  # who called it, if a server tool did


def _image_source(source: Source, blobs: Blobs) -> dict[str, Any]:
    if isinstance(source, Inline | BlobRef):
        if source.media_type not in IMAGE_TYPES:
            raise refused_type(PROVIDER, source.media_type, "an image", ", ".join(IMAGE_TYPES))
        return _base64(source, source.media_type, blobs)
    return _reference(source, "image")


def _document_source(source: Source, blobs: Blobs) -> dict[str, Any]:
    if not isinstance(source, Inline | BlobRef):
        return _reference(source, "document")
    if is_text(source):
        return {"type": "text", "media_type": "text/plain", "data": text_in(source, blobs)}
    media_type = media_type_of(source)
    if media_type != "application/pdf":
        raise refused_type(PROVIDER, source.media_type, "a document", "application/pdf, text/*")
    return _base64(source, media_type, blobs)


def _base64(source: Inline | BlobRef, media_type: str, blobs: Blobs) -> dict[str, Any]:
    return {"type": "base64", "media_type": media_type, "data": base64_of(source, blobs)}


def _reference(source: Url | ProviderFile, what: Literal["image", "document"]) -> dict[str, Any]:
    if isinstance(source, Url):
        return {"type": "url", "url": source.url}
    if source.origin != ORIGIN:
        raise foreign_file(PROVIDER, source, what)
    return {"type": "file", "file_id": source.id}

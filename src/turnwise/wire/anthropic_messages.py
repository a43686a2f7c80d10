"""Messages of a conversation in Anthropic's form.

Each message is written from itself alone, so a written history never changes when it grows (rule T7). What the API refuses is
never sent: blank text, a final thinking block, trailing white space, reasoning that is not its own (rule T5). Source:
https://platform.claude.com/docs/en/api/messages and the guides on tool use, vision, PDF support and thinking; the rules
on blank text and on error results are the API's own error messages.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec

from ..core.content import (
    AssistantBlock,
    Audio,
    BlobRef,
    Document,
    Image,
    Inline,
    Native,
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
from ..core.errors import config_error
from ..core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ..core.outcomes import ToolResult
from .base import Blobs, bytes_of, elements

ORIGIN = "anthropic"

EMPTY_INPUT = "(empty message)"
"""Stands for a user message in which nothing can be sent."""
EMPTY_ERROR = "(no output)"
"""Stands for the text of a failed call that said nothing: the API wants text there."""
CONVERSATION_GOES_ON = "(The conversation goes on from here.)"
"""Opens a history that does not begin with the user, as the API wants."""

_IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")

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
    try:
        return elements(out)
    except UnicodeEncodeError:
        return elements(_scrubbed(out))


def _scrubbed(value: Any) -> Any:
    """The same with halves of surrogate pairs replaced: tools read them from odd file names, and no JSON can hold them."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [_scrubbed(v) for v in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {k: _scrubbed(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, _User | _Assistant):
        return type(value)(_scrubbed(value.content))
    return value


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
    """All results, then the media of failed calls: within a failed result the API takes text only."""
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
            block["content"] = content or EMPTY_ERROR
        if result.is_error:
            block["is_error"] = True
        out.append(block)
    return out + after


def _content(body: tuple[UserBlock, ...] | tuple[ResultBlock, ...], blobs: Blobs) -> list[Block]:
    out: list[Block] = []
    for block in body:
        match block:
            case Text(text=text):
                if text and not text.isspace():
                    out.append(_text(text))
            case Image(source=source):
                out.append({"type": "image", "source": _image_source(source, blobs)})
            case Document(source=source, name=name):
                written: dict[str, Any] = {"type": "document", "source": _document_source(source, blobs)}
                if name and not name.isspace():
                    written["title"] = name
                out.append(written)
            case Audio():
                raise config_error(
                    "unsupported_feature", "Anthropic Messages does not take audio.", "Send a transcript in its place."
                )
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
                if text and not text.isspace():
                    out.append(_text(text) | _extras(native))
            case Thinking():
                if is_sendable(block):
                    out.append(_thinking(block))
            case ToolCall():
                out.append(_call(block))
            case Opaque(native=native):
                if native.origin == ORIGIN:
                    out.append(msgspec.Raw(native.data.encode()))
            case Image():
                out.append(_text("(an image that the assistant made)"))
            case Audio():
                out.append(_text("(audio that the assistant made)"))
    return out


def _cannot_end(block: AssistantBlock) -> bool:
    """Whether an assistant message may not end in this block: thinking, and what is not sent at all."""
    match block:
        case Thinking():
            return True
        case Text(text=text):
            return not text or text.isspace()
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
    written = {"type": "tool_use", "id": wire_id(call.id), "name": call.name, "input": _input(call.arguments)}
    return written | _extras(call.native)


def _input(arguments: str) -> Any:
    """The arguments as an object, without touching their text: the API takes nothing else (rule E2 for what is none)."""
    if not arguments or arguments.isspace():
        return {}
    try:
        is_object = type(msgspec.json.decode(arguments)) is dict
    except (msgspec.DecodeError, ValueError, RecursionError):
        is_object = False
    return msgspec.Raw(arguments.encode()) if is_object else {"_invalid": arguments}


def _extras(native: Native | None) -> dict[str, Any]:
    """Fields of our own family that go back beside a block's text: citations of a text, the caller of a tool."""
    if native is None or native.origin != ORIGIN:
        return {}
    return msgspec.json.decode(native.data, type=dict[str, msgspec.Raw])


def _image_source(source: Source, blobs: Blobs) -> dict[str, Any]:
    if isinstance(source, Inline | BlobRef):
        if source.media_type not in _IMAGE_TYPES:
            raise _media_error("image", source.media_type, _IMAGE_TYPES)
        return _base64(source, blobs)
    return _reference(source, "image")


def _document_source(source: Source, blobs: Blobs) -> dict[str, Any]:
    if not isinstance(source, Inline | BlobRef):
        return _reference(source, "document")
    media_type = source.media_type.partition(";")[0].strip().lower()
    if media_type == "application/pdf":
        return _base64(source, blobs) | {"media_type": media_type}
    if media_type.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": bytes_of(source, blobs).decode("utf-8", "replace")}
    raise _media_error("document", source.media_type, ("application/pdf", "text/*"))


def _base64(source: Inline | BlobRef, blobs: Blobs) -> dict[str, Any]:
    data = b64encode(bytes_of(source, blobs)).decode()
    return {"type": "base64", "media_type": source.media_type, "data": data}


def _reference(source: Url | ProviderFile, what: Literal["image", "document"]) -> dict[str, Any]:
    if isinstance(source, Url):
        return {"type": "url", "url": source.url}
    if source.origin != ORIGIN:
        message = f"Anthropic Messages cannot read the {what} {source.id!r}: it was uploaded to {source.origin!r}."
        raise config_error("unsupported_feature", message, "Upload it to Anthropic, or send its bytes.")
    return {"type": "file", "file_id": source.id}


def _media_error(what: str, media_type: str, taken: tuple[str, ...]) -> Exception:
    message = f"Anthropic Messages does not take {media_type!r} as a {what}."
    return config_error("unsupported_feature", message, f"It takes {', '.join(taken)}.")

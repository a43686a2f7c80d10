"""Messages of a conversation in the form of Ollama's chat API.

Each message is written from itself and, for the names of tools, from the calls that it answers: a written history never
changes when it grows (rule T7). Content is one text with the images beside it, so their order among themselves is lost. Ids
of calls are ours and go out with both call and result: servers of 2025 and later pair by them, older ones by name and
order and read past them (rule T4). Source: https://docs.ollama.com/api/chat, /capabilities/tool-calling, /capabilities/vision and
api/types.go of the server.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from ...core.content import (
    AssistantBlock,
    Audio,
    BlobRef,
    Document,
    Image,
    Inline,
    Text,
    Thinking,
    ToolCall,
    UserBlock,
    text_of,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs
from ..heads import refused_type, unsupported
from ..history import (
    EMPTY_INPUT,
    EMPTY_RESULT,
    MADE,
    SEE_BELOW,
    UNNAMED,
    UNSENDABLE,
    attached_to,
    base64_of,
    is_blank,
    media_type_of,
    object_of,
    text_document,
    written_elements,
)
from ..openai_chat.ids import plain_id
from .fold import ORIGIN
from .head import PROVIDER


class _User(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user", omit_defaults=True):
    content: str
    images: list[str] = []


class _Assistant(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="assistant", omit_defaults=True):
    content: str
    thinking: str = ""
    tool_calls: list[dict[str, Any]] = []


class _Tool(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="tool"):
    content: str
    tool_name: str
    tool_call_id: str


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `messages` array.

    An assistant message with nothing to send is left out. Raises `ConfigError` for content that the API does not take,
    `StateError` for a missing blob.
    """
    out: list[_User | _Assistant | _Tool] = []
    for position in range(start, len(messages)):
        message = messages[position]
        if type(message) is UserMessage:
            body = message.body
            out.append(_User(_or(body, EMPTY_INPUT)) if isinstance(body, str) else _user(body, blobs))
        elif type(message) is AssistantMessage:
            body = message.body
            if not isinstance(body, str):
                out += _assistant(body)
            elif not is_blank(body):
                out.append(_Assistant(body))
        elif type(message) is ToolMessage:
            out += _results(message.results, _names(messages, position), blobs)
    return written_elements(out)


def _or(text: str, stand_in: str) -> str:
    return stand_in if is_blank(text) else text


def _names(messages: Sequence[Message], position: int) -> dict[str, str]:
    """The tools' names by call id, from the message that the results at `position` answer."""
    while position > 0:
        position -= 1
        message = messages[position]
        if type(message) is AssistantMessage:
            return {call.id: call.name or UNNAMED for call in message.tool_calls}
    return {}


def _user(body: tuple[UserBlock, ...], blobs: Blobs) -> _User:
    texts: list[str] = []
    images: list[str] = []
    for block in body:
        match block:
            case Text(text=text):
                texts.append(text)
            case Image():
                images.append(_image(block, blobs))
            case Audio():
                raise unsupported(PROVIDER, "audio", "Send a transcript in its place.")
            case Document():
                if (text := text_document(block, blobs)) is None:
                    raise unsupported(PROVIDER, "documents that are not text", "Send their text in their place.")
                texts.append(text)
    text = "\n\n".join([t for t in texts if not is_blank(t)])
    return _User(text if text or images else EMPTY_INPUT, images)


def _is_taken(image: Image) -> bool:
    return isinstance(image.source, Inline | BlobRef) and media_type_of(image.source).startswith("image/")


def _image(image: Image, blobs: Blobs) -> str:
    source = image.source
    if not isinstance(source, Inline | BlobRef):
        raise unsupported(PROVIDER, "images by URL or file id", "Send the image's bytes.")
    if not media_type_of(source).startswith("image/"):
        raise refused_type(PROVIDER, source.media_type, "an image", "PNG, JPEG and WebP")
    return base64_of(source, blobs)


def _assistant(body: tuple[AssistantBlock, ...]) -> list[_Assistant]:
    """What the model said before; empty if nothing of it can be sent. Reasoning goes back to its own family only (rule T5)."""
    text = text_of(tuple([Text(MADE[type(b)]) if type(b) in MADE else b for b in body]))
    calls = [_call(b) for b in body if type(b) is ToolCall]
    if is_blank(text):
        text = ""
    if not text and not calls:
        return []
    thought = "".join([b.text for b in body if type(b) is Thinking and b.origin == ORIGIN])
    return [_Assistant(text, thought, calls)]


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name or UNNAMED, "arguments": object_of(call.arguments)}
    return {"id": plain_id(call.id), "function": function}


def _results(results: tuple[ToolResult, ...], names: dict[str, str], blobs: Blobs) -> list[_User | _Assistant | _Tool]:
    """One tool message per result, then one user message with the images of all of them."""
    out: list[_User | _Assistant | _Tool] = []
    texts: list[str] = []
    images: list[str] = []
    for result in results:
        id = plain_id(result.call_id)
        said, shown = (result.body, []) if isinstance(result.body, str) else _result(result, blobs)
        if shown:
            texts.append(attached_to(id))
            images += shown
        name = names.get(result.call_id, "")
        out.append(_Tool(_or(said, SEE_BELOW if shown else EMPTY_RESULT), name, id))
    if images:
        out.append(_User("\n\n".join(texts), images))
    return out


def _result(result: ToolResult, blobs: Blobs) -> tuple[str, list[str]]:
    """A result's text, and its images. What can be sent in no way is mentioned."""
    texts: list[str] = []
    images: list[str] = []
    for block in result.content:
        if type(block) is Text:
            texts.append(block.text)
        elif type(block) is Image and _is_taken(block):
            images.append(_image(block, blobs))
        elif type(block) is Document and (text := text_document(block, blobs)) is not None:
            texts.append(text)
        else:
            texts.append(UNSENDABLE[type(block)])
    return "\n\n".join([t for t in texts if not is_blank(t)]), images

"""Messages of a conversation in the form of Cohere's chat API, version 2.

Each message is written from itself alone, so a written history never changes when it grows (rule T7). Beside calls the API
refuses text ("text content is not allowed when tool_calls are provided … use 'tool_plan'"): there it is sent as
`tool_plan`. Reasoning goes back to its own family only (rule T5), and citations with the text that they are of. Source:
https://docs.cohere.com/reference/chat, /docs/tool-use-overview, /docs/image-inputs; the rule on text: the API's own error message.
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
    Native,
    Opaque,
    ProviderFile,
    Text,
    Thinking,
    ToolCall,
    Url,
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
    IMAGE_TYPES,
    MADE,
    SEE_BELOW,
    UNNAMED,
    UNSENDABLE,
    attached_to,
    data_url,
    is_blank,
    media_type_of,
    object_text,
    own_fields,
    text_document,
    written_elements,
)
from ..openai_chat.ids import plain_id
from .fold import ORIGIN, PLAN
from .head import PROVIDER

_DETAILS = ("auto", "low", "high")

Part = dict[str, Any] | msgspec.Raw


class _User(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user"):
    content: str | list[Part]


class _Assistant(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="assistant"):
    content: str


class _Tool(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str | list[Part]


_Written = _User | _Assistant | _Tool | dict[str, Any]


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `messages` array.

    An assistant message with nothing to send is left out. Raises `ConfigError` for content that the API does not take,
    `StateError` for a missing blob.
    """
    out: list[_Written] = []
    for message in messages[start:] if start else messages:
        if type(message) is UserMessage:
            body = message.body
            if isinstance(body, str):
                out.append(_User(EMPTY_INPUT if is_blank(body) else body))
            else:
                out.append(_User(_user_parts(body, blobs) or EMPTY_INPUT))
        elif type(message) is AssistantMessage:
            body = message.body
            if not isinstance(body, str):
                if (written := _assistant(body)) is not None:
                    out.append(written)
            elif not is_blank(body):
                out.append(_Assistant(body))
        elif type(message) is ToolMessage:
            out += _results(message.results, blobs)
    return written_elements(out)


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# --- the user ---------------------------------------------------------------------------------------------------------


def _user_parts(body: tuple[UserBlock, ...], blobs: Blobs) -> list[Part]:
    out: list[Part] = []
    for block in body:
        match block:
            case Text(text=text):
                if not is_blank(text):
                    out.append(_text(text))
            case Image():
                out.append(_image(block, blobs))
            case Audio():
                raise unsupported(PROVIDER, "audio", "Send a transcript in its place.")
            case Document():
                if (text := text_document(block, blobs)) is None:
                    raise unsupported(PROVIDER, "documents that are not text", "Send their text in their place.")
                if not is_blank(text):
                    out.append(_text(text))
    return out


def _image(image: Image, blobs: Blobs) -> dict[str, Any]:
    source = image.source
    match source:
        case ProviderFile():
            raise unsupported(PROVIDER, "images by file id", "Send the image's bytes or a URL.")
        case Url(url=url):
            shown: dict[str, Any] = {"url": url}
        case Inline() | BlobRef():
            media_type = media_type_of(source)
            if media_type not in IMAGE_TYPES:
                raise refused_type(PROVIDER, media_type, "an image", ", ".join(IMAGE_TYPES))
            shown = {"url": data_url(media_type, source, blobs)}
    if image.detail in _DETAILS:
        shown["detail"] = image.detail
    return {"type": "image_url", "image_url": shown}


def _is_taken(image: Image) -> bool:
    source = image.source
    return not isinstance(source, ProviderFile) and (isinstance(source, Url) or media_type_of(source) in IMAGE_TYPES)


# --- the model --------------------------------------------------------------------------------------------------------


def _assistant(body: tuple[AssistantBlock, ...]) -> dict[str, Any] | None:
    """What the model said before; None if nothing of it can be sent."""
    calls = [_call(b) for b in body if type(b) is ToolCall]
    out: dict[str, Any] = {"role": "assistant"}
    if calls:
        content: list[Part] = [_thought(b) for b in body if _is_own_thought(b)]
        if content:
            out["content"] = content
        if plan := _plan(body):
            out["tool_plan"] = plan
        out["tool_calls"] = calls
        return out
    content, citations = _said(body)
    if all(isinstance(p, dict) and p["type"] == "thinking" for p in content):
        return None
    out["content"] = content
    if citations:
        out["citations"] = citations
    return out


def _said(body: tuple[AssistantBlock, ...]) -> tuple[list[Part], list[dict[str, msgspec.Raw]]]:
    """The content of a message without calls, and the citations of its texts."""
    content: list[Part] = []
    citations: list[dict[str, msgspec.Raw]] = []
    for block in body:
        match block:
            case Text(text=text, native=native):
                if not is_blank(text):
                    citations += _citations(native, len(content))
                    content.append(_text(text))
            case Thinking():
                if _is_own_thought(block):
                    content.append(_thought(block))
            case Opaque(native=native):
                if native.origin == ORIGIN:
                    content.append(msgspec.Raw(native.data.encode()))
            case Image() | Audio():
                content.append(_text(MADE[type(block)]))
            case ToolCall():
                pass
    return content, citations


def _citations(native: Native | None, position: int) -> list[dict[str, msgspec.Raw]]:
    """The citations of the text at that position of the content, as they came but for the position."""
    raw = own_fields(native, ORIGIN).get("citations")
    found = [] if raw is None else msgspec.json.decode(raw, type=list[dict[str, msgspec.Raw]])
    for citation in found:
        if "content_index" in citation:
            citation["content_index"] = msgspec.Raw(str(position).encode())
    return found


def _is_own_thought(block: AssistantBlock) -> bool:
    return type(block) is Thinking and block.origin == ORIGIN and block.native != PLAN and not is_blank(block.text)


def _thought(block: AssistantBlock) -> dict[str, Any]:
    return {"type": "thinking", "thinking": block.text if type(block) is Thinking else ""}


def _plan(body: tuple[AssistantBlock, ...]) -> str:
    """What was said before calling tools: Cohere's own plan, and text."""
    said = [b.text for b in body if type(b) is Thinking and b.origin == ORIGIN and b.native == PLAN]
    said.append(text_of(tuple([Text(MADE[type(b)]) if type(b) in MADE else b for b in body])))
    return "\n\n".join([s for s in said if not is_blank(s)])


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"name": call.name or UNNAMED, "arguments": object_text(call.arguments)}
    return {"id": plain_id(call.id), "type": "function", "function": function}


# --- tools ------------------------------------------------------------------------------------------------------------


def _results(results: tuple[ToolResult, ...], blobs: Blobs) -> list[_Written]:
    """One tool message per result, then one user message with the images of all of them."""
    out: list[_Written] = []
    attached: list[Part] = []
    for result in results:
        id = plain_id(result.call_id)
        if isinstance(result.body, str):
            out.append(_Tool(id, EMPTY_RESULT if is_blank(result.body) else result.body))
            continue
        said, shown = _result(result, blobs)
        if shown:
            attached += [_text(attached_to(id)), *shown]
        out.append(_Tool(id, said or (SEE_BELOW if shown else EMPTY_RESULT)))
    if attached:
        out.append(_User(attached))
    return out


def _result(result: ToolResult, blobs: Blobs) -> tuple[list[Part], list[Part]]:
    """A result's texts, each of which can be cited by itself, and its images. What can be sent in no way is mentioned."""
    said: list[Part] = []
    shown: list[Part] = []
    for block in result.content:
        if type(block) is Image and _is_taken(block):
            shown.append(_image(block, blobs))
            continue
        if type(block) is Text:
            text = block.text
        else:
            text = text_document(block, blobs) if type(block) is Document else None
            text = UNSENDABLE[type(block)] if text is None else text
        if not is_blank(text):
            said.append(_text(text))
    return said, shown

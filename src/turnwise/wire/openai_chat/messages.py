"""Messages of a conversation in Chat Completions form.

Each message is written from itself alone, so a written history never changes when it grows (rule T7). Calls keep their
outcomes right behind them; reasoning goes to no other family than its own (rule T5). Source:
https://platform.openai.com/docs/api-reference/chat/create and the guides on images, audio and file inputs.
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
    ResultBlock,
    Text,
    Thinking,
    ToolCall,
    Url,
    UserBlock,
    text_of,
)
from ...core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from ...core.outcomes import ToolResult
from ..base import Blobs, Codec, Tail
from ..heads import foreign_file, refused_type
from ..history import (
    MADE,
    SEE_BELOW,
    UNNAMED,
    UNSENDABLE,
    attached_to,
    base64_of,
    data_url,
    file_name,
    is_blank,
    is_text,
    json_text,
    media_type_of,
    message_behind,
    object_text,
    own_fields,
    text_document,
    written_elements,
)
from ..prompted.codec import Spoken
from .head import unsupported
from .ids import nine_id, plain_id
from .profile import Profile

_AUDIO_FORMATS = {
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/vnd.wave": "wav",
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
}


class _User(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="user"):
    content: str | list[dict[str, Any]]


class _Assistant(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="assistant"):
    content: str


class _Tool(msgspec.Struct, frozen=True, gc=False, tag_field="role", tag="tool"):
    tool_call_id: str
    content: str


_BRIDGE = _Assistant("(no answer)")
"""Stands between two user messages at hosts that want their partners to take turns."""

_Written = _User | _Assistant | _Tool | dict[str, Any]


def encode_messages(messages: Sequence[Message], start: int, blobs: Blobs, profile: Profile) -> bytearray:
    """`messages[start:]` as comma-separated elements of the `messages` array.

    An assistant message with nothing to send is left out. Raises `ConfigError` for content that the host does not take
    `StateError` for a missing blob.
    """
    if not profile.tools:
        messages = Spoken(messages)  # calls and results of other models, in words
    out: list[_Written] = []
    add = out.append
    follows_user = profile.alternates and _ends_with_user(messages, start, profile)
    for message in messages[start:] if start else messages:
        if type(message) is UserMessage:
            body = message.body
            if follows_user:
                add(_BRIDGE)
            add(_User(body if isinstance(body, str) else _parts(body, blobs, profile) or ""))
            follows_user = profile.alternates
        elif type(message) is AssistantMessage:
            body = message.body
            if not isinstance(body, str):
                if (written := _assistant(body, profile)) is not None:
                    add(written)
                    follows_user = False
            elif body and not body.isspace():
                add(_Assistant(body))
                follows_user = False
        elif type(message) is ToolMessage:
            out += _results(message.results, blobs, profile)
    return written_elements(out)


def _ends_with_user(messages: Sequence[Message], count: int, profile: Profile) -> bool:
    """Whether the last that is sent of the first `count` messages is the user's."""
    for position in range(count - 1, -1, -1):
        message = messages[position]
        if type(message) is not AssistantMessage:
            return type(message) is UserMessage
        body = message.body
        if body.strip() if isinstance(body, str) else _assistant(body, profile) is not None:
            return False
    return False


def tail(codec: Codec, messages: Sequence[Message], text: str, profile: Profile) -> Tail:
    """What the user says last. At hosts that want their partners to take turns it is a part of the user's last message, whose content
    is a string or a list of parts."""
    if not profile.alternates:
        return message_behind(codec, messages, text)
    if not profile.tools:
        messages = Spoken(messages)
    if not _ends_with_user(messages, len(messages), profile):
        return message_behind(codec, messages, text)
    last = messages[-1]
    body = last.body if type(last) is UserMessage else ""
    if isinstance(body, str) or all(type(b) is Text and is_blank(b.text) for b in body):
        return Tail(2, b"\\n\\n" + json_text(text) + b'"}')
    return Tail(2, b',{"type":"text","text":"' + json_text(text) + b'"}]}')


def _results(results: tuple[ToolResult, ...], blobs: Blobs, profile: Profile) -> list[_Written]:
    """One tool message per result, then one user message with the media of all of them."""
    out: list[_Written] = []
    attached: list[dict[str, Any]] = []
    for result in results:
        id = wire_id(result.call_id, profile)
        text = result.text
        if not isinstance(result.body, str):
            shown = tuple([b for b in result.body if type(b) is not Text and _can_send(b, profile)])
            if media := _parts(shown, blobs, profile):
                attached += [_text(attached_to(id)), *media]
            lost = [UNSENDABLE[type(b)] for b in result.body if type(b) is not Text and not _can_send(b, profile)]
            text = "\n".join([t for t in (text, *lost) if not is_blank(t)])
            text = text or (SEE_BELOW if media else "")
        out.append(_Tool(id, text))
    if attached:
        out.append(_User(attached))
    return out


def _can_send(block: ResultBlock, profile: Profile) -> bool:
    """Whether the host takes that kind of content at all. What a tool gives back must not end a conversation."""
    match block:
        case Image():
            return profile.images
        case Audio():
            return profile.audio
        case Document(source=source):
            if is_text(source):
                return True
            return profile.documents is not None and (profile.document_urls or not isinstance(source, Url))
        case _:
            return True


def wire_id(call_id: str, profile: Profile) -> str:
    """A call's id as this host takes it."""
    return nine_id(call_id) if profile.call_ids == "nine" else plain_id(call_id)


def _assistant(body: tuple[AssistantBlock, ...], profile: Profile) -> dict[str, Any] | None:
    """What the model said before; None if nothing of it can be sent."""
    text = _said(body)
    fields = _own_fields(body, profile)
    calls = [_call(b, profile) for b in body if type(b) is ToolCall]
    if not text and not calls and "refusal" not in fields:
        return None
    out: dict[str, Any] = {"role": "assistant", "content": text or None}
    if not text and not calls:
        # Content may be missing beside calls only; a refusal alone is a content part.
        out["content"] = [{"type": "refusal", "refusal": fields.pop("refusal")}]
    out |= fields
    thought = "".join([b.text for b in body if type(b) is Thinking and b.origin == profile.origin])
    if thought and profile.reasoning_field:
        out[profile.reasoning_field] = thought
    elif thought and profile.thinking_parts:
        parts: list[dict[str, Any]] = [{"type": "thinking", "thinking": [_text(thought)]}]
        out["content"] = [*parts, _text(text)] if text else parts
    if calls:
        out["tool_calls"] = calls
    return out


def _said(body: tuple[AssistantBlock, ...]) -> str:
    """The text of an assistant message; media that the model made are mentioned, since the role takes none."""
    text = text_of(tuple([Text(MADE[type(b)]) if type(b) in MADE else b for b in body]))
    return "" if text.isspace() else text


def _own_fields(body: tuple[AssistantBlock, ...], profile: Profile) -> dict[str, Any]:
    """Fields of our own family that go back as they came."""
    out: dict[str, Any] = {}
    for block in body:
        if isinstance(block, Opaque | Thinking):
            out |= _fields_of(block.native, profile, profile.returned_fields)
    return out


def _fields_of(native: Native | None, profile: Profile, names: tuple[str, ...]) -> dict[str, Any]:
    return {n: v for n, v in own_fields(native, profile.origin).items() if n in names}


def _call(call: ToolCall, profile: Profile) -> dict[str, Any]:
    function = {"name": call.name or UNNAMED, "arguments": object_text(call.arguments)}
    out = {"id": wire_id(call.id, profile), "type": "function", "function": function}
    return out | _fields_of(call.native, profile, profile.returned_fields)


def _parts(
    body: tuple[UserBlock, ...] | tuple[ResultBlock, ...], blobs: Blobs, profile: Profile
) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for block in body:
        match block:
            case Text(text=text):
                if not is_blank(text):
                    out.append(_text(text))
            case Image():
                out.append(_image(block, blobs, profile))
            case Audio():
                out.append(_audio(block, blobs, profile))
            case Document():
                out.append(_document(block, blobs, profile))
    return out


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(image: Image, blobs: Blobs, profile: Profile) -> dict[str, Any]:
    """https://platform.openai.com/docs/guides/images-vision"""
    if not profile.images:
        raise unsupported(profile, "images", "Describe the image in words.")
    source = image.source
    if isinstance(source, ProviderFile):
        raise unsupported(profile, "images by file id", "Send the image's bytes or a URL.")
    if isinstance(source, Url):
        shown: dict[str, Any] = {"url": source.url}
    else:
        if not source.media_type.startswith("image/"):
            raise refused_type(profile.name, source.media_type, "an image", "PNG, JPEG, GIF and WebP")
        shown = {"url": data_url(source.media_type, source, blobs)}
    if image.detail is not None:
        shown["detail"] = image.detail
    return {"type": "image_url", "image_url": shown}


def _audio(audio: Audio, blobs: Blobs, profile: Profile) -> dict[str, Any]:
    """https://platform.openai.com/docs/guides/audio"""
    source = audio.source
    if not profile.audio:
        raise unsupported(profile, "audio", "Send a transcript in its place.")
    if not isinstance(source, Inline | BlobRef):
        raise unsupported(profile, "audio by URL or file id", "Send the recording's bytes.")
    format = _AUDIO_FORMATS.get(media_type_of(source))
    if format is None:
        raise refused_type(profile.name, source.media_type, "audio", "WAV and MP3")
    return {"type": "input_audio", "input_audio": {"data": base64_of(source, blobs), "format": format}}


def _document(document: Document, blobs: Blobs, profile: Profile) -> dict[str, Any]:
    """https://platform.openai.com/docs/guides/pdf-files; text goes as text."""
    source, name = document.source, document.name
    if (text := text_document(document, blobs)) is not None:
        return _text(text)
    if profile.documents is None:
        raise unsupported(profile, "documents", "Send their text in their place.")
    if isinstance(source, ProviderFile):
        if source.origin != profile.origin and source.origin not in profile.file_origins:
            raise foreign_file(profile.name, source)
        return {"type": "file", "file": {"file_id": source.id}}
    if isinstance(source, Url):
        if not profile.document_urls:
            raise unsupported(profile, "documents by URL", "Send the document's bytes.")
        return _file(source.url, name or "document", profile)
    kind = media_type_of(source)
    return _file(data_url(kind, source, blobs), name or file_name(kind), profile)


def _file(url: str, name: str, profile: Profile) -> dict[str, Any]:
    """A document, by its address or as a data URL."""
    match profile.documents:
        case "document_url":
            return {"type": "document_url", "document_url": url, "document_name": name}
        case "file_url":
            # Perplexity wants the bare base64.
            return {"type": "file_url", "file_url": {"url": url.partition(";base64,")[2] or url}, "file_name": name}
        case _:
            return {"type": "file", "file": {"filename": name, "file_data": url}}

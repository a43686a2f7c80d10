"""What encoders of message histories have in common, whatever the API: texts that stand for what cannot be sent, arguments as
objects, media as base64, and JSON of text that is not quite Unicode."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from typing import Any, TypeGuard, cast, overload

import msgspec

from ..core.content import Audio, BlobRef, Document, Image, Inline, Native, Source
from ..core.messages import Message, UserMessage
from .base import Blobs, Codec, Tail, bytes_of, elements
from .unreadable import UNREADABLE

EMPTY_INPUT = "(empty message)"
"""Stands for a user message in which nothing can be sent."""
EMPTY_RESULT = "(no output)"
"""Stands for a result that says nothing, where the API wants text."""
EMPTY_DOCUMENT = "(empty document)"
CONVERSATION_GOES_ON = "(The conversation goes on from here.)"
"""Stands for the user before and between messages of the assistant, where the API wants them to take turns."""
SEE_BELOW = "(The result is attached to the message below.)"
"""The text of a tool result that is media alone, where the tool role takes text only."""
MADE: dict[type, str] = {Image: "(an image that the assistant made)", Audio: "(audio that the assistant made)"}
"""Stand for media that the model made, where the assistant role takes none."""
UNNAMED = "unknown_tool"
"""The name of a tool in a call that came without one."""
UNSENDABLE: dict[type, str] = {Image: "(an image)", Audio: "(a recording)", Document: "(a document)"}
"""Stand for media of a tool result that the API has no place for at all."""

IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""The images that most APIs take."""


def is_blank(text: str) -> bool:
    return not text or text.isspace()


def attached_to(id: str) -> str:
    """Announces the media of a result in the user message that brings them."""
    return f"Attached to the result of tool call {id}:"


def media_type_of(source: Inline | BlobRef) -> str:
    """Without parameters such as a charset."""
    return source.media_type.partition(";")[0].strip().lower()


def base64_of(source: Inline | BlobRef, blobs: Blobs) -> str:
    return b64encode(bytes_of(source, blobs)).decode()


def data_url(media_type: str, source: Inline | BlobRef, blobs: Blobs) -> str:
    return f"data:{media_type};base64,{base64_of(source, blobs)}"


def file_name(media_type: str) -> str:
    """The name of a document that has none, for APIs that want one."""
    return "document.pdf" if media_type == "application/pdf" else "document"


def is_text(source: Source, more: Sequence[str] = ()) -> TypeGuard[Inline | BlobRef]:
    """Whether a document is text at hand; `more` are media types that count as text beside `text/*`."""
    if not isinstance(source, Inline | BlobRef):
        return False
    kind = media_type_of(source)
    return kind.startswith("text/") or kind in more


def text_in(source: Inline | BlobRef, blobs: Blobs) -> str:
    return bytes_of(source, blobs).decode("utf-8", "replace")


def text_document(document: Document, blobs: Blobs, more: Sequence[str] = ()) -> str | None:
    """A document that is text (`is_text`), as text with its name; None for any other."""
    if not is_text(document.source, more):
        return None
    text = text_in(document.source, blobs)
    return f"{document.name}:\n\n{text}" if document.name else text or EMPTY_DOCUMENT


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def object_text(arguments: str) -> str:
    """The JSON text of a call's arguments: unchanged if it is an object, wrapped in one if it is not (rule E2)."""
    if is_blank(arguments):
        return "{}"
    try:
        _decode_object(arguments)
    except UNREADABLE:
        return _wrapped(arguments).decode()
    return arguments


def object_of(arguments: str) -> msgspec.Raw:
    """The same as a part of a JSON document. What lies in it counts too: a number that no reader can hold would make the
    whole request unreadable."""
    if is_blank(arguments):
        return msgspec.Raw(b"{}")
    try:
        is_object = type(msgspec.json.decode(arguments)) is dict
    except UNREADABLE:
        is_object = False
    return msgspec.Raw(arguments.encode() if is_object else _wrapped(arguments))


def _wrapped(arguments: str) -> bytes:
    return msgspec.json.encode({"_invalid": scrubbed(arguments)})


def own_fields(native: Native | None, origin: str) -> dict[str, msgspec.Raw]:
    """The fields of a native item of this family; none of any other's."""
    if native is None or native.origin != origin:
        return {}
    return _decode_object(native.data)


def written_elements(values: Sequence[Any]) -> bytearray:
    """Values as the comma-separated elements of a JSON array. Halves of surrogate pairs are replaced: tools read them from odd
    file names, and no JSON can hold them."""
    try:
        return elements(values)
    except UnicodeEncodeError:
        return elements(scrubbed(list(values)))


def scrubbed(value: Any) -> Any:
    """The same value with halves of surrogate pairs replaced in all its texts."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list):
        return [scrubbed(v) for v in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {k: scrubbed(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, msgspec.Struct):
        return type(value)(*[scrubbed(getattr(value, name)) for name in value.__struct_fields__])
    return value


class Followed(Sequence[Message]):
    """Messages with one more behind them, which is not put into the list: that belongs to somebody else, and may be long."""

    __slots__ = ("_last", "_messages")

    def __init__(self, messages: Sequence[Message], last: Message) -> None:
        self._messages = messages
        self._last = last

    def __len__(self) -> int:
        return len(self._messages) + 1

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Message]: ...
    def __getitem__(self, index: int | slice) -> Message | Sequence[Message]:
        count = len(self._messages)
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(count + 1))]
        if index in (count, -1):
            return self._last
        return self._messages[index if index >= 0 else index + 1]


def message_behind(codec: Codec, messages: Sequence[Message], text: str) -> Tail:
    """What the user says last, as a message of its own."""
    made = codec.encode_messages(Followed(messages, UserMessage(text)), len(messages), {})
    return Tail(0, b"," + made)


def json_text(text: str) -> bytes:
    """A text within a JSON string, without its quotes."""
    return msgspec.json.encode(text.encode("utf-8", "replace").decode())[1:-1]

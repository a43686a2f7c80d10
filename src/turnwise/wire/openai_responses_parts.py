"""What users and tools give, as the content parts of Responses input: text, pictures and files.

The API has no audio. What a user sends and the API cannot take is refused; what a tool returned is mentioned in words, since
a result that is already part of the conversation must not make it unusable. Source:
https://platform.openai.com/docs/guides/images-vision and /pdf-files.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from ..core.content import Audio, BlobRef, Document, Image, Inline, ProviderFile, ResultBlock, Text, Url, UserBlock
from ..core.errors import ConfigError
from .base import Blobs, bytes_of
from .heads import unsupported

IMAGE_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")
FILE_OWNER = "openai"
"""Whose uploaded files can be named, beside those of the codec's own family."""


class Taker:
    """Writes parts for one provider: `name` is what errors call it, `origin` its signature family."""

    __slots__ = ("_blobs", "_name", "_origin")

    def __init__(self, name: str, origin: str, blobs: Blobs) -> None:
        self._name = name
        self._origin = origin
        self._blobs = blobs

    def user_parts(self, body: tuple[UserBlock, ...]) -> list[dict[str, Any]]:
        """Raises `ConfigError` (`unsupported_feature`) for what the API does not take."""
        return [p for b in body if (p := self._part(b)) is not None]

    def result_parts(self, body: tuple[ResultBlock, ...]) -> list[dict[str, Any]]:
        out: list[dict[str, Any]] = []
        for block in body:
            try:
                part = self._part(block)
            except ConfigError as error:
                part = text_part(f"(Something that cannot be shown here: {error.info.message})")
            if part is not None:
                out.append(part)
        return out

    def _part(self, block: UserBlock | ResultBlock) -> dict[str, Any] | None:
        match block:
            case Text(text=text):
                return text_part(text) if text and not text.isspace() else None
            case Image():
                return self._image(block)
            case Document():
                return self._document(block)
            case Audio():
                raise unsupported(self._name, "audio", "Send a transcript in its place.")

    def _image(self, image: Image) -> dict[str, Any]:
        source = image.source
        part: dict[str, Any] = {"type": "input_image", "detail": image.detail or "auto"}
        if isinstance(source, ProviderFile):
            return part | {"file_id": self._file_id(source, "image")}
        if isinstance(source, Url):
            return part | {"image_url": source.url}
        kind = media_type(source)
        if kind not in IMAGE_TYPES:
            raise unsupported(self._name, f"{kind!r} as an image", f"It takes {', '.join(IMAGE_TYPES)}.")
        return part | {"image_url": data_url(kind, bytes_of(source, self._blobs))}

    def _document(self, document: Document) -> dict[str, Any]:
        """Text goes as text: so any model can read it."""
        source, name = document.source, document.name
        if isinstance(source, Url):
            return {"type": "input_file", "file_url": source.url}
        if isinstance(source, ProviderFile):
            return {"type": "input_file", "file_id": self._file_id(source, "file")}
        kind, data = media_type(source), bytes_of(source, self._blobs)
        if kind.startswith("text/"):
            text = data.decode("utf-8", "replace")
            return text_part(f"{name}:\n\n{text}" if name else text if text.strip() else "(empty document)")
        if kind.startswith(("audio/", "video/")):
            raise unsupported(self._name, f"{kind!r} as a document", "Send a transcript in its place.")
        filename = name or ("document.pdf" if kind == "application/pdf" else "document")
        return {"type": "input_file", "filename": filename, "file_data": data_url(kind, data)}

    def _file_id(self, source: ProviderFile, what: str) -> str:
        if source.origin not in (self._origin, FILE_OWNER):
            feature = f"the {what} {source.id!r} of {source.origin!r}"
            raise unsupported(self._name, feature, "Upload it here too, or send its bytes.")
        return source.id


def text_part(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}


def media_type(source: Inline | BlobRef) -> str:
    """Without parameters such as a charset."""
    return source.media_type.partition(";")[0].strip().lower()


def data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"

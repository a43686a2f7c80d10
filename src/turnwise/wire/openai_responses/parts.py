"""What users and tools give, as the content parts of Responses input: text, pictures and files.

The API has no audio. What a user sends and the API cannot take is refused; what a tool returned is mentioned in words, since
a result that is already part of the conversation must not make it unusable. Source:
https://platform.openai.com/docs/guides/images-vision and /pdf-files.
"""

from __future__ import annotations

from typing import Any

from ...core.content import Audio, Document, Image, ProviderFile, ResultBlock, Text, Url, UserBlock
from ...core.errors import ConfigError
from ..base import Blobs
from ..heads import foreign_file, refused_type, unsupported
from ..history import (
    EMPTY_DOCUMENT,
    IMAGE_TYPES,
    data_url,
    file_name,
    is_blank,
    media_type_of,
    text_document,
)

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
                return None if is_blank(text) else text_part(text)
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
        kind = media_type_of(source)
        if kind not in IMAGE_TYPES:
            raise refused_type(self._name, kind, "an image", ", ".join(IMAGE_TYPES))
        return part | {"image_url": data_url(kind, source, self._blobs)}

    def _document(self, document: Document) -> dict[str, Any]:
        """Text goes as text: so any model can read it."""
        source = document.source
        if isinstance(source, Url):
            return {"type": "input_file", "file_url": source.url}
        if isinstance(source, ProviderFile):
            return {"type": "input_file", "file_id": self._file_id(source, "file")}
        if (text := text_document(document, self._blobs)) is not None:
            return text_part(EMPTY_DOCUMENT if is_blank(text) else text)
        kind = media_type_of(source)
        if kind.startswith(("audio/", "video/")):
            raise unsupported(self._name, f"{kind!r} as a document", "Send a transcript in its place.")
        url = data_url(kind, source, self._blobs)
        return {"type": "input_file", "filename": document.name or file_name(kind), "file_data": url}

    def _file_id(self, source: ProviderFile, what: str) -> str:
        if source.origin not in (self._origin, FILE_OWNER):
            raise foreign_file(self._name, source, what)
        return source.id


def text_part(text: str) -> dict[str, Any]:
    return {"type": "input_text", "text": text}

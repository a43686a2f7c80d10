"""Images, sound and files as parts of a generateContent request, and which of them the API takes.

Sources: https://ai.google.dev/gemini-api/docs/image-understanding, …/audio, …/video-understanding, …/document-processing and
…/file-input-methods.
"""

from __future__ import annotations

from typing import Any

from ...core.content import Audio, BlobRef, Document, Image, Inline, Media, ProviderFile, Source, Url
from ...core.errors import ConfigError
from ..base import Blobs
from ..heads import foreign_file, refused_type
from ..history import base64_of, media_type_of, text_document
from .dialect import Dialect

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_BY_SUFFIX = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "heic": "image/heic",
    "heif": "image/heif",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "aac": "audio/aac",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aiff": "audio/aiff",
    "m4a": "audio/m4a",
    "mp4": "video/mp4",
    "mov": "video/mov",
    "webm": "video/webm",
    "mpg": "video/mpg",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/md",
    "html": "text/html",
    "csv": "text/csv",
}
_DEFAULTS: dict[type, str] = {Image: "image/jpeg", Audio: "audio/mp3", Document: "application/pdf"}
"""What a reference is said to be if neither its media type nor its name tells: Vertex AI demands that it be said."""
_TEXTUAL = ("application/json", "application/xml", "application/yaml", "application/x-yaml", "application/javascript")


def media_part(block: Media, blobs: Blobs, dialect: Dialect) -> dict[str, Any]:
    """The part for an image, a recording or a file. Text goes as text. An image's `detail` is not sent: resolution is a setting
    of the whole request here, `GeminiExtra(media_resolution=…)`.

    Raises `ConfigError` (`unsupported_feature`) for what the API does not take.
    """
    source = block.source
    if isinstance(source, Url | ProviderFile):
        return {"fileData": _reference(block, source, dialect)}
    if type(block) is Document and (text := text_document(block, blobs, _TEXTUAL)) is not None:
        return {"text": text}
    kind = media_type_of(source)
    if not _takes(block, kind):
        raise _refused(block, kind, dialect)
    return {"inlineData": {"mimeType": kind, "data": base64_of(source, blobs)}}


def inline_data(source: Source, blobs: Blobs) -> dict[str, str] | None:
    """What the model made itself, to be shown to it again; None if its bytes are not at hand."""
    if isinstance(source, BlobRef) and source.sha256 not in blobs:
        return None
    if not isinstance(source, Inline | BlobRef):
        return None
    return {"mimeType": source.media_type, "data": base64_of(source, blobs)}


def _takes(block: Media, kind: str) -> bool:
    if type(block) is Image:
        return kind in _IMAGES
    if type(block) is Audio:
        return kind.startswith("audio/")
    return kind == "application/pdf" or kind.startswith(("video/", "audio/")) or kind in _IMAGES


def _refused(block: Media, kind: str, dialect: Dialect) -> ConfigError:
    if type(block) is Image:
        return refused_type(dialect.name, kind, "an image", "PNG, JPEG, WebP, HEIC and HEIF")
    if type(block) is Audio:
        return refused_type(dialect.name, kind, "audio", "WAV, MP3, AIFF, AAC, OGG and FLAC")
    return refused_type(dialect.name, kind, "a document", "PDF, text and video")


def _reference(block: Media, source: Url | ProviderFile, dialect: Dialect) -> dict[str, str]:
    if isinstance(source, ProviderFile):
        if source.origin != dialect.origin:
            raise foreign_file(dialect.name, source)
        uri = source.id if ":" in source.id else dialect.file_prefix + source.id
    else:
        uri = source.url
    suffix = uri.partition("?")[0].rpartition("/")[2].rpartition(".")[2].lower()
    kind = source.media_type or _BY_SUFFIX.get(suffix) or _DEFAULTS[type(block)]
    return {"mimeType": kind, "fileUri": uri}

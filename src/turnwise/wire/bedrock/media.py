"""Images, documents and audio in the form of Converse: a format word and bytes, or an object in S3.

What the API cannot take is refused with a typed error that names it. Source:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html, API_runtime_ImageBlock.html and
API_runtime_AudioBlock.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...core.content import Audio, BlobRef, Document, Image, Inline, ProviderFile, Source, Url
from ...core.errors import ConfigError, config_error
from ..base import Blobs
from ..history import base64_of
from .shapes import ORIGIN

IMAGES: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
DOCUMENTS: Mapping[str, str] = {
    "application/pdf": "pdf",
    "text/csv": "csv",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "text/html": "html",
    "text/plain": "txt",
    "text/markdown": "md",
}
"""Any other text is sent as `txt`."""
AUDIO: Mapping[str, str] = {
    "audio/mpeg": "mp3",
    "audio/mp3": "mp3",
    "audio/wav": "wav",
    "audio/x-wav": "wav",
    "audio/wave": "wav",
    "audio/flac": "flac",
    "audio/x-flac": "flac",
    "audio/ogg": "ogg",
    "audio/opus": "opus",
    "audio/aac": "aac",
    "audio/mp4": "m4a",
    "audio/x-m4a": "m4a",
    "audio/webm": "webm",
    "audio/pcm": "pcm",
}
MAX_NAME_CHARS = 200
_NAME = re.compile(r"[^A-Za-z0-9\-()\[\]]+")


def image(block: Image, blobs: Blobs) -> dict[str, Any]:
    return {"image": _block("image", block.source, IMAGES, blobs)}


def audio(block: Audio, blobs: Blobs) -> dict[str, Any]:
    return {"audio": _block("audio recording", block.source, AUDIO, blobs)}


def document(block: Document, number: int, blobs: Blobs) -> dict[str, Any]:
    """A document, the `number`th of the conversation: no two may have the same name, in whatever message they are."""
    return {
        "document": {**_block("document", block.source, DOCUMENTS, blobs), "name": document_name(block.name, number)}
    }


def document_name(name: str | None, number: int) -> str:
    """A name of letters, digits, hyphens, brackets and single spaces. Different numbers make different names."""
    end = f" [{number}]"
    plain = _NAME.sub(" ", name or "").strip()[: MAX_NAME_CHARS - len(end)].strip()
    return (plain or "document") + end


def _block(what: str, source: Source, formats: Mapping[str, str], blobs: Blobs) -> dict[str, Any]:
    media_type = (source.media_type or "").partition(";")[0].strip().lower()
    word = formats.get(media_type)
    if word is None and formats is DOCUMENTS and media_type.startswith("text/"):
        word = "txt"
    if not isinstance(source, Inline | BlobRef):
        uri = _s3_uri(what, source)
        word = word or _word_of(uri, formats)
        place = {"source": {"s3Location": {"uri": uri}}}
        if word is None and formats is not DOCUMENTS:
            raise _unknown(what, media_type, formats)
        return place if word is None else {"format": word, **place}
    if word is None:
        raise _unknown(what, media_type, formats)
    return {"format": word, "source": {"bytes": base64_of(source, blobs)}}


def _s3_uri(what: str, source: Url | ProviderFile) -> str:
    """Bedrock fetches from S3 alone."""
    uri = source.url if isinstance(source, Url) else source.id
    if uri.startswith("s3://") and (isinstance(source, Url) or source.origin == ORIGIN):
        return uri
    where = f"at {uri!r}" if isinstance(source, Url) else f"{uri!r}, which was uploaded to {source.origin!r}"
    message = f"Bedrock Converse cannot read the {what} {where}."
    raise config_error("unsupported_feature", message, "Send its bytes, or an s3:// address.")


def _word_of(uri: str, formats: Mapping[str, str]) -> str | None:
    ending = uri.rpartition("/")[2].rpartition(".")[2].lower()
    ending = {"jpg": "jpeg", "htm": "html"}.get(ending, ending)
    return ending if ending in formats.values() else None


def _unknown(what: str, media_type: str, formats: Mapping[str, str]) -> ConfigError:
    article = "a" if what == "document" else "an"
    message = f"Bedrock Converse does not take {media_type or '(no media type)'!r} as {article} {what}."
    return config_error("unsupported_feature", message, f"It takes {', '.join(dict.fromkeys(formats))}.")

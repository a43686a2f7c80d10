"""`File`: a tool returns a file, and the model gets it as what it is: text, a picture, sound, a PDF.

Files attached to prompts become blocks by the same rule (`block_of`).
"""

from __future__ import annotations

import mimetypes
import os
from pathlib import Path
from typing import Any, cast

import msgspec

from ..core.content import Audio, Document, Image, Inline, Source, Text, UserBlock
from ..core.errors import ToolError

IMAGES = frozenset(("image/png", "image/jpeg", "image/gif", "image/webp"))
"""What the providers take as pictures; others are text (SVG) or have to be converted."""
PDF = "application/pdf"
MAX_FILE_BYTES = 32 * 1024 * 1024


class File(msgspec.Struct, frozen=True):
    """A file as a tool's result, or as a part of it: `return File("chart.png")`, `return ["As of today:", File(path)]`.

    It is read when the tool has returned, at most `MAX_FILE_BYTES`. `media_type` says what it is if its name does not. A path
    alone (`pathlib.Path`) is told to the model as text.
    """

    path: str | os.PathLike[str]
    media_type: str | None = None


def names_files(value: object) -> bool:
    """Whether a tool's result is a `File`, or a list with one in it."""
    if isinstance(value, list | tuple):
        return any(isinstance(v, File) for v in cast("list[object]", value))
    return isinstance(value, File)


def with_files(value: Any) -> Any:
    """The result with its files read; blocks, so not to be called on an event loop. Raises `ToolError` for what cannot be read or
    shown."""
    if isinstance(value, File):
        return _read(value)
    return [_read(v) if isinstance(v, File) else v for v in value]


def _read(file: File) -> UserBlock:
    path = Path(os.fsdecode(file.path))
    try:
        with path.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ToolError(f"The tool's file {str(path)!r} cannot be read: {error.strerror or error}.") from error
    if len(data) > MAX_FILE_BYTES:
        raise ToolError(f"The tool's file {str(path)!r} is larger than {MAX_FILE_BYTES} bytes.")
    block = block_of(path.name, data, file.media_type)
    if block is None:
        raise ToolError(f"The tool's file {str(path)!r} is neither text nor an image, sound or PDF.")
    return block


def media_type_of(name: str) -> str:
    """What a file of that name is, as its ending says; "" if that says nothing."""
    return mimetypes.guess_type(name)[0] or ""


def is_media(kind: str) -> bool:
    """Whether models see, hear or read that media type as it is."""
    return kind in IMAGES or kind.startswith("audio/") or kind == PDF


def media_block(name: str, source: Source, kind: str) -> Image | Audio | Document:
    """The content block for bytes of such a media type."""
    if kind in IMAGES:
        return Image(source)
    return Document(source, name) if kind == PDF else Audio(source)


def block_of(name: str, data: bytes, media_type: str | None = None) -> UserBlock | None:
    """The content block for a file of that name; None if it is nothing that a model can read."""
    kind = media_type or media_type_of(name)
    if is_media(kind):
        return media_block(name, Inline(data, kind), kind)
    try:
        return Text(f"<file name={name!r}>\n{data.decode()}\n</file>")
    except UnicodeDecodeError:
        return None

"""From what a tool returned, or raised, to what the model is told. No I/O; sizes are capped by the executor, not here."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeGuard, cast

import msgspec

from ..core.content import Audio, Document, Image, ResultBlock, Text
from ..core.errors import ErrorInfo, ToolError, TurnwiseError
from ..models.secrets import mask, masked
from .arguments import bounded

if TYPE_CHECKING:
    from pydantic import BaseModel

Body = str | tuple[ResultBlock, ...]
ERROR_CHARS = 4000
_BLOCKS = (Text, Image, Audio, Document)
_BINARY: tuple[type, ...] = (bytes, bytearray, memoryview)


def render_result(value: object) -> Body:
    """The body of a tool's result.

    Text stays as it is and None is empty text; a content block, or a list with at least one in which all others are
    blocks or text, becomes blocks; everything else becomes JSON text. Raises `ToolError` naming the type for bytes (it cannot
    know what they are: return `Image.of(...)`, or decode them) and for what cannot be written as JSON.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return well_formed(value)
    if value is None:
        return ""
    blocks = _as_blocks(value)
    if blocks is not None:
        return blocks
    if isinstance(value, _BINARY):
        raise ToolError(
            f"The tool returned {type(value).__name__}, which has no meaning for a model: "
            "return text, or a block such as Image.of(data, 'image/png')."
        )
    return _as_json(value)


def failure_of(error: BaseException) -> ErrorInfo:
    """An exception raised by a tool as data: a `TurnwiseError`'s own `info`, else type and message, bounded in length."""
    if isinstance(error, TurnwiseError):
        info = masked(error.info)
        if info.message.isascii():
            return info
        return msgspec.structs.replace(info, message=well_formed(info.message))
    name = type(error).__name__
    try:
        said = str(error)
    except Exception:
        said = ""
    said = mask(f"{name}: {said}" if said else name)
    return ErrorInfo("tool", "tool_failed", bounded(said, ERROR_CHARS), detail=name)


def well_formed(text: str) -> str:
    """Text that every encoder accepts: lone surrogates (from file names, say) are written as escapes."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _as_blocks(value: object) -> tuple[ResultBlock, ...] | None:
    """A block, or a list of blocks and text with at least one block in it, as blocks; None for anything else."""
    if isinstance(value, _BLOCKS):
        return (_clean(value),)
    if isinstance(value, list | tuple) and _are_blocks(values := cast("Sequence[object]", value)):
        return tuple([Text(well_formed(v)) if isinstance(v, str) else _clean(v) for v in values])
    return None


def _are_blocks(values: Sequence[object]) -> TypeGuard[Sequence[ResultBlock | str]]:
    blocks = sum(isinstance(v, _BLOCKS) for v in values)
    return blocks > 0 and blocks + sum(isinstance(v, str) for v in values) == len(values)


def _clean(block: ResultBlock) -> ResultBlock:
    return msgspec.structs.replace(block, text=well_formed(block.text)) if type(block) is Text else block


def _as_json(value: object) -> str:
    pydantic = sys.modules.get("pydantic")
    try:
        if pydantic is not None and isinstance(value, pydantic.BaseModel):
            return cast("BaseModel", value).model_dump_json()
        return msgspec.json.encode(value, enc_hook=_encode_other).decode()
    except ToolError:
        raise
    except Exception as error:
        name = f"{type(value).__module__}.{type(value).__qualname__}"
        raise ToolError(f"The tool returned a {name}, which cannot be written as JSON: {error}") from error


def _encode_other(value: Any) -> Any:
    """What msgspec does not write by itself."""
    if isinstance(value, os.PathLike):
        return os.fspath(cast("os.PathLike[str]", value))
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"a value of type {type(value).__module__}.{type(value).__qualname__} is not data")

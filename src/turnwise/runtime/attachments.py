"""What comes in at the door, prompts and tool results, as content blocks: bytes go to the blob store, references stay.

Nothing past this door holds bytes: events, entries and results carry `BlobRef`s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from ..core.content import Audio, BlobRef, Block, Document, Image, Inline, Text, UserBlock
from ..core.errors import ConfigError, ErrorInfo, config_error
from ..core.messages import Message, ToolMessage
from ..core.protocols import Blobs
from ..tools import files

AnyBlock = TypeVar("AnyBlock", bound=Block)
Prompt = str | UserBlock | Path | Sequence[str | UserBlock | Path]
"""What a user may say: text, content blocks, paths of files to attach, or a sequence of these."""


ReadFile = Callable[[Path], Awaitable[bytes]]


class BlobOwner(Protocol):
    """Who keeps the bytes: a session."""

    @property
    def blobs(self) -> Blobs: ...


async def accept(prompt: Prompt, owner: BlobOwner, read_file: ReadFile) -> str | tuple[UserBlock, ...]:
    """A prompt as a message body. Raises `ConfigError`: `empty_prompt`, `unreadable_file`, `unsupported_file`."""
    if isinstance(prompt, str):
        if not prompt.strip():
            raise config_error("empty_prompt", "The prompt is empty.", "Say something, or attach a file.")
        return prompt
    parts = [prompt] if isinstance(prompt, (Path, Text, Image, Audio, Document)) else list(prompt)
    blocks = [await _block(part, read_file) for part in parts]
    if not any(not isinstance(b, Text) or b.text.strip() for b in blocks):
        raise config_error("empty_prompt", "The prompt is empty.", "Say something, or attach a file.")
    return await stored(tuple(blocks), owner)


async def stored(blocks: tuple[AnyBlock, ...], owner: BlobOwner) -> tuple[AnyBlock, ...]:
    """The blocks with their inline bytes in the blob store."""
    out: list[AnyBlock] = []
    for block in blocks:
        if isinstance(block, (Image, Audio, Document)) and isinstance(source := block.source, Inline):
            name = await owner.blobs.put(source.data)
            ref = BlobRef(name, len(source.data), source.media_type)
            out.append(msgspec.structs.replace(block, source=ref))
        else:
            out.append(block)
    return tuple(out)


def holds_bytes(message: Message) -> bool:
    """Whether a message has inline bytes, which nothing may have that is journalled."""
    if isinstance(message, ToolMessage):
        return any(_is_inline(block) for result in message.results for block in result.content)
    return type(message.body) is tuple and any(map(_is_inline, message.body))


async def without_bytes(message: Message, owner: BlobOwner) -> Message:
    """The message with its inline bytes in the blob store."""
    if not holds_bytes(message):
        return message
    if isinstance(message, ToolMessage):
        results = [msgspec.structs.replace(r, body=await stored(r.content, owner)) for r in message.results]
        return msgspec.structs.replace(message, results=tuple(results))
    return msgspec.structs.replace(message, body=await stored(message.content, owner))


async def loaded(owner: BlobOwner, messages: Sequence[Message]) -> dict[str, bytes]:
    """The bytes that these messages refer to. Raises `StateError` (`missing_blob`) for what is not in the blob store."""
    blobs: dict[str, bytes] = {}
    for message in messages:
        for ref in refs_of(message):
            if ref.sha256 not in blobs:
                blobs[ref.sha256] = await owner.blobs.get(ref.sha256)
    return blobs


def refs_of(message: Message) -> list[BlobRef]:
    """The blobs that a message refers to, those of tool results included."""
    parts = [message.content] if not isinstance(message, ToolMessage) else [r.content for r in message.results]
    media = [b for blocks in parts for b in blocks if isinstance(b, (Image, Audio, Document))]
    return [b.source for b in media if isinstance(b.source, BlobRef)]


def _is_inline(block: Block) -> bool:
    return isinstance(block, (Image, Audio, Document)) and isinstance(block.source, Inline)


async def _block(part: str | UserBlock | Path, read_file: ReadFile) -> UserBlock:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, Path):
        return part
    try:
        data = await read_file(part)
    except OSError as error:
        raise ConfigError(
            ErrorInfo(
                "config", "unreadable_file", f"{part} cannot be read: {error.strerror or error}.", "Check the path."
            )
        ) from error
    return block_of(part.name, data)


def block_of(name: str, data: bytes) -> UserBlock:
    """The content block for an attached file of that name. Raises `ConfigError` (`unsupported_file`)."""
    block = files.block_of(name, data)
    if block is None:
        raise config_error(
            "unsupported_file",
            f"{name} is neither text nor an image, sound or PDF.",
            "Convert it, or read it with a tool.",
        )
    return block

"""What comes in at the door, prompts and tool results, as content blocks: bytes go to the blob store, references stay.

Nothing past this door holds bytes: events, entries and results carry `BlobRef`s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeGuard, TypeVar

import msgspec

from ..core.content import Audio, BlobRef, Block, Document, Image, Inline, ProviderFile, Text, Url, UserBlock
from ..core.errors import ConfigError, config_error
from ..core.messages import Message, ToolMessage
from ..core.protocols import Blobs
from ..tools import files
from .pieces import Pieces

if TYPE_CHECKING:
    from ..core.store import StoredBlobs

AnyBlock = TypeVar("AnyBlock", bound=Block)
Prompt = str | UserBlock | Path | Sequence[str | UserBlock | Path]
"""What a user may say: text, content blocks, paths of files to attach, or a sequence of these."""


OpenFile = Callable[[Path], Pieces]

MAX_TEXT_BYTES = 32 << 20
"""How large an attached file of text may be: it becomes part of a message. Pictures, sound and PDFs go to the blob store, piece by
piece, and are as large as that takes."""


class BlobOwner(Protocol):
    """Who keeps the bytes: a session."""

    @property
    def blobs(self) -> Blobs: ...


async def accept(prompt: Prompt, owner: BlobOwner, open_file: OpenFile) -> str | tuple[UserBlock, ...]:
    """A prompt as a message body. Raises `ConfigError`: `empty_prompt`, `invalid_value`, `unreadable_file`, `unsupported_file`, `file_too_large`; and
    what the blob store raises (`blob_too_large`)."""
    if isinstance(prompt, str):
        if not prompt.strip():
            raise config_error("empty_prompt", "The prompt is empty.", "Say something, or attach a file.")
        return prompt
    parts = [prompt] if isinstance(prompt, (Path, Text, Image, Audio, Document)) else list(prompt)
    for part in parts:
        _check(part)
    blocks = [await _block(part, owner, open_file) for part in parts]
    if not any(not isinstance(b, Text) or b.text.strip() for b in blocks):
        raise config_error("empty_prompt", "The prompt is empty.", "Say something, or attach a file.")
    return await stored(tuple(blocks), owner)


def _check(part: object) -> None:
    """Refuse what would only be found out when the request is written."""
    if isinstance(part, (Image, Audio, Document)):
        given, wanted = part.source, (BlobRef, Url, ProviderFile, Inline)
        hint = "Give a pathlib.Path, what session.attach(data, media_type) returns, or Image.of(data, media_type)."
    elif isinstance(part, Text):
        given, wanted, hint = part.text, (str,), "Give it a string."
    elif isinstance(part, (str, Path)):
        return
    else:
        given, wanted, hint = part, (), "Say strings, content blocks and paths."
    if not isinstance(given, wanted):
        what = "A prompt" if given is part else type(part).__name__
        raise config_error("invalid_value", f"{what} cannot hold {type(given).__name__}.", hint)


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


def not_plain(messages: Sequence[Message]) -> list[Message]:
    """Those that are more than a text: most, in a long history, are none."""
    return [m for m in messages if isinstance(m, ToolMessage) or type(m.body) is not str]


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


async def _block(part: str | UserBlock | Path, owner: BlobOwner, open_file: OpenFile) -> UserBlock:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, Path):
        return part
    kind = files.media_type_of(part.name)
    async with aclosing(open_file(part)) as pieces:
        if files.is_media(kind):
            return await kept(pieces, kind, part.name, owner)
        return block_of(part.name, await _text_of(part, pieces))


async def kept(
    data: bytes | AsyncIterator[bytes], media_type: str, name: str, owner: BlobOwner
) -> Image | Audio | Document:
    """See `Session.attach`."""
    if not files.is_media(media_type):
        raise unsupported(f"{name} ({media_type})")
    pieces = _at_once(data) if isinstance(data, bytes) else data
    return files.media_block(name, await put_pieces(pieces, media_type, owner.blobs), media_type)


async def _at_once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def put_pieces(pieces: AsyncIterator[bytes], media_type: str, blobs: Blobs) -> BlobRef:
    """Keep bytes as they come. Raises what the pieces raise, then nothing is kept, and what the blob store raises."""
    size = 0

    async def counted() -> AsyncIterator[bytes]:
        nonlocal size
        async for piece in pieces:
            size += len(piece)
            yield piece

    if takes_pieces(blobs):
        name = await blobs.put(counted())
    else:
        name = await blobs.put(b"".join([piece async for piece in counted()]))
    return BlobRef(name, size, media_type)


def takes_pieces(blobs: Blobs) -> TypeGuard[StoredBlobs]:
    """Whether bytes can go in and out piece by piece; `Blobs` alone promises only that they do as a whole."""
    return hasattr(blobs, "stream")


async def _text_of(path: Path, pieces: AsyncIterator[bytes]) -> bytes:
    parts, size = list[bytes](), 0
    async for piece in pieces:
        size += len(piece)
        if size > MAX_TEXT_BYTES:
            raise config_error(
                "file_too_large",
                f"{path} is larger than the {MAX_TEXT_BYTES >> 20} MiB that an attached text may have.",
                "Attach a part of it, or give the model a tool that reads it.",
            )
        parts.append(piece)
    return b"".join(parts)


def block_of(name: str, data: bytes) -> UserBlock:
    """The content block for an attached file of that name. Raises `ConfigError` (`unsupported_file`)."""
    block = files.block_of(name, data)
    if block is None:
        raise unsupported(name)
    return block


def unsupported(what: str) -> ConfigError:
    return config_error(
        "unsupported_file",
        f"{what} is neither text nor an image, sound or PDF.",
        "Convert it, or read it with a tool.",
    )

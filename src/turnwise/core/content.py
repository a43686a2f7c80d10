"""Content blocks: what messages are made of.

Blocks are frozen values. Binary content is never inside a block that is stored or sent through the engine: it is a
`BlobRef`, a URL or a provider's file id. `Inline` bytes are accepted at the door only (a prompt, a tool's return value)
and are turned into a `BlobRef` before anything is journalled.
"""

from __future__ import annotations

import msgspec


class Native(msgspec.Struct, frozen=True, gc=False):
    """What a provider needs back unchanged with a block: `data` is raw JSON text that only `origin` understands.

    `origin` names a signature family (`"anthropic"`, `"openai.responses"`, `"gemini"` …), not a model: a codec returns
    `data` only to the family that made it and drops it for every other.
    """

    origin: str
    data: str


class BlobRef(msgspec.Struct, frozen=True, gc=False, tag="blob"):
    """Bytes kept in the blob store under their sha256 (hex)."""

    sha256: str
    size: int
    media_type: str


class Url(msgspec.Struct, frozen=True, gc=False, tag="url"):
    """Content that the provider fetches by itself."""

    url: str
    media_type: str | None = None


class ProviderFile(msgspec.Struct, frozen=True, gc=False, tag="file"):
    """A file uploaded to a provider before; usable with that provider only."""

    origin: str
    id: str
    media_type: str | None = None


class Inline(msgspec.Struct, frozen=True, gc=False, tag="inline"):
    """Bytes in hand. Accepted in prompts and tool results; becomes a `BlobRef` before it is journalled."""

    data: bytes
    media_type: str


Source = BlobRef | Url | ProviderFile | Inline


class Text(msgspec.Struct, frozen=True, gc=False, tag="text"):
    """Text for people and models."""

    text: str
    native: Native | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False, tag="thinking"):
    """Reasoning of a model.

    `signature` is the provider's seal over it (for redacted reasoning: the opaque data itself) and `origin` the
    signature family that can read the seal. Reasoning of one origin is never sent to another (rule T5).
    """

    text: str = ""
    signature: str | None = None
    redacted: bool = False
    origin: str = ""
    native: Native | None = None


class ToolCall(msgspec.Struct, frozen=True, gc=False, tag="tool_call"):
    """The model asks for a tool.

    `id` is ours (`t3.s1.c0`), unique in the session; `provider_id` is what the provider called it, kept beside.
    `arguments` is the raw JSON text exactly as received; it may be blank (meaning `{}`) or not JSON at all.
    """

    id: str
    name: str
    arguments: str
    provider_id: str | None = None
    native: Native | None = None


class Image(msgspec.Struct, frozen=True, gc=False, tag="image"):
    """A picture. `detail` is the resolution hint of providers that have one (`"low"`, `"high"`, `"auto"`)."""

    source: Source
    detail: str | None = None
    native: Native | None = None

    @classmethod
    def of(cls, data: bytes, media_type: str = "image/png") -> Image:
        """An image from bytes in hand."""
        return cls(Inline(data, media_type))


class Audio(msgspec.Struct, frozen=True, gc=False, tag="audio"):
    """Recorded sound."""

    source: Source
    native: Native | None = None


class Document(msgspec.Struct, frozen=True, gc=False, tag="document"):
    """A file to read, such as a PDF."""

    source: Source
    name: str | None = None
    native: Native | None = None


class Opaque(msgspec.Struct, frozen=True, gc=False, tag="opaque"):
    """A provider's own item, returned to it unchanged and shown to nobody else."""

    kind: str
    native: Native


Media = Image | Audio | Document
UserBlock = Text | Image | Audio | Document
AssistantBlock = Text | Thinking | ToolCall | Image | Audio | Opaque
ResultBlock = Text | Image | Audio | Document
Body = str | tuple[UserBlock, ...]
"""What a user says: plain text, or blocks."""
Block = Text | Thinking | ToolCall | Image | Audio | Document | Opaque


def text_of(body: str | tuple[Block, ...]) -> str:
    """All text of a body, blocks joined without separator; thinking, calls and media are not text."""
    if isinstance(body, str):
        return body
    return "".join([b.text for b in body if type(b) is Text])

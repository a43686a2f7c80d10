"""The lines of an export in JSONL, as values; docs/transfer.md describes them for other readers. No I/O, and no order: who writes
them in order is `export`, who holds them to it is `importing`.

What an entry is made of belongs to the journal (`store.codec`): here it is the JSON as it was journalled.
"""

from __future__ import annotations

import msgspec

from ...core.principal import Principal
from ...core.store import StoredStatus

EXPORT_VERSION = 1
"""Grows when a reader of the version before would misread an export. New fields do not make it grow: readers pass over them."""

PIECE_BYTES = 192 << 10
"""Bytes of a blob in one line; a multiple of three, so that the base64 of all pieces put together is that of the blob."""


class Header(msgspec.Struct, frozen=True, tag="turnwise.export"):
    """The first line. `exported_at` is Unix seconds, `writer` says which program wrote it."""

    v: int
    exported_at: float
    writer: str = ""


class SessionLine(msgspec.Struct, frozen=True, tag="session"):
    """The second line: the session's row, as it was. `last` is how many entries follow. Times are Unix seconds."""

    id: str
    principal: Principal
    name: str | None
    title: str
    agent: str
    folder: str
    tags: tuple[str, ...]
    created_at: float
    updated_at: float
    last: int
    turns: int
    messages: int
    status: StoredStatus
    archived: bool


class EntryLine(msgspec.Struct, frozen=True, tag="entry"):
    """An entry of the journal; numbers go from 1 without a gap."""

    number: int
    entry: msgspec.Raw


class CutLine(msgspec.Struct, frozen=True, tag="cut"):
    """What could be read of the journal ends here, behind entry `after`: `code` and `message` say why."""

    after: int
    code: str
    message: str


class BlobLine(msgspec.Struct, frozen=True, tag="blob"):
    """A piece of a blob that some entry refers to: the bytes from `at` on. The pieces of a blob follow each other."""

    sha256: str
    size: int
    at: int
    data: bytes


class LostBlobLine(msgspec.Struct, frozen=True, tag="blob.lost"):
    """A blob that some entry refers to and that the store does not have: `code` and `message` say why."""

    sha256: str
    code: str
    message: str


class RecordLine(msgspec.Struct, frozen=True, tag="record"):
    """A record of the session's own scope; see `core.store.Record`."""

    key: str
    value: msgspec.Raw
    version: int
    schema: int
    created_at: float
    updated_at: float
    writer: str
    expires_at: float | None = None


class EndLine(msgspec.Struct, frozen=True, tag="end"):
    """The last line: how many lines stand before it, and the sha256 (hex) of all their bytes, line breaks included."""

    lines: int
    sha256: str


Line = Header | SessionLine | EntryLine | CutLine | BlobLine | LostBlobLine | RecordLine | EndLine

encode_line = msgspec.json.Encoder().encode
decode_line = msgspec.json.Decoder(Line).decode

"""Entries as bytes and back: what stores on disk keep. JSON, so that a person can read a journal with any tool.

An entry's type is its `type` field, its version `v`. What cannot be read is told apart: an entry that a newer release wrote
(`unknown_entry`, rule D7) and one that is not what was written (`damaged_entry`, rule D5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import msgspec

from ..core.entries import Entry
from ..core.errors import StateError, state_error

KNOWN_VERSION = 1
"""The version of all entry types that this release writes."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Entry)


class _Head(msgspec.Struct):
    type: str
    v: int = 1


_head = msgspec.json.Decoder(_Head)
_TAGS = frozenset(kind.__struct_config__.tag for kind in get_args(Entry))


def encode_entry(entry: Entry) -> bytes:
    """One entry as JSON, without a newline in it."""
    return _encoder.encode(entry)


def encode_entries(entries: Sequence[Entry]) -> list[bytes]:
    encode = _encoder.encode
    return [encode(entry) for entry in entries]


def decode_entry(data: bytes, session: str, number: int) -> Entry:
    """The entry that was written. Raises `StateError`: `unknown_entry`, `damaged_entry`."""
    try:
        entry = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _unreadable(data, session, number, error) from error
    if entry.v > KNOWN_VERSION:
        raise unknown_entry(session, number, _head.decode(data).type, entry.v)
    return entry


def _unreadable(data: bytes, session: str, number: int, error: Exception) -> StateError:
    try:
        head = _head.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return damaged_entry(session, number, str(error))
    if head.type not in _TAGS or head.v > KNOWN_VERSION:
        return unknown_entry(session, number, head.type, head.v)
    return damaged_entry(session, number, str(error))


def unknown_entry(session: str, number: int, kind: object, version: int) -> StateError:
    return state_error(
        "unknown_entry",
        f"Entry {number} of session {session} is of a kind that this release does not know: {kind}, version {version}.",
        "A newer release wrote it: use that one. The entries before it can be read and exported.",
        session=session,
    )


def damaged_entry(session: str, number: int, what: str) -> StateError:
    return state_error(
        "damaged_entry",
        f"Entry {number} of session {session} is not what was written: {what}.",
        "The entries before it are good: fork the session there, or take them from an export or backup.",
        session=session,
    )

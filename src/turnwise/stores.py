"""Stores: what one is asked for and gives, the one in memory, and what an author of another needs. See docs/stores.md."""

from .core.store import (
    Claim,
    Collected,
    Edit,
    Hit,
    Journals,
    NewSession,
    Owner,
    Query,
    Record,
    Records,
    Scope,
    SessionInfo,
    Snapshot,
    Store,
    StoredBlobs,
)
from .store import refusals
from .store.codec import decode_entry, encode_entry
from .store.facts import Facts, blobs_of, facts_of, text_of
from .store.memory import MemoryBlobs, MemoryStore

__all__ = [
    "Claim",
    "Collected",
    "Edit",
    "Facts",
    "Hit",
    "Journals",
    "MemoryBlobs",
    "MemoryStore",
    "NewSession",
    "Owner",
    "Query",
    "Record",
    "Records",
    "Scope",
    "SessionInfo",
    "Snapshot",
    "Store",
    "StoredBlobs",
    "blobs_of",
    "decode_entry",
    "encode_entry",
    "facts_of",
    "refusals",
    "text_of",
]

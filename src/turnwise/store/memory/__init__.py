"""Everything in memory: journals, lists, claims, blobs and records that nothing outlives."""

from .blobs import MemoryBlobs
from .store import MemoryJournals, MemoryStore
from .suspending import SuspendingStore

__all__ = ["MemoryBlobs", "MemoryJournals", "MemoryStore", "SuspendingStore"]

"""Sessions in one SQLite file. See docs/sqlite.md."""

from .store import SqliteStore
from .verify import Damage, Verified

__all__ = ["Damage", "SqliteStore", "Verified"]

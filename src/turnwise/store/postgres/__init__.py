"""A `Store` in PostgreSQL: what many processes and machines share. Needs the extra `postgres`.

Rooms, from the wire up: `values` and `statement` (what is sent), `link` (one connection), `pool`, `errors`; `schema` and `functions` (what is in the
database); `journal`, `leases`, `sessions`, `search`, `records`, `blobs`, `waiting` (the contract, a room for each part of it); `store`, the door.
"""

from __future__ import annotations

from ...core.errors import config_error

try:
    from .store import PostgresStore
except ImportError as error:
    if not (error.name or "").startswith("psycopg") and "pq wrapper" not in str(error):
        raise
    raise config_error(
        "missing_extra",
        "PostgresStore needs the package psycopg, with libpq.",
        "Install it with: pip install 'turnwise[postgres]'.",
    ) from error

__all__ = ["PostgresStore"]

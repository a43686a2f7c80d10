"""DBOS steps around the floor's loop, its system database in SQLite with a write-ahead log and `synchronous = NORMAL`, neither of which it sets itself.
Its migrations need SQLite 3.42 (`unixepoch('subsec')`): where Python has an older one, pysqlite3-binary stands in.
"""

import sqlite3
import sys

if sqlite3.sqlite_version_info < (3, 42):
    import pysqlite3 as sqlite3

    sys.modules["sqlite3"] = sqlite3
    sys.modules["sqlite3.dbapi2"] = sqlite3.dbapi2

import tempfile

from sqlalchemy import event
from sqlalchemy.pool import Pool

from . import _dbos_loop
from ._dbos_loop import make_session, run_turn

VENV, PACKAGES = "dbos", ["dbos", "SQLAlchemy", "aiohttp", "msgspec"]
_folders = []


@event.listens_for(Pool, "connect")
def _normal(connection, _):
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = NORMAL")


def setup(base_url, model):
    folder = tempfile.TemporaryDirectory(prefix="dbos-")
    _folders.append(folder)
    path = f"{folder.name}/dbos.db"
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    db.close()
    return _dbos_loop.setup_at(f"sqlite:///{path}", base_url, model)


run_tools = run_turn


async def close(agent):
    await _dbos_loop.close(agent)
    _folders.pop().cleanup()


__all__ = ["PACKAGES", "VENV", "close", "make_session", "run_tools", "run_turn", "setup"]

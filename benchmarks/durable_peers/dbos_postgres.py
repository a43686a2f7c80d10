"""DBOS steps around the floor's loop, its system database on the server that `DURABLE_POSTGRES` names."""

import os

from . import _dbos_loop
from ._dbos_loop import close, make_session, run_turn

VENV, PACKAGES = "dbos", ["dbos", "SQLAlchemy", "psycopg", "aiohttp", "msgspec"]


def setup(base_url, model):
    server = os.environ["DURABLE_POSTGRES"].rpartition("/")[0]
    return _dbos_loop.setup_at(f"{server}/dbos_bench", base_url, model)


run_tools = run_turn
__all__ = ["PACKAGES", "VENV", "close", "make_session", "run_tools", "run_turn", "setup"]

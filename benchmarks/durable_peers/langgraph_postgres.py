"""langgraph.py of the suite with its PostgreSQL checkpointer, on the server that `DURABLE_POSTGRES` names; durability as by default ("async")."""

import os

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

from . import langgraph as plain
from ._checkpointed import close, make_session, run_turn, setup_with

VENV, PACKAGES = plain.VENV, ["langgraph", "langgraph-checkpoint-postgres", "psycopg"]


def setup(base_url, model):
    return setup_with(lambda: AsyncPostgresSaver.from_conn_string(os.environ["DURABLE_POSTGRES"]), base_url, model)


run_tools = run_turn
__all__ = ["PACKAGES", "VENV", "close", "make_session", "run_tools", "run_turn", "setup"]

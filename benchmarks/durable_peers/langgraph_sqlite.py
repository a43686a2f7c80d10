"""langgraph.py of the suite with the checkpointer that its documentation gives for SQLite; durability as LangGraph has it by default ("async")."""

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from . import langgraph as plain
from ._checkpointed import close, folder, make_session, run_turn, setup_with

VENV, PACKAGES = plain.VENV, ["langgraph", "langgraph-checkpoint-sqlite", "aiosqlite"]


def setup(base_url, model):
    return setup_with(lambda: AsyncSqliteSaver.from_conn_string(f"{folder()}/checkpoints.db"), base_url, model)


run_tools = run_turn
__all__ = ["PACKAGES", "VENV", "close", "make_session", "run_tools", "run_turn", "setup"]

"""Turnwise as in turnwise_sqlite.py, waiting for the disk with every commit."""

from turnwise import SqliteStore

from ._stored import close, make_session, run_turn, setup_with
from .turnwise import PACKAGES

__all__ = ["PACKAGES", "close", "make_session", "run_tools", "run_turn", "setup"]


def setup(base_url, model):
    return setup_with(lambda folder: SqliteStore(folder / "turnwise.db", durability="full"), base_url, model)


run_tools = run_turn

"""Turnwise as in turnwise.py, with every turn in a `PostgresStore` on the server that `DURABLE_POSTGRES` names."""

import os

from turnwise import PostgresStore

from ._stored import close, make_session, run_turn, setup_with
from .turnwise import PACKAGES

__all__ = ["PACKAGES", "close", "make_session", "run_tools", "run_turn", "setup"]


def setup(base_url, model):
    return setup_with(lambda _: PostgresStore(os.environ["DURABLE_POSTGRES"]), base_url, model)


run_tools = run_turn

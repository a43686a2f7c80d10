"""Turnwise as in turnwise.py, over a store in a folder of its own, which goes away at close. The folder lies in `DURABLE_FOLDER`, else where
temporary files are."""

import os
import shutil
import tempfile
from pathlib import Path

from turnwise import Agent

from . import _common, turnwise

make_session, run_turn = turnwise.make_session, turnwise.run_turn
_folders = {}


def setup_with(store_in, base_url, model):
    """An agent whose sessions are kept in the store that `store_in` makes in a folder."""
    folder = Path(tempfile.mkdtemp(prefix="turnwise-", dir=os.environ.get("DURABLE_FOLDER")))
    store = store_in(folder)
    _folders[store] = folder
    return Agent(
        f"openai:{model}",
        base_url=base_url,
        api_key="x",
        instructions=_common.SYSTEM,
        tools=[turnwise.add],
        store=store,
    )


async def close(agent):
    await agent.store.close()
    shutil.rmtree(_folders.pop(agent.store))

"""A process that has a session open with others: `python lease_child.py STORE PLACE SESSION URL HELD LEASE_S`.

It is told on standard input what to do, a word a line, and says on standard output what came of it, as JSON. Its tool `hold` makes a line in
the file HELD and waits until the file HELD.go is there.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.store.kill_child import open_plain as open_store

from turnwise import Agent, Runtime, tool
from turnwise.errors import SessionBusy, TurnwiseError
from turnwise.runtime.opening import open_stored, recover


def agent_of(url: str, held: Path) -> Agent[Any]:
    @tool(timeout_s=None)
    async def hold() -> str:
        with held.open("a") as file:
            file.write(f"{os.getpid()}\n")
        while not held.with_suffix(".go").exists():  # noqa: ASYNC110 (nothing in this process announces it)
            await asyncio.sleep(0.005)
        return "held"

    return Agent("openai:a-model", base_url=url, api_key="test", tools=[hold])


async def answer(word: str, store: Any, runtime: Runtime, agent: Agent[Any], id: str) -> dict[str, Any]:
    if word == "create":
        agent.store, agent.runtime = store, runtime
        return {"reason": (await agent.session(id=id).run("Hello")).reason}
    session = await open_stored(agent, id, store=store, runtime=runtime)
    try:
        result = await recover(session) if word == "recover" else await session.run("Go")
    except SessionBusy as error:
        return {"busy": error.code, "owner": error.owner, "until": error.until}
    except TurnwiseError as error:
        return {"error": error.code}
    return {"reason": "" if result is None else result.reason}


async def main(kind: str, place: str, id: str, url: str, held: str, lease_s: str) -> None:
    store, loop = await open_store(kind, place), asyncio.get_running_loop()
    async with Runtime(lease_s=float(lease_s)) as runtime:
        while word := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
            said = await answer(word, store, runtime, agent_of(url, Path(held)), id)
            print(json.dumps(said), flush=True)
    await store.close()


asyncio.run(main(*sys.argv[1:]))

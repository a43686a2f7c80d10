"""Memory that a tool call costs: blocks and bytes allocated per call in the tool loop, against the hand-written loop.

    python benchmarks/allocations.py PERF_FOLDER

Runs the tool workload (5 rounds of 4 parallel calls) under tracemalloc. `kept` is what one run leaves behind in a session that is
still held, `peak` the most at any one time above the start, both divided by the 20 calls.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
import tracemalloc
from typing import Any

CALLS, RUNS = 20, 20


async def measure(module: Any, agent: Any) -> tuple[float, float, float]:
    held = []
    for _ in range(3):
        session = await module.make_session(agent, [])
        await module.run_turn(session, "Add the numbers")
    sessions = [await module.make_session(agent, []) for _ in range(RUNS)]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.take_snapshot()
    start = tracemalloc.get_traced_memory()[0]
    for session in sessions:
        await module.run_turn(session, "Add the numbers")
        held.append(session)
    peak = tracemalloc.get_traced_memory()[1] - start
    gc.collect()
    kept = tracemalloc.get_traced_memory()[0] - start
    blocks = sum(s.count_diff for s in tracemalloc.take_snapshot().compare_to(before, "filename"))
    tracemalloc.stop()
    return blocks / RUNS / CALLS, kept / RUNS / CALLS, (peak - kept) / CALLS


async def main(perf: str) -> None:
    from server import FakeProvider

    with FakeProvider() as server:
        for name in ("floor_aiohttp", "turnwise"):
            module = importlib.import_module("adapters." + name)
            agent = module.setup(server.base_url, "tools-5-4")
            blocks, kept, passing = await measure(module, agent)
            print(
                f"{name:14} kept {blocks:6.1f} blocks {kept:7.0f} bytes per call; at most {passing:7.0f} bytes more in passing"
            )
            await module.close(agent)


if __name__ == "__main__":
    sys.path.insert(0, os.path.abspath(sys.argv[1]))
    os.environ.setdefault("PERF_ADAPTERS", os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers"))
    asyncio.run(main(sys.argv[1]))

"""One adapter, in a process and virtual environment of its own; told by `durable.py` how often to run which workload. For each line
`MODEL TURNS` it answers with one line of JSON: CPU milliseconds of the process, threads included, and wall milliseconds, per turn.
"""

import asyncio
import gc
import importlib
import json
import logging
import os
import resource
import sys
import time


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def main(name, base_url):
    from adapters import _common

    adapter = importlib.import_module("adapters." + name)
    agent = model = None
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked, turns = line.split()
        if asked == "end":
            break
        if asked != model:
            if agent is not None:
                await adapter.close(agent)
            agent, model = adapter.setup(base_url, asked), asked
        deltas, calls = (200, 0) if asked == "text-200" else (20, 20)
        spent = wall = 0.0
        for _ in range(int(turns)):
            session = await adapter.make_session(agent, [])
            gc.collect(0)
            called, began, began_wall = _common.calls, cpu_s(), time.perf_counter()
            seen, text = await adapter.run_turn(session, "Hello there")
            spent += cpu_s() - began
            wall += time.perf_counter() - began_wall
            assert (seen, _common.calls - called) == (deltas, calls), (seen, _common.calls - called)
            assert len(text) > deltas * 3
        gc.collect()
        answer = {"cpu_ms": spent / int(turns) * 1e3, "wall_ms": wall / int(turns) * 1e3}
        print("RESULT " + json.dumps(answer), flush=True)
    if agent is not None:
        await adapter.close(agent)


if __name__ == "__main__":
    sys.path.insert(0, os.environ["PERF"])
    logging.disable(logging.WARNING)
    asyncio.run(main(*sys.argv[1:3]))
    os._exit(0)

"""CPU from the start of the process to the first delta of its first turn, Turnwise against the hand-written loop.

    python benchmarks/first_delta.py PERF_FOLDER [RUNS]

PERF_FOLDER is a copy of the side-by-side benchmark (it has `adapters/`, `server.py`). Each run is a new process; the two take
turns; bytecode is warm after the first, uncounted, run. W5 stops before aiohttp is needed: this does not.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

ONE = """
import asyncio, importlib, resource, sys
sys.path.insert(0, sys.argv[1])
module = importlib.import_module("adapters." + sys.argv[2])
agent = module.setup(sys.argv[3], "text-5")
async def main():
    session = await module.make_session(agent, [])
    await module.run_turn(session, "Hello there")
asyncio.run(main())
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
import os; os._exit(0)
"""


def main() -> None:
    perf, runs = os.path.abspath(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 9
    sys.path.insert(0, perf)
    from server import FakeProvider

    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "peers")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"} | {"PERF_ADAPTERS": here}
    seen: dict[str, list[float]] = {"floor_aiohttp": [], "turnwise": []}
    with FakeProvider() as server:
        for run in range(runs + 1):
            for name, cpu in seen.items():
                command = [sys.executable, "-c", ONE, perf, name, server.base_url]
                out = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
                if run:
                    cpu.append(float(out))
    ratios = sorted(a / b for a, b in zip(seen["turnwise"], seen["floor_aiohttp"], strict=True))
    for name, cpu in seen.items():
        print(f"{name:14} {statistics.median(cpu) * 1e3:6.0f} ms CPU (least {min(cpu) * 1e3:.0f})")
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f}), {runs} runs")


if __name__ == "__main__":
    main()

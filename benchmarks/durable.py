"""What a durable turn costs, side by side: Turnwise over its stores and peers over theirs, on the fake provider of the benchmark suite.

    .venv/bin/python benchmarks/durable.py PERF [--adapters A,B] [--rounds N] [--turns N]

PERF is a copy of the suite, whose `venvs` have what the adapters need (README.md). Each adapter lives in a process of its own for the whole run; rounds
alternate between them in random order, so that all see the same machine. Printed are the median CPU of a turn, all threads of the process included
but not the database server's, and as multiples of the first adapter, round by round. A PostgreSQL server is
started if `DURABLE_POSTGRES` (a DSN) names none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORKLOADS = {"W1": "text-200", "W2": "tools-5-4"}
VENVS = {"langgraph": "langgraph", "openai_agents": "openai_agents", "dbos": "dbos", "floor": "base"}
ADAPTERS = (
    "turnwise,turnwise_sqlite,turnwise_sqlite_full,turnwise_postgres,floor_aiohttp,dbos_sqlite,dbos_postgres,"
    "langgraph,langgraph_sqlite,langgraph_postgres,openai_agents,openai_agents_sqlite"
)


class Worker:
    """The process of one adapter."""

    def __init__(self, name: str, perf: Path, base_url: str) -> None:
        self.name = name
        python = _venv_of(name, perf)
        ours = [str(HERE / "peers"), str(HERE / "durable_peers")]
        environment = {**os.environ, "PERF": str(perf), "PERF_ADAPTERS": ":".join(ours)}
        environment["PYTHONPATH"] = str(HERE.parent / "src")
        command = ["taskset", "-c", "0", python, str(HERE / "durable_worker.py"), name, base_url]
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=perf
        )

    def measure(self, model: str, turns: int) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{model} {turns}\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("RESULT "):
                return json.loads(line[7:])
        raise RuntimeError(f"{self.name} ended")

    def end(self) -> None:
        assert self._process.stdin is not None
        if self._process.poll() is None:
            self._process.stdin.write("end 0\n")
            self._process.stdin.close()
            self._process.wait(30)


def _venv_of(name: str, perf: Path) -> str:
    """The Python of an adapter; the running one for Turnwise."""
    found = next((venv for prefix, venv in VENVS.items() if name.startswith(prefix)), None)
    return sys.executable if found is None else str(perf / "venvs" / found / "bin" / "python")


def run(perf: Path, base_url: str, names: list[str], rounds: int, turns: int) -> None:
    workers = [Worker(name, perf, base_url) for name in names]
    try:
        for workload, model in WORKLOADS.items():
            for worker in workers:
                worker.measure(model, 3)
            seen: dict[str, list[dict[str, float]]] = {name: [] for name in names}
            for _ in range(rounds):
                for worker in random.sample(workers, len(workers)):
                    seen[worker.name].append(worker.measure(model, turns))
            _print(workload, seen, names[0])
    finally:
        for worker in workers:
            worker.end()


def _print(workload: str, seen: dict[str, list[dict[str, float]]], first: str) -> None:
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(f"\n#### {workload} (load {load})\n")
    print(f"| adapter | CPU ms/turn | x {first} | quartiles | wall ms/turn |\n|---|---|---|---|---|")
    base = [one["cpu_ms"] for one in seen[first]]
    for name, found in seen.items():
        cpu = [one["cpu_ms"] for one in found]
        ratios = sorted(mine / other for mine, other in zip(cpu, base, strict=True))
        low, high = ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]
        wall = statistics.median(one["wall_ms"] for one in found)
        ratio = statistics.median(cpu) / statistics.median(base)
        print(
            f"| {name} | {statistics.median(cpu):.2f} | {ratio:.2f} | {low:.2f}-{high:.2f} | {wall:.1f} |", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("perf", type=Path)
    parser.add_argument("--adapters", default=ADAPTERS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    perf, names = options.perf.resolve(), options.adapters.split(",")
    sys.path[:0] = [str(perf), str(HERE.parent)]
    from server import FakeProvider
    from tests.store import server

    server.SETTINGS.update(fsync="on", full_page_writes="on")  # here it is not only the tests' machine that counts
    if any("postgres" in name for name in names) and "DURABLE_POSTGRES" not in os.environ:
        os.environ["DURABLE_POSTGRES"] = server.Server.make().dsn
    try:
        with FakeProvider() as provider:
            run(perf, provider.base_url, names, options.rounds, options.turns)
    finally:
        server.close_all()


if __name__ == "__main__":
    main()

"""Plants one bug at a time in a copy of the source and runs the simulator until it finds it: tests of the simulator (issue 7, proof 2).

`python tests/mutations/simulated.py [--only N] [--jobs N] [--turns 20000]`. The tree itself is never changed. It prints the table of
docs/reliability.md: each bug, which invariant found it, and after how many turns. Exit status 1 if a bug survives or a row no longer applies.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rows_simulation import BUGS, Bug

SOURCE = Path(__file__).resolve().parents[2] / "src"
LIMIT_S = 1800
SEEDS = 4
"""Into how many runs the turns are divided, so that one seed's luck does not decide."""


class Found(NamedTuple):
    """What became of a bug: the rule that it broke ("" if none), after how many turns, and what was said."""

    bug: Bug
    rule: str
    turns: int
    said: str


def main() -> int:
    options = _options()
    bugs = [bug for number, bug in enumerate(BUGS, 1) if options.only in (0, number)]
    with ThreadPoolExecutor(options.jobs) as pool:
        found = list(pool.map(lambda bug: hunt(bug, options.turns), bugs))
    print("| planted bug | faults, store | broken | turns |\n|---|---|---|---|")
    for bug, rule, turns, _ in found:
        print(f"| {bug.what} | {bug.faults}, {bug.store} | {rule or 'SURVIVES'} | {turns:,} |")
    for bug, rule, _, said in found:
        if not rule:
            print(f"{bug.what}: {said}", file=sys.stderr)
    return 0 if all(one.rule for one in found) else 1


def hunt(bug: Bug, turns: int) -> Found:
    """Run the simulator on a copy with the bug until it complains."""
    with tempfile.TemporaryDirectory(prefix="turnwise-simulated-") as folder:
        copy = Path(folder) / "src"
        shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if problem := _plant(copy, bug):
            return Found(bug, "", 0, problem)
        taken = 0
        for seed in range(SEEDS):
            said = _simulate(copy, bug, f"bug-{seed}", turns // SEEDS)
            ran = re.search(r"^seed \S+: ([\d,]+) turns", said, re.MULTILINE)
            taken += int(ran[1].replace(",", "")) if ran else 0
            if broken := re.search(r"^(\S+) does not hold, seed", said, re.MULTILINE):
                return Found(bug, broken[1], taken, said)
            if ran is None:
                return Found(bug, "", taken, said[-2000:])
    return Found(bug, "", taken, "it survives")


def _simulate(copy: Path, bug: Bug, seed: str, turns: int) -> str:
    command = [sys.executable, "-m", "turnwise.testing.simulation", "--seed", seed, "--turns", str(turns)]
    command += ["--faults", bug.faults, "--store", bug.store, "--no-shrink"]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.stdout + done.stderr


def _plant(copy: Path, bug: Bug) -> str:
    """Change the copy; what is wrong with the row, or nothing."""
    for name, old, new in bug.changes:
        file = copy / "turnwise" / name
        text = file.read_text()
        if (count := text.count(old)) != 1:
            return f"the old text occurs {count} times in {name}, not once: {old!r}"
        file.write_text(text.replace(old, new))
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs; expect the simulator to find them.")
    parser.add_argument("--only", type=int, default=0, metavar="N", help="only this row, counted from 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="rows at a time")
    parser.add_argument("--turns", type=int, default=20_000, help="turns within which each bug must be found")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

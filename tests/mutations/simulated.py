"""Plants one bug at a time in a copy of the source and runs the simulator until it finds it: tests of the simulator (issue 7, proof 2).

`python tests/mutations/simulated.py [--only NAME] [--jobs N] [--turns 20000]`. The tree itself is never changed. It prints the table of
docs/reliability.md: each bug, which invariant found it, and after how many turns. Exit status 1 if a bug survives or a row no longer applies.

`--keep tests/simulation/found` keeps what was found, too: the episode, shrunk in the copy with the bug, as a file of the bug's name. The tests
play these without the bug: nothing may break. `--kept tests/simulation/found` plants each bug that has such a file and plays this one episode:
something must break, or the file has to be made anew by `--keep`. That takes a second for each.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from rows_simulation import BUGS, Bug

SOURCE = Path(__file__).resolve().parents[2] / "src"
LIMIT_S = 3600
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
    every = [bug for bug in BUGS if options.kept is not None or not bug.rare]
    named = [bug for number, bug in enumerate(BUGS, 1) if {bug.name, str(number)} & {*options.only}]
    chosen = named if options.only else every
    if not chosen:
        print(f"There is no bug {options.only}.")
        return 1
    with tempfile.TemporaryDirectory(prefix="turnwise-simulated-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        lab = Lab(Path(folder))
        if options.kept is not None:
            return _replay(lab, [bug for bug in chosen if _file(options.kept, bug).exists()], options.kept, pool)
        return _hunt(lab, chosen, options, pool)


def _hunt(lab: Lab, bugs: list[Bug], options: argparse.Namespace, pool: ThreadPoolExecutor) -> int:
    """Look for each bug in seeded episodes."""
    print("| planted bug | faults, store | broken | turns |\n|---|---|---|---|")
    survivors: list[Found] = []
    for found in pool.map(lambda bug: lab.hunt(bug, options.turns, options.keep), bugs):
        bug, rule, turns, _ = found
        print(f"| {bug.what} | {bug.faults}, {bug.store} | {rule or 'SURVIVES'} | {turns:,} |", flush=True)
        if not rule:
            survivors.append(found)
    for bug, _, _, said in survivors:
        print(f"{bug.name}: {said}", file=sys.stderr)
    return 1 if survivors else 0


def _replay(lab: Lab, bugs: list[Bug], folder: Path, pool: ThreadPoolExecutor) -> int:
    """Play each kept episode with its bug."""
    begun = time.monotonic()
    found = list(pool.map(lambda bug: lab.replay(bug, _file(folder, bug)), bugs))
    for bug, rule, _, said in found:
        print(f"{rule or 'NOTHING':10} {bug.name}: {bug.what if rule else said}")
    missed = [one.bug.name for one in found if not one.rule]
    took_s = time.monotonic() - begun
    print(f"{len(found) - len(missed)} of {len(found)} kept episodes break a rule with their bug, in {took_s:.0f} s.")
    if missed:
        print(f"Make the others anew: python {sys.argv[0]} --keep {folder} --only {' '.join(missed)}")
    return 0 if found and not missed else 1


class Lab:
    """A compiled copy of the source, to make copies with a bug from."""

    def __init__(self, folder: Path) -> None:
        self.unchanged = folder / "src"
        shutil.copytree(SOURCE, self.unchanged, ignore=shutil.ignore_patterns("__pycache__"))
        run = ["--turns", "20", "--faults", "heavy", "--store", "sqlite", "--no-shrink", "--seed", "compiled"]
        said = _simulate(self.unchanged, run, compiles=True)
        if " turns " not in said:
            raise SystemExit(said)

    def hunt(self, bug: Bug, turns: int, keep: Path | None) -> Found:
        """Run the simulator on a copy with the bug until it complains."""
        return self._planted(bug, lambda copy: _hunted(copy, bug, turns, keep))

    def replay(self, bug: Bug, file: Path) -> Found:
        """Play one plan on a copy with the bug."""

        def played(copy: Path) -> Found:
            said = _simulate(copy, ["--plan", str(file.resolve())])
            broken = re.search(r"^(\S+) does not hold, plan", said, re.MULTILINE)
            return Found(bug, broken[1] if broken else "", 0, said[-2000:])

        return self._planted(bug, played)

    def _planted(self, bug: Bug, work: Callable[[Path], Found]) -> Found:
        with tempfile.TemporaryDirectory(prefix="turnwise-simulated-") as folder:
            copy = Path(folder) / "src"
            shutil.copytree(self.unchanged, copy, copy_function=os.link)
            problem = _plant(copy, bug)
            return Found(bug, "", 0, problem) if problem else work(copy)


def _hunted(copy: Path, bug: Bug, turns: int, keep: Path | None) -> Found:
    taken = 0
    ends = ["--no-shrink"] if keep is None else ["--keep", str(_file(keep, bug).resolve())]
    for seed in range(SEEDS):
        run = ["--seed", f"bug-{seed}", "--turns", str(turns // SEEDS), "--faults", bug.faults, "--store", bug.store]
        said = _simulate(copy, [*run, *ends])
        ran = re.search(r"^seed \S+: ([\d,]+) turns", said, re.MULTILINE)
        taken += int(ran[1].replace(",", "")) if ran else 0
        if broken := re.search(r"^(\S+) does not hold, seed", said, re.MULTILINE):
            return Found(bug, broken[1], taken, said)
        if ran is None:
            return Found(bug, "", taken, said[-2000:])
    return Found(bug, "", taken, "it survives")


def _file(folder: Path, bug: Bug) -> Path:
    return folder / f"{bug.name}.json"


def _simulate(copy: Path, options: list[str], *, compiles: bool = False) -> str:
    """Run the simulator of a copy; what it says. `compiles`: what is compiled on the way stays."""
    command = [sys.executable, "-m", "turnwise.testing.simulation", *options]
    environ = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "" if compiles else "1"}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    return done.stdout + done.stderr


def _plant(copy: Path, bug: Bug) -> str:
    """Change the copy; what is wrong with the row, or nothing."""
    for name, old, new in bug.changes:
        file = copy / "turnwise" / name
        text = file.read_text()
        if (count := text.count(old)) != 1:
            return f"the old text occurs {count} times in {name}, not once: {old!r}"
        file.unlink()  # it is a link to the unchanged one
        file.write_text(text.replace(old, new))
        for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
            compiled.unlink()
    return ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs; expect the simulator to find them.")
    parser.add_argument("--only", default=[], nargs="+", metavar="NAME", help="only these bugs, by name or number")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="bugs at a time")
    parser.add_argument("--turns", type=int, default=20_000, help="turns within which each bug must be found")
    parser.add_argument("--keep", type=Path, default=None, metavar="FOLDER", help="keep what was found here, shrunk")
    parser.add_argument(
        "--kept", type=Path, default=None, metavar="FOLDER", help="play what is kept here, and hunt for nothing"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

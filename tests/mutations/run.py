"""Plants one bug at a time in a copy of the source and expects the named tests to catch it: tests of the tests.

`python tests/mutations/run.py [--only RULE] [--jobs N]`, with the Python that has the test dependencies. The tree itself is
never changed. Exit status 1 if a bug survives, a row no longer applies, or a test fails for another reason than the bug.
The bugs are in `table.py`; that tests really import the copy is checked by `guard.py`, a pytest plugin. The tests run in children
of `nursery.py`, which has one process per job.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from table import ROWS, Row

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SOURCE = ROOT / "src"
LIMIT_S = 120
_ACCIDENTS = ("NameError", "UnboundLocalError", "ImportError", "ModuleNotFoundError", "SyntaxError", "IndentationError")
"""What a row that is written badly raises by itself: not a sign that a rule is held."""


class Verdict(NamedTuple):
    """What came of a row. `said` is why it is not good, or the first complaint of the test that caught it."""

    row: Row
    good: bool
    said: str


class Done(NamedTuple):
    """A run of pytest: its exit status, None if it was not done in time, and what it printed."""

    status: int | None
    said: str


def main() -> int:
    options = _options()
    rows = [row for row in ROWS if options.only in ("", row.rule)]
    if not rows:
        print(f"There is no row for {options.only!r}.")
        return 1
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="turnwise-unchanged-") as folder, ThreadPoolExecutor(options.jobs) as pool:
        lab = Lab(Path(folder), options.jobs)
        try:
            if said := run_unchanged(lab, rows, pool):
                print(f"The tests fail without any planted bug:\n{said}")
                return 1
            verdicts = list(pool.map(lab.judge, rows))
        finally:
            lab.close()
    for row, good, said in verdicts:
        print(f"{'caught' if good else 'WRONG ':7} {row.rule:4} {row.what}\n{'':13}{said}")
    wrong = [v for v in verdicts if not v.good]
    took_s = time.monotonic() - begun
    print(f"{len(verdicts) - len(wrong)} of {len(verdicts)} planted bugs were caught, in {took_s:.0f} s.")
    return 1 if wrong else 0


def run_unchanged(lab: Lab, rows: Iterable[Row], pool: ThreadPoolExecutor) -> str:
    """All tests that the rows name, on an unchanged copy; what went wrong, or nothing. The tests are then compiled."""
    by_file: dict[str, list[str]] = {}
    for test in sorted({test for row in rows for test in row.tests}):
        by_file.setdefault(test.partition("::")[0], []).append(test)
    shares = [[test for tests in list(by_file.values())[n :: lab.jobs] for test in tests] for n in range(lab.jobs)]
    runs = [pool.submit(lab.pytest, lab.unchanged, share, limit_s=600, keep=True) for share in shares if share]
    done = [run.result() for run in runs]
    return "\n".join([each.said[-4000:] or "not done in time" for each in done if each.status != 0])


class Lab:
    """The nurseries, and a compiled copy of the unchanged source to make the copies with a bug from."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.jobs = jobs
        self.unchanged = folder / "src"
        shutil.copytree(SOURCE, self.unchanged)
        compileall.compile_dir(self.unchanged, quiet=2)
        self._lines, theirs = zip(*[socket.socketpair() for _ in range(jobs)], strict=True)
        fds = [line.fileno() for line in theirs]
        command = [sys.executable, str(HERE / "nursery.py"), *map(str, fds)]
        self._nursery = subprocess.Popen(command, cwd=ROOT, pass_fds=fds)
        self._idle: SimpleQueue[socket.socket] = SimpleQueue()
        for mine, other in zip(self._lines, theirs, strict=True):
            other.close()
            self._idle.put(mine)

    def close(self) -> None:
        for line in self._lines:
            line.close()
        self._nursery.wait()

    def judge(self, row: Row) -> Verdict:
        """The verdict on a row. A survivor gets a second try: whether a race is caught can depend on the machine's load."""
        verdict = self._judge(row)
        return verdict if verdict.good else self._judge(row)

    def _judge(self, row: Row) -> Verdict:
        """Plant the bug, run its tests, and see whether they fail, and for the right reason."""
        with tempfile.TemporaryDirectory(prefix="turnwise-mutant-") as folder:
            copy = Path(folder) / "src"
            shutil.copytree(self.unchanged, copy, copy_function=os.link)
            if problem := _plant(copy, row):
                return Verdict(row, False, problem)
            status, said = self.pytest(copy, row.tests, limit_s=LIMIT_S)
        complaint = _complaint(said)
        if status is None:
            return Verdict(row, False, f"the tests hang: not done after {LIMIT_S} s")
        if status == 0:
            return Verdict(row, False, "it survives: every named test passes")
        if status != 1 or not re.search(r"\b\d+ failed\b", said):
            return Verdict(row, False, f"no test ran and failed (exit status {status}): {complaint or said[-300:]}")
        if accident := next((a for a in _ACCIDENTS if complaint.startswith(f"{a}:")), ""):
            return Verdict(row, False, f"the row itself is broken ({accident}): {complaint}")
        return Verdict(row, True, complaint)

    def pytest(self, copy: Path, tests: Iterable[str], *, limit_s: float, keep: bool = False) -> Done:
        """Run tests on that copy, in a child of a nursery's process that has nothing else to do."""
        line = self._idle.get()
        try:
            asked = {"copy": str(copy), "tests": list(tests), "limit_s": limit_s, "keep": keep}
            with line.makefile("rw") as file:
                file.write(json.dumps(asked) + "\n")
                file.flush()
                return Done(**json.loads(file.readline()))
        finally:
            self._idle.put(line)


def _plant(copy: Path, row: Row) -> str:
    """Change the copy; what is wrong with the row, or nothing."""
    file = copy / "turnwise" / row.file
    if not file.is_file():
        return f"there is no file {row.file}"
    text = file.read_text()
    if (count := text.count(row.old)) != 1:
        return f"its old text occurs {count} times in {row.file}, not once"
    changed = text.replace(row.old, row.new)
    try:
        compile(changed, row.file, "exec")
    except SyntaxError as error:
        return f"its new text is not Python: {error}"
    file.unlink()  # it is a link to the unchanged one
    file.write_text(changed)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()
    return ""


def _complaint(output: str) -> str:
    """The first line that says what went wrong in a test."""
    found = re.search(r"^E\s+(\S.*)$", output, re.MULTILINE)
    return found[1][:110] if found else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs; expect the tests to catch them.")
    parser.add_argument("--only", default="", metavar="RULE", help="only the rows of this rule, such as T1")
    jobs = 2 * (os.cpu_count() or 1)  # many a bug makes its test wait, which needs no core
    parser.add_argument("--jobs", type=int, default=jobs, help="rows at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

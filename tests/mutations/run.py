"""Plants one bug at a time in a copy of the source and expects the named tests to catch it: tests of the tests.

`python tests/mutations/run.py [--only RULE] [--jobs N]`, with the Python that has the test dependencies. The tree itself is
never changed. Exit status 1 if a bug survives, a row no longer applies, or a test fails for another reason than the bug.
The bugs are in `table.py`; that tests really import the copy is checked by `guard.py`, a pytest plugin.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
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


def main() -> int:
    options = _options()
    rows = [row for row in ROWS if options.only in ("", row.rule)]
    if not rows:
        print(f"There is no row for {options.only!r}.")
        return 1
    said = run_unchanged(rows)
    if said:
        print(f"The tests fail without any planted bug:\n{said}")
        return 1
    with ThreadPoolExecutor(options.jobs) as pool:
        verdicts = list(pool.map(judge, rows))
    for row, good, said in verdicts:
        print(f"{'caught' if good else 'WRONG ':7} {row.rule:4} {row.what}\n{'':13}{said}")
    wrong = [v for v in verdicts if not v.good]
    print(f"{len(verdicts) - len(wrong)} of {len(verdicts)} planted bugs were caught.")
    return 1 if wrong else 0


def run_unchanged(rows: Iterable[Row]) -> str:
    """All tests that the rows name, on an unchanged copy; what went wrong, or nothing."""
    with tempfile.TemporaryDirectory(prefix="turnwise-mutant-") as folder:
        copy = _copied(Path(folder))
        done = _pytest(copy, sorted({test for row in rows for test in row.tests}), limit_s=600)
    return "" if done.returncode == 0 else done.stdout[-4000:] + done.stderr[-1000:]


def judge(row: Row) -> Verdict:
    """The verdict on a row. A survivor gets a second try: whether a race is caught can depend on the machine's load."""
    verdict = _judge(row)
    return verdict if verdict.good else _judge(row)


def _judge(row: Row) -> Verdict:
    """Plant the bug, run its tests, and see whether they fail, and for the right reason."""
    with tempfile.TemporaryDirectory(prefix="turnwise-mutant-") as folder:
        copy = _copied(Path(folder))
        problem = _plant(copy, row)
        if problem:
            return Verdict(row, False, problem)
        try:
            done = _pytest(copy, row.tests, limit_s=LIMIT_S)
        except subprocess.TimeoutExpired:
            return Verdict(row, False, f"the tests hang: not done after {LIMIT_S} s")
    complaint = _complaint(done.stdout)
    if done.returncode == 0:
        return Verdict(row, False, "it survives: every named test passes")
    if done.returncode != 1 or not re.search(r"\b\d+ failed\b", done.stdout):
        return Verdict(
            row, False, f"no test ran and failed (exit status {done.returncode}): {complaint or done.stdout[-300:]}"
        )
    if accident := next((a for a in _ACCIDENTS if complaint.startswith(f"{a}:")), ""):
        return Verdict(row, False, f"the row itself is broken ({accident}): {complaint}")
    return Verdict(row, True, complaint)


def _copied(folder: Path) -> Path:
    """The source, compiled files included (they are valid as long as times and sizes are the same)."""
    shutil.copytree(SOURCE, folder / "src")
    return folder / "src"


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
    file.write_text(changed)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*.pyc"):
        compiled.unlink()
    return ""


def _pytest(copy: Path, tests: Iterable[str], *, limit_s: float) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-x", "-p", "guard", "-p", "no:cacheprovider", "--tb=short", *tests]
    paths = os.pathsep.join([str(copy), str(HERE)])
    environ = {**os.environ, "PYTHONPATH": paths, "TURNWISE_MUTANT": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=limit_s, check=False)


def _complaint(output: str) -> str:
    """The first line that says what went wrong in a test."""
    found = re.search(r"^E\s+(\S.*)$", output, re.MULTILINE)
    return found[1][:110] if found else ""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs; expect the tests to catch them.")
    parser.add_argument("--only", default="", metavar="RULE", help="only the rows of this rule, such as T1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 2, help="rows at a time")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

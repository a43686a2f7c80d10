"""The documents are true: their examples run, their lists are complete, their links lead somewhere.

Blocks of one page run in order, in one namespace and in an empty folder, as they would in a notebook: top-level `await` is allowed. Fake
keys are set and the addresses of both providers lead to one scripted provider, so that an example needs no word about either. Invisible
comments before a block tell the rest:

    <!-- script: reply("Hello.") -->      replies of the model, in order (names of `turnwise.testing`)
    <!-- setup: Path("a.txt").write_text("…") -->     code that the reader need not see
    <!-- prints -->                       the `text` block after it is what the Python block before it has printed

In `console` blocks each line after `$` is run by a shell; the lines under it, if there are any, are what it prints.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Generator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

import turnwise.testing
from turnwise.core.errors import Branch
from turnwise.core.events import Event
from turnwise.core.limits import Deadlines, Limits
from turnwise.core.loops import LoopAction
from turnwise.core.outcomes import Outcome
from turnwise.core.result import TurnReason, TurnResult
from turnwise.runtime.cache_breaks import CacheCause
from turnwise.testing import ScriptedProvider, no_network

ROOT = Path(__file__).parent.parent
SOURCE = Path(turnwise.__file__).parent
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
MODELS = {"ANTHROPIC": "", "OPENAI": "/v1"}

# --- blocks -----------------------------------------------------------------------------------------------------------


class Block(msgspec.Struct, frozen=True):
    """A fenced block. `line` is that of its first line of code; `notes` are the comments right before it."""

    language: str
    code: str
    line: int
    notes: tuple[tuple[str, str], ...] = ()


_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)
_NOTES = re.compile(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", re.S)
_NOTE = re.compile(r"<!--\s*(script|setup|prints)\b:?\s*(.*?)\s*-->", re.S)


def blocks_of(page: str) -> list[Block]:
    out: list[Block] = []
    for fence in _FENCE.finditer(page):
        before = _NOTES.search(page[: fence.start()])
        notes = tuple([(n[1], n[2]) for n in _NOTE.finditer(before[0])]) if before else ()
        line = page.count("\n", 0, fence.start("code")) + 1
        out.append(Block(fence["language"], textwrap.dedent(fence["code"]), line, notes))
    return out


def test_blocks_and_notes_are_found() -> None:
    page = 'Hi\n\n<!-- other -->\n<!-- script: reply("x") -->\n```python\na = 1\n```\n\n  ```console\n  $ ls\n  ```\n'
    assert blocks_of(page) == [
        Block("python", "a = 1\n", 6, (("script", 'reply("x")'),)),
        Block("console", "$ ls\n", 10),
    ]


# --- running them -----------------------------------------------------------------------------------------------------


class Page:
    """Runs the blocks of one page."""

    def __init__(self, name: str, folder: Path, runner: asyncio.Runner) -> None:
        self.name, self.folder, self.runner = name, folder, runner
        self.names: dict[str, Any] = {"__name__": f"page_{Path(name).stem}", "Path": Path}
        self.printed = ""

    def run(self, block: Block) -> None:
        for kind, code in block.notes:
            if kind == "setup":
                exec(textwrap.dedent(code), self.names)
        if ("prints", "") in block.notes:
            assert block.code == self.printed, f"{self.name}:{block.line}: the page says something else"
        elif block.language == "python":
            self.python(block)
        elif block.language == "console":
            self.console(block)

    def python(self, block: Block) -> None:
        """The padding makes line numbers of tracebacks those of the page."""
        padded = "\n" * (block.line - 1) + block.code
        code = compile(padded, self.name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        out = io.StringIO()
        with redirect_stdout(out):
            if code.co_flags & inspect.CO_COROUTINE:
                self.runner.run(asyncio.wait_for(eval(code, self.names), 30))
            else:
                exec(code, self.names)
        self.printed = out.getvalue()

    def console(self, block: Block) -> None:
        for command, expected in commands_of(block.code):
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.folder, capture_output=True, text=True, timeout=60, check=False
            )
            where = f"{self.name}:{block.line}: $ {command}"
            assert done.returncode == 0, f"{where}\n{done.stdout}{done.stderr}"
            assert not expected or done.stdout == expected, f"{where}\n{done.stdout}{done.stderr}"


def commands_of(code: str) -> list[tuple[str, str]]:
    """(command, what it prints) for every line that begins with `$`."""
    parts = re.split(r"^\$ (.*)\n", code, flags=re.M)
    assert not parts[0].strip(), "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def script_of(blocks: list[Block]) -> list[Any]:
    names = {name: getattr(turnwise.testing, name) for name in turnwise.testing.__all__}
    texts = [code for block in blocks for kind, code in block.notes if kind == "script"]
    return [reply for code in texts for reply in eval(f"[{code}]", names)]


@contextmanager
def prepared(name: str, blocks: list[Block], folder: Path) -> Generator[Page]:
    """A page ready to run. At the end every reply of its scripts must have been asked for."""
    shims = folder / ".bin"
    shims.mkdir()
    shim = shims / "turnwise"
    shim.write_text(
        f'#!/bin/sh\nPYTHONPATH={str(SOURCE.parent)!r} exec {sys.executable!r} -W error -m turnwise.frontends.cli "$@"\n'
    )
    shim.chmod(0o755)
    with (
        pytest.MonkeyPatch.context() as patch,
        ScriptedProvider(script_of(blocks)) as provider,
        no_network() as guard,
        asyncio.Runner() as runner,
    ):
        for model, path in MODELS.items():
            patch.setenv(f"{model}_API_KEY", "test")
            patch.setenv(f"{model}_BASE_URL", provider.url + path)
        patch.delenv("TURNWISE_MODEL", raising=False)
        patch.setenv("TURNWISE_HOME", str(folder / ".home"))
        patch.setenv("PATH", f"{shims}{os.pathsep}{os.environ['PATH']}")
        patch.chdir(folder)
        yield Page(name, folder, runner)
        guard.refused[:] = [
            a for a in guard.refused if not a.startswith("192.0.2.")
        ]  # RFC 5737: what examples may name


@pytest.mark.parametrize("name", PAGES)
def test_examples_run(name: str, tmp_path: Path) -> None:
    blocks = blocks_of(PAGES[name].read_text("utf-8"))
    with prepared(name, blocks, tmp_path) as page:
        for block in blocks:
            page.run(block)


def test_examples_are_there() -> None:
    """So that a change of the format cannot silence them."""
    languages = [b.language for path in PAGES.values() for b in blocks_of(path.read_text("utf-8"))]
    assert languages.count("python") >= 15
    assert languages.count("console") >= 1
    assert "" not in languages, "a block without a language: is it meant to run? Write text if not"


@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ("```python\nassert 1 == 2, 'no'\n```", "no"),
        ("```python\nprint(1)\n```\n<!-- prints -->\n```text\n2\n```", "something else"),
        ("```console\n$ exit 3\n```", "exit 3"),
        ("```console\n$ echo 1\n2\n```", "echo 1"),
        ('<!-- script: reply("never asked for") -->\n```python\n```', "1 of 1 replies were not asked for"),
        (
            "```python\nimport socket\ntry: socket.create_connection(('198.51.100.1', 80))\nexcept OSError: pass\n```",
            "tried",
        ),
    ],
)
def test_a_wrong_page_fails(page: str, problem: str, tmp_path: Path) -> None:
    blocks = blocks_of(page)
    with pytest.raises(AssertionError, match=problem), prepared("page.md", blocks, tmp_path) as ready:
        for block in blocks:
            ready.run(block)


# --- lists ------------------------------------------------------------------------------------------------------------


def rows_of(page: str, heading: str = "") -> list[list[str]]:
    """The cells of all table rows (of the section under this heading) whose first cell is in code font."""
    text = PAGES[page].read_text("utf-8")
    if heading:
        text = re.split(r"^## ", text.split(f"\n## {heading}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        for line in text.splitlines()
        if line[:3] == "| `"
    ]
    assert rows, f"{page} has no table under {heading!r}"
    return rows


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_events_page_lists_every_event_with_its_fields() -> None:
    """H1: the dotted name, the class and the fields are those of the code, in the same order."""
    listed = [(quoted(row[0])[0], quoted(row[1])[0], quoted(row[2])) for row in rows_of("docs/events.md", "The events")]
    real = [(e.__struct_config__.tag, e.__name__, list(e.__struct_fields__)) for e in get_args(Event)]
    assert sorted(listed) == sorted(real)


def test_events_page_lists_every_notice() -> None:
    listed = {quoted(row[0])[0] for row in rows_of("docs/events.md", "Notices")}
    assert listed == set(codes_in_source({"Notice": 0}))


BRANCHES = get_args(Branch)


def test_errors_page_lists_every_code_under_its_branch() -> None:
    headings = set(re.findall(r"^## (\w+)$", PAGES["docs/errors.md"].read_text("utf-8"), re.M))
    sections = [branch for branch in BRANCHES if branch in headings]
    listed = [(branch, quoted(row[0])[0]) for branch in sections for row in rows_of("docs/errors.md", branch)]
    assert len(listed) == len(set(listed)), "a code is listed twice"
    real = codes_in_source({"ErrorInfo": 1, "config_error": 0, "state_error": 0, "Kind": 0, "misuse": 0})
    assert {f"{branch}.{code}" for branch, code in listed} == set(real), sorted(real.items(), key=lambda row: row[1])


def test_errors_page_says_what_to_do() -> None:
    short = [row[0] for row in rows_of("docs/errors.md") if len(row) != 3 or min(len(cell) for cell in row[1:]) < 5]
    assert not short


def test_sessions_page_lists_every_reason_and_field() -> None:
    listed = [name for row in rows_of("docs/sessions.md", "The result") for name in quoted(row[0])]
    assert sorted(listed) == sorted([*get_args(TurnReason), *TurnResult.__struct_fields__])


def test_cancellation_page_lists_every_deadline_with_its_default() -> None:
    listed = {quoted(row[0])[0]: float(row[1]) for row in rows_of("docs/cancellation.md", "Deadlines")[1:]}
    assert listed == {name: getattr(Deadlines(), name) for name in Deadlines.__struct_fields__}


def test_limits_page_lists_every_limit_with_its_default() -> None:
    listed = {quoted(row[0])[0]: row[1].strip("`") for row in rows_of("docs/limits.md", "Limits")}
    defaults = {name: getattr(Limits(), name) for name in Limits.__struct_fields__}
    assert listed == {name: "none" if value in (None, {}) else json.dumps(value) for name, value in defaults.items()}


def test_limits_page_lists_every_action_and_cause() -> None:
    assert [quoted(row[0])[0] for row in rows_of("docs/limits.md", "Loops")] == list(get_args(LoopAction))
    said = PAGES["docs/limits.md"].read_text("utf-8").partition("## What the provider has read already")[2]
    assert set(quoted(said)) >= set(get_args(CacheCause))


def test_tools_page_lists_every_outcome() -> None:
    listed = [quoted(row[0])[0] for row in rows_of("docs/tools.md", "Outcomes")]
    assert sorted(listed) == sorted([o.__struct_config__.tag for o in get_args(Outcome)])


def codes_in_source(makers: dict[str, int]) -> dict[str, str]:
    """Every code that a call of one of `makers` is given at that position, with a place where that happens.

    A code that is a variable is followed to what it is set to in the same file; one that cannot be followed fails.
    """
    found: dict[str, str] = {}
    for path, tree, calls in calls_in_source():
        for name, node in calls:
            if (position := makers.get(name)) is None:
                continue
            given = next((k.value for k in node.keywords if k.arg == "code"), None) or node.args[position]
            where = f"{path.relative_to(SOURCE)}:{node.lineno}"
            for code in values_of(given, tree, where):
                found[f"{branch_of(node)}{code}"] = where
    return found


@functools.cache
def calls_in_source() -> list[tuple[Path, ast.Module, list[tuple[str, ast.Call]]]]:
    """Every file of the source with its tree and the calls in it, by the name that is called."""
    trees = [(path, ast.parse(path.read_text("utf-8"))) for path in sorted(SOURCE.rglob("*.py"))]
    return [(p, t, [(called(n), n) for n in ast.walk(t) if isinstance(n, ast.Call)]) for p, t in trees]


def called(call: ast.Call) -> str:
    """The function's own name, without the module it is taken from."""
    return ast.unparse(call.func).rpartition(".")[2]


def branch_of(maker: ast.Call) -> str:
    """`"provider."` and the like; nothing for what has no branch."""
    name = called(maker)
    if name == "ErrorInfo":
        return f"{ast.literal_eval(maker.args[0])}."
    return {"config_error": "config.", "state_error": "state.", "Kind": "provider.", "misuse": "session."}.get(name, "")


def values_of(given: ast.expr, tree: ast.Module, where: str) -> set[str]:
    """The strings that an expression can be."""
    match given:
        case ast.Constant(value=str(code)):
            return {code}
        case ast.IfExp(body=body, orelse=orelse):
            return values_of(body, tree, where) | values_of(orelse, tree, where)
        case ast.Attribute(attr="code"):
            return set()  # the code of a Kind or an error, which is seen where that is made
        case ast.Name(id=name):
            values = [v for node in ast.walk(tree) for v in [*assigned(node, name, tree), *passed(node, given, tree)]]
            assert values or where.startswith("core/errors.py"), f"{where}: where does {name} come from?"
            return {code for value in values for code in values_of(value, tree, where)}
        case _:
            raise AssertionError(f"{where}: cannot tell which code {ast.unparse(given)} is")


def assigned(node: ast.AST, name: str, tree: ast.Module) -> list[ast.expr]:
    """What this statement sets a name to; what a function returns in a tuple, if it is one of this file."""
    match node:
        case ast.Assign(targets=[ast.Name(id=target)], value=value) if target == name:
            return [value]
        case ast.Assign(targets=[ast.Tuple(elts=targets)], value=value):
            at = [i for i, t in enumerate(targets) if isinstance(t, ast.Name) and t.id == name]
            return [part for i in at for whole in tuples(value, tree) for part in [whole.elts[i]]]
        case _:
            return []


def passed(node: ast.AST, given: ast.Name, tree: ast.Module) -> list[ast.expr]:
    """If the name is a parameter of this function: what its callers in the file pass for it."""
    if not isinstance(node, ast.FunctionDef) or not any(n is given for n in ast.walk(node)):
        return []
    at = [i for i, a in enumerate(node.args.args) if a.arg == given.id]
    calls = [c for c in ast.walk(tree) if isinstance(c, ast.Call) and ast.unparse(c.func) == node.name]
    return [c.args[i] for i in at for c in calls if len(c.args) > i]


def tuples(value: ast.expr, tree: ast.Module) -> list[ast.Tuple]:
    match value:
        case ast.Tuple():
            return [value]
        case ast.IfExp(body=body, orelse=orelse):
            return tuples(body, tree) + tuples(orelse, tree)
        case ast.Call(func=ast.Name(id=function)):
            bodies = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function]
            returned = [r.value for body in bodies for r in ast.walk(body) if isinstance(r, ast.Return)]
            return [t for r in returned if r is not None for t in tuples(r, tree)]
        case _:
            return []


# --- the map of the house ---------------------------------------------------------------------------------------------


def test_contributing_maps_every_folder() -> None:
    listed = [quoted(row[0])[0] for row in rows_of("CONTRIBUTING.md", "The map of the house")]
    floors = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"][0][
        "layers"
    ]
    there = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert listed == [f for floor in floors for f in re.findall(r"\w+", floor) if f in there]
    assert set(listed) == there


def test_the_reading_path_is_short() -> None:
    """ARCHITECTURE 1. The counts on the page may be off by a quarter."""
    rows = rows_of("CONTRIBUTING.md", "The reading path")
    counts = {quoted(row[0])[0]: int(row[1]) for row in rows}
    real = {file: lines_of(SOURCE / file) for file in counts}
    assert {"core/state.py", "core/turn.py", "core/reducer.py", "runtime/session.py", "runtime/turn.py"} <= set(real)
    assert sum(real.values()) < 2500
    assert not {f: n for f, n in real.items() if abs(n - counts[f]) > n / 4}, real


def lines_of(path: Path) -> int:
    return len([line for line in path.read_text("utf-8").splitlines() if line.strip()])


# --- links ------------------------------------------------------------------------------------------------------------


def anchors_of(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = PAGES[name]
    prose = _FENCE.sub("", page.read_text("utf-8"))
    for target in re.findall(r"\]\(([^)]+)\)", prose):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        path = (page.parent / file).resolve() if file else page
        assert path.exists(), f"{name}: {target}"
        assert not anchor or anchor in anchors_of(path), f"{name}: {target} has no such heading"


def test_every_page_is_linked_from_the_index() -> None:
    index = PAGES["docs/index.md"].read_text("utf-8")
    missing = [n for n in PAGES if n.startswith("docs/") and n != "docs/index.md" and f"({Path(n).name})" not in index]
    assert not missing

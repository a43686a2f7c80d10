"""Help, version, the words that are commands, the manual, and what is imported for them (I1)."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import without_kept

import turnwise
from turnwise.testing import ScriptedProvider, repeat, reply

if TYPE_CHECKING:
    from .conftest import Cli

MANUAL = Path(__file__).parents[2] / "docs" / "cli.md"
HEAVY = ("aiohttp", "rich", "pydantic", "openai", "anthropic", "docstring_parser")

_IMPORTED = "import json, sys; {}; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"


def imported_by(code: str, cli: Cli) -> set[str]:
    command = (sys.executable, "-c", _IMPORTED.format(code))
    done = subprocess.run(command, capture_output=True, timeout=20, check=True, env=cli.environment(), cwd=cli.folder)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize("option", ["--help", "-h", "--version"])
def test_help_imports_no_engine(cli: Cli, option: str) -> None:
    modules = imported_by(f"from turnwise.frontends.cli.main import main; assert main([{option!r}]) == 0", cli)
    assert "click" in modules
    assert modules.isdisjoint((*HEAVY, "asyncio", "msgspec"))
    ours = {name for name in modules if name.startswith("turnwise.")}
    assert all(name.startswith("turnwise.frontends") for name in ours), ours


def test_the_library_imports_no_command_line(cli: Cli) -> None:
    modules = imported_by("import turnwise", cli)
    assert modules.isdisjoint((*HEAVY, "click", "turnwise.frontends"))


def test_version(cli: Cli) -> None:
    done = cli.run("--version")
    assert (done.returncode, done.stdout.decode()) == (0, f"turnwise {turnwise.__version__}\n")


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("ask", "--help"), ("demo", "-h"), ("hi", "--help")])
def test_help_is_reachable_everywhere(cli: Cli, args: tuple[str, ...]) -> None:
    done = cli.run(*args)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Usage: turnwise")


@pytest.mark.parametrize(
    ("args", "prompt"),
    [
        (("demos", "are", "nice"), "demos are nice"),
        (("ask", "demo"), "demo"),
        (("--", "demo"), "demo"),
        (("--no-stream", "demo"), "demo"),
        (("what is", "--no-stream", "ask?"), "what is ask?"),
        (("--", "--help"), "--help"),
    ],
)
def test_a_first_word_that_is_no_command_begins_a_prompt(cli: Cli, args: tuple[str, ...], prompt: str) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run(*args, env=cli.environment(provider))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"ok\n", b"")
    assert provider.requests[0].body["messages"] == [{"role": "user", "content": prompt}] or (
        provider.requests[0].body["messages"][0]["content"][0]["text"] == prompt
    )


def test_without_click_the_extra_is_named(cli: Cli) -> None:
    code = (
        "import sys; sys.modules['click'] = None; from turnwise.frontends.cli.main import main; sys.exit(main(['hi']))"
    )
    command = (sys.executable, "-c", code)
    done = subprocess.run(command, capture_output=True, timeout=20, check=False, env=cli.environment())
    assert done.returncode == 2
    assert b"pip install 'turnwise[cli]'" in done.stderr


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", MANUAL.read_text(), re.MULTILINE | re.DOTALL)


def test_the_manual_shows_the_real_help(cli: Cli) -> None:
    """Line breaks aside, which are up to click's version."""
    shown = cli.run("--help", env=cli.environment(COLUMNS="80")).stdout.decode()
    assert [" ".join(block.split()) for block in blocks("text") if block.startswith("Usage:")] == [
        " ".join(shown.split())
    ]


def test_the_manuals_examples_work(cli: Cli) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line and not line.startswith("#")]
    assert len(commands) >= 6
    program = cli.folder / "bin" / "turnwise"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m turnwise.frontends.cli "$@"\n')
    program.chmod(0o755)
    (cli.folder / "report.pdf").write_bytes(b"%PDF-1.4\n%%EOF\n")
    (cli.folder / "notes.md").write_text("remember the milk\n")
    if shutil.which("git"):
        subprocess.run(("git", "init", "-q", str(cli.folder)), check=True, timeout=20)
    else:
        commands = [command for command in commands if not command.startswith("git ")]
    with ScriptedProvider([repeat(reply("ok"))]) as provider:
        env = {**cli.environment(provider), "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
        env |= {"OPENAI_API_KEY": "test-key", "OPENAI_BASE_URL": provider.openai_url}
        for command in commands:
            done = subprocess.run(
                ("sh", "-c", command),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=20,
                check=False,
                env=env,
                cwd=cli.folder,
            )
            assert (done.returncode, without_kept(done.stderr)) == (0, b""), (command, done)

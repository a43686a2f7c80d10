"""The plugin in examples/plugins, written as a user would from docs/plugins.md: installed as a package by pip, found by its entry point, and run.

The package is built by hatchling, which is in the extra `test`, so that no network is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import turnwise

EXAMPLE = Path(__file__).parents[2] / "examples" / "plugins" / "turnwise-worklog"
SRC = Path(turnwise.__file__).parents[1]

CONFIG = """
[plugins.worklog]
required = false

[plugins.worklog.settings]
folder = "logs"
private = ["secret"]
"""

TURN = """
import asyncio, json, sys
from turnwise import Agent, Plugins, Runtime
from turnwise.testing import ScriptedProvider, call, reply

def secret() -> str:
    "Nobody is to know."
    return "hush"

async def main():
    script = [reply(call("secret"), call("look_up_work")), reply("I was asked."), reply(call("look_up_work")), reply("That is all.")]
    async with (
        ScriptedProvider(script) as provider,
        Runtime(plugins=Plugins.load("plugins.toml")) as runtime,
    ):
        (status,) = runtime.plugins.status()
        agent = Agent(
            "anthropic:m", base_url=provider.anthropic_url, api_key="k", runtime=runtime, tools=[secret], plugins=["worklog"]
        )
        session = agent.session()
        await session.run("What did you do?")
        await session.run("And now?")
        seen = [result.body for message in session.messages for result in getattr(message, "results", ())]
        print(json.dumps({"status": [status.state, status.version, status.source], "seen": seen, "session": session.id}))
    assert "turnwise_worklog" in sys.modules

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the example into."""
    folder = tmp_path_factory.mktemp("installed")
    how = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", str(folder / "site"))
    done = subprocess.run(
        (sys.executable, "-m", "pip", "install", "--quiet", *how, str(EXAMPLE)),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_CONFIG_FILE": os.devnull, "TMPDIR": str(folder)},
    )
    said = f"{done.stdout}{done.stderr}"
    assert done.returncode == 0, f"Is hatchling installed? It is in the extra: pip install -e '.[test]'\n{said}"
    return folder / "site"


def run(installed: Path, folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python where the package is installed."""
    env = {**os.environ, "PYTHONPATH": f"{installed}{os.pathsep}{SRC}", "TURNWISE_HOME": str(folder / "home")}
    return subprocess.run(
        (sys.executable, "-W", "error", *command),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )


def test_it_is_found_by_its_entry_point_and_a_turn_runs_with_it(installed: Path, tmp_path: Path) -> None:
    """H5: nothing but the package and a configuration that names it."""
    (tmp_path / "plugins.toml").write_text(CONFIG)
    done = run(installed, tmp_path, "-c", TURN)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["status"] == ["running", "1.0.0", "package turnwise-worklog"]
    secret, nothing, log = said["seen"]
    assert secret == "hush"
    assert nothing.startswith("Nothing was done on ")
    first = [json.loads(line) for line in log.splitlines()]
    own = {"session": said["session"], "turn": 1}
    assert [{k: v for k, v in line.items() if k != "at"} for line in first] == [
        {**own, "tool": "look_up_work", "outcome": "ok"},
        {**own, "reason": "completed", "said": "I was asked."},
    ], "calls of the tool that is private are not among them"
    (file,) = (tmp_path / "logs").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[:2] == first
    assert lines[-1]["said"] == "That is all.", "what happened right before the runtime was closed is there, too"


def test_an_optional_one_that_cannot_do_its_work_is_done_without(installed: Path, tmp_path: Path) -> None:
    """H5"""
    (tmp_path / "plugins.toml").write_text(CONFIG)
    (tmp_path / "logs").write_text("this is no folder")
    code = "import asyncio\nfrom turnwise import Plugins, Runtime\nasync def main():\n    async with Runtime(plugins=Plugins.load('plugins.toml')) as runtime:\n        print(runtime.health.of('plugin.worklog').message)\nasyncio.run(main())"
    done = run(installed, tmp_path, "-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("The plugin worklog did not start: FileExistsError")


def test_the_command_line_lists_and_checks_it(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "plugins.toml").write_text(CONFIG)
    done = run(installed, tmp_path, "-m", "turnwise", "plugins", "--json")
    (listed,) = [json.loads(line) for line in done.stdout.splitlines()]
    assert (listed["name"], listed["version"], listed["status"]) == ("worklog", "1.0.0", "ready")
    assert listed["settings"]["$defs"]["Settings"]["required"] == ["folder"]
    (tmp_path / "plugins.toml").write_text(CONFIG.replace("folder", "foldr"))
    done = run(installed, tmp_path, "-m", "turnwise", "plugins", "check")
    assert done.returncode == 2
    assert [line.split(": ", 1)[1] for line in done.stderr.splitlines()[1:]] == [
        "plugins.worklog.settings.folder: is missing: expected a string",
        "plugins.worklog.settings.foldr: unknown key; did you mean 'folder'?",
    ]

"""Scripts as tools: they describe themselves or are named with what is wrong, they run once per call, and nothing of them stays behind."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import children

from turnwise import Agent, Tools
from turnwise.core.messages import ToolMessage
from turnwise.core.outcomes import ToolResult
from turnwise.errors import ConfigError
from turnwise.testing import ScriptedProvider, call, reply
from turnwise.tools import scripts_asked

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def script(folder: Path, name: str, run: str = "print(arguments)", schema: str = "", **more: Any) -> Path:
    """An executable; `run` is what it does with `arguments`, `schema` what it does when it is asked (default: describe itself)."""
    about = {"name": name, "description": f"The tool {name}.", "parameters": SCHEMA, **more}
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport json, os, sys, time\n"
        f"if sys.argv[1:] == ['--schema']:\n    {schema or f'print({json.dumps(about)!r})'}\n"
        f"else:\n    arguments = json.load(sys.stdin)\n    {run}\n",
        "utf-8",
    )
    path.chmod(0o755)
    return path


async def results_of(tools: Tools, *calls: tuple[str, dict[str, Any]]) -> list[ToolResult]:
    asked = [call(name, **arguments) for name, arguments in calls]
    async with ScriptedProvider([reply(*asked), reply("Done.")]) as provider:
        agent = Agent("anthropic:m", base_url=provider.anthropic_url, api_key="k", tools=tools)
        async with agent.session() as session:
            await session.run("Go.")
            message = session.messages[-2]
            assert isinstance(message, ToolMessage)
            return list(message.results)


def test_a_folder_of_scripts_becomes_tools_in_the_order_of_their_files(tmp_path: Path) -> None:
    script(tmp_path, "b", category="sums", tags=["x"], read_only=True, permission="read", timeout_s=3)
    script(tmp_path, "a")
    script(tmp_path, ".hidden")
    script(tmp_path, "_helper")
    (tmp_path / "README.md").write_text("not a script", "utf-8")
    (tmp_path / "folder").mkdir()
    tools = Tools.from_scripts(tmp_path, timeout_s=9)
    assert tools.names == ("a", "b")
    a, b = tools
    assert (a.permission, a.timeout_s, a.read_only, a.spec.description) == ("execute", 9, False, "The tool a.")
    assert (b.category, b.tags, b.permission, b.timeout_s, b.read_only) == ("sums", ("x",), "read", 3, True)
    assert json.loads(a.spec.parameters) == SCHEMA
    assert [t.spec for t in Tools.from_scripts([tmp_path / "a", str(tmp_path / "b")])] == [t.spec for t in tools]  # T7


async def test_a_call_gives_arguments_and_takes_what_is_printed(tmp_path: Path) -> None:
    script(tmp_path, "double", "print(json.dumps({'twice': arguments['n'] * 2, 'X': os.environ.get('X')}))")
    (result, wrong) = await results_of(
        Tools.from_scripts(tmp_path, env={**os.environ, "X": "y"}), ("double", {"n": 21}), ("double", {"n": "x"})
    )
    assert json.loads(str(result.body)) == {"twice": 42, "X": "y"}
    assert type(wrong.outcome).__name__ == "InvalidArguments", "the script has not been run with these"


async def test_a_script_that_fails_says_why(tmp_path: Path) -> None:
    script(tmp_path, "fails", "print('out'); print('no such thing', file=sys.stderr); sys.exit(3)")
    script(tmp_path, "dies", "os.kill(os.getpid(), 9)")
    fails, dies = await results_of(Tools.from_scripts(tmp_path), ("fails", {"n": 1}), ("dies", {"n": 1}))
    assert fails.outcome.error.code == "script_failed"
    assert fails.outcome.error.message == "fails failed (exit code 3): no such thing"
    assert dies.outcome.error.message == "dies failed (signal 9)."


async def test_a_script_that_is_gone_is_told(tmp_path: Path) -> None:
    path = script(tmp_path, "gone")
    tools = Tools.from_scripts(tmp_path)
    path.unlink()
    (result,) = await results_of(tools, ("gone", {"n": 1}))
    assert "gone cannot be started" in result.outcome.error.message


async def test_a_script_that_hangs_dies_with_all_that_it_started(tmp_path: Path) -> None:
    """E3"""
    pids = tmp_path / "pids"
    hang = f"p = __import__('subprocess').Popen(['sleep', '60']); open({str(pids)!r}, 'w').write(str(p.pid)); time.sleep(60)"
    script(tmp_path, "hangs", hang)
    (result,) = await results_of(Tools.from_scripts(tmp_path, timeout_s=1.0), ("hangs", {"n": 1}))
    assert type(result.outcome).__name__ == "Timeout"
    pid = int(pids.read_text())
    for _ in range(200):
        if not alive(pid):
            break
        await asyncio.sleep(0.01)
    assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- scripts that misbehave when they are asked ---------------------------------------------------------------------------


def test_all_that_misbehave_are_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scripts_asked, "MAX_BYTES", 10_000)
    script(tmp_path, "fine")
    script(tmp_path, "same", schema=f"print({json.dumps({'name': 'fine', 'description': '', 'parameters': SCHEMA})!r})")
    script(tmp_path, "mute", schema="pass")
    script(tmp_path, "text", schema="print('usage: text FILE')")
    script(tmp_path, "fails", schema="sys.exit('no idea')")
    script(tmp_path, "slow", schema="time.sleep(60)")
    script(tmp_path, "floods", schema="print('x' * 20_000)")
    script(
        tmp_path,
        "badname",
        schema=f"print({json.dumps({'name': 'bad name', 'description': '', 'parameters': SCHEMA})!r})",
    )
    script(tmp_path, "badtype", schema="print('{\"name\": 3}')")
    script(tmp_path, "badschema", parameters={"type": "string"})
    script(tmp_path, "badclass", permission="everything")
    (tmp_path / "nothead").write_text("no shebang", "utf-8")
    (tmp_path / "nothead").chmod(0o755)
    before, began = children(), time.monotonic()
    with pytest.raises(ConfigError) as raised:
        Tools.from_scripts([*sorted(tmp_path.iterdir()), tmp_path / "missing"], describe_s=3)
    assert raised.value.code == "bad_tool_script"
    said = {
        line[2:].split(tmp_path.name + "/", 1)[1] for line in raised.value.message.splitlines() if line.startswith("- ")
    }
    assert len(said) == 12 and "12 of 13" in raised.value.message
    for part in (
        "same has the name 'fine', which",
        "mute prints '', which is not JSON",
        "text prints 'usage: text FILE\\n', which is not JSON",
        "fails fails when it is run with --schema (exit code 1): no idea",
        "slow does not answer to --schema within 3 s",
        "floods prints more than 10,000 bytes",
        "badname: Tool",
        "badtype describes itself wrongly: Expected `str`, got `int` - at `$.name`",
        "badschema: Tool badschema: its parameters are not the JSON Schema of an object",
        "badclass describes itself wrongly: Invalid enum value 'everything'",
        "nothead cannot be run",
        "missing is no file that may be executed",
    ):
        assert any(one.startswith(part) for one in said), (part, said)
    assert time.monotonic() - began < 20, "they are asked side by side"
    assert children() <= before, "nothing of them is left"


def test_what_a_script_leaves_behind_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids.txt"
    about = json.dumps({"name": "leaves", "description": "", "parameters": SCHEMA})
    started = "p = __import__('subprocess').Popen(['sleep', '60'], stdout=-3, stderr=-3)"
    path = script(tmp_path, "leaves", schema=f"{started}; open({str(pids)!r}, 'w').write(str(p.pid)); print({about!r})")
    assert Tools.from_scripts([path]).names == ("leaves",)
    for _ in range(200):
        if not alive(int(pids.read_text())):
            return
        time.sleep(0.01)
    raise AssertionError("the child of a script that was asked is still alive")


def test_more_scripts_than_are_asked_at_once(tmp_path: Path) -> None:
    for n in range(scripts_asked.AT_ONCE + 3):
        path = tmp_path / f"s{n:02}"
        path.write_text(
            f"#!/bin/sh\necho '{json.dumps({'name': path.name, 'description': '', 'parameters': SCHEMA})}'\n", "utf-8"
        )
        path.chmod(0o755)
    assert len(Tools.from_scripts(tmp_path)) == scripts_asked.AT_ONCE + 3


def test_an_empty_folder_has_no_tools(tmp_path: Path) -> None:
    assert len(Tools.from_scripts(tmp_path)) == 0

"""What importing costs, and what a missing extra says. Each question is asked in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module

import pytest

import turnwise

HEAVY = ("aiohttp", "anthropic", "anyio", "click", "httpx", "openai", "pydantic", "rich", "ssl", "yarl")
"""What nobody pays for who does not use it: HTTP client, command line, validation library, provider SDKs."""
ENGINE = ("asyncio", "turnwise.frontends", "turnwise.runtime.session", "turnwise.testing", "turnwise.wire")


def loaded_by(code: str, *, argv: tuple[str, ...] = ()) -> set[str]:
    """The modules that a fresh interpreter has loaded after this code."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *argv], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1]))


def among(modules: set[str], unwanted: tuple[str, ...]) -> list[str]:
    return sorted(m for m in modules if m in unwanted or m.startswith(tuple([f"{u}." for u in unwanted])))


def test_the_probe_sees_what_is_imported() -> None:
    assert among(loaded_by("import ssl, turnwise.wire"), (*HEAVY, *ENGINE)) >= ["ssl", "turnwise.wire"]


def test_importing_turnwise_loads_nothing_else() -> None:
    """I1: no provider SDK, no server, no CLI, and not even our own floors: names are loaded on first use."""
    modules = loaded_by("import turnwise")
    assert not among(modules, HEAVY)
    assert [m for m in modules if m.startswith("turnwise.")] == []


def test_an_agent_is_made_without_the_engine() -> None:
    """I1: an agent with a tool is data; asyncio, sessions and codecs are loaded with the first session."""
    code = (
        "from turnwise import Agent, tool\n"
        "@tool\n"
        "def add(a: int, b: int) -> int:\n"
        "    'Add.'\n"
        "    return a + b\n"
        "Agent('anthropic:x', tools=[add])"
    )
    assert not among(loaded_by(code), HEAVY + ENGINE)


def test_values_are_loaded_without_the_engine() -> None:
    code = "import turnwise.events, turnwise.errors\nfrom turnwise import TurnResult, UserMessage, Usage"
    assert not among(loaded_by(code), HEAVY + ENGINE)


def test_a_codec_loads_neither_a_client_nor_another_codec() -> None:
    """I1"""
    modules = loaded_by("import turnwise.wire as w\nw.codec('anthropic.messages')")
    assert not among(
        modules, (*HEAVY, "asyncio", "turnwise.wire.openai_chat.codec", "turnwise.runtime", "turnwise.models")
    )


def test_the_http_client_is_loaded_with_the_first_request() -> None:
    """I1"""
    code = "from turnwise import Agent\nimport asyncio\n"
    code += "async def go():\n    Agent('anthropic:x', api_key='k').session()\nasyncio.run(go())"
    assert not among(loaded_by(code), ("aiohttp", "click", "pydantic", "rich", "yarl", "turnwise.testing"))


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_asking_the_program_about_itself_loads_no_engine(word: str) -> None:
    """I1"""
    code = "import sys\nfrom turnwise.frontends.cli.main import main\nassert main(sys.argv[1:]) == 0"
    modules = loaded_by(code, argv=(word,))
    unwanted = tuple([m for m in HEAVY if m != "click"])
    assert not among(modules, (*unwanted, "asyncio", "turnwise.runtime", "turnwise.testing", "turnwise.wire"))


@pytest.mark.parametrize("name", turnwise.__all__)
def test_every_public_name_loads(name: str) -> None:
    assert getattr(turnwise, name).__name__ == name


def test_public_names_are_listed_everywhere() -> None:
    """One list of names: `__all__`, `dir()`, and the homes behind the lazy look-up."""
    assert turnwise.__all__ == sorted(turnwise.__all__)
    assert set(turnwise.__all__) <= set(dir(turnwise))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = turnwise.nothing  # type: ignore[attr-defined]


@pytest.mark.parametrize("module", ["turnwise.errors", "turnwise.events", "turnwise.testing", "turnwise.wire"])
def test_public_modules_keep_what_they_list(module: str) -> None:
    loaded = import_module(module)
    assert all(hasattr(loaded, name) for name in loaded.__all__)
    namespace: dict[str, object] = {}
    exec(f"from {module} import *", namespace)
    assert set(loaded.__all__) <= set(namespace)


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize(
    "entry",
    ["from turnwise.frontends.cli.main import main; sys.exit(main())", "turnwise.frontends.cli", "turnwise.__main__"],
)
def test_the_program_without_click_names_the_extra(entry: str) -> None:
    """I1: each extra's absence gives an error that names the extra."""
    code = BLOCK.format(blocked="click")
    if entry.startswith("turnwise"):
        code += f"import runpy; sys.argv = ['turnwise', 'Hi']; runpy.run_module({entry!r}, run_name='__main__')"
    else:
        code += entry
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, "Hi"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "pip install" in done.stderr and "turnwise[cli]" in done.stderr
    assert "Traceback" not in done.stderr and done.stdout == ""


@pytest.mark.parametrize("blocked", ["click", "pydantic", "openai", "anthropic", "rich"])
def test_the_library_works_without(blocked: str) -> None:
    """I1: a whole turn with a tool, with one of the optional packages missing."""
    code = BLOCK.format(blocked=blocked) + (
        "import asyncio\n"
        "from turnwise import Agent\n"
        "from turnwise.testing import ScriptedProvider, call, reply\n"
        "def add(a: int, b: int) -> int:\n"
        "    'Add.'\n"
        "    return a + b\n"
        "async def go():\n"
        "    async with ScriptedProvider([reply(call('add', a=1, b=2)), reply('3')]) as p:\n"
        "        agent = Agent('anthropic:x', base_url=p.anthropic_url, api_key='k', tools=[add])\n"
        "        result = await agent.run('?')\n"
        "        assert (result.text, result.calls) == ('3', 1), result\n"
        "asyncio.run(go())\n"
    )
    assert not among(loaded_by(code), (blocked,))

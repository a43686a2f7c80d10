"""Plugins are found by entry points and by paths that the caller gave, and by nothing else (P5, P7)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from tests.plugins.conftest import WEATHER, Diary, Site

from turnwise import Runtime
from turnwise.errors import ConfigError
from turnwise.plugins import Plugins, PluginsConfigError, installed_plugins, plugins_in, schema_of

CONFIG = '[plugins.weather]\nsettings.units = "imperial"\n'


def config(folder: Path, text: str = CONFIG) -> Path:
    file = folder / "plugins.toml"
    file.write_text(text)
    return file


# --- packages ---------------------------------------------------------------------------------------------------------


def test_a_package_is_found_by_its_entry_point_and_imported_only_when_asked_for(site: Site) -> None:
    """P7"""
    site.install("acme-weather", WEATHER, version="2.1", weather="acme_weather:Weather")
    (found,) = [one for one in installed_plugins() if one.name == "weather"]
    assert (found.version, found.source, found.by) == ("2.1", "package acme-weather", "package")
    assert "acme_weather" not in sys.modules
    plugin = found.load()
    assert schema_of(plugin)["$defs"]["Settings"]["properties"]["units"]["enum"] == ["imperial", "metric"]


async def test_what_a_configuration_names_runs_and_nothing_else(site: Site, tmp_path: Path) -> None:
    """P5: that a package is installed does not start its plugin."""
    site.install("acme-weather", WEATHER, weather="acme_weather:Weather")
    site.install("acme-trap", "raise SystemExit('imported')", trap="acme_trap:Trap")
    plugins = Plugins.load(config(tmp_path, f"{CONFIG}[plugins.trap]\nenabled = false\n"))
    assert [(use.name, use.version, use.source) for use in plugins.uses] == [("weather", "1.0", "package acme-weather")]
    assert "acme_trap" not in sys.modules, "a plugin that is disabled is not imported"
    async with Runtime(plugins=plugins) as runtime:
        assert runtime.plugins is not None
        assert [(one.name, one.state) for one in runtime.plugins.status()] == [
            ("weather", "running"),
            ("trap", "disabled"),
        ]


@pytest.mark.parametrize(
    ("code", "target", "said"),
    [
        (
            "import no_such_module",
            "acme:Weather",
            "cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        (WEATHER, "acme:Wether", "cannot be loaded: AttributeError"),
        (WEATHER, "acme:Settings", "leads to acme:Settings, which is no plugin"),
        (WEATHER.replace('"weather"', '"wx"'), "acme:Weather", "leads to a plugin named 'wx'"),
        (WEATHER.replace("list[str] = []", "object | int | complex = 1"), "acme:Weather", "cannot be described"),
    ],
)
async def test_a_broken_package_is_an_error_if_required_and_degrades_if_not(
    code: str, target: str, said: str, site: Site, tmp_path: Path
) -> None:
    """H5"""
    site.install("acme", code, weather=target)
    with pytest.raises(PluginsConfigError) as raised:
        Plugins.load(config(tmp_path, "[plugins.weather]\n"))
    assert said in raised.value.message
    assert raised.value.problems[0].line == 1
    async with Runtime(plugins=Plugins.load(config(tmp_path, "[plugins.weather]\nrequired = false\n"))) as runtime:
        part = runtime.health.of("plugin.weather")
        assert part is not None and part.code in ("broken_plugin", "invalid_plugin")
        assert said in part.message
        assert runtime.plugins is not None and runtime.plugins.status()[0].state == "failed"


def test_two_plugins_of_one_name_are_a_conflict(site: Site, tmp_path: Path, diary: Diary) -> None:
    site.install("acme-weather", WEATHER, weather="acme_weather:Weather")
    site.install("other-weather", WEATHER, weather="other_weather:Weather")
    with pytest.raises(PluginsConfigError) as raised:
        Plugins.load(config(tmp_path))
    assert "more than one plugin has this name: package acme-weather and package other-weather" in raised.value.message


# --- files ------------------------------------------------------------------------------------------------------------


def test_a_file_is_loaded_under_a_name_of_its_own(tmp_path: Path) -> None:
    """P7: it neither hides a module of its name nor is hidden by one."""
    file = tmp_path / "json.py"
    file.write_text(dedent(WEATHER))
    (plugin,) = plugins_in(file)
    import json

    assert json.__file__ != str(file)
    assert plugin.__module__.startswith("_turnwise_plugin_json_")
    assert sys.modules[plugin.__module__].__file__ == str(file)
    assert plugins_in(file) == (plugin,), "it is loaded once"
    other = tmp_path / "other" / "json.py"
    other.parent.mkdir()
    other.write_text(dedent(WEATHER))
    assert plugins_in(other) != (plugin,)


def test_a_folder_is_a_package_with_relative_imports(tmp_path: Path) -> None:
    folder = tmp_path / "my-weather"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .weather import Weather\nfrom turnwise.plugins import Plugin\n")
    (folder / "weather.py").write_text(dedent(WEATHER))
    (plugin,) = plugins_in(folder)
    assert plugin.name == "weather"
    assert plugin.__module__.endswith(".weather")


def test_a_file_may_define_several(tmp_path: Path) -> None:
    file = tmp_path / "several.py"
    file.write_text(dedent(WEATHER) + "\nclass Tides(Weather):\n    name = 'tides'\n\nclass _Base(Plugin): pass\n")
    assert [one.name for one in plugins_in(file)] == ["weather", "tides"]


def test_a_file_runs_because_the_caller_gave_it_and_not_because_a_configuration_lies_beside_it(tmp_path: Path) -> None:
    """P5: and a configuration has no way to say so."""
    (tmp_path / "weather.py").write_text(dedent(WEATHER))
    with pytest.raises(PluginsConfigError, match="there is no such plugin"):
        Plugins.load(config(tmp_path))
    with pytest.raises(PluginsConfigError, match=r"plugins\.weather\.path: unknown key"):
        Plugins.load(config(tmp_path, '[plugins.weather]\npath = "weather.py"\n'))
    assert [use.name for use in Plugins.load(config(tmp_path), paths=[tmp_path / "weather.py"]).uses] == ["weather"]


def test_a_file_whose_plugin_is_not_named_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "weather.py").write_text(dedent(WEATHER))
    assert Plugins.load(config(tmp_path, "[plugins]\n"), paths=[tmp_path / "weather.py"]).uses == ()


@pytest.mark.parametrize(
    ("name", "code", "error", "said"),
    [
        ("a.py", "1 / 0", "broken_plugin", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("a.py", "def f(:", "broken_plugin", "cannot be loaded: SyntaxError"),
        ("a.py", "x = 1", "invalid_plugin", "defines no plugin"),
        ("a.py", "from turnwise.plugins import Plugin", "invalid_plugin", "defines no plugin"),
        ("a.txt", "", "broken_plugin", "There is no plugin at"),
    ],
)
def test_a_file_that_is_no_plugin_says_why(name: str, code: str, error: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(code)
    known = set(sys.modules)
    with pytest.raises(ConfigError) as raised:
        plugins_in(tmp_path / name)
    assert raised.value.code == error
    assert said in raised.value.message
    left = [one for one in set(sys.modules) - known if one.startswith("_turnwise_plugin_")]
    assert error == "invalid_plugin" or not left, "what could not be loaded is tried anew the next time"


def test_plugins_cost_nothing_until_there_are_some() -> None:
    """I1: an agent, a runtime and a session load nothing of this room."""
    code = (
        "import asyncio, sys\n"
        "from turnwise import Agent, Runtime\n"
        "async def go():\n"
        "    async with Runtime() as runtime:\n"
        "        Agent('anthropic:x', api_key='k', runtime=runtime).session()\n"
        "asyncio.run(go())\n"
        "assert not [one for one in sys.modules if 'plugin' in one], sys.modules"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)

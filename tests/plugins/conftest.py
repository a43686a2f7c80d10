"""Plugins that the tests of plugins share: one that notes what becomes of it, and what a package looks like when it is installed."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from turnwise.plugins import Plugin, PluginContext


class Diary:
    """What happened, in order: `+name` when a plugin has started, `-name` when it has stopped. Makes plugins that write in it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def plugin(self, name: str, *requires: str, base: type[Plugin[Any]] | None = None, **how: Any) -> type[Plugin[Any]]:
        """A plugin that does `how`: `start` and `stop` are coroutine functions of its context, run at these moments."""
        lines = self.lines

        @asynccontextmanager
        async def open(self: Plugin[Any], context: PluginContext[Any]) -> AsyncGenerator[None, None]:
            if "start" in how:
                await how["start"](context)
            lines.append(f"+{name}")
            yield
            if "stop" in how:
                await how["stop"](context)
            lines.append(f"-{name}")

        body = {"name": name, "requires": requires, "open": open, "__module__": __name__}
        return type(name.title().replace("-", ""), (base or Plugin,), body)


@pytest.fixture
def diary() -> Diary:
    return Diary()


async def hang(_: Any) -> None:
    """For ever, or until it is cancelled."""
    await asyncio.Event().wait()


async def fail(_: Any) -> None:
    raise ValueError("no luck")


class Site:
    """A folder of installed packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, package: str, code: str, *, version: str = "1.0", **entries: str) -> None:
        """A package of one module with these entry points: `weather="module:Class"`."""
        module = package.replace("-", "_")
        (self.folder / f"{module}.py").write_text(dedent(code))
        info = self.folder / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        lines = [f"{name} = {target}" for name, target in entries.items()]
        (info / "entry_points.txt").write_text("\n".join(["[turnwise.plugins]", *lines, ""]))
        importlib.invalidate_caches()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    with site_in(tmp_path, monkeypatch) as made:
        yield made


@contextmanager
def site_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Site]:
    """A folder that packages are imported from; they are forgotten at the end."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    known = set(sys.modules)
    yield Site(folder)
    for name in set(sys.modules) - known:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


WEATHER = """
    from contextlib import asynccontextmanager
    from typing import Literal
    import msgspec
    from turnwise.plugins import Plugin

    class Settings(msgspec.Struct, frozen=True):
        units: Literal["metric", "imperial"] = "metric"
        cities: list[str] = []

    class Weather(Plugin[Settings]):
        name = "weather"

        @asynccontextmanager
        async def open(self, context):
            def weather(city: str) -> str:
                "The weather in a city."
                return f"{city}: sunny, in {context.settings.units} units"

            context.add_tool(weather)
            yield
"""
"""A plugin as users write it."""

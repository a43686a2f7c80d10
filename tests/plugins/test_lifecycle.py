"""Plugins start in order and stop in reverse, each bounded; who fails degrades or aborts, and leaves nothing behind (H5)."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from tests.plugins.conftest import Diary, fail, hang

from turnwise import Agent, Runtime
from turnwise.errors import ConfigError, HookError
from turnwise.plugins import NoSettings, Plugin, PluginContext, Plugins, Use


def tool_of(context: PluginContext[Any]) -> None:
    def look() -> str:
        "Look."
        return "nothing"

    look.__name__ = f"look_{context.name}"
    context.add_tool(look)


async def add_tool(context: PluginContext[Any]) -> None:
    tool_of(context)


def counts(runtime: Runtime) -> dict[str, int]:
    """All that plugins can leave in a runtime."""
    plugins = runtime.plugins
    assert plugins is not None
    return {
        "tasks": len(runtime._tasks) + len(runtime.abandoned_bodies),
        "timers": len(runtime.timers),
        "tools": len(plugins.offered.tools),
        "observers": len(runtime.observers),
        "told": len(runtime.health.changed),
    }


EMPTY = dict.fromkeys(("tasks", "timers", "tools", "observers", "told"), 0)


def states(runtime: Runtime) -> dict[str, str]:
    assert runtime.plugins is not None
    return {one.name: one.state for one in runtime.plugins.status()}


# --- order ------------------------------------------------------------------------------------------------------------


async def test_started_in_order_stopped_in_reverse(diary: Diary) -> None:
    """H5"""
    plugins = [diary.plugin("c", "b"), diary.plugin("b", "a"), Use(diary.plugin("z"), priority=1), diary.plugin("a")]
    async with Runtime(plugins=Plugins(plugins)) as runtime:
        assert diary.lines == ["+z", "+a", "+b", "+c"]
        assert list(runtime.plugins or ()) == ["z", "a", "b", "c"]
        assert states(runtime) == dict.fromkeys("zabc", "running")
    assert diary.lines[4:] == ["-c", "-b", "-a", "-z"]
    assert states(runtime) == dict.fromkeys("zabc", "stopped")
    assert counts(runtime) == EMPTY
    assert not runtime.health.parts


async def test_a_configuration_serves_many_runtimes_each_with_plugins_of_its_own(diary: Diary) -> None:
    plugins = Plugins([diary.plugin("a")])
    async with Runtime(plugins=plugins) as one, Runtime(plugins=plugins) as other:
        assert one.plugins and other.plugins
        assert one.plugins["a"] is not other.plugins["a"]
    assert diary.lines == ["+a", "+a", "-a", "-a"]


async def test_open_is_entered_and_left_in_one_task(diary: Diary) -> None:
    """What has to be closed by the task that opened it can be used in a plugin: a timeout or a cancel scope around `yield`."""
    tasks: list[object] = []

    class Scoped(Plugin[NoSettings]):
        name = "scoped"

        @asynccontextmanager
        async def open(self, context: PluginContext[NoSettings]) -> AsyncGenerator[None, None]:
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                tasks.append(asyncio.current_task())
                beside = group.create_task(asyncio.Event().wait())
                yield
                tasks.append(asyncio.current_task())
                beside.cancel()

    async with Runtime(plugins=Plugins([Scoped])):
        pass
    assert len(tasks) == 2 and tasks[0] is tasks[1] is not asyncio.current_task()


# --- starting goes wrong ----------------------------------------------------------------------------------------------


async def test_a_required_one_that_fails_leaves_nothing_running(diary: Diary) -> None:
    """H5: what had started is stopped again, in reverse; what had not is not started."""
    bad = diary.plugin("bad", "a", start=fail)
    plugins = Plugins(
        [diary.plugin("a", start=add_tool), diary.plugin("b", "a", start=add_tool), Use(bad), diary.plugin("z", "bad")]
    )
    runtime = Runtime(plugins=plugins)
    with pytest.raises(HookError) as raised:
        async with runtime:
            pytest.fail("it must not open")
    assert raised.value.code == "plugin_start_failed"
    assert raised.value.message == "The plugin bad did not start: ValueError: no luck."
    assert isinstance(raised.value.__cause__, ValueError)
    assert diary.lines == ["+a", "+b", "-b", "-a"]
    assert states(runtime) == {"a": "stopped", "b": "stopped", "bad": "failed", "z": "waiting"}
    assert runtime.closed
    assert counts(runtime) == EMPTY


async def test_an_optional_one_that_fails_degrades_and_is_seen(diary: Diary) -> None:
    """H5: and whoever requires it does not start either; the others do."""
    plugins = Plugins(
        [
            Use(diary.plugin("bad", start=fail), required=False, priority=9),
            Use(diary.plugin("needs", "bad"), required=False),
            diary.plugin("well"),
        ]
    )
    async with Runtime(plugins=plugins) as runtime:
        assert states(runtime) == {"bad": "failed", "needs": "failed", "well": "running"}
        parts = {part.part: (part.state, part.code) for part in runtime.health.parts}
        assert parts == dict.fromkeys(("plugin.bad", "plugin.needs"), ("degraded", "plugin_start_failed"))
        assert "bad, which does not run" in runtime.health.parts[1].message
        assert diary.lines == ["+well"]
    assert diary.lines == ["+well", "-well"]
    assert counts(runtime) == EMPTY


async def test_a_required_one_that_needs_one_that_failed_aborts(diary: Diary) -> None:
    plugins = Plugins([Use(diary.plugin("bad", start=fail), required=False), diary.plugin("needs", "bad")])
    with pytest.raises(HookError, match="needs did not start: it requires bad, which does not run"):
        async with Runtime(plugins=plugins):
            pytest.fail("it must not open")


@pytest.mark.parametrize("required", [True, False])
async def test_a_start_that_hangs_is_cut_off(diary: Diary, required: bool) -> None:
    """H5: bounded in time."""
    cut = asyncio.Event()

    async def hang_and_see(context: PluginContext[Any]) -> None:
        tool_of(context)
        try:
            await hang(context)
        finally:
            cut.set()

    runtime = Runtime(
        plugins=Plugins(
            [diary.plugin("a"), Use(diary.plugin("slow", start=hang_and_see), required=required, start_s=0.02)]
        )
    )
    async with asyncio.timeout(5):
        if required:
            with pytest.raises(HookError) as raised:
                async with runtime:
                    pytest.fail("it must not open")
            assert raised.value.code == "plugin_start_timeout"
        else:
            async with runtime:
                assert runtime.plugins is not None and not runtime.plugins.offered.tools
                part = runtime.health.of("plugin.slow")
                assert part is not None
                assert (part.code, part.message) == (
                    "plugin_start_timeout",
                    "The plugin slow did not start within 0.02 s.",
                )
    assert cut.is_set()
    assert diary.lines == ["+a", "-a"]
    assert counts(runtime) == EMPTY


async def test_one_that_is_deaf_to_cancelling_is_abandoned_and_cannot_add_anything_later(diary: Diary) -> None:
    """H5: bounded in time, whatever it does. It is counted until it ends, and closed when it comes to itself after all."""
    heard, wake = asyncio.Event(), asyncio.Event()
    late: list[str] = []

    async def deaf(context: PluginContext[Any]) -> None:
        while not wake.is_set():
            try:
                await wake.wait()
            except asyncio.CancelledError:
                heard.set()
        try:
            tool_of(context)
        except HookError as error:
            late.append(error.code)

    slow = Use(diary.plugin("slow", start=deaf), required=False, start_s=0.02, stop_s=0.02)
    async with Runtime(plugins=Plugins([slow])) as runtime:
        counted = len(runtime.abandoned_bodies)
        wake.set()  # whatever comes of the test, it ends
        assert heard.is_set()
        part = runtime.health.of("plugin.slow")
        assert part is not None and "may still be running" in part.message
        assert counted == 1
        await asyncio.wait(runtime.abandoned_bodies)
        assert runtime.plugins is not None and not runtime.plugins
    assert late == ["plugin_stopped"]
    assert diary.lines == ["+slow", "-slow"], "it was left as it had been entered"
    assert counts(runtime) == EMPTY


async def test_cancelling_the_start_stops_what_had_started(diary: Diary) -> None:
    """C3, H5: the cancellation comes out as one."""
    reached = asyncio.Event()

    async def reach_and_hang(context: PluginContext[Any]) -> None:
        reached.set()
        await hang(context)

    runtime = Runtime(plugins=Plugins([diary.plugin("a", start=add_tool), diary.plugin("b", start=reach_and_hang)]))

    async def use() -> None:
        async with runtime:
            pytest.fail("it must not open")

    using = asyncio.create_task(use())
    await reached.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert diary.lines == ["+a", "-a"]
    assert runtime.closed
    assert counts(runtime) == EMPTY


async def test_a_second_cancellation_stops_the_waiting_and_not_the_stopping(diary: Diary) -> None:
    """C3"""
    stopping, go_on, reached = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def wait_to_stop(_: Any) -> None:
        stopping.set()
        await go_on.wait()

    async def reach_and_hang(context: PluginContext[Any]) -> None:
        reached.set()
        await hang(context)

    runtime = Runtime(plugins=Plugins([diary.plugin("a", stop=wait_to_stop), diary.plugin("b", start=reach_and_hang)]))
    using = asyncio.create_task(runtime.__aenter__())
    await reached.wait()
    using.cancel()
    await stopping.wait()
    using.cancel()
    with pytest.raises(asyncio.CancelledError):
        await using
    assert diary.lines == ["+a"]
    go_on.set()
    while runtime._tasks:  # noqa: ASYNC110  # what is left of it
        await asyncio.sleep(0)
    assert diary.lines == ["+a", "-a"]


async def test_a_runtime_that_is_not_entered_is_refused_rather_than_run_without_its_plugins(diary: Diary) -> None:
    runtime = Runtime(plugins=Plugins([diary.plugin("a")]))
    agent = Agent("anthropic:x", api_key="k", base_url="http://127.0.0.1:1", runtime=runtime)
    with pytest.raises(ConfigError) as raised:
        await agent.run("Hello")
    assert raised.value.code == "plugins_not_started"
    assert diary.lines == []


# --- stopping goes wrong ----------------------------------------------------------------------------------------------


async def test_a_stop_that_fails_or_hangs_stops_nothing_else(diary: Diary, caplog: pytest.LogCaptureFixture) -> None:
    """H5: bounded, told, and the others are stopped as if nothing had happened."""
    plugins = Plugins(
        [
            diary.plugin("first"),
            Use(diary.plugin("hangs", "first", stop=hang), stop_s=0.02),
            diary.plugin("fails", "hangs", stop=fail),
            diary.plugin("last", "fails"),
        ]
    )
    with caplog.at_level(logging.ERROR, "turnwise.plugins"):
        async with Runtime(plugins=plugins) as runtime:
            pass
    assert diary.lines == ["+first", "+hangs", "+fails", "+last", "-last", "-first"]
    parts = {part.part: part.code for part in runtime.health.parts}
    assert parts == {"plugin.fails": "plugin_stop_failed", "plugin.hangs": "plugin_stop_timeout"}
    assert [record.name for record in caplog.records] == ["turnwise.plugins.fails", "turnwise.plugins.hangs"]
    assert counts(runtime) == EMPTY


async def test_what_was_added_is_gone_before_the_rest_of_open_runs(diary: Diary) -> None:
    seen: list[tuple[int, int]] = []

    async def beside() -> None:
        await asyncio.Event().wait()

    async def start(context: PluginContext[Any]) -> None:
        tool_of(context)
        context.start(beside())

    async def stop(context: PluginContext[Any]) -> None:
        assert context.runtime.plugins is not None
        seen.append((len(context.runtime.plugins.offered.tools), len(context.tasks)))

    async with Runtime(plugins=Plugins([diary.plugin("a", start=start, stop=stop)])) as runtime:
        assert runtime.plugins is not None
        assert dict(runtime.plugins.status()[0].adds) == {"tool": 1}
    assert seen == [(0, 0)]


# --- what a plugin does while it runs ---------------------------------------------------------------------------------


async def test_a_task_beside_that_fails_degrades_the_plugin(diary: Diary, caplog: pytest.LogCaptureFixture) -> None:
    async def start(context: PluginContext[Any]) -> None:
        context.start(fail(None))

    with caplog.at_level(logging.ERROR, "turnwise.plugins.a"):
        async with Runtime(plugins=Plugins([diary.plugin("a", start=start)])) as runtime:
            said = asyncio.Event()
            runtime.health.changed.append(lambda _: said.set())
            if runtime.health.of("plugin.a") is None:
                await said.wait()
            part = runtime.health.of("plugin.a")
            assert part is not None and (part.state, part.code) == ("degraded", "plugin_task_failed")
            assert states(runtime) == {"a": "running"}
    assert "no luck" in caplog.text


async def test_a_plugin_says_how_it_stands(diary: Diary) -> None:
    contexts: list[PluginContext[Any]] = []

    async def start(context: PluginContext[Any]) -> None:
        contexts.append(context)

    async with Runtime(plugins=Plugins([diary.plugin("a", start=start)])) as runtime:
        contexts[0].degrade("The service does not answer.")
        part = runtime.health.of("plugin.a")
        assert part is not None and (part.state, part.message) == ("degraded", "The service does not answer.")
        contexts[0].restore()
        part = runtime.health.of("plugin.a")
        assert part is not None and part.state == "ok"
    with pytest.raises(HookError) as raised:
        contexts[0].degrade("too late")
    assert raised.value.code == "plugin_stopped"


async def test_a_plugin_uses_another_that_it_requires(diary: Diary) -> None:
    got: list[Plugin[Any]] = []

    async def start(context: PluginContext[Any]) -> None:
        got.append(context.plugin("base"))
        with pytest.raises(HookError) as raised:
            context.plugin("other")
        assert raised.value.code == "plugin_not_running"

    plugins = Plugins([diary.plugin("user", "base", start=start), diary.plugin("base"), diary.plugin("other")])
    async with Runtime(plugins=plugins) as runtime:
        assert runtime.plugins is not None and got == [runtime.plugins["base"]]
        with pytest.raises(KeyError):
            runtime.plugins["nobody"]


# --- mistakes that everyone makes once --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "No Name"}, "is no name"),
        ({"name": "a"}, "it has no open()"),
        ({"name": "a", "open": hang}, "open() is no context manager"),
        ({"name": "a", "requires": "b"}, "is one string"),
    ],
)
def test_a_class_that_is_no_plugin_is_refused_where_it_is_made(body: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        type("Wrong", (Plugin,), body)
    assert raised.value.code == "invalid_plugin"
    assert said in raised.value.message


def test_settings_are_a_struct() -> None:
    with pytest.raises(ConfigError) as raised:
        types.new_class("Wrong", (Plugin[int],))
    assert raised.value.code == "invalid_plugin"


# --- what is seen from outside ----------------------------------------------------------------------------------------


class Keys(msgspec.Struct, frozen=True):
    api_key: str = ""
    servers: dict[str, dict[str, str]] = {}
    units: str = ""


async def test_settings_that_are_credentials_are_covered(caplog: pytest.LogCaptureFixture) -> None:
    """P6: in the error, the status, and the log of the plugin that quotes them."""

    class Quotes(Plugin[Keys]):
        name = "quotes"

        @asynccontextmanager
        async def open(self, context: PluginContext[Keys]) -> AsyncGenerator[None]:
            given = context.settings
            raise ConnectionError(f"refused {given.api_key} {given.servers['a']['db_password']} {given.units}")
            yield

    settings = {"api_key": "Qu0te-me-1", "servers": {"a": {"db_password": "Qu0te-me-2"}}, "units": "Metric-Units-3"}
    async with Runtime(plugins=Plugins([Use(Quotes, settings=settings, required=False)])) as runtime:
        (one,) = runtime.status().plugins
        assert one.state == "failed" and one.error is not None
        part = runtime.health.of("plugin.quotes")
        assert part is not None
        for said in (one.error.message, part.message, caplog.text):
            assert "Qu0te-me" not in said
        assert "refused *** *** Metric-Units-3" in one.error.message


async def test_the_status_of_a_runtime_lists_its_plugins(diary: Diary) -> None:
    async with Runtime(plugins=Plugins([diary.plugin("a"), Use(diary.plugin("b"), enabled=False)])) as runtime:
        assert {one.name: one.state for one in runtime.status().plugins} == {"a": "running", "b": "disabled"}
    async with Runtime() as runtime:
        assert runtime.status().plugins == ()

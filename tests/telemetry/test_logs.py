"""Log records say where they come from, and the library is silent unless asked."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from tests.telemetry.conftest import Collector
from tests.telemetry.test_spans import agent_of

from turnwise import Allow, Retry, Runtime, ToolContext, tool
from turnwise.core.errors import TurnwiseError
from turnwise.telemetry import LogContext, logs
from turnwise.testing import ScriptedProvider, call, fail, reply


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, message: str) -> Any:
        return next(r for r in self.records if message in r.getMessage())


@pytest.fixture
def kept() -> Iterator[Kept]:
    handler, root = Kept(), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    with logs(handler):
        yield handler
    root.removeHandler(handler)
    root.setLevel(level)


async def test_records_of_tools_policies_and_engine_say_where_they_come_from(kept: Kept, collector: Collector) -> None:
    mine = logging.getLogger("an.application")

    @tool
    async def asynchronous() -> str:
        """Log."""
        mine.info("in a tool")
        await asyncio.create_task(_later())
        return "a"

    async def _later() -> None:
        mine.info("in a task of a tool")

    @tool
    def blocking(context: ToolContext[None]) -> str:
        """Log in a thread."""
        mine.info("in a thread of %s", context.call_id)
        return "b"

    def policy(_: Any) -> Allow:
        mine.info("in a policy")
        return Allow()

    script = [reply(call("asynchronous"), call("blocking")), reply("Done.")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        collector.watch(runtime)
        session = agent_of(provider, runtime, asynchronous, blocking, approvals=policy).session()
        mine.info("outside")
        await session.run("Hi")
    for message, call_id in (
        ("in a tool", "t1.s1.c0"),
        ("in a task of a tool", "t1.s1.c0"),
        ("in a thread of", "t1.s1.c1"),
        ("in a policy", ""),
    ):
        record = kept.of(message)
        assert (record.session, record.turn, record.step, record.call) == (session.id, 1, 1, call_id), message
        assert record.trace_id == f"{collector.one('invoke_agent').context.trace_id:032x}"  # type: ignore[union-attr]
    assert kept.of("in a tool").span_id != kept.of("in a policy").span_id
    outside = kept.of("outside")
    assert (outside.session, outside.turn, outside.call, outside.trace_id) == ("", 0, "", "")
    ended = kept.of("turn 1 ended: completed")
    assert (ended.session, ended.turn, ended.levelname, ended.name) == (session.id, 1, "INFO", "turnwise.turn")


async def test_what_the_library_logs(kept: Kept) -> None:
    """Retry, fallback, a tool that raised, a part that is degraded, a turn that failed."""

    @tool
    async def broken() -> str:
        """Raise."""
        raise LookupError("no such shelf")

    script = [fail(529, "busy"), reply(call("broken")), reply("Done."), fail(400, "bad")]
    async with ScriptedProvider(script) as provider, Runtime() as runtime:
        session = agent_of(provider, runtime, broken, retry=Retry(base_delay_s=0.0)).session()
        await session.run("Hi")
        runtime.health.degrade("prices", "prices_unread", "They cannot be read.")
        runtime.health.restore("prices")
        with pytest.raises(TurnwiseError):
            await session.run("Again")
    failed, again = kept.of("model call failed"), kept.of("trying again with openai:a-model, attempt 2")
    assert (failed.turn, failed.step, again.turn, again.step) == (1, 1, 1, 1)
    raised = kept.of("tool broken raised LookupError")
    assert raised.call == "t1.s1.c0" and "no such shelf" in raised.getMessage() and raised.levelname == "WARNING"
    assert kept.of("prices is degraded").levelname == "WARNING"
    assert kept.of("prices works again").levelname == "INFO"
    assert kept.of("turn 2 ended: error").levelname == "WARNING"


async def test_a_tool_that_is_given_up_is_logged(kept: Kept) -> None:
    gate = asyncio.Event()

    @tool(timeout_s=0.01)
    async def deaf() -> str:
        """Ignore being cancelled."""
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        return "at last"

    async with ScriptedProvider([reply(call("deaf")), reply("Done.")]) as provider, Runtime() as runtime:
        await agent_of(provider, runtime, deaf).session().run("Hi")
        gate.set()
        await asyncio.gather(*runtime.abandoned_bodies)
    assert kept.of("tool deaf did not stop").call == "t1.s1.c0"


async def test_a_record_keeps_what_it_brings(kept: Kept) -> None:
    logging.getLogger("x").info("mine", extra={"session": "s1"})
    record = kept.of("mine")
    assert (record.session, record.turn, record.trace_id) == ("s1", 0, "")


def test_logs_wants_a_handler_and_can_be_taken_off() -> None:
    handler = Kept()
    set_up = logs(handler)
    assert [type(f) for f in handler.filters] == [LogContext]
    set_up.end()
    set_up.end()
    assert handler.filters == []
    root = logging.getLogger()
    handlers, root.handlers = root.handlers, []
    try:
        with pytest.raises(TurnwiseError) as caught:
            logs()
    finally:
        root.handlers = handlers
    assert caught.value.code == "no_log_handler"


def test_the_library_is_silent_by_default() -> None:
    """A turn that fails writes nothing to stderr by itself."""
    script = """
import asyncio
from turnwise import Agent, Runtime
async def main():
    async with Runtime() as runtime:
        runtime.health.degrade("prices", "x", "y")
        agent = Agent("openai:m", base_url="http://127.0.0.1:1/v1", api_key="k", runtime=runtime)
        try:
            await agent.run("hi", limits=None)
        except Exception as error:
            print(type(error).__name__)
asyncio.run(main())
"""
    script = script.replace("runtime=runtime)", "runtime=runtime, retry=Retry(attempts=1))").replace(
        "import Agent", "import Retry, Agent"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("ProviderError\n", "")


def test_dictconfig_can_use_it() -> None:
    from logging.config import dictConfig

    out = io.StringIO()
    dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"where": {"()": "turnwise.telemetry.LogContext"}},
            "formatters": {"f": {"format": "[%(session)s t%(turn)s] %(message)s"}},
            "handlers": {
                "h": {"class": "logging.StreamHandler", "stream": out, "filters": ["where"], "formatter": "f"}
            },
            "loggers": {"apart": {"handlers": ["h"], "level": "INFO", "propagate": False}},
        }
    )
    logging.getLogger("apart").info("hello")
    assert out.getvalue() == "[ t0] hello\n"

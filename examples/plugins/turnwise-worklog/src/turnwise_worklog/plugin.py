"""The plugin: it hears of turns and tool calls on the bus, writes a line for each, and has a tool that reads the lines of a day."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec

from turnwise import ToolError, tool
from turnwise.bus import BusEvent
from turnwise.plugins import Plugin, PluginContext

from .log import Log


class Settings(msgspec.Struct, frozen=True):
    folder: str
    private: list[str] = []
    most_lines: Annotated[int, msgspec.Meta(ge=1)] = 100


class Worklog(Plugin[Settings]):
    name = "worklog"

    @asynccontextmanager
    async def open(self, context: PluginContext[Settings]) -> AsyncGenerator[None, None]:
        settings = context.settings
        log = Log(settings.folder, context.runtime.clock)
        await asyncio.to_thread(log.prepare)  # raises if the folder cannot be written, and so the plugin does not start

        @tool(read_only=True)
        async def look_up_work(day: str = "today") -> str:
            """What was done on a day: the turns and tool calls of all sessions.

            Args:
                day: today, yesterday, or a date such as 2026-11-26.
            """
            date = log.date_of(day)
            if date is None:
                raise ToolError(f"{day!r} is no day: say today, yesterday, or a date such as 2026-11-26.")
            lines = await asyncio.to_thread(log.read, date, settings.most_lines)
            return "\n".join(lines) or f"Nothing was done on {date}."

        async def note(event: BusEvent) -> None:
            line = line_of(event, settings.private)
            if line is None:
                return
            try:
                await asyncio.to_thread(log.write, line)
            except OSError as error:
                context.degrade(f"The log cannot be written: {error.strerror}.")
            else:
                context.restore()

        context.add_tool(look_up_work)
        context.subscribe(["tool.finished", "turn.finished"], note)
        yield


def line_of(event: BusEvent, private: list[str]) -> dict[str, Any] | None:
    """What is written of an event; None for nothing."""
    data = event.data
    if event.topic == "turn.finished":
        result = data.result
        return {"session": event.session, "turn": event.turn, "reason": result.reason, "said": result.text}
    if data.name in private:
        return None
    outcome = "failed" if data.result.is_error else "ok"
    return {"session": event.session, "turn": event.turn, "tool": data.name, "outcome": outcome}

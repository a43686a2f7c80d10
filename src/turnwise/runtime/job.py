"""A tool call that passed its checks, while it waits and runs. What is done with it is in calls.py."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from ..core.content import ToolCall
from ..tools import Tool, ToolContext
from .timers import Timer

AnyTool = Tool[..., Any]


class Job:
    """One call that passed its checks. `why` says who stopped it; `ticket` is for a body that runs in a thread (`claim`)."""

    __slots__ = ("abandoned", "args", "call", "context", "resource", "task", "ticket", "timer", "tool", "why")

    def __init__(self, call: ToolCall, tool: AnyTool, args: Any, resource: str | None) -> None:
        self.call = call
        self.tool = tool
        self.args = args
        self.resource = resource
        self.context: ToolContext[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None
        self.why: Literal["timeout", "interrupt"] | None = None
        self.abandoned = False
        self.ticket: list[None] = []

    def claim(self) -> bool:
        """Take the ticket: True for the first to ask, be it the thread that is to run the body, or whoever stops the call
        and so learns that the body never began."""
        try:
            self.ticket.pop()  # one operation, whatever thread it is in
        except IndexError:
            return False
        return True


def printed(job: Job) -> str:
    """What the call's processes had printed."""
    return job.context.printed if job.context is not None else ""

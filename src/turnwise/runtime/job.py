"""A tool call that passed its checks, while it waits and runs. What is done with it is in calls.py."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from ..core.content import ToolCall
from ..tools import Tool, ToolContext
from .timers import Timer

AnyTool = Tool[..., Any]


class Job:
    """One call that passed its checks. `why` says who stopped it."""

    __slots__ = ("abandoned", "args", "call", "context", "resource", "task", "timer", "tool", "why")

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


def printed(job: Job) -> str:
    """What the call's processes had printed."""
    return job.context.printed if job.context is not None else ""

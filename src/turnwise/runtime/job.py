"""A tool call that passed its checks, while it waits and runs. What is done with it is in calls.py and body.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal

from ..core.content import ToolCall
from ..core.outcomes import ToolResult
from ..core.state import SessionState
from ..core.usage import Usage
from ..tools import Tool, ToolContext
from .timers import Timer

AnyTool = Tool[..., Any]


class Job:
    """One call that passed its checks. It may run once entry `begun_at` of the journal, its beginning, is durable. `why` says who stopped it, `usage` what models took that were asked on its behalf.
    `result` is what the body has come to while it is still being made fit for the model; `ticket` is for a body that runs in a
    thread (`claim`). `hooked`: hooks have had their say in whether it runs; `instead` is name and arguments of the call that it runs as, if
    they have made another one of it. `tries` counts the runs that hooks asked for; `untimed` while it is hooks that are waited for, which have a
    time of their own."""

    __slots__ = (
        "abandoned",
        "args",
        "begun_at",
        "call",
        "context",
        "hooked",
        "id",
        "instead",
        "resources",
        "result",
        "task",
        "ticket",
        "timer",
        "tool",
        "tries",
        "untimed",
        "usage",
        "why",
    )

    def __init__(
        self, call: ToolCall, tool: AnyTool, args: Any, resources: tuple[str, ...], hooked: bool = False
    ) -> None:
        self.id = call.id
        self.call = call
        self.tool = tool
        self.args = args
        self.resources = resources
        self.context: ToolContext[Any] | None = None
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None
        self.why: Literal["timeout", "interrupt"] | None = None
        self.abandoned = False
        self.usage: Usage | None = None
        self.result: ToolResult | None = None
        self.ticket: list[None] = []
        self.begun_at: int | None = None
        self.hooked = hooked
        self.instead: tuple[str, str | None] = ("", None)
        self.tries = 1
        self.untimed = False

    def claim(self) -> bool:
        """Take the ticket: True for the first to ask, be it the thread that is to run the body, or whoever stops the call
        and so learns that the body never began."""
        try:
            self.ticket.pop()  # one operation, whatever thread it is in
        except IndexError:
            return False
        return True


def note_begun(admitted: Sequence[Job], state: SessionState) -> None:
    """The beginnings of these calls, if they were not before, were folded by now: in a turn that is being stopped they came to nothing,
    and the calls never run (rules C1, D1)."""
    if state.turn is None or state.turn.phase == "ending":
        return
    for job in admitted:
        if job.begun_at is None:
            job.begun_at = state.seq


def begun_by(told: int, admitted: list[Job]) -> tuple[list[Job], list[Job]]:
    """Those whose beginning is durable when entry `told` is, and those that wait for a later append: a call may be admitted while one
    is under way (rule D1)."""
    durable = [job for job in admitted if job.begun_at is not None and job.begun_at <= told]
    if len(durable) == len(admitted):
        return durable, []
    return durable, [job for job in admitted if job.begun_at is None or job.begun_at > told]


def printed(job: Job) -> str:
    """What the call's processes had printed."""
    return job.context.printed if job.context is not None else ""

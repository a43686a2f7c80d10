"""What tools do in a simulated world, and the ledger of what they did, which no crash can touch.

A call says in its arguments how it behaves; the ledger is the context object of all sessions. `Inline` is the seam for blocking functions: they run on the loop, after some virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

from ...core.errors import ToolError
from ...core.protocols import Child
from ...tools import Tool, ToolContext, ask_user, tool
from ...tools.approval import Allow, Ask, ProposedCall, Verdict
from .loop import SimulatedLoop

HUGE_CHARS = 5_000
MAX_CHARS = 2_000
TIMEOUT_S = 15.0


class Ledger:
    """Which bodies have begun, by session and call. `begins` is told before each beginning."""

    def __init__(self, begins: Callable[[str, str, str], None], struck: Callable[[str, str], None]) -> None:
        self.begun: dict[tuple[str, str], int] = {}
        """How often each body has begun."""
        self._begins = begins
        self._struck = struck

    def begin(self, context: ToolContext[Any], name: str, does: str) -> None:
        key = context.session, context.call_id
        self._begins(context.session, context.call_id, name)
        self.begun[key] = self.begun.get(key, 0) + 1
        if does != "ok":
            self._struck(context.session, "tool_" + _FAULT.get(does, does))


_FAULT = {"fail": "fails", "hang": "hangs"}


class _Odd:
    """A result that can be told to nobody."""


async def _deaf(for_s: float) -> None:
    """Does not listen to anybody."""
    loop = asyncio.get_running_loop()
    until = loop.time() + for_s
    while (left := until - loop.time()) > 0:
        try:
            await asyncio.sleep(left)
        except asyncio.CancelledError:
            if isinstance(loop, SimulatedLoop) and loop.dropped:
                raise


def _result(does: str) -> Any:
    if does == "huge":
        return "ß" * HUGE_CHARS
    if does == "malformed":
        return _Odd()
    return "done"


async def _behave(context: ToolContext[Any], name: str, does: str, for_s: float) -> Any:
    context.context.begin(context, name, does)
    if for_s and does != "deaf":
        await asyncio.sleep(for_s)
    match does:
        case "fail":
            raise ToolError("it does not work today")
        case "hang":
            await asyncio.get_running_loop().create_future()
        case "deaf":
            await _deaf(for_s)
        case _:
            pass
    return _result(does)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS)
async def work(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Changes something."""
    if n % 7 == 0:
        context.progress("under way")
    return await _behave(context, "work", does, for_s)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS, idempotent=True, retries=1)
async def again(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Changes something, and may do so twice."""
    return await _behave(context, "again", does, for_s)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS, read_only=True)
async def look(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Looks at something."""
    return await _behave(context, "look", does, for_s)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS, resource="the_disk")
def block(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Blocks."""
    context.context.begin(context, "block", does)
    if does == "fail":
        raise OSError("it does not work today")
    return _result(does)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS)
async def danger(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Wants leave."""
    return await _behave(context, "danger", does, for_s)


@tool(timeout_s=TIMEOUT_S, max_result_chars=MAX_CHARS)
async def delegate(context: ToolContext[Ledger], does: str = "ok", for_s: float = 0.0, n: int = 0) -> Any:
    """Has somebody else do it: a run within the turn."""
    context.context.begin(context, "delegate", does)
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimulatedLoop)
    return (await loop.home.delegate.run("Do it.")).text


outside: Tool[..., Any] = Tool.external(
    "outside", "Is run elsewhere.", {"type": "object", "properties": {}, "additionalProperties": True}
)
TOOLS: tuple[Tool[..., Any], ...] = (work, again, look, block, danger, delegate, outside, ask_user)


def approve(call: ProposedCall) -> Verdict:
    """The policy: only dangerous calls want leave, some of them within a time."""
    if call.name != "danger":
        return Allow()
    return Ask("dangerous", expires_in_s=600.0 if '"n":1' in call.raw_arguments else None)


# --- seams ------------------------------------------------------------------------------------------------------------


class Inline:
    """`Blocking` without threads: functions run on the loop, each after a while."""

    def __init__(self, loop: SimulatedLoop, draw: Random) -> None:
        self._loop = loop
        self._draw = draw

    @property
    def abandoned(self) -> int:
        return 0

    def run(self, function: Callable[[], Any]) -> Awaitable[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        timer = self._loop.call_later(self._draw.choice((0.0, 0.0, 0.01, 0.5)), self._do, function, future)
        future.add_done_callback(lambda _: timer.cancel())
        return future

    def _do(self, function: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        if future.done():
            return
        try:
            value = function()
        except Exception as error:
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(value)

    async def close(self) -> None:
        """There is nothing to let go of."""


class NoChildren:
    """`Spawn` where nothing can be started: children are for the tests that kill."""

    async def start(self, argv: Any, **_: Any) -> Child:
        raise OSError("there are no processes in a simulated world")

    async def close(self) -> None:
        """None was started."""

"""Turns that were running when their process died are found and continued here, a bounded number at a time, in the background.

What continuing means (which calls run again, which outcomes are unknown) is in `opening` and `core.recovery`. Here is who: a session
whose turn runs under no living owner. One whose agent is not known here is listed and left alone; one that waits for someone goes on waiting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ..core.errors import ErrorInfo, SessionBusy, TurnwiseError
from ..core.result import TurnResult
from ..core.store import SessionInfo

if TYPE_CHECKING:
    from .runtime import Runtime


class Recovery:
    """What was found, and what becomes of it: the tables grow while the turns end. `await recovery.wait()` for the last of them.

    `continuing` are the ids of sessions whose turns go on here, `results` how those ended that have, `failed` why others could not be
    continued, `parked` the sessions that wait for someone, `unknown` those whose agents are not among ours: they are left alone.
    `taken` are ids of sessions that another process was quicker to continue, `left` of those that a shutdown left as they were.
    """

    def __init__(self, parked: Sequence[SessionInfo], unknown: Sequence[SessionInfo]) -> None:
        self.parked = tuple(parked)
        self.unknown = tuple(unknown)
        self.continuing: set[str] = set()
        self.results: dict[str, TurnResult] = {}
        self.failed: dict[str, ErrorInfo] = {}
        self.taken: set[str] = set()
        self.left: set[str] = set()
        self._workers: list[asyncio.Task[None]] = []

    def __repr__(self) -> str:
        return (
            f"Recovery(continuing={len(self.continuing)}, ended={len(self.results)}, failed={len(self.failed)}, "
            f"parked={len(self.parked)}, unknown={len(self.unknown)}, taken={len(self.taken)})"
        )

    async def wait(self) -> Recovery:
        """When all that is continued has ended, parked, failed or been left. Cancelling this stops the waiting only."""
        if self._workers:
            await asyncio.wait(self._workers)
        return self

    def start(
        self,
        runtime: Runtime,
        found: Sequence[SessionInfo],
        at_once: int,
        go_on: Callable[[SessionInfo], Awaitable[TurnResult | None]],
    ) -> None:
        """Continue these in tasks of the runtime, at most so many at once."""
        due = deque(found)
        self.continuing.update([info.id for info in found])
        self._workers = [runtime.start(self._work(due, go_on)) for _ in range(min(at_once, len(found)))]

    async def _work(
        self, due: deque[SessionInfo], go_on: Callable[[SessionInfo], Awaitable[TurnResult | None]]
    ) -> None:
        while due:
            info = due.popleft()
            try:
                result = await go_on(info)
            except SessionBusy:
                self.taken.add(info.id)
            except TurnwiseError as error:
                self._fail(info, error.info)
            except Exception as error:
                self._fail(info, unexpected(error, info.id))
            else:
                if result is None:
                    self.taken.add(info.id)
                else:
                    self.results[info.id] = result
            finally:
                self.continuing.discard(info.id)

    def _fail(self, info: SessionInfo, error: ErrorInfo) -> None:
        if error.code in ("draining", "shut_down"):
            self.left.add(info.id)
        else:
            self.failed[info.id] = error


def unexpected(error: Exception, session: str = "") -> ErrorInfo:
    """What a store or a caller's function raised that is no error of ours."""
    return ErrorInfo(
        "session",
        "unexpected",
        f"{type(error).__name__}: {error}",
        "Whatever it came from (the store, or a function of yours) did not say more.",
        session=session,
    )

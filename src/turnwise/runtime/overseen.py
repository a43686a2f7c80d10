"""What watches over a running turn beside its driver: its deadlines, and the progress reports of its tools."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from ..core.events import Event, Notice, ToolProgress
from ..core.inputs import Interrupt
from ..tools import ToolHost
from . import process
from .artifacts import SessionArtifacts
from .plan import TurnPlan
from .spending import Spending
from .timers import Timer
from .watched import WatchedStream

if TYPE_CHECKING:
    from ..store.scopes import State
    from .actor import Actor

MAX_UNREAD_PROGRESS = 1000
"""Progress reports that wait for a consumer; when there are more, further ones are dropped until it reads."""


class Overseen(WatchedStream):
    """The part of a turn that looks at the time, and that its tools talk to."""

    __slots__ = ("_deadline", "_host", "_progress", "_watch", "plan", "probed", "spending")
    plan: TurnPlan
    spending: Spending

    def __init__(self, session: Actor[Any]) -> None:
        super().__init__(session)
        self._host: ToolHost | None = None
        self._watch: Timer | None = None
        self._deadline: float | None = None
        self._progress = 0
        self.probed: Any = None

    @property
    def host(self) -> ToolHost:
        """What tools of this turn may use of the runtime."""
        if self._host is None:
            runtime = self._session.runtime
            self._host = ToolHost(
                runtime.clock,
                runtime.spawn,
                self._report,
                SessionArtifacts(self._session),
                self.spending.remaining,
                self._state_for,
            )
        return self._host

    def _state_for(self, call_id: str) -> State:
        """The scoped state that a tool's call can reach."""
        from .scoped_state import state_of

        return state_of(self._session, call_id)

    def tell(self, events: list[Event]) -> None:
        """Hand events to the consumer, which need not be waiting."""
        self._out += events
        self.wake()

    def _report(self, call_id: str, message: str, data: Any) -> None:
        """A tool's progress, from any thread."""
        loop, progress = self._session.runtime.loop, ToolProgress(call_id, message, data)
        if process.in_loop(loop):
            self._tell_progress(progress)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
                loop.call_soon_threadsafe(self._tell_progress, progress)

    def _tell_progress(self, progress: ToolProgress) -> None:
        """Dropped while too many wait for a consumer that does not read (rule C4)."""
        if self._result is not None:
            return
        self._progress += 1
        if self._progress <= MAX_UNREAD_PROGRESS:
            self.tell([progress])
        elif self._progress == MAX_UNREAD_PROGRESS + 1:
            self.tell([Notice("progress_dropped", "Progress reports are dropped until the stream is read.")])
        if self._progress > MAX_UNREAD_PROGRESS:
            self._session.runtime.count_dropped("progress")

    def _disarm_watch(self) -> None:
        if self._watch is not None:
            self._session.runtime.timers.cancel(self._watch)
            self._watch = None

    def arm_watch(self) -> None:
        """One timer per turn looks at all its deadlines. It comes round often enough to see each phase run out exactly:
        a phase that begins between two looks is seen at the next one, which is no later than its own end."""
        if self._watch is not None:
            return
        plan, runtime = self.plan, self._session.runtime
        now = runtime.loop.time()
        due = self._deadline
        if due is None and plan.deadlines.turn_s is not None:
            due = self._deadline = now + plan.deadlines.turn_s
        if (ends := self.spending.wall_time_ends) is not None:
            due = ends if due is None else min(due, ends)
        if plan.watch_s is not None and (due is None or now + plan.watch_s < due):
            due = now + plan.watch_s
        attempt = self._attempt
        if attempt is not None and attempt.waiting_since is not None and attempt.patience_s is not None:
            due = min(due or now + attempt.patience_s, attempt.waiting_since + attempt.patience_s)
        if due is not None:
            self._watch = runtime.timers.at(due, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._result is not None:
            return
        now = self._session.runtime.loop.time()
        if self._deadline is not None and now >= self._deadline:
            self._session.post(Interrupt("timeout"))
            return
        if (ends := self.spending.wall_time_ends) is not None and now >= ends:
            self._session.post(Interrupt("wall_time"))
            return
        attempt = self._attempt
        if attempt is not None and attempt.overdue(now):
            self._attempt = None
            self._session.post(attempt.give_up())
            self.wake()
        self.arm_watch()

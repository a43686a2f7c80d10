"""One turn being driven: the machine's effects on one side, the consumer's `async for` on the other.

With one watcher the consumer itself drives the reading: `__anext__` reads the socket, decodes, folds and hands the events
over, so a consumer that stops reading stops the socket (backpressure by construction). Everything else (opening the
connection, tools, the clean-up) runs in tasks of the runtime and goes on whether or not the consumer looks.

We never cancel a task that we did not create: a pending read is woken by `Response.abort`, a pending wait by our own future.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Self

from ..core.entries import InterruptCause
from ..core.events import Event
from ..core.inputs import CallModel, Halted, Interrupt
from ..core.result import TurnResult
from . import log, refusals
from .attachments import Prompt
from .attempt import Attempt
from .calls import Calls
from .overseen import Overseen
from .plan import INHERITED, Begin, TurnPlan, Wishes
from .said import AttemptPhase
from .spending import Spending
from .where import enter_turn

if TYPE_CHECKING:
    from .actor import Actor
    from .compact import Due, Job
    from .lost import Account

OnLeave = Literal["stop", "detach"]
"""What leaving a stream before its end, or dropping a channel, does to the turn: end it, or let it go on unwatched."""


class Turn(Overseen):
    """A running turn and the stream of its events: `async with session.stream(prompt) as turn: async for event in turn: …`.

    The last event is `TurnFinished`, whatever happened; afterwards `result` is the same account. Leaving the `async with`
    early interrupts the turn, closes its connection and waits until it is over, at most `Deadlines.grace_s`; a second
    cancellation stops that waiting, not the clean-up. A provider's error does not raise here: it is in the result. One task
    at a time may iterate. Cancelling a pending `__anext__` loses no event: iterate again, or leave.
    """

    __slots__ = (
        "_begun",
        "_job",
        "_on_leave",
        "_opening",
        "account",
        "answered",
        "stop_asked",
        "wishes",
    )
    spending: Spending
    account: Account | None

    def __init__(
        self, session: Actor[Any], opening: Prompt | Begin, wishes: Wishes, on_leave: OnLeave = "stop"
    ) -> None:
        super().__init__(session)
        self._opening = opening
        self.wishes = wishes
        self._on_leave = on_leave
        self._begun = False
        self.stop_asked: Interrupt | None = None
        self._job: Job | None = None
        self.account = None
        self.answered = None if wishes.output is None else self.answers_to(wishes.output)
        self.rewords = self.answered is not None
        self._calls = None

    # --- the consumer's side ----------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if self._begun:
            raise refusals.misuse(
                "turn_reused", "A turn is streamed once.", "Call session.stream() again for the next one."
            )
        self._begun = True
        self._context = contextvars.copy_context()
        if self.wishes.context is not None:
            self._context.run(INHERITED.set, self.wishes.context)
        if (arrival := self._session.arrival) is not None:
            await arrival.arrive(self._session)
        await self._session.begin(self, self._opening)
        return self

    async def __aexit__(self, kind: object = None, *_: object) -> None:
        if self._result is not None:
            if self.closing:
                await self.wait()
        elif self._on_leave == "stop":
            await self.close("left")
        else:
            from .watch import hub_of

            hub_of(self._session).detach(self)
        if self.wrapping is not None and self._result is not None:
            await self.wrapping.leave(quiet=kind is not None)

    def __aiter__(self) -> Self:
        if not self._begun:
            raise refusals.misuse(
                "turn_not_open", "The turn is not open.", "Write: async with session.stream(...) as turn:"
            )
        return self

    @property
    def attempt_phase(self) -> AttemptPhase:
        """What the model call does that is under way; "" if none is."""
        return "" if self._attempt is None else self._attempt.phase

    async def close(self, cause: InterruptCause = "closed") -> None:
        """Interrupt the turn if it runs, and wait until it is over or its grace is spent."""
        self._session.post(Interrupt(cause))
        if self._result is None or self.closing:
            await asyncio.wait((self.ended(),), timeout=self.plan.deadlines.grace_s + 1.0)

    async def pull(self, may_read: Callable[[], bool] | None = None) -> list[Event] | None:
        """The next events: those at hand, or from the socket, or from whatever the turn waits for. None at the end. The pump
        says by `may_read` whether the socket may be read now."""
        hub = self.hub
        if hub is not None and may_read is None:
            return await hub.next_of(self)
        try:
            while not self._out and (self._result is None or self.closing):
                attempt = self._attempt
                if attempt is None or (response := attempt.response) is None or not (may_read is None or may_read()):
                    await self._wait(self._session.runtime.loop)
                    continue
                if self.reading:
                    raise refusals.two_readers()
                self._in_read = True  # also when the attempt is dropped meanwhile
                try:
                    events, ended = await attempt.read(response, self._session)
                finally:
                    self._in_read = False
                if not attempt.stopped:
                    self._out += events
                    if ended is not None:
                        self._attempt = None
                        self._session.post(ended)
        finally:
            if self.hub is not hub and self.hub is not None:  # a watcher has joined meanwhile
                self.hub.pump(self)
        if self.hub is not hub and self.hub is not None:
            return await self.hub.next_of(self)
        if may_read is None or may_read():
            self._progress = 0
        return self.take() or None

    # --- the session's side -----------------------------------------------------------------------------------------

    def spend(self, plan: TurnPlan) -> None:
        """Open the turn's account, which the runs that its tools start will draw on. Raises `BudgetError` (`depth_limit`)."""
        self.spending = Spending(self._session, self, plan.limits)
        enter_turn(self, self._session, self._context)

    @property
    def calls(self) -> Calls:
        """The tool calls of the turn."""
        if self._calls is None:
            self._calls = Calls(self._session, self, self._context)
        return self._calls

    def call_model(self, asked: CallModel) -> None:
        """Begin a model call in a task of the runtime."""
        session = self._session
        runtime = session.runtime
        if self.plan.stop_when and self.spending.stops(asked):
            return
        if self.hold is not None and self.hold(asked):
            return
        if session.overrides is not self.wishes.overrides and not self.replan():
            return
        target = self.plan.target(asked.model)
        attempt = self._attempt = self.attempt_of(asked, target)
        if self.extended is None or not self.hook_step(attempt):
            self.announce(asked, target)
        attempt.opening = runtime.start(self._open(attempt), self._context.copy())
        self.wake()

    def compact(self, attempt: Attempt, due: Due) -> None:
        """Drop an attempt that was not sent, and make the conversation shorter; then the machine asks for the model call again."""
        from .compact import Job

        attempt.stopped = True
        self._attempt = None
        self._job = Job(self._session, due)
        self._job.start(self._context.copy())

    async def _open(self, attempt: Attempt) -> None:
        session = self._session
        failed = await attempt.open(session)
        if failed is not None and not attempt.stopped:
            self._attempt = None
            session.post(failed)
        self.wake()

    def halt(self) -> None:
        """Begin to stop everything, in a task of the runtime that nobody's cancellation reaches: the finisher. If the turn is
        not over by the end of its grace, it is given up."""
        runtime = self._session.runtime
        if self.hooked is not None:
            self.hooked.cut()
        self._disarm_watch()
        self._watch = runtime.timers.at(runtime.loop.time() + self.plan.deadlines.grace_s, self._give_up)
        runtime.start(self._finish_off())

    def _give_up(self) -> None:
        self._watch = None
        if self._result is None:
            self._session.lose(refusals.stuck(self.plan.deadlines.grace_s))

    async def _finish_off(self) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.stop("the turn was interrupted")
        self.wake()
        if self._calls is not None:
            await self._calls.stop()
        spent = await self._job.stop() if self._job is not None else None
        state = self._session.state.turn
        target = self.plan.target(state.model if state is not None else 0) if attempt is None else attempt.target
        handle = target.handle
        text = attempt.reducer.partial() if attempt is not None else None
        usage = attempt.usage_so_far() if attempt is not None else spent
        self._session.post(Halted(text, handle.model, handle.provider, usage))

    def finish(self, result: TurnResult) -> None:
        """The turn is over; what was told before stays for the consumer to read."""
        self._result = result
        log.turn_ended(self._session, result)
        self._disarm_watch()
        self.spending.close()
        if self.extended is None or not self.hook_end(result):
            self.end()

    def drop(self, why: str) -> asyncio.Task[None] | None:
        """Stop everything without a word to the machine; the task that does what takes time, if there is any."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.stop(why)
        if self._job is not None:
            self._job.cancel()
        return None if self._calls is None else self._session.runtime.start(self._calls.stop())

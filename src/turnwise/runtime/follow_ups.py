"""What the user says ahead: messages that wait for the running turn to end well, and then begin turns of their own.

The queue is part of the session's state, so it survives what the session survives; here is what begins the next one, in a task of
the runtime, and the handles by which callers learn what became of theirs. While nothing runs, there is no task.
"""

from __future__ import annotations

import asyncio
import contextvars
from functools import partial
from typing import TYPE_CHECKING, Any

from ..core.changes import FollowUpQueued
from ..core.content import Body, text_of
from ..core.errors import ErrorInfo, TurnwiseError, error_of
from ..core.inputs import UserInput
from ..core.inputs_rare import DropFollowUps
from ..core.inputs_rare import FollowUp as Queue
from ..core.result import TurnReason, TurnResult
from . import refusals
from .home import at_home
from .plan import Begin, TurnPlan, Wishes
from .turn import Turn

if TYPE_CHECKING:
    from .actor import Actor

WELL: frozenset[TurnReason] = frozenset(("completed", "stopped", "limit", "loop"))
"""Reasons after which the next follow-up begins by itself; after any other the queue waits for the user to have a look."""


class FollowUp:
    """A message that waits for its turn, and then that turn. It may be awaited from any task of any loop."""

    __slots__ = (
        "_context",
        "_error",
        "_result",
        "_session",
        "_waiters",
        "client_ref",
        "in_queue",
        "number",
        "text",
        "wishes",
    )

    def __init__(self, session: Actor[Any], text: str, wishes: Wishes, number: int = 0) -> None:
        self._session = session
        self._context = contextvars.copy_context()
        self._result: TurnResult | None = None
        self._error: TurnwiseError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.text = text
        self.wishes = wishes
        self.client_ref = wishes.client_ref
        self.in_queue = number > 0
        """Whether it is in the journal, and nobody has begun its turn here: whoever has will tell of it."""
        self.number = number
        """Which follow-up of the session it is, counted from 1."""

    def __repr__(self) -> str:
        return f"FollowUp({self.number}, {self.text!r})"

    @property
    def waiting(self) -> bool:
        """Whether its turn has not begun yet."""
        return any(q.number == self.number for q in self._session.state.queue)

    @property
    def over(self) -> bool:
        """Whether `result` would return or raise at once."""
        return self._result is not None or self._error is not None

    async def result(self) -> TurnResult:
        """The account of its turn, when that is over (or parked), however it ended: a turn's error is in it and is not raised.

        Waits as long as the queue does. Raises `SessionError` (`follow_up_dropped`) if it was dropped, `SessionClosed` if the
        session was closed before, what beginning a turn raises, and `StateError`: if the journal cannot be written (it may be in the queue
        yet, and begin with whoever goes on), and `follow_up_elsewhere` if another process has taken the session on and begun or dropped it,
        which is learnt when the session is next used here. Cancelling this stops the waiting only.
        """
        return await at_home(self._session, self._wait)

    def result_sync(self) -> TurnResult:
        """`result` from synchronous code; see `Session.sync`."""
        from .sync import run_at_home

        return run_at_home(self._session, self.result)

    async def cancel(self) -> bool:
        """Take it out of the queue; False if its turn has begun already (`session.interrupt()` ends that)."""
        return bool(await drop(self._session, self.number))

    async def _wait(self) -> TurnResult:
        if not self.over:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    # --- for the queue ----------------------------------------------------------------------------------------------

    def begin(self, session: Actor[Any]) -> None:
        """Begin its turn, in a task of the runtime; from now on nobody else can begin one."""
        turn = Turn(session, Begin(partial(self._input, session)), self.wishes)
        session.claim(turn)
        self.in_queue = False

        def ended(_: asyncio.Task[None]) -> None:
            session.unclaim(turn)
            self.fail(refusals.closed(session.id))  # if it is not over by now: its task was cancelled before it began

        session.runtime.start(self._drive(session, turn), self._context.copy()).add_done_callback(ended)

    def _input(self, session: Actor[Any], plan: TurnPlan) -> UserInput:
        state = session.state
        if not state.queue or state.queue[0].number != self.number:
            raise refusals.follow_up_dropped(state.id, self.number)
        return UserInput("", plan.limits, queued=True)

    async def _drive(self, session: Actor[Any], turn: Turn) -> None:
        try:
            async with turn:
                async for _ in turn.batches():
                    pass
        except TurnwiseError as error:
            session.unclaim(turn)
            self.fail(error)
            if error.code == "follow_up_dropped":
                begin_next(session)
        else:
            self._result = turn.result
            self._settle()

    def fail(self, error: TurnwiseError) -> None:
        """It never began."""
        if not self.over:
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self._session.follow_up_handles.pop(self.number, None)
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)


async def queue(session: Actor[Any], body: Body, wishes: Wishes) -> FollowUp:
    """Put a message behind those that wait; the first of them begins at once if nothing runs. Returns once it is durable."""
    handle = FollowUp(session, text_of(body), wishes)

    def queued() -> Queue:
        session.follow_up_handles.pop(handle.number, None)  # it had another number before the journal was read again
        handle.number = session.state.queued + 1
        session.follow_up_handles[handle.number] = handle
        return Queue(body, wishes.client_ref)

    try:
        await session.apply(queued)
    except BaseException:
        session.follow_up_handles.pop(handle.number, None)
        raise
    handle.in_queue = True
    begin_next(session)
    return handle


def begin_next(session: Actor[Any]) -> None:
    """Begin the first of those that wait, if nothing runs."""
    state = session.state
    if session.running or session.closed or state.running or not state.queue:
        return
    first = state.queue[0]
    handle = session.follow_up_handles.get(first.number) or _adopted(session, first)
    handle.begin(session)


async def next_result(session: Actor[Any]) -> TurnResult | None:
    """Begin the first of those that wait, if nothing runs, and wait for its account; None if none waits."""
    queue = session.state.queue
    if not queue:
        return None
    first = queue[0]
    handle = session.follow_up_handles.get(first.number) or _adopted(session, first)
    begin_next(session)
    return await handle.result()


def _adopted(session: Actor[Any], queued: FollowUpQueued) -> FollowUp:
    """A handle for a follow-up that was queued by someone who is gone."""
    wishes = Wishes(session.context, watched=False, client_ref=queued.client_ref)
    handle = session.follow_up_handles[queued.number] = FollowUp(session, queued.message.text, wishes, queued.number)
    return handle


async def drop(session: Actor[Any], *numbers: int) -> int:
    """Take these out of the queue, or all; how many there were."""
    gone: list[int] = []

    def dropped() -> DropFollowUps:
        gone[:] = [q.number for q in session.state.queue if not numbers or q.number in numbers]
        return DropFollowUps(numbers)

    await session.apply(dropped)
    for number in gone:
        if (handle := session.follow_up_handles.get(number)) is not None:
            handle.fail(refusals.follow_up_dropped(session.id, number))
    return len(gone)


def read_again(session: Actor[Any]) -> None:
    """The journal was read again: what waited here and is not in the queue any more was begun or dropped by another process."""
    queued = {q.number for q in session.state.queue}
    for number, handle in list(session.follow_up_handles.items()):
        if number not in queued and handle.in_queue:
            handle.fail(refusals.follow_up_elsewhere(session.id, number))


def lost(session: Actor[Any], error: ErrorInfo) -> None:
    """The journal cannot be written from here: nobody knows when what waits begins, and where."""
    for handle in list(session.follow_up_handles.values()):
        if handle.in_queue:
            handle.fail(error_of(error))


def close(session: Actor[Any]) -> None:
    """The session is closed: what waits never begins, here."""
    for handle in list(session.follow_up_handles.values()):
        if handle.waiting:
            handle.fail(refusals.closed(session.id))

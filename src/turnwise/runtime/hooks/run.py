"""A chain being run: its hooks called one after the other, each bounded in time, until one ends the chain or all have been asked.

Hooks that need not be waited for are called at once, with no task and no timer: a chain of them is over when `begin` returns. At the first one
that has to be awaited the rest goes on in a task of the runtime, which is ours to cancel (rule C3): a hook that takes too long is cancelled
there, and one that is deaf to that is left behind in its task while a new one goes on. `cut` ends a chain from outside, at once.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from ...core.errors import ErrorInfo
from ..timers import Timer
from . import failures
from .chain import Chain, Outcome
from .context import HookContext
from .hook import Hook, continues
from .points import Take
from .quick import Called
from .results import HALTING, Cancel, HookResult, Modify
from .values import Unfit

if TYPE_CHECKING:
    from ..ground import Ground
    from ..runtime import Runtime
    from ..turn import Turn

GRACE_S = 0.05
"""How long a cancelled hook may take to end before it is left behind."""


class Run:
    """One chain under way. `variables` are the context variables that its hooks see; `session` and `turn` are told of failures. `take`, if
    given, checks what a `Modify` brings, after the point's own check, and gives the value to go on with. While it is waited for it is in
    `under_way`. `called` is what `call_all` stopped at."""

    __slots__ = (
        "_asked_at",
        "_at",
        "_called",
        "_chain",
        "_changed",
        "_deadline",
        "_done",
        "_is_late",
        "_of",
        "_runtime",
        "_session",
        "_task",
        "_timer",
        "_turn",
        "_under_way",
        "_value",
        "_variables",
        "_waiting",
        "context",
        "outcome",
        "take",
    )

    def __init__(
        self,
        chain: Chain,
        context: HookContext,
        runtime: Runtime,
        variables: contextvars.Context,
        session: Ground[Any] | None = None,
        turn: Turn | None = None,
        take: Take | None = None,
        under_way: dict[Run, None] | None = None,
        called: Called | None = None,
    ) -> None:
        self._called = called
        self._chain = chain
        self.context = context
        self.take = take
        self._value = context.value
        self._under_way = under_way
        self._runtime = runtime
        self._variables = variables
        self._session = session
        self._turn = turn
        self._at = 0 if called is None else called.at
        self._changed = False
        self._done: Callable[[Outcome], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._waiting: Awaitable[Any] | None = None
        self._is_late = False
        self._of = 0
        self._deadline = self._asked_at = 0.0
        self.outcome: Outcome | None = None

    # --- from outside -------------------------------------------------------------------------------------------------

    def begin(self, done: Callable[[Outcome], None]) -> Outcome | None:
        """Call the hooks; the outcome, if none of them had to be waited for. Else None, and `done` is called with it later, once."""
        self._asked_at = self._runtime.loop.time() if self._called is None else self._called.asked_at
        self._deadline = self._asked_at + self._chain.deadline_s
        self._waiting = self._variables.run(self._call)
        if self.outcome is None:
            self._go_on()
            if self.outcome is None:
                self._done = done
        return self.outcome

    async def wait(self) -> Outcome:
        """Call the hooks, and wait for them. Cancelling this ends the chain, and nobody else's task."""
        if self.outcome is not None:
            return self.outcome  # it was cut before it began
        ended: asyncio.Future[Outcome] | None = None

        def tell(outcome: Outcome) -> None:
            if ended is not None and not ended.done():
                ended.set_result(outcome)

        outcome = self.begin(tell)
        if outcome is not None:
            return outcome
        ended = self._runtime.loop.create_future()
        try:
            return await ended
        except asyncio.CancelledError:
            self.drop()
            raise

    def cut(self) -> None:
        """What the chain is about is stopped: the hook that is waited for is cut off, and the others are not asked. If one of them fails
        closed, that is a no."""
        if self.outcome is None:
            self._settle(self._cut_off())
            self._cancel()

    def drop(self) -> None:
        """The same, and nobody wants to know what came of it."""
        self._done = None
        self.cut()

    # --- calling ------------------------------------------------------------------------------------------------------

    def _call(self) -> Awaitable[Any] | None:
        """Call hooks from the next one on; what has to be waited for, or None when the chain has its outcome. `_asked_at` is now."""
        hooks, context, clock = self._chain.hooks, self.context, self._runtime.loop.time
        called, self._called = self._called, None
        asked_at, deadline = self._asked_at, self._deadline
        for at in range(self._at, len(hooks)):
            hook = hooks[at]
            if called is not None and called.made:
                said, error, called = called.said, called.error, None
            else:
                called = None
                if not hook.live:
                    continue
                if (hook.breaker.opened is not None or asked_at >= deadline) and not self._may_ask(hook, asked_at):
                    if self.outcome is not None:
                        return None
                    continue
                said = error = None
                try:
                    if hook.waits:
                        self._at, self._asked_at = at, asked_at
                        return self._waits(hook)
                    context.value = self._value
                    said = hook.call(context)
                except (Exception, asyncio.CancelledError) as raised:
                    error = raised
            if self.outcome is not None:  # what the hook did has stopped what it was asked about
                return None
            if error is None and said is not None and hasattr(said, "__await__"):
                self._at, self._asked_at = at, asked_at
                return cast("Awaitable[Any]", said)
            now = clock()
            if self._came_back(hook, said, error, now - asked_at, now):
                return None
            asked_at = now
        self._settle(Outcome(self._value, changed=self._changed))
        return None

    def _came_back(self, hook: Hook, said: object, error: BaseException | None, took: float, now: float) -> bool:
        """A hook that need not be waited for has said something, or failed; True if the chain is over."""
        hook.took(took)
        if error is not None:
            return self._failed(hook, failures.raised(hook, error), now)
        if took > hook.spec.timeout_s:
            self._was_slow(hook, now)
        elif hook.breaker.failed or hook.breaker.opened is not None:
            hook.breaker.went_well(hook.calls)
        return said is not None and self._says(hook, said, now)

    def _waits(self, hook: Hook) -> Awaitable[Any]:
        self.context.value = self._value
        if hook.spec.blocking:
            return self._runtime.blocking.run(partial(hook.call, self.context))
        return cast("Awaitable[Any]", hook.call(self.context))

    def _may_ask(self, hook: Hook, now: float) -> bool:
        """Whether a hook is called although its breaker is open, or the chain's time is up. If not, one that fails closed ends the chain."""
        if now >= self._deadline:
            error = failures.no_time_left(hook, self._chain.deadline_s)
            self._tell(hook, error)
        elif hook.breaker.lets(now):
            return True
        else:
            error = failures.left_alone(hook)
        hook.skipped += 1
        if hook.spec.fail == "closed":
            self._block(hook, error)
        return False

    # --- waiting ------------------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Wait for the hook that was called last, and call the others, in a task of the runtime."""
        self._of += 1
        task = self._runtime.start(self._wait_on(self._of), self._variables)
        if not task.done():
            self._task = task
            task.add_done_callback(self._is_over)
            if self._under_way is not None:
                self._under_way[self] = None

    async def _wait_on(self, number: int) -> None:
        """The body of the `number`th task. It stops counting when another one has taken its place, or the chain has its outcome."""
        while (waiting := self._waiting) is not None:
            hook = self._chain.hooks[self._at]
            self._waiting = None
            limit_s = min(hook.spec.timeout_s, self._deadline - self._asked_at)
            self._timer = self._runtime.timers.at(self._asked_at + limit_s, partial(self._out_of_time, number))
            said, error = None, None
            try:
                said = await waiting
            except asyncio.CancelledError as cancelled:
                if not self._is_mine(number) or not self._is_late:
                    raise
                error = cancelled
            except Exception as raised:
                error = raised
            if not self._is_mine(number):
                return
            self._disarm()
            if self._is_late:
                if (task := asyncio.current_task()) is not None:
                    task.uncancel()
                self._is_late = False
                ended = self._ended_late(hook)
            else:
                ended = self._ended(hook, said, error)
            self._at += 1
            if not ended:
                self._waiting = self._call()

    def _ended(self, hook: Hook, said: object, error: BaseException | None) -> bool:
        now = self._runtime.loop.time()
        hook.took(now - self._asked_at)
        self._asked_at = now
        if error is not None:
            return self._failed(hook, failures.raised(hook, error), now)
        hook.breaker.went_well(hook.calls)
        return not continues(said) and self._says(hook, said, now)

    def _ended_late(self, hook: Hook) -> bool:
        now = self._runtime.loop.time()
        hook.took(now - self._asked_at)
        hook.timeouts += 1
        self._asked_at = now
        return self._failed(hook, failures.timed_out(hook, hook.spec.timeout_s, cut_off=True), now, counted=True)

    def _out_of_time(self, number: int) -> None:
        self._timer = None
        if self._is_mine(number) and self._task is not None:
            self._is_late = True
            self._task.cancel()
            at = self._runtime.loop.time() + GRACE_S
            self._timer = self._runtime.timers.at(at, partial(self._left_behind, number))

    def _left_behind(self, number: int) -> None:
        """The hook does not stop when told to: it is left to itself, and the chain goes on without it."""
        self._timer = None
        if not self._is_mine(number) or self._task is None:
            return
        self._runtime.abandon(self._task)
        self._task, self._is_late = None, False
        ended = self._ended_late(self._chain.hooks[self._at])
        self._at += 1
        if not ended:
            self._waiting = self._variables.copy().run(self._call)  # the one of the chain may be entered still
        if self.outcome is None:
            self._variables = self._variables.copy()
            self._go_on()

    def _is_mine(self, number: int) -> bool:
        return number == self._of and self.outcome is None

    def _is_over(self, task: asyncio.Task[None]) -> None:
        """A task of ours has ended. If the chain has not, somebody has cancelled it: the runtime is being closed."""
        if task is self._task:
            self._task = None
            if self.outcome is None:
                self._settle(self._cut_off())
        if not task.cancelled() and (error := task.exception()) is not None:
            self._runtime.loop.call_exception_handler({"message": "A chain of hooks broke.", "exception": error})
        self._leave_waiting()

    def _leave_waiting(self) -> None:
        """The task is told to end, or has ended, before it began: what was called in its place is not waited for any more."""
        waiting, self._waiting = self._waiting, None
        if asyncio.iscoroutine(waiting):
            waiting.close()
        elif isinstance(waiting, asyncio.Future):
            waiting.cancel()  # a function that waits for its thread never runs

    def _cancel(self) -> None:
        self._disarm()
        self._leave_waiting()
        task = self._task
        if task is not None and not task.done():
            task.cancel()
            runtime = self._runtime
            runtime.timers.at(runtime.loop.time() + GRACE_S, lambda: None if task.done() else runtime.abandon(task))

    def _disarm(self) -> None:
        if self._timer is not None:
            self._runtime.timers.cancel(self._timer)
            self._timer = None

    # --- what they say ------------------------------------------------------------------------------------------------

    def _says(self, hook: Hook, said: object, now: float) -> bool:
        """Take a hook's result; True if the chain is over."""
        kind = type(said)
        if continues(said):
            return False
        if kind not in hook.point.honours:
            return self._failed(hook, failures.unhonoured(hook, said), now)
        if kind in HALTING:
            hook.halted += 1
            if self._on_record(hook, cast("HookResult", said)):
                return True
            self._settle(Outcome(self._value, cast("Any", said), hook.id, changed=self._changed))
            return True
        try:
            value = hook.point.take(cast("Modify", said).value, self._value)
            value = value if self.take is None else self.take(value, self._value)
        except Unfit as error:
            return self._failed(hook, failures.unfit(hook, str(error)), now)
        except Exception as error:
            return self._failed(hook, failures.unfit(hook, f"{type(error).__name__}: {error}"), now)
        hook.modified += 1
        before, self._value, self._changed = self._value, value, True
        return self._on_record(hook, cast("Modify", said), before)

    def _failed(self, hook: Hook, error: ErrorInfo, now: float, *, counted: bool = False) -> bool:
        """A hook has failed; True if that ends the chain."""
        if not counted:
            hook.errors += 1
        hook.last_error = error
        if hook.breaker.went_wrong(now, hook.calls):
            self._tell(hook, failures.left_alone(hook))
        self._tell(hook, error)
        if hook.spec.fail == "closed":
            self._block(hook, error)
        return self.outcome is not None

    def _was_slow(self, hook: Hook, now: float) -> None:
        """It has an answer, but held up the event loop for longer than it may: that counts against it."""
        hook.timeouts += 1
        error = hook.last_error = failures.timed_out(hook, hook.spec.timeout_s, cut_off=False)
        if hook.breaker.went_wrong(now, hook.calls):
            self._tell(hook, failures.left_alone(hook))
        self._tell(hook, error)

    def _on_record(self, hook: Hook, said: HookResult | ErrorInfo, before: Any = None) -> bool:
        """Have it journalled that a hook changed or refused something; True if what it was asked about has come to its end by that."""
        if self._session is not None:
            from .recorded import record

            record(
                self._session,
                self._turn,
                self.context,
                hook,
                said,
                self._value if before is None else before,
                self._value,
            )
        return self.outcome is not None

    def _block(self, hook: Hook, error: ErrorInfo) -> None:
        if self._on_record(hook, error):
            return
        self._settle(Outcome(self._value, Cancel(error.message), hook.id, error, self._changed))

    def _cut_off(self) -> Outcome:
        """What holds when the rest of the chain is not asked."""
        left = self._chain.hooks[self._at :]
        if left:
            left[0].breaker.was_cut_off()
        guard = next((hook for hook in left if hook.live and hook.spec.fail == "closed"), None)
        value = self._value
        if guard is None:
            return Outcome(value, changed=self._changed)
        error = failures.cut_off(guard)
        return Outcome(value, Cancel(error.message), guard.id, error, self._changed)

    def _settle(self, outcome: Outcome) -> None:
        self.outcome = outcome
        done, self._done = self._done, None
        if done is not None:
            done(outcome)
        if self._under_way is not None:
            self._under_way.pop(self, None)
            if not self._under_way and self._turn is not None and self._turn.closing:
                self._turn.end()  # the reader of a turn that is over has waited for this

    def _tell(self, hook: Hook, error: ErrorInfo) -> None:
        failures.tell(self._runtime, self._session, self._turn, hook, error, self.context.call_id)

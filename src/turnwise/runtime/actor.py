"""The private half of a session: its journal, its state, and the one way in which both move.

Whoever has an input folds it at once (`fold`, pure and synchronous); `advance` then makes the new entries durable and, only
then, tells the events and carries out the effects that came with them. With a store that can append without waiting all of this
happens within the call; with any other the rest follows in a task of the runtime. Nothing here runs while the session is idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..core.content import Body
from ..core.entries import Entry
from ..core.errors import ErrorInfo, TurnwiseError, error_of
from ..core.events import Event, Notice, TurnFinished, TurnParked
from ..core.inputs import CallModel, Effect, Finish, Halt, Halted, Input, Interrupt, Park, RunTool, SkipCalls, UserInput
from ..core.inputs_rare import Expire, Recover, Resume
from ..core.result import TurnResult, result_of
from ..tools.context import Ctx
from . import follow_ups, process, refusals
from .attachments import Prompt, accept
from .degraded import reworded, store_lost, warned
from .expiry import Expiry
from .extensions import extended_of
from .journalled import LAST, Journalled, behind_last_word
from .learn import learn_needed
from .lost import Account, account_of, lost_result
from .plan import Begin, TurnPlan
from .spending import COUNTED, costs_are_bounded
from .turn import Turn
from .weighing import may_send

if TYPE_CHECKING:
    from .attempt import Attempt


class Actor(Journalled[Ctx]):
    """What turns and calls know of their session. One owner of the state; one append under way at a time."""

    __slots__ = ()

    # --- beginning --------------------------------------------------------------------------------------------------

    async def begin(self, turn: Turn, opening: Prompt | Begin) -> None:
        """Check, prepare and journal the input of a turn; when this returns the turn runs and has its plan."""
        self._refuse_if_gone()
        if self._turn is not None and self._turn is not turn:
            raise refusals.busy(self.id)
        self._turn = turn
        try:
            runtime = await self._bind()
            if (extended := extended_of(self)) is not None:
                opening = await turn.begin_within(extended, opening)
            plan = self.plan_of(turn)
            bounded = costs_are_bounded(self, plan)
            if bounded or plan.must_learn:
                await learn_needed(plan.targets, runtime, needs_prices=bounded)
            body = None if isinstance(opening, Begin) else await self.body_of(opening)
            if turn.extended is not None:
                opening, body = await turn.hook_beginning(opening, body, plan)
            if self.keeper is not None:
                await self.keeper.admit(self, turn)
                runtime.bind()
            await self._settle(plan.deadlines.grace_s)
            self._refuse_if_gone()
            # Nothing is waited for from here on: the input has to fit the state that it is folded into.
            given = self._input(opening, body, plan, turn.wishes.client_ref)
            self._refuse_if_parked(given)
            turn.spend(plan)
        except BaseException as error:
            self._turn = None
            turn.never_began(error)
            if self.keeper is not None:
                self.keeper.left(self, turn)
            raise
        turn.plan, turn.opened = plan, True
        runtime.adopt(turn)
        turn.arm_watch()
        if self.hub is not None:
            self.hub.attach(turn)
        if self.claims is not None:
            self.claims.begin()
        self.start(turn, given)
        if self.claims is not None:
            await self.claims.begun(turn, lambda: self._input(opening, body, plan, turn.wishes.client_ref))

    def start(self, turn: Turn, given: Input) -> None:
        """Fold what a turn begins with."""
        self.take_on(given, turn.plan.policy)
        if self.fold_all((given, *(turn.hooked.decided if turn.hooked is not None else ()))):
            self.advance()
        if turn.stop_asked is not None:
            self.post(turn.stop_asked)

    def restart(self, turn: Turn, given: Input) -> None:
        """The turn begins once more, from a journal that has grown meanwhile: calls that were admitted before it was read have ended, or may."""
        self._refuse_if_parked(given)
        turn.forget_calls()
        self.start(turn, given)

    async def body_of(self, prompt: Prompt) -> Body:
        return prompt if type(prompt) is str and prompt.strip() else await accept(prompt, self, self.open_file)

    def _input(self, opening: Prompt | Begin, body: Body | None, plan: TurnPlan, client_ref: str | None) -> Input:
        if isinstance(opening, Begin):
            return opening.make(plan)
        assert body is not None
        return UserInput(body, plan.limits, client_ref)

    async def _settle(self, patience_s: float) -> None:
        """Wait until what was folded before is durable or lost, so that a turn is told of nothing but itself."""
        if self._events or self._effects:
            self.advance()
        while self._lost is None and (appending := self._appending) is not None:
            done, _ = await asyncio.wait((appending,), timeout=patience_s)
            if not done:
                raise error_of(refusals.APPEND_BLOCKED)
        if self._lost is not None:
            await self.reload(patience_s)
        if self.claims is not None:
            await self.claims.ready(patience_s)
        if self._appending is not None or self._lost is not None:  # something was folded meanwhile
            await self._settle(patience_s)

    def _refuse_if_parked(self, given: Input) -> None:
        """Who begins a turn while one is parked, or was left, has to say what becomes of that one."""
        if type(given) is Resume or type(given) is Recover:
            if not self.state.running:
                raise refusals.not_parked(self.id)
            self.forget_expiry()
            if type(given) is Resume:
                self.fold(Expire())
        elif (current := self.state.turn) is not None and self.state.running:
            raise refusals.unfinished(self.id, current)

    # --- folding and advancing ----------------------------------------------------------------------------------------

    def fold(self, given: Input) -> bool:
        """Fold an input; False if nothing came of it. What came of it waits for `advance`, but for stopping what runs and for not
        starting what is skipped: that does no harm before it is durable, and must not wait for a store that does not answer."""
        return self.fold_all((given,))

    def fold_all(self, inputs: Sequence[Input]) -> bool:
        """Fold inputs that came at once."""
        turn = self._turn
        if turn is not None and turn.opened:
            for given in inputs:
                if type(given) in COUNTED:
                    turn.spending.count(given)
        try:
            folded = self.machine.feed_all(inputs, self.runtime.clock.wall())
        except TurnwiseError as error:
            self.lose(error.info)
            return False
        if not folded.entries:
            return False
        self._entries += folded.entries
        self._events += folded.events
        self._counts += folded.counts
        for effect in folded.effects:
            if type(effect) is SkipCalls:
                if self._turn is not None and self._turn.opened:
                    self._turn.calls.forget(effect.call_ids)
            elif type(effect) is not Halt:
                self._effects.append(effect)
            elif self._turn is not None:
                self._turn.halt()
            else:
                self.fold(
                    Halted(lost=True)
                )  # a turn that is parked or was left: nothing runs that would have to be stopped
        return True

    def post(self, given: Input) -> None:
        """Fold an input and go on."""
        if self.fold(given):
            self.advance()

    def stop(self, given: Interrupt) -> None:
        """End the turn that runs, is parked, or is about to begin."""
        turn = self._turn
        if turn is not None and not turn.opened:
            turn.stop_asked = given
            turn.call_off()
            if self.keeper is not None:
                self.keeper.call_off(turn)
        elif self.fold(given):
            if not self.state.running:
                self.forget_expiry()
            if self._append_now is not None or process.in_loop(self.runtime.loop):
                self.advance()  # else the loop of a parked turn is gone: it is appended with whatever comes next

    def advance(self) -> None:
        """Append what was folded; then tell its events and carry out its effects. Again, until nothing is left."""
        if self._advancing or self._lost is not None:
            return
        self._advancing = True
        try:
            while (self._entries or self._effects) and self._lost is None:
                effects = self._admit_calls()
                entries, self._entries = self._entries, []
                events, self._events = self._events, []
                counts, self._counts = self._counts, []
                after, account = self.state.seq - len(entries), account_of(self.state)
                if self._append_now is not None:
                    self._append_now(self.state.id, after, entries)
                elif self._puts or self.claims is None or not self.claims.append_at_once(after, entries):
                    appending = self.runtime.start(self._append(after, entries, counts, events, effects, account))
                    if not appending.done():
                        self._appending = appending
                        return
                    continue
                if self._lost is None:
                    self._release(entries, counts, events, effects, account)
        except TurnwiseError as error:
            self.lose(error.info)
        finally:
            if self._appending is None:
                self._advancing = False

    async def _append(
        self,
        after: int,
        entries: list[Entry],
        counts: list[int],
        events: list[Event],
        effects: list[Effect],
        account: Account,
    ) -> None:
        """Append to a store that takes its time, in a task of the runtime: nobody's cancellation reaches it."""
        assert self._store is not None
        if self._puts:
            await asyncio.wait(self._puts)
        try:
            await self.put(after, entries)
        except Exception as error:
            self.not_appended(error)
        else:
            self._release(entries, counts, events, effects, account)
        if self._appending is not None:
            self._appending, self._advancing = None, False
            self.advance()
        if self._lost is not None and self.hub is not None:
            self.hub.look_again()

    def not_appended(self, error: Exception) -> None:
        """The store has refused an append, or failed."""
        info = refusals.append_failed(error, self.id)
        if self.claims is not None and self.claims.takes(error):
            self._lost = info
        else:
            self.lose(info)

    def _admit_calls(self) -> list[Effect]:
        """Let due calls be checked first, so that their beginnings share an append with the step that made them."""
        done: list[Effect] = []
        turn, current = self._turn, self.state.turn
        while self._effects:
            effects, self._effects = self._effects, []
            for effect in effects:
                if type(effect) is not RunTool:
                    done.append(effect)
                elif turn is not None and turn.opened and current is not None and current.phase == "tools":
                    call = current.find(effect.call.id)
                    if call is not None and call.result is None:  # else it was skipped while it waited for the journal
                        turn.calls.admit(effect.call, effect.allowed, effect.hooked)
            if turn is not None:
                turn.begin_calls()
        return done

    def _release(
        self, entries: list[Entry], counts: list[int], events: list[Event], effects: list[Effect], account: Account
    ) -> None:
        """What was folded is durable now."""
        self._created = None
        turn = self._turn if self._turn is not None and self._turn.opened else None
        ends = turn is not None and effects and type(effects[-1]) in LAST
        counts, events, behind = behind_last_word(counts, events) if ends else (counts, events, None)
        if self.runtime.health.degraded or (turn is not None and turn.rewords):
            events = reworded(self, turn, events)
        after = self.told
        self.told += len(counts)
        self.observed(turn, events, counts, entries)
        if self.hub is not None:  # not before: what a hook or observer has told meanwhile comes before these events
            self.hub.told(turn, after, counts, events)
        if turn is None:
            return
        turn.account = account
        if events:
            turn.tell(events)
        if behind is not None:
            self.tell_outside(*behind)
        current = self.state.turn
        for effect in effects:
            if type(effect) is CallModel:
                # An interrupt may have been folded while this waited to become durable.
                if current is not None and current.phase == "model":
                    turn.call_model(effect)
            elif type(effect) is Finish or type(effect) is Park:
                last = next((e for e in reversed(events) if isinstance(e, (TurnFinished, TurnParked))), None)
                self._finish(turn, last.result if last is not None else result_of(self.state))
                break  # a turn that was interrupted as it parked has ended for whoever drove it
        turn.launch()

    def _finish(self, turn: Turn, result: TurnResult) -> None:
        self._turn = None
        self.parked = None
        if result.pending and self.state.running:
            self.parked = turn.wishes
            self.expiry.watch(result.pending)
        self.runtime.release(turn)
        if self._prefix is not None:
            self.runtime.keep_encoded(self._prefix)
        turn.finish(result)
        if self.claims is not None:
            self.claims.turn_over()
        if self.keeper is not None:
            self.keeper.left(self, turn)
        if self.state.queue and result.reason in follow_ups.WELL:
            follow_ups.begin_next(self)

    def lose(self, error: ErrorInfo, *, lets_go: bool = True) -> asyncio.Task[None] | None:
        """The journal can no longer be written: the turn ends here with this error, and the session is read anew from its
        store before its next turn. What watchers were told before is in the store. Returns what still stops its tools, if anything."""
        self._lost = error
        store_lost(self, error)
        if self.claims is not None and lets_go:
            self.claims.let_go()
        turn = self._turn
        if turn is None or not turn.opened:
            return None
        self._turn = None
        stopping = turn.drop(error.message)
        self.runtime.release(turn)
        result = warned(self.runtime, turn, lost_result(self.state, turn.account, error))
        over: list[Event] = [TurnFinished(result)]
        self.observed(turn, over)
        turn.tell(over)
        turn.finish(result)
        follow_ups.lost(self, error)
        if self.keeper is not None:
            self.keeper.left(self, turn)
        return stopping

    # --- calls that wait ----------------------------------------------------------------------------------------------

    @property
    def expiry(self) -> Expiry:
        if self._expiry is None:
            self._expiry = Expiry(self)
        return self._expiry

    # --- for attempts -------------------------------------------------------------------------------------------------

    def is_light(self, attempt: Attempt, body_bytes: int) -> bool:
        """Whether a request is small, and nothing but the machine bounds its turn: most are, and need no further look."""
        turn = self._turn
        return turn is not None and self.sizes is None and turn.spending.is_light(attempt, body_bytes)

    async def weigh(self, attempt: Attempt, body_bytes: int) -> bool:
        """The last look at a request of known size; see `weighing`."""
        return await may_send(self, attempt, body_bytes)

    def reminder(self, asked: CallModel) -> str:
        """What the model is told at the end of this request alone."""
        return "" if self._turn is None else self._turn.spending.reminder(asked)

    # --- inputs that begin no turn -------------------------------------------------------------------------------------

    async def apply(self, given: Input | Callable[[], Input]) -> bool:
        """Fold an input that begins no turn, and wait until what came of it is durable; False if nothing came of it. An input that
        depends on the state is given as a function, called when it is folded.

        Callable from any task of any loop: it is done on the one that the session lives on. Raises `SessionClosed`,
        `SessionForked`, and `StateError` if the journal cannot be written. Cancelling it takes nothing back.
        """
        return await self.on_its_loop(lambda: self._apply(given))

    async def _apply(self, given: Input | Callable[[], Input]) -> bool:
        reads = self.reads
        if not self.fold(given() if callable(given) else given):
            if self._lost is not None:
                raise error_of(self._lost)
            return False
        self.advance()
        await self.until_durable()
        return True if reads == self.reads else await self._apply(given)  # it went into a state that is no more

    # --- for watchers -------------------------------------------------------------------------------------------------

    def tell_running(self, notice: Notice) -> None:
        """Tell the consumer of the running turn, if there is one."""
        if self._turn is not None:
            self._turn.tell_all([notice])

    def notice(self, turn: Turn, notice: Notice) -> None:
        """Tell the consumer of a turn, if it is still the running one."""
        if turn is self._turn:
            turn.tell_all([notice])

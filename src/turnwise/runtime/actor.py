"""The private half of a session: its journal, its state, and the one way in which both move.

Whoever has an input folds it at once (`fold`, pure and synchronous); `advance` then makes the new entries durable and, only
then, tells the events and carries out the effects that came with them. With a store that can append without waiting all of this
happens within the call; with any other the rest follows in a task of the runtime. Nothing here runs while the session is idle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from ..core.compaction import in_force
from ..core.content import Body, ToolCall
from ..core.entries import Entry, SessionCreated
from ..core.errors import ErrorInfo, TurnwiseError, error_of
from ..core.events import Event, Notice, TurnFinished, TurnParked
from ..core.evolve import evolve, fold
from ..core.inputs import (
    CallModel,
    Effect,
    Expire,
    Finish,
    Halt,
    Halted,
    Input,
    Interrupt,
    Park,
    Resume,
    RunTool,
    SkipCalls,
    UserInput,
)
from ..core.messages import AssistantMessage, Message
from ..core.protocols import Blobs, Store
from ..core.result import TurnResult, result_of
from ..core.state import SessionState
from ..core.turn import Machine, Policy
from ..core.usage import NO_USAGE, Usage
from ..store.memory import MemoryBlobs, MemoryStore
from ..tools import ToolContext
from ..tools.context import Ctx
from . import process, refusals
from .attachments import Prompt, accept, holds_bytes, without_bytes
from .attempt import BYTES_PER_TOKEN
from .changed import overrides_of
from .expiry import Expiry
from .follow_ups import WELL, begin_next
from .home import at_home
from .learn import learn_needed
from .plan import Begin, Overrides, Target, TurnPlan, Wishes
from .prefix import Prefix
from .runtime import Runtime, default_runtime, default_runtime_if_any
from .sizes import Sizes, fits_any_model
from .spending import COUNTED
from .turn import Turn

if TYPE_CHECKING:
    from .agent import Agent
    from .attempt import Attempt
    from .follow_ups import FollowUp
    from .watch import Hub


T = TypeVar("T")


class Actor(Generic[Ctx]):
    """What turns and calls know of their session. One owner of the state; one append under way at a time."""

    __slots__ = (
        "__weakref__",
        "_advancing",
        "_append_now",
        "_appending",
        "_blobs",
        "_bound",
        "_closed",
        "_counts",
        "_created",
        "_effects",
        "_entries",
        "_events",
        "_expiry",
        "_has_bytes",
        "_lost",
        "_prefix",
        "_prefix_base",
        "_process",
        "_store",
        "_turn",
        "agent",
        "context",
        "follow_up_handles",
        "hub",
        "machine",
        "overrides",
        "parked",
        "runtime",
        "sizes",
        "state",
        "told",
    )
    runtime: Runtime
    machine: Machine

    def __init__(
        self,
        agent: Agent[Ctx],
        created: SessionCreated,
        *,
        context: Ctx | None = None,
        store: Store | None = None,
        overrides: Overrides | None = None,
    ) -> None:
        self.agent = agent
        self.context = context
        self.overrides = overrides
        self.sizes: Sizes | None = None
        self.follow_up_handles: dict[int, FollowUp] = {}
        self.state = SessionState()
        self._has_bytes = any(map(holds_bytes, created.history))
        evolve(self.state, created)
        self._store = store
        self._created: SessionCreated | None = created
        self._entries: list[Entry] = [created]
        self._events: list[Event] = []
        self._counts: list[int] = [0]
        self.told = 0
        self.hub: Hub | None = None
        self._effects: list[Effect] = []
        self._append_now: Callable[[str, int, Sequence[Entry]], int] | None = None
        self._blobs: Blobs | None = None
        self._bound = False
        self._expiry: Expiry | None = None
        self.parked: Wishes | None = None
        self._prefix: Prefix | None = None
        self._prefix_base = 0
        self._turn: Turn | None = None
        self._appending: asyncio.Task[None] | None = None
        self._advancing = False
        self._lost: ErrorInfo | None = None
        self._closed = False
        self._process = process.current()

    @property
    def running(self) -> bool:
        """Whether a turn is running. A parked one is not: it waits for someone."""
        return self._turn is not None

    @property
    def closed(self) -> bool:
        """Whether the session takes no input any more."""
        return self._closed

    @property
    def turn(self) -> Turn | None:
        """The turn that runs, or is about to begin."""
        return self._turn

    @property
    def forked(self) -> bool:
        """Whether this is the copy that a forked process got of its parent's session."""
        return self._process is not process.current()

    @property
    def bound(self) -> bool:
        """Whether it has a runtime."""
        return self._bound

    # --- for turns: beginning ---------------------------------------------------------------------------------------

    async def begin(self, turn: Turn, opening: Prompt | Begin) -> None:
        """Check, prepare and journal the input of a turn; when this returns the turn runs and has its plan."""
        self._refuse_if_gone()
        if self._turn is not None and self._turn is not turn:
            raise refusals.busy(self.id)
        self._turn = turn
        try:
            runtime = await self._bind()
            plan = self.plan_of(turn)
            if plan.must_learn:
                await learn_needed(plan.targets, runtime, needs_prices=plan.limits.cost is not None)
            body = None if isinstance(opening, Begin) else await self._body(opening)
            await self._settle(plan.deadlines.grace_s)
            self._refuse_if_gone()
            # Nothing is waited for from here on: the input has to fit the state that it is folded into.
            given = self._input(opening, body, plan, turn.wishes.client_ref)
            self._refuse_if_parked(given)
            turn.spend(plan)
        except BaseException:
            self._turn = None
            raise
        turn.plan = plan
        runtime.adopt(turn)
        turn.arm_watch()
        if self.hub is not None:
            self.hub.attach(turn)
        self.machine.policy = plan.policy
        self.post(given)
        if turn.stop_asked is not None:
            self.post(turn.stop_asked)

    async def _body(self, prompt: Prompt) -> Body:
        return prompt if type(prompt) is str and prompt.strip() else await accept(prompt, self, self.read_file)

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
            await self._reload(patience_s)

    def _refuse_if_parked(self, given: Input) -> None:
        """Who begins a turn while one is parked has to say what becomes of that one."""
        if type(given) is Resume:
            if not self.state.running:
                raise refusals.not_parked(self.id)
            self.forget_expiry()
            self.fold(Expire())
        elif self.state.running:
            current = self.state.turn
            raise refusals.parked(self.id, len(current.pending) if current is not None else 0)

    def plan_of(self, turn: Turn) -> TurnPlan:
        """What the turn runs with by now: the session's settings may change from step to step."""
        wishes = turn.wishes
        if wishes.overrides is not self.overrides:
            wishes = turn.wishes = msgspec.structs.replace(wishes, overrides=self.overrides)
        return self.agent.plan(wishes, self.runtime)

    def _refuse_if_gone(self) -> None:
        if self.forked:
            raise refusals.forked(self.id)
        if self._closed:
            raise refusals.closed(self.id)

    async def apply(self, given: Input | Callable[[], Input]) -> bool:
        """Fold an input that begins no turn, and wait until what came of it is durable; False if nothing came of it. An input that
        depends on the state is given as a function, called when it is folded.

        Callable from any task of any loop: it is done on the one that the session lives on. Raises `SessionClosed`,
        `SessionForked`, and `StateError` if the journal cannot be written. Cancelling it takes nothing back.
        """
        return await self.on_its_loop(lambda: self._apply(given))

    async def _apply(self, given: Input | Callable[[], Input]) -> bool:
        if not self.fold(given() if callable(given) else given):
            if self._lost is not None:
                raise error_of(self._lost)
            return False
        self.advance()
        await self.until_durable()
        return True

    async def on_its_loop(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something that begins no turn, on the loop that the session lives on. Raises as `apply`."""
        self._refuse_if_gone()

        async def bound() -> T:
            await self._bind()
            if self._lost is not None and self._turn is None:
                await self._reload(self.agent.deadlines.grace_s)
            self._refuse_if_gone()
            return await work()

        return await at_home(self, bound)

    async def until_durable(self) -> None:
        """Wait until all that was folded is durable."""
        while self._appending is not None:
            await asyncio.wait((self._appending,))
        if self._lost is not None:
            raise error_of(self._lost)

    async def _bind(self) -> Runtime:
        """Take the runtime of the running loop."""
        if self._bound:
            runtime = self.runtime
            if not runtime.closed and runtime.loop is asyncio.get_running_loop():
                return runtime
        runtime = self.agent.runtime or default_runtime_if_any() or await default_runtime()
        runtime.bind()
        self.runtime = runtime
        if self._store is None:
            self._store = runtime.store or MemoryStore()
        if self._blobs is None:
            self._blobs = runtime.blobs
        self._append_now = getattr(self._store, "append_now", None)
        if not self._bound:
            if self._has_bytes and self._created is not None:
                await self._put_bytes_away(self._created)
            self.machine = Machine(self.state, Policy())
        self._bound = True
        return runtime

    async def _put_bytes_away(self, created: SessionCreated) -> None:
        """A history that was handed in with bytes in its messages is kept with references to them instead."""
        history = tuple([await without_bytes(message, self) for message in created.history])
        created = msgspec.structs.replace(created, history=history)
        state = SessionState()
        evolve(state, created)
        self.state, self._created = state, created
        self._entries = [created]

    async def _reload(self, patience_s: float) -> None:
        """After a failed append the journal is the truth: fold it again and end the turn that was running."""
        assert self._store is not None
        if self._appending is not None:
            done, _ = await asyncio.wait((self._appending,), timeout=patience_s)
            if not done:
                raise error_of(self._lost or refusals.APPEND_BLOCKED)
        written = list(await self._store.read(self.id))
        if written:
            self.state = fold(written)
            self._entries, self._counts = [], []
        else:
            assert self._created is not None, "a session's first entry is kept until it is durable"
            self._entries, self._counts = [self._created], [0]
            self.state = fold(self._entries)
        self.told = len(written)
        self._events, self._effects, self._prefix, self._lost = [], [], None, None
        self.overrides = overrides_of(self.agent, self.state.settings, self.overrides)
        self.machine = Machine(self.state, Policy())
        current = self.state.turn
        if current is not None and current.phase not in ("parked", "ended"):
            now = self.runtime.clock.wall()
            for given in (Interrupt("store"), Halted()):
                folded = self.machine.feed(given, now)
                self._entries += folded.entries
                self._counts += [0] * len(folded.entries)

    # --- for turns: folding and advancing ---------------------------------------------------------------------------

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def transcript(self) -> Sequence[Message]:
        """What the next request will send; the state's own list."""
        return self.state.transcript

    @property
    def prefix(self) -> Prefix:
        """Begun anew when the view has changed: then messages in the middle of the transcript may be others than before."""
        if self._prefix is None or self._prefix_base != self.state.base:
            self._prefix, self._prefix_base = Prefix(), self.state.base
        return self._prefix

    @property
    def expiry(self) -> Expiry:
        if self._expiry is None:
            self._expiry = Expiry(self)
        return self._expiry

    @property
    def blobs(self) -> Blobs:
        if self._blobs is None:
            self._blobs = MemoryBlobs()
        return self._blobs

    async def read_file(self, path: Path) -> bytes:
        """A file's bytes, read in a thread."""
        return await self.runtime.blocking.run(path.read_bytes)

    async def weigh(self, attempt: Attempt, body_bytes: int) -> bool:
        """The last look at a request of known size: what stands against it (a limit, a transcript that is too long) is posted
        instead, and the attempt is dropped."""
        if not await self._is_short_enough(attempt, body_bytes):
            return False
        turn = self._turn
        return turn is not None and turn.spending.weigh(attempt, body_bytes // BYTES_PER_TOKEN)

    async def _is_short_enough(self, attempt: Attempt, body_bytes: int) -> bool:
        """Whether the model can read the request; False if the conversation is made shorter instead."""
        compaction = in_force(self.agent.compaction, self.state.settings.compaction)
        share = 1.0 if compaction is None else compaction.at
        if self.sizes is None and not attempt.asked.must_compact and fits_any_model(self.state, body_bytes, share):
            return True
        from .compact import look

        due = await look(self, attempt, body_bytes)
        turn = self._turn
        if due is not None and turn is not None and not attempt.stopped:
            turn.compact(attempt, due)
        return due is None

    def reminder(self, asked: CallModel) -> str:
        """What the model is told at the end of this request alone."""
        return "" if self._turn is None else self._turn.spending.reminder(asked)

    def is_driving(self, turn: Turn) -> bool:
        """Whether this is the turn that runs."""
        return turn is self._turn

    def target_now(self) -> Target:
        """The model that would be asked now."""
        turn = self.state.turn
        number = turn.model if turn is not None and self.state.running else 0
        wishes = Wishes(watched=False, overrides=self.overrides)
        return self.agent.plan(wishes, self.runtime).target(number)

    def share_blobs(self, other: Actor[Any]) -> None:
        """Keep bytes where that session keeps them."""
        self._blobs = other._blobs

    @property
    def has_blobs(self) -> bool:
        """Whether any bytes can be referred to: most sessions never have any."""
        return self._blobs is not None

    def fold(self, given: Input) -> bool:
        """Fold an input; False if nothing came of it. What came of it waits for `advance`, but for stopping what runs and for not
        starting what is skipped: that does no harm before it is durable, and must not wait for a store that does not answer."""
        return self.fold_all((given,))

    def fold_all(self, inputs: Sequence[Input]) -> bool:
        """Fold inputs that came at once."""
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
                if self._turn is not None:
                    self._turn.calls.forget(effect.call_ids)
            elif type(effect) is not Halt:
                self._effects.append(effect)
            elif self._turn is not None:
                self._turn.halt()
            else:
                self.fold(Halted())  # a parked turn: nothing runs that would have to be stopped
        return True

    def post(self, given: Input) -> None:
        """Fold an input and go on."""
        if type(given) in COUNTED and self._turn is not None:
            self._turn.spending.count(given)
        if self.fold(given):
            self.advance()

    def stop(self, given: Interrupt) -> None:
        """End the turn that runs, is parked, or is about to begin."""
        turn = self._turn
        if turn is not None and not turn.opened:
            turn.stop_asked = given
        elif self.fold(given) and (self._append_now is not None or process.in_loop(self.runtime.loop)):
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
                if self._append_now is None:
                    appending = self.runtime.start(self._append(after, entries, counts, events, effects, account))
                    if not appending.done():
                        self._appending = appending
                        return
                else:
                    self._append_now(self.id, after, entries)
                    self._release(counts, events, effects, account)
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
        try:
            await self._store.append(self.id, after, entries)
        except Exception as error:
            self.lose(refusals.append_failed(error, self.id))
        else:
            self._release(counts, events, effects, account)
        if self._appending is not None:
            self._appending, self._advancing = None, False
            self.advance()

    def _admit_calls(self) -> list[Effect]:
        """Let due calls be checked first, so that their beginnings share an append with the step that made them."""
        done: list[Effect] = []
        turn, current = self._turn, self.state.turn
        while self._effects:
            effects, self._effects = self._effects, []
            for effect in effects:
                if type(effect) is not RunTool:
                    done.append(effect)
                elif turn is not None and current is not None and current.phase == "tools":
                    call = current.find(effect.call.id)
                    if call is not None and call.result is None:  # else it was skipped while it waited for the journal
                        turn.calls.admit(effect.call, effect.allowed)
            if turn is not None:
                turn.begin_calls()
        return done

    def _release(self, counts: list[int], events: list[Event], effects: list[Effect], account: Account) -> None:
        """What was folded is durable now."""
        self._created = None
        turn = self._turn if self._turn is not None and self._turn.opened else None
        if turn is not None and turn.answered is not None:
            events = turn.answered.told(events)
        if self.hub is not None:
            self.hub.told(turn, self.told, counts, events)
        self.told += len(counts)
        if turn is None:
            return
        turn.account = account
        if events:
            turn.tell(events)
        current = self.state.turn
        for effect in effects:
            if type(effect) is CallModel:
                # An interrupt may have been folded while this waited to become durable.
                if current is not None and current.phase == "model":
                    turn.call_model(effect)
            elif type(effect) is Finish or type(effect) is Park:
                last = next((e for e in reversed(events) if isinstance(e, (TurnFinished, TurnParked))), None)
                self._finish(turn, last.result if last is not None else result_of(self.state))
        turn.launch()

    def _finish(self, turn: Turn, result: TurnResult) -> None:
        self._turn = None
        self.parked = None
        if result.pending:
            self.parked = turn.wishes
            self.expiry.watch(result.pending)
        self.runtime.release(turn)
        if self._prefix is not None:
            self.runtime.keep_encoded(self._prefix)
        turn.finish(result)
        if self.state.queue and result.reason in WELL:
            begin_next(self)

    def claim(self, turn: Turn) -> None:
        """Nobody else begins a turn before this one."""
        self._turn = turn

    def unclaim(self, turn: Turn) -> None:
        """It was never begun."""
        if self._turn is turn and not turn.opened:
            self._turn = None

    def forget_expiry(self) -> None:
        """Nothing that waits is given up by this session any more."""
        if self._expiry is not None:
            self._expiry.close()

    def lose(self, error: ErrorInfo) -> None:
        """The journal can no longer be written: the turn ends here with this error, and the session is read anew from its
        store before its next turn. What watchers were told before is in the store."""
        self._lost = error
        turn = self._turn
        if turn is None or not turn.opened:
            return
        self._turn = None
        turn.drop()
        self.runtime.release(turn)
        steps, calls, usage, last = turn.account or (0, 0, NO_USAGE, None)
        error = msgspec.structs.replace(error, session=self.id, turn=self.state.turns)
        result = TurnResult(
            self.id,
            self.state.turns,
            "error",
            last.text if last else "",
            steps,
            calls,
            usage,
            last.stop_reason if last else "unknown",
            error.code,
            error,
        )
        turn.tell([TurnFinished(result)])
        turn.finish(result)

    # --- for watchers -----------------------------------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether nothing that was folded is still on its way into the journal."""
        return not self._advancing

    async def journal(self, after: int) -> Sequence[Entry]:
        """The entries that are durable, from number `after` + 1 on."""
        if self._store is None:
            await self._bind()
        assert self._store is not None
        return await self._store.read(self.id, after)

    def tell_running(self, notice: Notice) -> None:
        """Tell the consumer of the running turn, if there is one."""
        if self._turn is not None:
            self._turn.tell([notice])

    def notice(self, turn: Turn, notice: Notice) -> None:
        """Tell the consumer of a turn, if it is still the running one."""
        if turn is self._turn:
            turn.tell([notice])

    def tool_context(self, call: ToolCall, turn: Turn, limit_s: float | None) -> ToolContext[Any]:
        """What a running call may know."""
        state, runtime = self.state, self.runtime
        current = state.turn
        return ToolContext(
            turn.plan.context,
            state.id,
            current.number if current else 0,
            current.step if current else 0,
            call.id,
            call.name,
            state.principal,
            None if limit_s is None else runtime.clock.monotonic() + limit_s,
            turn.host,
        )


Account = tuple[int, int, Usage, AssistantMessage | None]
"""Steps, calls, usage and last answer of a turn."""


def account_of(state: SessionState) -> Account:
    """What the turn has come to so far; it is acknowledged once the entries folded by now are durable."""
    turn = state.turn
    return (0, 0, NO_USAGE, None) if turn is None else (turn.steps, turn.calls, turn.usage, turn.last)

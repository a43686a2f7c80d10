"""A conversation as its caller sees it. How it moves is in actor.py; what stands behind the rarer methods, in rooms of their own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

import msgspec

from ..core.entries import Keep
from ..core.errors import config_error
from ..core.inputs import Interrupt, Steer
from ..core.limits import Limits
from ..core.result import TurnResult
from ..tools.context import Ctx
from . import follow_ups, history_ops, process
from .attachments import Prompt
from .checked import checked
from .history_ops import Move
from .home import at_home, home_of
from .kept import Kept
from .plan import Wishes, spec_of
from .surface import Surface
from .turn import OnLeave, Turn

if TYPE_CHECKING:
    from ..tools.output import OutputType
    from .channel import Opening
    from .mailbox import WatchPolicy
    from .output import OutputStream
    from .spending import StopCondition
    from .steps import Steps
    from .sync import SyncSession
    from .watch import Watcher


class Session(Surface[Ctx]):
    """A conversation with an agent; make one with `agent.session()`.

    `async with agent.session() as session:` closes it at the end; closing interrupts a running turn. A session belongs to
    the event loop that runs its turns; when it is idle another loop may take it over. One turn at a time: a second one
    raises `SessionBusy`. Whatever happened, the history stays valid and the next turn can go on from it.

    All methods may be called from any task. Those that begin no turn may be called from other loops as well, and are done on the
    session's own; code that does not await uses `sync`. A closed session raises `SessionClosed` for whatever would change it.
    """

    __slots__ = ()

    def stream(
        self,
        prompt: Prompt | Move,
        *,
        context: Ctx | None = None,
        limits: Limits | None = None,
        stream: bool | None = None,
        client_ref: str | None = None,
        on_leave: OnLeave = "stop",
        output: OutputType = None,
        stop_when: Iterable[StopCondition] = (),
    ) -> Turn:
        """A turn to be read event by event: `async with session.stream(prompt) as turn: async for event in turn: …`.

        A `Move` in place of a prompt begins the turn as the method of that name does. `context` is the
        caller's object for tools (default: the session's), `limits` bound this turn (default: the agent's), `stream=False`
        asks the provider for an unstreamed response: the events are the same, in fewer pieces. `client_ref` is your own name for
        the input: it comes back in `TurnStarted`. `output` is the type, JSON Schema or `Output` that the answer is to have: then
        `TurnResult.output` is the value. `stop_when` are conditions to stop, beside those of the agent. Leaving it early stops the turn; with `on_leave="detach"` it goes on, see `Turn.wait`
        and `Turn.watch`. Opening it raises `ConfigError` (no key, unknown model, empty prompt) before
        anything is journalled, `SessionBusy`, `SessionClosed`, or `SessionForked`.
        """
        wishes = Wishes(
            self._context_for(context),
            limits,
            stream,
            client_ref=client_ref,
            output=spec_of(output),
            stop_when=tuple(stop_when),
        )
        return self._turn_of(prompt, wishes, on_leave)

    def stream_output(self, prompt: Prompt | Move, output: OutputType, **options: Any) -> OutputStream[Any]:
        """A turn whose typed answer is watched as it grows: `async with session.stream_output(prompt, T) as partials: async for partial
        in partials: …`, then `partials.output` is the value and `partials.result` the account; see `OutputStream`. `options` are
        those of `stream`. Raises what `stream` raises, and what `run` raises once the turn is over."""
        from .output import OutputStream

        return OutputStream(self.stream(prompt, output=output, **options))

    def channel(self, prompt: Prompt | Move, *, buffer: int = 32, on_drop: OnLeave = "stop", **options: Any) -> Opening:
        """A turn that is read through a bounded channel, with a handle whose result is true whatever becomes of the reader:
        `channel, handle = await session.channel(prompt)`, or `async with session.channel(prompt) as (channel, handle):`.

        While `buffer` events wait unread the provider is not read. See `runtime.channel`; `options` are those of `stream`.
        """
        from .channel import Opening

        return Opening(self, self.stream(prompt, **options), buffer, on_drop)

    def steps(self, prompt: Prompt | Move, **options: Any) -> Steps:
        """A turn that its caller takes step by step: `async with session.steps(prompt) as steps: async for step in steps: …`. No
        model call is made before the caller asks for the step. `options` are those of `stream`."""
        from .steps import Steps

        return Steps(self, self.stream(prompt, **options))

    def watch(self, policy: WatchPolicy = "coalesce", *, buffer: int = 256, after: int | None = None) -> Watcher:
        """One more watcher, of all turns from now on until the session is closed, with a queue of its own for `buffer` events.

        `policy` says what a full queue does: "block" makes the provider wait, "coalesce" joins deltas of one block,
        "drop_to_cursor" drops what waits and goes on from the journal. With `after` (a watcher's `cursor`; 0 is the beginning) it
        is first told every journalled event behind that entry. Joining in mid-step it gets a `StepSnapshot` first. Raises
        `ConfigError` for a buffer below 1 or a cursor that the journal does not have.
        """
        from .watch import hub_of

        return hub_of(self).watch(policy, buffer, after, None)

    async def run(
        self,
        prompt: Prompt | Move,
        *,
        context: Ctx | None = None,
        limits: Limits | None = None,
        stream: bool | None = None,
        client_ref: str | None = None,
        output: OutputType = None,
        stop_when: Iterable[StopCondition] = (),
    ) -> TurnResult:
        """One turn to its end. Raises what `stream` raises and, if the turn ended with an error, that error
        (`ProviderError`, `StateError` …) with the turn's true account in its `result` attribute; limits, timeouts and
        interrupts do not raise: see `TurnResult.reason`. An answer that is not of the form asked for with `output`, nor after its
        corrections, is an error, too (`invalid_output`). Cancelling it interrupts the turn."""
        wishes = Wishes(
            self._context_for(context),
            limits,
            stream,
            watched=False,
            client_ref=client_ref,
            output=spec_of(output),
            stop_when=tuple(stop_when),
        )
        turn = self._turn_of(prompt, wishes)
        async with turn:
            async for _ in turn.batches():
                pass
        return checked(turn.result)

    async def continue_(self, *, limits: Limits | None = None, client_ref: str | None = None) -> TurnResult:
        """A turn without an input: the model is asked again with the conversation as it is. If the model had the last word, it is
        told "Continue." in a message that is marked as the engine's own. Raises what `run` raises, and `SessionError`
        (`nothing_said`) if there is nothing to go on from. As a stream: `session.stream(Move.CONTINUE)`."""
        return await self.run(Move.CONTINUE, limits=limits, client_ref=client_ref)

    async def regenerate(self, *, limits: Limits | None = None, client_ref: str | None = None) -> TurnResult:
        """Take back the last turn and begin one with the same input; what was steered into it is not said again. Raises what `run`
        raises, and `SessionError` (`nothing_said`). As a stream: `session.stream(Move.REGENERATE)`."""
        return await self.run(Move.REGENERATE, limits=limits, client_ref=client_ref)

    async def resume(self, *, context: Ctx | None = None, stream: bool | None = None) -> TurnResult:
        """Go on with a parked turn; what is still waited for parks it again. Raises what `run` raises, and `SessionError`
        (`not_parked`). As a stream: `session.stream(Move.RESUME)`."""
        return await self.run(Move.RESUME, context=context, stream=stream)

    def run_sync(self, prompt: Prompt | Move, **options: Any) -> TurnResult:
        """`run` from synchronous code: `session.sync.run`. Ctrl-C interrupts the turn."""
        return self.sync.run(prompt, **options)

    def _turn_of(self, prompt: Prompt | Move, wishes: Wishes, on_leave: OnLeave = "stop") -> Turn:
        opening = prompt.begin(self, wishes.client_ref) if isinstance(prompt, Move) else prompt
        if prompt is Move.RESUME and (parked := self.parked) is not None:
            context = parked.context if wishes.context is None else wishes.context
            wishes = msgspec.structs.replace(wishes, context=context, output=parked.output)
        return Turn(self, opening, wishes, on_leave)

    async def steer(self, prompt: Prompt, *, skip_calls: bool = False, client_ref: str | None = None) -> bool:
        """Add to the running turn: the text enters before its next model call, behind the outcomes of calls that are open. True once
        it is durable; False if no turn is running any more, or it is being interrupted (then nothing was added).

        With `skip_calls` the calls that have not begun are not run, those that wait for leave included; the model is told so. A
        parked turn takes it, too, and needs `resume()` none the less. Raises `ConfigError` (`empty_prompt` …), `SessionClosed`.
        """
        self._refuse_if_gone()
        return await at_home(self, lambda: self._steer(prompt, skip_calls, client_ref))

    async def _steer(self, prompt: Prompt, skip_calls: bool, client_ref: str | None) -> bool:
        body = await self._accepted(prompt)
        if not self.state.running:
            return False
        return await self.apply(Steer(body, client_ref, skip_calls))

    def interrupt(self, keep: Keep = "partial") -> bool:
        """End the turn that runs or is parked; False if there is none, or it rests in a closed session. The stream still ends with
        `TurnFinished`. Callable from any task and any thread; returns at once, the turn ends within `Deadlines.grace_s`.

        `keep="none"` takes the turn out of the transcript, input included; its entries stay in the journal, and a notice
        (`side_effects`) names the tools that ran and are not `read_only`.
        """
        if keep not in ("partial", "none"):
            raise config_error("invalid_value", f"interrupt(keep={keep!r}): it is 'partial' or 'none'.")
        turn = self._turn
        resting = not self.state.running or (turn is None and self._closed)
        if self.forked or self._lost is not None or (resting and (turn is None or turn.opened)):
            return False
        given, home = Interrupt("user", keep), home_of(self)
        if home is None or process.in_loop(home):
            self.stop(given)
        else:
            home.call_soon_threadsafe(self.stop, given)
        return True

    def fork(self, at: int | None = None) -> Session[Ctx]:
        """A new session that goes on from where this one is, or was after turn `at`; this one is not changed.

        It has a journal and an id of its own, the same agent, settings, context and attachments, the whole history up to there, and
        the compactions that held there: so its first request begins with the very bytes of this one's, which the provider may
        still have in its cache. What a running turn has not committed yet, follow-ups and what is pending stay here.
        """
        self._refuse_if_gone()
        now, id = history_ops.moment(self.agent)
        created = history_ops.forked(self, at, id, now)
        store = self.agent.store if self.store is None else self.store
        fork = Session(
            self.agent, created, context=self.context, store=store, overrides=self.overrides, runtime=self._owner
        )
        fork.share_blobs(self)
        fork.keeper = self.keeper
        return fork

    @property
    def sync(self) -> SyncSession:
        """This session for synchronous code: `session.sync.run("…")`, `session.sync.steer("…")` …"""
        from .sync import SyncSession

        return SyncSession(self)

    async def close(self) -> Kept:
        """Interrupt a running turn and refuse all further input. A parked turn stays parked in its journal, and what is queued stays
        queued there. Returns what is kept. Idempotent."""
        self._closed = True
        if not self.forked:
            await (at_home(self, self._close) if self.bound else self._close())
        return self.kept

    async def _close(self) -> None:
        if self.sizes is not None:
            await self.sizes.stop()
        if self._turn is not None and self._turn.opened:
            await self._turn.close("closed")
        elif self._turn is not None:
            self._turn.call_off()
        await self.come_to_rest()
        follow_ups.close(self)
        await self.hook_close()
        self.forget_expiry()
        self._prefix = None
        if self.hub is not None:
            self.hub.close()
        if self.bound and self.runtime.ledger is not None:
            await self.runtime.ledger.settled()
        if self.keeper is not None:
            if self._turn is not None:
                self.keeper.call_off(self._turn)
            self.keeper.closed(self)

    async def __aenter__(self) -> Self:
        if self.arrival is not None:
            await self.arrival.arrive(self)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

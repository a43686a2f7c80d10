"""Who may write a session's journal: one process at a time, with a claim that the first append of a turn takes and the last gives back.

Only stores that have leases (`core.store.Store`) are claimed in; others have the compare-and-set of their appends and nothing else. A claim is
checked by the store with each append, by its fence. Between appends it is trusted for as long as the process's lease holds for
certain (`lease`); after that the store is asked before anything is done (rule D3). What has no fence, an effect outside of the
journal that began a moment before the claim was lost, cannot be taken back.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..core.changes import Parked, Recovered, Resumed, TurnContinued
from ..core.entries import Entry, InputAccepted, TurnEnded
from ..core.errors import ErrorInfo, SessionBusy, StateError, TurnwiseError
from ..core.inputs import Input, Interrupt
from ..core.store import Claim
from ..store.refusals import lease_lost
from . import refusals, snapshots
from .lease import Lease, lease_of

if TYPE_CHECKING:
    from .actor import Actor
    from .runtime import Runtime
    from .turn import Turn

BEGINS = frozenset((InputAccepted, TurnContinued, Resumed, Recovered))
ENDS = frozenset((TurnEnded, Parked))


class Claims:
    """The claim of one session. `fence` is 0 while there is none; `drove` is the turn that was driven under the last one, 0 once
    somebody else may have gone on with it."""

    __slots__ = ("_beginning", "_lapses", "_lease", "_refused", "_session", "_waiters", "drove", "fence", "saved")

    def __init__(self, session: Actor[Any], lease: Lease) -> None:
        self._session = session
        self._lease = lease
        self._beginning = 0
        self._lapses = 0
        self._refused: TurnwiseError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self.fence = 0
        self.drove = 0
        self.saved = snapshots.Saved()

    @property
    def sure(self) -> bool:
        """Whether the claim holds for certain: the lease does, and it did not run out since the store last said so."""
        lease = self._lease
        return self._lapses == lease.lapses and lease.sure

    # --- appending ----------------------------------------------------------------------------------------------------

    async def append(self, after: int, entries: Sequence[Entry]) -> None:
        """Append under the claim, taking it or giving it back. When this returns the claim holds, if the turn goes on."""
        session, lease = self._session, self._lease
        hold, turn = held_after(entries, held=self.fence != 0), session.state.turns
        await lease.ensure()
        lapses = lease.lapses
        self.fence = await lease.store.append(session.id, after, entries, lease.claim(self.fence, hold))
        self._settle(hold, turn, lapses)
        if not hold:
            return
        if session.lost is not None:
            self.let_go()
        elif not await self._still_holds():
            raise lease_lost(session.id, lease.owner.id)

    def append_at_once(self, after: int, entries: Sequence[Entry]) -> bool:
        """The same before this returns, if the lease holds for certain and the store can; else False, and nothing is done. What the store
        refuses the session is told."""
        session, lease = self._session, self._lease
        if lease.append_at_once is None or not lease.sure:
            return False
        hold, probe = held_after(entries, held=self.fence != 0), session.runtime.probe
        began = 0.0 if probe is None else session.runtime.loop.time()
        try:
            fence = lease.append_at_once(session.id, after, entries, lease.claim(self.fence, hold))
        except Exception as error:
            if probe is not None:
                probe.stored(session, len(entries), began, error)
            session.not_appended(error)
            return True
        if fence is None:
            return False
        if probe is not None:
            probe.stored(session, len(entries), began, None)
        self.fence = fence
        self._settle(hold, session.state.turns, lease.lapses)
        return True

    def _settle(self, hold: bool, turn: int, lapses: int) -> None:
        if hold:
            self.drove, self._lapses = turn, lapses
            self._lease.hold(self)
        else:
            self._forget()

    async def _still_holds(self) -> bool:
        """Ask the store unless it is sure, with the lease renewed; again if the lease ran out before the answer could be read. Raises what
        the store raises."""
        while not self.sure:
            await self._lease.ensure()
            if not await self._ask():
                return False
        return True

    async def _ask(self) -> bool:
        """Whether the claim holds, as the store has it."""
        lease, fence = self._lease, self.fence
        lapses = lease.lapses
        holds = fence != 0 and await lease.store.holds(self._session.id, lease.claim(fence))
        if holds and fence == self.fence:
            self._lapses = lapses
        return holds

    async def ensure(self) -> bool:
        """Whether the turn may do something now. If the claim is lost, or the store cannot be asked, the turn ends here."""
        if self.sure:
            return True
        session = self._session
        try:
            holds = await self._still_holds()
        except Exception as error:
            session.lose(refusals.append_failed(error, session.id))
            return False
        if not holds and session.lost is None:
            session.lose(self._lost_to_another())
        return holds

    async def look(self) -> None:
        """The lease was renewed late: another process may have taken the session over meanwhile."""
        session = self._session
        if self.fence and session.lost is None:
            with contextlib.suppress(Exception):  # asked again before the next effect
                if not await self._ask():
                    session.lose(self._lost_to_another())

    # --- losing -------------------------------------------------------------------------------------------------------

    def _lost_to_another(self) -> ErrorInfo:
        return lease_lost(self._session.id, self._lease.owner.id).info

    def let_go(self) -> asyncio.Task[None] | None:
        """The turn is not driven any more, though its journal says that it runs: whoever wants to may go on with it. Returns what
        gives the claim back, if there was one."""
        fence, lease = self.fence, self._lease
        lost = self._session.lost
        if lost is not None and lost.code in ("lease_lost", "session_busy", "append_conflict"):
            self.drove = 0
        self._forget()
        for waiter in self._waiters:
            _wake(waiter)
        return self._session.runtime.start(self._release(lease.claim(fence))) if fence else None

    async def _release(self, claim: Claim) -> None:
        with contextlib.suppress(Exception):  # it ends with the lease, or is not ours any more
            await self._lease.store.release(self._session.id, claim)

    def _forget(self) -> None:
        self.fence = 0
        self._lease.let_go(self)

    # --- the beginning of a turn --------------------------------------------------------------------------------------

    async def ready(self, patience_s: float) -> None:
        """Before a turn begins: see what became of a turn that this process does not drive, and have the transcript at hand. Raises
        `SessionBusy` if another process drives it."""
        session = self._session
        if is_left(session):
            await session.reload(patience_s)
            if is_left(session):
                await self._refuse_if_driven()
        if not snapshots.thaw(session.state, self.saved):
            await session.reload(patience_s, whole=True)

    async def _refuse_if_driven(self) -> None:
        """Only the store knows whether the process that has the session is alive: it is asked as if to claim it."""
        lease, session = self._lease, self._session
        await lease.ensure()
        fence = await lease.store.claim(session.id, lease.owner.id)
        await lease.store.release(session.id, lease.claim(fence))

    def takes(self, error: Exception) -> bool:
        """Whether this is the first append's refusal, which is the business of whoever begins the turn."""
        if not self._beginning or not isinstance(error, TurnwiseError):
            return False
        if not isinstance(error, SessionBusy) and error.code != "append_conflict":
            return False
        self._refused = error
        return True

    def begin(self) -> None:
        """A turn is about to be folded: what its first append is refused for is told to `begun`, also if that is at once."""
        self._beginning += 1

    async def begun(self, turn: Turn, again: Callable[[], Input]) -> None:
        """Wait until the turn's first append has claimed the session. If others have written to the journal since it was read, it is
        read anew and the turn begun once more. Raises `SessionBusy`, and `StateError` (`append_conflict`): then nothing was written."""
        session = self._session
        try:
            await self._first_append()
            if not turn.over and self._was_behind():
                self._refused = None
                await session.reload(turn.plan.deadlines.grace_s)
                session.restart(turn, again())
                await self._first_append()
        except BaseException as error:
            self._beginning -= 1
            if session.lost is None and not isinstance(error, TurnwiseError):
                session.post(Interrupt("left"))
            else:
                info = error.info if isinstance(error, TurnwiseError) else session.lost
                assert info is not None
                session.lose(info)
            raise
        self._beginning -= 1
        if (
            not turn.over and (refused := self._refused) is not None
        ):  # else it was refused to the next one, begun meanwhile
            self._refused = None
            session.lose(refused.info)
            raise refused

    async def _first_append(self) -> None:
        """Wait until it has ended, or the turn is lost before: a store that hangs holds nobody longer than the turn's grace."""
        appending = self._session.appending
        if appending is not None:
            waiter: asyncio.Future[None] = appending.get_loop().create_future()
            self._waiters.append(waiter)  # the turn may end with this very append, and the next one begin
            appending.add_done_callback(lambda _: _wake(waiter))
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    def _was_behind(self) -> bool:
        current = self._session.state.turn
        interrupted = current is not None and current.phase == "ending"
        return isinstance(self._refused, StateError) and not interrupted

    # --- the end of a turn --------------------------------------------------------------------------------------------

    def turn_over(self) -> None:
        """A turn has ended or is parked: perhaps the state is worth keeping."""
        snapshots.consider(self._session, self._lease.store, self.saved)

    async def save(self) -> bool:
        """Have the session saved as it is now; false if it cannot be."""
        return await snapshots.save(self._session, self._lease.store, self.saved)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def claims_of(session: Any, runtime: Runtime, store: Any, before: Claims | None) -> Claims:
    """The claims of a session in a store that has leases, under the lease of the runtime that it is bound to now."""
    claims = Claims(session, lease_of(runtime, store))
    if before is not None:
        claims.saved = before.saved
    return claims


def held_after(entries: Sequence[Entry], *, held: bool) -> bool:
    """Whether a turn is being driven after these entries."""
    for entry in entries:
        kind = type(entry)
        if kind in BEGINS:
            held = True
        elif kind in ENDS:
            held = False
    return held


def is_left(session: Actor[Any]) -> bool:
    """Whether the journal tells of a turn that runs and that nobody drives here."""
    driven = session.turn is not None and session.turn.opened
    return session.state.under_way and not driven

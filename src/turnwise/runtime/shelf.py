"""The sessions that are open in this process: at most one object for each, however many hold it, and a bound on those that nobody holds.

Two tables. *Live* refers weakly to every session that was opened and is still in use by anybody: it is what makes two callers share
one. *Held* keeps the `max_open` that were used last, so that they need not be read again. To let a session go is to save its
snapshot and hold it no longer. That takes nothing from a caller who still has it: the same object goes on working and is found again. What
runs, watches or waits refers to its session itself, so nothing that is under way is ever lost.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from ..core.inputs_rare import Expire
from .runtime import Runtime
from .timers import Timer

if TYPE_CHECKING:
    from .session import Session

EXPIRES_SOON_S = 60.0
"""A parked session that has a call to give up within this time is kept."""


class _Held:
    """A session that is kept, since when nobody has used it (loop's time), and the last entry that its snapshot covers."""

    __slots__ = ("going", "saved", "session", "used_at")

    def __init__(self, session: Session[Any], used_at: float, saved: int) -> None:
        self.session = session
        self.used_at = used_at
        self.saved = saved
        self.going = False


class Shelf:
    """`save` saves a snapshot; `wake` opens the session of that id when something of it expires that was let go."""

    __slots__ = ("_due", "_held", "_idle_s", "_live", "_max_open", "_runtime", "_save", "_timer", "_wake")

    def __init__(
        self,
        runtime: Runtime,
        max_open: int,
        idle_s: float | None,
        save: Callable[[Session[Any]], Awaitable[None]],
        wake: Callable[[str], None],
    ) -> None:
        self._runtime = runtime
        self._max_open = max_open
        self._idle_s = idle_s
        self._save = save
        self._wake = wake
        self._live: WeakValueDictionary[str, Session[Any]] = WeakValueDictionary()
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._due: dict[str, Timer] = {}
        self._timer: Timer | None = None

    def __len__(self) -> int:
        """How many are held."""
        return len(self._held)

    def get(self, session_id: str) -> Session[Any] | None:
        """The one live session of this id."""
        found = self._live.get(session_id)
        return None if found is None or found.closed else found

    def all(self) -> list[Session[Any]]:
        """Every session that is live."""
        return [session for session in self._live.values() if not session.closed]

    def use(self, session: Session[Any], saved: int = 0) -> None:
        """It was opened, or a turn of it began or ended. `saved`: what its snapshot covers."""
        self._live[session.id] = session
        if (timer := self._due.pop(session.id, None)) is not None:
            self._runtime.timers.cancel(timer)
            expire(session)
        held = self._held.get(session.id)
        if held is None or held.session is not session:
            held = self._held[session.id] = _Held(session, 0.0, saved)
        held.used_at = self._runtime.loop.time()
        self._held.move_to_end(session.id)
        self._arm()

    def remove(self, session: Session[Any]) -> None:
        """It was closed: another object may take its place."""
        if self._live.get(session.id) is session:
            del self._live[session.id]
        held = self._held.get(session.id)
        if held is not None and held.session is session:
            del self._held[session.id]

    # --- letting go -------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether more are held than may be."""
        return len(self._held) > self._max_open

    async def make_room(self) -> None:
        """Let those go that were used longest ago until no more than `max_open` are held. Those that are busy stay."""
        await self._let_go(lambda _: self.is_over)

    async def save_all(self) -> None:
        """Save a snapshot of all that are held."""
        for held in list(self._held.values()):
            await self._save_if_changed(held)

    async def _let_go(self, wanted: Callable[[_Held], bool]) -> None:
        for held in list(self._held.values()):
            if not wanted(held):
                return
            if held.going or not self._may_go(held.session):
                continue
            held.going, used_at = True, held.used_at
            try:
                await self._save_if_changed(held)
            finally:
                held.going = False
            session = held.session
            if self._held.get(session.id) is held and held.used_at == used_at and self._may_go(session):
                del self._held[session.id]
                self._wake_in_time(session)

    async def _save_if_changed(self, held: _Held) -> None:
        told = held.session.told
        if told > held.saved:
            await self._save(held.session)
            held.saved = told

    def _may_go(self, session: Session[Any]) -> bool:
        """Whether nothing of it is under way or about to be."""
        if session.turn is not None or not session.settled:
            return False
        due = _due_at(session)
        return due is None or due - self._runtime.clock.wall() > EXPIRES_SOON_S

    def _wake_in_time(self, session: Session[Any]) -> None:
        """The timer of what expires would keep the session: one that knows its id is enough."""
        due = _due_at(session)
        if due is None:
            return
        session.forget_expiry()
        session_id, left_s = session.id, due - self._runtime.clock.wall() - EXPIRES_SOON_S / 2
        self._due[session_id] = self._runtime.timers.at(
            self._runtime.loop.time() + max(left_s, 0.0), lambda: self._wake(session_id)
        )

    # --- idle sessions ----------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        """One timer, for the session that was used longest ago."""
        if self._idle_s is None or self._timer is not None or not self._held:
            return
        oldest = next(iter(self._held.values()))
        self._timer = self._runtime.timers.at(oldest.used_at + self._idle_s, self._look)

    def _look(self) -> None:
        self._timer = None
        if not self._runtime.closed:
            self._runtime.start(self._let_idle_go())

    async def _let_idle_go(self) -> None:
        assert self._idle_s is not None
        now, idle_s = self._runtime.loop.time(), self._idle_s
        await self._let_go(lambda held: held.used_at + idle_s <= now)  # the very sum that the timer is set for
        for session_id, held in list(self._held.items()):  # those that are busy are looked at again after as long
            if held.used_at + idle_s > now:
                break
            held.used_at = now
            self._held.move_to_end(session_id)
        self._arm()

    def close(self) -> None:
        """Hold nothing and look at nothing any more."""
        for timer in (*self._due.values(), *([self._timer] if self._timer is not None else [])):
            self._runtime.timers.cancel(timer)
        self._due.clear()
        self._timer = None
        self._held.clear()


def _due_at(session: Session[Any]) -> float | None:
    """When the first call of a parked turn is given up, in Unix seconds."""
    turn = session.state.turn
    if turn is None or turn.phase != "parked":
        return None
    return min([p.expires_at for p in turn.pending if p.expires_at is not None], default=None)


def expire(session: Session[Any]) -> None:
    """Look after what expires again, in a session whose timer was taken away."""
    turn = session.state.turn
    if session.bound and turn is not None and turn.phase == "parked" and session.turn is None:
        session.post(Expire())
        if session.state.running:
            session.expiry.watch(turn.pending)

"""What a session owes to its journal beside its turns: to be written down, to see what others have written, to be left as it is.

Other processes may use a session in between. Its turns find out by themselves (`claims`); here is what happens while none runs.
"""

from __future__ import annotations

import asyncio

import msgspec

from ..core.events import Event
from ..core.evolve import evolve
from ..core.protocols import Blobs
from ..core.state import SessionState
from ..core.store import Store
from ..core.turn import Machine, Policy
from ..store.projection import read_state
from ..store.refusals import unknown_session
from ..tools.context import Ctx
from . import refusals, snapshots
from .actor import Actor
from .changed import overrides_of
from .watch import told_again


class Stored(Actor[Ctx]):
    """The part of a session that other processes and its keeper have to do with."""

    __slots__ = ()

    async def catch_up(self) -> None:
        """While no turn runs: read what others have appended meanwhile, and tell it to those who watch. Raises `StateError`."""
        if self._turn is not None or not self.settled or self._lost is not None:
            return
        entries = await self.journal(self.told)
        if self._turn is not None or not self.settled or self.state.seq != self.told:
            return  # whatever began meanwhile sees to it
        counts: list[int] = []
        events: list[Event] = []
        for entry in entries:
            evolve(self.state, entry)
            told = told_again(entry, self.state)
            counts.append(len(told))
            events += told
        self.overrides = overrides_of(self.agent, self.state.settings, self.overrides)
        self.machine = Machine(self.state, Policy(), resting=True)
        self.watch_expiry()
        if self.hub is not None:
            self.hub.told(None, self.told, counts, events)
        self.told = self.state.seq

    async def write_down(self) -> None:
        """Have what was folded appended, and wait until it is durable: the beginning of a session, above all."""

        async def written() -> None:
            self.advance()
            await self.until_durable()

        await self.on_its_loop(written)

    async def leave_turn(self, patience_s: float) -> None:
        """Stop the running turn without a word to the journal, which stays as it is, to be gone on with elsewhere; take no more input.
        Waits, so long at most, until what was on its way into the journal is there and the tools have stopped."""
        self._closed = True
        stopping = self.lose(refusals.shut_down(self.id), lets_go=False)
        waited_for = [task for task in (stopping, self._appending) if task is not None and not task.done()]
        if waited_for:
            await asyncio.wait(waited_for, timeout=patience_s)
        if self.claims is not None and (releasing := self.claims.let_go()) is not None:
            await asyncio.wait((releasing,), timeout=patience_s)

    def watch_expiry(self) -> None:
        """Look after what waits in a parked turn, if there is one."""
        turn = self.state.turn
        if turn is not None and turn.phase == "parked":
            self.expiry.watch(turn.pending)

    # --- becoming another -------------------------------------------------------------------------------------------

    async def take_over(self, session_id: str) -> None:
        """Be the stored session of this id, before anything was asked of this one. Raises what reading it raises."""
        assert self._store is not None
        found = await read_state(self._store, session_id)
        if found is None:
            raise unknown_session(session_id)
        self.state, snapshot = found
        self._created, self._entries, self._counts, self.told = None, [], [], self.state.seq
        self.overrides = overrides_of(self.agent, self.state.settings, self.overrides)
        if self.claims is not None:
            self.claims.saved = snapshots.saved_as(snapshot)

    def begin_as(self, session_id: str) -> None:
        """Be the beginning of the session of this id, of which nothing is journalled yet."""
        assert self._created is not None
        created = msgspec.structs.replace(self._created, session=session_id)
        self.state = SessionState()
        evolve(self.state, created)
        self._created, self._entries = created, [created]

    def move_to(self, store: Store, blobs: Blobs) -> None:
        """Go on in that store, which has the whole journal, and its blobs."""
        self._blobs, self._records = blobs, None
        self._settle_in(store)

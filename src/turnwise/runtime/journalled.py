"""How a session stands to its journal: what is on its way there, what is durable, and how it is read again when an append was lost.

What comes into the journal is decided and appended in `actor`. Nothing here folds an input but `reload`, which closes what a lost append
has left open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

from ..core.entries import Entry
from ..core.errors import ErrorInfo, error_of
from ..core.events import Event
from ..core.evolve import fold
from ..core.inputs import Finish, Halted, Input, Interrupt, Park
from ..core.inputs_rare import Recover
from ..core.turn import Machine, Policy
from ..store.projection import read_state
from ..tools.context import Ctx
from . import follow_ups, refusals
from .changed import overrides_of
from .extensions import extended_of
from .ground import Ground
from .home import at_home
from .mailbox import TERMINAL
from .observer import tell_observers

if TYPE_CHECKING:
    from .actor import Actor
    from .turn import Turn

T = TypeVar("T")


Behind = tuple[list[int], list[Event]]
LAST = (Finish, Park)
"""What the machine wants when a turn is over, or rests."""


def behind_last_word(counts: list[int], events: list[Event]) -> tuple[list[int], list[Event], Behind | None]:
    """Counts and events up to the end of a turn, and those that came behind it in the same append, if any: they are no part of the turn,
    whose last event is its end."""
    begins = 0
    for entry, count in enumerate(counts, 1):
        begins += count
        if count and type(events[begins - 1]) in TERMINAL:
            return (
                (counts, events, None)
                if begins == len(events)
                else (
                    counts[:entry],
                    events[:begins],
                    (counts[entry:], events[begins:]),
                )
            )
    return counts, events, None


class Journalled(Ground[Ctx]):
    """The part of a session that keeps state and journal the same."""

    __slots__ = ()

    @property
    def lost(self) -> ErrorInfo | None:
        """Why the journal cannot be written, until it has been read again."""
        return self._lost

    @property
    def appending(self) -> asyncio.Task[None] | None:
        """The append that is under way."""
        return self._appending

    @property
    def settled(self) -> bool:
        """Whether nothing that was folded is still on its way into the journal."""
        return not self._advancing

    @property
    def owes(self) -> bool:
        """Whether entries wait to be appended with whatever comes next, as after `reload`: nobody is told of them but from the journal."""
        return self._created is None and bool(self._entries)

    def observed(
        self, turn: Turn | None, events: list[Event], counts: Sequence[int] = (), entries: Sequence[Entry] = ()
    ) -> None:
        """Tell whoever watches all turns, and hooks, of what is durable: `entries`, and how many of the events each has given."""
        if self.runtime.probe is not None:
            self.runtime.probe.appended(cast("Actor[Any]", self), turn, entries)
        if self.runtime.observers:
            tell_observers(cast("Actor[Any]", self), turn, events, counts)
        if events and (extended := extended_of(self)) is not None and extended.when_told:
            from .hooks.at_turn import events_told

            events_told(cast("Actor[Any]", self), turn, events)

    # --- becoming durable ---------------------------------------------------------------------------------------------

    def append_after(self, put: asyncio.Task[Any]) -> None:
        """Let nothing that is folded from now on become durable before these bytes are, or cannot be: it refers to them (rule D1)."""
        if self._puts is None:
            self._puts = set()
        self._puts.add(put)
        put.add_done_callback(self._puts.discard)

    async def put(self, after: int, entries: Sequence[Entry]) -> None:
        """Append to a store that takes its time."""
        probe, claims, store = self.runtime.probe, self.claims, self._store
        assert store is not None
        began = 0.0 if probe is None else self.runtime.loop.time()
        try:
            if claims is None:
                await store.append(self.id, after, entries)
            else:
                await claims.append(after, entries)
        except Exception as error:
            if probe is not None:
                probe.stored(cast("Actor[Any]", self), len(entries), began, error)
            raise
        if probe is not None:
            probe.stored(cast("Actor[Any]", self), len(entries), began, None)

    def tell_outside(self, counts: Sequence[int], events: Sequence[Event]) -> None:
        """Entries became durable that are of no turn."""
        if self.hub is not None:
            self.hub.told(None, self.told, counts, events)
        self.told += len(counts)
        self.observed(None, list(events), counts)

    async def until_durable(self) -> None:
        """Wait until all that was folded is durable."""
        while self._appending is not None:
            await asyncio.wait((self._appending,))
        if self._lost is None:
            return
        if self.claims is None or self._turn is not None or self._lost.code != "append_conflict":
            raise error_of(self._lost)
        await self.reload(self.agent.deadlines.grace_s)  # others have written since the journal was read

    async def come_to_rest(self) -> None:
        """Wait until nothing is on its way into the journal, as long as the clean-up of a turn may take."""
        if (appending := self._appending) is not None:
            done, _ = await asyncio.wait((appending,), timeout=self.agent.deadlines.grace_s)
            if done and self._lost is None:
                await self.come_to_rest()

    async def journal(self, after: int) -> Sequence[Entry]:
        """The entries that are durable, from number `after` + 1 on."""
        if self._store is None:
            await self._bind()
        assert self._store is not None
        return await self._store.read(self.id, after)

    # --- going on -----------------------------------------------------------------------------------------------------

    async def on_its_loop(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Do something that begins no turn, on the loop that the session lives on. Raises as `apply`."""
        self._refuse_if_gone()

        async def bound() -> T:
            await self._bind()
            if self._lost is not None and self._turn is None:
                await self.reload(self.agent.deadlines.grace_s)
            self._refuse_if_gone()
            return await work()

        return await at_home(self, bound)

    def take_on(self, given: Input, policy: Policy) -> None:
        """The machine goes on by this policy; on a turn that was left, anew."""
        if type(given) is Recover:
            self.machine = Machine(self.state, policy)
        self.machine.policy = policy

    # --- reading it again ---------------------------------------------------------------------------------------------

    async def reload(self, patience_s: float, *, whole: bool = False) -> None:
        """After a failed append the journal is the truth: read it again, and end the turn that was running here. `whole`: without a
        snapshot, which is damaged. Callers that come together share one reading; whose input was folded before has to fold it again
        if `reads` has grown."""
        if self._reading is None:
            self._reading = self.runtime.start(self._reload(patience_s, whole))
            self._reading.add_done_callback(self._read)
        reading = self._reading
        await asyncio.wait((reading,))
        reading.result()

    def _read(self, reading: asyncio.Task[None]) -> None:
        if self._reading is reading:
            self._reading = None

    async def _reload(self, patience_s: float, whole: bool) -> None:
        assert self._store is not None
        if self._appending is not None:
            done, _ = await asyncio.wait((self._appending,), timeout=patience_s)
            if not done:
                raise error_of(self._lost or refusals.APPEND_BLOCKED)
        found = await read_state(self._store, self.id, whole=whole)
        if found is not None:
            self.state, self._entries, self._counts = found[0], [], []
            self.told = self.state.seq
        else:
            if self._created is None:
                raise refusals.journal_shorter(self.id, self.told)
            self._entries, self._counts, self.told = [self._created], [0], 0
            self.state = fold(self._entries)
        self.reads += 1
        if self.hub is not None:
            self.hub.fell_behind()
        self._events, self._effects, self._prefix, self._lost = [], [], None, None
        self.last_sent = None
        self.overrides = overrides_of(self.agent, self.state.settings, self.overrides)
        self.machine = Machine(self.state, Policy(), resting=True)
        if self.follow_up_handles:
            follow_ups.read_again(cast("Actor[Any]", self))
        current = self.state.turn
        ours = self.claims is None or current is None or self.claims.drove == current.number
        if ours and self.state.under_way:
            now = self.runtime.clock.wall()
            for given in (Interrupt("store"), Halted(lost=True)):
                folded = self.machine.feed(given, now)
                self._entries += folded.entries
                self._counts += [0] * len(folded.entries)

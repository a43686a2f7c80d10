"""The account of a session. What its turns have spent is in its journal, so nothing else is kept: a tally reads the entries that it has not
read yet when a turn begins, and notes what that turn spends until the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.budgets import NOTHING, no_turn, spent_in, window_at
from ...core.protocols import Clock
from .account import Account, Budgets, Key

if TYPE_CHECKING:
    from ..actor import Actor


class Tally(Account):
    """`_read` is the number of the last entry that is in `_sum`, which is of window `_of`."""

    __slots__ = ("_of", "_read", "_sum")

    def __init__(self, key: Key, clock: Clock) -> None:
        super().__init__(key, clock)
        self._read = 0
        self._of = self.window
        self._sum = NOTHING

    async def read(self, session: Actor[Any]) -> None:
        """Have all of the session's journal counted, before a turn spends anything. Raises what the store raises."""
        window = self.window
        if window != self._of or session.state.seq < self._read:
            self._read, self._of, self._sum = 0 if window == self._of else self._read, window, NOTHING
        entries = await session.journal(self._read)
        for entry in entries:
            said = spent_in(entry)
            if said is not None and window_at(self.key.window_s, said[0] or 0.0) == window:
                self._sum += said[1]
        self._read += len(entries)
        self.begin_anew(window, self._sum)

    @property
    def was_read(self) -> bool:
        return self._read > 0

    def take_turn(self, budgets: Budgets) -> str:
        """It is in the journal by now, and stays there if it is refused."""
        begun = self.spent.turns - 1
        return next((cause for budget in budgets if (cause := no_turn(budget, begun))), "")

    def give_turn_back(self) -> None:
        """Nothing is to be given back."""

"""The accounts of a runtime, and how they outlive it: in the records of the store that the sessions are in, if it has any.

An account is read when a turn first needs it, and again once what is known of it is some seconds old. What was spent is written behind, when a
turn ends and now and then in a long one, by compare-and-set: each process adds what it spent itself, so several add up. Between two
writes they do not see one another: they may pass a budget together by what they spend in that time, and what a process had not
written when it was killed is never counted. A failed write is tried again with the next one; meanwhile the part `budgets` is degraded.

The records stand in a scope that tools cannot reach: what bounds a model must not be in its reach.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import msgspec

from ...core.budgets import NOTHING, Budget, BudgetStatus, Used
from ...core.errors import StateError, TurnwiseError, state_error
from ...core.principal import LOCAL
from ...core.store import Record, Records, Scope
from ...store.versions import version_of
from .. import process
from ..parts import has_records
from .account import Account, Key

if TYPE_CHECKING:
    from ..actor import Actor
    from ..runtime import Runtime
    from .tally import Tally

FRESH_S = 5.0
"""For how long what was read of an account is taken for true, in seconds."""
BEHIND_S = 30.0
"""How long a turn may go on before what it spent is written, though it has not ended."""
KEPT = 1024
"""Accounts that are kept in memory while nobody uses them, though the store has them."""
TRIES = 20
"""How often a write is tried while other processes write in between."""
PAUSE_CAP_S = 0.2
CLOSE_S = 5.0
"""How long a closing runtime waits for its store."""
PART = "budgets"
TRIED_AGAIN = "It is tried again when the next turn ends; until then other processes do not count it."


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a record says: what was spent in which window."""

    window: int
    used: Used


class Place:
    """Where an account is kept, and how it stands with its record. `doubt` is what was being written when nobody could tell whether it
    arrived: the writer's mark that the record then bears, the window and the amount. `trouble` is why it could not be read last."""

    __slots__ = ("doubt", "lock", "read_at", "reading", "records", "saved_at", "scope", "trouble", "writing")

    def __init__(self, records: Records, scope: Scope, now: float) -> None:
        self.records = records
        self.scope = scope
        self.read_at: float | None = None
        self.saved_at = now
        self.reading: asyncio.Task[None] | None = None
        self.writing: asyncio.Task[None] | None = None
        self.lock = asyncio.Lock()  # what is read while something is written may be older than that
        self.doubt: tuple[str, int, Used] | None = None
        self.trouble: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether it is being read or written."""
        return any(task is not None and not task.done() for task in (self.reading, self.writing))

    @property
    def is_written(self) -> bool:
        """Whether that is done now."""
        return self.writing is not None and not self.writing.done()


class Ledger:
    """One for a runtime, made when something first has a budget. `budgets` are the runtime's own. Belongs to the runtime's loop, but for
    `spent`, which any thread may call."""

    def __init__(self, runtime: Runtime, budgets: Iterable[Budget] = ()) -> None:
        self.budgets = tuple(budgets)
        self.tallies: WeakKeyDictionary[Actor[Any], dict[Key, Tally]] = WeakKeyDictionary()
        self._runtime = runtime
        self._accounts: OrderedDict[Key, Account] = OrderedDict()
        self._places: dict[Account, Place] = {}
        self._mark = ""
        self._written = 0

    def account(self, key: Key, session: Actor[Any]) -> Account:
        """The account of that key, to be kept where this session is, if it is kept nowhere yet."""
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = Account(key, self._runtime.clock, self)
            if len(self._accounts) > KEPT:
                self._let_go()
        self._accounts.move_to_end(key)
        if account not in self._places and (records := self._records_of(session)) is not None:
            self._places[account] = Place(records, _scope_of(key), self._runtime.loop.time())
        return account

    def statuses(self) -> tuple[BudgetStatus, ...]:
        """How all budgets stand that turns of this runtime have drawn on lately."""
        return tuple([account.status(budget) for account in self._accounts.values() for budget in account.terms])

    def _records_of(self, session: Actor[Any]) -> Records | None:
        for store in (self._runtime.store, session.store):
            if has_records(store):
                return store
        return None

    def _let_go(self) -> None:
        """Drop accounts that the store has, those used longest ago first, until few enough are left; what only memory has stays."""
        for key, account in list(self._accounts.items()):
            if len(self._accounts) <= KEPT:
                return
            place = self._places.get(account)
            if place is not None and account.idle and not place.busy:
                del self._accounts[key], self._places[account]

    # --- reading ------------------------------------------------------------------------------------------------------

    async def fresh(self, account: Account) -> None:
        """Know what others have spent of it. Raises `StateError` (`budget_unreadable`): a budget that cannot be read allows nothing (rule
        P1)."""
        place = self._places.get(account)
        if place is None:
            return
        now = self._runtime.loop.time()
        if place.read_at is not None and now - place.read_at < FRESH_S:
            return
        if place.reading is None or place.reading.done():
            place.reading = self._runtime.start(self._read(account, place))
        reading = place.reading
        await asyncio.wait((reading,))
        if reading.cancelled():
            raise unreadable(account.key, "the runtime is being closed")
        if place.trouble is not None:
            raise unreadable(account.key, words(place.trouble)) from place.trouble

    async def _read(self, account: Account, place: Place) -> None:
        place.trouble = None
        async with place.lock:
            now = self._runtime.loop.time()
            try:
                found = await place.records.get_record(place.scope, _name_of(account.key))
                kept = _kept(found)
            except Exception as error:
                place.trouble = error
                return
            self._clear_up(account, place, found, kept)
            if kept is not None:
                account.saved(kept.window, NOTHING, kept.used)
            place.read_at = now

    # --- writing ------------------------------------------------------------------------------------------------------

    def spent(self, account: Account, *, at_once: bool) -> None:
        """Something was spent of it: write that down soon, or when it is time to. Callable from any thread."""
        place = self._places.get(account)
        if place is None or self._runtime.closed or not (at_once or self._is_due(place)):
            return
        loop = self._runtime.loop
        if process.in_loop(loop):
            self._begin(account, place)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and the runtime with it
                loop.call_soon_threadsafe(self._begin, account, place)

    def _is_due(self, place: Place) -> bool:
        return self._runtime.loop.time() - place.saved_at >= BEHIND_S

    def _begin(self, account: Account, place: Place) -> None:
        if not place.is_written and account.unsaved()[1] != NOTHING:
            place.writing = self._runtime.start(self._write(account, place))

    async def settled(self) -> None:
        """Wait until all that was spent so far is written, or cannot be; at most `CLOSE_S`."""
        for account, place in list(self._places.items()):
            self._begin(account, place)
        writing = [place.writing for place in self._places.values() if place.is_written and place.writing is not None]
        if writing:
            await asyncio.wait(writing, timeout=CLOSE_S)

    async def _write(self, account: Account, place: Place) -> None:
        """Never raises but when it is cancelled."""
        try:
            while account.unsaved()[1] != NOTHING:
                async with place.lock:
                    await self._write_once(account, place)
        except Exception as error:
            info = _unwritten(error).info
            self._runtime.health.degrade(PART, info.code, info.message)
        else:
            self._runtime.health.restore(PART)
            place.saved_at = place.read_at = self._runtime.loop.time()

    async def _write_once(self, account: Account, place: Place) -> None:
        name = _name_of(account.key)
        for tries in range(TRIES):
            if tries:
                await self._runtime.sleep(self._runtime.random.random() * min(PAUSE_CAP_S, 0.002 * 2**tries))
            found = await place.records.get_record(place.scope, name)
            kept = _kept(found)
            self._clear_up(account, place, found, kept)
            window, amount = account.unsaved()
            if amount == NOTHING:
                return
            if kept is not None and kept.window > window:  # the clocks differ: to others this window is over
                account.saved(window, amount, NOTHING)
                return
            total = amount if kept is None or kept.window < window else kept.used + amount
            mark = self._new_mark()
            place.doubt = mark, window, amount
            try:
                await place.records.put_record(
                    place.scope,
                    name,
                    msgspec.json.encode(Kept(window, total)),
                    expect=version_of(found),
                    writer=mark,
                    ttl_s=None if account.key.window_s is None else 2 * account.key.window_s,
                )
            except StateError as error:
                if error.code != "version_conflict":
                    raise
                place.doubt = None
            else:
                place.doubt = None
                account.saved(window, amount, total)
                return
        raise state_error(
            "budget_contended", f"{TRIES} tries to write down what was spent were overtaken.", TRIED_AGAIN
        )

    def _clear_up(self, account: Account, place: Place, found: Record | None, kept: Kept | None) -> None:
        """Whether a write arrived that ended in an error: then its mark is in the record. One that was overtaken since counts as
        not arrived: it is better to count twice than not at all."""
        doubt, place.doubt = place.doubt, None
        if doubt is not None and found is not None and kept is not None and found.writer == doubt[0]:
            account.saved(doubt[1], doubt[2], kept.used)

    def _new_mark(self) -> str:
        if not self._mark:
            self._mark = self._runtime.ids.session_id()
        self._written += 1
        return f"budget:{self._mark}:{self._written}"


def ledger_of(runtime: Runtime) -> Ledger:
    """The runtime's ledger, made if it has none."""
    if runtime.ledger is None:
        runtime.ledger = Ledger(runtime)
    return runtime.ledger


# --- records ----------------------------------------------------------------------------------------------------------

_decode = msgspec.json.Decoder(Kept).decode


def _scope_of(key: Key) -> Scope:
    """`State` makes scopes of the kind "global" without a name only. An agent's own budget belongs to no tenant."""
    return Scope("global", "turnwise.budgets", key.tenant or LOCAL.tenant)


def _name_of(key: Key) -> str:
    """Unambiguous, whatever the names are."""
    return msgspec.json.encode([key.per, key.subject, key.agent, key.name, key.window_s]).decode()


def _kept(record: Record | None) -> Kept | None:
    return None if record is None else _decode(record.value)


def words(error: BaseException) -> str:
    """What went wrong, in short."""
    return error.message if isinstance(error, TurnwiseError) else f"{type(error).__name__}: {error}"


def _unwritten(error: Exception) -> StateError:
    return state_error(
        "budget_unwritten",
        f"What was spent could not be written down: {words(error)}.",
        TRIED_AGAIN,
    )


def unreadable(key: Key, why: str) -> StateError:
    """The error of a budget that cannot be told."""
    return state_error(
        "budget_unreadable",
        f"What {key.per} {key.subject or key.tenant} has spent of its budget {key.name!r} cannot be read: {why}.",
        "See that the store works: a budget that nobody can tell allows nothing.",
    )

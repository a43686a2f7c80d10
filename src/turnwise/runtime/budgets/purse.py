"""What one turn draws on: the accounts of its session, agent, user and tenant, and those of the turns that it is nested in.

A purse is made only where there is a budget. Its accounts are looked up when the turn is about to send its first request, which is where
the store is first asked; from then on a request is held back in all of them or in none, and settled in all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.budget import LOW_SHARE, Estimate, Low, Remaining, least
from ...core.budgets import BOUNDS, NOTHING, Budget, BudgetStatus, Used, left_of, used_by
from ...core.errors import TurnwiseError
from ...core.inputs import ModelFailed
from ...core.inputs_rare import LimitHit
from ...core.principal import LOCAL, Principal
from ...core.usage import Usage
from ..learn import learn_needed
from .account import Account, Budgets, Key
from .ledger import Ledger, ledger_of, unreadable, words
from .tally import Tally

if TYPE_CHECKING:
    from ..actor import Actor
    from ..agent import Agent
    from ..plan import Target

Accounts = dict[Account, Budgets]


class Purse:
    """`above` is that of the turn that this one is nested in; `resumed`: the turn was counted when it began. One request at a time is
    held for."""

    __slots__ = (
        "_above",
        "_held",
        "_ledger",
        "_opened",
        "_resumed",
        "_session",
        "accounts",
        "bounds_cost",
        "principal",
    )

    def __init__(self, session: Actor[Any], above: Purse | None, *, resumed: bool) -> None:
        self._session: Actor[Any] | None = session
        self._ledger = ledger_of(session.runtime)
        self._above: Accounts = {} if above is None else above.accounts
        self._resumed = resumed
        self._opened = False
        self._held = NOTHING
        self.accounts: Accounts = dict(self._above)
        own = session.state.principal
        self.principal: Principal = above.principal if above is not None and own == LOCAL else own
        """On whose behalf it spends: a run that a tool starts, and that does not say so, spends on behalf of the tool's turn."""
        self.bounds_cost = bounds_cost(session, above)

    # --- before a request ---------------------------------------------------------------------------------------------

    async def ready(self, target: Target) -> bool:
        """Have the accounts at hand, and something left in each; else the machine is told, and the request is not made. Waits for the
        store, if it has to be asked."""
        session = self._session
        if session is None:
            return False
        try:
            if self.bounds_cost:
                await learn_needed((target,), session.runtime, needs_prices=True)
            cause = await self._open(session)
        except TurnwiseError as error:
            session.post(ModelFailed(error.info))
            return False
        cause = cause or next((said for a, terms in self.accounts.items() if (said := a.look(terms))), "")
        if cause:
            session.post(LimitHit(cause))
        return not cause

    async def _open(self, session: Actor[Any]) -> str:
        """Find the accounts, and count the turn in those that are its own and not of a turn above; the cause, if one does not allow it. Later
        on, see what others have spent meanwhile. Raises `StateError`."""
        if self._opened:
            for account in self.accounts:
                if account.ledger is self._ledger:
                    await self._ledger.fresh(account)
            return ""
        found = await opened(session, self._ledger, self.principal)
        own = {account: terms for account, terms in found.items() if account not in self._above}
        for account, terms in found.items():
            self.accounts[account] = tuple(dict.fromkeys((*self.accounts.get(account, ()), *terms)))
        self._opened = True
        return "" if self._resumed else _count_turn(own)

    def hold(self, coming: Estimate) -> str:
        """Hold back a request in all accounts; "" if all allow it, else the cause, and then nothing is held."""
        self.let_go()
        held, done = Used(coming.cost, coming.tokens, 1), list[Account]()
        for account, terms in self.accounts.items():
            if cause := account.hold(terms, coming, held):
                for other in done:
                    other.settle(held, NOTHING)
                return cause
            done.append(account)
        self._held = held
        return ""

    # --- after it -----------------------------------------------------------------------------------------------------

    def settle(self, usage: Usage | None, *, requests: int = 0) -> None:
        """Put what a request took in the place of what was held for it."""
        held, self._held = self._held, NOTHING
        took = used_by(usage, requests=requests)
        for account in self.accounts:
            account.settle(held, took)
            if account.ledger is not None:
                account.ledger.spent(account, at_once=False)

    def add(self, usage: Usage) -> None:
        """Something else was used for the turn, such as a summary."""
        took = used_by(usage)
        for account in self.accounts:
            account.settle(NOTHING, took)

    def let_go(self) -> None:
        """The request is not sent after all, or nobody knows what it took."""
        held, self._held = self._held, NOTHING
        if held is not NOTHING:
            for account in self.accounts:
                account.settle(held, NOTHING)

    def close(self) -> None:
        """The turn is over, or parked: what it spent is written down. What is kept of it keeps no session alive."""
        self.let_go()
        self._session = None
        for account in self.accounts:
            if account.ledger is not None:
                account.ledger.spent(account, at_once=True)

    # --- looking ------------------------------------------------------------------------------------------------------

    def remaining(self) -> Remaining:
        """What is left of all."""
        left = Remaining()
        for account, terms in self.accounts.items():
            committed = account.committed
            for budget in terms:
                one = left_of(budget, committed)
                left = least(left, Remaining(one.requests, None, one.tokens, one.cost))
        return left

    def low(self) -> list[Low]:
        """The budgets of which little is left."""
        found: list[Low] = []
        for account, terms in self.accounts.items():
            spent = account.spent
            for budget in terms:
                for name in BOUNDS:
                    bound, used = getattr(budget, name), getattr(spent, name)
                    if bound is not None and 0 < used >= bound * (1 - LOW_SHARE):
                        found.append(Low(f"budget:{budget.label}.{name}", used, bound))
        return found


def _count_turn(own: Accounts) -> str:
    """Count the turn in all of these, or in none."""
    done: list[Account] = []
    for account, terms in own.items():
        if cause := account.take_turn(terms):
            for other in done:
                other.give_turn_back()
            return cause
        done.append(account)
    return ""


# --- which accounts ---------------------------------------------------------------------------------------------------


def bounds_cost(session: Actor[Any], above: Purse | None) -> bool:
    """Whether any budget that a turn of this session draws on is one of money."""
    own = [budget for _, budget in _terms(session.agent, session.runtime.ledger)]
    return (above is not None and above.bounds_cost) or any(budget.cost is not None for budget in own)


async def opened(session: Actor[Any], ledger: Ledger, principal: Principal, *, reads: bool = True) -> Accounts:
    """The accounts that a turn of this session draws on by itself, as they stand now; without `reads` the session's own as it was when
    its turn began. Raises `StateError` (`budget_unreadable`)."""
    found: dict[Account, list[Budget]] = {}
    for agent, budget in _terms(session.agent, ledger):
        key = _key(agent, budget, session, principal)
        account = _tally(session, ledger, key) if budget.per == "session" else ledger.account(key, session)
        found.setdefault(account, []).append(budget)
    for account, terms in found.items():
        account.terms = tuple(terms)
        if isinstance(account, Tally):
            if reads or not account.was_read:
                await _read(account, session)
        else:
            await ledger.fresh(account)
    return {account: tuple(terms) for account, terms in found.items()}


async def statuses(session: Actor[Any]) -> tuple[BudgetStatus, ...]:
    """How the budgets stand that the next turn of this session would draw on. Raises as `opened`."""
    await session.bind()
    idle = not session.running  # while a turn spends, the journal is behind it
    accounts = await opened(session, ledger_of(session.runtime), session.state.principal, reads=idle)
    return tuple([account.status(budget) for account, terms in accounts.items() for budget in terms])


def _terms(agent: Agent[Any], ledger: Ledger | None) -> list[tuple[str, Budget]]:
    """The budgets of the runtime and of the agent, with whose they are."""
    shared = () if ledger is None else ledger.budgets
    return [*[("", budget) for budget in shared], *[(agent.name, budget) for budget in agent.budgets]]


def _key(agent: str, budget: Budget, session: Actor[Any], principal: Principal) -> Key:
    match budget.per:
        case "session":
            tenant, subject = principal.tenant, session.id
        case "agent":
            tenant, subject = "", session.agent.name
        case "user":
            tenant, subject = principal.tenant, principal.user
        case "tenant":
            tenant, subject = principal.tenant, ""
    return Key(agent, budget.per, tenant, subject, budget.label, budget.window_s)


def _tally(session: Actor[Any], ledger: Ledger, key: Key) -> Tally:
    tallies = ledger.tallies.setdefault(session, {})
    if key not in tallies:
        tallies[key] = Tally(key, session.runtime.clock)
    return tallies[key]


async def _read(tally: Tally, session: Actor[Any]) -> None:
    try:
        await tally.read(session)
    except Exception as error:
        raise unreadable(tally.key, words(error)) from error

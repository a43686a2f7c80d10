"""Who may write, in memory: leases of owners, and claims of sessions with their fences (rule D3)."""

from __future__ import annotations

from typing import NamedTuple

from ...core.store import Claim, Owner
from ..refusals import claimed, lease_lost


class Held(NamedTuple):
    """A claim that somebody has."""

    owner: str
    fence: int


class Claims:
    """Nothing here waits and nothing here has a clock: every question comes with the time. `admit` refuses and changes nothing;
    `take` changes and refuses nothing. `held` are the claims that somebody has, by session."""

    __slots__ = ("_fences", "_leases", "held")

    def __init__(self) -> None:
        self._leases: dict[str, tuple[Owner, float]] = {}
        self.held: dict[str, Held] = {}
        self._fences: dict[str, int] = {}

    def renew(self, owner: Owner, until: float) -> None:
        self._leases[owner.id] = (owner, until)

    def retire(self, owner: str) -> None:
        self._leases.pop(owner, None)
        for session in [session for session, held in self.held.items() if held.owner == owner]:
            del self.held[session]

    def until(self, owner: str) -> float:
        """When the owner's lease runs out; long ago if it has none."""
        lease = self._leases.get(owner)
        return 0.0 if lease is None else lease[1]

    def living(self, session: str, now: float) -> bool:
        """Whether somebody has the session whose lease has not run out."""
        held = self.held.get(session)
        return held is not None and self.until(held.owner) > now

    def admit(self, session: str, claim: Claim | None, now: float) -> None:
        """Raises `SessionBusy` or `StateError` (`lease_lost`) if an append under this claim is refused."""
        held = self.held.get(session)
        if claim is not None and claim.fence:
            if held != (claim.owner, claim.fence):
                raise lease_lost(session, claim.owner)
        elif held is not None and (claim is None or held.owner != claim.owner):
            self.refuse_if_living(session, now)

    def refuse_if_living(self, session: str, now: float) -> None:
        if self.living(session, now):
            owner, until = self._leases[self.held[session].owner]
            raise claimed(session, owner, until)

    def take(self, session: str, claim: Claim) -> int:
        """The fence of a claim that was admitted; a claim that does not hold is given back at once."""
        held = self.held.get(session)
        if held is None or held.owner != claim.owner:
            fence = self._fences[session] = self._fences.get(session, 0) + 1
            held = self.held[session] = Held(claim.owner, fence)
        if not claim.hold:
            del self.held[session]
        return held.fence

    def holds(self, session: str, claim: Claim) -> bool:
        return self.held.get(session) == (claim.owner, claim.fence)

    def release(self, session: str, claim: Claim) -> None:
        if self.holds(session, claim):
            del self.held[session]

    def forget(self, session: str) -> None:
        """The session is gone, whoever had it."""
        self.held.pop(session, None)
        self._fences.pop(session, None)

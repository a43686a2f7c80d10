"""What can be done to a store in a sequence, and the model of the contract that tells what must come of it, so simple that it can be read: a few
dictionaries. Who plays the sequences, and compares, is `model`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from ...core.entries import Entry, InputAccepted, SessionCreated, TurnEnded
from ...core.principal import Principal
from ...core.store import Claim, Edit, NewSession, Owner, Scope, Snapshot, StoredStatus
from .kit import Trial, expect, refused, same
from .samples import AT, asked, ended, said, whole_turn

T = TypeVar("T")


class Op(NamedTuple):
    """What is done; the numbers choose among the few sessions, owners, names and keys that there are, and say how."""

    kind: str
    a: int
    b: int
    c: int


@dataclass
class Kept:
    """What the model knows of a session."""

    name: str | None = None
    title: str = ""
    archived: bool = False
    entries: list[Entry] = field(default_factory=list[Entry])
    snapshot: Snapshot | None = None
    owner: str = ""
    fence: int = 0
    changed: int = 0

    @property
    def status(self) -> StoredStatus:
        turns = [entry for entry in self.entries if isinstance(entry, (InputAccepted, TurnEnded))]
        return "running" if turns and isinstance(turns[-1], InputAccepted) else "idle"

    @property
    def turns(self) -> int:
        return len([entry for entry in self.entries if isinstance(entry, InputAccepted)])


@dataclass
class Value:
    """What the model knows of a record."""

    value: bytes
    version: int
    until: float | None


@dataclass
class Play:
    """One sequence being played. `log` says what was done so far."""

    trial: Trial
    tenant: str
    handles: list[Any]
    now: float = 0.0
    clock: int = 0
    sessions: dict[str, Kept] = field(default_factory=dict[str, Kept])
    highest: dict[str, int] = field(default_factory=dict[str, int])
    leases: dict[str, float] = field(default_factory=dict[str, float])
    claims: list[tuple[str, Claim]] = field(default_factory=list[tuple[str, Claim]])
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    log: list[str] = field(default_factory=list[str])

    @property
    def scope(self) -> Scope:
        return Scope("user", "u", self.tenant)

    def session(self, n: int) -> str:
        return f"{self.tenant}-s{n % 3}"

    def owner(self, n: int) -> str:
        return f"{self.tenant}-o{n % 2}"

    def kept(self, n: int) -> Kept | None:
        return self.sessions.get(self.session(n))

    def lives(self, kept: Kept) -> bool:
        """Whether a living owner has it."""
        return bool(kept.owner) and self.leases.get(kept.owner, -1.0) > self.now

    def value(self, key: str) -> Value | None:
        value = self.values.get(key)
        return value if value and (value.until is None or value.until > self.now) else None

    def changed(self, kept: Kept) -> None:
        self.clock += 1
        kept.changed = self.clock

    async def ask(self, what: str, asked: Awaitable[T], code: str = "") -> T | None:
        """Does it, and sees that it is refused with this code, or not at all."""
        self.log.append(f"{what}  # {code or 'done'}")
        if code:
            await refused(asked, code, what)
            return None
        return await asked


# --- what can be done -----------------------------------------------------------------------------------------------------


async def _append(at: Play, store: Any, op: Op) -> None:
    session, kept = at.session(op.a), at.kept(op.a)
    last = len(kept.entries) if kept else 0
    after = max(0, last + (0, 0, 0, 0, 0, -1, 1)[op.b % 7])
    entries = _entries(at, session, after, op)
    claim = _claim_for(at, session, op.c)
    if kept is None:
        code = "session_deleted" if after else ""
    else:
        code = _refusal(at, kept, claim) or ("append_conflict" if after != last else "")
    what = f"append({session!r}, {after}, {len(entries)} entries, {claim})"
    fence = await at.ask(what, store.append(session, after, entries, claim), code)
    if fence is None:
        return
    kept = at.sessions.setdefault(session, kept or Kept())
    kept.entries += entries
    at.changed(kept)
    _took(at, session, kept, claim, fence)


def _entries(at: Play, session: str, after: int, op: Op) -> list[Entry]:
    turn = after + 1
    bodies: tuple[list[Entry], ...] = (
        [asked("open", turn)],
        [said("more", turn)],
        [ended(turn)],
        whole_turn("all", turn=turn),
    )
    body = bodies[op.b % 4]
    return body if after else [SessionCreated(session, Principal(at.tenant), AT), *body]


def _claim_for(at: Play, session: str, n: int) -> Claim | None:
    """None, one that takes the session, or one that was good once."""
    once = [claim for of, claim in at.claims if of == session]
    hold = n % 5 != 0
    if n % 4 == 0:
        return None
    if n % 4 == 1 or not once:
        return Claim(at.owner(n // 4), 0, hold)
    old = once[-1] if n % 4 == 2 else once[n % len(once)]
    return Claim(old.owner, old.fence, hold)


def _refusal(at: Play, kept: Kept, claim: Claim | None) -> str:
    """How an append under this claim is refused, wherever it goes."""
    if claim is not None and claim.fence:
        return "" if (kept.owner, kept.fence) == (claim.owner, claim.fence) else "lease_lost"
    return "session_busy" if at.lives(kept) and (claim is None or kept.owner != claim.owner) else ""


def _took(at: Play, session: str, kept: Kept, claim: Claim | None, fence: int) -> None:
    if claim is None:
        same(fence, 0, "the fence of an append without a claim")
        return
    if kept.owner == claim.owner:
        same(fence, kept.fence, "the fence of an owner that has the session already")
    else:
        highest = at.highest.get(session, 0)
        expect(fence > highest, f"the fence is {fence} after the claim changed hands, before it was {highest}")
    at.highest[session] = fence
    kept.owner, kept.fence = (claim.owner, fence) if claim.hold else ("", 0)
    at.claims.append((session, Claim(claim.owner, fence)))


async def _claim(at: Play, store: Any, op: Op) -> None:
    session, kept, claim = at.session(op.a), at.kept(op.a), Claim(at.owner(op.b))
    code = _refusal(at, kept, claim) if kept else "unknown_session"
    fence = await at.ask(f"claim({session!r}, {claim.owner!r})", store.claim(session, claim.owner), code)
    if fence is not None and kept is not None:
        _took(at, session, kept, claim, fence)


async def _release(at: Play, store: Any, op: Op) -> None:
    session, kept = at.session(op.a), at.kept(op.a)
    once = [claim for of, claim in at.claims if of == session]
    if not once:
        return
    claim = once[op.b % len(once)]
    valid = kept is not None and (kept.owner, kept.fence) == (claim.owner, claim.fence)
    same(await store.holds(session, claim), valid, f"holds({session!r}, {claim})")
    await at.ask(f"release({session!r}, {claim})", store.release(session, claim))
    if kept is not None and valid:
        kept.owner, kept.fence = "", 0


async def _heartbeat(at: Play, store: Any, op: Op) -> None:
    owner, ttl_s = at.owner(op.a), at.trial.lease_s
    await at.ask(f"heartbeat({owner!r})", store.heartbeat(Owner(owner, "h", 1), ttl_s))
    at.leases[owner] = at.now + ttl_s


async def _retire(at: Play, store: Any, op: Op) -> None:
    owner = at.owner(op.a)
    await at.ask(f"retire({owner!r})", store.retire(owner))
    at.leases.pop(owner, None)
    for kept in at.sessions.values():
        if kept.owner == owner:
            kept.owner, kept.fence = "", 0


async def _advance(at: Play, store: Any, op: Op) -> None:
    """By parts of a lease that never add up to a whole one, so that a moment more or less decides nothing."""
    if at.trial.given.advance is None:
        return
    seconds = at.trial.lease_s * (0.3, 0.45, 1.35)[op.b % 3]
    await at.ask(f"# {seconds:g} s pass", at.trial.advance(seconds))
    at.now += seconds


async def _create(at: Play, store: Any, op: Op) -> None:
    session, name = at.session(op.a), (None, "one", "two")[op.b % 3]
    taken = name is not None and any(kept.name == name for kept in at.sessions.values())
    code = "session_exists" if session in at.sessions else "name_taken" if taken else ""
    new = NewSession(id=session, principal=Principal(at.tenant), name=name)
    made = await at.ask(f"create({session!r}, name={name!r})", store.create(new), code)
    if made is not None:
        kept = at.sessions[session] = Kept(name)
        at.changed(kept)


async def _edit(at: Play, store: Any, op: Op) -> None:
    session, kept = at.session(op.a), at.kept(op.a)
    name = ("one", "two", None)[op.c % 3]
    edit = (Edit(name=name), Edit(title=f"title {op.c}"), Edit(archived=op.c % 2 == 0))[op.b % 3]
    taken = op.b % 3 == 0 and name and any(k.name == name for id, k in at.sessions.items() if id != session)
    code = "unknown_session" if kept is None else "name_taken" if taken else ""
    await at.ask(f"edit({session!r}, {edit})", store.edit(session, edit), code)
    if kept is not None and not code:
        match op.b % 3:
            case 0:
                kept.name = name
            case 1:
                kept.title = f"title {op.c}"
            case _:
                kept.archived = op.c % 2 == 0


async def _delete(at: Play, store: Any, op: Op) -> None:
    if op.b % 2:
        return
    session, kept = at.session(op.a), at.kept(op.a)
    code = "session_busy" if kept and at.lives(kept) else ""
    gone = await at.ask(f"delete({session!r})", store.delete(session), code)
    if not code:
        same(gone, kept is not None, f"what delete({session!r}) gave")
        at.sessions.pop(session, None)
        at.highest.pop(session, None)
        at.claims = [(of, claim) for of, claim in at.claims if of != session]


async def _snapshot(at: Play, store: Any, op: Op) -> None:
    session, kept = at.session(op.a), at.kept(op.a)
    snapshot = Snapshot(op.b, 1, b"%d of %d" % (op.b, op.c))
    await at.ask(f"save_snapshot({session!r}, {snapshot})", store.save_snapshot(session, snapshot))
    if kept is not None and (kept.snapshot is None or kept.snapshot.seq < snapshot.seq):
        kept.snapshot = snapshot
    elif kept is not None and kept.snapshot is not None and kept.snapshot.seq == snapshot.seq:
        kept.snapshot = await store.snapshot(session)  # of two that are as new either may be kept
        expect(kept.snapshot is not None and kept.snapshot.seq == snapshot.seq, "the snapshot is gone")


async def _put(at: Play, store: Any, op: Op) -> None:
    key, value, ttl_s = f"k/{op.a % 3}", b"%d" % op.c, (None, None, at.trial.lease_s)[op.c % 3]
    if at.trial.given.advance is None:
        ttl_s = None
    living, ever = at.value(key), at.values.get(key)
    expected = _expected(living, op.b)
    made = await at.ask(
        f"put_record({key!r}, {value!r}, expect={expected}, ttl_s={ttl_s})",
        store.put_record(at.scope, key, value, expect=expected, ttl_s=ttl_s),
        _conflict(living, expected),
    )
    if made is not None:
        version = ever.version + 1 if ever else made.version
        at.values[key] = Value(value, version, None if ttl_s is None else at.now + ttl_s)
        same((made.value, made.version), (value, version), "value and version of the record that was written")


async def _forget(at: Play, store: Any, op: Op) -> None:
    key = f"k/{op.a % 3}"
    living = at.value(key)
    expected = _expected(living, op.b)
    code = _conflict(living, expected)
    gone = await at.ask(
        f"delete_record({key!r}, expect={expected})", store.delete_record(at.scope, key, expect=expected), code
    )
    if not code:
        same(gone, living is not None, f"what delete_record({key!r}) gave")
        if living is not None:
            del at.values[key]


def _expected(living: Value | None, n: int) -> int | None:
    version = living.version if living else 0
    return (None, version, version + 1, 0)[n % 4]


def _conflict(living: Value | None, expected: int | None) -> str:
    return "" if expected in (None, living.version if living else 0) else "version_conflict"


KINDS: dict[str, Callable[[Play, Any, Op], Awaitable[None]]] = {
    "append": _append,
    "claim": _claim,
    "release": _release,
    "heartbeat": _heartbeat,
    "retire": _retire,
    "advance": _advance,
    "create": _create,
    "edit": _edit,
    "delete": _delete,
    "snapshot": _snapshot,
    "put": _put,
    "forget": _forget,
}
"""What can be done, by kind."""

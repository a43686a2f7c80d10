"""What a check is, what it is given, and what running them comes to. The checks themselves are in the other rooms, by promise.

A check opens a store of its own, asks it for what the contract (`core/store.py`) promises, and says which promise was broken if one was.
Nothing here knows pytest: a check that cannot be made is skipped by `unittest.SkipTest`, which pytest understands.
"""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, cast

import msgspec

from ...core.entries import Entry
from ...core.errors import SessionBusy, TurnwiseError
from ...core.store import Claim, Owner, SessionInfo, Store

T = TypeVar("T")
Hook = Literal["reopen", "second", "advance"]

CHECK_LIMIT_S = 60.0
"""How long one check may take, in seconds of the loop."""


class BrokenPromise(AssertionError):
    """A store does not do what it promises: which promise, and what was found instead."""


@dataclass(frozen=True)
class StoreUnderTest:
    """A fresh, empty store, and what can be done with it besides using it. All hooks may be left out: checks that need one are then skipped.

    `second` opens another handle on the same data, as another process would. `reopen` opens the data again after all handles were
    closed; leave it out if nothing is to outlive them. `advance` moves the store's clock on by so many seconds (leases, times to live
    and dates go by it); without it the kit waits, and `lease_s` should be short. `dispose` is awaited at the end, when all handles are
    closed. `lease_s`: how long the leases in the checks last; None: 30 s if the clock can be moved, else 1 s.
    """

    store: Store
    second: Callable[[], Awaitable[Store]] | None = None
    reopen: Callable[[], Awaitable[Store]] | None = None
    advance: Callable[[float], Awaitable[None]] | None = None
    dispose: Callable[[], Awaitable[None]] | None = None
    lease_s: float | None = None


MakeStore = Callable[[], Awaitable["Store | StoreUnderTest"]]
"""Makes a fresh, empty store."""


@dataclass
class Trial:
    """One store while one check looks at it."""

    given: StoreUnderTest
    store: Store
    handles: list[Store] = field(default_factory=list["Store"])
    owners: int = 0

    @property
    def lease_s(self) -> float:
        if self.given.lease_s is not None:
            return self.given.lease_s
        return 1.0 if self.given.advance is None else 30.0

    async def second(self) -> Store:
        """Another handle on the same data."""
        assert self.given.second is not None
        handle = await self.given.second()
        self.handles.append(handle)
        return handle

    async def second_or_same(self) -> Store:
        """Another handle if there can be one."""
        return self.store if self.given.second is None else await self.second()

    async def reopen(self) -> Store:
        """Close everything and open the data again."""
        assert self.given.reopen is not None
        await self._close_all()
        self.store = await self.given.reopen()
        self.handles = [self.store]
        return self.store

    async def advance(self, seconds: float) -> None:
        """Let so much time pass for the store."""
        await (asyncio.sleep(seconds) if self.given.advance is None else self.given.advance(seconds))

    async def tick(self) -> None:
        """Let a little time pass, so that what comes next has a later date."""
        await self.advance(0.02)

    async def outlive(self) -> None:
        """Let the leases made before run out."""
        await self.advance(self.lease_s * 1.2)

    async def owner(self) -> str:
        """A new owner with a lease; its id."""
        self.owners += 1
        name = f"owner-{self.owners}"
        await self.store.heartbeat(Owner(name, "a-host", 4000 + self.owners), self.lease_s)
        return name

    async def taken(self, session: str, entries: list[Entry], owner: str) -> Claim:
        """A session that `owner` has claimed with its first append."""
        fence = await self.store.append(session, 0, entries, Claim(owner))
        return Claim(owner, fence)

    async def info(self, session: str) -> SessionInfo:
        info = await self.store.info(session)
        if info is None:
            raise BrokenPromise(f"info({session!r}) knows nothing of a session that there is")
        return info

    async def close(self) -> None:
        try:
            await self._close_all()
        finally:
            if self.given.dispose is not None:
                await self.given.dispose()

    async def _close_all(self) -> None:
        for handle in self.handles:
            await handle.close()


Checking = Callable[[Trial], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Check:
    """A promise and how it is put to the test. Call it with a `make_store`; it raises `BrokenPromise`, or `unittest.SkipTest` if the store
    lacks a hook that it needs. `str` of it is its name."""

    name: str
    promise: str
    run: Checking
    needs: tuple[Hook, ...] = ()

    def __str__(self) -> str:
        return self.name

    async def __call__(self, make_store: MakeStore) -> None:
        made = await make_store()
        given = made if isinstance(made, StoreUnderTest) else StoreUnderTest(made)
        trial = Trial(given, given.store, [given.store])
        try:
            lacking = [hook for hook in self.needs if getattr(given, hook) is None]
            if lacking:
                raise unittest.SkipTest(f"{self.name} needs {', '.join(lacking)}")
            async with asyncio.timeout(CHECK_LIMIT_S):
                await self.run(trial)
        except unittest.SkipTest:
            raise
        except Exception as error:
            raise self._broken(error) from error
        finally:
            await trial.close()

    def _broken(self, error: Exception) -> BrokenPromise:
        if isinstance(error, BrokenPromise):
            found = str(error)
        elif isinstance(error, TimeoutError):
            found = f"not done within {CHECK_LIMIT_S:g} s"
        else:
            found = f"raised {type(error).__name__}: {error}"
        return BrokenPromise(f"{self.name}\n  promised: {self.promise}\n  found: {found}")


CHECKS_BY_NAME: dict[str, Check] = {}


def promises(promise: str, *needs: Hook) -> Callable[[Checking], Checking]:
    """Makes a check of a function; its name is the function's."""

    def register(run: Checking) -> Checking:
        assert run.__name__ not in CHECKS_BY_NAME, f"two checks are named {run.__name__}"
        CHECKS_BY_NAME[run.__name__] = Check(run.__name__, promise, run, needs)
        return run

    return register


@dataclass(frozen=True)
class Report:
    """What a run of the kit came to, by names of checks."""

    kept: tuple[str, ...]
    broken: Mapping[str, BrokenPromise]
    skipped: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether no promise was broken. Look at `skipped`, too."""
        return not self.broken

    def __str__(self) -> str:
        lines = [f"{len(self.kept)} promises kept, {len(self.broken)} broken, {len(self.skipped)} checks skipped"]
        lines += [str(error) for error in self.broken.values()]
        lines += [f"skipped: {why}" for why in self.skipped.values()]
        return "\n".join(lines)

    def raise_if_broken(self) -> None:
        """Raises `BrokenPromise` with all of them."""
        if self.broken:
            raise BrokenPromise(str(self))


async def run_checks(checks: Collection[Check], make_store: MakeStore) -> Report:
    kept: list[str] = []
    broken: dict[str, BrokenPromise] = {}
    skipped: dict[str, str] = {}
    for check in checks:
        try:
            await check(make_store)
        except unittest.SkipTest as why:
            skipped[check.name] = str(why)
        except BrokenPromise as error:
            broken[check.name] = error
        else:
            kept.append(check.name)
    return Report(tuple(kept), broken, skipped)


# --- many at once -------------------------------------------------------------------------------------------------------


async def at_once(asked: Iterable[Awaitable[T]]) -> list[T | BaseException]:
    """Asks for all of it at once, begun in this order; what each gave or raised."""
    return await asyncio.gather(*asked, return_exceptions=True)


def begun(asked: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """A task that has not run yet."""
    return asyncio.ensure_future(asked)


async def rounds(count: int = 1) -> None:
    """Let everything else on the loop have so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def a_moment() -> None:
    await asyncio.sleep(0.005)


def code_of(outcome: object) -> str:
    """The code of an error; what it is, if it is none of ours."""
    return outcome.code if isinstance(outcome, TurnwiseError) else repr(outcome)


def winner(outcomes: Sequence[object], code: str, what: str) -> int:
    """The index of the one that was not refused. Raises `BrokenPromise` unless it is one, and the others were refused with this code."""
    won = [n for n, outcome in enumerate(outcomes) if not isinstance(outcome, BaseException)]
    same(len(won), 1, f"how many of {len(outcomes)} succeed with {what}")
    codes = {code_of(outcome) for n, outcome in enumerate(outcomes) if n not in won}
    same(codes, {code}, f"what the others are told with {what}")
    return won[0]


# --- saying what is expected --------------------------------------------------------------------------------------------


def expect(condition: object, otherwise: str) -> None:
    """Raises `BrokenPromise` with `otherwise`, unless the condition holds."""
    if not condition:
        raise BrokenPromise(otherwise)


def same(found: object, wanted: object, what: str) -> None:
    """Raises `BrokenPromise` if two values differ."""
    if found != wanted:
        raise BrokenPromise(f"{what}: {_short(found)} instead of {_short(wanted)}")


def same_entries(found: Collection[Entry], wanted: Collection[Entry], what: str) -> None:
    """As `same`, for journals: says at which entry they part."""
    for number, (got, given) in enumerate(zip(found, wanted, strict=False), 1):
        if got != given:
            raise BrokenPromise(f"{what}: entry {number} is {_short(got)} instead of {_short(given)}")
    if len(found) != len(wanted):
        raise BrokenPromise(f"{what}: {len(found)} entries instead of {len(wanted)}")


async def refused(asked: Awaitable[object], code: str, what: str) -> TurnwiseError:
    """Awaits what must be refused with this code; the error."""
    try:
        given = await asked
    except TurnwiseError as error:
        if error.code != code:
            raise BrokenPromise(f"{what} was refused with {error.code} ({error}) instead of {code}") from error
        expect(error.message and error.hint, f"{what} was refused with {code}, without a message or a hint")
        return error
    raise BrokenPromise(f"{what} was not refused with {code}; it gave {_short(given)}")


async def busy(asked: Awaitable[object], what: str) -> SessionBusy:
    """Awaits what must be refused because a living owner has the session."""
    error = await refused(asked, "session_busy", what)
    expect(isinstance(error, SessionBusy), f"{what} was refused with {type(error).__name__} instead of SessionBusy")
    assert isinstance(error, SessionBusy)
    return error


def _short(value: object) -> str:
    if isinstance(value, (set, frozenset)):
        return f"{{{', '.join(sorted(map(repr, cast('set[object]', value))))}}}"
    if isinstance(value, msgspec.Struct) or not isinstance(value, (str, bytes)):
        text = repr(value)
        return text if len(text) <= 600 else f"{text[:560]}… ({len(text)} characters)"
    return repr(value) if len(value) <= 200 else f"{value[:160]!r}… ({len(value)} long)"

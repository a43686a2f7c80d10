"""Random sequences of operations, each held against a simple model of the contract (`operations`).

An operation is a kind and three small numbers, so that any source of numbers makes sequences: the check here draws them from seeds, the tests of
Turnwise draw them with Hypothesis. A sequence lives in a tenant of its own; many can be played on one store.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ...core.store import Query, Record
from .kit import BrokenPromise, Trial, expect, promises, same, same_entries
from .operations import KINDS, Kept, Op, Play

SEQUENCES = 10
LENGTH = 40


async def play(trial: Trial, tenant: str, ops: Iterable[Op]) -> None:
    """Raises `BrokenPromise`, with all that was done, as soon as the store differs from the model."""
    handles = [trial.store] if trial.given.second is None else [trial.store, await trial.second()]
    at = Play(trial, tenant, handles)
    try:
        for number, op in enumerate(ops):
            await KINDS[op.kind](at, at.handles[number % len(handles)], op)
            await _look_at(at, at.handles[(number // 2) % len(handles)], op.a)
        await _look_at_all(at)
    except BrokenPromise as error:
        done = "\n    ".join(at.log)
        raise BrokenPromise(f"{error}\n  after:\n    {done}") from error


# --- what is compared -----------------------------------------------------------------------------------------------------


async def _look_at(at: Play, store: Any, n: int) -> None:
    """One session, in full."""
    session, kept = at.session(n), at.kept(n)
    info = await store.info(session)
    same_entries(await store.read(session), kept.entries if kept else [], f"the journal of {session}")
    same(await store.snapshot(session), kept.snapshot if kept else None, f"the snapshot of {session}")
    if kept is None or info is None:
        same(info, None, f"info({session!r})")
        expect(kept is None, f"info({session!r}) is None, though there is one")
        return
    found = (info.name, info.title, info.archived, info.last, info.turns, info.status)
    wanted = (kept.name, kept.title, kept.archived, len(kept.entries), kept.turns, kept.status)
    same(found, wanted, f"name, title, archived, last, turns and status of {session}")
    if kept.owner == "" or at.lives(kept):
        same(info.owner, kept.owner, f"the owner of {session}")


async def _look_at_all(at: Play) -> None:
    for n in range(3):
        for handle in at.handles:
            await _look_at(at, handle, n)
    store = at.handles[-1]
    by_change = sorted(at.sessions, key=lambda session: -at.sessions[session].changed)
    for query, fits in _QUERIES:
        wanted = [session for session in by_change if fits(at, at.sessions[session])]
        found = [info.id for info in await store.sessions(query(at.tenant))]
        same(sorted(found), sorted(wanted), f"sessions({query(at.tenant)})")
    wanted_keys = sorted(key for key in at.values if at.value(key))
    records: Sequence[Record] = await store.records(at.scope, "k/")
    values = [value for key in wanted_keys if (value := at.value(key))]
    same([r.key for r in records], wanted_keys, "keys of records()")
    same(
        [(r.value, r.version) for r in records],
        [(v.value, v.version) for v in values],
        "values and versions of records()",
    )


_QUERIES: tuple[tuple[Callable[[str], Query], Callable[[Play, Kept], bool]], ...] = (
    (lambda tenant: Query(tenant=tenant, archived=None), lambda at, kept: True),
    (lambda tenant: Query(tenant=tenant), lambda at, kept: not kept.archived),
    (lambda tenant: Query(tenant=tenant, archived=None, name="one"), lambda at, kept: kept.name == "one"),
    (lambda tenant: Query(tenant=tenant, archived=None, status="running"), lambda at, kept: kept.status == "running"),
    (
        lambda tenant: Query(tenant=tenant, archived=None, orphaned=True),
        lambda at, kept: kept.status == "running" and not at.lives(kept),
    ),
)


# --- the check ------------------------------------------------------------------------------------------------------------


@promises("Whatever is done in whatever order, by two handles in turn, the store is what a simple model of it is.")
async def any_sequence_agrees_with_the_model(t: Trial) -> None:
    for seed in range(SEQUENCES):
        ops = drawn(seed)
        try:
            await play(t, f"model-{seed}", ops)
        except BrokenPromise as error:
            raise await _shortened(t, seed, ops, error) from error


def drawn(seed: int, length: int = LENGTH) -> list[Op]:
    """The same sequence for the same seed."""
    draw = random.Random(seed)
    kinds = [*KINDS, "append", "append", "append", "heartbeat", "claim", "put"]
    return [Op(draw.choice(kinds), draw.randrange(12), draw.randrange(12), draw.randrange(12)) for _ in range(length)]


async def _shortened(t: Trial, seed: int, ops: list[Op], error: BrokenPromise) -> BrokenPromise:
    """The error of a sequence from which nothing can be left out."""
    for place in reversed(range(len(ops))):
        fewer = ops[:place] + ops[place + 1 :]
        try:
            await play(t, f"model-{seed}-without-{place}", fewer)
        except BrokenPromise as shorter:
            ops, error = fewer, shorter
    return error

"""Sequences of operations that Hypothesis makes up and shortens: the store in memory is what a simple model of the contract is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.examples import examples
from tests.store.stores import memory

from turnwise.testing.store_conformance.kit import Trial
from turnwise.testing.store_conformance.model import drawn, play
from turnwise.testing.store_conformance.operations import KINDS, Op

NUMBER = st.integers(0, 11)
OPS = st.lists(st.builds(Op, st.sampled_from(list(KINDS)), NUMBER, NUMBER, NUMBER), max_size=40)


async def played(ops: list[Op]) -> None:
    given_store = await memory(Path())
    trial = Trial(given_store, given_store.store, [given_store.store])
    try:
        await play(trial, "t", ops)
    finally:
        await trial.close()


@examples(160)
@given(OPS)
def test_any_sequence(ops: list[Op]) -> None:
    """D3 and the rest of the contract, in any order."""
    asyncio.run(played(ops))


async def test_many_drawn_sequences() -> None:
    """The kit plays a few of these; here are more."""
    for seed in range(100, 160):
        await played(drawn(seed, 60))

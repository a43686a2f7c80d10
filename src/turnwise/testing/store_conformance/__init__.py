"""The conformance kit: whether a store keeps what `turnwise.core.store.Store` promises. Run it against your own.

With pytest, in two lines:

    @pytest.mark.parametrize("check", CHECKS, ids=str)
    async def test_my_store(check: Check) -> None:
        await check(make_store)

or anywhere: `report = await run_conformance(make_store)`. `make_store` makes a fresh, empty store; it may give a `StoreUnderTest` with
hooks that let the kit look at more. See docs/stores.md.
"""

from __future__ import annotations

from collections.abc import Collection

from . import blobs, journals, leases, lists, model, records, searches
from .kit import CHECKS_BY_NAME, BrokenPromise, Check, MakeStore, Report, StoreUnderTest, run_checks

__all__ = [
    "CHECKS",
    "BrokenPromise",
    "Check",
    "MakeStore",
    "Report",
    "StoreUnderTest",
    "run_conformance",
]

CHECKS: tuple[Check, ...] = tuple(CHECKS_BY_NAME.values())
"""All checks, each a promise."""

_ROOMS = (blobs, journals, leases, lists, model, records, searches)


async def run_conformance(make_store: MakeStore, only: Collection[str] = ()) -> Report:
    """Make all checks, or `only` those named, one after the other, each on a store of its own. Raises what `make_store` raises;
    what is wrong with the store is in the report. May be cancelled: the store of the check that was being made is closed."""
    unknown = set(only) - set(CHECKS_BY_NAME)
    if unknown:
        raise ValueError(f"run_conformance(only=…): there is no check {', '.join(sorted(unknown))}")
    return await run_checks([check for check in CHECKS if not only or check.name in only], make_store)

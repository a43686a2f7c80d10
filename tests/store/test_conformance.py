"""Every store keeps every promise of the contract (rules D1, D3; the promises themselves are in the kit)."""

from __future__ import annotations

import pathlib

import pytest
from tests.store.stores import STORES, Kind

from turnwise.testing.store_conformance import CHECKS, Check


@pytest.mark.parametrize("check", CHECKS, ids=str)
@pytest.mark.parametrize("kind", STORES, ids=lambda kind: kind.name)
async def test_promise(kind: Kind, check: Check, tmp_path: pathlib.Path) -> None:
    if kind.skip:
        pytest.skip(kind.skip)
    await check(lambda: kind.make(tmp_path))

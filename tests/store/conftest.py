"""Servers that tests of stores have started are stopped when the run ends."""

from __future__ import annotations

from tests.store import server


def pytest_sessionfinish() -> None:
    server.close_all()

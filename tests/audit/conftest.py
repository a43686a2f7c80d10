"""The fixtures of the runtime's tests."""

from __future__ import annotations

from tests.runtime.conftest import any_host, host, store

__all__ = ["any_host", "host", "store"]

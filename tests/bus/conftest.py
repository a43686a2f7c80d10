"""What the tests of the bus share with those of the runtime."""

from tests.runtime.conftest import any_host, host, store

__all__ = ["any_host", "host", "store"]

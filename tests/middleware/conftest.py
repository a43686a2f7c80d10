"""The hosts of the tests of the runtime serve here, too."""

from tests.runtime.conftest import any_host, host, store

__all__ = ["any_host", "host", "store"]

"""On whose behalf a session acts."""

from __future__ import annotations

import msgspec


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A user of a tenant. Names are unique per tenant; blobs are shared only within one."""

    tenant: str = "local"
    user: str = "local"


LOCAL = Principal()

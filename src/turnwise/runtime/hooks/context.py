"""What a hook is told: where it is called, for whom, and about which value."""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.principal import LOCAL, Principal


class HookContext(msgspec.Struct, eq=False):
    """One for each chain; the hooks of a chain see the same one.

    `value` is the value as it stands, after what hooks before have made of it; `old` is what it was before: the value that the chain began
    with, or for `state.before` and `state.after` the stored value (None if there is none). `session`, `turn`, `step`, `attempt` and `call_id`
    say where; they are empty, or 0, where there is none. `context` is the caller's own object, as tools get it. `shared` is for the hooks of
    one chain to tell each other something.
    """

    point: str
    value: Any
    old: Any = None
    agent: str = ""
    session: str = ""
    turn: int = 0
    step: int = 0
    attempt: int = 0
    call_id: str = ""
    principal: Principal = LOCAL
    context: Any = None
    shared: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

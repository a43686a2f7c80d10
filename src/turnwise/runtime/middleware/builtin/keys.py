"""What requests are counted by: one bound for all, or one each for a provider key, agent, session, user or tenant."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, Literal

from ....core.errors import config_error
from ..compose import KINDS, Kind
from ..requests import EmbedRequest, ModelRequest, TurnRequest

Per = Literal["all", "key", "agent", "session", "user", "tenant"] | Callable[[Any], Hashable]
"""By what requests are told apart; a function of the request gives a key of your own."""

_KNOWN = ("all", "key", "agent", "session", "user", "tenant")


def check_per(name: str, per: Per) -> None:
    """Raise `ConfigError` (`invalid_value`) for what requests cannot be told apart by."""
    if per not in _KNOWN and not callable(per):
        raise config_error(
            "invalid_value", f"{name}(per={per!r}) means nothing.", f"Use {', '.join(_KNOWN)}, or a function."
        )


def key_of(per: Per, request: Any) -> Hashable:
    """What a request is counted under. Turns and tool calls have no provider key: for them "key" is one for all."""
    if callable(per):
        return per(request)
    match per:
        case "all":
            return ""
        case "key":
            return request.key if isinstance(request, (ModelRequest, EmbedRequest)) else ""
        case "agent":
            return request.agent
        case "session":
            return request.session.id if isinstance(request, TurnRequest) else request.session
        case "user":
            return request.principal.tenant, request.principal.user
        case "tenant":
            return request.principal.tenant


class Around:
    """Base of those that wrap several kinds alike: `around` is the middleware, `kinds` what it is around."""

    def __init__(self, kinds: Iterable[Kind]) -> None:
        for kind in (kinds := tuple(kinds)):
            if kind not in KINDS:
                raise config_error("invalid_value", f"There is no kind of middleware {kind!r}.", f"Use {KINDS}.")
            setattr(self, kind, self.around)
        self.kinds = kinds

    async def around(self, request: Any, next: Any) -> Any:
        """The middleware."""
        return await next(request)


def kinds(given: Kind | Iterable[Kind]) -> tuple[Kind, ...]:
    """One kind, or several."""
    return (given,) if isinstance(given, str) else tuple(given)  # type: ignore[return-value]

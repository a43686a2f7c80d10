"""Bearer tokens that the caller provides: a text, or a function asked before each request."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..core.errors import config_error
from ..core.protocols import Blocking
from .auth import Outgoing
from .endpoint import printable
from .hosts import Host
from .secrets import learn


class TokenAuth:
    """Asks `ask` for a token before each request; it should keep the token while it is valid. A function that is not a
    coroutine function runs in a thread. `field` is what the caller calls it."""

    __slots__ = ("_ask", "_field", "_host")

    def __init__(self, host: Host, field: str, ask: Callable[[], Any]) -> None:
        self._host = host
        self._field = field
        self._ask = ask

    def __repr__(self) -> str:
        return f"TokenAuth({self._host.name}, {self._field})"

    async def headers(self, request: Outgoing, blocking: Blocking, now: float) -> Mapping[str, str]:
        """The `authorization` header. Raises `ConfigError` (`invalid_key`) for what is no token, and what `ask` raises."""
        ask = self._ask
        is_async = inspect.iscoroutinefunction(ask) or inspect.iscoroutinefunction(getattr(ask, "__call__", None))  # noqa: B004
        token = ask() if is_async else await blocking.run(ask)
        if inspect.isawaitable(token):
            token = await token
        if not isinstance(token, str) or not token:
            what = type(token).__name__ if token != "" else "an empty text"
            message = f"{self._field} gave {what} in place of a token."
            raise config_error("invalid_key", message, "It is a function that returns the token as text.")
        learn(token, passing=True)
        return {"authorization": f"Bearer {printable(self._host, token)}"}

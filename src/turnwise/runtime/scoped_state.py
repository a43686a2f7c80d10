"""How a session and its tools come by scoped state; what that is, is in `store.scopes`.

Nothing of this is loaded before somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from ..core.principal import Principal
from ..core.store import Records, ScopeKind
from ..store.changing import Guard, Reach
from ..store.scopes import State
from . import refusals
from .extensions import extended_of
from .home import at_home

if TYPE_CHECKING:
    from .actor import Actor
    from .runtime import Runtime

T = TypeVar("T")


class SessionReach(Reach):
    """Records as a session has them, used on the loop that it lives on. A closed session has them still: a tool may have to write down
    what it did when it was stopped."""

    def __init__(self, session: Actor[Any]) -> None:
        self._session = session

    async def do(self, kind: ScopeKind, work: Callable[[Records], Coroutine[Any, Any, T]]) -> T:
        session = self._session
        if session.forked:
            raise refusals.forked(session.id)

        async def bound() -> T:
            return await work(await session.records(kind))

        return await at_home(session, bound)

    @property
    def guard(self) -> Guard | None:
        session = self._session
        if not session.bound or extended_of(session) is None:
            return None
        from .hooks.at_state import OfSession

        return OfSession(session)

    def wait(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        from .sync import run_at_home

        return run_at_home(self._session, make)

    async def pause(self, most_s: float) -> None:
        runtime = self._session.runtime
        await runtime.sleep(runtime.random.random() * most_s)


class RuntimeReach(Reach):
    """Records as a runtime has them, outside of sessions."""

    def __init__(self, runtime: Runtime, principal: Principal) -> None:
        super().__init__(runtime.records, runtime)
        self._runtime = runtime
        self._principal = principal

    @property
    def guard(self) -> Guard | None:
        if not self._runtime.extensions.version:
            return None
        from .hooks.at_state import OfRuntime

        return OfRuntime(self._runtime, self._principal)


def state_of(session: Actor[Any], call_id: str = "") -> State:
    """The scopes of a session, or of one of its calls."""
    return State(
        SessionReach(session),
        session.state.principal,
        agent=session.agent.name,
        session=session.id,
        writer=f"{session.id}/{call_id}" if call_id else session.id,
    )

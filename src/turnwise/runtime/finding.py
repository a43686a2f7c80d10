"""Which session is meant: by name or id, of which agent; its row, found in the store or made there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

from ..core.errors import StateError, config_error
from ..core.principal import Principal
from ..core.store import NewSession, Query, SessionInfo, Store
from ..store.refusals import unknown_session
from . import refusals
from .agent import Agent

_ID_CHARS = frozenset("0123456789abcdef-")


async def find(store: Store, which: str, principal: Principal) -> SessionInfo | None:
    """The session of this name or id that belongs to the principal. Names come first, unless it looks like one of our ids."""
    looks_like_id = len(which) == 36 and which.count("-") == 4 and _ID_CHARS.issuperset(which)
    for look in (_by_id, _by_name) if looks_like_id else (_by_name, _by_id):
        found = await look(store, which, principal)
        if found is not None:
            return found
    return None


async def _by_name(store: Store, name: str, principal: Principal) -> SessionInfo | None:
    rows = await store.sessions(Query(tenant=principal.tenant, user=principal.user, name=name, archived=None, limit=1))
    return rows[0] if rows else None


async def _by_id(store: Store, session_id: str, principal: Principal) -> SessionInfo | None:
    info = await store.info(session_id)
    return info if info is not None and info.principal == principal else None


async def find_or_create(
    store: Store, which: str | None, principal: Principal, create: bool, new: Callable[[], NewSession]
) -> SessionInfo:
    """The row of a session that there is, or else of a new one. Two that create the same name at once both get the one that was
    first. Raises `StateError`: `unknown_session` if none is to be created, `name_taken` by a session of someone else."""
    found = None if which is None else await find(store, which, principal)
    if found is not None:
        return found
    if which is not None and not create:
        raise unknown_session(which)
    try:
        return await store.create(new())
    except StateError as error:
        if error.code != "name_taken" or which is None:
            raise
        found = await find(store, which, principal)
        if found is None:
            raise
        return found


class Agents(Mapping[str, Agent[Any]]):
    """Agents under the names by which stored sessions know them. Raises `ConfigError` (`duplicate_agent`) for two of one name."""

    def __init__(self, given: Mapping[str, Agent[Any]] | Iterable[Agent[Any]] | Agent[Any]) -> None:
        self._by_name: dict[str, Agent[Any]] = {}
        if isinstance(given, Mapping):
            self._by_name.update(cast("Mapping[str, Agent[Any]]", given))
            return
        for agent in (given,) if isinstance(given, Agent) else given:
            if agent.name in self._by_name:
                raise config_error(
                    "duplicate_agent",
                    f"Two agents are named {agent.name!r}.",
                    "Give them different names, Agent(name=…), or hand them over as {name: agent}.",
                )
            self._by_name[agent.name] = agent

    def __getitem__(self, name: str) -> Agent[Any]:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def has(self, info: SessionInfo) -> bool:
        """Whether this session's agent is known. A session that names none can only be of the one that there is."""
        return info.agent in self._by_name or (not info.agent and len(self._by_name) == 1)

    def for_new(self, asked: Agent[Any] | str | None) -> str:
        """The name of the agent of a session to be. Raises `ConfigError`: `unknown_agent`, `which_agent`."""
        if asked is None:
            if len(self._by_name) != 1:
                raise refusals.which_agent(self._by_name)
            return next(iter(self._by_name))
        return self._name_of(asked)

    def of(self, info: SessionInfo, asked: Agent[Any] | str | None) -> Agent[Any]:
        """The agent of a session that there is. Raises `ConfigError` (`unknown_agent`, `which_agent`), `SessionError` (`other_agent`) if
        another one was asked for."""
        if asked is not None:
            name = self._name_of(asked)
            if info.agent and info.agent != name:
                raise refusals.other_agent(info.id, info.agent, name)
            return self._by_name[name]
        if not info.agent:
            return self._by_name[self.for_new(None)]
        if info.agent not in self._by_name:
            raise refusals.unknown_agent(info.agent, self._by_name, info.id)
        return self._by_name[info.agent]

    def _name_of(self, asked: Agent[Any] | str) -> str:
        if isinstance(asked, str):
            if asked not in self._by_name:
                raise refusals.unknown_agent(asked, self._by_name)
            return asked
        for name, agent in self._by_name.items():
            if agent is asked:
                return name
        raise refusals.unknown_agent(asked.name, self._by_name)

"""The points around scoped state: `state.before` each write, with the value that is there and the one that is to be, and `state.after` it.

The record's line is held meanwhile, so that nobody's change comes between; a hook must not write the record that it is asked about.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import error_of
from ...core.principal import Principal
from ...core.store import Record
from ...store.changing import Place, Put
from ...store.shapes import GONE
from ..extensions import Extensions, extended
from . import failures
from .chain import Chain
from .context import HookContext
from .hooked import chain_of, run_outside
from .points import Take
from .run import Run
from .values import StateWrite

if TYPE_CHECKING:
    from ..ground import Ground
    from ..runtime import Runtime


class StateHooks:
    """The hooks that watch over writes: `store.changing.Guard`."""

    async def around(self, place: Place, data: bytes, fits: Callable[[Any], bytes] | None, put: Put) -> Record:
        """Have them heard, write, and tell them. Raises `HookError` if nothing is to be written, and what writing raises."""
        before, after = self.chain("state.before"), self.chain("state.after")
        if before is None and after is None:
            return await put(data)
        old = await _stored(place)
        if before is not None:
            data = await self._heard(before, place, data, fits, old)
        record = await put(data)
        if after is not None:
            await self.run(after, _write(place, data, fits is None), old, _call_in(place)).wait()
        return record

    async def _heard(
        self, chain: Chain, place: Place, data: bytes, fits: Callable[[Any], bytes] | None, old: Any
    ) -> bytes:
        def fitting(value: StateWrite, _: Any) -> StateWrite:
            assert fits is not None  # a record that is taken away has no value to change
            return msgspec.structs.replace(value, value=msgspec.json.decode(fits(value.value)))

        outcome = await self.run(chain, _write(place, data, fits is None), old, _call_in(place), fitting).wait()
        if outcome.error is not None:
            raise error_of(outcome.error)
        if outcome.halt is not None:
            raise error_of(failures.refused(outcome.by, "state.before", outcome.reason))
        return data if fits is None or not outcome.changed else fits(outcome.value.value)

    def chain(self, point: str) -> Chain | None:
        raise NotImplementedError

    def run(self, chain: Chain, value: StateWrite, old: Any, call_id: str, take: Take | None = None) -> Run:
        raise NotImplementedError


class OfSession(StateHooks):
    """Of a session, its agent and its runtime."""

    def __init__(self, session: Ground[Any]) -> None:
        self._session = session

    def chain(self, point: str) -> Chain | None:
        return chain_of(self._session, point)

    def run(self, chain: Chain, value: StateWrite, old: Any, call_id: str, take: Take | None = None) -> Run:
        return run_outside(self._session, chain, value, old=old, take=take, call_id=call_id)


class OfRuntime(StateHooks):
    """Of a runtime alone, for scopes outside of sessions."""

    def __init__(self, runtime: Runtime, principal: Principal) -> None:
        self._runtime = runtime
        self._principal = principal

    def chain(self, point: str) -> Chain | None:
        made = extended(self._runtime.extensions, NONE)
        return None if made is None else made.hooks.get(point)

    def run(self, chain: Chain, value: StateWrite, old: Any, call_id: str, take: Take | None = None) -> Run:
        context = HookContext(chain.point.name, value, old, principal=self._principal, call_id=call_id)
        return Run(chain, context, self._runtime, contextvars.copy_context(), take=take)


NONE = Extensions("none")
"""Of an agent that there is none of."""


def _call_in(place: Place) -> str:
    """The call that writes, if one does: it is in the writer's name."""
    return place.writer.partition("/")[2]


def _write(place: Place, data: bytes, deleted: bool) -> StateWrite:
    scope = place.scope
    return StateWrite(scope.kind, scope.name, place.key, None if deleted else msgspec.json.decode(data), deleted)


async def _stored(place: Place) -> Any:
    found = await place.find()
    return None if found is None or found.schema == GONE else msgspec.json.decode(found.value)

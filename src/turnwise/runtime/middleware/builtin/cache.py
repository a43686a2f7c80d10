"""`cache(ttl_s=3600)`: the same request again is answered from a store. Exact match: the very bytes that would be sent decide.

Only answers that came to their own end are kept. What is older than `ttl_s` is not served, but for `stale_while_error_s` more when the
provider fails before it has said anything. A store that fails costs nothing but the hit: the part `cache` of the runtime's health
says so. There is no refreshing behind the scenes: middleware makes no model calls of its own (rule H3).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ....core.decoded import (
    BlockAdded,
    BlockSealed,
    DecoderEvent,
    ResponseEnded,
    ResponseFailed,
    ResponseStarted,
)
from ....core.errors import ProviderError, TurnwiseError, config_error
from ....core.events import Notice, TextDelta, ThinkingDelta, ToolCallDelta, ToolCallStarted
from ....core.store import Scope
from ...parts import has_records
from ..requests import ModelRequest
from ..response import ModelResponse

if TYPE_CHECKING:
    from ....core.store import Records
    from ...runtime import Runtime

WHOLE = frozenset(("stop", "tool_calls", "stop_sequence"))
"""Ends after which an answer is worth keeping."""
STORE_TIMEOUT_S = 2.0
PREFIX = "turnwise.cache/"
WRITER = "turnwise.cache"

Kept = (
    ResponseStarted
    | TextDelta
    | ThinkingDelta
    | ToolCallStarted
    | ToolCallDelta
    | BlockSealed
    | BlockAdded
    | ResponseEnded
)


class Answer(msgspec.Struct, frozen=True):
    """An answer as it is kept: when it came (Unix seconds), and its events."""

    at: float
    events: list[Kept]
    v: int = 1


class CacheStats(msgspec.Struct, frozen=True):
    """What a cache came to: `stale` are hits that were served because the provider failed, `errors` are those of its store."""

    hits: int = 0
    misses: int = 0
    stale: int = 0
    stored: int = 0
    errors: int = 0


class Cache:
    """See `cache`."""

    name = "cache"

    def __init__(
        self,
        ttl_s: float,
        stale_while_error_s: float,
        scope: Literal["tenant", "user", "session"],
        store: Records | None,
        when: Callable[[ModelRequest], bool] | None,
        max_bytes: int,
        salt: str,
    ) -> None:
        if ttl_s <= 0 or stale_while_error_s < 0:
            raise config_error("invalid_value", f"cache(ttl_s={ttl_s}) keeps nothing.", "Use seconds above 0.")
        if scope not in ("tenant", "user", "session"):
            raise config_error(
                "invalid_value", f"cache(scope={scope!r}) means nothing.", "Use tenant, user or session."
            )
        if store is not None and not has_records(store):
            raise config_error("invalid_value", "This store keeps no records.", "Give a MemoryStore, SqliteStore …")
        self._ttl_s = ttl_s
        self._stale_s = stale_while_error_s
        self._scope = scope
        self._store = store
        self._when = when
        self._max_bytes = max_bytes
        self._salt = salt
        self._counts: dict[str, int] = {}

    @property
    def stats(self) -> CacheStats:
        return CacheStats(**self._counts)

    async def model(self, request: ModelRequest, next: Any) -> ModelResponse:
        if self._when is not None and not self._when(request):
            return await next(request)
        runtime, scope = request.runtime, self._scope_of(request)
        key = PREFIX + sha256(self._salt.encode() + b"\0" + await request.via.encoded(request)).hexdigest()
        known = await self._get(runtime, scope, key)
        age_s = 0.0 if known is None else runtime.clock.wall() - known.at
        if known is not None and 0 <= age_s < self._ttl_s:
            self._count("hits")
            return ModelResponse.of(known.events)
        stale = known if known is not None and age_s < self._ttl_s + self._stale_s else None
        self._count("misses")
        try:
            response: ModelResponse = await next(request)
        except ProviderError:
            if stale is None:
                raise
            return ModelResponse.of(self._served(request, stale).events)

        async def kept(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
            said: list[Any] = []
            async for event in events:
                if type(event) is ResponseFailed and stale is not None and not any(map(_says, said)):
                    for old in self._served(request, stale).events:
                        yield old
                    return
                said.append(event)
                if type(event) is ResponseEnded and event.stop_reason in WHOLE:
                    await self._put(runtime, scope, key, said)
                yield event

        return response.through(kept)

    async def clear(self, runtime: Runtime, scope: Scope) -> int:
        """Forget all answers that are kept in a scope; how many there were."""
        records, gone = self._records(runtime), 0
        while found := await records.records(scope, PREFIX):
            for record in found:
                gone += await records.delete_record(scope, record.key)
        return gone

    # --- what is kept -------------------------------------------------------------------------------------------------

    def _scope_of(self, request: ModelRequest) -> Scope:
        tenant = request.principal.tenant
        if self._scope == "user":
            return Scope("user", request.principal.user, tenant)
        if self._scope == "session" and request.session:
            return Scope("session", request.session, tenant)
        return Scope("global", "", tenant)

    def _records(self, runtime: Runtime) -> Records:
        return runtime.records if self._store is None else self._store

    async def _get(self, runtime: Runtime, scope: Scope, key: str) -> Answer | None:
        try:
            record = await _in_time(runtime, self._records(runtime).get_record(scope, key))
            return None if record is None else _DECODE(record.value)
        except Exception as error:
            self._failed(runtime, error)
            return None

    async def _put(self, runtime: Runtime, scope: Scope, key: str, said: list[Any]) -> None:
        events = [_unpaid(event) for event in said]
        data = msgspec.json.encode(Answer(runtime.clock.wall(), events))
        if len(data) > self._max_bytes:
            return
        try:
            ttl_s = self._ttl_s + self._stale_s
            await _in_time(runtime, self._records(runtime).put_record(scope, key, data, writer=WRITER, ttl_s=ttl_s))
        except Exception as error:
            self._failed(runtime, error)
        else:
            self._count("stored")
            runtime.health.restore("cache")

    def _served(self, request: ModelRequest, stale: Answer) -> Answer:
        self._count("stale")
        request.via.tell(Notice("cache_stale", "The provider failed, so an older answer is given in its place."))
        return stale

    def _failed(self, runtime: Runtime, error: Exception) -> None:
        self._count("errors")
        code = error.code if isinstance(error, TurnwiseError) else type(error).__name__
        runtime.health.degrade("cache", "cache_failed", f"Answers are not cached: {code}: {error}")

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1


_DECODE = msgspec.json.Decoder(Answer).decode


async def _in_time(runtime: Runtime, work: Any) -> Any:
    """What a store says, if it says it in time."""
    task = runtime.start(work)
    if not task.done():
        try:
            await asyncio.wait((task,), timeout=STORE_TIMEOUT_S)
        except asyncio.CancelledError:
            task.cancel()
            raise
    if not task.done():
        task.cancel()
        raise TimeoutError(f"the store did not answer within {STORE_TIMEOUT_S:g} s")
    return task.result()


def _says(event: DecoderEvent) -> bool:
    return type(event) is not ResponseStarted


def _unpaid(event: Any) -> Any:
    """Serving an answer again costs nothing, so nothing of that is kept."""
    return msgspec.structs.replace(event, usage=None) if type(event) is ResponseEnded else event


def cache(
    ttl_s: float = 3600.0,
    *,
    stale_while_error_s: float = 0.0,
    scope: Literal["tenant", "user", "session"] = "tenant",
    store: Records | None = None,
    when: Callable[[ModelRequest], bool] | None = None,
    max_bytes: int = 1 << 20,
    salt: str = "",
) -> Cache:
    """Answer a request that was answered before from `store` (default: the runtime's, or its memory).

    An answer is served for `ttl_s`, and for `stale_while_error_s` more if the provider fails. It is shared by all sessions of a `scope`.
    `when` says of each request whether it is cached; `salt` keeps answers of one kind apart from those of another. Answers of more
    than `max_bytes` are not kept. What is served has used nothing: `Usage.provenance` is `unsent`.
    """
    return Cache(ttl_s, stale_while_error_s, scope, store, when, max_bytes, salt)

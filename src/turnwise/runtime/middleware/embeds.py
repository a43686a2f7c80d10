"""Middleware around one attempt of an embedding or rerank request. How often one is tried is for `exchange` to say."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from ...models.handle import ModelHandle
from ...wire.embed import Embedded
from ...wire.rerank import Ranked
from . import refusals
from .requests import EmbedRequest, EmbedResponse

if TYPE_CHECKING:
    from ..runtime import Runtime
    from .compose import Chain


def embedded_through(
    chain: Chain,
    handle: ModelHandle,
    runtime: Runtime,
    texts: Sequence[str],
    ask: Callable[[Sequence[str]], Awaitable[Embedded]],
) -> Callable[[int], Awaitable[Embedded]]:
    """One attempt of an embedding request with middleware around it: a function of its number."""

    async def terminal(request: EmbedRequest) -> EmbedResponse:
        said = await ask(request.texts)
        return EmbedResponse(said.vectors, (), said.model, said.tokens)

    async def attempt(number: int) -> Embedded:
        said: EmbedResponse = await chain(_request(handle, runtime, texts, None, number), terminal)
        if len(said.vectors) != len(texts):
            raise refusals.unchangeable(
                f"{len(texts)} texts into {len(said.vectors)} vectors", "each is to have its own"
            )
        return Embedded(list(said.vectors), said.tokens, said.model)

    return attempt


def ranked_through(
    chain: Chain,
    handle: ModelHandle,
    runtime: Runtime,
    documents: Sequence[str],
    query: str,
    ask: Callable[[Sequence[str], str], Awaitable[list[Ranked]]],
) -> Callable[[int], Awaitable[list[Ranked]]]:
    """The same for a request that ranks documents."""

    async def terminal(request: EmbedRequest) -> EmbedResponse:
        assert request.query is not None
        return EmbedResponse((), await ask(request.texts, request.query))

    async def attempt(number: int) -> list[Ranked]:
        said: EmbedResponse = await chain(_request(handle, runtime, documents, query, number), terminal)
        return list(said.ranked)

    return attempt


def _request(
    handle: ModelHandle, runtime: Runtime, texts: Sequence[str], query: str | None, number: int
) -> EmbedRequest:
    return EmbedRequest(
        model=f"{handle.provider}:{handle.model}",
        texts=tuple(texts),
        query=query,
        attempt=number,
        key=handle.key_scope,
        runtime=runtime,
    )

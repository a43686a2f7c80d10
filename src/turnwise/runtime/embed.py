"""Embedding and reranking: texts cut into batches, batches sent side by side, answers put together in order.

What requests and answers look like is in `wire/embed` and `wire/rerank`; how one request is sent and tried again in `exchange`. Public
as `turnwise.embeddings`.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

import msgspec

from ..core.errors import config_error, error_of
from ..core.limits import Deadlines, Retry
from ..core.usage import Usage
from ..models.connection import Connection, Model
from ..models.handle import ModelHandle, resolve_model
from ..wire.embed import Batch, EmbedCodec, Embedded, InputType, Wishes, batches, check_texts, embed_codec
from ..wire.embed.base import wrong_lengths
from ..wire.rerank import Ranked, rerank_codec
from .exchange import CLOSED, exchange, once, tried
from .extensions import of_runtime
from .runtime import Runtime, default_runtime

CONCURRENCY = 4
"""Requests under way at once, unless told otherwise: enough to hide the wait for each, few enough for the smallest account."""


class Embeddings(msgspec.Struct, frozen=True):
    """Vectors for the texts that were given, in their order. `usage` adds up all requests; `requests` counts them."""

    vectors: list[array[float]]
    model: str
    usage: Usage
    requests: int = 0

    def __repr__(self) -> str:
        return f"Embeddings({len(self.vectors)} vectors of {self.dimensions} dimensions, {self.model!r})"

    @property
    def dimensions(self) -> int:
        """The length of each vector; 0 if there are none."""
        return len(self.vectors[0]) if self.vectors else 0


async def embed(
    texts: Sequence[str],
    model: str | Model,
    *,
    dimensions: int | None = None,
    input_type: InputType | None = None,
    concurrency: int = CONCURRENCY,
    retry: Retry | None = None,
    deadlines: Deadlines | None = None,
    runtime: Runtime | None = None,
    **connection: Unpack[Connection],
) -> Embeddings:
    """A vector for each text.

    Args:
        texts: What to embed; as many as you like. No text may be empty.
        model: `provider:model`, such as `openai:text-embedding-3-small`.
        dimensions: The wanted length of the vectors, for models that can shorten them.
        input_type: What the texts are embedded for. Models that make no difference embed all alike.
        concurrency: Requests under way at once.
        retry: How each failed request is tried again.
        deadlines: Seconds until each request's phases are given up.
        runtime: What owns connections (default: one per event loop).
        connection: Address and key, in place of environment variables; see `Connection`.

    Raises `ConfigError` before anything is sent, and `ProviderError` for the first request that fails for good; the others are dropped
    then. Cancelling it drops all connections.
    """
    _check(texts, dimensions, concurrency)
    runtime = await _runtime(runtime)
    handle = _handle(model, connection, runtime)
    codec = embed_codec(handle.provider, handle.host.api, handle.host.label, handle.model)
    wishes = Wishes(handle.wire_name, dimensions, input_type)
    codec.encode(["x"], wishes)  # what it cannot do is refused before the first text leaves, also when there is none
    parts = list(batches(check_texts(texts, handle.host.label), codec.bounds))
    work = _Work(handle, codec, wishes, texts, runtime, retry or Retry(), deadlines or Deadlines())
    answers = await work.all(parts, concurrency)
    vectors = [vector for answer in answers for vector in answer.vectors]
    if (problem := wrong_lengths(vectors, dimensions, handle.host.label)) is not None:
        raise error_of(msgspec.structs.replace(problem, provider=handle.provider, model=handle.model))
    said = next((a.model for a in answers if a.model), handle.model)
    return Embeddings(vectors, said, _usage(answers), len(parts))


async def rerank(
    query: str,
    documents: Sequence[str],
    model: str | Model,
    *,
    top_n: int | None = None,
    retry: Retry | None = None,
    deadlines: Deadlines | None = None,
    runtime: Runtime | None = None,
    **connection: Unpack[Connection],
) -> list[Ranked]:
    """The documents that answer the query best, the best first: (index, score).

    Args:
        query: What is looked for.
        documents: What to look in; one request holds them all.
        model: `provider:model`, such as `cohere:rerank-v3.5`.
        top_n: How many to give at most (default: all).
        retry, deadlines, runtime, connection: As for `embed`.

    Raises as `embed` does.
    """
    if isinstance(documents, str):
        raise config_error("invalid_value", "rerank(documents=…) is one string.", "Pass a list of strings.")
    if top_n is not None and top_n < 1:
        raise config_error("invalid_value", f"rerank(top_n={top_n}) asks for nothing.", "Use 1 or more.")
    runtime = await _runtime(runtime)
    handle = _handle(model, connection, runtime)
    codec = rerank_codec(handle.provider, handle.host.api, handle.host.label, handle.model)
    check_texts([query], handle.host.label, "Query")
    check_texts(documents, handle.host.label, "Document")
    if not documents:
        return []
    count, most = len(documents), deadlines or Deadlines()

    async def ask(documents: Sequence[str], query: str) -> list[Ranked]:
        request = codec.encode(query, documents, handle.wire_name, None if top_n is None else min(top_n, count))
        return await once(handle, request, lambda body, _: codec.decode(body, count), runtime, most)

    if (chain := _around(runtime)) is None:
        ranked = await tried(handle, lambda _: ask(documents, query), runtime, retry or Retry())
    else:
        from .middleware.embeds import ranked_through

        attempt = ranked_through(chain, handle, runtime, documents, query, ask)
        ranked = await tried(handle, attempt, runtime, retry or Retry())
    return ranked[:top_n]


class _Work(msgspec.Struct, frozen=True):
    """One `embed` under way."""

    handle: ModelHandle
    codec: EmbedCodec
    wishes: Wishes
    texts: Sequence[str]
    runtime: Runtime
    retry: Retry
    deadlines: Deadlines

    async def all(self, parts: Sequence[Batch], concurrency: int) -> list[Embedded]:
        """The answers in the order of `parts`. Each worker takes the next batch when it has done one, so that a slow answer
        holds up no other. The first failure stops them all."""
        answers: dict[int, Embedded] = {}
        left = iter(enumerate(parts))
        workers = [self.runtime.start(self._worker(left, answers)) for _ in parts[:concurrency]]
        if not workers:
            return []
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            running = [w for w in workers if not w.done()]
            for worker in running:
                worker.cancel()
            if running:
                await asyncio.wait(running)
        for worker in workers:
            if not worker.cancelled() and (error := worker.exception()) is not None:
                raise error
        if len(answers) < len(parts):
            raise error_of(CLOSED)
        return [answers[number] for number in range(len(parts))]

    async def _worker(self, left: Iterator[tuple[int, Batch]], answers: dict[int, Embedded]) -> None:
        for number, part in left:
            answers[number] = await self._one(part)

    async def _one(self, part: Batch) -> Embedded:
        texts, count, runtime = self.texts[part.start : part.end], part.end - part.start, self.runtime

        def read(body: bytes, headers: Mapping[str, str]) -> Embedded:
            return self.codec.decode(body, headers, count)

        if (chain := _around(runtime)) is None:
            request = self.codec.encode(texts, self.wishes)
            return await exchange(self.handle, request, read, runtime, self.retry, self.deadlines)
        from .middleware.embeds import embedded_through

        async def ask(texts: Sequence[str]) -> Embedded:
            return await once(self.handle, self.codec.encode(texts, self.wishes), read, runtime, self.deadlines)

        return await tried(self.handle, embedded_through(chain, self.handle, runtime, texts, ask), runtime, self.retry)


def _around(runtime: Runtime) -> Any:
    """What the runtime has around embedding requests, if anything."""
    extended = of_runtime(runtime.extensions)
    return None if extended is None else extended.middleware.get("embed")


def _check(texts: Sequence[str], dimensions: int | None, concurrency: int) -> None:
    if isinstance(texts, str):
        raise config_error("invalid_value", "embed(texts=…) is one string.", "Pass a list of strings: [text].")
    if dimensions is not None and dimensions < 1:
        raise config_error("invalid_value", f"embed(dimensions={dimensions}) leaves no vector.", "Use 1 or more.")
    if concurrency < 1:
        raise config_error("invalid_value", f"embed(concurrency={concurrency}) sends nothing.", "Use 1 or more.")


async def _runtime(given: Runtime | None) -> Runtime:
    if given is None:
        return await default_runtime()
    given.bind()
    return given


def _handle(model: str | Model, connection: Connection, runtime: Runtime) -> ModelHandle:
    if isinstance(model, Model):
        if connection:
            message = f"{model.name} is a Model with a connection of its own, and {next(iter(connection))} is given beside it."
            raise config_error("conflicting_settings", message, "Put it into the Model.")
        return resolve_model(model, runtime.environ)
    return resolve_model(Model(model, **connection), runtime.environ)


def _usage(answers: Sequence[Embedded]) -> Usage:
    """The tokens of all requests; `partial` if some answers did not say, None if none did (rule S4)."""
    counts = [a.tokens for a in answers if a.tokens is not None]
    if answers and not counts:
        return Usage()
    return Usage(sum(counts), provenance="reported" if len(counts) == len(answers) else "partial")

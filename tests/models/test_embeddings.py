"""Embeddings: each API's documented bytes over real HTTP, order over many batches, retries, refusals, errors without secrets."""

from __future__ import annotations

import asyncio
import json
from array import array
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import msgspec
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from openai.types import EmbeddingCreateParams
from tests.models.json_server import Answer, Request, Server, error, served
from tests.wire.sdk_types import check_against

from turnwise import Deadlines, Model, Retry, Runtime
from turnwise.embeddings import InputType, embed
from turnwise.errors import ConfigError, ErrorInfo, ProviderError, TurnwiseError
from turnwise.models.handle import resolve_model
from turnwise.runtime.gates import ProviderLimits
from turnwise.testing import Recorder, Replay, run_in_virtual_time
from turnwise.wire.embed import Bounds, Wishes, batches, embed_codec

KEY = "sk-test-0123456789abcdef"


def vector(text: str, dimensions: int = 3) -> list[float]:
    """Tells texts apart, exactly in 32 bits."""
    return [float(len(text)), float(sum(map(ord, text)) % 4096), 0.5, *[0.25] * (dimensions - 3)]


def packed(values: Sequence[float]) -> str:
    return b64encode(array("f", values).tobytes()).decode()


# --- the APIs ---------------------------------------------------------------------------------------------------------


def openai(body: dict[str, Any]) -> Any:
    """https://platform.openai.com/docs/api-reference/embeddings/object, the items out of order: `index` counts."""
    items = [
        {"object": "embedding", "index": i, "embedding": packed(vector(t, body.get("dimensions", 3)))}
        for i, t in enumerate(body["input"])
    ]
    count = sum(map(len, body["input"]))
    return {
        "object": "list",
        "data": items[::-1],
        "model": "text-embedding-3-small",
        "usage": {"prompt_tokens": count, "total_tokens": count},
    }


def plain(body: dict[str, Any]) -> Any:
    """A host that knows no base64 and numbers nothing."""
    return {"data": [{"embedding": vector(t)} for t in body["input"]], "usage": {"total_tokens": 7}}


def gemini(body: dict[str, Any]) -> Any:
    texts = [r["content"]["parts"][0]["text"] for r in body["requests"]]
    return {"embeddings": [{"values": vector(t)} for t in texts]}


def vertex_predict(body: dict[str, Any]) -> Any:
    return {
        "predictions": [
            {"embeddings": {"values": vector(i["content"]), "statistics": {"truncated": False, "token_count": 4.0}}}
            for i in body["instances"]
        ]
    }


def vertex_content(body: dict[str, Any]) -> Any:
    text = body["content"]["parts"][0]["text"]
    return {"embedding": {"values": vector(text)}, "usageMetadata": {"promptTokenCount": 5}}


def cohere(body: dict[str, Any]) -> Any:
    return {
        "id": "1",
        "embeddings": {"base64": [packed(vector(t)) for t in body["texts"]]},
        "texts": body["texts"],
        "meta": {"api_version": {"version": "2"}, "billed_units": {"input_tokens": 9.0}},
        "response_type": "embeddings_by_type",
    }


def bedrock_cohere(body: dict[str, Any]) -> Any:
    made = {
        "id": "1",
        "embeddings": {"float": [vector(t) for t in body["texts"]]},
        "response_type": "embeddings_by_type",
    }
    return web.json_response(made, headers={"X-Amzn-Bedrock-Input-Token-Count": "6"})


def bedrock_cohere_bare(body: dict[str, Any]) -> Any:
    return {"id": "1", "embeddings": [vector(t) for t in body["texts"]], "response_type": "embeddings_floats"}


def titan(body: dict[str, Any]) -> Any:
    made = vector(body["inputText"])
    return {"embedding": made, "inputTextTokenCount": 3, "embeddingsByType": {"float": made}}


def ollama(body: dict[str, Any]) -> Any:
    return {
        "model": "all-minilm",
        "embeddings": [vector(t) for t in body["input"]],
        "total_duration": 14143917,
        "load_duration": 1019500,
        "prompt_eval_count": 8,
    }


class Api(msgspec.Struct, frozen=True):
    """One API: how a model of it is named, where two texts go and what their request says, what is answered and counted."""

    model: str
    answer: Answer
    path: str
    sent: dict[str, Any]
    tokens: int | None
    requests: int = 1
    base: str = ""
    """What the host's own base URL has after the host name."""


TEXTS = ["Äpfel", "pears, and more"]
TASK = "RETRIEVAL_QUERY"
TITAN = "amazon.titan-embed-text-v2:0"
APIS = [
    Api(
        "openai:text-embedding-3-small",
        openai,
        "/v1/embeddings",
        {"model": "text-embedding-3-small", "input": TEXTS, "encoding_format": "base64"},
        20,
        base="/v1",
    ),
    Api("lmstudio:nomic", plain, "/v1/embeddings", {"model": "nomic", "input": TEXTS}, 7, base="/v1"),
    Api(
        "voyage:voyage-4",
        plain,
        "/v1/embeddings",
        {
            "model": "voyage-4",
            "input": TEXTS,
            "encoding_format": "base64",
            "input_type": "query",
            "truncation": False,
        },
        7,
        base="/v1",
    ),
    Api(
        "jina:jina-embeddings-v3",
        plain,
        "/v1/embeddings",
        {"model": "jina-embeddings-v3", "input": TEXTS, "embedding_type": "base64", "task": "retrieval.query"},
        7,
        base="/v1",
    ),
    Api(
        "gemini:gemini-embedding-001",
        gemini,
        "/v1beta/models/gemini-embedding-001:batchEmbedContents",
        {
            "requests": [
                {"model": "models/gemini-embedding-001", "taskType": TASK, "content": {"parts": [{"text": t}]}}
                for t in TEXTS
            ]
        },
        None,
        base="/v1beta",
    ),
    Api(
        "cohere:embed-v4.0",
        cohere,
        "/v2/embed",
        {
            "model": "embed-v4.0",
            "texts": TEXTS,
            "input_type": "search_query",
            "embedding_types": ["base64"],
            "truncate": "NONE",
        },
        9,
    ),
    Api(
        "ollama:all-minilm",
        ollama,
        "/api/embed",
        {"model": "all-minilm", "input": TEXTS, "truncate": False},
        8,
    ),
    Api(
        "bedrock:eu.cohere.embed-v4:0",
        bedrock_cohere,
        "/model/eu.cohere.embed-v4:0/invoke",
        {"texts": TEXTS, "input_type": "search_query", "embedding_types": ["float"], "truncate": "NONE"},
        6,
    ),
    Api(
        "bedrock:cohere.embed-english-v3",
        bedrock_cohere_bare,
        "/model/cohere.embed-english-v3/invoke",
        {"texts": TEXTS, "input_type": "search_query", "embedding_types": ["float"], "truncate": "NONE"},
        None,
    ),
    Api(f"bedrock:{TITAN}", titan, f"/model/{TITAN}/invoke", {"inputText": TEXTS[0]}, 6, requests=2),
    Api(
        "vertex:text-embedding-005",
        vertex_predict,
        "/models/text-embedding-005:predict",
        {"instances": [{"content": t, "task_type": TASK} for t in TEXTS], "parameters": {"autoTruncate": False}},
        8,
    ),
    Api(
        "vertex:gemini-embedding-2",
        vertex_content,
        "/models/gemini-embedding-2:embedContent",
        {
            "content": {"parts": [{"text": "task: search result | query: " + TEXTS[0]}]},
            "embedContentConfig": {"autoTruncate": False},
        },
        10,
        requests=2,
    ),
]


def connection_of(api: Api, server: Server) -> dict[str, Any]:
    """How the API is reached in a test. Bedrock is given keys in code, so that its requests are signed."""
    url = server.url + api.base
    match api.model.partition(":")[0]:
        case "bedrock":
            keys = {"bedrock_access_key_id": "AKIAEXAMPLE", "bedrock_secret_access_key": KEY}
            return {"base_url": url, "bedrock_region": "us-east-1", **keys}
        case "vertex":
            place = {"vertex_project": "p", "vertex_location": "us-central1"}
            return {"base_url": url, "vertex_token": KEY, **place}
        case _:
            return {"base_url": url, "api_key": KEY}


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.model)
async def test_each_api(api: Api) -> None:
    """The request is the documented one, the vectors are those of the answer, in the order of the texts."""
    async with served(api.answer) as server, Runtime(environ={}) as runtime:
        done = await embed(TEXTS, api.model, input_type="query", runtime=runtime, **connection_of(api, server))
    prefix = "task: search result | query: " if "embedding-2" in api.model else ""
    assert [list(v) for v in done.vectors] == [vector(prefix + t) for t in TEXTS]
    assert done.usage.input_tokens == api.tokens and done.requests == api.requests == len(server.requests)
    assert done.dimensions == 3 and len(repr(done)) < 100
    sent = min(server.requests, key=lambda r: str(r.body).find(TEXTS[0]) < 0)
    assert unquote(sent.path).endswith(api.path) and sent.body == api.sent
    assert sent.headers["Content-Type"] == "application/json"
    assert KEY in str(sent.headers) or "Credential=AKIAEXAMPLE" in sent.headers["Authorization"]


@pytest.mark.parametrize("model", ["openai:text-embedding-3-small", "azure:small", "lmstudio:nomic", "together:m"])
def test_the_request_is_what_the_sdk_would_send(model: str) -> None:
    """The official type, strictly."""
    body = json.loads(codec_of(model).encode(TEXTS, Wishes("m", 256, "query")).body)
    assert check_against(EmbeddingCreateParams, body) == []


@pytest.mark.parametrize(
    ("model", "field", "path"),
    [
        ("openai:text-embedding-3-large", "dimensions", ()),
        ("mistral:codestral-embed", "output_dimension", ()),
        ("voyage:voyage-4", "output_dimension", ()),
        ("gemini:gemini-embedding-001", "outputDimensionality", ("requests", 0)),
        ("cohere:embed-v4.0", "output_dimension", ()),
        ("ollama:embeddinggemma", "dimensions", ()),
        (f"bedrock:{TITAN}", "dimensions", ()),
        ("bedrock:amazon.titan-embed-image-v1", "outputEmbeddingLength", ("embeddingConfig",)),
        ("bedrock:us.cohere.embed-v4:0", "output_dimension", ()),
        ("vertex:text-embedding-005", "outputDimensionality", ("parameters",)),
        ("vertex:gemini-embedding-2", "outputDimensionality", ("embedContentConfig",)),
    ],
)
def test_dimensions_go_where_the_api_wants_them(model: str, field: str, path: tuple[str | int, ...]) -> None:
    provider, _, name = model.partition(":")
    body: Any = json.loads(codec_of(model).encode(["a"], Wishes(name, 256)).body)
    for step in path:
        body = body[step]
    assert provider and body[field] == 256


APIS_BY_PROVIDER = {
    "gemini": "gemini.generateContent",
    "cohere": "cohere.v2.chat",
    "ollama": "ollama.chat",
    "bedrock": "bedrock.converse",
    "anthropic": "anthropic.messages",
}


def codec_of(model: str) -> Any:
    provider, _, name = model.partition(":")
    return embed_codec(provider, APIS_BY_PROVIDER.get(provider, "openai.chat"), provider.title(), name)


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        ("anthropic:claude-sonnet-4-5", {}, "Anthropic does not take texts to embed"),
        ("bedrock:amazon.titan-embed-text-v1", {"dimensions": 256}, "titan-embed-text-v1 on Bedrock does not take dim"),
        ("bedrock:cohere.embed-english-v3", {"dimensions": 256}, "does not take dimensions"),
        ("bedrock:arn:aws:bedrock:us-east-1:1:application-inference-profile/abc", {}, "names none that is known"),
        ("voyage:voyage-4", {"input_type": "clustering"}, "Voyage does not take input_type='clustering'"),
        ("cohere:embed-v4.0", {"input_type": "similarity"}, "Cohere does not take input_type='similarity'"),
    ],
)
async def test_what_cannot_be_done_is_refused_before_sending(model: str, options: dict[str, Any], said: str) -> None:
    """Also when there is no text at all."""
    keys = {"bedrock_access_key_id": "a", "bedrock_secret_access_key": "b", "bedrock_region": "us-east-1"}
    connection = keys if model.startswith("bedrock") else {"api_key": KEY}
    async with Runtime(environ={}) as runtime:
        for texts in (["a"], []):
            with pytest.raises(ConfigError, match=said) as raised:
                await embed(texts, model, runtime=runtime, **options, **connection)
            assert raised.value.code == "unsupported_feature" and raised.value.hint


@pytest.mark.parametrize("kind", get_args(InputType))
def test_every_input_type_is_mapped_or_refused(kind: InputType) -> None:
    for api in APIS:
        try:
            body = codec_of(api.model).encode(["x"], Wishes(api.model.partition(":")[2], None, kind)).body
        except ConfigError as refused:
            assert repr(kind) in refused.message
        else:
            assert json.loads(body)


async def test_nothing_is_sent_for_nothing() -> None:
    async with served(openai) as server, Runtime(environ={}) as runtime:
        done = await embed([], "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
        assert (done.vectors, done.dimensions, done.usage.input_tokens, server.requests) == ([], 0, 0, [])


@pytest.mark.parametrize(
    ("texts", "options", "code"),
    [
        (["a", ""], {}, "empty_text"),
        (["a", "\ud800"], {}, "invalid_text"),
        ("a string", {}, "invalid_value"),
        (["a"], {"dimensions": 0}, "invalid_value"),
        (["a"], {"concurrency": 0}, "invalid_value"),
        (["a"], {"model": Model("openai:m", api_key=KEY)}, "conflicting_settings"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_sending(texts: Any, options: dict[str, Any], code: str) -> None:
    async with served(openai) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ConfigError) as raised:
            await embed(
                texts, **{"model": "openai:m", "base_url": server.url, "api_key": KEY, **options}, runtime=runtime
            )
        assert raised.value.code == code and raised.value.hint.strip() + raised.value.message
        assert server.requests == []


# --- batches ----------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 50), max_size=60), st.integers(1, 7), st.one_of(st.none(), st.integers(1, 90)))
def test_batches_hold_all_in_order_and_within_bounds(sizes: list[int], items: int, limit: int | None) -> None:
    """And none could have taken the first text of the next."""
    made = list(batches(sizes, Bounds(items, limit)))
    assert [i for b in made for i in range(b.start, b.end)] == list(range(len(sizes)))
    for number, batch in enumerate(made):
        held = sizes[batch.start : batch.end]
        assert 0 < len(held) <= items
        assert limit is None or sum(held) <= limit or len(held) == 1
        if number + 1 < len(made):
            more = sum(held) + sizes[batch.end]
            assert len(held) == items or (limit is not None and more > limit)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20), st.booleans())
def test_vectors_survive_both_forms(values: list[float], as_text: bool) -> None:
    """Base64 or numbers: the same 32 bits."""
    item = packed(values) if as_text else values
    answer = json.dumps({"data": [{"embedding": item}]}).encode()
    assert list(codec_of("openai:m").decode(answer, {}, 1).vectors[0]) == values


@given(st.sampled_from(APIS), st.one_of(st.binary(max_size=60), st.recursive(st.none() | st.text(max_size=3) | st.integers(), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.sampled_from(["data", "embeddings", "embedding", "float", "index", "values", "predictions"]), c, max_size=3), max_leaves=8)))  # fmt: skip
def test_no_answer_is_too_strange(api: Api, answer: Any) -> None:
    """S8: vectors or a typed error, whatever comes."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    try:
        made = codec_of(api.model).decode(body, {}, 1)
    except ProviderError as error:
        assert error.code == "protocol" and error.message
    else:
        assert len(made.vectors) == 1 and len(made.vectors[0])


async def test_order_is_kept_whatever_finishes_first() -> None:
    """Batches are answered last come, first served; no more than `concurrency` are under way."""
    texts = [f"{'x' * (n % 7)}{n}" for n in range(128 * 10 + 3)]
    waiting: list[asyncio.Event] = []
    most = 0

    async def hold(_: Request) -> None:
        nonlocal most
        mine = asyncio.Event()
        waiting.append(mine)
        most = max(most, len(waiting))
        if len(waiting) == 3 or len(server.requests) == 11:
            waiting[-1].set()
        await mine.wait()
        waiting.remove(mine)
        if waiting:
            waiting[-1].set()

    async with served(plain) as server, Runtime(environ={}) as runtime:
        server.before = hold
        done = await embed(texts, "lmstudio:m", base_url=server.url, api_key=KEY, concurrency=3, runtime=runtime)
    assert [list(v) for v in done.vectors] == [vector(t) for t in texts]
    assert done.requests == 11 == len(server.requests) and most == 3
    assert sorted(len(r.body["input"]) for r in server.requests) == [3, *[128] * 10]


@pytest.mark.parametrize(
    ("model", "items", "size"),
    [
        ("openai:text-embedding-3-small", 2048, 300_000),
        ("azure:text-embedding-3-small", 2048, 300_000),
        ("voyage:voyage-4-large", 1000, 120_000),
        ("mistral:mistral-embed", 256, 16_000),
        ("gemini:gemini-embedding-001", 100, None),
        ("cohere:embed-v4.0", 96, None),
        ("bedrock:cohere.embed-multilingual-v3", 96, None),
        ("bedrock:amazon.titan-embed-text-v2:0", 1, None),
        ("vertex:text-multilingual-embedding-002", 250, 20_000),
        ("vertex:gemini-embedding-001", 1, None),
    ],
)
def test_documented_bounds(model: str, items: int, size: int | None) -> None:
    assert codec_of(model).bounds == Bounds(items, size)


async def test_tokens_bound_a_batch() -> None:
    """OpenAI takes 300,000 tokens a request, and no token is shorter than a byte."""
    async with served(openai) as server, Runtime(environ={}) as runtime:
        texts = ["x" * 100_000, "y" * 100_000, "ä" * 60_000, "z" * 400_000, "end"]
        await embed(texts, "openai:m", base_url=server.url, api_key=KEY, concurrency=1, runtime=runtime)
    assert [list(map(len, r.body["input"])) for r in server.requests] == [[100_000, 100_000], [60_000], [400_000], [3]]


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("api", APIS, ids=lambda a: a.model)
async def test_a_rate_limit_is_waited_for(api: Api) -> None:
    """The rule of model calls: 429 is tried again."""
    async with served(api.answer) as server, Runtime(environ={}) as runtime:
        server.first = [error(429, "slow down", {"retry-after": "0"}), error(503, "overloaded")]
        retry = Retry(base_delay_s=0)
        done = await embed(TEXTS[:1], api.model, runtime=runtime, retry=retry, **connection_of(api, server))
    assert len(done.vectors) == 1 and len(server.requests) == 3


def test_retry_after_is_obeyed() -> None:
    async def main() -> None:
        async with served(openai) as server, Runtime(environ={}) as runtime:
            server.first = [error(429, "slow down", {"Retry-After": "30"})]
            began = runtime.loop.time()
            await embed(["a"], "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
            assert 30 <= runtime.loop.time() - began < 31 and len(server.requests) == 2

    run_in_virtual_time(main())


async def test_an_outage_is_not_answered_with_a_storm() -> None:
    """All requests with one key share a budget of retries."""
    async with served(lambda _: error(500, "oops")) as server, Runtime(environ={}, clock=Still()) as runtime:
        for _ in range(60):
            with pytest.raises(ProviderError):
                retry = Retry(attempts=2, base_delay_s=0)
                await embed(["a"], "openai:m", base_url=server.url, api_key=KEY, retry=retry, runtime=runtime)
    assert len(server.requests) == 60 + 50


class Still:
    """A clock that stands: no budget is refilled."""

    def monotonic(self) -> float:
        return 0.0

    def wall(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("status", "message", "code", "tries"),
    [
        (401, f"Incorrect API key provided: {KEY[:4]}***", "auth", 1),
        (404, "no such model", "not_found", 1),
        (400, "This model's maximum context length is 8192 tokens", "context_overflow", 1),
        (429, "busy", "rate_limit", 2),
        (500, "oops", "server", 2),
    ],
)
async def test_errors_are_classified_and_name_no_key(status: int, message: str, code: str, tries: int) -> None:
    async with served(lambda _: error(status, message)) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ProviderError) as raised:
            retry = Retry(attempts=2, base_delay_s=0)
            await embed(["a"], "openai:m", base_url=server.url, api_key=KEY, retry=retry, runtime=runtime)
        info = raised.value.info
        assert (info.code, info.status, info.provider, info.model) == (code, status, "openai", "m")
        assert len(server.requests) == tries
        assert KEY not in info.for_log() + info.for_user() + repr(raised.value)


async def test_one_failure_ends_all() -> None:
    """The rest is dropped, no task stays behind."""
    async with served(plain) as server, Runtime(environ={}) as runtime:

        async def hold(request: Request) -> None:
            if "bad" not in str(request.body):
                await server.over.wait()

        server.before = hold
        server.answer = lambda _: error(400, "no")
        texts = [*["a"] * 128, *["bad"] * 128, *["b"] * 1000]
        with pytest.raises(ProviderError, match="no"):
            await embed(texts, "lmstudio:m", base_url=server.url, api_key=KEY, concurrency=4, runtime=runtime)
        assert len(server.requests) <= 4


async def test_cancelling_drops_the_connections() -> None:
    """C3: nothing is swallowed, nothing stays."""
    async with served(plain) as server, Runtime(environ={}) as runtime:
        arrived = asyncio.Event()

        async def hold(_: Request) -> None:
            if len(server.requests) == 2:
                arrived.set()
            await server.over.wait()

        server.before = hold
        asked = asyncio.ensure_future(
            embed(["a"] * 500, "lmstudio:m", base_url=server.url, api_key=KEY, concurrency=2, runtime=runtime)
        )
        await arrived.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked


class Hanging:
    """A transport that never gets through."""

    def __init__(self) -> None:
        self.tried = asyncio.Event()
        self.given_up = 0

    async def open(self, *_: Any) -> Any:
        self.tried.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.given_up += 1

    def explain(self, error: BaseException, url: str) -> ErrorInfo:
        raise AssertionError(error)

    async def close(self) -> None:
        pass


async def test_cancelling_gives_up_a_connection_that_is_being_opened() -> None:
    """C1, C3."""
    transport = Hanging()
    async with Runtime(environ={}, transport=transport) as runtime:
        asked = asyncio.ensure_future(embed(["a"], "openai:m", api_key=KEY, runtime=runtime))
        await transport.tried.wait()
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await asyncio.sleep(0)
        assert transport.given_up == 1


def test_a_connection_that_does_not_open_is_given_up() -> None:
    """C5: ours is cancelled, the caller is not."""

    async def main() -> None:
        transport = Hanging()
        async with asyncio.timeout(3600), Runtime(environ={}, transport=transport) as runtime:
            with pytest.raises(ProviderError, match="OpenAI did not answer for 300 s") as raised:
                await embed(["a"], "openai:m", api_key=KEY, retry=Retry(attempts=3), runtime=runtime)
            assert raised.value.code == "first_byte_timeout" and transport.given_up == 3

    run_in_virtual_time(main())


async def test_a_recording_plays_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "embeddings.jsonl"
    made: list[list[list[float]]] = []
    async with served(openai) as server:
        for transport in (Recorder, Replay):
            async with Runtime(environ={}, transport=transport(path)) as runtime:
                done = await embed(TEXTS, "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
                made.append([list(v) for v in done.vectors])
        assert len(server.requests) == 1 and made[0] == made[1]
    assert KEY not in path.read_text()


@pytest.mark.parametrize("phase", ["first_byte", "idle"])
def test_a_silent_provider_is_given_up(phase: str) -> None:
    """C5: before the answer, and in the middle of it."""

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            if phase == "idle":
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with asyncio.timeout(3600), Runtime(environ={}) as runtime:
            began = runtime.loop.time()
            with pytest.raises(ProviderError) as raised:
                await embed(
                    ["a"],
                    "openai:m",
                    base_url=url,
                    api_key=KEY,
                    runtime=runtime,
                    retry=Retry(attempts=2, base_delay_s=0),
                    deadlines=Deadlines(first_byte_s=30, idle_s=20),
                )
            assert raised.value.code == f"{phase}_timeout" and raised.value.retryable
            assert 2 * (30 if phase == "first_byte" else 20) <= runtime.loop.time() - began < 65
        server.close()
        await server.wait_closed()

    run_in_virtual_time(main())


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ({"data": []}, "protocol", "1 texts were sent and 0 vectors"),
        ({"data": [{"embedding": []}]}, "protocol", "empty"),
        ({"data": [{"embedding": "AAA"}]}, "protocol", "cannot be read"),
        ({"data": [{"embedding": [1, "x"]}]}, "protocol", "not one of the API"),
        ({"data": [{"embedding": [1, 2]}]}, "wrong_dimensions", "asked for 3 dimensions and answered with 2"),
    ],
)
async def test_wrong_answers_are_errors(answer: Any, code: str, said: str) -> None:
    async with served(lambda _: answer) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ProviderError, match=said) as raised:
            retry = Retry(attempts=2, base_delay_s=0)
            await embed(["a"], "openai:m", dimensions=3, base_url=server.url, api_key=KEY, retry=retry, runtime=runtime)
        assert raised.value.code == code and raised.value.info.model == "m"
        assert len(server.requests) == (2 if code == "protocol" else 1)


async def test_vectors_of_different_lengths_are_an_error() -> None:
    def answer(body: dict[str, Any]) -> Any:
        return {"data": [{"embedding": [0.5] * len(t), "index": i} for i, t in enumerate(body["input"])]}

    async with served(answer) as server, Runtime(environ={}) as runtime:
        with pytest.raises(ProviderError, match="of 1 and of 2 dimensions"):
            await embed(["a", "b", "cc"], "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)


@pytest.mark.parametrize("numbers", [[0, 0, 1], [1, 2, 3], [0, 1, None]])
async def test_vectors_numbered_wrongly_are_an_error(numbers: list[int | None]) -> None:
    items = [{"embedding": [1.0], **({} if n is None else {"index": n})} for n in numbers]
    with pytest.raises(ProviderError, match="numbered wrongly"):
        codec_of("openai:m").decode(json.dumps({"data": items}).encode(), {}, 3)


async def test_usage_that_is_partly_missing_says_so() -> None:
    """S4: never silently too low."""

    def answer(body: dict[str, Any]) -> Any:
        made = openai(body)
        if body["input"] == ["b"]:
            del made["usage"]
        return made

    async with served(answer) as server, Runtime(environ={}) as runtime:
        texts = ["a" * 300_000, "b"]
        done = await embed(texts, "openai:m", base_url=server.url, api_key=KEY, runtime=runtime)
    assert (done.usage.input_tokens, done.usage.provenance) == (300_000, "partial")


# --- credentials and limits -------------------------------------------------------------------------------------------


async def test_azure_deployments() -> None:
    """The deployment is in the URL, the API version in the query."""
    async with served(openai) as server, Runtime(environ={}) as runtime:
        connection = {
            "base_url": f"{server.url}/openai/deployments/my-small",
            "api_key": KEY,
            "azure_api_version": "2024-10-21",
        }
        await embed(["a"], "azure:text-embedding-3-small", runtime=runtime, **connection)  # pyright: ignore[reportArgumentType]
    (request,) = server.requests
    assert request.path == "/openai/deployments/my-small/embeddings" and request.body["model"] == "my-small"
    assert request.query == {"api-version": "2024-10-21"} and request.headers["api-key"] == KEY


async def test_credentials_are_worked_out_for_each_try() -> None:
    """A token that expires is asked for again; a signature covers the body that is sent."""
    tokens = iter(["first", "second"])

    async def token() -> str:
        return next(tokens)

    async with served(vertex_predict) as server, Runtime(environ={}) as runtime:
        server.first = [error(503, "overloaded")]
        await embed(
            ["a"],
            "vertex:text-embedding-005",
            base_url=server.url,
            vertex_project="p",
            vertex_token=token,
            retry=Retry(base_delay_s=0),
            runtime=runtime,
        )
    assert [r.headers["Authorization"] for r in server.requests] == ["Bearer first", "Bearer second"]


@pytest.mark.parametrize("bound", [1, None])
async def test_limits_of_a_key_hold_for_embeddings(bound: int | None) -> None:
    """`Runtime(limits=…)` bounds them, too."""
    under_way = most = 0

    async def count(_: Request) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(50):  # time for others to arrive, if they are let
            await asyncio.sleep(0)
        under_way -= 1

    limits = {"lmstudio": ProviderLimits(concurrency=bound)} if bound else {}
    async with served(plain) as server, Runtime(environ={}, limits=limits) as runtime:
        server.before = count
        await embed(["a"] * 500, "lmstudio:m", base_url=server.url, api_key=KEY, concurrency=4, runtime=runtime)
    assert (most == 1) == (bound == 1) and len(server.requests) == 4


async def test_closing_the_runtime_ends_it() -> None:
    async with served(plain) as server:
        runtime = Runtime(environ={})
        arrived = asyncio.Event()

        async def hold(_: Request) -> None:
            arrived.set()
            await server.over.wait()

        server.before = hold
        asked = asyncio.ensure_future(embed(["a"], "lmstudio:m", base_url=server.url, api_key=KEY, runtime=runtime))
        await arrived.wait()
        await runtime.close()
        with pytest.raises(TurnwiseError) as raised:
            await asked
        assert raised.value.code == "session_closed"


def test_a_host_without_chat_has_no_conversations() -> None:
    handle = resolve_model(Model("voyage:voyage-4", api_key=KEY), {})
    with pytest.raises(ConfigError, match="Voyage does not take conversations"):
        _ = handle.codec
    assert not handle.has_chat

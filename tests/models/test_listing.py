"""The models that a provider lists: every provider's form, all pages, and every way in which it can go wrong.

The bodies are written by hand in the form of each API's reference.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web
from hypothesis import example, given
from hypothesis import strategies as st

from turnwise.errors import ConfigError, ProviderError
from turnwise.models import Capabilities, Model, ModelInfo, list_models
from turnwise.models.auth import Endpoint, Outgoing
from turnwise.models.hosts import HOSTS
from turnwise.models.listing import MAX_LIST_BYTES
from turnwise.models.listing_shapes import read_page
from turnwise.models.transport import HttpTransport

Answer = Callable[[web.Request], web.StreamResponse]


class Server:
    """Answers GETs by path and query; keeps what was asked."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "GET"
        self.asked.append((request.path_qs, {name.lower(): value for name, value in request.headers.items()}))
        return self.answer(request)


@asynccontextmanager
async def serving(answer: Answer | Any) -> AsyncGenerator[Server]:
    server = Server(answer if callable(answer) else lambda _: web.json_response(answer))
    runner = web.ServerRunner(web.Server(server.handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()


async def listed(provider: str, server: Server, path: str = "/v1", **more: Any) -> list[ModelInfo]:
    return await list_models(Model(provider, base_url=server.url + path, api_key="secret-key"), environ={}, **more)


# --- forms ------------------------------------------------------------------------------------------------------------

CLAUDE = {
    "type": "model",
    "id": "claude-x-1",
    "display_name": "Claude X 1",
    "created_at": "2026-01-02T00:00:00Z",
    "lifecycle": "deprecated",
    "max_input_tokens": 300_000,
    "max_tokens": 90_000,
    "capabilities": {
        "image_input": {"supported": True},
        "pdf_input": {"supported": False},
        "structured_outputs": {"supported": True},
        "thinking": {"supported": True, "types": {"adaptive": {"supported": True}}},
    },
}
FORMS: list[tuple[str, Any, ModelInfo]] = [
    (
        "OpenAI",
        {"object": "list", "data": [{"id": "gpt-x", "object": "model", "created": 1, "owned_by": "openai"}]},
        ModelInfo(provider="p", model="gpt-x", source="provider"),
    ),
    (
        "Anthropic",
        {"data": [CLAUDE], "has_more": False, "first_id": "claude-x-1", "last_id": "claude-x-1"},
        ModelInfo(
            provider="p",
            model="claude-x-1",
            label="Claude X 1",
            context_window=300_000,
            max_output_tokens=90_000,
            capabilities=Capabilities(images=True, documents=False, reasoning=True, structured_output=True),
            deprecated=True,
            source="provider",
        ),
    ),
    (
        "Gemini",
        {
            "models": [
                {
                    "name": "models/gemini-x",
                    "baseModelId": "gemini-x",
                    "displayName": "Gemini X",
                    "inputTokenLimit": 1000,
                    "outputTokenLimit": 100,
                    "supportedGenerationMethods": ["generateContent"],
                    "thinking": True,
                }
            ]
        },
        ModelInfo(
            provider="p",
            model="gemini-x",
            label="Gemini X",
            context_window=1000,
            max_output_tokens=100,
            capabilities=Capabilities(reasoning=True),
            source="provider",
        ),
    ),
    (
        "Cohere",
        {
            "models": [
                {
                    "name": "command-x",
                    "is_deprecated": False,
                    "endpoints": ["chat"],
                    "context_length": 256000.0,
                    "features": ["tools", "strict_tools", "vision"],
                }
            ]
        },
        ModelInfo(
            provider="p",
            model="command-x",
            context_window=256_000,
            capabilities=Capabilities(tools=True, images=True, reasoning=False),
            deprecated=False,
            source="provider",
        ),
    ),
    (
        "Ollama",
        {
            "models": [
                {
                    "name": "llama:3b",
                    "model": "llama:3b",
                    "size": 12,
                    "details": {"family": "llama"},
                    "capabilities": ["completion", "tools"],
                }
            ]
        },
        ModelInfo(
            provider="p",
            model="llama:3b",
            capabilities=Capabilities(tools=True, images=False, reasoning=False),
            source="provider",
        ),
    ),
    (
        "Mistral",
        {
            "object": "list",
            "data": [
                {
                    "id": "mistral-x",
                    "object": "model",
                    "name": "mistral-x-2601",
                    "max_context_length": 131072,
                    "capabilities": {"completion_chat": True, "function_calling": True, "vision": False},
                    "deprecation": "2027-01-01T00:00:00Z",
                }
            ],
        },
        ModelInfo(
            provider="p",
            model="mistral-x",
            label="mistral-x-2601",
            context_window=131_072,
            capabilities=Capabilities(tools=True, images=False),
            deprecated=True,
            source="provider",
        ),
    ),
    (
        "Together: a bare array",
        [{"id": "org/x", "object": "model", "type": "chat", "display_name": "X", "context_length": 2048}],
        ModelInfo(provider="p", model="org/x", label="X", context_window=2048, source="provider"),
    ),
    (
        "Bedrock",
        {
            "modelSummaries": [
                {
                    "modelArn": "arn:aws:bedrock:us-east-1::foundation-model/amazon.x-v1:0",
                    "modelId": "amazon.x-v1:0",
                    "modelName": "X",
                    "inputModalities": ["TEXT", "IMAGE"],
                    "modelLifecycle": {"status": "LEGACY"},
                }
            ]
        },
        ModelInfo(
            provider="p",
            model="amazon.x-v1:0",
            label="X",
            capabilities=Capabilities(images=True, audio=False, documents=False),
            deprecated=True,
            source="provider",
        ),
    ),
    (
        "Azure",
        {"data": [{"id": "gpt-x", "status": "succeeded", "lifecycle_status": "deprecated", "object": "model"}]},
        ModelInfo(provider="p", model="gpt-x", deprecated=True, source="provider"),
    ),
]


@pytest.mark.parametrize(("body", "expected"), [f[1:] for f in FORMS], ids=[f[0] for f in FORMS])
def test_every_form_is_read(body: Any, expected: ModelInfo) -> None:
    page = read_page("p", json.dumps(body).encode())
    assert page is not None
    assert (page.models, page.more, page.link) == ([expected], "", "")


def test_openrouter_with_its_prices() -> None:
    entry = {
        "id": "org/x",
        "name": "Org: X",
        "context_length": 5000,
        "architecture": {"input_modalities": ["text", "image", "file"]},
        "top_provider": {"max_completion_tokens": 400},
        "supported_parameters": ["tools", "reasoning", "temperature"],
        "pricing": {
            "prompt": "0.000003",
            "completion": "0.000015",
            "request": "0",
            "internal_reasoning": "0",
            "input_cache_read": "0.0000003",
        },
    }
    varies = {"id": "org/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
    page = read_page("openrouter", json.dumps({"data": [entry, varies]}).encode())
    assert page is not None
    first, auto = page.models
    assert (first.label, first.context_window, first.max_output_tokens) == ("Org: X", 5000, 400)
    assert first.capabilities == Capabilities(
        tools=True, images=True, audio=False, documents=True, reasoning=True, structured_output=False
    )
    prices = first.prices
    assert prices is not None and prices.input_mtok is not None and prices.cache_read_mtok is not None
    assert (prices.input_mtok.usd, prices.cache_read_mtok.usd) == (Decimal(3), Decimal("0.3"))
    assert (prices.reasoning_mtok, prices.request) == (None, None), "a zero says that there is no price of its own"
    assert auto.prices is None


WHATEVER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    "data",
                    "models",
                    "id",
                    "name",
                    "capabilities",
                    "pricing",
                    "prompt",
                    "completion",
                    "context_length",
                    "links",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(WHATEVER)
@example({"data": [{"id": "x", "pricing": {"prompt": "NaN", "completion": "Infinity"}}]})
@example({"data": [{"id": "x", "context_length": 1e300, "capabilities": [1, None]}]})
def test_whatever_a_server_says_nothing_breaks(body: Any) -> None:
    """S8. A list is read, or is no list; a field of the wrong type is not known."""
    page = read_page("p", json.dumps(body).encode())
    if page is not None:
        assert all(info.model and (info.context_window is None or info.context_window > 0) for info in page.models)


# --- requests and pages -----------------------------------------------------------------------------------------------


async def test_one_request_with_the_key_and_what_the_catalogue_knows() -> None:
    body = {"data": [{"id": "gpt-5-mini"}, {"id": "newer"}]}
    async with serving(body) as server:
        mini, newer = await listed("openai", server)
        (bare, _) = await listed("openai:gpt-5", server, fill=False)
    assert [path for path, _ in server.asked] == ["/v1/models"] * 2
    assert server.asked[0][1]["authorization"] == "Bearer secret-key"
    assert (mini.source, mini.max_output_tokens) == ("provider", 128_000)
    assert newer == ModelInfo(provider="openai", model="newer", source="provider")
    assert bare == ModelInfo(provider="openai", model="gpt-5-mini", source="provider")


async def test_all_pages_of_anthropic() -> None:
    pages = {
        None: {"data": [{"id": "a"}, {"id": "b"}], "has_more": True, "last_id": "b&c"},
        "b&c": {"data": [{"id": "b"}, {"id": "d"}], "has_more": False, "last_id": "d"},
    }
    async with serving(lambda request: web.json_response(pages[request.query.get("after_id")])) as server:
        found = await listed("anthropic", server, "")
    assert [info.model for info in found] == ["a", "b", "d"], "each once"
    assert [path for path, _ in server.asked] == ["/v1/models?limit=1000", "/v1/models?limit=1000&after_id=b%26c"]
    assert all(h["anthropic-version"] and h["x-api-key"] == "secret-key" for _, h in server.asked)


@pytest.mark.parametrize(("said", "asked"), [("nextPageToken", "pageToken"), ("next_page_token", "page_token")])
async def test_all_pages_with_tokens(said: str, asked: str) -> None:
    def answer(request: web.Request) -> web.Response:
        if asked in request.query:
            return web.json_response({"models": [{"name": "models/two"}], said: ""})
        return web.json_response({"models": [{"name": "models/one"}], said: "t=/+"})

    async with serving(answer) as server:
        found = await listed("openai", server)
    assert [info.model for info in found] == ["one", "two"]
    assert parse_qs(server.asked[1][0].partition("?")[2]) == {asked: ["t=/+"]}


async def test_pages_that_are_linked() -> None:
    def answer(request: web.Request) -> web.Response:
        more = {} if request.query else {"links": {"next": "/v1/models?offset=1"}}
        return web.json_response({"data": [{"id": request.query_string or "first"}], **more})

    async with serving(answer) as server:
        assert [info.model for info in await listed("openai", server)] == ["first", "offset=1"]


async def test_keys_go_to_no_other_server() -> None:
    """P6: neither by a link to the next page nor by a redirect."""
    async with serving({"data": [{"id": "x"}]}) as other:
        async with serving({"data": [{"id": "x"}], "links": {"next": other.url + "/v1/models"}}) as server:
            with pytest.raises(ProviderError, match="another server"):
                await listed("openai", server)
        elsewhere = web.Response(status=302, headers={"location": other.url})
        async with serving(lambda _: elsewhere) as server:
            with pytest.raises(ProviderError) as raised:
                await listed("openai", server)
    assert raised.value.code == "redirect" and other.asked == []


async def test_pages_that_never_end() -> None:
    async with serving({"data": [{"id": "x"}], "has_more": True, "last_id": "x"}) as server:
        with pytest.raises(ProviderError, match="do not end"):
            await listed("anthropic", server, "")
    assert len(server.asked) == 2


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (401, {"error": {"message": "Incorrect API key provided.", "type": "invalid_request_error"}}, "auth"),
        (404, "<html><title>Not Found</title></html>", "not_found"),
        (429, {"error": {"message": "Slow down."}}, "rate_limit"),
        (500, "", "server"),
        (200, "<html>hello</html>", "protocol"),
        (200, "", "protocol"),
        (200, "[1, 2]", "protocol"),
        (200, {"error": "no"}, "protocol"),
        (200, '{"data": [{"id": "x"}', "protocol"),
    ],
)
async def test_what_is_no_list(status: int, body: Any, code: str) -> None:
    text = body if isinstance(body, str) else json.dumps(body)
    async with serving(lambda _: web.Response(status=status, text=text)) as server:
        with pytest.raises(ProviderError) as raised:
            await listed("openai", server)
    assert (raised.value.code, raised.value.info.provider) == (code, "openai")
    assert "secret-key" not in raised.value.info.for_log()


async def test_a_list_of_none_is_a_list() -> None:
    async with serving({"data": []}) as server:
        assert await listed("openai", server) == []


async def test_nobody_listens() -> None:
    async with serving({}) as server:
        pass
    with pytest.raises(ProviderError) as raised:
        await listed("openai", server)
    assert raised.value.code == "connection_refused"


async def test_a_body_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """S8: memory stays bounded."""
    monkeypatch.setattr("turnwise.models.listing.MAX_LIST_BYTES", 1000)
    assert MAX_LIST_BYTES > 1 << 20
    async with serving(lambda _: web.Response(text="x" * 100_000)) as server:
        with pytest.raises(ProviderError, match="longer than 1000 bytes"):
            await listed("openai", server)


async def test_giving_up_drops_the_connection() -> None:
    """C5: cancelled while the provider is silent."""
    arrived, gone = asyncio.Event(), asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.read() == b""
        gone.set()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transport = HttpTransport()
        there = Model("openai", base_url=f"http://127.0.0.1:{port}", api_key="k")
        task = asyncio.ensure_future(list_models(there, environ={}, transport=transport))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), 5)
        await transport.close()


@pytest.mark.parametrize(
    ("provider", "code"), [("nobody", "unknown_provider"), ("openai", "missing_key"), ("jina", "unsupported_feature")]
)
async def test_before_anything_is_sent(provider: str, code: str) -> None:
    with pytest.raises(ConfigError) as raised:
        await list_models(provider, environ={"JINA_API_KEY": "k"})
    assert raised.value.code == code


# --- credentials and addresses of their own ---------------------------------------------------------------------------


class Signing:
    """Credentials that look at the request, as signatures do, and need a thread for it."""

    async def headers(self, request: Outgoing, blocking: Any, now: float) -> Mapping[str, str]:
        signed: str = await blocking.run(lambda: f"{request.method} {request.url.partition('?')[0][-7:]}")
        return {"x-signed": f"{signed} {now > 1e9}"}


AZURE = {"AZURE_OPENAI_API_KEY": "azure-key", "AZURE_OPENAI_RESOURCE": "r"}


class Kept(HttpTransport):
    """Keeps what would be asked, and refuses."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, Mapping[str, str]]] = []

    async def open(self, method: str, url: str, headers: Mapping[str, str], *_: Any, **__: Any) -> Any:
        self.asked.append((f"{method} {url}", headers))
        raise ConnectionRefusedError


@pytest.mark.parametrize(
    ("provider", "environ", "url"),
    [
        ("azure", AZURE, "https://r.openai.azure.com/openai/models?api-version=2024-10-21"),
        (
            Model("azure:any", azure_api_version="v1"),
            AZURE,
            "https://r.openai.azure.com/openai/v1/models",
        ),
        (
            "azure-responses",
            {"AZURE_OPENAI_API_KEY": "azure-key", "AZURE_OPENAI_ENDPOINT": "https://q.openai.azure.com"},
            "https://q.openai.azure.com/openai/v1/models",
        ),
        (
            Model("azure", base_url="https://proxy.example/openai/deployments/d"),
            AZURE,
            "https://proxy.example/openai/models?api-version=2024-10-21",
        ),
    ],
)
async def test_azure_lists_what_the_resource_has(provider: str | Model, environ: dict[str, str], url: str) -> None:
    transport = Kept()
    with pytest.raises(ProviderError):
        await list_models(provider, environ=environ, transport=transport)
    ((asked, headers),) = transport.asked
    assert (asked, headers["api-key"]) == (f"GET {url}", "azure-key")


@pytest.mark.parametrize(
    ("provider", "url"),
    [
        ("anthropic", "https://api.anthropic.com/v1/models?limit=1000"),
        ("cohere", "https://api.cohere.com/v1/models?page_size=1000"),
        ("gemini", "https://generativelanguage.googleapis.com/v1beta/models?pageSize=1000"),
        ("groq", "https://api.groq.com/openai/v1/models"),
        ("ollama", "http://127.0.0.1:11434/api/tags"),
        ("openrouter", "https://openrouter.ai/api/v1/models"),
    ],
)
async def test_where_the_list_is(provider: str, url: str) -> None:
    transport = Kept()
    with pytest.raises(ProviderError):
        await list_models(provider, environ=dict.fromkeys(HOSTS[provider].key_variables, "k"), transport=transport)
    assert [asked for asked, _ in transport.asked] == [f"GET {url}"]


async def test_bedrock_is_asked_at_its_other_host_with_a_signature() -> None:
    keys = {"bedrock_access_key_id": "AKID", "bedrock_secret_access_key": "very-secret", "bedrock_region": "eu-west-1"}
    transport = Kept()
    with pytest.raises(ProviderError):
        await list_models(Model("bedrock", **keys), environ={}, transport=transport)
    ((asked, headers),) = transport.asked
    assert asked == "GET https://bedrock.eu-west-1.amazonaws.com/foundation-models"
    assert (
        "Credential=AKID/" in headers["authorization"] and "/eu-west-1/bedrock/aws4_request" in headers["authorization"]
    )
    assert "very-secret" not in str(headers)


async def test_requests_are_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving({"data": [{"id": "x"}]}) as server:
        endpoint = Endpoint(server.url + "/v1/", query="api-version=1", auth=Signing())
        monkeypatch.setattr("turnwise.models.listing.resolve_host", lambda *_: (HOSTS["openai"], endpoint))
        assert [info.model for info in await list_models("openai")] == ["x"]
    path, headers = server.asked[0]
    assert (path, headers["x-signed"]) == ("/v1/models?api-version=1", "GET /models True")

"""Azure OpenAI: which settings make which URL, what is missing by name, keys and Entra tokens, and a turn over the wire."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from turnwise import Agent
from turnwise.core.content import Native, Text, Thinking
from turnwise.core.errors import ConfigError
from turnwise.core.messages import AssistantMessage, UserMessage
from turnwise.core.request import RequestHead
from turnwise.models.auth import Outgoing
from turnwise.models.connection import Model
from turnwise.models.handle import ModelHandle, resolve_model
from turnwise.testing import ScriptedProvider, reply

KEY = {"AZURE_OPENAI_API_KEY": "env-key"}
RESOURCE = {"AZURE_OPENAI_RESOURCE": "res", "AZURE_OPENAI_DEPLOYMENT": "dep", **KEY}
DATED = "?api-version=2024-10-21"
AT_DEPLOYMENT = "https://res.openai.azure.com/openai/deployments/dep"


def resolve(name: str = "azure:gpt-5", environ: Mapping[str, str] = KEY, **connection: Any) -> ModelHandle:
    return resolve_model(Model(name, **connection), environ)


def asked(handle: ModelHandle) -> tuple[str, str, dict[str, str]]:
    """The URL, the model in the body, and the headers of a request."""
    sealed = handle.seal(handle.head(RequestHead("x")))
    return (
        sealed.url,
        json.loads(sealed.head.before[:-1].split(b',"messages"')[0] + b"}")["model"],
        dict(sealed.headers),
    )


def refusal(*args: Any, **connection: Any) -> ConfigError:
    with pytest.raises(ConfigError) as raised:
        resolve(*args, **connection)
    return raised.value


SET: dict[str, Any] = {"azure_resource": "res", "azure_deployment": "dep"}


@pytest.mark.parametrize(
    ("connection", "url", "model"),
    [
        (SET, f"{AT_DEPLOYMENT}/chat/completions{DATED}", "dep"),
        (
            {**SET, "azure_api_version": "2025-01-01-preview"},
            f"{AT_DEPLOYMENT}/chat/completions?api-version=2025-01-01-preview",
            "dep",
        ),
        ({**SET, "azure_api_version": "v1"}, "https://res.openai.azure.com/openai/v1/chat/completions", "dep"),
        (
            {**SET, "azure_api_version": "preview"},
            "https://res.openai.azure.com/openai/v1/chat/completions?api-version=preview",
            "dep",
        ),
        (
            {"azure_resource": "res", "azure_api_version": "v1"},
            "https://res.openai.azure.com/openai/v1/chat/completions",
            "gpt-5",
        ),
        ({**SET, "azure_deployment": "a b/c"}, f"{AT_DEPLOYMENT[:-3]}a%20b%2Fc/chat/completions{DATED}", "a b/c"),
        # a complete set goes before a base URL
        ({**SET, "base_url": "https://elsewhere/v1"}, f"{AT_DEPLOYMENT}/chat/completions{DATED}", "dep"),
        # base URLs: complete up to what is asked for
        ({"base_url": "https://gate/openai/v1"}, "https://gate/openai/v1/chat/completions", "gpt-5"),
        (
            {"base_url": "https://gate/openai/deployments/d"},
            f"https://gate/openai/deployments/d/chat/completions{DATED}",
            "d",
        ),
        (
            {"base_url": "https://gate/openai/deployments/d/chat/completions?api-version=2024-06-01"},
            "https://gate/openai/deployments/d/chat/completions?api-version=2024-06-01",
            "d",
        ),
        ({"base_url": "https://gate/x", "azure_api_version": "v1"}, "https://gate/x/chat/completions", "gpt-5"),
        # the address of a resource alone
        (
            {"base_url": "https://res.openai.azure.com/", "azure_deployment": "dep"},
            f"{AT_DEPLOYMENT}/chat/completions{DATED}",
            "dep",
        ),
        (
            {"base_url": "https://res.openai.azure.com", "azure_api_version": "v1"},
            "https://res.openai.azure.com/openai/v1/chat/completions",
            "gpt-5",
        ),
    ],
)
def test_urls_from_code(connection: dict[str, Any], url: str, model: str) -> None:
    assert asked(resolve(**connection))[:2] == (url, model)


@pytest.mark.parametrize(
    ("environ", "url", "model"),
    [
        (RESOURCE, f"{AT_DEPLOYMENT}/chat/completions{DATED}", "dep"),
        (
            {**RESOURCE, "AZURE_OPENAI_API_VERSION": "2024-06-01", "OPENAI_API_VERSION": "2023-05-15"},
            f"{AT_DEPLOYMENT}/chat/completions?api-version=2024-06-01",
            "dep",
        ),
        (
            {**RESOURCE, "OPENAI_API_VERSION": "2024-06-01"},
            f"{AT_DEPLOYMENT}/chat/completions?api-version=2024-06-01",
            "dep",
        ),
        (
            {**KEY, "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com/", "AZURE_OPENAI_DEPLOYMENT": "dep"},
            f"{AT_DEPLOYMENT}/chat/completions{DATED}",
            "dep",
        ),
        (
            {**KEY, "AZURE_OPENAI_ENDPOINT": "https://apim.example/", "AZURE_OPENAI_DEPLOYMENT": "dep"},
            f"https://apim.example/openai/deployments/dep/chat/completions{DATED}",
            "dep",
        ),
        (
            {**KEY, "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/openai/v1/"},
            "https://r.openai.azure.com/openai/v1/chat/completions",
            "gpt-5",
        ),
    ],
)
def test_urls_from_the_environment(environ: dict[str, str], url: str, model: str) -> None:
    assert asked(resolve("azure:gpt-5", environ))[:2] == (url, model)


def test_code_beats_the_environment() -> None:
    handle = resolve("azure:gpt-5", RESOURCE, azure_deployment="mine", api_key="code-key")
    url, model, headers = asked(handle)
    assert "/deployments/mine/" in url and model == "mine" and headers["api-key"] == "code-key"
    half = {"AZURE_OPENAI_RESOURCE": "res", **KEY}
    assert asked(resolve("azure:gpt-5", half, base_url="https://gate/openai/v1"))[0].startswith("https://gate/")


@pytest.mark.parametrize(
    ("connection", "environ", "missing"),
    [
        ({}, KEY, "azure_resource"),
        ({"azure_resource": "res"}, KEY, "azure_deployment"),
        ({"azure_deployment": "dep"}, KEY, "azure_resource"),
        ({}, {**KEY, "AZURE_OPENAI_RESOURCE": "res"}, "azure_deployment"),
        ({}, {**KEY, "AZURE_OPENAI_DEPLOYMENT": "dep"}, "azure_resource"),
        ({}, {**KEY, "AZURE_OPENAI_ENDPOINT": "https://res.openai.azure.com"}, "azure_deployment"),
        # what is half said in code is never passed over for a base URL
        ({"azure_resource": "res", "base_url": "https://gate/v1"}, KEY, "azure_deployment"),
        ({"azure_deployment": "dep", "base_url": "https://gate/v1"}, KEY, "azure_resource"),
        ({"azure_resource": "res"}, {**KEY, "AZURE_OPENAI_ENDPOINT": "https://x/openai/v1"}, "azure_deployment"),
        ({"base_url": "https://res.openai.azure.com"}, KEY, "azure_deployment"),
        ({"azure_api_version": "v1"}, KEY, "azure_resource"),
    ],
)
def test_what_is_missing_is_named(connection: dict[str, Any], environ: dict[str, str], missing: str) -> None:
    """Before any I/O. `openai` names are read alike once code says anything of Azure's."""
    in_code = any(name.startswith("azure_") for name in connection)
    for name in ("azure:gpt-5", "openai:gpt-5") if in_code else ("azure:gpt-5",):
        error = refusal(name, environ, **connection)
        assert error.code == "missing_config" and error.info.detail == missing
        assert missing in error.message and f"{missing}=" in (error.hint or "")
        assert "AZURE_OPENAI_" in (error.hint or "")


def test_a_complete_set_in_code_works_for_openai_names() -> None:
    environ = {**KEY, "OPENAI_API_KEY": "sk-openai", "OPENAI_BASE_URL": "https://proxy/v1"}
    for connection in (SET, {**SET, "base_url": "https://elsewhere/v1"}):
        url, model, headers = asked(resolve("openai:gpt-5", environ, **connection))
        assert (url, model) == (f"{AT_DEPLOYMENT}/chat/completions{DATED}", "dep")
        assert headers["api-key"] == "env-key" and "authorization" not in headers, "OpenAI's key goes to OpenAI alone"


def test_the_environment_alone_moves_no_openai_name() -> None:
    url, model, headers = asked(resolve("openai:gpt-5", {**RESOURCE, "OPENAI_API_KEY": "sk"}))
    assert (url, model) == ("https://api.openai.com/v1/chat/completions", "gpt-5")
    assert headers["authorization"] == "Bearer sk" and "api-key" not in headers


@pytest.mark.parametrize("resource", ["evil.example/", "a.b", "", "-x", "a" * 70, "res?x=1"])
def test_a_resource_is_a_name(resource: str) -> None:
    """What is given must not lead the key elsewhere."""
    error = refusal(azure_resource=resource, azure_deployment="dep")
    assert error.code == ("invalid_setting" if resource else "missing_config")


def test_no_key() -> None:
    error = refusal("azure:gpt-5", {}, **SET)
    assert error.code == "missing_key" and "AZURE_OPENAI_API_KEY" in (error.hint or "")
    assert "azure_token=" in (error.hint or "")
    assert refusal("azure:gpt-5", KEY, **SET, api_key="k", azure_token="t").code == "conflicting_settings"
    assert refusal("azure:gpt-5", {}, **SET, azure_token="line\nbreak").code == "invalid_key"


def test_tokens_of_one_text() -> None:
    handle = resolve("azure:gpt-5", KEY, **SET, azure_token="entra")
    headers = asked(handle)[2]
    assert headers["authorization"] == "Bearer entra" and "api-key" not in headers and handle.auth is None
    from_environ = resolve("azure:gpt-5", {"AZURE_OPENAI_AD_TOKEN": "ad"}, **SET)
    assert asked(from_environ)[2]["authorization"] == "Bearer ad"
    assert "entra" not in repr(handle)


class Threads:
    """Runs what it is given in a thread, and counts."""

    abandoned = 0

    def __init__(self) -> None:
        self.count = 0

    def run(self, function: Callable[[], Any]) -> Awaitable[Any]:
        self.count += 1
        return asyncio.to_thread(function)

    async def close(self) -> None: ...


class Asks:
    """An async callable that is no function."""

    async def __call__(self) -> str:
        return "called"


def test_token_functions_are_asked_for_every_request() -> None:
    """Sync ones in a thread, async ones on the loop."""
    threads: list[bool] = []
    numbers = iter(range(9))

    def sync() -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return f"sync{next(numbers)}"

    async def asynchronous() -> str:
        threads.append(threading.current_thread() is threading.main_thread())
        return "async"

    async def ask(token: Any) -> str:
        handle = resolve("azure:gpt-5", {}, **SET, azure_token=token)
        assert handle.auth is not None and "authorization" not in asked(handle)[2]
        return (await handle.auth.headers(Outgoing("POST", "https://x", {}, ()), pool, 0.0))["authorization"]

    pool = Threads()
    assert asyncio.run(ask(sync)) == "Bearer sync0"
    assert asyncio.run(ask(sync)) == "Bearer sync1"
    assert asyncio.run(ask(asynchronous)) == "Bearer async"
    assert asyncio.run(ask(Asks())) == "Bearer called"
    assert threads == [False, False, True] and pool.count == 2


@pytest.mark.parametrize("given", [None, "", b"bytes", 3, "line\nbreak"])
def test_what_is_no_token_is_refused(given: Any) -> None:
    handle = resolve("azure:gpt-5", {}, **SET, azure_token=lambda: given)
    assert handle.auth is not None
    with pytest.raises(ConfigError) as raised:
        asyncio.run(handle.auth.headers(Outgoing("POST", "https://x", {}, ()), Threads(), 0.0))  # type: ignore[arg-type]
    assert raised.value.code == "invalid_key" and "bytes'" not in str(raised.value)


def test_credentials_are_told_apart_without_being_told() -> None:
    scopes = {
        resolve("azure:m", {}, **SET, **c).key_scope
        for c in ({"api_key": "secret-a"}, {"api_key": "secret-b"}, {"azure_token": "secret-c"}, {"azure_token": str})
    }
    assert len(scopes) == 4 and "secret" not in str(scopes)


def test_responses() -> None:
    """Asked at the v1 API unless a dated version is named; never at a deployment's URL."""
    pytest.importorskip("turnwise.wire.openai_responses.codec")
    handle = resolve("azure-responses:gpt-5", **SET)
    assert (handle.base_url, handle.address("/responses")[0]) == (
        "https://res.openai.azure.com/openai/v1",
        "https://res.openai.azure.com/openai/v1/responses",
    )
    dated = resolve("azure-responses:gpt-5", **SET, azure_api_version="2025-03-01-preview")
    assert dated.address("/responses")[0] == (
        "https://res.openai.azure.com/openai/responses?api-version=2025-03-01-preview"
    )
    assert resolve("azure-responses:gpt-5", azure_resource="res").head(RequestHead("x")).model == "gpt-5"
    assert resolve("openai-responses:gpt-5", **SET).head(RequestHead("x")).model == "dep"


def test_a_turn_at_azure() -> None:
    """Over the wire: path, query, model and key as Azure wants them; a token is asked for on each request."""
    tokens = iter(["one", "two"])
    with ScriptedProvider([reply("Hello."), reply("Again.")]) as provider:
        at = f"{provider.url}/v1"
        agent = Agent(Model("azure:gpt-5", base_url=at, azure_token=lambda: next(tokens)))

        async def talk() -> list[str]:
            async with agent.session() as session:
                return [(await session.run(text)).text for text in ("hi", "more")]

        assert asyncio.run(talk()) == ["Hello.", "Again."]
        assert next(tokens, None) is None
        first = provider.requests[0]
        assert first.body["model"] == "gpt-5" and first.path.split("?")[0] == "/v1/chat/completions"
        assert not first.problems


def test_handles_are_values_of_their_settings() -> None:
    assert msgspec.structs.asdict(resolve(**SET).codec)["profile"].name == "Azure OpenAI"  # type: ignore[arg-type]


def test_sealed_reasoning_stays_with_who_sealed_it() -> None:
    """T5: OpenAI's and Azure's Responses are two signature families: neither is sent what the other sealed."""
    azure, openai = resolve("azure-responses:gpt-5", **SET), resolve("openai-responses:gpt-5", api_key="k")
    assert azure.codec.api == openai.codec.api == "openai.responses"
    for own, other in ((azure, openai), (openai, azure)):
        origin = own.codec.origin
        item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbA=="}
        thought = Thinking("", "c2VhbA==", False, origin, Native(origin, json.dumps(item)))
        history = (UserMessage("Hi"), AssistantMessage((thought, Text("So."))), UserMessage("And?"))
        assert b"c2VhbA" in own.codec.encode_messages(history, 0, {})
        assert b"c2VhbA" not in other.codec.encode_messages(history, 0, {})

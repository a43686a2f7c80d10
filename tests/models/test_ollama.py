"""Where Ollama is: `OLLAMA_HOST` as its own client reads it, keys, both of its APIs; and whole turns over the native one."""

from __future__ import annotations

import pytest

from turnwise import Agent, Image, Model, ModelSettings, tool
from turnwise.core.errors import ConfigError, ProviderError
from turnwise.models.handle import resolve_model
from turnwise.models.ollama import server_url
from turnwise.testing import ScriptedProvider, call, fail, reply, text, think
from turnwise.wire.extras import OllamaExtra


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("1.2.3.4", "http://1.2.3.4:11434"),
        (":56789", "http://127.0.0.1:56789"),
        ("1.2.3.4:56789", "http://1.2.3.4:56789"),
        ("http://1.2.3.4", "http://1.2.3.4"),
        ("https://1.2.3.4", "https://1.2.3.4"),
        ("https://example.com:56789", "https://example.com:56789"),
        ("example.com/", "http://example.com:11434"),
        ("example.com:56789/path/", "http://example.com:56789/path"),
        ("example.com/path", "http://example.com:11434/path"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("http://0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("::", "http://[::1]:11434"),
        ("[::]:8080", "http://[::1]:8080"),
        ("::1", "http://[::1]:11434"),
        ("[2001:db8::1]", "http://[2001:db8::1]:11434"),
        ("ollama.com", "https://ollama.com"),
        (' "1.2.3.4" ', "http://1.2.3.4:11434"),
        ("'localhost'", "http://localhost:11434"),
    ],
)
def test_addresses_as_ollamas_own_client_reads_them(value: str, url: str) -> None:
    assert server_url(value) == url
    for name, path in (("ollama", ""), ("ollama-openai", "/v1")):
        assert resolve_model(f"{name}:m", {"OLLAMA_HOST": value}).base_url == url + path


@pytest.mark.parametrize("value", ["1.2.3.4:99999", "host:port", "ftp://host", "http://[::1"])
def test_what_is_no_address_is_refused_before_any_request(value: str) -> None:
    with pytest.raises(ConfigError) as raised:
        resolve_model("ollama:m", {"OLLAMA_HOST": value})
    assert raised.value.info.code == "invalid_url"


def test_defaults_and_what_is_said_in_code() -> None:
    assert resolve_model("ollama:llama3.2:1b", {}).base_url == "http://127.0.0.1:11434"
    assert resolve_model("ollama:llama3.2:1b", {}).model == "llama3.2:1b"
    assert resolve_model("ollama:m", {}).codec.api == "ollama.chat"
    assert resolve_model("ollama-openai:m", {}).codec.api == "openai.chat"
    given = Model("ollama:m", base_url="http://there:1")
    assert resolve_model(given, {"OLLAMA_HOST": "elsewhere"}).base_url == "http://there:1"


def test_keys_are_sent_if_there_are_any() -> None:
    """Ollama's cloud wants one, a server of one's own does not; a key never shows."""
    handle = resolve_model("ollama:m", {"OLLAMA_API_KEY": "secret", "OLLAMA_HOST": "ollama.com"})
    assert handle.address("/api/chat") == ("https://ollama.com/api/chat", {"authorization": "Bearer secret"})
    assert "secret" not in repr(handle)
    assert resolve_model("ollama:m", {}).address("/api/chat")[1] == {}
    given = Model("ollama:m", api_key="other")
    assert resolve_model(given, {"OLLAMA_API_KEY": "secret"}).address("")[1] == {"authorization": "Bearer other"}


# --- whole turns, over Ollama's and Cohere's APIs ---


@tool
async def weather(city: str) -> str:
    """Forecast for a city."""
    return f"Sun in {city}"


@tool
async def draw() -> list[object]:
    """A picture."""
    return ["Here:", Image.of(b"\x89PNG a drawing")]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(("name", "api"), [("ollama", "ollama.chat"), ("cohere", "cohere.v2.chat")])
async def test_a_turn_with_tools(name: str, api: str, stream: bool) -> None:
    """T4, T5, T8: calls of one name without ids, reasoning within the tool loop, images from a tool."""
    first = reply(think("Two", " cities."), call("weather", city="Oslo"), call("weather", city="Rome"), call("draw"))
    async with ScriptedProvider([first, reply(text("Sun", " in both."))]) as provider:
        agent = Agent(f"{name}:m", tools=[weather, draw], base_url=provider.url_for(api), api_key="test", stream=stream)
        async with agent.session() as session:
            result = await session.run(["Weather?", Image.of(b"\x89PNG a map")])
    assert (result.reason, result.text) == ("completed", "Sun in both.")
    again = provider.requests[1]
    assert (again.api, again.problems) == (api, ())
    said = again.raw.decode()
    assert said.index("Sun in Oslo") < said.index("Sun in Rome") < said.index("Here:")
    assert "Two cities." in said


async def test_a_model_without_tools_is_told_how_to_go_on() -> None:
    said = "registry.ollama.ai/library/gemma:2b does not support tools"
    async with ScriptedProvider([fail(400, said)]) as provider:
        agent = Agent("ollama:gemma:2b", tools=[weather], base_url=provider.url_for("ollama.chat"))
        async with agent.session() as session:
            with pytest.raises(ProviderError) as raised:
                await session.run("Weather?")
    info = raised.value.info
    assert (info.code, info.message) == ("tools_unsupported", said) and 'tools="prompted"' in info.hint


async def test_settings_reach_the_server() -> None:
    settings = ModelSettings(max_output_tokens=9, extra=OllamaExtra(num_ctx=8192, keep_alive=0))
    async with ScriptedProvider([reply("Hi.")]) as provider:
        agent = Agent("ollama:m", settings=settings, base_url=provider.url_for("ollama.chat"))
        async with agent.session() as session:
            await session.run("Hi")
    body = provider.requests[0].body
    assert (body["options"], body["keep_alive"]) == ({"num_ctx": 8192, "num_predict": 9}, 0)

"""Hosts of OpenAI's API: where they are, what their requests look like, what they are known to refuse, what the page says."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from turnwise.core.content import Audio, Document, Image, Inline, Native, Text, Thinking, ToolCall, Url
from turnwise.core.errors import ConfigError
from turnwise.core.messages import AssistantMessage, Message, ToolMessage, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, Reasoning, RequestHead, ToolSpec
from turnwise.models.connection import Model
from turnwise.models.handle import ModelHandle, resolve_model
from turnwise.models.hosts import HOSTS, Host
from turnwise.wire.base import assemble
from turnwise.wire.openai_chat.codec import ChatCodec
from turnwise.wire.openai_chat.ids import nine_id
from turnwise.wire.openai_chat.profile import Profile
from turnwise.wire.openai_chat.profiles import PROFILES

ROOT = Path(__file__).parents[2]
CHAT = {name: host for name, host in HOSTS.items() if host.api == "openai.chat"}
PLAIN = {name: host for name, host in CHAT.items() if not name.startswith("azure")}
WEATHER = ToolSpec("weather", "Forecast for a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')
SCHEMA = '{"type":"object"}'
PNG = Image(Inline(b"\x89PNG", "image/png"))
PDF = Document(Inline(b"%PDF", "application/pdf"), "a.pdf")
PDF_URL = Document(Url("https://x/a.pdf"), "a.pdf")
WAV = Audio(Inline(b"RIFF", "audio/wav"))
HISTORY: tuple[Message, ...] = (
    UserMessage("hi"),
    AssistantMessage((Text("Looking."), ToolCall("t1.s1.c0", "weather", "{}"))),
    ToolMessage((ToolResult("t1.s1.c0", "rain"),)),
    UserMessage("and?"),
)


def _checker() -> Callable[[Any, Any], list[str]]:
    path = Path(__file__).parents[1] / "wire" / "sdk_types.py"
    spec = importlib.util.spec_from_file_location("sdk_types", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.check_against


check_against = _checker()


def environ_of(host: Host) -> dict[str, str]:
    return dict.fromkeys(host.key_variables[:1], "k")


def resolve(name: str, environ: dict[str, str] | None = None, **connection: Any) -> ModelHandle:
    host = HOSTS[name.partition(":")[0]]
    if name.startswith("azure") and not connection:
        connection = {"azure_resource": "r", "azure_deployment": "d"}
    return resolve_model(Model(name, **connection), environ_of(host) if environ is None else environ)


def body_of(name: str, *messages: Message, tools: tuple[ToolSpec, ...] = (), **settings: Any) -> dict[str, Any]:
    handle = resolve(f"{name}:m")
    head = handle.head(RequestHead("m", "Be brief.", tools, ModelSettings(**settings)))
    return json.loads(assemble(handle.codec.encode_head(head), handle.codec.encode_messages(messages, 0, {})).body)


def profile_of(name: str) -> Profile:
    made = resolve(f"{name}:m").codec
    assert isinstance(made, ChatCodec)
    return made.profile


# --- where ---


@pytest.mark.parametrize("name", PLAIN)
def test_addresses_and_keys(name: str) -> None:
    host = PLAIN[name]
    sealed = resolve(f"{name}:m").seal(RequestHead("m"))
    assert sealed.url == f"{host.base_url}/chat/completions"
    assert sealed.url.startswith("https://" if host.needs_key else "http://127.0.0.1:")
    assert sealed.headers.get("authorization") == ("Bearer k" if host.key_variables else None)
    assert host.label and host.name == name and not host.base_url.endswith("/")


@pytest.mark.parametrize("name", [n for n, h in PLAIN.items() if h.needs_key])
def test_a_missing_key_is_named(name: str) -> None:
    """Before any I/O; at an address of the caller's own a key is not asked for."""
    with pytest.raises(ConfigError) as raised:
        resolve(f"{name}:m", {})
    assert raised.value.code == "missing_key"
    assert all(variable in (raised.value.hint or "") for variable in PLAIN[name].key_variables)
    assert resolve(f"{name}:m", {}, base_url="http://127.0.0.1:9/v1").base_url == "http://127.0.0.1:9/v1"


def test_each_kind_of_host_is_a_family_of_its_own() -> None:
    """T5: reasoning of one is never sent to another."""
    origins = [profile.origin for profile in PROFILES.values()]
    assert len(set(origins)) == len(origins)
    assert {h.profile for h in CHAT.values()} | {"compatible", "ollama"} == set(PROFILES)


# --- openai:MODEL@https://host/v1 ---


def test_any_server_by_its_address() -> None:
    handle = resolve("openai:org/model:7b@https://host.example/v1", {"OPENAI_API_KEY": "k"})
    sealed = handle.seal(handle.head(RequestHead("x", settings=ModelSettings(max_output_tokens=5))))
    assert sealed.url == "https://host.example/v1/chat/completions" and handle.model == "org/model:7b"
    head = json.loads(sealed.head.before.removesuffix(b"[") + b"[]}")
    assert head["model"] == "org/model:7b" and head["max_tokens"] == 5, "it is not OpenAI, whose field has another name"
    assert sealed.headers["authorization"] == "Bearer k"
    assert handle.codec.origin == "openai.compatible"
    assert resolve("openai:m@http://127.0.0.1:9/v1", {}).base_url == "http://127.0.0.1:9/v1"


def test_openai_behind_another_address_is_still_openai() -> None:
    """`base_url` is for proxies; `@` is for other servers."""
    for handle in (
        resolve("openai:m", {}, base_url="https://proxy.example/v1"),
        resolve("openai:m", {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://proxy.example/v1"}),
    ):
        assert handle.base_url == "https://proxy.example/v1" and handle.codec.origin == "openai.chat"
    assert resolve("groq:m@https://proxy.example/v1", {}).codec.origin == "groq"


def test_two_addresses_are_one_too_many() -> None:
    with pytest.raises(ConfigError) as raised:
        resolve("openai:m@https://a.example/v1", {}, base_url="https://b.example/v1")
    assert raised.value.code == "conflicting_settings"


# --- what requests look like ---

OWN = {
    "deepseek": {"thinking"},
    "zai": {"thinking"},
    "moonshot": {"thinking"},
    "fireworks": {"thinking"},
    "groq": {"reasoning_format"},
    "openrouter": {"reasoning"},
    "together": {"reasoning"},
    "mistral": {"random_seed"},
    "alibaba": {"enable_thinking", "thinking_budget"},
}
"""Fields that OpenAI's API does not have."""


def everything(profile: Profile) -> dict[str, Any]:
    """Settings with all that this profile says its host takes."""
    known: dict[str, Any] = {"max_output_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ("a",)}
    if profile.seed_field:
        known["seed"] = 7
    if profile.effort or profile.switch:
        known["reasoning"] = Reasoning("high")
    elif profile.budget:
        known["reasoning"] = Reasoning(budget_tokens=2000)
    if profile.tools:
        known["tools"] = (WEATHER,)
        known["tool_choice"] = "required" if "required" in profile.tool_choices else "auto"
        known["parallel_tool_calls"] = False if profile.parallel_tool_calls else None
    if profile.output == "schema":
        known["output"] = OutputFormat(SCHEMA)
    elif profile.output == "object":
        known["output"] = OutputFormat(SCHEMA, strict=False)
    return known


@pytest.mark.parametrize("name", CHAT)
def test_requests_fit_the_official_types(name: str) -> None:
    """T8: but for the fields that a host has of its own, a request is one that OpenAI's SDK could have made."""
    profile = profile_of(name)
    messages = [m for m in HISTORY if profile.tools or isinstance(m, UserMessage)]
    if profile.images:
        messages.append(UserMessage((Text("look"), PNG)))
    body = body_of(name, *messages, **everything(profile))
    own = OWN.get(name, set())
    assert own <= body.keys() | {"thinking_budget"} | ({"thinking"} if profile.budget == "thinking" else set())
    rest = {field: value for field, value in body.items() if field not in own}
    if rest.get("tool_choice") == "any":
        rest["tool_choice"] = "required"
    assert check_against(CompletionCreateParamsStreaming, rest) == []


HIGH, NONE, BUDGET = Reasoning("high"), Reasoning("none"), Reasoning(budget_tokens=2000)
ONE = {"type": "function", "function": {"name": "weather"}}
USAGE = {"include_usage": True}


@pytest.mark.parametrize(
    ("name", "settings", "fields"),
    [
        ("openai", {"max_output_tokens": 9, "reasoning": HIGH}, {"max_completion_tokens": 9, "reasoning_effort": "high"}),
        ("azure", {"max_output_tokens": 9, "seed": 1}, {"model": "d", "max_completion_tokens": 9, "seed": 1}),
        ("openrouter", {"max_output_tokens": 9, "reasoning": NONE}, {"max_completion_tokens": 9, "reasoning": {"effort": "none"}}),
        ("openrouter", {"reasoning": BUDGET, "parallel_tool_calls": False}, {"reasoning": {"max_tokens": 2000}, "parallel_tool_calls": False}),
        ("groq", {"reasoning": HIGH, "tool_choice": OneTool("weather")}, {"reasoning_effort": "high", "reasoning_format": "parsed", "tool_choice": ONE}),
        ("mistral", {"seed": 1, "max_output_tokens": 9, "tool_choice": "required"}, {"random_seed": 1, "max_tokens": 9, "tool_choice": "any", "stream_options": None}),
        ("mistral", {"reasoning": HIGH, "parallel_tool_calls": False}, {"reasoning_effort": "high", "parallel_tool_calls": False}),
        ("deepseek", {"reasoning": Reasoning("medium"), "tool_choice": OneTool("weather")}, {"thinking": {"type": "enabled"}, "reasoning_effort": "high", "tool_choice": ONE}),
        ("deepseek", {"reasoning": NONE}, {"thinking": {"type": "disabled"}, "reasoning_effort": None}),
        ("xai", {"max_output_tokens": 9, "reasoning": Reasoning("minimal")}, {"max_completion_tokens": 9, "reasoning_effort": "low"}),
        ("together", {"reasoning": HIGH, "seed": 1}, {"reasoning": {"enabled": True}, "reasoning_effort": "high", "seed": 1}),
        ("fireworks", {"reasoning": BUDGET}, {"thinking": {"type": "enabled", "budget_tokens": 2000}, "reasoning_effort": None}),
        ("cerebras", {"reasoning": NONE, "max_output_tokens": 9}, {"reasoning_effort": "none", "max_completion_tokens": 9}),
        ("perplexity", {"reasoning": Reasoning("medium"), "tools": ()}, {"reasoning_effort": "medium", "stream_options": None}),
        ("huggingface", {"max_output_tokens": 9, "seed": 1}, {"max_tokens": 9, "seed": 1, "stream_options": USAGE}),
        ("vllm", {"reasoning": Reasoning("max")}, {"reasoning_effort": "high"}),
        ("lmstudio", {"tool_choice": "required"}, {"tool_choice": "required"}),
        ("llamacpp", {"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
        ("litellm", {"reasoning": HIGH}, {"reasoning_effort": "high"}),
        ("moonshot", {"reasoning": NONE, "tool_choice": "none"}, {"thinking": {"type": "disabled"}, "tool_choice": "none"}),
        ("zai", {"reasoning": HIGH, "stop": ("a",)}, {"thinking": {"type": "enabled"}, "reasoning_effort": None, "stop": ["a"]}),
        ("alibaba", {"reasoning": BUDGET}, {"enable_thinking": True, "thinking_budget": 2000}),
        ("alibaba", {"reasoning": NONE}, {"enable_thinking": False, "thinking_budget": None}),
        ("github", {"max_output_tokens": 9}, {"max_completion_tokens": 9}),
        ("nvidia", {"max_output_tokens": 9, "seed": 1}, {"max_tokens": 9, "seed": 1}),
        ("sambanova", {"reasoning": HIGH}, {"reasoning_effort": "high"}),
        ("nebius", {"reasoning": Reasoning("xhigh")}, {"reasoning_effort": "high"}),
        ("ovhcloud", {"reasoning": Reasoning("xhigh")}, {"reasoning_effort": "high"}),
        ("minimax", {"max_output_tokens": 9}, {"max_tokens": 9}),
    ],
)  # fmt: skip
def test_fields(name: str, settings: dict[str, Any], fields: dict[str, Any]) -> None:
    """The names under which each host takes a setting; None: the field is not sent."""
    body = body_of(name, UserMessage("hi"), **{"tools": (WEATHER,), **settings})
    assert {field: body.get(field) for field in fields} == fields


@pytest.mark.parametrize(
    ("name", "settings", "feature"),
    [
        ("openai", {"reasoning": BUDGET}, "a reasoning budget in tokens"),
        ("groq", {"reasoning": BUDGET}, "a reasoning budget in tokens"),
        ("groq", {"stop": ("a",) * 5}, "more than 4 stop sequences"),
        ("deepseek", {"seed": 1}, "a seed"),
        ("deepseek", {"parallel_tool_calls": False}, "parallel_tool_calls=False"),
        ("deepseek", {"output": OutputFormat(SCHEMA)}, "structured output by a schema"),
        ("perplexity", {}, "tools"),
        ("perplexity", {"tools": (), "seed": 1}, "a seed"),
        ("together", {"parallel_tool_calls": False}, "parallel_tool_calls=False"),
        ("llamacpp", {"reasoning": HIGH}, "reasoning settings"),
        ("llamacpp", {"tool_choice": OneTool("weather")}, "a tool choice by name (weather)"),
        ("lmstudio", {"tool_choice": OneTool("weather")}, "a tool choice by name (weather)"),
        ("moonshot", {"reasoning": BUDGET}, "a reasoning budget in tokens"),
        ("zai", {"tool_choice": "none"}, "tool_choice='none'"),
        ("zai", {"stop": ("a", "b")}, "more than 1 stop sequences"),
        ("zai", {"tool_choice": OneTool("weather")}, "a tool choice by name (weather)"),
        ("minimax", {"output": OutputFormat(SCHEMA)}, "structured output"),
        ("nvidia", {"reasoning": HIGH}, "reasoning settings"),
    ],
)
def test_what_a_host_lacks_is_refused(name: str, settings: dict[str, Any], feature: str) -> None:
    """Before any I/O, with the names of host and feature, and what to do."""
    with pytest.raises(ConfigError) as raised:
        body_of(name, UserMessage("hi"), **{"tools": (WEATHER,), **settings})
    error = raised.value
    assert error.code == "unsupported_feature" and error.hint
    assert error.message == f"{profile_of(name).name} does not take {feature}."


@pytest.mark.parametrize("name", CHAT)
def test_media_are_sent_or_refused(name: str) -> None:
    profile = profile_of(name)
    for block, is_taken in (
        (PNG, profile.images),
        (WAV, profile.audio),
        (PDF, profile.documents is not None),
        (PDF_URL, profile.document_urls),
    ):
        if is_taken:
            (message,) = body_of(name, UserMessage((block,)))["messages"][1:]
            assert message["content"][0]["type"] in ("image_url", "input_audio", profile.documents)
        else:
            with pytest.raises(ConfigError, match=profile.name):
                body_of(name, UserMessage((block,)))


@pytest.mark.parametrize(
    ("name", "document", "part"),
    [
        ("openai", PDF, {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}}),
        ("openrouter", PDF_URL, {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://x/a.pdf"}}),
        ("mistral", PDF_URL, {"type": "document_url", "document_url": "https://x/a.pdf", "document_name": "a.pdf"}),
        ("mistral", PDF, {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERg==", "document_name": "a.pdf"}),
        ("perplexity", PDF, {"type": "file_url", "file_url": {"url": "JVBERg=="}, "file_name": "a.pdf"}),
        ("perplexity", PDF_URL, {"type": "file_url", "file_url": {"url": "https://x/a.pdf"}, "file_name": "a.pdf"}),
    ],
)  # fmt: skip
def test_documents(name: str, document: Document, part: dict[str, Any]) -> None:
    assert body_of(name, UserMessage((document,)))["messages"][1]["content"] == [part]


@pytest.mark.parametrize("name", CHAT)
def test_reasoning_goes_back_where_it_came_from(name: str) -> None:
    """T5."""
    profile = profile_of(name)
    details = Native(profile.origin, '{"reasoning_details":[{"type":"reasoning.text","text":"own"}]}')
    foreign = Thinking("secret", "sig", False, "anthropic", Native("anthropic", '{"reasoning_details":["secret"]}'))
    body = (foreign, Thinking("own", None, False, profile.origin, details), Text("Four."))
    (written,) = body_of(name, AssistantMessage(body))["messages"][1:]
    assert "secret" not in json.dumps(written)
    if profile.thinking_parts:
        assert [p["type"] for p in written["content"]] == ["thinking", "text"]
    elif profile.reasoning_field:
        assert written[profile.reasoning_field] == "own" and written["content"] == "Four."
    else:
        assert written == {"role": "assistant", "content": "Four."}
    assert ("reasoning_details" in written) is ("reasoning_details" in profile.returned_fields)


def test_mistral_ids_have_nine_characters() -> None:
    asked, answered = body_of("mistral", *HISTORY)["messages"][2:4]
    assert asked["tool_calls"][0]["id"] == answered["tool_call_id"] == nine_id("t1.s1.c0")


def test_partners_take_turns_at_perplexity() -> None:
    """Two user messages in a row are ours to send and theirs to refuse; the bridge is part of the prefix (T7)."""
    messages: list[Message] = [
        UserMessage("a"),
        UserMessage("b"),
        AssistantMessage(" "),
        UserMessage("c"),
        AssistantMessage("d"),
        UserMessage("e"),
    ]
    sent = body_of("perplexity", *messages)["messages"]
    roles = [m["role"] for m in sent[1:]]
    assert roles == ["user", "assistant", "user", "assistant", "user", "assistant", "user"]
    made = resolve("perplexity:m").codec
    whole = made.encode_messages(messages, 0, {})
    for start in range(len(messages) + 1):
        first, rest = made.encode_messages(messages[:start], 0, {}), made.encode_messages(messages, start, {})
        assert whole == (first + b"," + rest if first and rest else first + rest)


def test_a_history_with_tools_can_go_to_a_host_without() -> None:
    """T8: calls and results of another model are told in words, and partners still take turns."""
    sent = body_of("perplexity", *HISTORY)["messages"]
    assert [m["role"] for m in sent] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert sent[2]["content"].startswith("Looking.\n<tool_call>") and "tool_calls" not in sent[2]
    assert "rain" in sent[3]["content"][0]["text"]
    assert check_against(CompletionCreateParamsStreaming, body_of("perplexity", *HISTORY)) == []


# --- the page ---


def listed_on(heading: str) -> list[str]:
    """The rows of the page's table under a heading."""
    page = (ROOT / "docs" / "providers.md").read_text("utf-8")
    section = page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    return [line for line in section.splitlines() if line.startswith("| `")]


def host_row(host: Host) -> str:
    keys = ", ".join(f"`{name}`" for name in host.key_variables) or "none"
    return f"| `{host.name}` | {host.label} | {keys} | {f'`{host.base_url}`' if host.base_url else 'your own'} |"


def chat_row(host: Host) -> str:
    profile = PROFILES[host.profile]
    efforts = " ".join(profile.efforts) if profile.effort else ("on, off" if profile.switch else "no")
    reasoning = efforts + (", budget" if profile.budget else "")
    choices = " ".join(profile.tool_choices) if profile.tools else "no tools"
    media = [n for n in ("images", "audio", "documents") if getattr(profile, n)]
    lacks = [n for n, has in (("seed", profile.seed_field), ("parallel off", profile.parallel_tool_calls)) if not has]
    output = {"schema": "schema", "object": "JSON only", None: "no"}[profile.output]
    return f"| `{host.name}` | {reasoning} | {choices} | {output} | {', '.join(media) or 'text'} | {', '.join(lacks) or '-'} |"


def test_the_page_lists_every_provider() -> None:
    expected = [host_row(host) for host in HOSTS.values() if host.api]
    assert listed_on("The providers") == expected, "docs/providers.md should say:\n" + "\n".join(expected)


def test_the_page_says_what_each_host_takes() -> None:
    expected = [chat_row(host) for host in CHAT.values()]
    assert listed_on("What each host of OpenAI's API takes") == expected, "docs/providers.md:\n" + "\n".join(expected)

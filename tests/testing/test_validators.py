"""The validators both ways: what the APIs accept passes, and each broken rule is found."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.testing import check

PNG = base64.b64encode(b"\x89PNG picture").decode()
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def chat(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "gpt-5", "messages": list(messages) or [user("Hi")], **more}


def claude(*messages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-4-5", "max_tokens": 4096, "messages": list(messages) or [user("Hi")], **more}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


# --- Anthropic


def use(id: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id, "name": "weather", "input": {"city": "Oslo"}, **more}


def result(id: str, content: Any = "12 degrees", **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id, "content": content, **more}


def txt(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def thought(signature: str = "c2ln") -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def image(data: str = PNG, media_type: str = "image/png") -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}


def tool(name: str = "weather", schema: Any = None) -> dict[str, Any]:
    return {"name": name, "description": "Forecast.", "input_schema": SCHEMA if schema is None else schema}


THINKING = {"type": "enabled", "budget_tokens": 2048}
LOOP = [user("Hi"), assistant([use("c1"), use("c2")]), user([result("c1"), result("c2"), txt("Go on.")])]

GOOD_CLAUDE = {
    "text": claude(),
    "system": claude(system=[txt("Be brief.") | {"cache_control": {"type": "ephemeral"}}], temperature=1, top_p=0.5),
    "two user messages": claude(user("Hi"), user("and hello")),
    "parallel calls": claude(*LOOP, tools=[tool()]),
    "results in two user messages": claude(
        user("Hi"), assistant([use("a"), use("b")]), user([result("a")]), user([result("b")])
    ),
    "failed result": claude(user("Hi"), assistant([use("a")]), user([result("a", "boom", is_error=True)])),
    "image in a result": claude(user("Hi"), assistant([use("a")]), user([result("a", [image(), txt("A picture.")])])),
    "image url": claude(user([{"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}, txt("?")])),
    "thinking loop": claude(
        user("Hi"), assistant([thought(), txt("I look."), use("a")]), user([result("a")]), thinking=THINKING
    ),
    "thinking at the start of the loop only": claude(
        user("Hi"),
        assistant([thought(), use("a")]),
        user([result("a")]),
        assistant([use("b")]),
        user([result("b")]),
        thinking=THINKING,
    ),
    "thinking after an unthinking turn": claude(user("Hi"), assistant("Hello."), user("Go on."), thinking=THINKING),
    "redacted": claude(
        user("Hi"),
        assistant([{"type": "redacted_thinking", "data": "eA=="}, use("a")]),
        user([result("a")]),
        thinking=THINKING,
    ),
    "forced tool": claude(tools=[tool()], tool_choice={"type": "tool", "name": "weather"}),
    "server tool": claude(tools=[{"type": "web_search_20250305", "name": "web_search"}]),
    "begun answer": claude(user("Hi"), assistant("It is")),
}

BAD_CLAUDE = {
    "no max_tokens": ({k: v for k, v in claude().items() if k != "max_tokens"}, "max_tokens"),
    "no model": (claude(model=""), "model"),
    "unknown field": (claude(seed=1), "seed"),
    "unknown message field": (claude(user("Hi") | {"name": "Ada"}), "unknown field `name`"),
    "temperature": (claude(temperature=1.5), "temperature"),
    "top_p as text": (claude(top_p="high"), "top_p"),
    "blank stop sequence": (claude(stop_sequences=[" "]), "stop_sequences.0"),
    "no messages": (claude() | {"messages": []}, "at least one message"),
    "assistant first": (claude(assistant("Hi"), user("Hello")), "first message"),
    "unknown role": (claude({"role": "tool", "content": "x"}), "messages.0.role"),
    "empty content": (claude(user([])), "non-empty content"),
    "empty text": (claude(user("")), "non-empty"),
    "blank text block": (claude(user("Hi"), assistant([txt(" \n"), use("a")]), user([result("a")])), "non-whitespace"),
    "empty text in a result": (claude(user("Hi"), assistant([use("a")]), user([result("a", [txt("")])])), "non-empty"),
    "empty failed result": (
        claude(user("Hi"), assistant([use("a")]), user([result("a", "", is_error=True)])),
        "is_error",
    ),
    "trailing whitespace": (claude(user("Hi"), assistant("It is ")), "trailing whitespace"),
    "unanswered call": (claude(user("Hi"), assistant([use("a")]), user("And?")), "tool_use a has no tool_result"),
    "one of two answered": (
        claude(user("Hi"), assistant([use("a"), use("b")]), user([result("a")])),
        "tool_use b has no",
    ),
    "open call at the end": (claude(user("Hi"), assistant([use("a")])), "tool_use a has no tool_result"),
    "answered too late": (
        claude(user("Hi"), assistant([use("a")]), user("wait"), assistant("ok"), user([result("a")])),
        "tool_result a has no tool_use",
    ),
    "unknown result": (claude(user([result("x")])), "tool_result x has no tool_use"),
    "answered twice": (
        claude(user("Hi"), assistant([use("a")]), user([result("a"), result("a")])),
        "more than one tool_result",
    ),
    "result after text": (
        claude(user("Hi"), assistant([use("a")]), user([txt("So:"), result("a")])),
        "must come first",
    ),
    "repeated call id": (
        claude(user("Hi"), assistant([use("a")]), user([result("a")]), assistant([use("a")]), user([result("a")])),
        "unique: a",
    ),
    "call id pattern": (claude(user("Hi"), assistant([use("t3.s1.c0")]), user([result("t3.s1.c0")])), "tool_use.id"),
    "input not an object": (
        claude(user("Hi"), assistant([use("a", input="x")]), user([result("a")])),
        "tool_use.input",
    ),
    "call by the user": (claude(user([use("a")]), user([result("a")])), "not allowed in user"),
    "result by the assistant": (claude(user("Hi"), assistant([result("a")])), "not allowed in assistant"),
    "unsigned thinking": (
        claude(user("Hi"), assistant([{"type": "thinking", "thinking": "Hm."}, txt("Hi")]), user("?")),
        "signature",
    ),
    "empty signature": (claude(user("Hi"), assistant([thought(""), txt("Hi")]), user("?")), "signature"),
    "thinking after text": (
        claude(user("Hi"), assistant([txt("Hi"), thought(), txt("so")]), user("?")),
        "before everything",
    ),
    "thinking after a call": (
        claude(user("Hi"), assistant([thought(), use("a"), thought(), txt("?")]), user([result("a")])),
        "before tool_use",
    ),
    "thinking at the end": (claude(user("Hi"), assistant([thought()]), user("?")), "final block"),
    "loop without thinking": (claude(*LOOP, thinking=THINKING), "must start with a thinking block"),
    "small budget": (claude(thinking={"type": "enabled", "budget_tokens": 1000}), "at least 1024"),
    "budget above max_tokens": (claude(thinking={"type": "enabled", "budget_tokens": 4096}), "max_tokens"),
    "temperature with thinking": (claude(thinking=THINKING, temperature=0.5), "temperature"),
    "top_k with thinking": (claude(thinking=THINKING, top_k=5), "top_k"),
    "forced tool with thinking": (
        claude(thinking=THINKING, tools=[tool()], tool_choice={"type": "any"}),
        "forced",
    ),
    "begun answer with thinking": (claude(user("Hi"), assistant("It is"), thinking=THINKING), "begun by the caller"),
    "tool name": (claude(tools=[tool("get.weather")]), "tools.0.custom.name"),
    "repeated tool": (claude(tools=[tool(), tool()]), "unique: weather"),
    "schema type": (claude(tools=[tool(schema={"type": "string"})]), "input_schema.type"),
    "schema with oneOf": (claude(tools=[tool(schema=SCHEMA | {"oneOf": []})]), "oneOf"),
    "property name": (claude(tools=[tool(schema={"type": "object", "properties": {"a b": {}}})]), "'a b'"),
    "choice without tools": (claude(tool_choice={"type": "auto"}), "together with tools"),
    "choice of no tool": (claude(tools=[tool()], tool_choice={"type": "tool", "name": "x"}), "no tool is called 'x'"),
    "image type": (claude(user([image(media_type="image/tiff")])), "media_type"),
    "image not base64": (claude(user([image("?!")])), "base64"),
    "image too large": (claude(user([image(base64.b64encode(bytes(5_300_000)).decode())])), "5 MB"),
    "too many images": (claude(user([image()] * 101)), "at most 100 images"),
    "too many breakpoints": (
        claude(user([txt(f"{n}") | {"cache_control": {"type": "ephemeral"}} for n in range(5)])),
        "cache_control",
    ),
}


# --- OpenAI


def called(*ids: str, content: Any = None) -> dict[str, Any]:
    calls = [{"id": i, "type": "function", "function": {"name": "weather", "arguments": "{}"}} for i in ids]
    return assistant(content, tool_calls=calls)


def answer(id: str, content: Any = "12 degrees") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def function(name: str = "weather", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": SCHEMA} | more}


def picture(url: str = f"data:image/png;base64,{PNG}") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


GOOD_CHAT = {
    "text": chat(),
    "instructions": chat({"role": "developer", "content": "Be brief."}, user("Hi")),
    "streamed": chat(stream=True, stream_options={"include_usage": True}),
    "parallel calls": chat(user("Hi"), called("a", "b"), answer("b"), answer("a"), assistant("So."), user("?")),
    "invalid arguments in history": chat(
        user("Hi"),
        assistant(None, tool_calls=[{"id": "a", "type": "function", "function": {"name": "w", "arguments": '{"ci'}}]),
        answer("a"),
    ),
    "two user messages": chat(user("Hi"), user("Hello")),
    "image": chat(user([{"type": "text", "text": "?"}, picture(), picture("https://x.test/a.png")])),
    "reasoning handed back": chat(user("Hi"), called("a") | {"reasoning_content": "Hm."}, answer("a")),
    "tools": chat(tools=[function()], tool_choice="required", parallel_tool_calls=False),
    "forced tool": chat(tools=[function()], tool_choice={"type": "function", "function": {"name": "weather"}}),
    "strict": chat(tools=[function(strict=True, parameters=SCHEMA | {"additionalProperties": False})]),
    "limits": chat(max_completion_tokens=5, temperature=2, top_p=0, stop=["a", "b", "c", "d"], seed=7),
}

BAD_CHAT = {
    "no model": (chat(model=None), "model"),
    "unknown field": (chat(top_k=1), "top_k"),
    "unknown message field": (chat(user("Hi") | {"mood": "good"}), "unknown field `mood`"),
    "no messages": (chat() | {"messages": []}, "at least one message"),
    "unknown role": (chat({"role": "ai", "content": "x"}), "messages[0]"),
    "temperature": (chat(temperature=2.5), "temperature"),
    "five stop sequences": (chat(stop=["a"] * 5), "stop"),
    "stream_options without stream": (chat(stream_options={"include_usage": True}), "stream_options"),
    "both limits": (chat(max_tokens=1, max_completion_tokens=1), "max_completion_tokens"),
    "limit of nothing": (chat(max_completion_tokens=0), "max_completion_tokens"),
    "reasoning effort": (chat(reasoning_effort="a lot"), "reasoning_effort"),
    "seed": (chat(seed="x"), "seed"),
    "no content": (chat(user("Hi"), assistant(None), user("?")), "required unless"),
    "empty parts": (chat(user([])), "at least one part"),
    "unanswered call": (chat(user("Hi"), called("a"), user("And?")), "missing: a"),
    "one of two answered": (chat(user("Hi"), called("a", "b"), answer("a")), "missing: b"),
    "open call at the end": (chat(user("Hi"), called("a")), "missing: a"),
    "answered too late": (chat(user("Hi"), called("a"), user("wait"), answer("a")), "must follow"),
    "answer without a call": (chat(user("Hi"), answer("a")), "must follow"),
    "unknown answer": (chat(user("Hi"), called("a"), answer("a"), answer("x")), "'x' is not among"),
    "answered twice": (chat(user("Hi"), called("a"), answer("a"), answer("a")), "answered twice"),
    "repeated call id": (chat(user("Hi"), called("a", "a"), answer("a")), "unique: a"),
    "long call id": (chat(user("Hi"), called("a" * 41), answer("a" * 41)), "length <= 40"),
    "empty call id": (chat(user("Hi"), called(""), answer("")), "length >= 1"),
    "no calls in tool_calls": (chat(user("Hi"), assistant("x", tool_calls=[])), "must not be empty"),
    "arguments as object": (
        chat(
            user("Hi"),
            assistant(None, tool_calls=[{"id": "a", "type": "function", "function": {"name": "w", "arguments": {}}}]),
        ),
        "arguments",
    ),
    "call name": (
        chat(
            user("Hi"),
            assistant(None, tool_calls=[{"id": "a", "function": {"name": "w.x", "arguments": ""}}]),
            answer("a"),
        ),
        "name",
    ),
    "image in an answer": (chat(user("Hi"), called("a"), answer("a", [picture()])), "parts here are text"),
    "image from the assistant": (chat(user("Hi"), assistant([picture()]), user("?")), "text or refusal"),
    "image url": (chat(user([picture("ftp://x.test/a.png")])), "image_url.url"),
    "empty data url": (chat(user([picture("data:image/png;base64,")])), "base64"),
    "no tools": (chat(tools=[]), "at least one tool"),
    "too many tools": (chat(tools=[function(f"t{n}") for n in range(129)]), "at most 128"),
    "tool name": (chat(tools=[function("get weather")]), "name"),
    "long tool name": (chat(tools=[function("a" * 65)]), "name"),
    "repeated tool": (chat(tools=[function(), function()]), "unique: weather"),
    "schema type": (chat(tools=[function(parameters={"type": "string"})]), "type 'object'"),
    "strict without all required": (
        chat(tools=[function(strict=True, parameters=SCHEMA | {"required": [], "additionalProperties": False})]),
        "required: city",
    ),
    "strict and open": (chat(tools=[function(strict=True)]), "additionalProperties"),
    "choice without tools": (chat(tool_choice="auto"), "when tools are specified"),
    "choice of no tool": (
        chat(tools=[function()], tool_choice={"type": "function", "function": {"name": "x"}}),
        "no tool is called 'x'",
    ),
    "parallel without tools": (chat(parallel_tool_calls=True), "when tools are specified"),
    "too many images": (chat(user([picture("https://x.test/a.png")] * 501)), "at most 500"),
}

GOOD = [("anthropic.messages", k, v) for k, v in GOOD_CLAUDE.items()] + [
    ("openai.chat", k, v) for k, v in GOOD_CHAT.items()
]
BAD = [("anthropic.messages", k, *v) for k, v in BAD_CLAUDE.items()] + [
    ("openai.chat", k, *v) for k, v in BAD_CHAT.items()
]


@pytest.mark.parametrize(("api", "body"), [(a, b) for a, _, b in GOOD], ids=[f"{a}-{k}" for a, k, _ in GOOD])
def test_what_the_api_accepts_passes(api, body):
    before = copy.deepcopy(body)
    assert check(api, body) == []
    assert body == before


@pytest.mark.parametrize(
    ("api", "body", "named"), [(a, b, n) for a, _, b, n in BAD], ids=[f"{a}-{k}" for a, k, _, _ in BAD]
)
def test_a_broken_rule_is_found_and_named(api, body, named):  # T1, T5, T8
    assert any(named in str(p) for p in check(api, body)), check(api, body)


def test_interleaved_thinking_lifts_the_bound_of_the_budget():
    body = claude(thinking={"type": "enabled", "budget_tokens": 10_000})
    assert check("anthropic.messages", body)
    assert check("anthropic.messages", body, betas=["interleaved-thinking-2025-05-14"]) == []


def test_several_problems_are_all_told():
    body = claude(user("Hi"), assistant([use("a"), use("b")]), user([result("c")]), temperature=3)
    assert len(check("anthropic.messages", body)) == 4


def test_an_unknown_api_has_no_validator():
    with pytest.raises(ValueError, match="No validator"):
        check("morse", {})


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
NAMES = (
    "model messages role content type text tools tool_choice name input_schema thinking system id tool_calls function"
    " image_url source stop stream_options temperature max_tokens metadata parameters"
)
fields = st.sampled_from(NAMES.split())
garbage = st.recursive(
    json_values
    | st.sampled_from(["user", "assistant", "tool", "text", "tool_use", "tool_result", "image_url", "function"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(fields, inner, max_size=6),
    max_leaves=30,
)


@pytest.mark.parametrize("api", ["anthropic.messages", "openai.chat"])
@given(body=st.dictionaries(fields, garbage, max_size=8))
def test_garbage_is_refused_and_never_raises(api, body):  # S8
    problems = check(api, body)
    assert problems or (body.get("model") and body.get("messages"))
    assert all(str(p) for p in problems)

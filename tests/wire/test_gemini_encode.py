"""Settings of requests to Google's generateContent: every feature against the types of Google's own client and against the API's
rules, and what cannot be is refused before it is sent. What becomes of messages is in `test_gemini_messages`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.wire.gemini_support import body_of, head
from tests.wire.official import google_problems

from turnwise.core.errors import ConfigError
from turnwise.core.messages import UserMessage
from turnwise.core.request import ModelSettings, OneTool, OutputFormat, Reasoning, Request, RequestHead, ToolSpec
from turnwise.testing import check
from turnwise.wire import encode
from turnwise.wire.base import codec
from turnwise.wire.extras import AnthropicExtra, GeminiExtra

STUDIO, VERTEX = "gemini.generateContent", "vertex.generateContent"
BOTH = pytest.mark.parametrize("api", [STUDIO, VERTEX])
MODEL = "gemini-3-flash-preview"
OLDER = "gemini-2.5-flash"
SIG = "c2lnbmF0dXJlLW9uZQ=="
SCHEMA = '{"type":"object","properties":{"name":{"type":"string"}},"required":["name"],"additionalProperties":false}'
PARAMETERS = '{"type":"object","properties":{"city":{"type":"string"}},"additionalProperties":false}'
WEATHER = ToolSpec("weather", "Forecast.", PARAMETERS)


def test_both_checkers_see_mistakes() -> None:
    """A check that cannot fail would hold nothing."""
    good = body_of(head(tools=[WEATHER], temperature=0.5))
    for broken in (
        {**good, "messages": []},
        {**good, "contents": [{"role": "user", "parts": [{"txt": "hi"}]}]},
        {**good, "contents": [{"role": "user", "parts": [{"inline_data": {"mimeType": "image/png", "data": "AA=="}}]}]},
        {**good, "generationConfig": {"temperature": "hot"}},
        {**good, "generationConfig": {"thinkingConfig": {"thinkingLevel": "most"}}},
        {**good, "tools": [{"functionDeclarations": [{"name": 1}]}]},
        {**good, "contents": [{"role": "model", "parts": [{"text": "a", "thoughtSignature": "*"}]}]},
    ):
        assert google_problems(broken) != [], broken
        assert check(STUDIO, broken, path=f"/v1beta/models/{MODEL}:generateContent") != [], broken


def made(role: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": list(parts)}


CALLED = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": SIG}
ANSWERED = {"functionResponse": {"name": "f", "response": {"output": "x"}}}


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ([], "at least one content"),
        ([made("model", {"text": "a"}), made("user", {"text": "b"})], "begins with the user"),
        ([made("user", {"text": "a"}), made("model", {"text": "b"})], "ends with the user"),
        ([made("user", {"text": " "})], "must not be blank"),
        ([made("user", {"text": "a", "inlineData": {"mimeType": "a/b", "data": "AA=="}})], "exactly one kind"),
        ([made("user", {"text": "a"}), made("model", CALLED), made("user", {"text": "b"})], "0 function responses for 1"),
        ([made("user", {"text": "a"}), made("user", ANSWERED)], "1 function responses for 0"),
        ([made("user", {"text": "a"}), made("model", {"text": "b"}), made("model", CALLED), made("user", ANSWERED)], "immediately after a user turn"),
        ([made("user", {"text": "a"}), made("model", {"functionCall": {"name": "f"}}), made("user", ANSWERED)], "missing a thought_signature"),
        ([made("user", {"text": "a"}), made("model", CALLED), made("user", {"functionResponse": {"name": "g", "response": {}}})], "other names"),
        ([made("user", CALLED)], "belongs to the model"),
        ([made("user", {"text": "a"}), made("model", ANSWERED), made("user", {"text": "a"})], "belongs to the user"),
    ],
)  # fmt: skip
def test_the_validator_knows_the_rules(contents: list[Any], said: str) -> None:
    problems = check(STUDIO, {"contents": contents}, path=f"/v1beta/models/{MODEL}:generateContent")
    assert any(said in str(p) for p in problems), problems


# --- where it goes ---


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-pro", "/models/gemini-3-pro"),
        ("models/gemini-3-pro", "/models/gemini-3-pro"),
        ("tunedModels/mine 1", "/tunedModels/mine%201"),
        ("publishers/google/models/gemini-3-pro", "/models/gemini-3-pro"),
        ("endpoints/123", "/endpoints/123"),
        ("a/b?c#d:e", "/models/a%2Fb%3Fc%23d%3Ae"),
    ],
)
def test_paths(model: str, path: str) -> None:
    for stream, verb in ((True, ":streamGenerateContent?alt=sse"), (False, ":generateContent")):
        assert encode(STUDIO, Request(head(model, stream=stream), [UserMessage("hi")])).path == path + verb


# --- settings ---


@BOTH
def test_every_setting_has_its_place(api: str) -> None:
    body = body_of(
        head(
            max_output_tokens=99, temperature=0.5, top_p=0.9, stop=("END",), seed=7, reasoning=Reasoning("high"),
            output=OutputFormat(SCHEMA), parallel_tool_calls=True, tools=[WEATHER], tool_choice="auto",
        ),
        api=api,
    )  # fmt: skip
    assert body["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "Forecast.", "parametersJsonSchema": json.loads(WEATHER.parameters)}
            ]
        }
    ]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    assert body["generationConfig"] == {
        "maxOutputTokens": 99,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["END"],
        "seed": 7,
        "responseMimeType": "application/json",
        "responseJsonSchema": json.loads(SCHEMA),
        "thinkingConfig": {"thinkingLevel": "HIGH", "includeThoughts": True},
    }  # fmt: skip
    bare = json.loads(encode(api, Request(RequestHead(MODEL, " "), [UserMessage("hi")])).body)
    assert bare == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (None, None),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (OneTool("weather"), {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tool_choice(choice: Any, config: Any) -> None:
    body = body_of(head(tools=[WEATHER], tool_choice=choice))
    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})
    strict = ToolSpec("weather", "", WEATHER.parameters, strict=True)
    mode = body_of(head(tools=[strict], tool_choice=choice))["toolConfig"]["functionCallingConfig"]["mode"]
    assert mode == ("VALIDATED" if choice in (None, "auto") else config["mode"])
    if choice in (None, "auto", "none"):
        assert "toolConfig" not in body_of(head(tool_choice=choice))


@pytest.mark.parametrize(
    ("model", "reasoning", "config"),
    [
        ("gemini-3-flash", Reasoning("minimal"), {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
        ("gemini-3-flash", Reasoning("none"), {"thinkingLevel": "MINIMAL"}),
        ("gemini-3-pro-preview", Reasoning("minimal"), {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3-pro-preview", Reasoning("medium"), {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3.1-pro", Reasoning("medium"), {"thinkingLevel": "MEDIUM", "includeThoughts": True}),
        ("gemini-flash-latest", Reasoning("max"), {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-3-pro", Reasoning(budget_tokens=500), {"thinkingBudget": 500, "includeThoughts": True}),
        ("gemini-2.5-pro", Reasoning("none"), {"thinkingBudget": 128}),
        ("gemini-2.5-pro", Reasoning("max"), {"thinkingBudget": 32768, "includeThoughts": True}),
        ("gemini-2.5-flash", Reasoning("max"), {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-2.5-flash", Reasoning("none"), {"thinkingBudget": 0}),
        ("models/gemini-2.5-flash-lite", Reasoning("low"), {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", Reasoning(budget_tokens=-1), {"thinkingBudget": -1, "includeThoughts": True}),
        ("gemini-2.0-flash", Reasoning("none"), None),
        ("gemini-2.5-flash", Reasoning(), None),
    ],
)
def test_reasoning_is_asked_for_as_the_model_takes_it(model: str, reasoning: Reasoning, config: Any) -> None:
    body = body_of(head(model, reasoning=reasoning))
    assert body.get("generationConfig", {}).get("thinkingConfig") == config


def test_extras_and_patches() -> None:
    extra = GeminiExtra(
        top_k=40, presence_penalty=0.1, frequency_penalty=-0.1, response_modalities=["TEXT"], include_thoughts=False,
        media_resolution="MEDIA_RESOLUTION_LOW", image_config={"aspectRatio": "1:1"}, service_tier="flex",
        safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        server_tools=({"googleSearch": {}}, {"codeExecution": {}}), include_server_side_tool_invocations=True,
    )  # fmt: skip
    body = body_of(head(tools=[WEATHER], extra=(AnthropicExtra(top_k=1), extra), reasoning=Reasoning("low")))
    assert body["generationConfig"] | {"thinkingConfig": None} == {
        "topK": 40, "presencePenalty": 0.1, "frequencyPenalty": -0.1, "responseModalities": ["TEXT"], "thinkingConfig": None,
        "mediaResolution": "MEDIA_RESOLUTION_LOW", "imageConfig": {"aspectRatio": "1:1"},
    }  # fmt: skip
    assert body["generationConfig"]["thinkingConfig"]["includeThoughts"] is False
    assert body["tools"][1:] == [{"googleSearch": {}}, {"codeExecution": {}}]
    assert body["toolConfig"] == {"includeServerSideToolInvocations": True} and body["serviceTier"] == "flex"
    assert body_of(head(extra=GeminiExtra(labels={"a": "b"})), api=VERTEX)["labels"] == {"a": "b"}
    cached = json.loads(
        encode(
            STUDIO,
            Request(
                RequestHead(MODEL, "", (), ModelSettings(extra=GeminiExtra(cached_content="cachedContents/1"))),
                [UserMessage("x")],
            ),
        ).body
    )
    assert cached["cachedContent"] == "cachedContents/1"
    patched = body_of(head(patch={"body": {"generationConfig": {"topK": 3}}}, temperature=1))
    assert patched["generationConfig"] == {"temperature": 1, "topK": 3}


@pytest.mark.parametrize(
    ("model", "fields", "code", "named"),
    [
        (MODEL, {"parallel_tool_calls": False}, "unsupported_feature", "parallel_tool_calls"),
        (MODEL, {"tool_choice": "required"}, "conflicting_settings", "the request has none"),
        (MODEL, {"stop": tuple("abcdef")}, "invalid_setting", "5 stop sequences"),
        (MODEL, {"stop": ("",)}, "invalid_setting", "empty stop"),
        (OLDER, {"tools": [WEATHER], "output": OutputFormat(SCHEMA)}, "unsupported_feature", "structured output"),
        (
            OLDER,
            {"output": OutputFormat(SCHEMA), "extra": GeminiExtra(server_tools=({"googleSearch": {}},))},
            "unsupported_feature",
            "structured",
        ),
        ("gemini-2.0-flash", {"reasoning": Reasoning("low")}, "unsupported_feature", "reasoning"),
        ("gemini-2.5-pro", {"reasoning": Reasoning(budget_tokens=5)}, "invalid_setting", "128"),
        (MODEL, {"extra": GeminiExtra(labels={"a": "b"})}, "unsupported_feature", "labels"),
        (
            MODEL,
            {"extra": GeminiExtra(server_tools=({"enterprise_web_search": {}},))},
            "unsupported_feature",
            "enterprise",
        ),
        (MODEL, {"extra": GeminiExtra(cached_content="x")}, "conflicting_settings", "cached content"),
    ],
)
def test_what_cannot_be_is_refused_before_it_is_sent(model: str, fields: Any, code: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        codec(STUDIO).encode_head(head(model, **fields))
    assert caught.value.code == code and "Google Gemini" in caught.value.message


def test_vertex_refuses_what_it_does_not_know() -> None:
    for extra in (
        GeminiExtra(include_server_side_tool_invocations=True),
        GeminiExtra(server_tools=({"fileSearch": {}},)),
    ):
        with pytest.raises(ConfigError, match="Google Vertex AI does not take"):
            codec(VERTEX).encode_head(head(extra=extra))

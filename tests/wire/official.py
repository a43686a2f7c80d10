"""Requests held against the official SDK of each API, strictly: extra keys refused, everything walked to its end.

One function over all APIs, `official_problems`. How types are walked is in `sdk_types` (TypedDicts), `sdk_models` (pydantic)
and `botocore_shapes` (AWS's service model). What an API wants beyond types is checked by `turnwise.testing.check`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from functools import cache
from typing import Any

from anthropic.types import message_create_params as anthropic
from cohere.v2.raw_client import RawV2Client
from google.genai import types as google
from ollama import _types as ollama
from openai.types.chat import completion_create_params as chat
from openai.types.responses import response_create_params as responses
from tests.wire.botocore_shapes import problems_of
from tests.wire.sdk_models import check_model
from tests.wire.sdk_types import check_against

from turnwise.wire.serve import route

GOOGLE_BODY: dict[str, Any] = {
    "contents": list[google.Content],
    "systemInstruction": google.Content,
    "tools": list[google.Tool],
    "toolConfig": google.ToolConfig,
    "generationConfig": google.GenerationConfig,
    "safetySettings": list[google.SafetySetting],
    "cachedContent": str,
    "serviceTier": google.ServiceTier,
    "labels": dict[str, str],
    "modelArmorConfig": google.ModelArmorConfig,
}
"""The client has no type of a whole body: it writes these fields by hand."""


def official_problems(api: str, body: dict[str, Any], path: str, streamed: bool) -> list[str]:
    """What the official SDK's types refuse in a request, one line each; [] if nothing."""
    return _CHECKS[api](body, path, streamed)


def google_problems(body: dict[str, Any]) -> list[str]:
    """A body of generateContent; it is the same streamed or not."""
    return _fields_problems(GOOGLE_BODY, ("contents",), body)


def cohere_problems(body: dict[str, Any]) -> list[str]:
    """A body of Cohere's chat: the parameters of the client's method, and `stream`, which chooses the method."""
    known, required = _cohere_parameters(body.get("stream") is True)
    said = {name: value for name, value in body.items() if name != "stream"}
    return _fields_problems(known, required, said)


def ollama_problems(body: dict[str, Any]) -> list[str]:
    """A body of Ollama's chat."""
    return check_model(ollama.ChatRequest, body)


def _fields_problems(known: dict[str, Any], required: typing.Iterable[str], body: dict[str, Any]) -> list[str]:
    problems = [f"$: lacks {name!r}" for name in required if name not in body]
    problems += [f"$.{name}: is not a field" for name in body if name not in known]
    return problems + [p for name, v in body.items() if name in known for p in check_model(known[name], v, f"$.{name}")]


@cache
def _cohere_parameters(streamed: bool) -> tuple[dict[str, Any], list[str]]:
    method = RawV2Client.chat_stream if streamed else RawV2Client.chat
    hints = typing.get_type_hints(method, include_extras=True)
    named = {n: p for n, p in inspect.signature(method).parameters.items() if n not in ("self", "request_options")}
    return {n: hints[n] for n in named}, [n for n, p in named.items() if p.default is inspect.Parameter.empty]


def _typed(streaming: Any, plain: Any) -> Callable[[dict[str, Any], str, bool], list[str]]:
    return lambda body, _, streamed: check_against(streaming if streamed else plain, body)


def _said(
    problems: Callable[[dict[str, Any]], list[str]],
) -> Callable[[dict[str, Any], str, bool], list[str]]:
    """For APIs whose types do not tell streamed requests from others, though their bodies do."""

    def check(body: dict[str, Any], _: str, streamed: bool) -> list[str]:
        wrong = [] if body.get("stream") is streamed else [f"$.stream: {body.get('stream')!r} is not {streamed}"]
        return wrong + problems(body)

    return check


def _google(body: dict[str, Any], path: str, streamed: bool) -> list[str]:
    return _by_path(path, streamed) + google_problems(body)


def _bedrock(body: dict[str, Any], path: str, streamed: bool) -> list[str]:
    found = route(path.partition("?")[0])
    model = found.model if found else ""
    return _by_path(path, streamed) + problems_of("ConverseStream" if streamed else "Converse", body, model)


def _by_path(path: str, streamed: bool) -> list[str]:
    """For APIs where the path says whether the answer is streamed."""
    found = route(path.partition("?")[0])
    return [] if found and found.streamed is streamed else [f"{path}: is not the path of such a request"]


_CHECKS: dict[str, Callable[[dict[str, Any], str, bool], list[str]]] = {
    "anthropic.messages": _typed(anthropic.MessageCreateParamsStreaming, anthropic.MessageCreateParamsNonStreaming),
    "openai.chat": _typed(chat.CompletionCreateParamsStreaming, chat.CompletionCreateParamsNonStreaming),
    "openai.responses": _typed(responses.ResponseCreateParamsStreaming, responses.ResponseCreateParamsNonStreaming),
    "gemini.generateContent": _google,
    "vertex.generateContent": _google,
    "cohere.v2.chat": _said(cohere_problems),
    "bedrock.converse": _bedrock,
    "ollama.chat": _said(ollama_problems),
}

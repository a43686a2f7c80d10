"""Every provider API as tests reach it: a model's name and its connection to a scripted provider."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from turnwise import Agent, Model, Tool
from turnwise.models import Connection
from turnwise.testing import ScriptedProvider


class Provider(msgspec.Struct, frozen=True):
    """One API: `name` as models have it, `api` as codecs have it, a model of it, and what else its connection needs."""

    name: str
    api: str
    model: str
    connection: Connection = msgspec.field(default_factory=lambda: Connection(api_key="test"))

    def at(self, url: str | ScriptedProvider, **more: Any) -> Model:
        """The model at an address."""
        base = url if isinstance(url, str) else url.url_for(self.api)
        return Model(f"{self.name}:{self.model}", base_url=base, **self.connection, **more)

    def agent(
        self, at: str | ScriptedProvider, *tools: Tool[..., Any] | Callable[..., Any], **options: Any
    ) -> Agent[Any]:
        return Agent(self.at(at), tools=tools, **options)


AWS: Connection = {
    "bedrock_region": "eu-central-1",
    "bedrock_access_key_id": "AKIDEXAMPLE",
    "bedrock_secret_access_key": "a-secret",
}

PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider("anthropic", "anthropic.messages", "claude-sonnet-4-5"),
        Provider("openai", "openai.chat", "gpt-5-mini"),
        Provider("openai-responses", "openai.responses", "gpt-5-mini"),
        Provider("gemini", "gemini.generateContent", "gemini-3-pro-preview"),
        Provider(
            "vertex",
            "vertex.generateContent",
            "gemini-2.5-pro",
            {"vertex_token": "a-token", "vertex_project": "p", "vertex_location": "global"},
        ),
        Provider("cohere", "cohere.v2.chat", "command-a-03-2025"),
        Provider("bedrock", "bedrock.converse", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0", AWS),
        Provider("ollama", "ollama.chat", "qwen3", {}),
    )
}

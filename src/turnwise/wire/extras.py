"""Typed settings that only one API has. Public through `turnwise.models`.

Fields are named as in the API and go into the request body as they are unless their docstring says otherwise; None leaves
a field out. What is not here goes through `ModelSettings.patch`. Sources: the reference of each API.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..core.request import Extra


class OpenAIExtra(Extra, frozen=True, omit_defaults=True):
    """OpenAI Chat Completions and hosts that speak it. https://platform.openai.com/docs/api-reference/chat/create"""

    service_tier: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Mapping[str, int] | None = None
    top_k: int | None = None
    metadata: Mapping[str, str] | None = None
    store: bool | None = None


class AnthropicExtra(Extra, frozen=True, omit_defaults=True):
    """Anthropic Messages. `betas` are sent as the `anthropic-beta` header; `server_tools` are tools that Anthropic runs itself (web
    search, code execution …), added to the tools of the agent; `cache_ttl` is how long cached prefixes live.
    https://platform.claude.com/docs/en/api/messages"""

    top_k: int | None = None
    metadata: Mapping[str, str] | None = None
    service_tier: Literal["auto", "standard_only"] | None = None
    container: Any = None
    mcp_servers: Sequence[Mapping[str, Any]] | None = None
    betas: tuple[str, ...] = ()
    server_tools: tuple[Mapping[str, Any], ...] = ()
    cache_ttl: Literal["5m", "1h"] | None = None

"""Settings of a request in Anthropic's form: everything around the message array.

What the API cannot take is refused here, before any I/O, with a `ConfigError` that names provider and feature. How much
a model may think is asked for in one of two ways, by token budget or by effort; which of them a model takes is told by
the version in its name. Source: https://platform.claude.com/docs/en/build-with-claude/thinking, …/effort and the
reference of POST /v1/messages.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...core.errors import config_error
from ...core.request import ModelSettings, Reasoning, RequestHead, ToolSpec
from ...wire import claude_head as claude
from ..base import EncodedHead
from ..claude_head import DEFAULT_MAX_TOKENS, EFFORT_BUDGETS, thinking_is_on
from ..extras import AnthropicExtra
from ..heads import described, extra_of, fields_of, given, no_tool_to_call, patches, unsupported, write_head
from ..history import is_blank

PROVIDER = "Anthropic Messages"

HEADERS = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
PATH = "/v1/messages"

_ADAPTIVE_SINCE = (4, 6)
"""The first version that takes `thinking: adaptive` with an effort level."""
_BUDGETLESS_SINCE = (4, 7)
"""The first version that refuses thinking budgets and sampling parameters."""
_THINKS_UNASKED_SINCE = (5, 0)
"""The first version that may think when `thinking` is left out, so that off must be said."""
_UNVERSIONED = (5, 0)
"""What a Claude name without a version counts as: only recent previews have none."""


def encode_head(head: RequestHead) -> EncodedHead:
    """Everything but the messages. With caching on, tools and instructions end in a cache breakpoint each; of the four that
    the API allows two are left for messages.

    Raises `ConfigError`: `unsupported_feature` for what the API has no place for, `conflicting_settings` for settings
    that exclude each other, `invalid_setting` for a value that is out of bounds.
    """
    settings, extra = head.settings, extra_of(head.settings, AnthropicExtra) or AnthropicExtra()
    _check(head)
    caches = settings.cache != "off"
    body: dict[str, Any] = {"model": head.model, "max_tokens": _max_tokens(head)}
    if not is_blank(head.instructions):
        body["system"] = head.instructions
        if caches:
            body["system"] = [{"type": "text", "text": head.instructions, "cache_control": cache_control(extra)}]
    if head.tools or extra.server_tools:
        body["tools"] = [*[_tool(t) for t in head.tools], *[dict(t) for t in extra.server_tools]]
        if caches:
            body["tools"][-1] = {**body["tools"][-1], "cache_control": cache_control(extra)}
        if (choice := claude.tool_choice(settings)) is not None:
            body["tool_choice"] = choice
    body |= given(stop_sequences=settings.stop or None, temperature=settings.temperature, top_p=settings.top_p)
    if settings.reasoning is not None:
        body |= _thinking(head.model, settings.reasoning, body["max_tokens"])
    if settings.output is not None:
        shape = {"type": "json_schema", "schema": msgspec.Raw(settings.output.schema.encode())}
        body["output_config"] = {**body.get("output_config", {}), "format": shape}
    if head.stream:
        body["stream"] = True
    body |= fields_of(extra, "betas", "server_tools", "cache_ttl")
    headers = {**HEADERS, "anthropic-beta": ",".join(extra.betas)} if extra.betas else HEADERS
    mark = b',"cache_control":' + msgspec.json.encode(cache_control(extra))
    return write_head(
        PATH, body, settings, "messages", headers=headers, breakpoints=2 if caches else 0, mark=mark if caches else b""
    )


def cache_control(extra: AnthropicExtra) -> dict[str, str]:
    """A cache breakpoint. https://platform.claude.com/docs/en/build-with-claude/prompt-caching"""
    return {"type": "ephemeral"} if extra.cache_ttl is None else {"type": "ephemeral", "ttl": extra.cache_ttl}


def thinks_by_budget(model: str, settings: ModelSettings) -> bool:
    """Whether reasoning is asked for by token budget: then a tool loop must have begun with thinking of its own."""
    if not thinking_is_on(settings) or settings.reasoning is None:
        return False
    version = _version(model)
    return settings.reasoning.budget_tokens is not None or version is None or version < _ADAPTIVE_SINCE


def _check(head: RequestHead) -> None:
    settings = head.settings
    if settings.seed is not None:
        raise unsupported(PROVIDER, "a seed")
    claude.check_stops(settings, PROVIDER)
    if claude.forces_a_call(settings) and not head.tools and not patches(settings, "tools"):
        raise no_tool_to_call(PROVIDER)
    temperature, version = settings.temperature, _version(head.model)
    if temperature is not None and not 0 <= temperature <= 1:
        raise config_error("invalid_setting", f"Anthropic takes a temperature from 0 to 1, not {temperature:g}.")
    takes_sampling = version is None or version < _BUDGETLESS_SINCE
    claude.check(settings, PROVIDER, head.model, takes_sampling=takes_sampling)


def _max_tokens(head: RequestHead) -> int:
    asked = head.settings.max_output_tokens
    if asked is not None:
        return asked
    reasoning = head.settings.reasoning
    if reasoning is None or not thinking_is_on(head.settings):
        return DEFAULT_MAX_TOKENS
    return DEFAULT_MAX_TOKENS + (reasoning.budget_tokens or EFFORT_BUDGETS[reasoning.effort or "medium"])


def _thinking(model: str, reasoning: Reasoning, max_tokens: int) -> dict[str, Any]:
    """The body's fields for how much to think."""
    version = _version(model)
    if reasoning.budget_tokens is None and reasoning.effort in (None, "none"):
        said = reasoning.effort == "none" and version is not None and version >= _THINKS_UNASKED_SINCE
        return {"thinking": {"type": "disabled"}} if said else {}
    if reasoning.budget_tokens is None and version is not None and version >= _ADAPTIVE_SINCE:
        return claude.thinking_by_effort(reasoning.effort or "medium", has_xhigh=version >= _BUDGETLESS_SINCE)
    if reasoning.budget_tokens is not None and version is not None and version >= _BUDGETLESS_SINCE:
        raise unsupported(PROVIDER, f"a thinking budget with {model}", "Give an effort level in its place.")
    return claude.thinking_by_budget(reasoning.budget_tokens, reasoning.effort, max_tokens)


def _tool(tool: ToolSpec) -> dict[str, Any]:
    out = described(tool, "input_schema")
    return out | {"strict": True} if tool.strict else out


def _version(model: str) -> tuple[int, int] | None:
    """The version in a Claude model's name, wherever it stands (`claude-3-7-sonnet-…`, `claude-opus-4.6`); None for
    models that are not Claude: what speaks this API under another name is asked in the older, simpler way."""
    _, found, rest = model.lower().partition("claude")
    if not found:
        return None
    numbers = [int(n) for n in re.findall(r"(?<=[-.])\d{1,2}(?=[-.@:]|$)", rest)]
    if not numbers:
        return _UNVERSIONED
    return numbers[0], numbers[1] if len(numbers) > 1 else 0

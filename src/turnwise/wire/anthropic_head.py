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

from ..core.errors import ConfigError, config_error
from ..core.request import Effort, ModelSettings, OneTool, Reasoning, RequestHead, ToolSpec
from .base import EncodedHead
from .extras import AnthropicExtra
from .heads import extra_of, fields_of, patches, write_head

DEFAULT_MAX_TOKENS = 4096
"""`max_tokens` when the settings name none: the API demands one. Room for thinking comes on top."""
MIN_BUDGET_TOKENS = 1024
EFFORT_BUDGETS: dict[Effort, int] = {
    "minimal": 1024,
    "low": 2048,
    "medium": 8192,
    "high": 16384,
    "xhigh": 32768,
    "max": 49152,
}
"""Thinking budgets, in tokens, for effort levels on models that count tokens."""
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
    if head.instructions and not head.instructions.isspace():
        body["system"] = head.instructions
        if caches:
            body["system"] = [{"type": "text", "text": head.instructions, "cache_control": cache_control(extra)}]
    if head.tools or extra.server_tools:
        body["tools"] = [*[_tool(t) for t in head.tools], *[dict(t) for t in extra.server_tools]]
        if caches:
            body["tools"][-1] = {**body["tools"][-1], "cache_control": cache_control(extra)}
        if (choice := _tool_choice(settings)) is not None:
            body["tool_choice"] = choice
    if settings.stop:
        body["stop_sequences"] = settings.stop
    if settings.temperature is not None:
        body["temperature"] = settings.temperature
    if settings.top_p is not None:
        body["top_p"] = settings.top_p
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


def thinking_is_on(settings: ModelSettings) -> bool:
    """Whether these settings ask for reasoning."""
    reasoning = settings.reasoning
    return reasoning is not None and (reasoning.budget_tokens is not None or reasoning.effort not in (None, "none"))


def thinks_by_budget(model: str, settings: ModelSettings) -> bool:
    """Whether reasoning is asked for by token budget: then a tool loop must have begun with thinking of its own."""
    if not thinking_is_on(settings) or settings.reasoning is None:
        return False
    version = _version(model)
    return settings.reasoning.budget_tokens is not None or version is None or version < _ADAPTIVE_SINCE


def _check(head: RequestHead) -> None:
    settings = head.settings
    if settings.seed is not None:
        raise _unsupported("a seed")
    if any(not s.strip() for s in settings.stop):
        raise config_error("invalid_setting", "Anthropic refuses stop sequences that are blank.", "Leave them out.")
    if isinstance(settings.tool_choice, OneTool) or settings.tool_choice == "required":
        if not head.tools and not patches(settings, "tools"):
            raise config_error("conflicting_settings", "Anthropic cannot be made to call a tool: the request has none.")
        if thinking_is_on(settings):
            raise _conflict("a forced tool choice", "Use tool_choice 'auto' or 'none', or turn reasoning off.")
    _check_sampling(head)


def _check_sampling(head: RequestHead) -> None:
    temperature, top_p = head.settings.temperature, head.settings.top_p
    if temperature is not None and not 0 <= temperature <= 1:
        raise config_error("invalid_setting", f"Anthropic takes a temperature from 0 to 1, not {temperature:g}.")
    version = _version(head.model)
    if version is not None and version >= _BUDGETLESS_SINCE:
        if temperature not in (None, 1) or top_p not in (None, 1):
            raise _unsupported(f"temperature and top_p with {head.model}", "Leave them out for this model.")
    elif thinking_is_on(head.settings):
        if temperature not in (None, 1):
            raise _conflict("a temperature other than 1", "Leave the temperature out, or turn reasoning off.")
        if top_p is not None and not 0.95 <= top_p <= 1:
            raise _conflict("a top_p below 0.95", "Leave top_p out, or turn reasoning off.")


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
    if reasoning.budget_tokens is not None:
        if version is not None and version >= _BUDGETLESS_SINCE:
            raise _unsupported(f"a thinking budget with {model}", "Give an effort level in its place.")
        return {"thinking": {"type": "enabled", "budget_tokens": _budget(reasoning.budget_tokens, max_tokens)}}
    effort = reasoning.effort or "medium"
    if version is not None and version >= _ADAPTIVE_SINCE:
        level = {"minimal": "low", "xhigh": "high", "max": "max"}.get(effort, effort)
        if effort == "xhigh" and version >= _BUDGETLESS_SINCE:
            level = "xhigh"
        return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}
    # An effort is a wish: it gives way to the caller's bound on the output, and half is left for the answer.
    budget = EFFORT_BUDGETS[effort]
    if budget >= max_tokens:
        budget = max(MIN_BUDGET_TOKENS, max_tokens // 2)
    return {"thinking": {"type": "enabled", "budget_tokens": _budget(budget, max_tokens)}}


def _budget(budget: int, max_tokens: int) -> int:
    if budget < MIN_BUDGET_TOKENS:
        raise config_error(
            "invalid_setting", f"Anthropic takes a thinking budget of {MIN_BUDGET_TOKENS} tokens or more, not {budget}."
        )
    if max_tokens <= budget:
        raise config_error(
            "conflicting_settings",
            f"Anthropic counts thinking as output: max_output_tokens ({max_tokens}) must exceed the budget ({budget}).",
            "Raise max_output_tokens, or lower the reasoning budget.",
        )
    return budget


def _tool(tool: ToolSpec) -> dict[str, Any]:
    out: dict[str, Any] = {"name": tool.name}
    if tool.description and not tool.description.isspace():
        out["description"] = tool.description
    out["input_schema"] = msgspec.Raw(tool.parameters.encode())
    if tool.strict:
        out["strict"] = True
    return out


def _tool_choice(settings: ModelSettings) -> dict[str, Any] | None:
    match settings.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            out: dict[str, Any] = {"type": "any"}
        case OneTool(name=name):
            out = {"type": "tool", "name": name}
        case _:
            out = {"type": "auto"}
    if settings.parallel_tool_calls is False:
        out["disable_parallel_tool_use"] = True
    elif settings.tool_choice is None:
        return None
    return out


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


def _unsupported(feature: str, hint: str = "Leave it out for this provider.") -> ConfigError:
    return config_error("unsupported_feature", f"Anthropic Messages does not take {feature}.", hint)


def _conflict(feature: str, hint: str) -> ConfigError:
    return config_error("conflicting_settings", f"Anthropic does not allow {feature} while the model reasons.", hint)

"""How Claude is told to think and to choose among tools, in words that Anthropic's own API and Bedrock share.

Which model takes which of them is told by `wire.anthropic.head` and `wire.bedrock.models`. What cannot be had together is refused here,
before any I/O. Source: https://platform.claude.com/docs/en/build-with-claude/thinking, …/effort and …/tool-use.
"""

from __future__ import annotations

from typing import Any

from ..core.errors import ConfigError, config_error
from ..core.request import Effort, ModelSettings, OneTool
from .heads import unsupported

DEFAULT_MAX_TOKENS = 4096
"""The bound of the output where an API demands one and the settings name none. Room for thinking comes on top."""
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


def thinking_is_on(settings: ModelSettings) -> bool:
    """Whether these settings ask for reasoning."""
    reasoning = settings.reasoning
    return reasoning is not None and (reasoning.budget_tokens is not None or reasoning.effort not in (None, "none"))


def forces_a_call(settings: ModelSettings) -> bool:
    return isinstance(settings.tool_choice, OneTool) or settings.tool_choice == "required"


def check(settings: ModelSettings, provider: str, model: str, *, takes_sampling: bool) -> None:
    """Raises `ConfigError` for settings that Claude does not allow, by itself or while it thinks."""
    temperature, top_p = settings.temperature, settings.top_p
    if not takes_sampling and (temperature not in (None, 1) or top_p not in (None, 1)):
        raise unsupported(provider, f"temperature and top_p with {model}", "Leave them out for this model.")
    if not thinking_is_on(settings):
        return
    if forces_a_call(settings):
        raise _conflict("a forced tool choice", "Use tool_choice 'auto' or 'none', or turn reasoning off.")
    if temperature not in (None, 1):
        raise _conflict("a temperature other than 1", "Leave the temperature out, or turn reasoning off.")
    if top_p is not None and not 0.95 <= top_p <= 1:
        raise _conflict("a top_p below 0.95", "Leave top_p out, or turn reasoning off.")


def check_stops(settings: ModelSettings, provider: str) -> None:
    if any(not s.strip() for s in settings.stop):
        raise config_error("invalid_setting", f"{provider} refuses stop sequences that are blank.", "Leave them out.")


def thinking_by_effort(effort: Effort, *, has_xhigh: bool) -> dict[str, Any]:
    """The fields for models that take an effort level."""
    level = {"minimal": "low", "xhigh": "xhigh" if has_xhigh else "high"}.get(effort, effort)
    return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}


def thinking_by_budget(asked: int | None, effort: Effort | None, max_tokens: int | None) -> dict[str, Any]:
    """The fields for models that count tokens. An effort is a wish: it gives way to the caller's bound on the output, and half is
    left for the answer. A budget is taken at its word."""
    budget = asked
    if budget is None:
        budget = EFFORT_BUDGETS[effort or "medium"]
        if max_tokens is not None and budget >= max_tokens:
            budget = max(MIN_BUDGET_TOKENS, max_tokens // 2)
    if budget < MIN_BUDGET_TOKENS:
        message = f"Claude takes a thinking budget of {MIN_BUDGET_TOKENS} tokens or more, not {budget}."
        raise config_error("invalid_setting", message)
    if max_tokens is not None and max_tokens <= budget:
        raise config_error(
            "conflicting_settings",
            f"Claude counts thinking as output: max_output_tokens ({max_tokens}) must exceed the budget ({budget}).",
            "Raise max_output_tokens, or lower the reasoning budget.",
        )
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


def tool_choice(settings: ModelSettings) -> dict[str, Any] | None:
    """The choice among tools; None if there is nothing to say."""
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


def _conflict(feature: str, hint: str) -> ConfigError:
    return config_error("conflicting_settings", f"Claude does not allow {feature} while it reasons.", hint)

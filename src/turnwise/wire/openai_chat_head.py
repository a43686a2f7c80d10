"""Settings of a request in Chat Completions form: everything around the messages, the instructions included.

What the host cannot take is refused here, before any I/O, with a `ConfigError` that names host and feature. Source:
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..core.errors import ConfigError, config_error
from ..core.request import ModelSettings, OneTool, Reasoning, RequestHead, ToolSpec
from .base import EncodedHead
from .extras import OpenAIExtra
from .heads import extra_of, fields_of, patches, write_head
from .heads import unsupported as not_taken
from .profile import Profile

PATH = "/chat/completions"


def encode_head(head: RequestHead, profile: Profile) -> EncodedHead:
    """Everything but the messages; the instructions are the first element of their array.

    `strict` of a tool is left out where the host does not know it: arguments are checked by the runtime in any case. Raises `ConfigError`: `unsupported_feature` for what the host has no place for,
    `conflicting_settings` for settings that exclude each other, `invalid_setting` for a value that cannot be sent.
    """
    settings = head.settings
    body: dict[str, Any] = {"model": head.model}
    body |= _tools(head, profile)
    body |= _sampling(settings, profile)
    if settings.reasoning is not None:
        body |= _reasoning(settings.reasoning, profile)
    if head.stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    body |= fields_of(extra_of(settings, OpenAIExtra))
    first = None
    if head.instructions and not head.instructions.isspace():
        first = {"role": profile.instructions_role, "content": head.instructions}
    return write_head(PATH, body, settings, "messages", first=first)


def _sampling(settings: ModelSettings, profile: Profile) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if settings.max_output_tokens is not None:
        out[profile.max_tokens_field] = settings.max_output_tokens
    if settings.temperature is not None:
        out["temperature"] = settings.temperature
    if settings.top_p is not None:
        out["top_p"] = settings.top_p
    if settings.stop:
        out["stop"] = settings.stop
    if settings.seed is not None:
        if not profile.seed:
            raise unsupported(profile, "a seed")
        out["seed"] = settings.seed
    return out


def _tools(head: RequestHead, profile: Profile) -> dict[str, Any]:
    settings = head.settings
    choice, parallel = settings.tool_choice, settings.parallel_tool_calls
    if not head.tools and not patches(settings, "tools"):
        # The API refuses these fields without tools; those that then mean nothing are left out.
        if choice == "required" or isinstance(choice, OneTool):
            message = f"{profile.name} cannot be made to call a tool: the request has none."
            raise config_error("conflicting_settings", message)
        return {}
    out: dict[str, Any] = {"tools": [_tool(t, profile) for t in head.tools]} if head.tools else {}
    if isinstance(choice, OneTool):
        out["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        out["tool_choice"] = choice
    if parallel is not None:
        if profile.parallel_tool_calls:
            out["parallel_tool_calls"] = parallel
        elif not parallel:
            raise unsupported(profile, "parallel_tool_calls=False")
    return out


def _tool(tool: ToolSpec, profile: Profile) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description and not tool.description.isspace():
        function["description"] = tool.description
    function["parameters"] = msgspec.Raw(tool.parameters.encode())
    if tool.strict and profile.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _reasoning(reasoning: Reasoning, profile: Profile) -> dict[str, Any]:
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort is None and budget is None:
        return {}
    if profile.effort is None:
        raise unsupported(profile, "reasoning settings")
    if profile.effort == "reasoning":
        # Effort and budget exclude each other there; the budget says more.
        return {"reasoning": {"effort": effort} if budget is None else {"max_tokens": budget}}
    if budget is not None:
        raise unsupported(profile, "a reasoning budget in tokens", "Give an effort level in its place.")
    return {"reasoning_effort": effort}


def unsupported(profile: Profile, feature: str, hint: str = "Leave it out for this provider.") -> ConfigError:
    """The error for what a host cannot take."""
    return not_taken(profile.name, feature, hint)

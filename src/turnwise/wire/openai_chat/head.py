"""Settings of a request in Chat Completions form: everything around the messages, the instructions included.

What the host cannot take is refused here, before any I/O, with a `ConfigError` that names host and feature. Source:
https://platform.openai.com/docs/api-reference/chat/create
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import ConfigError, config_error
from ...core.request import ModelSettings, OneTool, OutputFormat, Reasoning, RequestHead, ToolSpec
from ..base import EncodedHead
from ..extras import OpenAIExtra
from ..heads import extra_of, fields_of, function_tool, given, no_tool_to_call, patches, write_head
from ..heads import unsupported as not_taken
from ..history import is_blank
from ..unreadable import UNREADABLE
from .profile import Profile, nearest

PATH = "/chat/completions"


def encode_head(head: RequestHead, profile: Profile) -> EncodedHead:
    """Everything but the messages; the instructions are the first element of their array.

    `strict` of a tool is left out where the host does not know it: arguments are checked by the runtime in any case. Raises
    `ConfigError`: `unsupported_feature` for what the host has no place for, `conflicting_settings` for settings that exclude
    each other, `invalid_setting` for a value that cannot be sent.
    """
    settings, instructions = head.settings, head.instructions
    body: dict[str, Any] = {"model": head.model}
    body |= _tools(head, profile)
    body |= _sampling(settings, profile)
    if settings.reasoning is not None:
        body |= _reasoning(settings.reasoning, profile)
    if settings.output is not None:
        body["response_format"], instructions = _output(settings.output, instructions, profile)
    if head.stream:
        body["stream"] = True
        if profile.stream_usage:
            body["stream_options"] = {"include_usage": True}
    body |= _extras(settings, profile)
    first = None
    if not is_blank(instructions):
        first = {"role": profile.instructions_role, "content": instructions}
    return write_head(PATH, body, settings, "messages", first=first)


def _sampling(settings: ModelSettings, profile: Profile) -> dict[str, Any]:
    out = given(
        **{profile.max_tokens_field: settings.max_output_tokens},
        temperature=settings.temperature,
        top_p=settings.top_p,
    )
    if settings.stop:
        if profile.max_stops is not None and len(settings.stop) > profile.max_stops:
            raise unsupported(profile, f"more than {profile.max_stops} stop sequences", "Give fewer.")
        out["stop"] = settings.stop
    if settings.seed is not None:
        if profile.seed_field is None:
            raise unsupported(profile, "a seed")
        out[profile.seed_field] = settings.seed
    return out


def _extras(settings: ModelSettings, profile: Profile) -> dict[str, Any]:
    fields = fields_of(extra_of(settings, OpenAIExtra))
    for name in fields:
        if name in profile.refused_extras:
            raise unsupported(profile, f"`{name}`")
    return fields


def _tools(head: RequestHead, profile: Profile) -> dict[str, Any]:
    settings = head.settings
    choice, parallel = settings.tool_choice, settings.parallel_tool_calls
    if not head.tools and not patches(settings, "tools"):
        # The API refuses these fields without tools; those that then mean nothing are left out.
        if choice == "required" or isinstance(choice, OneTool):
            raise no_tool_to_call(profile.name)
        return {}
    if head.tools and not profile.tools:
        raise unsupported(profile, "tools", 'Model(…, tools="prompted") speaks of them in text instead.')
    out: dict[str, Any] = {"tools": [_tool(t, profile) for t in head.tools]} if head.tools else {}
    if isinstance(choice, OneTool):
        if "one" not in profile.tool_choices:
            raise unsupported(profile, f"a tool choice by name ({choice.name})", "Offer that tool alone.")
        out["tool_choice"] = {"type": "function", "function": {"name": choice.name}}
    elif choice is not None:
        if choice not in profile.tool_choices:
            raise unsupported(profile, f"tool_choice={choice!r}")
        out["tool_choice"] = profile.required_word if choice == "required" else choice
    if parallel is not None:
        if profile.parallel_tool_calls:
            out["parallel_tool_calls"] = parallel
        elif not parallel:
            raise unsupported(profile, "parallel_tool_calls=False")
    return out


def _tool(tool: ToolSpec, profile: Profile) -> dict[str, Any]:
    out = function_tool(tool)
    if tool.strict and profile.strict:
        out["function"]["strict"] = True
    return out


def _reasoning(reasoning: Reasoning, profile: Profile) -> dict[str, Any]:
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort is None and budget is None:
        return {}
    if profile.effort is None and profile.switch is None and profile.budget is None:
        raise unsupported(
            profile, "reasoning settings", "Say it with a patch, in the words of the model's own template."
        )
    if budget is not None:
        # Effort and budget exclude each other wherever there are both; the budget says more.
        return _budget(budget, profile) | dict(profile.with_reasoning)
    assert effort is not None
    thinks = effort != "none"
    out: dict[str, Any] = {}
    match profile.switch:
        case "thinking":
            out["thinking"] = {"type": "enabled" if thinks else "disabled"}
        case "enable_thinking":
            out["enable_thinking"] = thinks
        case "reasoning":
            out["reasoning"] = {"enabled": thinks}
        case None:
            pass
    if profile.effort is not None and (thinks or profile.switch is None):
        level = nearest(effort, profile.efforts)
        out |= {"reasoning": {"effort": level}} if profile.effort == "reasoning" else {"reasoning_effort": level}
    return out | dict(profile.with_reasoning) if thinks else out


def _budget(tokens: int, profile: Profile) -> dict[str, Any]:
    match profile.budget:
        case "reasoning":
            return {"reasoning": {"max_tokens": tokens}}
        case "thinking":
            return {"thinking": {"type": "enabled", "budget_tokens": tokens}}
        case "thinking_budget":
            return {"enable_thinking": True, "thinking_budget": tokens}
        case None:
            raise unsupported(profile, "a reasoning budget in tokens", "Give an effort level in its place.")


def _output(output: OutputFormat, instructions: str, profile: Profile) -> tuple[dict[str, Any], str]:
    """The response format, and the instructions, which hold the schema where there is no other place for it.
    https://platform.openai.com/docs/guides/structured-outputs"""
    try:
        is_object = type(msgspec.json.decode(output.schema)) is dict
    except UNREADABLE:
        is_object = False
    if not is_object:
        raise config_error("invalid_setting", "The schema of `output` is not the JSON text of an object.")
    if profile.output == "schema":
        named: dict[str, Any] = {"name": output.name, "schema": msgspec.Raw(output.schema.encode())}
        if output.description:
            named["description"] = output.description
        return {"type": "json_schema", "json_schema": named | {"strict": output.strict}}, instructions
    if profile.output is None:
        raise unsupported(profile, "structured output", "Ask for JSON in the instructions.")
    if output.strict:
        hint = "OutputFormat(…, strict=False) asks for JSON and puts the schema into the instructions."
        raise unsupported(profile, "structured output by a schema", hint)
    asked = f"Answer with one JSON object that fits this JSON schema, and nothing else:\n{output.schema}"
    return {"type": "json_object"}, f"{instructions}\n\n{asked}" if instructions.strip() else asked


def unsupported(profile: Profile, feature: str, hint: str = "Leave it out for this provider.") -> ConfigError:
    """The error for what a host cannot take."""
    return not_taken(profile.name, feature, hint)

"""Settings of a request in the form of Converse: everything around the message array.

What the API or the model's family cannot take is refused here, before any I/O, with a `ConfigError` that names both. What
Converse has no field for goes into `additionalModelRequestFields`, in the model's own words. Source:
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and the guides named in `models`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import config_error
from ...core.request import Effort, ModelSettings, OneTool, OutputFormat, Reasoning, RequestHead, ToolSpec
from ...wire import claude_head as claude
from ..base import EncodedHead
from ..extras import BedrockExtra
from ..heads import described, extra_of, fields_of, given, no_tool_to_call, patches, unsupported, write_head
from ..history import is_blank
from ..percent import encoded
from .models import Family, Part, family_of

PROVIDER = "Bedrock Converse"
MESSAGE_BREAKPOINTS = 2
"""Cache points for messages: of the four that a request may have, tools and instructions take one each."""
NO_TOOLS = ToolSpec(
    "no_tool_is_available", "No tool can be called now: answer in text.", '{"type":"object","properties":{}}'
)
"""Offered when the caller offers none and the history holds calls, which the API refuses in a request without tools."""

_SAFE = ":@!$&'()*+,;="
"""What stays as it is in a path. The HTTP client would write these plainly whatever we gave it, and the signature must cover
the path as it is sent."""
_LEVELS: Mapping[Effort, str] = {"minimal": "low", "low": "low", "medium": "medium", "high": "high"}
"""Three levels, as Nova and GPT have them; what is beyond is `high`."""
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NOT_FIELDS = ("additionalModelRequestFields", "system_tools", "top_k", "cache_ttl")


def encode_head(head: RequestHead) -> EncodedHead:
    """Everything but the messages. With caching on, tools and instructions end in a cache point each where the family takes one.

    Raises `ConfigError`: `unsupported_feature` for what API or model have no place for, `conflicting_settings` for settings
    that exclude each other, `invalid_setting` for a value that is out of bounds.
    """
    settings, family = head.settings, family_of(head.model)
    extra = extra_of(settings, BedrockExtra) or BedrockExtra()
    _check(head, family)
    body: dict[str, Any] = {}
    if not is_blank(head.instructions):
        body["system"] = [{"text": head.instructions}, *_cache_point(head, family, extra, "system")]
    if (inference := _inference(settings)) != {}:
        body["inferenceConfig"] = inference
    if tools := _tools(head, family, extra):
        choice = _tool_choice(settings)
        body["toolConfig"] = {"tools": tools} if choice is None else {"tools": tools, "toolChoice": choice}
    if settings.output is not None:
        body["outputConfig"] = {"textFormat": _output(settings.output)}
    if more := _model_fields(head, family, extra):
        body["additionalModelRequestFields"] = more
    body |= fields_of(extra, *_NOT_FIELDS)
    path = f"/model/{encoded(head.model, _SAFE)}/{'converse-stream' if head.stream else 'converse'}"
    point = _cache_point(head, family, extra, "messages")
    mark = b"".join([b"," + msgspec.json.encode(p) for p in point])
    return write_head(path, body, settings, "messages", breakpoints=MESSAGE_BREAKPOINTS if mark else 0, mark=mark)


def offers_tools(head: RequestHead) -> bool:
    """Whether the request will have a `toolConfig`."""
    extra = extra_of(head.settings, BedrockExtra)
    return head.settings.tool_choice != "none" and bool(head.tools or (extra is not None and extra.system_tools))


def without_tools(head: RequestHead) -> RequestHead:
    """The head with the tool that does nothing in place of all others, those that Bedrock runs itself included."""
    given = head.settings.extra
    extras = [
        msgspec.structs.replace(e, system_tools=()) if type(e) is BedrockExtra else e
        for e in (given if isinstance(given, tuple) else (given,))
    ]
    settings = msgspec.structs.replace(head.settings, tool_choice=None, parallel_tool_calls=None, extra=tuple(extras))
    return msgspec.structs.replace(head, tools=(NO_TOOLS,), settings=settings)


def _check(head: RequestHead, family: Family) -> None:
    settings = head.settings
    if settings.seed is not None:
        raise unsupported(PROVIDER, "a seed")
    claude.check_stops(settings, PROVIDER)
    for name, value in (("temperature", settings.temperature), ("top_p", settings.top_p)):
        if value is not None and not 0 <= value <= 1:
            raise config_error("invalid_setting", f"{PROVIDER} takes a {name} from 0 to 1, not {value:g}.")
    if claude.forces_a_call(settings) and not offers_tools(head) and not patches(settings, "toolConfig"):
        raise no_tool_to_call(PROVIDER)
    if settings.parallel_tool_calls is False and offers_tools(head) and not family.calls_one:
        what = f"parallel_tool_calls=False with {head.model}"
        raise unsupported(PROVIDER, what, "Leave it out: only Claude 4.5 and later can be told.")
    if family.name == "Claude":
        claude.check(settings, PROVIDER, head.model, takes_sampling=family.takes_sampling)


def _inference(settings: ModelSettings) -> dict[str, Any]:
    return given(
        maxTokens=settings.max_output_tokens,
        temperature=settings.temperature,
        topP=settings.top_p,
        stopSequences=settings.stop or None,
    )


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(head: RequestHead, family: Family, extra: BedrockExtra) -> list[dict[str, Any]]:
    """Tools, and a cache point behind them. `tool_choice="none"` leaves them out: the API has no word for it."""
    if not offers_tools(head):
        return []
    out = [_tool(tool, head.model, family) for tool in head.tools]
    out += [{"systemTool": {"name": name}} for name in extra.system_tools]
    return out + _cache_point(head, family, extra, "tools")


def _tool(tool: ToolSpec, model: str, family: Family) -> dict[str, Any]:
    if not _TOOL_NAME.fullmatch(tool.name):
        message = f"{PROVIDER} cannot call a tool {tool.name!r}."
        raise config_error("invalid_setting", message, "Use at most 64 letters (a-z), digits, _ and -.")
    made = described(tool, "json")
    made["inputSchema"] = {"json": made.pop("json")}
    if tool.strict:
        if not family.strict:
            raise unsupported(PROVIDER, f"strict tools with {model}", "Leave strict out for this model.")
        made["strict"] = True
    return {"toolSpec": made}


def _tool_choice(settings: ModelSettings) -> dict[str, Any] | None:
    """None also where the choice is said in the model's own words, for the API takes it once."""
    if settings.parallel_tool_calls is False:
        return None
    match settings.tool_choice:
        case "required":
            return {"any": {}}
        case OneTool(name=name):
            return {"tool": {"name": name}}
        case "auto":
            return {"auto": {}}
        case _:
            return None


def _cache_point(head: RequestHead, family: Family, extra: BedrockExtra, part: Part) -> list[dict[str, Any]]:
    if head.settings.cache == "off" or part not in family.caches:
        return []
    point = {"type": "default"} if extra.cache_ttl is None else {"type": "default", "ttl": extra.cache_ttl}
    return [{"cachePoint": point}]


def _output(output: OutputFormat) -> dict[str, Any]:
    """The schema goes as text; Bedrock always enforces it."""
    shape: dict[str, Any] = {"schema": output.schema, "name": output.name}
    if not is_blank(output.description):
        shape["description"] = output.description
    return {"type": "json_schema", "structure": {"jsonSchema": shape}}


# --- fields of the model's own ----------------------------------------------------------------------------------------


def _model_fields(head: RequestHead, family: Family, extra: BedrockExtra) -> dict[str, Any]:
    settings = head.settings
    fields: dict[str, Any] = {}
    if settings.reasoning is not None and claude.thinking_is_on(settings):
        fields |= _thinking(head, family, settings.reasoning)
    if settings.parallel_tool_calls is False and offers_tools(head):
        # Claude's own form of the choice, which alone has a place for one call at a time.
        fields["tool_choice"] = claude.tool_choice(settings)
    if extra.top_k is not None:
        if not family.top_k:
            raise unsupported(PROVIDER, f"top_k with {head.model}", _OWN_WORDS)
        value: Any = extra.top_k
        for name in reversed(family.top_k):
            value = {name: value}
        fields |= value
    return fields | dict(extra.additionalModelRequestFields or {})


def _thinking(head: RequestHead, family: Family, reasoning: Reasoning) -> dict[str, Any]:
    effort = reasoning.effort or "medium"
    if family.thinks in ("budget", "adaptive"):
        if reasoning.budget_tokens is not None and not family.takes_budget:
            raise unsupported(PROVIDER, f"a thinking budget with {head.model}", "Give an effort level in its place.")
        if family.thinks == "adaptive" and reasoning.budget_tokens is None:
            return claude.thinking_by_effort(effort, has_xhigh=family.has_xhigh)
        return claude.thinking_by_budget(reasoning.budget_tokens, effort, head.settings.max_output_tokens)
    if reasoning.budget_tokens is not None:
        raise unsupported(PROVIDER, f"a thinking budget with {head.model}", "Give an effort level, or leave it out.")
    level = _LEVELS.get(effort, "high")
    if family.thinks == "openai":
        return {"reasoning_effort": level}
    if family.thinks == "nova":
        if level == "high" and _inference(head.settings).keys() & {"maxTokens", "temperature", "topP"}:
            level = "medium"  # Nova takes none of these with its highest effort, which is only a wish
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}
    raise unsupported(PROVIDER, f"a reasoning effort with {head.model}", _OWN_WORDS)


_OWN_WORDS = "Leave it out, or say it in the model's own words: BedrockExtra(additionalModelRequestFields=…)."

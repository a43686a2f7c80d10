"""Settings of a request in generateContent form: everything around `contents`.

What the platform or the model cannot take is refused here, before any I/O, with a `ConfigError` that names provider and
feature. Source: https://ai.google.dev/api/generate-content, https://ai.google.dev/api/caching#Tool and the guides on
thinking, structured output and function calling.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import ConfigError, config_error
from ...core.request import Effort, ModelSettings, OneTool, Reasoning, RequestHead
from ..base import EncodedHead
from ..extras import GeminiExtra
from ..heads import described, extra_of, fields_of, given, no_tool_to_call, patches, unsupported, write_head
from ..history import is_blank
from ..percent import encoded
from .dialect import Dialect, traits_of

MAX_STOP_SEQUENCES = 5
EFFORT_BUDGETS: dict[Effort, int] = {
    "minimal": 1024,
    "low": 1024,
    "medium": 8192,
    "high": 24576,
    "xhigh": 32768,
    "max": 32768,
}
"""Thinking budgets for effort levels, as Google maps them: https://ai.google.dev/gemini-api/docs/openai#thinking"""
_EFFORTS: tuple[Effort, ...] = ("minimal", "low", "medium", "high")
_COLLECTIONS = ("models", "tunedModels", "endpoints")
"""What the name of a model may be in; `models` if it does not say."""

_GENERATION = (
    "top_k",
    "presence_penalty",
    "frequency_penalty",
    "response_logprobs",
    "logprobs",
    "response_modalities",
    "media_resolution",
    "speech_config",
    "image_config",
)
"""The fields of `GeminiExtra` that belong into `generationConfig`."""
_TOOL_CONFIG = ("retrieval_config", "include_server_side_tool_invocations")
_ELSEWHERE = ("server_tools", "include_thoughts")


def encode_head(head: RequestHead, dialect: Dialect) -> EncodedHead:
    """Everything but the contents.

    Raises `ConfigError`: `unsupported_feature` for what there is no place for, `conflicting_settings` for settings that
    exclude each other, `invalid_setting` for a value that is out of bounds.
    """
    settings, extra = head.settings, extra_of(head.settings, GeminiExtra) or GeminiExtra()
    _check(head, extra, dialect)
    said = {_camel(name): value for name, value in fields_of(extra, *_GENERATION, *_TOOL_CONFIG, *_ELSEWHERE).items()}
    body: dict[str, Any] = {}
    if not is_blank(head.instructions):
        body["systemInstruction"] = {"parts": [{"text": head.instructions}]}
    if tools := _tools(head, extra):
        body["tools"] = tools
    if config := _tool_config(head, extra):
        body["toolConfig"] = config
    if generation := _generation(head, extra, dialect):
        body["generationConfig"] = generation
    return write_head(_path(head), body | said, settings, "contents")


def _path(head: RequestHead) -> str:
    collection, slash, name = head.model.removeprefix("/").rpartition("/")
    if not slash or collection.rpartition("/")[2] not in _COLLECTIONS:
        collection, name = "models", head.model
    where = f"/{encoded(collection.rpartition('/')[2])}/{encoded(name)}"
    return where + (":streamGenerateContent?alt=sse" if head.stream else ":generateContent")


def _check(head: RequestHead, extra: GeminiExtra, dialect: Dialect) -> None:
    settings = head.settings
    for field in dialect.refused:
        if getattr(extra, field) is not None:
            raise unsupported(dialect.name, f"GeminiExtra({field}=…)")
    for tool in extra.server_tools:
        for kind in tool:
            if kind.replace("_", "").lower() in dialect.refused_tools:
                raise unsupported(dialect.name, f"the server-side tool {kind!r}")
    if settings.parallel_tool_calls is False:
        raise unsupported(dialect.name, "parallel_tool_calls=False")
    if len(settings.stop) > MAX_STOP_SEQUENCES:
        message = f"{dialect.name} takes {MAX_STOP_SEQUENCES} stop sequences at most, not {len(settings.stop)}."
        raise config_error("invalid_setting", message)
    if any(not s for s in settings.stop):
        raise config_error("invalid_setting", f"{dialect.name} refuses empty stop sequences.", "Leave them out.")
    choice = settings.tool_choice
    if (choice == "required" or isinstance(choice, OneTool)) and not head.tools and not patches(settings, "tools"):
        raise no_tool_to_call(dialect.name)
    has_tools = bool(head.tools or extra.server_tools)
    if settings.output is not None and has_tools and not traits_of(head.model).json_with_tools:
        hint = "Leave one of them out, or use Gemini 3 or later."
        raise unsupported(dialect.name, f"structured output together with tools on {head.model}", hint)
    if extra.cached_content is not None and (head.instructions or head.tools or extra.server_tools):
        message = f"{dialect.name} takes instructions and tools from cached content, not beside it."
        raise config_error("conflicting_settings", message, "Leave them out, or leave cached_content out.")


# --- tools ----------------------------------------------------------------------------------------------------------


def _tools(head: RequestHead, extra: GeminiExtra) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    if head.tools:
        out.append({"functionDeclarations": [described(t, "parametersJsonSchema") for t in head.tools]})
    return out + [dict(t) for t in extra.server_tools]


def _tool_config(head: RequestHead, extra: GeminiExtra) -> dict[str, Any]:
    out = given(**{_camel(name): getattr(extra, name) for name in _TOOL_CONFIG})
    if not head.tools and not patches(head.settings, "tools"):
        return out
    match head.settings.tool_choice:
        case OneTool(name=name):
            calling: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [name]}
        case "required":
            calling = {"mode": "ANY"}
        case "none":
            calling = {"mode": "NONE"}
        case choice:
            # VALIDATED is AUTO with arguments held to the schema: the strict tools of other APIs.
            if any(t.strict for t in head.tools):
                calling = {"mode": "VALIDATED"}
            else:
                calling = {} if choice is None else {"mode": "AUTO"}
    if calling:
        out["functionCallingConfig"] = calling
    return out


# --- generation -----------------------------------------------------------------------------------------------------


def _generation(head: RequestHead, extra: GeminiExtra, dialect: Dialect) -> dict[str, Any]:
    settings = head.settings
    out = given(
        maxOutputTokens=settings.max_output_tokens,
        temperature=settings.temperature,
        topP=settings.top_p,
        stopSequences=settings.stop or None,
        seed=settings.seed,
    )
    if settings.output is not None:
        out["responseMimeType"] = "application/json"
        out["responseJsonSchema"] = msgspec.Raw(settings.output.schema.encode())
    if thinking := _thinking(head.model, settings, extra, dialect):
        out["thinkingConfig"] = thinking
    return out | given(**{_camel(name): getattr(extra, name) for name in _GENERATION})


def _thinking(model: str, settings: ModelSettings, extra: GeminiExtra, dialect: Dialect) -> dict[str, Any]:
    """How much to think. Thoughts are asked for whenever thinking is, and unless the caller says otherwise."""
    reasoning = settings.reasoning or Reasoning()
    out: dict[str, Any] = {}
    if reasoning.budget_tokens is not None or reasoning.effort is not None:
        out = _amount(model, reasoning, dialect)
    shown = extra.include_thoughts
    if shown is None and out and reasoning.effort != "none" and reasoning.budget_tokens != 0:
        shown = True
    return out if shown is None else out | {"includeThoughts": shown}


def _amount(model: str, reasoning: Reasoning, dialect: Dialect) -> dict[str, Any]:
    traits, effort, budget = traits_of(model), reasoning.effort, reasoning.budget_tokens
    if not traits.levels and traits.budget is None:
        if budget or (budget is None and effort != "none"):
            raise unsupported(dialect.name, f"reasoning settings with {model}", "Leave them out for this model.")
        return {}
    if budget is not None:
        return {"thinkingBudget": _checked_budget(model, budget, dialect)}
    if traits.levels:
        return {"thinkingLevel": _nearest_level(effort or "medium", traits.levels)}
    low, high = traits.budget or (0, 0)
    if effort == "none":
        return {"thinkingBudget": 0 if traits.can_stop else low}
    return {"thinkingBudget": min(max(EFFORT_BUDGETS[effort or "medium"], low), high)}


def _nearest_level(effort: Effort, levels: tuple[str, ...]) -> str:
    """The level itself, else the next higher one, else the highest. Without thinking is not to be had: `none` is the lowest."""
    if effort == "none":
        return levels[0]
    wanted = _EFFORTS.index(effort) if effort in _EFFORTS else len(_EFFORTS)
    higher = [level for level in levels if _EFFORTS.index(_effort(level)) >= wanted]
    return higher[0] if higher else levels[-1]


def _effort(level: str) -> Effort:
    return next(e for e in _EFFORTS if e == level.lower())


def _checked_budget(model: str, budget: int, dialect: Dialect) -> int:
    """A budget that the model takes; -1 lets the model decide. Models with levels take any, for the sake of older callers."""
    traits = traits_of(model)
    if traits.budget is None or budget == -1 or (budget == 0 and traits.can_stop):
        return budget
    low, high = traits.budget
    if not low <= budget <= high:
        raise _out_of_bounds(model, budget, low, high, dialect)
    return budget


def _out_of_bounds(model: str, budget: int, low: int, high: int, dialect: Dialect) -> ConfigError:
    message = f"{dialect.name} takes a thinking budget from {low} to {high} tokens for {model}, not {budget}."
    return config_error("invalid_setting", message)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join([word.capitalize() for word in rest])

"""Settings of a request in the form of Cohere's chat API, version 2: everything around the messages, the instructions included.

What the API has no place for is refused here, before any I/O, with a `ConfigError` that names it. Source:
https://docs.cohere.com/reference/chat, /docs/reasoning, /docs/structured-outputs and /docs/tool-use-overview.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.errors import config_error
from ...core.request import Effort, ModelSettings, OneTool, Reasoning, RequestHead
from ..base import EncodedHead
from ..extras import CohereExtra
from ..heads import extra_of, fields_of, function_tool, given, no_tool_to_call, patches, unsupported, write_head
from ..history import is_blank

PATH = "/v2/chat"
PROVIDER = "Cohere"

BUDGETS: dict[Effort, int] = {"minimal": 1024, "low": 2048, "medium": 8192}
"""Thinking budgets, in tokens, for the lower effort levels; from `high` on the model thinks as long as it wants."""


def encode_head(head: RequestHead) -> EncodedHead:
    """Everything but the messages; the instructions are the first element of their array.

    Raises `ConfigError`: `unsupported_feature` for what the API has no place for, `conflicting_settings` for settings
    that exclude each other, `invalid_setting` for a value that cannot be sent.
    """
    settings = head.settings
    extra = extra_of(settings, CohereExtra)
    body: dict[str, Any] = {"model": head.model, "stream": head.stream}
    body |= _tools(head, extra)
    body |= _sampling(settings)
    if settings.output is not None:
        if "tools" in body:
            hint = "Leave out the tools, or ask for the form of the answer in the instructions."
            raise unsupported(PROVIDER, "structured output beside tools", hint)
        body["response_format"] = {
            "type": "json_object",
            "json_schema": msgspec.Raw(settings.output.schema.encode()),
        }
    if settings.reasoning is not None:
        body |= _thinking(settings.reasoning)
    body |= fields_of(extra, "strict_tools")
    first = None if is_blank(head.instructions) else {"role": "system", "content": head.instructions}
    return write_head(PATH, body, settings, "messages", first=first)


def _sampling(settings: ModelSettings) -> dict[str, Any]:
    return given(
        max_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        p=settings.top_p,
        stop_sequences=settings.stop or None,
        seed=settings.seed,
    )


def _tools(head: RequestHead, extra: CohereExtra | None) -> dict[str, Any]:
    """The API can be told to call some tool, not which: to make it call one, it is given no other.

    `strict_tools` is for all tools at once, and refuses a tool without required parameters; so it is sent if every tool is
    strict, or if the extra says so.
    """
    settings, tools = head.settings, head.tools
    choice = settings.tool_choice
    if isinstance(choice, OneTool):
        tools = tuple([t for t in tools if t.name == choice.name])
        if not tools:
            message = f"Cohere cannot be made to call {choice.name!r}: the request has no such tool."
            raise config_error("conflicting_settings", message)
        choice = "required"
    if not tools and not patches(settings, "tools"):
        if choice == "required":
            raise no_tool_to_call(PROVIDER)
        return {}
    if settings.parallel_tool_calls is False:
        raise unsupported(PROVIDER, "parallel_tool_calls=False")
    out: dict[str, Any] = {"tools": [function_tool(t) for t in tools]} if tools else {}
    if choice in ("required", "none"):
        out["tool_choice"] = choice.upper()
    strict = None if extra is None else extra.strict_tools
    if strict is None:
        strict = True if tools and all(t.strict for t in tools) else None
    if strict is not None:
        out["strict_tools"] = strict
    return out


def _thinking(reasoning: Reasoning) -> dict[str, Any]:
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort is None and budget is None:
        return {}
    if effort == "none":
        return {"thinking": {"type": "disabled"}}
    if budget is None and effort is not None:
        budget = BUDGETS.get(effort)
    if budget is not None and budget < 1:
        raise config_error("invalid_setting", f"Cohere takes a thinking budget of 1 token or more, not {budget}.")
    return {"thinking": {"type": "enabled"} | ({} if budget is None else {"token_budget": budget})}

"""Settings of a request in Responses form: everything around the input items.

Nothing is kept with the provider unless the caller wants it: `store` is false, and sealed reasoning is asked for so that it
can go back with the next request (rule T5). What the API cannot take is refused here, before any I/O, with a `ConfigError`
that names provider and feature. Source: https://platform.openai.com/docs/api-reference/responses/create
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ...core.request import ModelSettings, OneTool, OutputFormat, Reasoning, RequestHead, ToolSpec
from ..base import EncodedHead
from ..extras import ResponsesExtra
from ..heads import described, extra_of, fields_of, given, no_tool_to_call, patches, unsupported, write_head
from ..history import is_blank

PATH = "/responses"
SEALED = "reasoning.encrypted_content"
"""What `include` must hold for reasoning to come with its seal."""

_NO_REASONING = re.compile(r"(?:.*/)?(?:gpt-3\.5|gpt-4|chatgpt-|computer-use|gpt-5(?:\.\d+)?-chat)")
"""OpenAI's models that do not reason: they refuse to be asked for sealed reasoning ("Encrypted content is not supported
with this model"). All others, new ones and those of other hosts, are asked."""
_OWN_FIELDS = ("store", "include", "verbosity", "summary", "server_tools")
"""Fields of the extra that are not fields of the body, or not only."""


def encode_head(head: RequestHead, name: str) -> EncodedHead:
    """Everything but the input items; `name` is what errors call the provider.

    Raises `ConfigError`: `unsupported_feature` for what the API has no place for, `conflicting_settings` for settings that
    exclude each other, `invalid_setting` for a value that cannot be sent.
    """
    settings = head.settings
    extra = extra_of(settings, ResponsesExtra) or ResponsesExtra()
    body: dict[str, Any] = {"model": head.model}
    if not is_blank(head.instructions):
        body["instructions"] = head.instructions
    body |= _tools(head, extra, name)
    body |= _sampling(settings, name)
    if reasoning := _reasoning(settings.reasoning, extra, name):
        body["reasoning"] = reasoning
    if text := _text(settings.output, extra):
        body["text"] = text
    body["store"] = bool(extra.store)
    if include := _include(head.model, extra):
        body["include"] = include
    if head.stream:
        body["stream"] = True
    body |= fields_of(extra, *_OWN_FIELDS)
    return write_head(PATH, body, settings, "input")


def _sampling(settings: ModelSettings, name: str) -> dict[str, Any]:
    if settings.stop:
        raise unsupported(name, "stop sequences", "Cut the answer yourself, or use Chat Completions.")
    if settings.seed is not None:
        raise unsupported(name, "a seed")
    return given(max_output_tokens=settings.max_output_tokens, temperature=settings.temperature, top_p=settings.top_p)


def _tools(head: RequestHead, extra: ResponsesExtra, name: str) -> dict[str, Any]:
    settings = head.settings
    choice, parallel = settings.tool_choice, settings.parallel_tool_calls
    tools: list[Any] = [*extra.server_tools, *[_tool(t) for t in head.tools]]
    if not tools and not patches(settings, "tools"):
        # A choice among no tools is refused by the API; one that then means nothing is left out.
        if choice == "required" or isinstance(choice, OneTool):
            raise no_tool_to_call(name)
        return {}
    out: dict[str, Any] = {"tools": tools} if tools else {}
    if isinstance(choice, OneTool):
        out["tool_choice"] = {"type": "function", "name": choice.name}
    elif choice is not None:
        out["tool_choice"] = choice
    if parallel is not None:
        out["parallel_tool_calls"] = parallel
    return out


def _tool(tool: ToolSpec) -> dict[str, Any]:
    """`strict` is always said: where it is missing, this API makes a schema strict by itself."""
    return {"type": "function"} | described(tool, "parameters") | {"strict": tool.strict}


def _reasoning(reasoning: Reasoning | None, extra: ResponsesExtra, name: str) -> dict[str, Any]:
    """Who asks for reasoning wants to see some of it: a summary comes along unless `summary` says otherwise."""
    effort = budget = None
    if reasoning is not None:
        effort, budget = reasoning.effort, reasoning.budget_tokens
    if budget is not None:
        raise unsupported(name, "a reasoning budget in tokens", "Give an effort level in its place.")
    out: dict[str, Any] = {} if effort is None else {"effort": effort}
    summary = extra.summary or (None if effort in (None, "none") else "auto")
    if summary not in (None, "off"):
        out["summary"] = summary
    return out


def _text(output: OutputFormat | None, extra: ResponsesExtra) -> dict[str, Any]:
    out: dict[str, Any] = {}
    if output is not None:
        form: dict[str, Any] = {"type": "json_schema", "name": output.name}
        if not is_blank(output.description):
            form["description"] = output.description
        out["format"] = form | {"schema": msgspec.Raw(output.schema.encode()), "strict": output.strict}
    if extra.verbosity is not None:
        out["verbosity"] = extra.verbosity
    return out


def _include(model: str, extra: ResponsesExtra) -> list[str]:
    asked = [] if _NO_REASONING.match(model.lower()) else [SEALED]
    return list(dict.fromkeys([*asked, *extra.include]))

"""Settings of a request in the form of Ollama's chat API: everything around the messages, the instructions included.

What the API has no place for is refused here, before any I/O, with a `ConfigError` that names it. Source:
https://docs.ollama.com/api/chat, /capabilities/thinking, /capabilities/structured-outputs and /modelfile#parameter (options).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ...core.request import ModelSettings, OneTool, Reasoning, RequestHead
from ..base import EncodedHead
from ..extras import OllamaExtra
from ..heads import extra_of, fields_of, function_tool, given, unsupported, write_head
from ..history import is_blank

PATH = "/api/chat"
PROVIDER = "Ollama"

_LEVELS: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
"""Older servers refuse `max`; who has a newer one asks for it with `OllamaExtra(think="max")`."""
_OPTIONS = ("num_ctx", "top_k", "min_p", "repeat_penalty")
"""Fields of `OllamaExtra` that are model options."""


def encode_head(head: RequestHead) -> EncodedHead:
    """Everything but the messages; the instructions are the first element of their array.

    `stream` is always said, since the API streams if it is not. So is `truncate: false`: left to itself Ollama drops the
    beginning of a conversation that is longer than the context and says nothing, the instructions first of all. `strict` of a tool is left
    out: the API has no such thing, and arguments are checked by the runtime in any case.
    """
    settings = head.settings
    extra = extra_of(settings, OllamaExtra)
    body: dict[str, Any] = {"model": head.model, "stream": head.stream}
    body |= _tools(head)
    if settings.output is not None:
        body["format"] = msgspec.Raw(settings.output.schema.encode())
    if settings.reasoning is not None:
        body |= _think(settings.reasoning)
    body["truncate"] = False
    body |= fields_of(extra, "options", *_OPTIONS)
    if options := _options(settings, extra):
        body["options"] = options
    first = None if is_blank(head.instructions) else {"role": "system", "content": head.instructions}
    return write_head(PATH, body, settings, "messages", first=first)


def _tools(head: RequestHead) -> dict[str, Any]:
    settings = head.settings
    choice = settings.tool_choice
    if choice == "required" or isinstance(choice, OneTool):
        hint = 'Leave it out, or say in the instructions that a tool must be called; Model(…, tools="prompted") does.'
        raise unsupported(PROVIDER, "a tool choice that makes the model call a tool", hint)
    if settings.parallel_tool_calls is False and head.tools:
        raise unsupported(PROVIDER, "parallel_tool_calls=False")
    if choice == "none" or not head.tools:
        return {}
    return {"tools": [function_tool(t) for t in head.tools]}


def _think(reasoning: Reasoning) -> dict[str, Any]:
    if reasoning.budget_tokens is not None:
        raise unsupported(PROVIDER, "a reasoning budget in tokens", "Give an effort level in its place.")
    return {} if reasoning.effort is None else {"think": _LEVELS[reasoning.effort]}


def _options(settings: ModelSettings, extra: OllamaExtra | None) -> dict[str, Any]:
    """https://docs.ollama.com/modelfile#parameter; those given by name win over the free ones."""
    out: dict[str, Any] = {}
    if extra is not None:
        out |= extra.options or {}
        out |= given(**{name: getattr(extra, name) for name in _OPTIONS})
    return out | given(
        num_predict=settings.max_output_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        seed=settings.seed,
        stop=settings.stop or None,
    )

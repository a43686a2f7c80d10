"""Models: how they are named and reached, what is known about them, what they cost.

Names are loaded when they are first used. The settings that only one API has (`AnthropicExtra` and its kin) are here, too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..core.request import Request, RequestHead, ToolSpec
    from ..runtime.single import Completion, ModelStream, complete, stream
    from ..wire.extras import (
        AnthropicExtra,
        BedrockExtra,
        CohereExtra,
        GeminiExtra,
        OllamaExtra,
        OpenAIExtra,
        ResponsesExtra,
    )
    from .catalogue import ModelInfo, Override, Overrides, known_models, model_info
    from .catalogue_table import Capabilities
    from .connection import Connection, Model, Token
    from .handle import resolve_host, resolve_model
    from .listing import list_models
    from .prices import UnpricedModelWarning, cost
    from .prices_rows import Price, Prices, Tier

_EXTRAS = "..wire.extras"
_SINGLE = "..runtime.single"
"""Found by name, so that nothing on this floor imports a floor above it."""

_HOMES = {
    "AnthropicExtra": _EXTRAS,
    "BedrockExtra": _EXTRAS,
    "Capabilities": ".catalogue_table",
    "CohereExtra": _EXTRAS,
    "Completion": _SINGLE,
    "Connection": ".connection",
    "GeminiExtra": _EXTRAS,
    "Model": ".connection",
    "ModelInfo": ".catalogue",
    "ModelStream": _SINGLE,
    "OllamaExtra": _EXTRAS,
    "OpenAIExtra": _EXTRAS,
    "Override": ".catalogue",
    "Overrides": ".catalogue",
    "Price": ".prices_rows",
    "Prices": ".prices_rows",
    "Request": "..core.request",
    "RequestHead": "..core.request",
    "ResponsesExtra": _EXTRAS,
    "Tier": ".prices_rows",
    "Token": ".connection",
    "ToolSpec": "..core.request",
    "UnpricedModelWarning": ".prices",
    "complete": _SINGLE,
    "cost": ".prices",
    "known_models": ".catalogue",
    "list_models": ".listing",
    "model_info": ".catalogue",
    "resolve_host": ".handle",
    "resolve_model": ".handle",
    "stream": _SINGLE,
}

__all__ = [
    "AnthropicExtra",
    "BedrockExtra",
    "Capabilities",
    "CohereExtra",
    "Completion",
    "Connection",
    "GeminiExtra",
    "Model",
    "ModelInfo",
    "ModelStream",
    "OllamaExtra",
    "OpenAIExtra",
    "Override",
    "Overrides",
    "Price",
    "Prices",
    "Request",
    "RequestHead",
    "ResponsesExtra",
    "Tier",
    "Token",
    "ToolSpec",
    "UnpricedModelWarning",
    "complete",
    "cost",
    "known_models",
    "list_models",
    "model_info",
    "resolve_host",
    "resolve_model",
    "stream",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

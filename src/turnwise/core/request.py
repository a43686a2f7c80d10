"""What is asked of a model: a head that stays the same from step to step, and the messages that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from .messages import Message

Effort = Literal["none", "minimal", "low", "medium", "high"]


class Reasoning(msgspec.Struct, frozen=True, gc=False):
    """How much the model may think: an effort level, or a budget in tokens where the API counts tokens."""

    effort: Effort | None = None
    budget_tokens: int | None = None


class ToolSpec(msgspec.Struct, frozen=True, gc=False):
    """A tool as the model sees it. `parameters` is a JSON Schema of an object, as JSON text."""

    name: str
    description: str
    parameters: str
    strict: bool = False


class OneTool(msgspec.Struct, frozen=True, gc=False, tag="tool"):
    """The model must call this tool."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | OneTool


class ModelSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sampling and limits of one model call; None leaves the provider's default.

    `extra` is merged into the request body last: the escape hatch for what a provider has and we do not name.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    extra: Mapping[str, Any] | None = None


DEFAULT_SETTINGS = ModelSettings()


class RequestHead(msgspec.Struct, frozen=True, gc=False):
    """The part of a request that does not change from step to step; encoded once and kept."""

    model: str
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    settings: ModelSettings = DEFAULT_SETTINGS
    stream: bool = True


class Request(msgspec.Struct, frozen=True):
    """A request to a model, before a codec gives it a provider's form."""

    head: RequestHead
    messages: Sequence[Message]

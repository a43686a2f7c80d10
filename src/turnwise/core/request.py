"""What is asked of a model: a head that stays the same from step to step, and the messages that grow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

if TYPE_CHECKING:
    from .messages import Message

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""How hard to think. A wish: a level that a model does not have is sent as the nearest one that it has."""


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


class OutputFormat(msgspec.Struct, frozen=True, gc=False):
    """The answer's text must be JSON of this schema: the provider's own structured output.

    `schema` is a JSON Schema as JSON text, `name` what the provider is told it is called (letters, digits, `_`, `-`).
    `strict` asks the provider to enforce the schema where it can choose to.
    """

    schema: str
    name: str = "output"
    description: str = ""
    strict: bool = True


class Extra(msgspec.Struct, frozen=True, omit_defaults=True):
    """Base of the typed settings that only one API has, such as `AnthropicExtra`; see `turnwise.models`.

    Settings may hold several, one per API: a codec takes its own and passes over the others, so that an agent with
    fallback models can say something to each of them.
    """


class Patch(TypedDict, total=False):
    """Changes to the finished request, for what has no name here. The escape hatch: nothing checks it.

    `body` is merged into the request body as RFC 7396 says (objects are merged key by key, null removes, anything else
    replaces); the messages cannot be patched. `headers` are added, or replace the API's own; credentials are not affected.
    """

    body: Mapping[str, Any]
    headers: Mapping[str, str]


class ModelSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sampling, limits and form of one model call; None leaves the provider's default.

    What a provider cannot do is refused before anything is sent, with a `ConfigError` that names it. `cache` places
    cache breakpoints for the providers that want to be told (Anthropic, Bedrock); `"off"` places none.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning: Reasoning | None = None
    output: OutputFormat | None = None
    cache: Literal["auto", "off"] = "auto"
    extra: Extra | tuple[Extra, ...] = ()
    patch: Patch | None = None


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

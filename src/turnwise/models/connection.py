"""How a model is named and reached: what callers may say about it in code. Data only; `handle` makes something of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, TypedDict, Unpack

from ..core.request import ModelSettings
from .secrets import mask

Token = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A token, or a function that gives one, asked before each request (it should keep the token while it is valid). A function
that is not a coroutine function runs in a thread."""


class Connection(TypedDict, total=False):
    """Where a model is and who asks, instead of environment variables. What a provider has no use for is refused.

    `base_url` and `api_key` are for every provider. `azure_*`: Azure OpenAI; `bedrock_*`: AWS Bedrock; `vertex_*`: Google Vertex AI.
    """

    base_url: str
    api_key: str
    azure_resource: str
    azure_deployment: str
    azure_api_version: str
    azure_token: Token
    bedrock_region: str
    bedrock_access_key_id: str
    bedrock_secret_access_key: str
    bedrock_session_token: str
    bedrock_profile: str
    vertex_project: str
    vertex_location: str
    vertex_token: Token


ToolMode = Literal["native", "prompted"]


class Model:
    """A model with its own connection and settings, wherever a `provider:model` name is taken.

    Args:
        name: `provider:model`; `openai:MODEL@https://host/v1` for any server that speaks OpenAI's API.
        settings: Settings for this model in place of the agent's; None takes the agent's.
        tools: `"prompted"` describes tools in the instructions and reads calls from the text, for models or servers without
            tool calling of their own.
        connection: See `Connection`.
    """

    __slots__ = ("connection", "name", "settings", "tools")

    def __init__(
        self,
        name: str,
        *,
        settings: ModelSettings | None = None,
        tools: ToolMode = "native",
        **connection: Unpack[Connection],
    ) -> None:
        self.name = name
        self.settings = settings
        self.tools: ToolMode = tools
        self.connection = connection

    def __repr__(self) -> str:
        return mask(f"Model({self.name!r})")

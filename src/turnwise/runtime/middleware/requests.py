"""What middleware is handed: a turn, a model call, a tool call, an embedding request. Frozen; `replace` makes a changed one to pass on.

How each is carried out is in rooms of its own (`turns`, `model`, `tools`, `embeds`).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import msgspec

from ...core.content import ToolCall
from ...core.events import Notice
from ...core.messages import AssistantMessage, Message, UserMessage
from ...core.principal import LOCAL, Principal
from ...core.request import ModelSettings, RequestHead
from . import refusals

if TYPE_CHECKING:
    from ...tools import Tool, ToolContext
    from ..attachments import Prompt
    from ..runtime import Runtime
    from ..session import Session


class Via(Protocol):
    """The attempt behind a model request, for middleware that needs more than the request."""

    @property
    def runtime(self) -> Runtime: ...
    async def encoded(self, request: ModelRequest, /) -> bytes:
        """What would be sent for this request: address and body, encoded apart. No credentials."""
        ...

    def tell(self, notice: Notice, /) -> None:
        """Tell whoever watches the turn."""
        ...


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"  # what is in it may be secret, and long


class TurnRequest(_Request, frozen=True, kw_only=True):
    """A turn that is about to begin; nothing of it is journalled yet. `prompt` is None where a turn begins without one (`resume`,
    `continue_`, a follow-up, a recovered turn). `prompt` and `context` can be replaced."""

    session: Session[Any]
    prompt: Prompt | None
    context: Any
    principal: Principal
    agent: str
    runtime: Runtime

    def replace(self, *, prompt: Prompt | msgspec.UnsetType = msgspec.UNSET, context: Any = msgspec.UNSET) -> Self:
        changes = {
            name: value for name, value in (("prompt", prompt), ("context", context)) if value is not msgspec.UNSET
        }
        if "prompt" in changes and self.prompt is None:
            raise refusals.unchangeable("the prompt of this turn", "it begins without one")
        return msgspec.structs.replace(self, **changes)


class ModelRequest(_Request, frozen=True, kw_only=True):
    """One attempt of a model call, about to be sent. What is changed by `replace` holds for this attempt alone: the journal, and what is
    kept encoded of it, stay as they are.

    `messages` are the conversation, `head` all that is sent beside it, `tail` what is said at the very end (reminders). `model` is
    `provider:model`, `attempt` counts from 1 within the step, `key` stands for provider, address and key. Outside of a session `session` and
    `agent` are empty.
    """

    head: RequestHead
    messages: Sequence[Message]
    tail: str
    model: str
    attempt: int
    session: str
    turn: int
    step: int
    principal: Principal
    agent: str
    key: Hashable
    context: Any
    via: Via

    @property
    def settings(self) -> ModelSettings:
        return self.head.settings

    @property
    def instructions(self) -> str:
        return self.head.instructions

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]

    @property
    def runtime(self) -> Runtime:
        return self.via.runtime

    def replace(
        self,
        *,
        messages: Sequence[Message] | None = None,
        settings: ModelSettings | None = None,
        instructions: str | None = None,
        tail: str | None = None,
        head: RequestHead | None = None,
    ) -> Self:
        """The request with other messages, settings, instructions or tail, or another head altogether (of the same model: whom to ask is
        the machine's to say)."""
        head = self.head if head is None else head
        if head.model != self.head.model or head.stream != self.head.stream:
            raise refusals.unchangeable("which model is asked, or how", "fallback is a setting, Agent(models=[…])")
        if settings is not None and settings != head.settings:
            head = msgspec.structs.replace(head, settings=settings)
        if instructions is not None and instructions != head.instructions:
            head = msgspec.structs.replace(head, instructions=instructions)
        return msgspec.structs.replace(
            self,
            head=head,
            messages=self.messages if messages is None else tuple(messages),
            tail=self.tail if tail is None else tail,
        )

    def fresh(self) -> list[UserMessage]:
        """What people have said since the model spoke last: nothing in a step that follows tool calls alone."""
        out: list[UserMessage] = []
        for message in reversed(self.messages):
            if isinstance(message, AssistantMessage):
                break
            if isinstance(message, UserMessage) and not message.mark:
                out.append(message)
        return out[::-1]


class ToolRequest(_Request, frozen=True, kw_only=True):
    """A tool call whose body is about to run: it is allowed, and its beginning journalled, so nothing of it can be changed any more
    (rule P2; a hook of `tool.before` can). `arguments` are decoded, `call` has them as they came."""

    tool: Tool[..., Any]
    arguments: Any
    call: ToolCall
    context: ToolContext[Any]
    agent: str
    runtime: Runtime

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def call_id(self) -> str:
        return self.call.id

    @property
    def session(self) -> str:
        return self.context.session

    @property
    def principal(self) -> Principal:
        return self.context.principal


class EmbedRequest(_Request, frozen=True, kw_only=True):
    """One attempt of an embedding or rerank request. `texts` are what is embedded, or the documents; `query` is set for a rerank.
    Both can be replaced, as many texts for as many."""

    model: str
    texts: Sequence[str]
    query: str | None
    attempt: int
    key: Hashable
    runtime: Runtime

    @property
    def provider(self) -> str:
        return self.model.partition(":")[0]

    @property
    def session(self) -> str:
        return ""

    @property
    def agent(self) -> str:
        return ""

    @property
    def principal(self) -> Principal:
        return LOCAL

    def replace(self, *, texts: Sequence[str] | None = None, query: str | None = None) -> Self:
        texts = self.texts if texts is None else texts
        if len(texts) != len(self.texts):
            raise refusals.unchangeable("the number of texts", "each is to have its own answer")
        if query is not None and self.query is None:
            raise refusals.unchangeable("texts into a query", "this request embeds")
        return msgspec.structs.replace(self, texts=tuple(texts), query=self.query if query is None else query)


class EmbedResponse(msgspec.Struct, frozen=True):
    """The answer to one such request: `vectors` in the order of the texts, or `ranked`, best first. `tokens` is what was used, None if the
    provider does not say."""

    vectors: Sequence[Any] = ()
    ranked: Sequence[Any] = ()
    model: str = ""
    tokens: int | None = None


Request = TurnRequest | ModelRequest | ToolRequest | EmbedRequest
KeyOf = Callable[[Any], Hashable]

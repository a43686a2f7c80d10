"""An agent: a model, instructions, tools and bounds. Data that sessions run with; it holds no conversation.

The engine (asyncio, sessions, codecs) is loaded with the first session, so that making an agent costs little.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, cast

from ..core.errors import config_error
from ..core.limits import Deadlines, Limits, Restart, Retry
from ..core.principal import LOCAL, Principal
from ..core.request import DEFAULT_SETTINGS, ModelSettings, RequestHead
from ..tools import Tool, tool
from ..tools.context import Ctx

if TYPE_CHECKING:
    from ..core.messages import Message
    from ..core.protocols import Store
    from ..core.result import TurnResult
    from ..models.handle import ModelHandle, Sealed
    from .attachments import Prompt
    from .plan import TurnPlan, Wishes
    from .runtime import Runtime
    from .session import Session


class Agent(Generic[Ctx]):
    """What a session talks to.

    Args:
        model: `provider:model`, such as `anthropic:claude-sonnet-4-5`. Looked up when the first turn begins.
        instructions: The system prompt.
        tools: Functions (decorated with `@tool` or plain) and `Tool`s. Two of one name are refused.
        name: For people; also how stored sessions know their agent.
        settings: Sampling and output limits of model calls.
        limits: Bounds of each turn.
        deadlines: Seconds until phases are given up.
        retry: How failed model calls are tried again.
        restart: When a broken stream may start over: `before_output` (default: never once text was shown) or
            `before_commit` (watchers get `AttemptRestarted` and drop what the failed attempt showed). `run`, which shows
            nothing, always uses `before_commit`.
        parallel_calls: Tool calls of one turn that may run at once.
        stream: Whether providers are asked for streamed responses.
        base_url, api_key: Instead of the provider's usual environment variables.
        store: Where sessions of this agent are journalled (default: in memory, gone with the session).
        runtime: What owns tasks and connections (default: one per event loop).
    """

    def __init__(
        self,
        model: str,
        *,
        instructions: str = "",
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        name: str = "agent",
        settings: ModelSettings = DEFAULT_SETTINGS,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        retry: Retry | None = None,
        restart: Restart = "before_output",
        parallel_calls: int = 16,
        stream: bool = True,
        base_url: str | None = None,
        api_key: str | None = None,
        store: Store | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        if parallel_calls < 1:
            raise config_error(
                "invalid_value", f"Agent(parallel_calls={parallel_calls}) allows no tool to run.", "Use 1 or more."
            )
        self.name = name
        self.model = model
        self.instructions = instructions
        self.tools = _by_name(tools)
        self.settings = settings
        self.limits = limits or Limits()
        self.deadlines = deadlines or Deadlines()
        self.parallel_calls = parallel_calls
        self.runtime = runtime
        self._stream = stream
        self._store = store
        self._base_url, self._api_key = base_url, api_key
        self.retry = retry or Retry()
        self.restart: Restart = restart
        self._handle: ModelHandle | None = None
        self._plans: dict[bool, tuple[Wishes, weakref.ref[Runtime], TurnPlan]] = {}
        self._heads: dict[bool, tuple[ModelHandle, RequestHead, Sealed]] = {}

    def __repr__(self) -> str:
        return f"Agent({self.model!r}, name={self.name!r}, tools={list(self.tools)})"

    def session(
        self,
        *,
        history: Sequence[Message] = (),
        context: Ctx | None = None,
        principal: Principal = LOCAL,
        id: str | None = None,
    ) -> Session[Ctx]:
        """A new conversation. `history` is taken over as it is if it is valid, else mended first (`core.repair`);
        `context` is handed to tools and never journalled."""
        from .seams import SystemClock, Uuid7
        from .session import Session

        runtime = self.runtime
        ids = Uuid7() if runtime is None else runtime.ids
        clock = SystemClock() if runtime is None else runtime.clock
        return Session(
            self,
            id=id or ids.session_id(),
            principal=principal,
            history=history,
            context=context,
            store=self._store,
            at=clock.wall(),
        )

    async def run(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        history: Sequence[Message] = (),
        limits: Limits | None = None,
        stream: bool | None = None,
    ) -> TurnResult:
        """One turn in a new session; see `Session.run`."""
        return await self.session(history=history, context=context).run(prompt, limits=limits, stream=stream)

    def run_sync(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        history: Sequence[Message] = (),
        limits: Limits | None = None,
        stream: bool | None = None,
    ) -> TurnResult:
        """`run` from synchronous code, notebooks included: it runs on Turnwise's own background loop. Ctrl-C interrupts the
        turn. Raises `SessionError` (`sync_in_loop`) from code that runs on that loop itself."""
        from .facade import run_sync

        return run_sync(lambda: self.run(prompt, context=context, history=history, limits=limits, stream=stream))

    # --- for sessions -----------------------------------------------------------------------------------------------

    def plan(self, wishes: Wishes, runtime: Runtime) -> TurnPlan:
        """What a turn runs with. Raises `ConfigError` before any I/O."""
        from .plan import make_plan

        last = self._plans.get(wishes.watched)
        if last is not None and last[0] == wishes and last[1]() is runtime:
            return last[2]
        stream = self._stream if wishes.stream is None else wishes.stream
        kept = self._heads.get(stream)
        if kept is None:
            kept = self._heads[stream] = self._head(runtime, stream)
        plan = make_plan(self, wishes, runtime, *kept)
        if wishes.context is None:
            self._plans[wishes.watched] = wishes, weakref.ref(runtime), plan
        return plan

    def _head(self, runtime: Runtime, stream: bool) -> tuple[ModelHandle, RequestHead, Sealed]:
        """Tools are sorted by name, so that the same agent always sends the same bytes (rule T7)."""
        from ..models.connection import Connection, Model
        from ..models.handle import resolve_model

        handle = self._handle
        if handle is None:
            connection: Connection = {}
            if self._base_url:
                connection["base_url"] = self._base_url
            if self._api_key:
                connection["api_key"] = self._api_key
            handle = self._handle = resolve_model(Model(self.model, **connection), runtime.environ)
        specs = tuple([self.tools[name].spec for name in sorted(self.tools)])
        head = RequestHead(handle.model, self.instructions, specs, self.settings, stream)
        return handle, head, handle.seal(head)


def _by_name(given: Iterable[Tool[..., Any] | Callable[..., Any]]) -> dict[str, Tool[..., Any]]:
    tools: dict[str, Tool[..., Any]] = {}
    for item in given:
        made = cast("Tool[..., Any]", item) if isinstance(item, Tool) else tool(item)
        if made.name in tools:
            raise config_error(
                "duplicate_tool", f"Two tools are named {made.name!r}.", "Give one another name: @tool(name=…)."
            )
        tools[made.name] = made
    return tools

"""An agent: a model, instructions, tools and bounds. Data that sessions run with; it holds no conversation.

The engine (asyncio, sessions, codecs) is loaded with the first session, so that making an agent costs little.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeVar, Unpack, cast, overload

from ..core.compaction import DEFAULT_COMPACTION, Compaction
from ..core.errors import config_error
from ..core.limits import Deadlines, Limits, Restart, Retry
from ..core.loops import DEFAULT_LOOPS, Loops
from ..core.principal import LOCAL, Principal
from ..core.request import DEFAULT_SETTINGS, ModelSettings, RequestHead
from ..core.settings import AGENTS_OWN
from ..models.connection import Connection, Model
from ..models.secrets import mask
from ..tools import Tool, tool
from ..tools.context import Ctx
from .extensions import Extensions

if TYPE_CHECKING:
    from ..core.budgets import Budget
    from ..core.messages import Message
    from ..core.result import TurnResult
    from ..core.store import Journals
    from ..models import catalogue
    from ..models.handle import ModelHandle
    from ..tools.approval import ApprovalPolicy
    from ..tools.output import OutputType
    from .attachments import Prompt
    from .capabilities.capability import Capability
    from .capabilities.composing import Parts
    from .extensions import Registration
    from .kept import Persist
    from .output import OutputStream
    from .plan import Target, TurnPlan, Wishes
    from .reminders import Reminder
    from .runtime import Runtime
    from .session import Session
    from .spending import StopCondition

C = TypeVar("C", bound="Capability")
Questions = Literal["ask", "decline"] | Callable[[Any], Any]
"""Whom the model's questions are put to: people ("ask"), nobody ("decline"), or a function of the `Question` that answers it."""


class Agent(Generic[Ctx]):
    """What a session talks to.

    Args:
        model: `provider:model`, such as `anthropic:claude-sonnet-4-5`, or a `Model`. Looked up when the first turn begins.
        models: Instead of `model`: several, in order of preference. A turn falls back on the next one when the one before is
            overloaded, or fails in a way that may pass and has used up its tries; never after something was committed or,
            with `restart="before_output"`, shown. The next turn begins with the first one again.
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
        loops: When a turn counts as going in circles, and what is done then (default: after three times, an event); None: never.
        compaction: When and how a conversation is made shorter that its model could no longer read (default: when it fills 80 % of
            the window); None: never.
        approvals: Says of each call that could run whether it may: a function of a `ProposedCall` that gives `Allow()`, `Ask(…)`
            (the turn parks until `session.approve` or `deny`) or `Deny(…)`. Whatever goes wrong with it means no. None: all may.
        questions: What becomes of the model's questions (`ask_user`): `ask` (default: the turn parks until `session.answer`), `decline` (the
            model is told that nobody is there), or a function of the `Question` that answers it.
        parallel_calls: Tool calls of one turn that may run at once.
        output_retries: How often a model may correct an answer that is not of the form asked for (`run(…, output=…)`).
        max_recoveries: How often in a row a turn is taken on whose process ended, with no step or call finished in between; then it
            is given up (`crash_loop`).
        stream: Whether providers are asked for streamed responses.
        store: Where sessions of this agent are journalled (default: in memory, gone with the session).
        runtime: What owns tasks and connections (default: one per event loop).
        reminders: What the model is told at the end of each request, made anew each time (`turnwise.reminders`).
        stop_when: Functions that look at each step that asked for tools, when their results are in: true ends the turn there.
        middleware: What is around its turns, model calls and tool calls, outermost first (`turnwise.middleware`).
        plugins: Whether it takes the tools and capabilities of the plugins of the runtime that it runs on (True), or those of which (names).
        overrides: What you know better than the catalogue about its models: prices, context windows (`models.model_info`).
        capabilities: What it can do beside, each with its own instructions, tools, hooks and state (`Capability`); instructions in
            their order behind the agent's. Whatever does not fit together is a `ConfigError` (`capability_conflict`) that names all of it.
        hooks: Functions and objects that watch and steer its sessions (`turnwise.hooks`).
        budgets: What all turns of a session, of this agent, of a user or of a tenant may spend together (`Budget`; docs/limits.md).
        connection: `base_url`, `api_key` and what else a provider wants to know (`Connection`), instead of its environment
            variables. With several models, make a `Model` of the one it is for.
    """

    def __init__(
        self,
        model: str | Model | None = None,
        *,
        models: Sequence[str | Model] = (),
        instructions: str = "",
        tools: Iterable[Tool[..., Any] | Callable[..., Any]] = (),
        name: str = "agent",
        settings: ModelSettings = DEFAULT_SETTINGS,
        limits: Limits | None = None,
        deadlines: Deadlines | None = None,
        retry: Retry | None = None,
        restart: Restart = "before_output",
        loops: Loops | None = DEFAULT_LOOPS,
        compaction: Compaction | None = DEFAULT_COMPACTION,
        approvals: ApprovalPolicy | None = None,
        questions: Questions = "ask",
        parallel_calls: int = 16,
        output_retries: int = 2,
        max_recoveries: int = 3,
        stream: bool = True,
        store: Journals | None = None,
        runtime: Runtime | None = None,
        reminders: Iterable[Reminder] = (),
        stop_when: Iterable[StopCondition] = (),
        overrides: catalogue.Overrides | None = None,
        capabilities: Iterable[Capability] = (),
        hooks: Iterable[object] = (),
        middleware: Iterable[object] = (),
        budgets: Iterable[Budget] = (),
        plugins: bool | Iterable[str] = False,
        **connection: Unpack[Connection],
    ) -> None:
        _check_least(1, "allows no tool to run", parallel_calls=parallel_calls)
        _check_least(0, "means nothing", output_retries=output_retries, max_recoveries=max_recoveries)
        self.name = name
        self.models = _models(model, models, connection)
        self.instructions = instructions
        self.tools = _by_name(tools)
        self.settings = settings
        self.limits = limits or Limits()
        self.deadlines = deadlines or Deadlines()
        self.loops = loops
        self.compaction = compaction
        self.approvals = approvals
        self.questions = _known(questions)
        self.parallel_calls = parallel_calls
        self.output_retries = output_retries
        self.max_recoveries = max_recoveries
        self.runtime = runtime
        self.reminders = tuple(reminders)
        self.stop_when = tuple(stop_when)
        self.overrides = overrides
        self.extensions = Extensions(f"agent:{name}", hooks, middleware)
        self.budgets = tuple(budgets)
        self.plugins = plugins if isinstance(plugins, bool) else _plugins(plugins)
        self.streams = stream
        self.store = store
        self.retry = retry or Retry()
        self.restart: Restart = restart
        self.capabilities: tuple[Capability, ...] = ()
        self.bare: Parts | None = None
        self.bundled: tuple[Extensions, ...] = ()
        self.forget()
        if given := tuple(capabilities):
            from .capabilities.in_agent import install

            install(self, given)

    def forget(self) -> None:
        """Drop what was worked out from the settings, to be worked out anew."""
        self._handles: tuple[ModelHandle, ...] = ()
        self._plans: dict[bool, tuple[Wishes, weakref.ref[Runtime], TurnPlan]] = {}
        self._targets: dict[bool, tuple[weakref.ref[Runtime], tuple[Target, ...]]] = {}
        self.unequipped: Self | None = None  # of one that is equipped with what plugins offer: what it was made of
        self.equipped: tuple[weakref.ref[Runtime], int, Self] | None = None

    def __repr__(self) -> str:
        return mask(f"Agent({self.model!r}, name={self.name!r}, tools={list(self.tools)})")

    @property
    def model(self) -> str:
        """The name of the model that is asked first."""
        return self.models[0].name

    def with_(self, *capabilities: Capability) -> Agent[Ctx]:
        """A new agent: this one with these capabilities, too. Raises `ConfigError` (`capability_conflict`)."""
        from .capabilities.in_agent import with_capabilities

        return with_capabilities(self, capabilities)

    @overload
    def capability(self, which: type[C]) -> C: ...
    @overload
    def capability(self, which: str) -> Capability: ...
    def capability(self, which: str | type[Capability]) -> Capability:
        """The capability of that class or name. Raises `ConfigError` (`unknown_capability`)."""
        from .capabilities.composing import find

        return find(self.capabilities, which, f"Agent {self.name!r}")

    def session(
        self,
        name: str | None = None,
        *,
        resume: bool = False,
        history: Sequence[Message] = (),
        context: Ctx | None = None,
        principal: Principal = LOCAL,
        id: str | None = None,
        title: str = "",
        tags: Iterable[str] = (),
        folder: str = "",
        persist: Persist = "auto",
    ) -> Session[Ctx]:
        """A new conversation; with `resume`, the stored one of this name or id, begun if there is none.

        A session with a name is kept in `Agent.store`, under a name that no other session of the tenant has: without `resume` there
        must be none (`name_taken`). It is looked up at `async with`, or when something is first asked of it; until then it seems
        empty. With `resume` a turn whose process is gone is first continued to its end (`Session.recovered` is its account).

        `history` is taken over as it is if it is valid, else mended first (`core.repair`); `context` is handed to tools and never
        journalled. `title`, `tags` and `folder` are for lists. `persist="never"` keeps the session in memory though the agent has a
        store; see `Session.persist`. For many sessions, and callers that share one, use `Sessions`.
        """
        from .wanted import Wanted, new_session

        wanted = None
        if name is not None or resume:
            if name is None and id is None:
                raise config_error("invalid_value", "resume=True does not say which session.", "Give its name or id.")
            if name is not None and id is not None:
                raise config_error(
                    "conflicting_settings", "A session is looked up by its name or by its id.", "Leave one out."
                )
            wanted = Wanted(name=name, id=id, resume=resume, title=title, tags=tuple(tags), folder=folder)
        return new_session(self, history, context, principal, id, persist, wanted)

    async def run(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        history: Sequence[Message] = (),
        limits: Limits | None = None,
        stream: bool | None = None,
        output: OutputType = None,
        stop_when: Iterable[StopCondition] = (),
    ) -> TurnResult:
        """One turn in a new session; see `Session.run`."""
        session = self.session(history=history, context=context)
        try:
            return await session.run(prompt, limits=limits, stream=stream, output=output, stop_when=stop_when)
        finally:
            await session.hook_close()

    def stream_output(
        self,
        prompt: Prompt,
        output: OutputType,
        *,
        context: Ctx | None = None,
        history: Sequence[Message] = (),
        **options: Any,
    ) -> OutputStream[Any]:
        """One turn in a new session, its answer watched as it grows; see `Session.stream_output`."""
        return self.session(history=history, context=context).stream_output(prompt, output, **options)

    def run_sync(
        self,
        prompt: Prompt,
        *,
        context: Ctx | None = None,
        history: Sequence[Message] = (),
        limits: Limits | None = None,
        stream: bool | None = None,
        output: OutputType = None,
        stop_when: Iterable[StopCondition] = (),
    ) -> TurnResult:
        """`run` from synchronous code, notebooks included: it runs on Turnwise's own background loop. Ctrl-C interrupts the
        turn. Raises `SessionError` (`sync_in_loop`) from code that runs on that loop itself."""
        from .facade import run_sync

        return run_sync(
            lambda: self.run(
                prompt,
                context=context,
                history=history,
                limits=limits,
                stream=stream,
                output=output,
                stop_when=stop_when,
            )
        )

    def add_hook(self, hook: object) -> Registration:
        """A hook of all sessions of this agent, from their next steps on, and what takes it away again; see `turnwise.hooks`. Raises
        `ConfigError` (`bad_hook`, `unknown_point`, `unhonoured_result`)."""
        return self.extensions.register(hook)

    # --- for sessions -----------------------------------------------------------------------------------------------

    def plan(self, wishes: Wishes, runtime: Runtime) -> TurnPlan:
        """What a turn runs with. Raises `ConfigError` before any I/O."""
        last = self._plans.get(wishes.watched)
        if last is not None and last[0] == wishes and last[1]() is runtime:
            return last[2]
        from .plan import make_plan

        if wishes.overrides is not None:
            return make_plan(self, wishes, self._aim(runtime, wishes))
        if wishes.output is not None:
            plan = make_plan(self, wishes, self._aim(runtime, wishes))
            if wishes.context is None:
                self._plans[wishes.watched] = wishes, weakref.ref(runtime), plan
            return plan
        stream = self.streams if wishes.stream is None else wishes.stream
        kept = self._targets.get(stream)
        if kept is None or kept[0]() is not runtime:
            kept = self._targets[stream] = weakref.ref(runtime), self._aim(runtime, wishes)
        plan = make_plan(self, wishes, kept[1])
        if wishes.context is None:
            self._plans[wishes.watched] = wishes, kept[0], plan
        return plan

    def _aim(self, runtime: Runtime, wishes: Wishes) -> tuple[Target, ...]:
        """Tools are sorted by name, so that the same agent always sends the same bytes (rule T7)."""
        from ..models.handle import resolve_model
        from .plan import Overrides, check_extras, target_of

        if not self._handles:
            self._handles = tuple([resolve_model(model, runtime.environ) for model in self.models])
        own = wishes.overrides or Overrides(AGENTS_OWN)
        said = own.settings
        handles = self._handles
        if own.models is not None:
            handles = tuple([resolve_model(model, runtime.environ) for model in own.models])
        tools = self.tools if own.tools is None else own.tools
        specs = tuple([tools[name].spec for name in sorted(tools)])
        stream = next(s for s in (wishes.stream, said.stream, self.streams) if s is not None)
        instructions = self.instructions if own.instructions is None else own.instructions
        head = RequestHead("", instructions, specs, self.settings, stream)
        targets = tuple([target_of(handle, head, runtime, said, wishes.output, self.overrides) for handle in handles])
        check_extras(targets)
        return targets


def _check_least(least: int, otherwise: str, **given: int) -> None:
    for name, number in given.items():
        if number < least:
            raise config_error("invalid_value", f"Agent({name}={number}) {otherwise}.", f"Use {least} or more.")


def _plugins(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str):
        raise config_error(
            "invalid_value", f"Agent(plugins={names!r}) is one string.", f"Write a list of names: [{names!r}]."
        )
    return tuple(names)


def _known(questions: Questions) -> Questions:
    if questions not in ("ask", "decline") and not callable(questions):
        raise config_error("invalid_value", f"Agent(questions={questions!r}) is neither 'ask', 'decline' nor callable.")
    return questions


def _models(model: str | Model | None, models: Sequence[str | Model], connection: Connection) -> tuple[Model, ...]:
    given = [*([] if model is None else [model]), *models]
    if not given:
        raise config_error(
            "invalid_value", "The agent has no model.", 'Name one: Agent("anthropic:claude-sonnet-4-5").'
        )
    if model is not None and models:
        raise config_error(
            "conflicting_settings",
            "Agent was given both model and models.",
            "Put all of them into models, first choice first.",
        )
    if connection and (len(given) > 1 or isinstance(given[0], Model)):
        raise config_error(
            "conflicting_settings",
            f"It is not clear which model {', '.join(connection)} is for.",
            "Pass it to that model: Model(name, ...).",
        )
    return tuple([one if isinstance(one, Model) else Model(one, **connection) for one in given])


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

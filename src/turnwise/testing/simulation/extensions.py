"""What people have added to their agents: hooks at all points and middleware of all kinds, which look on, change, refuse, fail and take their time.

Of each there is one `Extension` in the world, whichever process calls it; what it does next is drawn from the seed, call by call. `Extended` is what a
session with extensions is held to: what they gave in place of what was said, and what may not happen since they have refused it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.compaction import Compaction
from ...core.content import ToolCall
from ...core.errors import ErrorInfo, ProviderError
from ...core.messages import AssistantMessage
from ...core.outcomes import OK, ToolResult
from ...core.state import SessionState
from ...hooks import Cancel, HookContext, Modify, Redirect, Replace, Retry, hook
from ...middleware import (
    ModelResponse,
    TextDelta,
    cache,
    circuit_breaker,
    concurrency,
    guardrail,
    log,
    metrics,
    middleware,
    rate_limit,
    redact,
    validate,
)
from .journals import Violation
from .loop import SimulatedLoop
from .plan import ExtensionPlan, SessionPlan

if TYPE_CHECKING:
    from ...middleware import DecoderEvent, ModelRequest, ToolRequest, TurnRequest
    from .provider import Said
    from .world import World

CHAIN_S = 10.0
"""How long a chain of hooks may take."""
LATE_S = 0.06
"""How much later than its time a hook that is told to end may still be at it."""
Where = tuple[str, int, int]
"""A session, a turn and a step."""


def model_name(api: str) -> str:
    """As its agent calls it."""
    from .process import MODELS

    return f"{api}:{MODELS[api][1]}"


class Trouble(Exception):
    """What an extension raises."""


class Given(msgspec.Struct, frozen=True):
    """An answer that no provider gave: its text, or what becomes of the provider's; `calls` are (name, arguments), None for those that the provider asked for."""

    text: str | None = None
    calls: tuple[tuple[str, str], ...] | None = None
    louder: bool = False

    def louder_too(self) -> Given:
        """The same when another one around it has made it louder."""
        return self if self.text is None else msgspec.structs.replace(self, text=self.text.upper())

    def fits(self, message: AssistantMessage, said: Said | None) -> bool:
        """Whether this is what the message says."""
        told = "" if said is None else said.answer.text
        wanted = self.text if self.text is not None else told.upper() if self.louder else told
        if message.text != wanted:
            return False
        if self.calls is None:
            return said is not None and len(message.tool_calls) == len(said.answer.calls)
        return tuple([(call.name, call.arguments) for call in message.tool_calls]) == self.calls


class Extended:
    """A session with extensions. `acted` counts what they did, by kind."""

    def __init__(self, world: World, plan: SessionPlan) -> None:
        self.world = world
        self.name = plan.name
        self.apis = plan.apis
        self.every = [Extension(self, one) for one in plan.extensions]
        self.given: dict[Where, list[Given]] = {}
        self.refused: dict[Where, str] = {}
        """Steps whose answer may not be taken, since this hook has refused it."""
        self.blocked: dict[tuple[str, str, str], str] = {}
        """Calls that may not run in a process, since this hook or middleware has refused them."""
        self.unsent: dict[str, tuple[int, int, int, str]] = {}
        """The turn, step and attempt of each session that no request may be sent for, since this hook has refused it."""
        self.repeats: set[str] = set()
        """Calls that a hook wants to run again."""
        self.closed: dict[tuple[int, str], float] = {}
        """Sessions that were closed in a process, and when: no hook may be asked about them there until they are opened. Chains that only watch go on."""
        self.caches = False
        self._texts = {answer.text for turn in plan.turns for answer in turn.answers}
        """What may come out of a cache."""
        self._texts |= {text.upper() for text in self._texts} | {"So be it.", "SO BE IT."}
        self._numbered = 0

    def hooks(self) -> list[Any]:
        """Those of the agent, for a new process."""
        return [one.as_hook() for one in self.every if one.plan.is_hook]

    def middleware(self) -> list[Any]:
        """The same."""
        return [one.as_middleware() for one in self.every if not one.plan.is_hook]

    def another(self, plan: ExtensionPlan) -> Extension:
        """A hook that is registered in the middle of a session."""
        self._numbered += 1
        return Extension(self, msgspec.structs.replace(plan, name=f"{plan.name}-{self._numbered}"))

    # --- what follows -------------------------------------------------------------------------------------------------

    def gives(self, where: Where, given: Given) -> None:
        self.given.setdefault(where, []).append(given)

    def gave(self, session: str, message: AssistantMessage, said: Said | None) -> bool:
        """Whether an extension gave this answer; else it must be what the provider said."""
        where = session, message.turn, message.step
        if (by := self.refused.get(where)) is not None:
            raise Violation("H2", f"{self.name}: {message.turn}.{message.step} is committed, and {by} has refused it")
        given = self.given.get(where, ())
        louder = any(one.louder for one in given)
        if any(one.fits(message, said) or (louder and one.louder_too().fits(message, said)) for one in given):
            if self.caches:
                self._texts.add(message.text)
            return True
        usage = message.usage
        return self.caches and (usage is None or usage.provenance == "unsent") and message.text in self._texts

    def other_model(self, draw: Random) -> str:
        """The name of a model of the agent's."""
        return model_name(draw.choice(self.apis))

    def asks(self, state: SessionState) -> None:
        """A request is sent for a session in this state."""
        refused, turn = self.unsent.get(state.id), state.turn
        if refused is not None and turn is not None and refused[:3] == (turn.number, turn.step, turn.attempt):
            what = f"attempt {turn.number}.{turn.step}.{turn.attempt} is sent, and {refused[3]} has refused it"
            raise Violation("H2", f"{self.name}: {what}")

    def begins(self, process: str, session: str, call_id: str) -> None:
        """The body of a call begins."""
        if (by := self.blocked.get((process, session, call_id))) is not None:
            raise Violation("H2", f"{self.name}: {call_id} runs, and {by} has refused it")


class Extension:
    """One hook or middleware of a session, in whatever process. `live` until it is taken away."""

    def __init__(self, of: Extended, plan: ExtensionPlan) -> None:
        self.of = of
        self.plan = plan
        self.live = True
        self._world = of.world
        self._draw = of.world.draw(f"extension/{of.name}/{plan.name}")

    def note(self, what: str) -> None:
        self._world.extended_acts(self.of.name, self.plan.name, self.plan.kind, what)

    # --- hooks --------------------------------------------------------------------------------------------------------

    def as_hook(self) -> Any:
        """The hook as it is registered."""
        plan = self.plan
        options: dict[str, Any] = {
            "priority": plan.priority,
            "fail": plan.fail,
            "timeout_s": plan.timeout_s,
            "id": plan.name,
        }
        if plan.manner == "async":

            async def waits(context: HookContext) -> Any:
                return await self._waits(context)

            return hook(plan.kind, **options)(waits)
        if plan.manner == "blocking":

            def blocks(context: HookContext) -> Any:
                return self._answers(context, self._called(context, in_thread=True))

            return hook(plan.kind, blocking=True, **options)(blocks)

        def at_once(context: HookContext) -> Any:
            return self._answers(context, self._called(context))

        if plan.manner == "sync":
            return hook(plan.kind, **options)(at_once)
        return _object(plan, at_once)

    def _called(self, context: HookContext, *, in_thread: bool = False) -> str:
        """It is called: may it be, and what does it do?"""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        of, plan = self.of, self.plan
        if not self.live and not in_thread:
            raise self._broken("H4", "is called after it was taken away")
        begun = context.shared.setdefault("begun", loop.time())
        closed_at = of.closed.get((loop.home.number, context.session))
        goes_on = context.point in _WATCHING and (in_thread or closed_at is None or begun <= closed_at)
        if closed_at is not None and not goes_on:
            raise self._broken("H4", f"is called at {context.point} after {context.session} was closed")
        if loop.time() > begun + CHAIN_S and not loop.stood_still:
            raise self._broken("H2", f"is called {loop.time() - begun:g} s after its chain has begun")
        self._forget(context, loop)
        draw = self._draw
        what = draw.choice(_TROUBLE[plan.manner]) if draw.random() < plan.trouble else ""
        if not what and draw.random() < plan.acts:
            what = draw.choice(_ACTS.get(plan.kind, ("unhonoured",)))
        self.note(what or "pass")
        return what

    def _forget(self, context: HookContext, loop: SimulatedLoop) -> None:
        """What it said before of the same thing counts no more."""
        of, by = self.of, self.plan.name
        if (
            context.point == "tool.before"
            and of.blocked.get(key := (loop.home.name, context.session, context.call_id)) == by
        ):
            del of.blocked[key]
        if context.point == "step.before":
            of.unsent.pop(context.session, None)
        if context.point in ("step.before", "step.after"):
            of.refused.pop((context.session, context.turn, context.step), None)

    def _broken(self, rule: str, what: str) -> Trouble:
        """A violation seen from within a hook, whose exceptions are caught."""
        self._world.fail(Violation(rule, f"{self.of.name}: {self.plan.name} ({self.plan.kind}) {what}"))
        return Trouble(what)

    async def _waits(self, context: HookContext) -> Any:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        what, asked_at, limit_s = self._called(context), loop.time(), self.plan.timeout_s
        if what in ("hang", "deaf"):
            self._no(context)
            try:
                await loop.create_future()
            except asyncio.CancelledError:
                if loop.time() > asked_at + limit_s + LATE_S and not (loop.stood_still or loop.dropped):
                    raise self._broken(
                        "H2", f"has {limit_s:g} s, and {loop.time() - asked_at:g} s later is told to end"
                    ) from None
                if what == "hang" or loop.dropped:
                    raise
                await asyncio.sleep(self._draw.choice((0.01, 1.0)))
                return None
        if what == "late":
            self._no(context)
            await asyncio.sleep(limit_s * 3)
            return None
        if self._draw.random() < 0.5:
            await asyncio.sleep(self._draw.choice((0.0, 0.001, 0.3, limit_s / 2)))
        return self._answers(context, what)

    def _answers(self, context: HookContext, what: str) -> Any:
        """Do it: give the result, or raise."""
        if what == "":
            return None
        if what == "raise":
            self._no(context)
            raise Trouble("it is out of order")
        if what in ("strange", "unhonoured"):
            self._no(context)
            return "yes" if what == "strange" else Replace("no") if self.plan.kind not in _REPLACES else Strange()
        return _POINTS[self.plan.kind](self, context, what)

    def _no(self, context: HookContext) -> None:
        """It fails: if it fails closed, what it was asked about does not happen."""
        if self.plan.fail == "closed":
            self.refuse(context)

    def refuse(self, context: HookContext) -> None:
        """What it was asked about does not happen."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        is_late = self.plan.manner == "blocking" and self.plan.timeout_s <= SLOWEST_S and self.plan.fail == "open"
        if loop.stood_still or is_late:
            return  # its time may have run out meanwhile
        if context.point == "tool.before":
            self.of.blocked[loop.home.name, context.session, context.call_id] = self.plan.name
        elif context.point == "step.before":
            self.of.unsent[context.session] = context.turn, context.step, context.attempt, self.plan.name
        elif context.point == "step.after":
            self.of.refused[context.session, context.turn, context.step] = self.plan.name

    def draw(self) -> Random:
        return self._draw

    # --- middleware ---------------------------------------------------------------------------------------------------

    def as_middleware(self) -> Any:
        """The middleware as it is given to an agent."""
        return _MIDDLEWARE[self.plan.kind](self)

    def does(self, kinds: tuple[str, ...]) -> str:
        """What it does with this call."""
        draw = self._draw
        what = draw.choice(kinds) if draw.random() < self.plan.acts else ""
        self.note(what or "pass")
        return what

    async def dawdle(self) -> None:
        await asyncio.sleep(self._draw.choice((0.0, 0.01, 0.5, 3.0)))


SLOWEST_S = 0.5
"""The longest that a function waits for its thread."""


class Strange:
    """What is no result of a hook."""


def _object(plan: ExtensionPlan, call: Callable[[HookContext], Any]) -> object:
    """A hook as an object with a method."""

    def called(_: object, context: HookContext) -> Any:
        return call(context)

    methods: dict[str, Any] = {
        "id": plan.name,
        "priority": plan.priority,
        "fail": plan.fail,
        "timeout_s": plan.timeout_s,
        plan.kind.replace(".", "_"): called,
    }
    return type("Hooks", (), methods)()


_WATCHING = ("turn.after", "error", "approval.answered")
"""Points whose chains a session does not wait for."""
_TROUBLE = {
    "async": ("raise", "hang", "hang", "deaf", "late", "strange", "unhonoured"),
    "sync": ("raise", "raise", "strange", "unhonoured"),
    "blocking": ("raise", "strange"),
    "object": ("raise", "unhonoured"),
}
_REPLACES = ("step.before", "tool.before", "tool.error")

# --- what hooks say ---------------------------------------------------------------------------------------------------

_ACTS: dict[str, tuple[str, ...]] = {
    "turn.before": ("modify", "modify", "cancel"),
    "step.before": (
        "remind",
        "instruct",
        "settings",
        "replace",
        "replace_call",
        "cancel",
        "retry",
        "redirect",
        "nowhere",
    ),
    "step.after": ("modify", "modify", "cancel", "retry"),
    "tool.before": (
        "modify",
        "modify",
        "unfit",
        "replace",
        "huge",
        "malformed",
        "cancel",
        "cancel",
        "redirect",
        "nowhere",
    ),
    "tool.after": ("modify", "modify", "huge", "retry"),
    "tool.error": ("modify", "replace", "retry"),
    "compaction.before": ("modify", "cancel"),
    "approval.requested": ("modify", "cancel"),
}


def _turn_before(one: Extension, context: HookContext, what: str) -> Any:
    if what == "cancel":
        return Cancel("not now")
    return Modify(f"{context.value} Please.") if isinstance(context.value, str) else None


def _step_before(one: Extension, context: HookContext, what: str) -> Any:
    asked, where, draw = context.value, (context.session, context.turn, context.step), one.draw()
    change = msgspec.structs.replace
    match what:
        case "remind":
            return Modify(change(asked, reminder="Be quick."))
        case "instruct":
            return Modify(change(asked, instructions=f"{asked.instructions} Be {draw.choice(('kind', 'terse'))}."))
        case "settings":
            return Modify(change(asked, settings=change(asked.settings, max_output_tokens=3000)))
        case "replace":
            one.refuse(context)
            one.of.gives(where, Given("A hook says so.", ()))
            return Replace("A hook says so.")
        case "replace_call":
            arguments = '{"does":"ok","for_s":0.1,"n":5}'
            one.of.gives(where, Given("", (("look", arguments),)))
            one.refuse(context)
            return Replace([ToolCall("made-up", "look", arguments)])
        case "cancel":
            one.refuse(context)
            return Cancel("enough")
        case "retry":
            one.refuse(context)
            return Retry(draw.choice((None, 0.0, 1.0)))
        case "redirect":
            return Redirect(one.of.other_model(draw))
        case _:
            return Redirect("nowhere:at-all")


def _step_after(one: Extension, context: HookContext, what: str) -> Any:
    message: AssistantMessage = context.value
    match what:
        case "modify":
            where = context.session, message.turn, message.step
            one.of.gives(where, Given("Put otherwise.", ()))
            one.of.world.revised(context.session, where[1:])
            return Modify("Put otherwise.")
        case "cancel":
            one.refuse(context)
            return Cancel("not that")
        case _:
            one.refuse(context)
            return Retry(one.draw().choice((None, 0.5)))


def _tool_before(one: Extension, context: HookContext, what: str) -> Any:
    draw = one.draw()
    match what:
        case "modify":
            if '"n"' not in context.value.raw_arguments:
                return None
            return Modify(context.value.with_arguments(n=draw.randrange(1000)))
        case "unfit":
            if '"n"' not in context.value.raw_arguments:
                return None
            one._no(context)  # pyright: ignore[reportPrivateUsage]
            return Modify(context.value.with_arguments(does=7)) if context.value.name != "outside" else None
        case "replace" | "huge" | "malformed":
            one.refuse(context)
            return Replace({"replace": "done by a hook", "huge": "ß" * 5000, "malformed": Strange()}[what])
        case "cancel":
            one.refuse(context)
            return Cancel("not allowed")
        case "redirect":
            return Redirect(
                draw.choice(("look", "work", "danger", "again", "block")), {"does": "ok", "for_s": 0.1, "n": 4}
            )
        case _:
            one.refuse(context)
            return Redirect("no_such_tool")


def _tool_after(one: Extension, context: HookContext, what: str) -> Any:
    match what:
        case "retry":
            one.of.repeats.add(context.call_id)
            return Retry(one.draw().choice((None, 0.1)))
        case "replace":
            return Replace("all is well")
        case "huge":
            return Modify("ü" * 5000)
        case _:
            return Modify("seen by a hook")


def _compaction_before(one: Extension, context: HookContext, what: str) -> Any:
    if what == "cancel":
        return Cancel("keep all")
    return Modify(Compaction(at=0.7, to=0.4))


def _approval(one: Extension, context: HookContext, what: str) -> Any:
    if what == "cancel":
        return Cancel("nobody is asked")
    return Modify(msgspec.structs.replace(context.value, reason="A hook asks.", expires_in_s=500.0))


_POINTS: dict[str, Callable[[Extension, HookContext, str], Any]] = {
    "turn.before": _turn_before,
    "step.before": _step_before,
    "step.after": _step_after,
    "tool.before": _tool_before,
    "tool.after": _tool_after,
    "tool.error": _tool_after,
    "compaction.before": _compaction_before,
    "approval.requested": _approval,
}


# --- what middleware does ---------------------------------------------------------------------------------------------


def _around_turns(one: Extension) -> Any:
    @middleware("turn")
    async def turn(request: TurnRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(("wait", "wait", "context", "prompt", "raise", "raise_after", "wait_after", "answer"))
        match what:
            case "wait":
                await one.dawdle()
            case "prompt" if isinstance(request.prompt, str):
                request = request.replace(prompt=f"{request.prompt} Kindly.")
            case "raise":
                raise Trouble("no turn today")
            case "answer":
                return None
            case _:
                pass
        result = await next(request)
        if what == "wait_after":
            await asyncio.sleep(one.draw().choice((0.01, 1.0, 8.0)))
        if what == "raise_after":
            raise Trouble("that was no good")
        return result

    return turn


def _around_models(one: Extension) -> Any:
    @middleware("model")
    async def model(request: ModelRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(
            (
                "wait",
                "louder",
                "louder",
                "slowly",
                "look",
                "tail",
                "instruct",
                "raise",
                "overloaded",
                "raise_after",
                "abort",
                "answer",
                "read",
            )
        )
        where = request.session, request.turn, request.step
        match what:
            case "wait":
                await one.dawdle()
            case "tail":
                request = request.replace(tail="<reminder>Be quick.</reminder>")
            case "instruct":
                request = request.replace(instructions=f"{request.instructions} Be kind.")
            case "raise":
                raise Trouble("nothing is asked today")
            case "overloaded":
                raise ProviderError(ErrorInfo("provider", "overloaded", "Too much.", "Later.", retryable=True))
            case "answer":
                one.of.gives(where, Given("A middleware says so.", ()))
                return ModelResponse.text("A middleware says so.")
            case _:
                pass
        response: ModelResponse = await next(request)
        match what:
            case "louder":
                one.of.gives(where, Given(louder=True))
                return response.through(_louder)
            case "slowly":
                return response.through(_slowly)
            case "look":
                return response.at_end(lambda ended: one.note(f"ended {ended.stop_reason}"))
            case "raise_after":
                raise Trouble("no answer is good enough")
            case "abort":
                response.abort(ProviderError(ErrorInfo("provider", "overloaded", "Enough.", "Later.", retryable=True)))
                return response
            case "read":
                return ModelResponse.of([event async for event in response.events()])
            case _:
                return response

    return model


async def _louder(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        yield msgspec.structs.replace(event, text=event.text.upper()) if isinstance(event, TextDelta) else event


async def _slowly(events: AsyncIterator[DecoderEvent]) -> AsyncIterator[DecoderEvent]:
    async for event in events:
        await asyncio.sleep(0.02)
        yield event


def _around_tools(one: Extension) -> Any:
    @middleware("tool")
    async def tool(request: ToolRequest, next: Callable[[Any], Awaitable[Any]]) -> Any:
        what = one.does(("wait", "wait", "raise", "raise_after", "answer", "change", "hang"))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimulatedLoop)
        key = loop.home.name, request.session, request.call_id
        one.of.blocked.pop(key, None)
        if what in ("raise", "answer", "hang"):
            one.of.blocked[key] = one.plan.name
        match what:
            case "wait":
                await one.dawdle()
            case "raise":
                raise Trouble("no tools today")
            case "answer":
                return ToolResult(request.call_id, "in its place", OK)
            case "hang":
                await loop.create_future()
            case _:
                pass
        result: ToolResult = await next(request)
        if what == "raise_after":
            raise Trouble("that was no good")
        if what == "change":
            return msgspec.structs.replace(result, body="changed")
        return result

    return tool


def _cached(one: Extension) -> Any:
    one.of.caches = True
    return cache(ttl_s=600.0, stale_while_error_s=3000.0, scope="session")


def _guarded(one: Extension) -> Any:
    on = one.draw().choice(("input", "output", "tool"))

    async def check(text: str, request: Any) -> str | None:
        await one.dawdle()
        what = one.does(("trip", "raise"))
        if what == "raise":
            raise Trouble("it cannot be checked")
        return "that will not do" if what else None

    return guardrail(
        one.plan.name,
        check,
        on=on,
        parallel=one.draw().random() < 0.5,
        every_chars=one.draw().choice((None, 10)),
        ends_turn=one.draw().random() < 0.5,
        timeout_s=2.0,
        fail=one.plan.fail,
    )


_MIDDLEWARE: dict[str, Callable[[Extension], Any]] = {
    "turn": _around_turns,
    "model": _around_models,
    "tool": _around_tools,
    "cache": _cached,
    "guardrail": _guarded,
    "rate_limit": lambda one: rate_limit(20, max_wait_s=one.draw().choice((None, 2.0)), per="session"),
    "concurrency": lambda one: concurrency(2, per="session", of=("model", "tool")),
    "redact": lambda one: redact(secrets=["lomi", "kakaka", "done"], from_environment=False),
    "validate": lambda one: validate(output={"type": "string"}, on="tool", tools=("look",)),
    "circuit_breaker": lambda one: circuit_breaker(least=3, open_s=20.0),
    "metrics": lambda one: metrics(),
    "log": lambda one: log(_QUIET),
}
_QUIET = logging.Logger("turnwise.simulation", logging.CRITICAL)

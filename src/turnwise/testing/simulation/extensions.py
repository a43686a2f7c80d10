"""What people have added to their agents: hooks at all points and middleware of all kinds, which look on, change, refuse, fail and take their time.

Of each there is one `Extension` in the world, whichever process calls it; what it does next is drawn from the seed, call by call. What hooks say is
here, what middleware does in `around`, and what a session with them is held to in `extended`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.compaction import Compaction
from ...core.content import ToolCall
from ...core.messages import AssistantMessage
from ...hooks import Cancel, HookContext, Modify, Redirect, Replace, Retry, hook
from .around import MIDDLEWARE
from .given import Given, Trouble
from .journals import Violation
from .loop import SimulatedLoop
from .plan import ExtensionPlan

if TYPE_CHECKING:
    from .extended import Extended

CHAIN_S = 10.0
"""How long a chain of hooks may take."""
LATE_S = 0.06
"""How much later than its time a hook that is told to end may still be at it."""


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
            if loop.stood_still:
                self._forget(context, loop)  # who asked may not have noticed
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
        return MIDDLEWARE[self.plan.kind](self)

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

"""People: each has one session, says what the plan has for them, turn by turn, and does other things beside.

A person outlives the processes: when theirs is dropped, they go on in the next one with the turn after. What they may meet (an interrupted turn, a
provider's error, a store that fails) is no violation; what they see must be as the rules have it, and come in time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING, Any

from ...core.errors import SessionBusy, SessionClosed, SessionError, TurnwiseError
from ...core.limits import Limits
from ...core.result import TurnResult
from ...core.step import Step
from ...runtime.follow_ups import FollowUp
from ...runtime.history_ops import Move
from ...runtime.mailbox import WatchPolicy
from ...runtime.opening import open_stored
from ...runtime.session import Session
from ...runtime.turn import Turn
from . import acts
from .journals import Journal, Violation
from .loop import SimulatedLoop
from .plan import Act, SessionPlan, TurnPlan
from .watching import Eyes

if TYPE_CHECKING:
    from .process import Process
    from .world import World

_UNSEEN = ("run", "follow_up", "continue", "regenerate")
"""How turns are taken of which nobody sees a half answer."""
TURN_S = 900.0
"""Within this time each turn must be over, whatever happens: its own deadline, a store that is slow, and time for leases to run out."""
MAX_RESUMES = 6
MAX_WATCHERS = 2
"""Watchers of one session at a time: each of them costs what the turn itself does."""


class Person:
    """`at` is the number of turns begun; `doing` says what, for reports."""

    def __init__(self, world: World, plan: SessionPlan) -> None:
        self.world = world
        self.plan = plan
        self.at = 0
        self.doing = "nothing"
        self.done = False
        self.process: Process | None = None
        self.session: Session[Any] | None = None
        self.session_id: str | None = None
        self.turn: TurnPlan | None = None
        self.life: asyncio.Task[Any] | None = None
        self.running: asyncio.Task[Any] | None = None
        self.beside: list[asyncio.Task[Any]] = []
        self.watching: list[asyncio.Task[Any]] = []
        self.eyes: list[Eyes] = []
        self.draw = Random(0)
        self._armed: list[Act] = []
        self._phases: dict[str, int] = {}

    @property
    def journal(self) -> Journal:
        assert self.session_id is not None
        return self.world.journal(self.session_id)

    def where(self) -> str:
        """Where they wait, for reports."""
        tasks = [self.life, self.running, *self.beside, *self.watching]
        return "; ".join([where_it_waits(task) for task in tasks if task is not None and not task.done()])

    def session_here(self) -> Session[Any] | None:
        """The session in the process that is running now."""
        loop = asyncio.get_running_loop()
        sessions = loop.home.sessions if isinstance(loop, SimulatedLoop) else None
        return self.session if sessions is None or self.session_id is None else sessions.get(self.session_id)

    # --- from turn to turn ----------------------------------------------------------------------------------------------

    async def live(self, process: Process) -> None:
        """Say what is left to be said, in this process."""
        self.world.bury(self.life, self.running, self.beside, self.watching, self.session)
        self.process, self.session, self.turn = process, None, None
        self.life = asyncio.current_task()
        self.beside, self.watching, self.eyes, self._armed = [], [], [], []
        try:
            await self._open()
            while self.at < len(self.plan.turns):
                turn = self.plan.turns[self.at]
                self.at += 1
                await self._take(turn)
            self.doing = "leaving"
            await self._leave()
            self.done = True
        except Violation as violation:
            self.world.fail(violation)
        except Exception as error:
            if not process.loop.dropped:
                self.world.fail(
                    Violation("unexpected", f"{self.plan.name}, {self.doing}: {type(error).__name__}: {error}")
                )

    async def _open(self) -> None:
        process = self.process
        assert process is not None
        self.doing = "opening"
        agent = process.agents[self.plan.name]
        if process.sessions is None:
            id = self.session_id or self.world.session_id()
            self._known(id)
            if (extended := self.world.extended.get(self.plan.name)) is not None:
                extended.closed.pop((process.number, id), None)
            context = self.world.ledger
            if self.journal.entries:
                self.session = await open_stored(
                    agent, id, store=process.store, runtime=process.runtime, context=context
                )
            else:
                self.session = agent.session(id=id, context=context)
        else:
            while True:
                try:
                    self.session = await process.sessions.open(self.plan.name, agent=agent, context=self.world.ledger)
                    break
                except TurnwiseError as error:
                    acts.expected(self, error)
                    await asyncio.sleep(1.0)
            self._known(self.session.id)
        if self.plan.window is not None and self.session.settings.context_limit != self.plan.window:
            await acts.patiently(self, lambda session: session.set(context_limit=self.plan.window))

    def _known(self, id: str) -> None:
        self.session_id = id
        self.world.names[id] = self.plan.name

    async def _take(self, turn: TurnPlan) -> None:
        loop = self._loop()
        if turn.pause_s:
            await asyncio.sleep(turn.pause_s)
        self.turn, self.draw = turn, self.world.draw(f"{self.plan.name}/{turn.number}/{self.at}")
        self.world.begin_turn(self.plan.name, turn)
        self._armed, self._phases = list(turn.acts), {}
        if turn.watch:
            self.watch(turn.watch, self.draw)  # type: ignore[arg-type]
        self.doing = turn.how
        self.cancels = 0
        running: asyncio.Task[None] = loop.create_task(self._turn(turn))
        self.running = running
        await asyncio.wait((running,))
        if not running.cancelled():
            running.result()
            if self.cancels:
                raise Violation("C3", f"{self.plan.name}: turn {turn.number} ({turn.how}) was cancelled, and went on")
        self.running = None
        self.doing = "idle acts"
        self.phase_is("idle")
        for task in self.beside:
            await asyncio.wait((task,))
        self.beside = []
        self.world.reach.turns += 1

    def _late(self, turn: TurnPlan) -> None:
        where = f"{self.plan.name}: turn {turn.number} ({self.doing})"
        waits = "" if self.running is None else where_it_waits(self.running)
        self.world.fail(Violation("liveness", f"{where} is not over after {TURN_S:g} s; it waits in {waits}"))

    async def _leave(self) -> None:
        self._armed = []
        for task in self.beside:
            await asyncio.wait((task,))
        if self.session is not None:
            await self._close(self.session)
        for task in self.watching:
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()

    def _loop(self) -> Any:
        assert self.process is not None
        return self.process.loop

    # --- one turn -----------------------------------------------------------------------------------------------------

    async def _turn(self, turn: TurnPlan) -> None:
        """The turn, resumed while it is parked, and whatever it meets."""
        await acts.free(self)
        opening: Any = f"Say {turn.number}."
        if turn.how == "continue":
            opening = Move.CONTINUE
        elif turn.how == "regenerate":
            opening = Move.REGENERATE
        limits = Limits(
            steps=turn.steps,
            calls=turn.calls,
            tokens=turn.tokens,
            wall_time_s=turn.wall_time_s,
            on_limit=turn.on_limit,
        )
        for _ in range(MAX_RESUMES):
            alarm = self._loop().call_later(TURN_S, self._late, turn)
            try:
                result = await self._once(turn, opening, limits)
            finally:
                alarm.cancel()
            if result is None or result.reason != "parked":
                break
            await acts.settle_pending(self)
            opening, limits = Move.RESUME, None
        await acts.free(self)

    async def _once(self, turn: TurnPlan, opening: Any, limits: Limits | None) -> TurnResult | None:
        """One driving of the turn; None if it did not come to begin, or was left."""
        session = self.session
        assert session is not None
        options: dict[str, Any] = {} if limits is None else {"limits": limits}
        if not turn.streamed:
            options["stream"] = False
        if turn.stops_after is not None and turn.how != "steps":
            options["stop_when"] = [_StopAfter(turn.stops_after)]
        seen = self.plan.restart == "before_output" and turn.how not in _UNSEEN
        self.journal.seen_input = f"Say {turn.number}." if seen else ""
        try:
            match turn.how:
                case "stream" | "slow_stream":
                    return await self._stream(
                        session.stream(opening, **options), 0.3 if turn.how == "slow_stream" else 0.0
                    )
                case "channel":
                    return await self._channel(session, opening, options)
                case "steps":
                    return await self._steps(session, opening, options)
                case "follow_up" if isinstance(opening, str):
                    options.pop("stream", None)
                    options.pop("stop_when", None)
                    return await self._follow_up(await session.follow_up(opening, **options))
                case _:
                    return await session.run(opening, **options)
        except TurnwiseError as error:
            acts.expected(self, error)
            return None

    cancels = 0

    def cancel(self) -> None:
        """Cancel the task that waits for the turn, as a caller's caller would."""
        if self.running is not None and not self.running.done() and not self.cancels:
            self.cancels += 1
            self.running.cancel()

    async def reopen(self) -> None:
        """Close the session, and come back to it."""
        session, process = self.session, self.process
        assert session is not None and process is not None
        await self._close(session)
        await self._open()

    async def _close(self, session: Session[Any]) -> None:
        """Close it; who watches must have all that was told by then, and what was on its way into the journal unless that took too long."""
        loop, due = self._loop(), session.state.seq
        patient_until = loop.time() + session.agent.deadlines.grace_s
        await session.close()
        if session.lost is not None or session.owes or loop.time() >= patient_until:
            due = session.told
        for eyes in self.eyes:
            eyes.until = max(due, session.told)
        self.eyes = []
        extended, process = self.world.extended.get(self.plan.name), self.process
        if extended is not None and process is not None and process.sessions is None:
            extended.closed[process.number, session.id] = process.loop.time()

    def watch(self, policy: WatchPolicy, draw: Random) -> None:
        """Watch the session beside: from now on or from some entry on, to its end or for a while, at once or slowly."""
        session = self.session
        assert session is not None
        if sum([not task.done() for task in self.watching]) >= MAX_WATCHERS:
            return
        journal, buffer = self.journal, draw.choice((1, 2, 8, 64))
        after = draw.choice((None, None, draw.randint(0, session.told)))
        told = session.told  # joining may make the pump read, and so the journal grow
        watcher = session.watch(policy, buffer=buffer, after=after)
        eyes = Eyes(journal, f"a watcher of {self.plan.name} ({policy}, {buffer})", told if after is None else after)
        self.eyes.append(eyes)
        every_s = draw.choice((0.0, 0.0, 0.02, 1.0)) if policy != "block" else draw.choice((0.0, 0.01))
        until = draw.choice((None, None, 5, 40))
        self.watching.append(self._loop().create_task(acts.look(self, watcher, eyes, every_s, until)))

    async def _stream(self, turn: Turn, every_s: float) -> TurnResult | None:
        async with turn:
            eyes = Eyes(self.journal, f"{self.plan.name}'s stream")
            async for event in turn:
                eyes.see(event)
                if every_s:
                    await asyncio.sleep(every_s)
                if self.leaving:
                    self.leaving = False
                    return None
            eyes.ended()
        return turn.result

    leaving = False

    async def _channel(self, session: Session[Any], opening: Any, options: dict[str, Any]) -> TurnResult | None:
        async with session.channel(opening, buffer=4, **options) as (channel, handle):
            eyes = Eyes(self.journal, f"{self.plan.name}'s channel")
            async for event in _events(channel):
                eyes.see(event)
            eyes.ended()
            return await handle.result()

    async def _steps(self, session: Session[Any], opening: Any, options: dict[str, Any]) -> TurnResult | None:
        assert self.turn is not None
        async with session.steps(opening, **options) as steps:
            after = self.turn.stops_after
            stopping = None if after is None else self._loop().call_later(0.3 * after, steps.stop, "enough")
            try:
                async for _ in steps:
                    await asyncio.sleep(0.01)
            finally:
                if stopping is not None:
                    stopping.cancel()
        return steps.result

    async def _follow_up(self, handle: FollowUp) -> TurnResult | None:
        """Its account; what waits behind a turn that did not end well is not waited for for ever."""
        while not handle.over:
            if handle.waiting and self.session is not None and not self.session.running:
                await handle.cancel()
                return None
            await asyncio.sleep(1.0)
        return await handle.result()

    # --- beside -------------------------------------------------------------------------------------------------------

    def phase_is(self, phase: str) -> None:
        """The machine has come into a phase: what was to be done then is begun."""
        if not self._armed:
            return
        nth = self._phases[phase] = self._phases.get(phase, 0) + 1
        process = self.process
        if process is None or process.loop.dropped or process.closing:
            return
        for act in [one for one in self._armed if one.phase == phase and one.nth <= nth]:
            self._armed.remove(act)
            self.beside.append(process.loop.create_task(self._act(act)))

    async def _act(self, act: Act) -> None:
        if act.after_s:
            await asyncio.sleep(act.after_s)
        loop = self._loop()
        self.world.trace.note(loop.time(), self.plan.name, f"does {act.what}")
        try:
            await acts.do(self, act)
        except (SessionBusy, SessionClosed, SessionError, TurnwiseError) as error:
            acts.expected(self, error)
        except Violation as violation:
            self.world.fail(violation)
        except Exception as error:
            if not loop.dropped:
                self.world.fail(
                    Violation("unexpected", f"{self.plan.name}, {act.what}: {type(error).__name__}: {error}")
                )


class _StopAfter:
    """A condition to stop. Two of one number are the same, so that the agent makes no new plan for each."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, step: Step) -> bool:
        return step.number >= self.steps

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StopAfter) and other.steps == self.steps

    def __hash__(self) -> int:
        return self.steps


def where_it_waits(task: asyncio.Task[Any]) -> str:
    """The functions in which a task waits, from the outside in."""
    names: list[str] = []
    waits: Any = task.get_coro()
    while waits is not None and len(names) < 12:
        names.append(str(getattr(waits, "__qualname__", type(waits).__name__)))
        waits = (
            getattr(waits, "cr_await", None) or getattr(waits, "ag_await", None) or getattr(waits, "gi_yieldfrom", None)
        )
    return " > ".join(names)


async def _events(channel: Any) -> AsyncIterator[Any]:
    async for event in channel:
        yield event

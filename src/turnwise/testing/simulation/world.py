"""A world: processes with the real runtime in them, the people who use them, and everything that goes wrong, from a plan.

Everything random comes from the plan's seed. What no crash touches (store, provider, ledger, journals as they should be) belongs to the
world; everything else belongs to a process and is gone with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ...core.entries import Entry
from ...core.protocols import Chunk
from ...core.state import SessionState
from .extended import Extended
from .journals import Journal, Violation, is_outside
from .loop import SimulatedLoop, Stuck, Time
from .people import Person
from .plan import PROCESS_FAULTS, STORE_FAULTS, Blow, EpisodePlan, TurnPlan
from .process import Process
from .provider import Provider
from .reach import Reach
from .requests import Requests
from .store import Stores
from .tools import Ledger
from .trace import Trace

if TYPE_CHECKING:
    from ...core.inputs import Input

EPOCH = 1_760_000_000.0
"""When all worlds begin, in Unix seconds."""
LAST_S = 40_000.0
"""When a world must have come to its end, in its own time."""


class World:
    """`run()` lets the plan happen; what is not as it must be raises `Violation`."""

    def __init__(self, plan: EpisodePlan, trace: Trace, reach: Reach) -> None:
        self.plan = plan
        self.trace = trace
        self.reach = reach
        self.time = Time(Random(plan.order))
        self.journals: dict[str, Journal] = {}
        self.names: dict[str, str] = {}
        """The plan's name of a session, by its id."""
        self.provider = Provider(self.draw("provider"), self._asked, self._answer_struck)
        self.requests = Requests(self)
        self.ledger = Ledger(self._begins, self.struck)
        self.stores = Stores(self)
        self.violation: Violation | None = None
        self.processes: list[Process] = []
        self._outside = SimulatedLoop(self.time, self.complain)
        self._blows = deque(plan.blows)
        self.people = [Person(self, one) for one in plan.sessions]
        self.extended = {
            one.name: Extended(self, one)
            for one in plan.sessions
            if one.extensions or any(act.what == "add_hook" for turn in one.turns for act in turn.acts)
        }
        """The sessions that have hooks or middleware, by name."""
        self.cursors: dict[tuple[int, str], int] = {}
        """How far the onlookers have got, by place and session."""
        self._by_name = {person.plan.name: person for person in self.people}
        self._graves: list[Any] = []
        """What is left of processes is kept to the end: to be collected at another time would be something that happens."""
        self._writers: dict[str, Process] = {}
        self._born = 0
        self._ids = 0

    def draw(self, what: str) -> Random:
        """Chance for one purpose."""
        return Random(f"{self.plan.seed}/{what}")

    def wall(self) -> float:
        return EPOCH + self.time.now

    def session_id(self) -> str:
        self._ids += 1
        digits = f"{int(EPOCH * 1000):012x}7{0:03x}8{self._ids:015x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    # --- from beginning to end ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Let it all happen."""
        try:
            self._run()
            for journal in self.journals.values():
                journal.whole()
        finally:
            self.stores.close()

    def _run(self) -> None:
        for slot in range(self.plan.processes):
            self.start(slot)
        self.time.alarm = self._strike
        self._await_blow()
        try:
            self._outside.call_later(LAST_S, self._too_late)
            self.time.run()
        except Stuck as stuck:
            if self.violation is None:
                waiting = [f"{p.plan.name} in turn {p.at} ({p.doing}): {p.where()}" for p in self.people if not p.done]
                raise Violation("liveness", f"{stuck}; {'; '.join(waiting) or 'nobody waits'}") from None
        if self.violation is not None:
            raise self.violation

    def look_round(self) -> None:
        """A process has come to its end: with the last one, so has the world."""
        if all(process.over for process in self.processes):
            self.time.over = True

    def _too_late(self) -> None:
        raise Stuck(f"the world has not ended after {LAST_S:g} s")

    def start(self, slot: int) -> Process:
        """A new process in this place."""
        self._born += 1
        process = Process(self, slot, self._born)
        if slot < len(self.processes):
            self.processes[slot] = process
        else:
            self.processes.append(process)
        process.start()
        return process

    def _await_blow(self) -> None:
        self.time.alarm_at = self._blows[0].step if self._blows else None

    def _strike(self) -> None:
        """What the plan has for a process now."""
        blow = self._blows.popleft()
        self._await_blow()
        self.befall(blow)

    def blow(self, slot: int, stopped_s: float | None) -> None:
        """The same, because somebody did it: as soon as what runs now has come to its end."""
        if self.plan.store != "memory":
            self._outside.call_soon(self.befall, Blow(0, slot, stopped_s))

    def befall(self, blow: Blow) -> None:
        """What is to happen to a process happens; what runs now comes to its end if the process is only stopped."""
        process = self.processes[blow.slot]
        if process.over:
            return
        what = "crash" if blow.stopped_s is None else "paused"
        self.trace.note(self.time.now, process.name, what)
        for person in self.people:
            if person.process is process and not person.done:
                self.struck_name(person.plan.name, what)
        if blow.stopped_s is not None:
            process.loop.stop_still()
            self._outside.call_later(blow.stopped_s, process.loop.wake_up)
            return
        self.reach.crashes += 1
        process.drop()
        self.stores.dropped(process)
        self._graves.append(process)
        self.start(blow.slot)

    def bury(self, *what: Any) -> None:
        """Keep to the end what is left of a process that was dropped."""
        self._graves.append(what)

    def fail(self, violation: Violation) -> None:
        """The first violation counts."""
        if self.violation is None:
            self.violation = violation
            self.time.over = True

    def complain(self, said: str) -> None:
        self.fail(Violation("unhandled", said))

    def end(self) -> None:
        """Nothing happens any more, whatever is left."""
        for process in self.processes:
            process.loop.drop()

    # --- what is seen ---------------------------------------------------------------------------------------------------

    def journal(self, session: str) -> Journal:
        found = self.journals.get(session)
        if found is None:
            found = self.journals[session] = Journal(session)
        return found

    def appended(self, session: str, after: int, entries: Sequence[Entry], process: Process | None = None) -> None:
        """Entries are durable; called before anybody can know. `process` has written them, if processes share the store."""
        if self.violation is not None:
            return
        if process is not None:
            before = self._writers.get(session)
            if before is not None and before is not process and not before.loop.dropped:
                self.struck(session, "two_owners")
                self._taken_over(session, before)
            if not all(is_outside(entry) for entry in entries):  # what is of no turn may come from anybody
                self._writers[session] = process
        for entry in entries:
            self.trace.entry(self.time.now, session, entry)
            self.reach.entry(entry)
        try:
            self.journal(session).append(after, entries)
            self.requests.committed(session, entries)
        except Violation as violation:
            self.fail(violation)

    def _taken_over(self, session: str, before: Process) -> None:
        """A turn may be taken from a process that was stopped or could not renew its lease, and from no other."""
        journal = self.journal(session)
        well = (
            not before.loop.stood_still and not before.over and not before.store.was_mute and not any(self.plan.skews)
        )
        if journal.turn is not None and not journal.parked and well and not before.has_lost(session):
            self.fail(
                Violation("D3", f"{session}: turn {journal.turn} is taken from {before.name}, which is alive and well")
            )

    def fed(self, state: SessionState, inputs: Sequence[Input], phase: str) -> None:
        """A machine was fed these, and was in this phase before."""
        name = self.names.get(state.id)
        if name is None:
            return
        self.reach.fed(name, inputs, phase)
        turn = state.turn
        now = "idle" if turn is None or turn.phase == "ended" else turn.phase
        person = self._by_name.get(name)
        if now != phase and person is not None:
            person.phase_is(now)

    def person(self, name: str) -> Person | None:
        return self._by_name.get(name)

    def struck(self, session: str, fault: str) -> None:
        """A fault has struck a session."""
        self.struck_name(self.names.get(session, session), fault)

    def struck_name(self, name: str, fault: str) -> None:
        self.trace.note(self.time.now, name, f"fault {fault}")
        self.reach.struck(name, fault)
        if fault in STORE_FAULTS or fault in PROCESS_FAULTS:
            self.requests.forget(name)

    def _answer_struck(self, name: str, fault: str) -> None:
        self.struck_name(name, fault)

    def extended_of(self, session: str) -> Extended | None:
        """What holds for a session whose agent has extensions, and for its forks."""
        return self.extended.get(self.names.get(session, session).removesuffix("-fork"))

    def extended_acts(self, name: str, by: str, kind: str, what: str) -> None:
        """A hook or a middleware was called, and does this."""
        self.trace.note(self.time.now, name, f"{by} {kind} {what}")
        self.reach.extended[kind, what] += 1

    def revised(self, session: str, where: tuple[int, int]) -> None:
        """A hook puts another answer in the place of one that was shown."""
        self.journal(session).revised.add(where)

    def begin_turn(self, name: str, turn: TurnPlan) -> None:
        """A person begins a turn: from now on its answers are given, and what strikes counts for it."""
        self.provider.scripts[name] = deque(turn.answers)
        self.stores.arm(name, turn.store_faults)
        self.reach.next_turn(name)
        person = self._by_name.get(name)
        if person is not None and person.process is not None and self.plan.skews[person.process.slot]:
            self.reach.struck(name, "clock_skew")

    def _asked(self, name: str, api: str, path: str, body: Sequence[Chunk], whole: bytes) -> None:
        self.trace.asked(self.time.now, name, api, whole)
        try:
            self.requests.check(name, api, path, body, whole)
        except Violation as violation:
            self.fail(violation)

    def _begins(self, session: str, call_id: str, tool: str) -> None:
        """The body of a call begins: its beginning must be in the journal, and nothing may say that it has ended."""
        self.trace.note(self.time.now, session, f"runs {call_id} {tool}")
        loop = asyncio.get_running_loop()
        if tool == "block" and isinstance(loop, SimulatedLoop) and loop.stood_still:
            return  # between the last look at the lease and a function in a thread there is a moment that nothing can fence
        journal = self.journals.get(session)
        call = None if journal is None else journal.calls.get(call_id)
        if call is None:
            self.fail(Violation("D2", f"{session}: {call_id} runs though it is not open: it has ended, or never was"))
        elif not call.started:
            self.fail(Violation("D1", f"{session}: {call_id} runs before its beginning is durable"))
        elif (
            self.ledger.begun.get((session, call_id), 0)
            and not call.idempotent
            and not self._repeats(session, call_id, tool)
        ):
            self.fail(Violation("D2", f"{session}: {call_id} runs a second time"))
        extended = self.extended_of(session)
        if extended is not None and isinstance(loop, SimulatedLoop):
            try:
                extended.begins(loop.home.name, session, call_id)
            except Violation as violation:
                self.fail(violation)

    def _repeats(self, session: str, call_id: str, tool: str) -> bool:
        """Whether a hook has asked for this call again, and its tool only reads."""
        extended = self.extended_of(session)
        return tool == "look" and extended is not None and call_id in extended.repeats

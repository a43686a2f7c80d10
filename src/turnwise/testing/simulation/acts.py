"""What people do beside the turn they wait for, and what they may be told when they do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, Any

from ...core.errors import TurnwiseError
from ...core.events import Event, ToolStarted
from ...runtime.opening import recover
from ...runtime.session import Session
from ...runtime.watch import Watcher
from .journals import Violation
from .plan import Act, Blow
from .planning import hook
from .watching import Eyes

if TYPE_CHECKING:
    from ...runtime.actor import Actor
    from ...runtime.turn import Turn
    from .people import Person
    from .process import Process

INTERRUPT_S = 12.0
"""An interrupted turn is over within this time: its grace, and a little for a process that is stopped meanwhile."""

_EXPECTED = frozenset(
    (
        "append_failed",
        "append_blocked",
        "append_conflict",
        "lease_lost",
        "session_deleted",
        "disk_full",
        "shut_down",
        "stuck",
        "store_busy",
        "session_busy",
        "turn_parked",
        "turn_left",
        "nothing_said",
        "not_parked",
        "follow_up_dropped",
        "follow_up_elsewhere",
        "session_closed",
        "invalid_answer",
        "draining",
        "crash_loop",
        "journal_shorter",
        "name_taken",
        "compaction_stopped",
        "lost_turn",
    )
)


_EXPECTED_OF_HOOKS = frozenset(("turn_called_off",))


def expected(person: Person, error: TurnwiseError) -> None:
    """What may be raised; anything else is a violation."""
    is_hooked = person.plan.name in person.world.extended and (
        error.info.branch == "hook" or error.code in _EXPECTED_OF_HOOKS
    )
    if error.info.branch == "provider" or error.code in _EXPECTED or is_hooked:
        person.world.trace.note(person.world.time.now, person.plan.name, f"met {error.info.branch}.{error.code}")
        return
    raise Violation("unexpected", f"{person.plan.name}, {person.doing}: {error.info.for_log()}")


async def patiently(person: Person, what: Callable[[Session[Any]], Awaitable[Any]]) -> None:
    """Do something, again while it is refused."""
    for _ in range(5):
        assert person.session is not None
        try:
            await what(person.session)
            return
        except TurnwiseError as error:
            expected(person, error)
            await asyncio.sleep(5.0)


async def free(person: Person) -> None:
    """Wait until no turn runs; a parked one that nobody will answer is interrupted, one that was left is gone on with."""
    while (session := person.session) is not None and (session.running or session.state.running):
        turn = session.state.turn
        if session.lost is not None:
            return  # the next turn reads the journal anew
        if not session.running and turn is not None:
            if turn.phase == "parked":
                session.interrupt()
            else:
                try:
                    await recover(session)
                except TurnwiseError as error:
                    expected(person, error)
                await asyncio.sleep(5.0)
        await asyncio.sleep(0.5)


async def settle_pending(person: Person) -> None:
    """Answer what the turn waits for, or part of it, or nothing."""
    session, draw = person.session, person.draw
    assert session is not None
    await asyncio.sleep(draw.choice((0.0, 0.1, 5.0, 700.0)))
    pending = list(session.pending)
    draw.shuffle(pending)
    for one in pending:
        if draw.random() < 0.15:
            continue
        try:
            person.journal.asked.add(one.call_id)
            match one.kind:
                case "approval":
                    kind = draw.random()
                    if kind < 0.6:
                        await session.approve(one.call_id)
                    elif kind < 0.8:
                        await session.deny(one.call_id, "no")
                    else:
                        await session.approve(one.call_id, edited_arguments={"does": "ok", "for_s": 0.1})
                case "question":
                    await session.answer(one.call_id, "This one.")
                case "external":
                    await session.submit(one.call_id, "done outside", is_error=draw.random() < 0.2)
        except TurnwiseError as error:
            expected(person, error)


async def do(person: Person, act: Act) -> None:
    """Do one thing."""
    session = person.session
    if session is None:
        return
    draw = Random(act.seed)
    await _ACTS[act.what](person, session, draw)


async def _interrupt(person: Person, session: Session[Any], draw: Random, keep: Any = "partial") -> None:
    turn = session.turn
    if not session.interrupt(keep) or turn is None or not turn.opened:
        return
    for _ in range(int(INTERRUPT_S / 0.5)):
        await asyncio.sleep(0.5)
        if turn.over:
            return
    raise Violation("C1", f"{person.plan.name}: an interrupted turn is not over after {INTERRUPT_S:g} s")


async def _interrupt_none(person: Person, session: Session[Any], draw: Random) -> None:
    await _interrupt(person, session, draw, "none")


async def _steer(person: Person, session: Session[Any], draw: Random) -> None:
    await session.steer(f"And {draw.randrange(1000)}.")


async def _steer_skip(person: Person, session: Session[Any], draw: Random) -> None:
    await session.steer(f"Rather {draw.randrange(1000)}.", skip_calls=True)


async def _follow_up(person: Person, session: Session[Any], draw: Random) -> None:
    await session.follow_up(f"Then {draw.randrange(1000)}.")


async def _drop_follow_ups(person: Person, session: Session[Any], draw: Random) -> None:
    await session.drop_follow_ups()


async def _set(person: Person, session: Session[Any], draw: Random) -> None:
    await session.set(temperature=None, max_output_tokens=draw.choice((None, 2000, 4000)))


async def _model(person: Person, session: Session[Any], draw: Random) -> None:
    """Change to another provider in mid-session, or back."""
    from .process import OTHERS, other_model

    host = f"{person.plan.name}-other"
    person.world.provider.hosts[host] = person.plan.name
    await session.set(model=draw.choice((None, other_model(draw.choice(OTHERS), host))))


async def _compact(person: Person, session: Session[Any], draw: Random) -> None:
    await session.compact()


async def _undo_compaction(person: Person, session: Session[Any], draw: Random) -> None:
    await session.undo_compaction()


async def _undo(person: Person, session: Session[Any], draw: Random) -> None:
    await session.undo()


async def _clear(person: Person, session: Session[Any], draw: Random) -> None:
    await session.clear()


async def _rewind(person: Person, session: Session[Any], draw: Random) -> None:
    await session.rewind(draw.randint(0, session.state.turns))


async def _cancel(person: Person, session: Session[Any], draw: Random) -> None:
    person.cancel()


async def _leave(person: Person, session: Session[Any], draw: Random) -> None:
    person.leaving = True


async def _second_turn(person: Person, session: Session[Any], draw: Random) -> None:
    """Somebody else begins a turn, too: one at a time is let in."""
    await session.run("Me, too.")


async def _close(person: Person, session: Session[Any], draw: Random) -> None:
    await person.reopen()


async def _fork(person: Person, session: Session[Any], draw: Random) -> None:
    from .process import OTHERS, other_model

    at = draw.choice((None, draw.randint(0, session.state.turns)))
    fork = session.fork(at)
    host = f"{person.plan.name}-fork"
    person.world.names.setdefault(fork.id, host)
    async with fork:
        await fork.set(model=other_model(draw.choice(OTHERS), host))
        await fork.run("From here on otherwise.")


async def _watch(person: Person, session: Session[Any], draw: Random) -> None:
    person.watch(draw.choice(("coalesce", "drop_to_cursor", "block")), draw)


async def pending_of(person: Person, session: Session[Any], kind: str) -> str:
    """A call that waits for this, soon; else one that does not exist."""
    for _ in range(8):
        if any(one.kind == kind for one in session.pending) or not session.state.running:
            break
        await asyncio.sleep(0.02)
    call_id = next((one.call_id for one in session.pending if one.kind == kind), "t1.s1.c0")
    person.journal.asked.add(call_id)
    return call_id


async def _approve(person: Person, session: Session[Any], draw: Random) -> None:
    await session.approve(await pending_of(person, session, "approval"))


async def _deny(person: Person, session: Session[Any], draw: Random) -> None:
    await session.deny(await pending_of(person, session, "approval"), "no")


async def _edit(person: Person, session: Session[Any], draw: Random) -> None:
    await session.approve(await pending_of(person, session, "approval"), edited_arguments={"does": "ok", "for_s": 0.0})


async def _answer(person: Person, session: Session[Any], draw: Random) -> None:
    await session.answer(await pending_of(person, session, "question"), "That one.")


async def _submit(person: Person, session: Session[Any], draw: Random) -> None:
    await session.submit(await pending_of(person, session, "external"), "done outside")


async def _crash(person: Person, session: Session[Any], draw: Random) -> None:
    assert person.process is not None
    person.world.blow(person.process.slot, None)


async def _pause(person: Person, session: Session[Any], draw: Random) -> None:
    assert person.process is not None
    person.world.blow(person.process.slot, draw.choice((1.0, 45.0, 60.0)))


async def _add_hook(person: Person, session: Session[Any], draw: Random) -> None:
    """Register a hook for this session alone, and take it away again after a while."""
    extended = person.world.extended[person.plan.name]
    added = extended.another(hook(draw, "added"))
    registration = session.add_hook(added.as_hook())
    await asyncio.sleep(draw.choice((0.0, 0.05, 1.0, 10.0)))
    registration.unregister()
    added.live = False


async def _pause_at_call(person: Person, session: Session[Any], draw: Random) -> None:
    """The process is stopped in the very moment in which the next call may run and has not begun to."""
    assert person.process is not None
    if person.world.plan.store != "memory":
        _StopsAtCall(person.process, session.id, draw.choice((1.0, 60.0, 90.0)))


class _StopsAtCall:
    """Is told that a call starts before its body is run."""

    def __init__(self, process: Process, session: str, stopped_s: float) -> None:
        self._process = process
        self._session = session
        self._stopped_s = stopped_s
        self._leave = process.runtime.observe(self)

    def told(self, session: Actor[Any], turn: Turn | None, events: Sequence[Event], /) -> None:
        if session.id == self._session and any(type(event) is ToolStarted for event in events):
            self._leave()
            self._process.world.befall(Blow(0, self._process.slot, self._stopped_s))


_ACTS: dict[str, Callable[[Person, Session[Any], Random], Awaitable[None]]] = {
    "interrupt": _interrupt,
    "interrupt_none": _interrupt_none,
    "steer": _steer,
    "steer_skip": _steer_skip,
    "follow_up": _follow_up,
    "drop_follow_ups": _drop_follow_ups,
    "set": _set,
    "model": _model,
    "compact": _compact,
    "undo_compaction": _undo_compaction,
    "undo": _undo,
    "clear": _clear,
    "rewind": _rewind,
    "cancel": _cancel,
    "leave": _leave,
    "second_turn": _second_turn,
    "close": _close,
    "fork": _fork,
    "watch": _watch,
    "approve": _approve,
    "deny": _deny,
    "edit": _edit,
    "answer": _answer,
    "submit": _submit,
    "crash": _crash,
    "pause": _pause,
    "add_hook": _add_hook,
    "pause_at_call": _pause_at_call,
}


async def look(person: Person, watcher: Watcher, eyes: Eyes, every_s: float, until: int | None) -> None:
    """Read a watcher, slowly if so, to its end or for so many events."""
    try:
        await _look(watcher, eyes, every_s, until)
    except Violation as violation:
        person.world.fail(violation)


async def _look(watcher: Watcher, eyes: Eyes, every_s: float, until: int | None) -> None:
    mailbox = watcher._mailbox  # pyright: ignore[reportPrivateUsage]
    async with watcher:
        async for event in watcher:
            eyes.see(event)
            if mailbox.live and mailbox.policy != "block" and mailbox.waiting > mailbox.size + 1:
                raise Violation("C4", f"{eyes.name}: {mailbox.waiting} events wait, and {mailbox.size} may")
            if every_s:
                await asyncio.sleep(every_s)
            if until is not None and eyes.seen >= until:
                break
    left = watcher.waiting
    if until is None:
        if eyes.until is not None and eyes.until > len(eyes.journal.entries):
            await asyncio.sleep(1.0)  # it was left out, and may become durable yet
        eyes.caught_up()
    elif left:
        raise Violation("H4", f"{eyes.name} was closed, and {left} events wait for it")

"""Onlookers: people who watch a session by its name, from turn to turn and wherever its turns run, and who come back with their cursor.

What they are told is checked as it is for every watcher. When all others have left a process, an onlooker must soon have got all that
there is of sessions of that process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ...core.errors import TurnwiseError
from .journals import Violation
from .watching import Eyes

if TYPE_CHECKING:
    from .process import Process

AGAIN_S = 5.0
"""How long they wait before they come back."""
SEEN_S = 200
"""Within so many seconds they must have got all that there is: a store waits up to a minute before it looks again, and may be slow."""


async def look_on(process: Process, name: str) -> None:
    """Watch a session until the process closes."""
    world, sessions = process.world, process.sessions
    assert sessions is not None
    draw = world.draw(f"onlooker/{name}/{process.number}")
    key = process.slot, name
    while not process.closing:
        after = world.cursors.get(key)
        try:
            watcher = await sessions.watch(name, after=after)
        except TurnwiseError as error:
            if not process.closing and error.code not in _LATER:
                world.fail(Violation("unexpected", f"an onlooker of {name}: {error.info.for_log()}"))
                return
            await asyncio.sleep(AGAIN_S)
            continue
        eyes = Eyes(world.journal(watcher.session), f"an onlooker of {name}", watcher.cursor)
        world.cursors.setdefault(key, watcher.cursor)
        until, every_s = draw.choice((None, 3, 40)), draw.choice((0.0, 0.0, 0.2))
        world.trace.note(world.time.now, name, f"is watched by name from {watcher.cursor}")
        try:
            async with watcher:
                async for event in watcher:
                    eyes.see(event)
                    world.cursors[key] = watcher.cursor
                    if every_s:
                        await asyncio.sleep(every_s)
                    if until is not None and eyes.seen >= until:
                        break
                world.cursors[key] = watcher.cursor
        except Violation as violation:
            world.fail(violation)
            return
        except TurnwiseError as error:
            if error.code not in _LATER:
                world.fail(Violation("unexpected", f"an onlooker of {name}: {error.info.for_log()}"))
                return
        if not process.closing:
            await asyncio.sleep(draw.choice((0.0, 0.1, AGAIN_S)))


_LATER = ("unknown_session", "draining", "runtime_closed")


async def all_seen(process: Process) -> None:
    """Wait until the onlookers of sessions that have come to their end here have seen all of it."""
    world = process.world
    mine = [
        p for n, p in enumerate(world.people) if n % world.plan.processes == process.slot and p.session_id is not None
    ]
    names = {person.plan.name for person in mine}
    due = [key for key in world.plan.onlookers if key[0] == process.slot and key[1] in names]
    for _ in range(SEEN_S):
        due = [key for key in due if not _has_all(process, key)]
        if not due:
            return
        await asyncio.sleep(1.0)
    raise Violation("D6", f"an onlooker of {due[0][1]} was not told all within {SEEN_S} s")


def _has_all(process: Process, key: tuple[int, str]) -> bool:
    world = process.world
    person = world.person(key[1])
    if person is None or person.session_id is None:
        return True
    cursor = world.cursors.get(key)
    journal = world.journal(person.session_id)
    return cursor is not None and journal.first[cursor] >= len(journal.told)

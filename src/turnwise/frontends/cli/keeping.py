"""A question whose session is kept: which session it is asked in, what a turn that was cut off comes to first, and what is said in the end."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ...core.errors import SessionBusy, SessionError
from ...core.messages import AssistantMessage
from ...core.principal import LOCAL
from ...core.store import NewSession, SessionInfo, Store
from ...models.hosts import HOSTS
from ...runtime.agent import Agent
from ...runtime.attachments import Prompt
from ...runtime.history_ops import Move
from ...runtime.opening import open_stored
from ...runtime.runtime import Runtime
from ...runtime.seams import SystemClock
from ...runtime.session import Session
from . import AGENT
from .ask import Question, agent_of, model_of, turn_of
from .exits import COMPLETED
from .kept import (
    Kept,
    by_name,
    find,
    here,
    keep,
    kept_of,
    label,
    last_of,
    looks_like_an_id,
    names_the_way_out,
    no_such_session,
    opened_store,
    title_of,
)
from .prompt import nothing_asked
from .screen import Screen
from .view import View

if TYPE_CHECKING:
    from ...core.state import SessionState, TurnState


LEASE_S = 10.0
"""So long a session cannot be gone on with after the program was killed."""
LONGEST_WAIT_S = 60.0
"""Leases that run longer are not waited for."""


async def ask_kept(question: Question, prompt: Prompt | None, view: View, screen: Screen) -> int:
    """Ask in the session that is meant, or in a new one; the exit code."""
    async with opened_store() as store:
        with names_the_way_out():
            row = await _meant(store, question)
            before = Kept() if row is None else await kept_of(store, row.id)
        if row is None and prompt is None:
            raise nothing_asked()
        async with Runtime(store=store, blobs=store.blobs(LOCAL.tenant), lease_s=LEASE_S) as runtime:
            own_model = "" if row is None else before.model or await _last_model(store, row.id)
            now = Kept(
                await model_of(question, own_model, runtime, screen),
                before.system if question.system is None else question.system,
            )
            agent = agent_of(question, now.model, now.system, runtime)
            async with _session(store, row, question, prompt, agent, runtime) as session:
                if now != before:
                    await keep(store, session.id, now)
                code = await _ask(session, prompt, view, screen, question)
                if not question.as_json:
                    await _say_what_is_kept(store, session.id, screen)
                return code


async def _meant(store: Store, question: Question) -> SessionInfo | None:
    """The session that the question names; None if it is to be a new one. Raises `ConfigError`: `no_session`, `ambiguous_session`."""
    if question.session is None:
        return await last_of(store, here()) if question.go_on else None
    row = await find(store, question.session, whole_words=True)
    if row is None and (question.go_on or looks_like_an_id(question.session)):
        raise no_such_session(question.session)
    return row


async def _last_model(store: Store, session: str) -> str:
    """The model that spoke last in a session which another program began; "" if there is none that can be named."""
    from ...store.projection import read_state

    read = await read_state(store, session)
    state: SessionState | None = None if read is None else read[0]
    for message in reversed(() if state is None else state.history):
        if isinstance(message, AssistantMessage) and message.provider in HOSTS and message.model:
            return f"{message.provider}:{message.model}"
    return ""


@asynccontextmanager
async def _session(
    store: Store,
    row: SessionInfo | None,
    question: Question,
    prompt: Prompt | None,
    agent: Agent[None],
    runtime: Runtime,
) -> AsyncGenerator[Session[None], None]:
    """The session, open. A new one in which no turn came about is not kept."""
    if row is not None and row.last:
        async with await open_stored(agent, row.id, store=store, runtime=runtime) as session:
            yield session
        return
    async with agent.session(id=None if row is None else row.id) as session:
        if row is None:
            title = title_of(question.words, question.attachments, prompt)
            new = NewSession(id=session.id, name=question.session, title=title, agent=AGENT, folder=here())
            with names_the_way_out():
                await store.create(new)
        try:
            yield session
        finally:
            made = await store.info(session.id)
            if row is None and made is not None and not made.last:
                await store.delete(session.id)


async def _ask(session: Session[None], prompt: Prompt | None, view: View, screen: Screen, question: Question) -> int:
    """What is left of the last turn, then the prompt."""

    async def turn(prompt: Prompt | Move, note: str = "") -> int:
        try:
            return await turn_of(session, prompt, view, screen, question.timeout_s, note)
        except SessionBusy as busy:
            await _outlast(busy, screen)
            return await turn_of(session, prompt, view, screen, question.timeout_s, note)

    code = COMPLETED
    left = session.state.turn if session.state.running else None
    if left is None and prompt is None:
        raise nothing_asked('Its last turn has ended. Say something: turnwise -c "and then?"')
    if left is not None:
        try:
            code = await turn(Move.RESUME, _what_is_left(left))
        except SessionError as error:
            if error.code != "not_parked":  # somebody else has ended it meanwhile
                raise
    if prompt is not None and code == COMPLETED:
        code = await turn(prompt)
    return code


def _what_is_left(turn: TurnState) -> str:
    if turn.phase != "parked":
        return "The last turn was cut off before its end, and goes on now."
    waiting = ", ".join([f"{one.name} ({one.kind})" for one in turn.pending])
    return f"The last turn is parked until this has come: {waiting or 'nothing any more'}."


async def _outlast(busy: SessionBusy, screen: Screen) -> None:
    """Wait until nobody has the session any more, if the process that has it is gone; else raise. Its lease is left to run out, since
    what looks like a dead process from here may live in another container."""
    wait_s = (busy.until or 0.0) - SystemClock.wall()
    if wait_s > LONGEST_WAIT_S or busy.host != platform.node() or not busy.pid or _lives(busy.pid):
        raise busy
    screen.note(f"Process {busy.pid} had this session and is gone; its lease runs out in {max(wait_s, 0):.0f} s.")
    await asyncio.sleep(max(wait_s, 0) + 0.05)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


async def _say_what_is_kept(store: Store, session: str, screen: Screen) -> None:
    """One line with how to go on. Sessions begun elsewhere, or under a name, are gone on with by that."""
    row = await store.info(session)
    if row is not None and row.last:
        again = "-c" if row.name is None and row.folder == here() else by_name(row)
        screen.note(f"Kept as session {label(row)}. To go on with it: turnwise {again}")

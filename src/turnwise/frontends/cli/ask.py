"""`turnwise ask`, the default command: one prompt, one turn, one exit code; in a session that is kept, unless it is not to be."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...core.errors import ConfigError, TurnwiseError
from ...core.limits import Deadlines, Limits
from ...models.hosts import HOSTS
from ...runtime.agent import Agent
from ...runtime.attachments import Prompt
from ...runtime.history_ops import Move
from ...runtime.runtime import Runtime
from . import AGENT
from .choose import choose_model, no_key, no_model
from .exits import exit_code, exit_code_of_error
from .local import find_local_servers
from .prompt import assemble, nothing_asked, read_stdin
from .screen import Screen
from .signals import ends_by_signal
from .view import JsonLines, TextView, View, conclude, tell_error

if TYPE_CHECKING:
    from ...runtime.session import Session


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for. None means: not said; `model_said`: on the command line, not by the environment."""

    words: str
    model: str | None
    model_said: bool
    system: str | None
    attachments: tuple[Path, ...]
    as_json: bool
    streamed: bool
    max_steps: int | None
    timeout_s: float | None
    go_on: bool
    session: str | None
    ephemeral: bool
    quiet: bool


def ask(question: Question) -> int:
    """Ask, show the answer, and return the exit code. A turn that began always ends through the engine."""
    screen = Screen(quiet=question.quiet)
    try:
        prompt = assemble(question.words, question.attachments, read_stdin(screen))
        if prompt is None and not (question.go_on or question.session):
            raise nothing_asked()
        return asyncio.run(_answer(question, prompt, screen))
    except TurnwiseError as error:
        tell_error(error.info, screen)
        return exit_code_of_error(error)


async def _answer(question: Question, prompt: Prompt | None, screen: Screen) -> int:
    view = JsonLines(screen) if question.as_json else TextView(screen)
    try:
        if not question.ephemeral:
            from .keeping import ask_kept

            return await ask_kept(question, prompt, view, screen)
        assert prompt is not None
        async with Runtime() as runtime:
            agent = agent_of(question, await model_of(question, "", runtime, screen), question.system or "", runtime)
            async with agent.session() as session:
                return await turn_of(session, prompt, view, screen, question.timeout_s)
    except ConfigError as error:
        if error.code != "missing_key":
            raise
        async with Runtime() as runtime:
            raise no_key(HOSTS[error.info.provider], await find_local_servers(runtime)) from error


async def turn_of(
    session: Session[None], prompt: Prompt | Move, view: View, screen: Screen, timeout_s: float | None, note: str = ""
) -> int:
    """One turn, shown; the exit code that it comes to. `note` is said once the turn has begun."""
    with ends_by_signal(session.interrupt) as received:
        async with session.stream(prompt) as turn:
            if note:
                screen.note(note)
            if received.number is not None:  # it came before there was a turn to interrupt
                session.interrupt()
            async for events in turn.batches():
                view.show(events)
        screen.end_line()
        conclude(turn.result, screen, timeout_s)
    return exit_code(turn.result, received.number)


async def model_of(question: Question, own: str, runtime: Runtime, screen: Screen) -> str:
    """The model to ask: the one that was named; `own`, that of the session; that of the environment; the first whose key is set."""
    if question.model is not None and (question.model_said or not own):
        return question.model
    if own:
        return own
    chosen = choose_model(os.environ)
    if chosen is None:
        raise no_model(await find_local_servers(runtime))
    model, variable = chosen
    screen.note(f"Using {model}, because {variable} is set; -m or TURNWISE_MODEL chooses another.")
    return model


def agent_of(question: Question, model: str, system: str, runtime: Runtime) -> Agent[None]:
    limits = Limits() if question.max_steps is None else Limits(steps=question.max_steps)
    deadlines = Deadlines() if question.timeout_s is None else Deadlines(turn_s=question.timeout_s)
    return Agent(
        model,
        instructions=system,
        name=AGENT,
        limits=limits,
        deadlines=deadlines,
        stream=question.streamed,
        runtime=runtime,
    )

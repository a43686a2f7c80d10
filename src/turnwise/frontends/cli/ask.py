"""`turnwise ask`, the default command: one prompt, one turn, one exit code."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import msgspec

from ...core.errors import ConfigError, TurnwiseError
from ...core.limits import Deadlines, Limits
from ...models.hosts import HOSTS
from ...runtime.agent import Agent
from ...runtime.attachments import Prompt
from ...runtime.runtime import Runtime
from .choose import choose_model, no_key, no_model
from .exits import exit_code, exit_code_of_error
from .local import find_local_servers
from .prompt import assemble, read_stdin
from .screen import Screen
from .signals import ends_by_signal
from .view import JsonLines, TextView, View, conclude, tell_error


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line asks for. None means: not said."""

    words: str
    model: str | None
    system: str
    attachments: tuple[Path, ...]
    as_json: bool
    streamed: bool
    max_steps: int | None
    timeout_s: float | None


def ask(question: Question) -> int:
    """Ask, show the answer, and return the exit code. A turn that began always ends through the engine."""
    screen = Screen()
    try:
        prompt = assemble(question.words, question.attachments, read_stdin(screen))
        return asyncio.run(_answer(question, prompt, screen))
    except TurnwiseError as error:
        tell_error(error.info, screen)
        return exit_code_of_error(error)


async def _answer(question: Question, prompt: Prompt, screen: Screen) -> int:
    async with Runtime() as runtime:
        agent = _agent(question, await _model(question, runtime, screen), runtime)
        view = JsonLines(screen) if question.as_json else TextView(screen)
        try:
            return await _turn(agent, prompt, view, screen, question.timeout_s)
        except ConfigError as error:
            if error.code != "missing_key":
                raise
            raise no_key(HOSTS[error.info.provider], await find_local_servers(runtime)) from error


async def _turn(agent: Agent[None], prompt: Prompt, view: View, screen: Screen, timeout_s: float | None) -> int:
    async with agent.session() as session:
        with ends_by_signal(session.interrupt) as received:
            async with session.stream(prompt) as turn:
                if received.number is not None:  # it came before there was a turn to interrupt
                    session.interrupt()
                async for events in turn.batches():
                    view.show(events)
            screen.end_line()
            conclude(turn.result, screen, timeout_s)
        return exit_code(turn.result, received.number)


async def _model(question: Question, runtime: Runtime, screen: Screen) -> str:
    if question.model is not None:
        return question.model
    chosen = choose_model(os.environ)
    if chosen is None:
        raise no_model(await find_local_servers(runtime))
    model, variable = chosen
    screen.note(f"Using {model}, because {variable} is set; -m or TURNWISE_MODEL chooses another.")
    return model


def _agent(question: Question, model: str, runtime: Runtime) -> Agent[None]:
    limits = Limits() if question.max_steps is None else Limits(steps=question.max_steps)
    deadlines = Deadlines() if question.timeout_s is None else Deadlines(turn_s=question.timeout_s)
    return Agent(
        model,
        instructions=question.system,
        limits=limits,
        deadlines=deadlines,
        stream=question.streamed,
        runtime=runtime,
    )

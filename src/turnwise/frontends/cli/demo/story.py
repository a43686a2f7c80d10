"""The demo's story: a question answered with two tools at once, an interrupt while a tool runs, and how it goes on.

The model is a scripted server on loopback. HTTP, streaming, tools, interrupt, journal and history are the real ones, used
through the public API as any program would use them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from .... import Agent, Runtime, Session
from ....core.errors import TurnwiseError, error_of
from ....core.events import Event, StepStarted, TextDelta, ToolCallReady, ToolFinished, ToolProgress, ToolStarted
from ....core.outcomes import explain
from ....testing import ScriptedProvider
from ..exits import COMPLETED, exit_code_of_error
from ..screen import Screen, visible
from ..view import shortened, tell_error
from .folder import Place, a_place
from .record import Record
from .script import FOR_PEOPLE, FOR_PIPES, QUESTIONS, Pace, script
from .table import tables
from .tools import tools_for

LOOKS_BEFORE_INTERRUPT = 2


def demo() -> int:
    """Play the demo in the current folder; the exit code."""
    screen = Screen()
    stage = Stage(screen)
    try:
        with a_place(Path.cwd()) as place:
            stage.prologue(place)
            asyncio.run(_play(stage, place, FOR_PEOPLE if screen.out_is_terminal else FOR_PIPES))
    except TurnwiseError as error:
        tell_error(error.info, screen)
        return exit_code_of_error(error)
    stage.line('Now with a model of yours: turnwise "your question" (docs/cli.md)', "dim")
    screen.flush()
    return COMPLETED


async def _play(stage: Stage, place: Place, pace: Pace) -> None:
    async with ScriptedProvider(script(place.files, pace)) as provider, Runtime() as runtime:
        agent: Agent[None] = Agent(
            "anthropic:scripted",
            base_url=provider.anthropic_url,
            api_key="none-needed",
            instructions="Be brief.",
            tools=tools_for(place.folder, pace.look_s),
            runtime=runtime,
        )
        record = Record(runtime.clock)
        files, watch, go_on = QUESTIONS
        async with agent.session() as session:
            await _turn(session, files.format(*place.files), stage, record)
            await _turn(session, watch, stage, record, interrupt_after=LOOKS_BEFORE_INTERRUPT)
            await _turn(session, go_on, stage, record)
            stage.epilogue(record, len(session.messages))


async def _turn(
    session: Session[None], question: str, stage: Stage, record: Record, interrupt_after: int | None = None
) -> None:
    """One turn on the stage. It is interrupted when its tool has reported so often."""
    stage.question(question)
    looks = 0
    async with session.stream(question) as turn:
        async for event in turn:
            record.note(event)
            stage.show(event)
            if type(event) is ToolProgress:
                looks += 1
                if looks == interrupt_after:
                    stage.interrupt()
                    session.interrupt()
    if turn.result.error is not None:
        raise error_of(turn.result.error)
    stage.turn_over(turn.result.reason)


class Stage:
    """Shows the demo. All of it goes to stdout: here the activity is what was asked for."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._arguments: dict[str, str] = {}

    def prologue(self, place: Place) -> None:
        self.line("Turnwise demo", "bold")
        self.line("The model is scripted: a server on this machine plays it, no key, no network.")
        self.line("All else is real: HTTP, streaming, tools, the interrupt, the history.")
        if place.made:
            self.line("This folder has no two readable text files; two were made in a temporary folder.", "dim")

    def question(self, question: str) -> None:
        self.line()
        self.line(f"> {question}", "bold")

    def show(self, event: Event) -> None:
        match event:
            case TextDelta(text=text):
                self._screen.answer(text)
            case StepStarted():
                self._screen.end_line()
            case ToolCallReady(call=call):
                self._arguments[call.id] = call.arguments
            case ToolStarted(call_id=call_id, name=name):
                self.line(f"  → {call_id} {name} {self._arguments.get(call_id, '')} started", "cyan")
            case ToolProgress(message=message):
                self.line(f"    {message}", "dim")
            case ToolFinished(call_id=call_id, name=name, result=result) if result.is_error:
                self.line(f"  ✗ {call_id} {name}: {shortened(explain(result.outcome))}", "yellow")
            case ToolFinished(call_id=call_id, name=name, result=result):
                self.line(f"  ✓ {call_id} {name}: {len(result.text):,} characters", "green")
            case _:
                return
        self._screen.flush()

    def interrupt(self) -> None:
        self.line("  session.interrupt() while the tool runs, as Ctrl-C does it", "yellow")

    def turn_over(self, reason: str) -> None:
        self._screen.end_line()
        self.line(f"({reason})", "dim")

    def epilogue(self, record: Record, messages: int) -> None:
        self.line()
        self.line("What happened", "bold")
        for title, lines in tables(record):
            self.line()
            self.line(title, "cyan")
            for line in lines:
                self.line(f"  {line}")
        self.line()
        self.line(f"The history has {messages} messages; the server checked each request against its API's rules.")

    def line(self, text: str = "", style: str = "") -> None:
        """A line of its own; `style` is a colour, `bold`, `dim` or nothing."""
        self._screen.end_line()
        self._screen.write(f"{self._painted(visible(text), style)}\n")
        self._screen.flush()

    def _painted(self, text: str, style: str) -> str:
        if not self._screen.styled or not style:
            return text
        from click import style as paint

        return (
            paint(text, bold=True)
            if style == "bold"
            else paint(text, dim=True)
            if style == "dim"
            else paint(text, fg=style)
        )

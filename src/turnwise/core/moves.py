"""Small moves that several entries make when they are folded. A side room of `evolve` and `evolve_rare`."""

from __future__ import annotations

import msgspec

from .content import AssistantBlock, ToolCall
from .errors import illegal
from .messages import Message
from .state import CallState, SessionState, TurnState
from .usage import NO_USAGE, Usage


def say(state: SessionState, *messages: Message) -> None:
    """Add to the history, and so to the transcript."""
    state.history.extend(messages)
    if state.transcript is not state.history:
        state.transcript.extend(messages)


def running(state: SessionState) -> TurnState:
    """The turn that runs; raises `StateError` if there is none."""
    turn = state.turn
    if turn is None or turn.phase == "ended":
        raise illegal("no turn is running")
    return turn


def next_step(turn: TurnState) -> None:
    """The model is asked again."""
    turn.step += 1
    turn.attempt = 1
    turn.tried = 0
    turn.phase = "model"


def step_over(turn: TurnState, state: SessionState) -> None:
    """All outcomes are in: the model is asked again, unless one of them was the answer."""
    if enter_steers(turn, state) or not turn.answered:
        turn.answered = False
        next_step(turn)
    else:
        turn.phase = "done"


def enter_steers(turn: TurnState, state: SessionState) -> bool:
    """What was added to the turn enters the transcript; False if nothing was."""
    if not turn.steers:
        return False
    say(state, *turn.steers)
    turn.steers = []
    return True


def count(turn: TurnState | None, state: SessionState, usage: Usage | None) -> None:
    """Add to what turn and session have used."""
    if usage is None:
        return
    if turn is not None:
        turn.usage = usage if turn.usage is NO_USAGE else turn.usage + usage
    state.usage = usage if state.usage is NO_USAGE else state.usage + usage


def change_call(turn: TurnState, state: CallState, name: str, arguments: str) -> None:
    """Another call runs in place of the one that the model made: the transcript shows what really runs, and it counts as that."""
    before, saying = state.call, turn.saying
    assert saying is not None
    call = state.call = msgspec.structs.replace(before, name=name, arguments=arguments)
    state.hooked = True
    body: tuple[AssistantBlock, ...] = tuple(
        [call if type(b) is ToolCall and b.id == call.id else b for b in saying.content]
    )
    turn.saying = msgspec.structs.replace(saying, body=body)
    if name != before.name:
        turn.called[before.name] = turn.called.get(before.name, 1) - 1
        turn.called[name] = turn.called.get(name, 0) + 1

"""`turnwise trace SESSION[/TURN]`: a session's journal as a tree of turns, steps, attempts and calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ...core.errors import ConfigError, config_error
from ...core.store import SessionInfo, Store
from ...core.usage import Usage
from ...runtime.telemetry.tree import Note, SessionTrace, TracedAttempt, TracedCall, TracedStep, TracedTurn, trace_of
from ...runtime.transfer.words import when
from .exits import COMPLETED
from .kept import find, here, label, last_of, no_such_session
from .screen import Screen
from .sessions import as_line, with_store
from .view import shortened

_PROBLEM_CHARS = 100


def trace_session(ref: str | None, as_json: bool) -> int:
    async def work(store: Store, screen: Screen) -> int:
        row, number = await _meant(store, ref)
        trace = trace_of(await store.read(row.id))
        if number is not None:
            turns = [turn for turn in trace.turns if turn.number == number]
            if not turns:
                raise _no_such_turn(number, trace)
            trace = msgspec.structs.replace(trace, turns=turns)
        if as_json:
            screen.data(as_line({"name": row.name, "title": row.title, **msgspec.to_builtins(trace)}))
        else:
            screen.answer("\n".join(_lines(trace, row, whole=number is None)) + "\n")
        return COMPLETED

    return with_store(as_json, work)


async def _meant(store: Store, ref: str | None) -> tuple[SessionInfo, int | None]:
    """The session that is named and, after the last slash, the turn. A session may have a slash in its name, which goes first."""
    if ref is None:
        return await last_of(store, here()), None
    if (row := await find(store, ref)) is not None:
        return row, None
    name, slash, turn = ref.rpartition("/")
    number = turn.removeprefix("t")
    if not slash or not (number.isascii() and number.isdigit()):
        raise no_such_session(ref)
    row = await find(store, name) if name else await last_of(store, here())
    if row is None:
        raise no_such_session(name)
    return row, int(number)


def _no_such_turn(number: int, trace: SessionTrace) -> ConfigError:
    numbers = [str(turn.number) for turn in trace.turns]
    hint = f"It has the turns {', '.join(numbers[-20:])}." if numbers else "It has none yet."
    return config_error("no_turn", f"The session has no turn {number}.", hint)


# --- the tree ---------------------------------------------------------------------------------------------------------


def _lines(trace: SessionTrace, row: SessionInfo, *, whole: bool) -> Iterator[str]:
    if whole:
        yield "  ".join(_some(f"session {label(row)}", _plural(len(trace.turns), "turn"), _tokens(trace.usage)))
    for turn in trace.turns:
        yield _turn(turn)
        yield from _branches([*[_step(step) for step in turn.steps], *[_note(note) for note in turn.notes]])


Branch = tuple[str, Sequence[str]]
"""A line, and the lines below it."""


def _branches(branches: Sequence[Branch]) -> Iterator[str]:
    for at, (line, below) in enumerate(branches):
        last = at == len(branches) - 1
        yield ("└─ " if last else "├─ ") + line
        for number, text in enumerate(below):
            yield ("   " if last else "│  ") + ("└─ " if number == len(below) - 1 else "├─ ") + text


def _turn(turn: TracedTurn) -> str:
    ended = "under way" if not turn.reason else f"{turn.reason} ({turn.cause})" if turn.cause else turn.reason
    took = _took(turn.began_at, turn.ended_at, turn.rested_s)
    rested = f"parked for {_seconds(turn.rested_s)}" if turn.rested_s else ""
    problem = "" if turn.error is None else f"{turn.error.code}: {shortened(turn.error.message, _PROBLEM_CHARS)}"
    counts = f"{_plural(len(turn.steps), 'step')}, {_plural(turn.calls, 'call')}"
    undone = "undone" if turn.undone else ""
    began = when(turn.began_at)
    return "  ".join(
        _some(f"turn {turn.number}", began, took, ended, undone, rested, counts, _tokens(turn.usage), problem)
    )


def _step(step: TracedStep) -> Branch:
    last = step.attempts[-1] if step.attempts else None
    below = [_call(call) for call in step.calls]
    if last is None:
        return f"step {step.number}", below
    if len(step.attempts) > 1 or last.error is not None:
        below = [*[_attempt(attempt) for attempt in step.attempts], *below]
    took = _took(step.attempts[0].began_at, last.ended_at)
    ended = "cut off" if last.partial else last.stop_reason
    return "  ".join(_some(f"step {step.number}", _model(last), took, ended, _tokens(step.usage))), below


def _attempt(attempt: TracedAttempt) -> str:
    took = _took(attempt.began_at, attempt.ended_at)
    failed = attempt.error
    if failed is None:
        said = "cut off" if attempt.partial else "answered"
    else:
        status = "" if failed.status is None else f" {failed.status}"
        said = f"failed: {failed.code}{status}: {shortened(failed.message, _PROBLEM_CHARS)}"
    again = "" if attempt.retry_in_s is None else f"again in {_seconds(attempt.retry_in_s)}"
    return "  ".join(_some(f"attempt {attempt.number}", _model(attempt), took, said, again, _tokens(attempt.usage)))


def _call(call: TracedCall) -> str:
    took = _took(call.began_at, call.ended_at)
    never = "never ran" if call.ended_at is not None and call.began_at is None else ""
    again = "run again" if call.began_again else ""
    problem = shortened(call.problem, _PROBLEM_CHARS)
    return "  ".join(_some(call.id, call.name, took, call.outcome or "no outcome yet", never, again, problem))


def _note(note: Note) -> Branch:
    return "  ".join(_some(note.what, shortened(note.text, _PROBLEM_CHARS), _tokens(note.usage))), ()


def _model(attempt: TracedAttempt) -> str:
    return f"{attempt.provider}:{attempt.model}" if attempt.provider or attempt.model else ""


def _some(*cells: str) -> list[str]:
    return [cell for cell in cells if cell]


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _took(began_at: float | None, ended_at: float | None, rested_s: float = 0.0) -> str:
    return "" if began_at is None or ended_at is None else _seconds(max(0.0, ended_at - began_at - rested_s))


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def _tokens(usage: Usage | None) -> str:
    """`1,200 in (900 cached, 75 %), 80 out, $0.0012`; only what is known."""
    if usage is None:
        return ""
    said: list[str] = []
    if usage.input_tokens is not None:
        cached = usage.cache_read_tokens
        share = f" ({cached:,} cached, {cached * 100 // usage.input_tokens} %)" if cached and usage.input_tokens else ""
        said.append(f"{usage.input_tokens:,} in{share}")
    if usage.output_tokens is not None:
        said.append(f"{usage.output_tokens:,} out")
    if usage.cost_usd is not None:
        said.append(f"${usage.cost_usd:.6f}")
    estimate = "" if usage.provenance == "reported" or not said else f" [{usage.provenance}]"
    return ", ".join(said) + estimate

"""What sessions and turns say when they cannot do what was asked: the errors of this floor, in one place."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..core.errors import (
    ConfigError,
    ErrorInfo,
    SessionBusy,
    SessionClosed,
    SessionError,
    SessionForked,
    StateError,
    TurnwiseError,
)

if TYPE_CHECKING:
    from ..core.state import TurnState

APPEND_BLOCKED = ErrorInfo(
    "state", "append_blocked", "The journal store does not answer.", "Check the store and try again."
)

COMPACTION_STOPPED = ErrorInfo(
    "session", "compaction_stopped", "The compaction was stopped before it was done.", "Nothing was changed; ask again."
)


def not_compacted(why_not: str) -> ErrorInfo:
    """Why a compaction that was needed did not come about, though nothing went wrong."""
    if why_not == "no_strategy":
        return ErrorInfo(
            "session",
            "no_strategy",
            "The conversation is to be made shorter, and no strategy for that is set.",
            "Give one: Compaction(strategies=…).",
        )
    return ErrorInfo(
        "session",
        "nothing_to_compact",
        "The conversation cannot be made shorter: all that it has must be kept.",
        "Begin a new session, use a model that reads more, or lower keep_tokens and keep_turns.",
    )


def unwritable(error: Exception) -> ErrorInfo:
    return ErrorInfo(
        "config",
        "unwritable_request",
        f"The request cannot be written: {type(error).__name__}: {error}",
        "A message or setting holds a value of a wrong type: see which one was given last.",
    )


def compaction_failed(error: Exception) -> ErrorInfo:
    return ErrorInfo(
        "session",
        "compaction_failed",
        f"The conversation could not be made shorter: {type(error).__name__}: {error}",
        "The conversation stays as it was. This is a defect; please report it.",
    )


def forked(session: str) -> SessionForked:
    return SessionForked(
        ErrorInfo(
            "session",
            "session_forked",
            "This session was opened by the process that forked this one.",
            "Open a new session after fork(); a stored one can be opened again by its id.",
            session=session,
        )
    )


def closed(session: str) -> SessionClosed:
    return SessionClosed(
        ErrorInfo("session", "session_closed", "This session is closed.", "Open a new one.", session=session)
    )


def sessions_closed() -> SessionClosed:
    return SessionClosed(ErrorInfo("session", "session_closed", "These sessions are closed.", "Make a new Sessions."))


def busy(session: str) -> SessionBusy:
    return SessionBusy(
        ErrorInfo(
            "session",
            "session_busy",
            "A turn is already running in this session.",
            "Wait for it, add to it with steer(), stop it with interrupt(), or use another session.",
            session=session,
        )
    )


def unfinished(session: str, turn: TurnState) -> SessionBusy:
    """A turn has not ended that nobody drives at the moment."""
    if turn.phase == "parked":
        return parked(session, len(turn.pending))
    return SessionBusy(
        ErrorInfo(
            "session",
            "turn_left",
            f"Turn {turn.number} of this session has not ended, and the process that drove it is gone.",
            "Go on with it: session.resume(). Or end it: session.interrupt().",
            session=session,
        )
    )


def parked(session: str, pending: int) -> SessionBusy:
    return SessionBusy(
        ErrorInfo(
            "session",
            "turn_parked",
            f"The turn of this session is parked: {pending} of its calls wait for someone.",
            "Answer them (approve, deny, answer, submit) and resume(), or interrupt() it.",
            session=session,
        )
    )


def not_parked(session: str) -> SessionError:
    return SessionError(
        ErrorInfo("session", "not_parked", "No turn of this session is parked.", "Begin one.", session=session)
    )


def nothing_to(what: str, session: str) -> SessionError:
    hint = "Say something first: only what was said since the session was last cleared counts."
    return SessionError(ErrorInfo("session", "nothing_said", f"There is nothing to {what}.", hint, session=session))


def follow_up_dropped(session: str, number: int) -> SessionError:
    return SessionError(
        ErrorInfo(
            "session",
            "follow_up_dropped",
            f"Follow-up {number} was taken out of the queue before its turn began.",
            "Queue it again if it is wanted after all.",
            session=session,
        )
    )


def follow_up_elsewhere(session: str, number: int) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "follow_up_elsewhere",
            f"Another process has taken the session on and begun follow-up {number}, or taken it out of the queue.",
            "What became of it is in the session's transcript: read that before queueing it again.",
            session=session,
        )
    )


def too_many_waiting(most: int) -> SessionError:
    return SessionError(
        ErrorInfo(
            "session",
            "too_many_waiting",
            f"{most} turns are waiting for a place already, which is as many as may.",
            "Try again later, or allow more with Sessions(max_turns=…, max_waiting=…).",
            retryable=True,
        )
    )


DRAINING = ErrorInfo(
    "session",
    "draining",
    "These sessions are being shut down: no further turn begins here.",
    "Nothing was journalled. Send the input to another process, or again when this one is back.",
    retryable=True,
)


def shut_down(session: str) -> ErrorInfo:
    return ErrorInfo(
        "session",
        "shut_down",
        "The process shuts down before the turn has ended: the turn rests as its journal has it.",
        "Whoever opens the session next, or recovers sessions, goes on with it.",
        retryable=True,
        session=session,
    )


def unknown_agent(name: str, known: Iterable[str], session: str = "") -> ConfigError:
    there = ", ".join(map(repr, sorted(known))) or "none"
    whose = f"Session {session} belongs to agent {name!r}" if session else f"There is no agent {name!r}"
    return ConfigError(
        ErrorInfo(
            "config",
            "unknown_agent",
            f"{whose}, which is not one of these sessions' agents: {there}."
            if session
            else f"{whose} here; there are: {there}.",
            "Give it to Sessions(agents=…) under that name, or hand the session over: sessions.edit(…, agent=…).",
            session=session,
        )
    )


def which_agent(known: Iterable[str]) -> ConfigError:
    there = ", ".join(map(repr, sorted(known))) or "none"
    return ConfigError(
        ErrorInfo(
            "config",
            "which_agent",
            f"It is not said which agent is meant: there are {there}.",
            "Name one: open(…, agent=…).",
        )
    )


def other_agent(session: str, whose: str, asked: str) -> SessionError:
    return SessionError(
        ErrorInfo(
            "session",
            "other_agent",
            f"Session {session} belongs to agent {whose!r}, not {asked!r}.",
            "Leave the agent out, or hand the session over first: sessions.edit(…, agent=…).",
            session=session,
        )
    )


def no_store(what: str) -> ConfigError:
    return ConfigError(
        ErrorInfo(
            "config",
            "no_store",
            f"{what} needs a store that keeps sessions, and there is none.",
            "Give one: Agent(store=…) or persist(store=…).",
        )
    )


def misuse(code: str, message: str, hint: str) -> SessionError:
    return SessionError(ErrorInfo("session", code, message, hint))


def two_readers() -> SessionError:
    return misuse(
        "two_readers", "Another task is reading this turn already.", "One task at a time may iterate over a turn."
    )


def journal_shorter(session: str, told: int) -> StateError:
    return StateError(
        ErrorInfo(
            "state",
            "journal_shorter",
            f"The store does not have all {told} entries of the journal that it has acknowledged.",
            "Entries were lost or removed; watch on without a cursor.",
            session=session,
        )
    )


def stuck(after_s: float) -> ErrorInfo:
    return ErrorInfo(
        "session",
        "stuck",
        f"The turn did not end within {after_s:g} s of being stopped.",
        "Its journal store may be blocked; the session is read again from the store before its next turn.",
    )


def append_failed(error: Exception, session: str) -> ErrorInfo:
    """A store's exception as data."""
    if isinstance(error, TurnwiseError):
        return error.info
    return ErrorInfo(
        "state",
        "append_failed",
        f"The journal could not be written: {type(error).__name__}: {error}",
        "Nothing after the last acknowledged entry was kept; check the store and run the turn again.",
        session=session,
    )


def media_lost(error: Exception) -> ErrorInfo:
    """The blob store does not take what a model has made."""
    if isinstance(error, TurnwiseError):
        return error.info
    return ErrorInfo(
        "state",
        "blob_failed",
        f"What the model has made could not be kept: {type(error).__name__}: {error}",
        "Check the blob store and run the turn again.",
    )


def silence(label: str, seconds: float, answering: bool) -> ErrorInfo:
    """The error of a provider that was given up because it said nothing."""
    hint, within = "Try again, or allow more time with Deadlines.", f"for {seconds:g} s."
    if answering:
        return ErrorInfo("provider", "idle_timeout", f"{label} stopped sending {within}", hint, retryable=True)
    return ErrorInfo("provider", "first_byte_timeout", f"{label} did not answer {within}", hint, retryable=True)

"""What a turn says when something that it could do without does not work, and how the parts that it meets come to be known as degraded.

A result warns of every part that is degraded when the turn ends, and of what the turn itself has lost before. Warnings are about the
process that ran the turn: they are not journalled, and a result that is read again has none. How a part stands otherwise is in `health`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..core.errors import ErrorInfo, TurnwiseError
from ..core.events import Event, TurnFinished, TurnParked
from ..core.result import TurnResult, TurnWarning

if TYPE_CHECKING:
    from .actor import Actor
    from .runtime import Runtime
    from .turn import Turn

OF_ONE_SESSION = frozenset(
    (
        "append_conflict",
        "damaged_blob",
        "damaged_entry",
        "illegal_entry",
        "journal_shorter",
        "lease_lost",
        "missing_blob",
        "session_deleted",
        "unknown_entry",
        "unknown_session",
    )
)
"""Errors of the branch `state` that say nothing about the store as a whole."""


# --- results ----------------------------------------------------------------------------------------------------------


def reworded(session: Actor[Any], turn: Turn | None, events: list[Event]) -> list[Event]:
    """The events of entries that were appended, with what only the running turn knows of its result. That they were appended shows that
    the store works."""
    if session.runtime.failing_stores:
        store_works(session.runtime, session.store)
    if turn is None:
        return events
    if turn.answered is not None:
        events = turn.answered.told(events)
    if not events or not isinstance(last := events[-1], TurnFinished | TurnParked):
        return events
    return [*events[:-1], msgspec.structs.replace(last, result=warned(session.runtime, turn, last.result))]


def warned(runtime: Runtime, turn: Turn, result: TurnResult) -> TurnResult:
    """The result with its warnings."""
    said = {one.part: one for one in turn.warnings}
    said |= {one.part: TurnWarning(one.part, one.code, one.message) for one in runtime.health.degraded}
    return msgspec.structs.replace(result, warnings=tuple(said.values())) if said else result


# --- parts ------------------------------------------------------------------------------------------------------------


def store_lost(session: Actor[Any], error: ErrorInfo) -> None:
    """A session cannot go on with its journal: if that is the store's fault, the store is not well."""
    blocked = error.code == "stuck" and session.appending is not None
    if blocked or (error.branch == "state" and error.code not in OF_ONE_SESSION):
        store_fails(session.runtime, session.store, error.code, error.message)


def store_fails(runtime: Runtime, store: object, code: str, message: str) -> None:
    """This store cannot be written."""
    if store not in runtime.failing_stores:
        runtime.failing_stores.append(store)
    runtime.health.degrade("store", code, message, state="failed")


def store_works(runtime: Runtime, store: object) -> None:
    """This store was written."""
    failing = runtime.failing_stores
    if store in failing:
        failing.remove(store)
        if not failing:
            runtime.health.restore("store")


def artifact_lost(session: Actor[Any], turn: Turn, why: str) -> None:
    """The blob store did not take something that the turn can go on without."""
    message = f"The blob store fails, and something could not be kept: {why}"
    turn.warnings = (*turn.warnings, TurnWarning("artifacts", "artifact_lost", message))
    turn.rewords = True
    session.runtime.health.degrade("artifacts", "artifact_lost", message)


def prices_fail(runtime: Runtime, error: Exception) -> None:
    """The catalogue cannot be read, so what models cost is not known."""
    why = f"{type(error).__name__}: {error}"
    runtime.health.degrade(
        "prices", "prices_unreadable", f"The catalogue of models cannot be read; costs are not known: {why}"
    )


def search_fails(runtime: Runtime, error: Exception) -> None:
    """A store cannot search. It can be written all the same, or says so itself."""
    why = error.message if isinstance(error, TurnwiseError) else f"{type(error).__name__}: {error}"
    runtime.health.degrade("search", "search_failed", f"The store cannot search what sessions have said: {why}")


def works(runtime: Runtime, part: str) -> None:
    """A part has done what it is there for. Costs nothing while nothing is degraded."""
    if runtime.health.degraded:
        runtime.health.restore(part)

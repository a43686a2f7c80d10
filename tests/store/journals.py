"""Journals that the tests of stores write: a first entry, and any number of turns that end."""

from __future__ import annotations

from collections.abc import Sequence

from turnwise.core.entries import CallOutcome, Entry, InputAccepted, SessionCreated, TurnEnded
from turnwise.core.limits import Limits
from turnwise.core.messages import UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.principal import LOCAL, Principal
from turnwise.core.store import Store


def created(session: str, principal: Principal = LOCAL) -> Entry:
    return SessionCreated(session, principal, 1.0)


def said(text: str, turn: int = 1) -> Entry:
    return InputAccepted(UserMessage(text, turn=turn), Limits())


def found(text: str, call: str = "t1.s1.c0") -> Entry:
    return CallOutcome(ToolResult(call, text), "look", True, 2.0)


def ended(turn: int = 1) -> Entry:
    return TurnEnded(turn, "completed", 3.0)


async def write(store: Store, session: str, entries: int, text: str = "x" * 200) -> list[Entry]:
    """A journal of so many entries, one append each; what it has."""
    journal = [created(session), *[said(f"{session} {n} {text}", n) for n in range(1, entries)]]
    for number, entry in enumerate(journal):
        await store.append(session, number, [entry])
    return journal


def same(read: Sequence[Entry], written: Sequence[Entry]) -> bool:
    return list(read) == list(written)

"""What must hold for everybody who watches: each journalled event once and in order, text that is whole and never doubled, a last word.

One `Eyes` stands behind each stream and watcher and is shown every event that came. What was told must have been durable before (D1).
"""

from __future__ import annotations

import msgspec

from ...core.content import Text
from ...core.events import (
    AttemptRestarted,
    Event,
    Notice,
    StepFinished,
    StepSnapshot,
    StepStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolCallStarted,
    ToolProgress,
    TurnFinished,
    TurnParked,
    TurnStarted,
)
from ...core.events_rare import BudgetLow, CacheBroken, TurnRecovered
from .journals import Journal, Violation

_PASSING = frozenset((ThinkingDelta, ToolCallDelta, ToolCallStarted, ToolProgress, BudgetLow, CacheBroken))
_JOURNALLED_NOTICES = frozenset(("side_effects", "concluding", "not_compacted"))
LOST = ("state", "session")
"""Branches of errors of turns that ended without a word in the journal: nobody could write there, or somebody else did."""


class Eyes:
    """Sees the events of one turn (`of_turn`), or of a session from an entry on."""

    def __init__(self, journal: Journal, name: str, after: int | None = None) -> None:
        self.journal = journal
        self.name = name
        self.of_turn = after is None
        self.until: int | None = None
        """The entry that was told of, or on its way, when the session was closed: so far must be told, at least."""
        self.at = journal.began if after is None else journal.first[after]
        self._begun = after is not None
        self.seen = 0
        self.over = False
        self.lost = False
        self._text: list[str] = []
        self._attempt = 0

    def see(self, event: Event) -> None:
        """One more event came."""
        kind = type(event)
        self.seen += 1
        if self.over and self.of_turn:
            raise Violation("H4", f"{self.name} gets {kind.__name__} after the last word")
        if type(event) is TextDelta:
            if event.attempt != self._attempt:
                self._text, self._attempt = [], event.attempt
            self._text.append(event.text)
            return
        if kind in _PASSING:
            return
        if type(event) is StepStarted:
            self._text, self._attempt = [], event.attempt
            return
        if type(event) is StepSnapshot:
            self._text = [block.text for block in event.content if type(block) is Text]
            self._attempt = event.attempt
            return
        if type(event) is Notice and event.code not in _JOURNALLED_NOTICES:
            return
        self._journalled(event)

    def _journalled(self, event: Event) -> None:
        journal = self.journal
        if not self._begun:
            self._begun = True
            if type(event) is TurnStarted:
                self.at = journal.starts.get(event.turn, self.at)
            elif self.of_turn:
                self._resumed(event)
        if type(event) is TurnFinished and event.result.error is not None and event.result.error.branch in LOST:
            expected = journal.told[self.at] if self.at < len(journal.told) else None
            if expected != event:
                self.over = self.lost = True
                return  # what was said by then may become durable yet, and is not said again
        if self.at >= len(journal.told):
            raise Violation(
                "D1", f"{self.name} is told {_short(event)}, which is not in the journal of {journal.session}"
            )
        expected = journal.told[self.at]
        if expected is not event and expected != event and expected != _without_warnings(event):
            raise Violation(
                "D6", f"{self.name} gets {_short(event)} where {_short(expected)} is due ({journal.session}, {self.at})"
            )
        if type(event) is StepFinished:
            if (event.turn, event.step) in journal.revised:
                self._text = []  # what was shown is not taken back
            else:
                self._whole(self.journal.said[self.at])
        elif type(event) is AttemptRestarted or type(event) is TurnRecovered:
            self._text = []
        self.at += 1
        if type(event) is TurnFinished or type(event) is TurnParked:
            self.over, self._text = True, []

    def _resumed(self, event: Event) -> None:
        """The stream of a turn that was resumed begins there, also if its process stood still and another has gone on with it since."""
        told = self.journal.told
        for at in reversed(self.journal.beginnings):
            if at <= self.at < len(told) and told[at] == event:
                self.at = at
                return

    def _whole(self, said: str) -> None:
        seen, self._text = "".join(self._text), []
        if seen != said:
            raise Violation("D6", f"{self.name} has seen {seen[:80]!r} of a step that said {said[:80]!r}")

    def ended(self) -> None:
        """The stream of a turn is over."""
        if not self.over:
            raise Violation("C4", f"{self.name} ended without its last word")

    def caught_up(self) -> None:
        """A watcher of the whole session has read all that there is."""
        journal = self.journal
        due = len(journal.told) if self.until is None else journal.first[min(self.until, len(journal.entries))]
        if self.at < due:
            left = due - self.at
            raise Violation("D6", f"{self.name} was not told the last {left} events of {self.journal.session}")


def _without_warnings(event: Event) -> Event:
    """The account of a turn as the journal has it: what did not work here at the moment (a cache, say) is told to who is there."""
    if not isinstance(event, TurnFinished | TurnParked) or not event.result.warnings:
        return event
    return msgspec.structs.replace(event, result=msgspec.structs.replace(event.result, warnings=()))


def _short(event: Event) -> str:
    error = event.result.error if isinstance(event, TurnFinished) else None
    return repr(event)[:160] if error is None else f"{repr(event)[:160]} with {error.for_log()}"

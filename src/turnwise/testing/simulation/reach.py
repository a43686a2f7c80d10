"""How far a run has come: which input met the machine in which phase, in turns struck by which fault, and what was never reached.

A turn's pairs of phase and input count for each fault that struck between its beginning and that of the next one. Which pairs must be reached
stands here, and for all others why they cannot be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from ...core.entries import Entry, StepCommitted, TurnEnded
from ...core.inputs import Input

PHASES = ("idle", "model", "tools", "parked", "ending")
"""The phases that an input can meet, `idle` for before the first turn and between turns; `done` passes within one fold."""

DEMANDED: dict[str, tuple[tuple[str, ...], str]] = {
    "UserInput": (("idle",), "while a turn runs or is parked the session raises SessionBusy"),
    "Continue": (("idle",), "while a turn runs or is parked the session raises SessionBusy"),
    "ModelReplied": (("model",), "an attempt is under way in that phase only, and one that was stopped does not count"),
    "ModelFailed": (("model",), "an attempt is under way in that phase only, and one that was stopped does not count"),
    "CallBegins": (("tools",), "a call is admitted in that phase only"),
    "CallEnded": (
        ("tools", "parked", "ending"),
        "a call that has ended for the turn is dropped before: its job is abandoned",
    ),
    "Steer": (("model", "tools", "parked", "ending"), "without a turn the session says False, but for a race"),
    "Interrupt": (("model", "tools", "parked", "ending"), "nobody interrupts when nothing runs, but for a race"),
    "Halted": (("ending",), "the clean-up of a turn ends in that phase only"),
    "Approve": (("tools", "parked"), "the session looks whether the call waits"),
    "Deny": (("tools", "parked"), "the session looks whether the call waits"),
    "CallWaits": (("tools",), "a call is admitted in that phase only"),
    "ChangeSettings": (("idle", "model", "tools", "parked", "ending"), ""),
    "Clear": (("idle",), "while a turn runs or is parked the session raises SessionBusy"),
    "CompactionEnded": (("idle", "model", "tools", "parked"), "the clean-up of a turn stops its compaction"),
    "Decide": (("tools",), "a call is admitted in that phase only"),
    "DropFollowUps": (("idle", "model", "tools", "parked", "ending"), ""),
    "Expire": (("parked",), "only a parked turn is looked after"),
    "FollowUp": (("idle", "model", "tools", "parked", "ending"), ""),
    "LimitHit": (("model",), "a request is weighed in that phase only"),
    "Recover": (("model", "tools", "ending"), "only a turn that was left under way is recovered"),
    "Resume": (("parked",), "the session looks whether a turn is parked"),
    "Rewind": (("idle",), "while a turn runs or is parked the session raises SessionBusy"),
    "SpentElsewhere": (("tools",), "a nested run belongs to a call"),
    "Stop": (("model",), "whoever stops a turn waits for its next model call"),
    "UndoCompaction": (("idle", "model", "tools", "parked", "ending"), ""),
}
"""Of each input the phases in which it must be met, and why not in the others."""
RECOVERS = ("Recover",)
"""What needs a store that outlives the process."""


class Reach:
    """Counts. A turn's pairs of phase and input count for each fault that struck it, and for `none` if none did."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str, str]] = Counter()
        self.turns = self.steps = self.calls = self.crashes = self.episodes = 0
        self.reasons: Counter[str] = Counter()
        self.extended: Counter[tuple[str, str]] = Counter()
        """What hooks and middleware did, by kind."""
        self._pairs: dict[str, list[tuple[str, str]]] = {}
        self._faults: dict[str, set[str]] = {}

    def entry(self, entry: Entry) -> None:
        """An entry was appended."""
        if type(entry) is StepCommitted:
            self.steps += 1
            self.calls += len(entry.message.tool_calls)
        elif type(entry) is TurnEnded:
            self.reasons[entry.reason] += 1

    def fed(self, name: str, inputs: Sequence[Any], phase: str) -> None:
        """A machine in this phase was given these inputs."""
        pairs = self._pairs.get(name)
        if pairs is None:
            pairs = self._pairs[name] = []
        for given in inputs:
            pairs.append((phase, type(given).__name__))

    def struck(self, name: str, fault: str) -> None:
        """A fault has struck a session."""
        self._faults.setdefault(name, set()).add(fault)

    def next_turn(self, name: str) -> None:
        """The turn's account is closed."""
        pairs, faults = self._pairs.pop(name, None), self._faults.pop(name, None)
        if pairs:
            counted = self.counted
            for fault in sorted(faults) if faults else ("none",):
                for phase, given in pairs:
                    counted[phase, given, fault] += 1

    def close(self) -> None:
        """The episode is over."""
        for name in list(self._pairs):
            self.next_turn(name)
        self._faults.clear()

    def add(self, other: Reach) -> None:
        """What another run has reached, too."""
        self.counted.update(other.counted)
        self.reasons.update(other.reasons)
        self.extended.update(other.extended)
        for what in ("turns", "steps", "calls", "crashes", "episodes"):
            setattr(self, what, getattr(self, what) + getattr(other, what))


class Row(msgspec.Struct, frozen=True):
    """One pair: how often it was met in all, and under which fault least often."""

    phase: str
    given: str
    met: int
    least: int
    under: str


def table(reach: Reach, faults: Sequence[str], *, recovers: bool) -> list[Row]:
    """The pairs that must be reached, those met least often first."""
    rows: list[Row] = []
    for given, (phases, _) in DEMANDED.items():
        if given in RECOVERS and not recovers:
            continue
        for phase in phases:
            by_fault = {fault: reach.counted[phase, given, fault] for fault in faults}
            under = min(by_fault, key=lambda fault: by_fault[fault])
            rows.append(Row(phase, given, sum(by_fault.values()), by_fault[under], under))
    return sorted(rows, key=lambda row: (row.least, row.met))


def impossible() -> list[tuple[str, str, str]]:
    """The pairs that are not demanded: phase, input and reason."""
    found: list[tuple[str, str, str]] = []
    for given, (phases, why) in DEMANDED.items():
        found += [(phase, given, why) for phase in PHASES if phase not in phases]
    return found


def unknown_inputs() -> list[str]:
    """Inputs of the machine that the table does not know: it has to be told."""
    return sorted({kind.__name__ for kind in get_args(Input)} - DEMANDED.keys())

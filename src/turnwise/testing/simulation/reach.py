"""How far a run has come: which input met the machine in which phase, in turns struck by which fault."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ...core.entries import Entry, StepCommitted, TurnEnded


class Reach:
    """Counts. A turn's pairs of phase and input count for each fault that struck it, and for `none` if none did."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str, str]] = Counter()
        self.turns = self.steps = self.calls = self.crashes = self.episodes = 0
        self.reasons: Counter[str] = Counter()
        self._pairs: dict[str, list[tuple[str, str]]] = {}
        self._faults: dict[str, set[str]] = {}

    def fed(self, name: str, inputs: Sequence[Any], phase: str) -> None:
        pairs = self._pairs.get(name)
        if pairs is None:
            pairs = self._pairs[name] = []
        for given in inputs:
            pairs.append((phase, type(given).__name__))

    def entry(self, entry: Entry) -> None:
        """An entry was appended."""
        if type(entry) is StepCommitted:
            self.steps += 1
            self.calls += len(entry.message.tool_calls)
        elif type(entry) is TurnEnded:
            self.reasons[entry.reason] += 1

    def struck(self, name: str, fault: str) -> None:
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

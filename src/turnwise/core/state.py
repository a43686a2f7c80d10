"""The state of a session: a fold of its journal. What folds it is `evolve`, the only thing that changes it.

`history` is everything that was said and not taken back; `transcript` is what the next request sends of it. They are one and the
same list until the view changes (`core/view.py`). Both are valid at every moment: a response that asks for tools waits in
`TurnState.saying` and enters together with the outcomes of all its calls.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .changes import FollowUpQueued
from .content import ToolCall
from .entries import InterruptCause, Keep
from .errors import ErrorInfo, illegal
from .limits import Limits
from .messages import AssistantMessage, Message, UserMessage
from .outcomes import ToolResult
from .principal import LOCAL, Principal
from .result import Pending, TurnReason
from .settings import AGENTS_OWN, SessionSettings
from .usage import NO_USAGE, Usage
from .view import WHOLE, Change, View

Phase = Literal["model", "tools", "parked", "done", "ending", "ended"]
"""Waiting for a response; for outcomes; for someone, at rest; for nothing (the answer is final); for the clean-up after an
interrupt; over."""

RECENT_STEPS = 512
"""How many steps of a turn are remembered for finding loops."""


class CallState(msgspec.Struct):
    """One call of the step whose outcomes are awaited. `waits` while it waits for someone; `allowed` once it may run; `again` if it
    had `started` before a crash, and is to be run once more; `hooked` once hooks have made of it what it is."""

    call: ToolCall
    started: bool = False
    idempotent: bool = False
    again: bool = False
    result: ToolResult | None = None
    waits: Pending | None = None
    allowed: bool = False
    hooked: bool = False


class TurnState(msgspec.Struct):
    """The turn that runs, or the last one. `step` and `attempt` number the model call that is due or under way, `model` is the
    number of the model it goes to, `tried` how often this step has failed with that model. `first` is where its messages begin in
    the history. `asked_again` counts what makes the same model call or calls due once more: compactions, answers. `answer` is what a call
    brought as the answer, if `answered`; `problems` counts answers that were not what was asked for, `refused` says what was wrong
    with the last one that a call brought. `changed` names the tools that may have changed something outside. `recovered` counts the
    crashes since it last came forward. It began at `began_at` and was parked for `rested_s` seconds before it was parked last, at `parked_at`."""

    number: int
    limits: Limits
    first: int
    began_at: float = 0.0
    parked_at: float = 0.0
    rested_s: float = 0.0
    phase: Phase = "model"
    step: int = 1
    attempt: int = 1
    model: int = 0
    tried: int = 0
    steps: int = 0
    calls: int = 0
    retries: int = 0
    client_ref: str | None = None
    saying: AssistantMessage | None = None
    awaited: list[CallState] = []
    steers: list[UserMessage] = []
    steered: int = 0
    recent: list[tuple[ToolCall, ...]] = []
    called: dict[str, int] = {}
    changed: list[str] = []
    interrupt: InterruptCause | None = None
    keep: Keep = "partial"
    last: AssistantMessage | None = None
    usage: Usage = NO_USAGE
    nested_steps: int = 0
    nested_calls: int = 0
    asked_again: int = 0
    answered: bool = False
    answer: str = ""
    refused: str = ""
    problems: int = 0
    concluding: str = ""
    concluded_at: int = 0
    overflow: ErrorInfo | None = None
    overflowed: bool = False
    compacted_step: int = 0
    recovered: int = 0
    reason: TurnReason = "completed"
    cause: str = ""
    error: ErrorInfo | None = None

    def call(self, call_id: str) -> CallState:
        """The awaited call of that id; raises `StateError` if the step has none."""
        found = self.find(call_id)
        if found is None:
            raise illegal(f"no call {call_id!r} is open in turn {self.number}")
        return found

    def find(self, call_id: str) -> CallState | None:
        """The awaited call of that id, if there is one."""
        for state in self.awaited:
            if state.call.id == call_id:
                return state
        return None

    @property
    def pending(self) -> tuple[Pending, ...]:
        """What the turn waits for from someone else than the model and its tools."""
        return tuple([c.waits for c in self.awaited if c.waits is not None and c.result is None])


class SessionState(msgspec.Struct):
    """A session as its journal tells it. `seq` is the number of the last entry; `base` counts the changes of the view, so that a
    compaction which was planned on another one is told apart (rule X4). `context_tokens` is what the last response said that
    the conversation takes by then, `context_limit` how much the model that was asked last reads; `queued` is how many follow-ups there
    have been."""

    id: str = ""
    principal: Principal = LOCAL
    seq: int = 0
    created_at: float = 0.0
    history: list[Message] = []
    transcript: list[Message] = []
    views: list[View] = []
    base: int = 0
    settings: SessionSettings = AGENTS_OWN
    queue: list[FollowUpQueued] = []
    queued: int = 0
    turns: int = 0
    turn: TurnState | None = None
    usage: Usage = NO_USAGE
    last_usage: Usage | None = None
    requests: int = 0
    context_tokens: int | None = None
    context_limit: int | None = None

    @property
    def running(self) -> bool:
        """Whether a turn has begun and not ended; a parked one counts."""
        return self.turn is not None and self.turn.phase != "ended"

    @property
    def under_way(self) -> bool:
        """Whether a turn has begun that neither ended nor waits for someone."""
        return self.turn is not None and self.turn.phase not in ("parked", "ended")

    @property
    def change(self) -> Change:
        """What the transcript leaves out of the history by now."""
        return self.views[-1].change if self.views else WHOLE

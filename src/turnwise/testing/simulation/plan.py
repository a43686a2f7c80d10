"""What is going to happen in one episode, as data: who says what, what models answer, what goes wrong, and when.

Plans are made from a seed in `planning`, and made shorter in `shrink`. Nothing here runs anything.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Level = Literal["none", "light", "heavy"]
StoreKind = Literal["memory", "stored", "sqlite"]
"""Journals in memory that never wait; a store in memory that takes its time, shared by processes; the same with SQLite."""

ANSWER_FAULTS = (
    "refused",
    "slow_connect",
    "no_answer",
    "stall",
    "reset_early",
    "reset",
    "truncated",
    "no_terminator",
    "error_event",
    "overloaded",
    "unavailable",
    "rate_limited",
    "rate_limited_after",
    "garbage",
    "html",
    "same_ids",
    "overflow",
    "cut_off",
)
TOOL_FAULTS = (
    "tool_fails",
    "tool_slow",
    "tool_hangs",
    "tool_deaf",
    "tool_huge",
    "tool_malformed",
    "bad_arguments",
    "unknown_tool",
)
STORE_FAULTS = ("append_fails", "append_fails_late", "slow_append", "disk_full", "lease_lost", "paused")
PROCESS_FAULTS = ("crash", "two_owners", "clock_skew")
FAULTS = ("none", *ANSWER_FAULTS, *TOOL_FAULTS, *STORE_FAULTS, *PROCESS_FAULTS)

APIS = ("anthropic", "openai", "openai-responses", "gemini", "vertex", "cohere", "bedrock", "ollama")

How = Literal["run", "stream", "slow_stream", "channel", "steps", "follow_up", "continue", "regenerate"]
Phase = Literal["model", "tools", "parked", "ending", "idle"]


class CallPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A call that the model asks for, with its raw arguments. `fault` is what is wrong with the call itself."""

    tool: str
    arguments: str
    fault: str = ""


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the model says to one request, and how the bytes come: `cuts` reads, `pace_s` apart, after `wait_s`. `at` is where in the body
    the fault strikes, as a share of it."""

    text: str = ""
    thinking: str = ""
    calls: tuple[CallPlan, ...] = ()
    stop: str | None = None
    has_usage: bool = True
    interleaved: bool = False
    wait_s: float = 0.05
    pace_s: float = 0.0
    cuts: tuple[float, ...] = ()
    fault: str = ""
    at: float = 0.5


class Act(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody does beside the turn: `after_s` after it has come into `phase` for the `nth` time. `seed` is for its details."""

    what: str
    phase: Phase
    after_s: float
    nth: int = 1
    seed: int = 0


class TurnPlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One turn: how it is begun and read, what the model answers, and what else happens."""

    number: int
    how: How
    answers: tuple[Answer, ...]
    acts: tuple[Act, ...] = ()
    store_faults: tuple[tuple[str, int], ...] = ()
    """What the store does, to which of the appends of the turn (counted from 1)."""
    steps: int | None = None
    calls: int | None = None
    tokens: int | None = None
    wall_time_s: float | None = None
    on_limit: Literal["stop", "conclude"] = "stop"
    watch: str = ""
    streamed: bool = True
    stops_after: int | None = None
    """The step after which it is stopped."""
    pause_s: float = 0.0
    """How long the person waits before."""


class ExtensionPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """A hook (`kind` is its point) or a middleware that an agent has. At a share of its calls it `acts`, a hook at a share has `trouble`."""

    name: str
    kind: str
    manner: str = "async"
    fail: Literal["open", "closed"] = "open"
    timeout_s: float = 2.0
    priority: int = 0
    acts: float = 0.2
    trouble: float = 0.05

    @property
    def is_hook(self) -> bool:
        return "." in self.kind or self.kind == "error"


class SessionPlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One session and its person. `apis` are the models of its agent, first choice first."""

    name: str
    apis: tuple[str, ...]
    turns: tuple[TurnPlan, ...]
    window: int | None = None
    restart: Literal["before_output", "before_commit"] = "before_output"
    extensions: tuple[ExtensionPlan, ...] = ()


class Blow(msgspec.Struct, frozen=True, omit_defaults=True):
    """After so many callbacks of the world the process in this place is dropped, or stopped for so many seconds."""

    step: int
    slot: int
    stopped_s: float | None = None


class EpisodePlan(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A world from its beginning to its end. `order` decides who is next; `blows` are what befalls whole processes."""

    seed: str
    store: StoreKind
    order: int
    sessions: tuple[SessionPlan, ...]
    processes: int = 1
    skews: tuple[float, ...] = (0.0,)
    """How much the wall clock of each process is wrong, in seconds."""
    blows: tuple[Blow, ...] = ()
    onlookers: tuple[tuple[int, str], ...] = ()
    """In which place somebody watches which session by its name, from turn to turn."""

    @property
    def turns(self) -> int:
        return sum([len(session.turns) for session in self.sessions])

"""Settings of compaction, and the report of one. How a compaction is planned is in compaction_plan.py, who carries it out in
runtime/compact.py."""

from __future__ import annotations

from typing import Literal

import msgspec

from .errors import ErrorInfo

PLACEHOLDER = "[The result of {tool} was left out to make room: {size}.]"


def _at_least(kind: str, name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ValueError(f"{kind}({name}={value}): use {least} or more")


class Mask(msgspec.Struct, frozen=True, tag="mask", omit_defaults=True):
    """Old tool results are replaced by their short summary (`@tool(summary=…)`), else by a placeholder.

    `placeholder` may name `{tool}` and `{size}`. Results below `min_bytes` stay as they are. What was masked stays masked, with
    the same text (rule X6).
    """

    placeholder: str = PLACEHOLDER
    min_bytes: int = 200

    def __post_init__(self) -> None:
        try:
            self.placeholder.format(tool="a_tool", size="1 byte")
        except (LookupError, ValueError, AttributeError) as error:
            raise ValueError(
                f"Mask(placeholder={self.placeholder!r}): it may name {{tool}} and {{size}} only"
            ) from error
        _at_least("Mask", "min_bytes", self.min_bytes, 0)


class Summarise(msgspec.Struct, frozen=True, tag="summarise", omit_defaults=True):
    """A model writes a summary of old messages, which then stands for them as a marked user message.

    `model` (`provider:model`) writes it; None: the session's own. `max_output_tokens` bounds the summary. `instructions` are added
    to ours: what matters in this kind of conversation. A summary that is empty, not smaller than what it replaces, or
    silent about open items is not used (rule X3).
    """

    model: str | None = None
    max_output_tokens: int = 4096
    instructions: str = ""

    def __post_init__(self) -> None:
        _at_least("Summarise", "max_output_tokens", self.max_output_tokens, 1)


class Drop(msgspec.Struct, frozen=True, tag="drop", omit_defaults=True):
    """The oldest messages are left out, as few as will do; a note says so and repeats the user's last request. After a strategy that
    failed it is used only if the request could not be sent otherwise."""


Strategy = Mask | Summarise | Drop


class Compaction(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a conversation is made shorter for the model, how much, and how (rules X1-X6).

    A request that would fill more than the share `at` of the model's context window is preceded by a compaction, which aims at
    the share `to`. Strategies are tried in order until that is reached. What is recent stays as it is: `keep_tokens` of the latest
    messages (default: half of what remains after the compaction) and, if they fit in, the latest `keep_turns` turns. Cuts fall between
    steps, also inside a turn. With an unknown context window nothing is triggered by share; an overflow that the provider
    reports leads to a compaction all the same. Nothing is deleted: see `Session.history` and `Session.undo_compaction`.
    """

    at: float = 0.8
    to: float = 0.5
    keep_tokens: int | None = None
    keep_turns: int | None = None
    strategies: tuple[Strategy, ...] = (Mask(), Summarise(), Drop())

    def __post_init__(self) -> None:
        for name, share in (("at", self.at), ("to", self.to)):
            if not 0 < share <= 1:
                raise ValueError(f"Compaction({name}={share}): a share of the context window is above 0 and at most 1")
        if self.to > self.at:
            raise ValueError(f"Compaction(at={self.at}, to={self.to}): a compaction cannot aim above what triggers it")
        _at_least("Compaction", "keep_tokens", self.keep_tokens, 1)
        _at_least("Compaction", "keep_turns", self.keep_turns, 1)


DEFAULT_COMPACTION = Compaction()


def in_force(agents: Compaction | None, sessions: Compaction | bool | None) -> Compaction | None:
    """What holds in a session: its own setting, else its agent's."""
    if isinstance(sessions, Compaction):
        return sessions
    if sessions is None:
        return agents
    return (agents or DEFAULT_COMPACTION) if sessions else None


WhyNot = Literal["", "nothing_to_compact", "no_strategy", "failed", "base_changed"]


class CompactReport(msgspec.Struct, frozen=True):
    """What a compaction came to.

    `why_not` is empty if the conversation was compacted; else: all that there is must be kept (`nothing_to_compact`); none is
    set (`no_strategy`); it `failed`, and `error` says how; the conversation was changed meanwhile by another compaction, an undo or the
    like (`base_changed`). `error` can also be set beside `compacted`: one strategy failed and another did it. Messages, tokens (estimated) and
    turns are those of the transcript before and after, the summary counted as a message but in no turn. `turns_compacted` are turns of which something
    is no longer sent as it was, `turns_kept` those of which everything is. `results_masked` were replaced by a placeholder,
    `results_summarised` by their own summaries; `summary_chars` is the length of the new summary.
    """

    compacted: bool
    why_not: WhyNot = ""
    error: ErrorInfo | None = None
    messages_before: int = 0
    messages_after: int = 0
    tokens_before: int = 0
    tokens_after: int = 0
    turns_before: int = 0
    turns_after: int = 0
    turns_compacted: int = 0
    turns_kept: int = 0
    results_masked: int = 0
    results_summarised: int = 0
    summary_chars: int = 0

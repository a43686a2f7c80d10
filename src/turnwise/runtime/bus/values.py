"""What the bus hands out, and what is said about who gets it: plain values."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ...core.errors import ErrorInfo

BusPolicy = Literal["drop_oldest", "drop_newest", "coalesce", "disconnect"]
"""What a subscriber's full queue does: the oldest event goes, or the new one; of each key only the newest waits; or the subscriber is
cut off."""


class BusEvent(msgspec.Struct, frozen=True):
    """Something that was published. `cursor` counts what is published on this bus and only grows; 0 for what was read from a journal.
    What a session tells comes with its id, its turn and the number of its journal `entry` (None: it is in no entry)."""

    cursor: int
    topic: str
    data: Any = None
    session: str | None = None
    turn: int | None = None
    entry: int | None = None


class HandlerFailed(msgspec.Struct, frozen=True):
    """The data of `bus.error`: what a subscriber's own code (its handler, its key) raised, and at which event."""

    subscriber: str
    topic: str
    cursor: int
    error: ErrorInfo


class SubscriberStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber and its queue: `waiting` of at most `size` events. `dropped` were never delivered because it was full, `coalesced`
    were replaced by a newer one of their key; `errors` counts what its own code raised. `behind`: it has dropped since its queue was empty."""

    name: str
    patterns: tuple[str, ...]
    policy: BusPolicy
    size: int
    waiting: int
    dropped: int
    coalesced: int
    errors: int
    behind: bool
    last_error: ErrorInfo | None = None


class BusStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A bus: the `cursor` of its last event, its subscribers, and how many events from other threads were `refused` because too many of
    them waited to be taken in."""

    cursor: int
    refused: int
    subscribers: tuple[SubscriberStatus, ...]

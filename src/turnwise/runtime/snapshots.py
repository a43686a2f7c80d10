"""When a session's state is saved as a snapshot, so that the next process to open it need not fold all of its journal.

A snapshot is saved beside what goes on: after the end of a turn was told, in a task of the runtime, a part at a time. One that cannot be
saved costs the next opening some time and nothing else. How many entries are let go by in between grows with the snapshot, so that
a long session does not write all of itself again and again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from ..core.errors import StateError
from ..core.messages import Message
from ..core.state import SessionState
from ..core.store import Snapshot, Store
from ..store.projection import PART, Archive, Encoded, Encoding
from .degraded import works

if TYPE_CHECKING:
    from .actor import Actor

LEAST_ENTRIES = 64
"""A session is saved after so many entries, if it is small."""
BYTES_PER_ENTRY = 32 << 10
"""What saving may cost for each entry: a snapshot of this many bytes is worth one more entry of waiting."""


class Saved:
    """What was saved last: entry `seq`, in so many `bytes`; `parts` are those that need not be encoded again. `saving` is the saving that is
    under way."""

    __slots__ = ("bytes", "parts", "saving", "seq")

    def __init__(self, seq: int = 0, bytes: int = 0) -> None:
        self.seq = seq
        self.bytes = bytes
        self.parts: list[Encoded] = []
        self.saving: asyncio.Task[bool] | None = None

    def is_due(self, seq: int) -> bool:
        return self.saving is None and seq - self.seq >= max(LEAST_ENTRIES, self.bytes // BYTES_PER_ENTRY)


def saved_as(snapshot: Snapshot | None) -> Saved:
    """For a session that was opened from this."""
    return Saved() if snapshot is None else Saved(snapshot.seq, len(snapshot.data))


def consider(session: Actor[Any], store: Store, saved: Saved) -> None:
    """A turn is over: save the session as it is now, if that is due. Returns at once."""
    if saved.is_due(session.state.seq):
        _begin(session, store, saved)


async def save(session: Actor[Any], store: Store, saved: Saved) -> bool:
    """Have the session saved as it is now; false if it cannot be saved now. Cancelling this stops the waiting only."""
    if saved.saving is not None:
        await asyncio.wait((saved.saving,))
    if saved.seq == session.state.seq:
        return True
    saving = _begin(session, store, saved)
    if saving is None:
        return False
    await asyncio.wait((saving,))
    return not saving.cancelled() and saving.result()


def _begin(session: Actor[Any], store: Store, saved: Saved) -> asyncio.Task[bool] | None:
    """Save the state, if all of it is durable. What is said from now on is not in it."""
    seq = session.state.seq
    if session.lost is not None or session.told != seq:
        return None
    saving = session.runtime.start(_save(session, store, saved, Encoding(session.state, saved.parts)))

    def over(_: asyncio.Task[bool]) -> None:
        saved.saving = None

    if not saving.done():
        saved.saving = saving
        saving.add_done_callback(over)
    return saving


async def _save(session: Actor[Any], store: Store, saved: Saved, encoding: Encoding) -> bool:
    try:
        while encoding.part():
            await session.runtime.sleep(0)
        snapshot = encoding.snapshot()
        await store.save_snapshot(session.id, snapshot)
    except Exception as error:  # it is made again after the next turn
        why = f"Sessions cannot be saved, so that opening them takes longer: {type(error).__name__}: {error}"
        session.runtime.health.degrade("snapshots", "snapshot_failed", why)
        return False
    works(session.runtime, "snapshots")
    saved.seq, saved.bytes, saved.parts = snapshot.seq, len(snapshot.data), encoding.parts
    return True


def thaw(state: SessionState, saved: Saved) -> bool:
    """Have the transcript as a plain list, as a turn needs it; false if its snapshot is damaged."""
    transcript = cast("Archive | list[Message]", state.transcript)
    if type(transcript) is list or not isinstance(transcript, Archive):
        return True
    try:
        plain = list(transcript)
    except StateError:
        return False
    if state.history is state.transcript:
        state.history = plain
        parts = [Encoded(part.count, part.raw, part.messages[-1]) for part in transcript.parts if part.raw is not None]
        saved.parts = [part for part in parts if part.count == PART]
    state.transcript = plain
    return True

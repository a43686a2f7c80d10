"""When a session's state is saved as a snapshot, so that the next process to open it need not fold all of its journal.

A snapshot is saved beside what goes on: after the end of a turn was told, in a task of the runtime, a part at a time. One that cannot be
saved costs the next opening some time and nothing else. How many entries are let go by in between grows with the snapshot, so that
a long session does not write all of itself again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..core.errors import StateError
from ..core.messages import Message
from ..core.state import SessionState
from ..core.store import Snapshot, Store
from ..store.projection import Archive, Encoding

if TYPE_CHECKING:
    from .actor import Actor

LEAST_ENTRIES = 64
"""A session is saved after so many entries, if it is small."""
BYTES_PER_ENTRY = 32 << 10
"""What saving may cost for each entry: a snapshot of this many bytes is worth one more entry of waiting."""


class Saved(msgspec.Struct):
    """What was saved last: entry `seq`, in so many `bytes`. `saving` while it is being done."""

    seq: int = 0
    bytes: int = 0
    saving: bool = False

    def is_due(self, seq: int) -> bool:
        return not self.saving and seq - self.seq >= max(LEAST_ENTRIES, self.bytes // BYTES_PER_ENTRY)


def saved_as(snapshot: Snapshot | None) -> Saved:
    """For a session that was opened from this."""
    return Saved() if snapshot is None else Saved(snapshot.seq, len(snapshot.data))


def consider(session: Actor[Any], store: Store, saved: Saved) -> None:
    """A turn is over: save the session, if that is due. Returns at once."""
    if saved.is_due(session.state.seq):
        session.runtime.start(save(session, store, saved))


async def save(session: Actor[Any], store: Store, saved: Saved) -> bool:
    """Save a session as it is now, which must be durable; false if it cannot be, or is saved already."""
    if saved.saving or not session.settled or session.lost is not None or saved.seq == session.state.seq:
        return False
    saved.saving = True
    try:
        encoding = Encoding(session.state)
        while encoding.part():
            await session.runtime.sleep(0)
        snapshot = encoding.snapshot()
        await store.save_snapshot(session.id, snapshot)
    except Exception:  # it is made again after the next turn
        return False
    finally:
        saved.saving = False
    saved.seq, saved.bytes = snapshot.seq, len(snapshot.data)
    return True


def thaw(state: SessionState) -> bool:
    """Have the transcript as a plain list, as a turn needs it; false if its snapshot is damaged."""
    transcript = cast("Archive | list[Message]", state.transcript)
    if not isinstance(transcript, Archive):
        return True
    try:
        plain = list(transcript)
    except StateError:
        return False
    if state.history is state.transcript:
        state.history = plain
    state.transcript = plain
    return True

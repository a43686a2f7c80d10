"""Artifacts: the whole texts of results that were too long for the model, and who may read them.

A text lies in the blob store under its sha256, which sessions share. A session gives out only what one of its own results refers to.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..core.content import BlobRef
from ..core.messages import ToolMessage
from ..core.outcomes import ToolResult
from . import refusals

if TYPE_CHECKING:
    from .actor import Actor


def ref_of(data: bytes) -> BlobRef:
    """The reference to a text that is kept, in UTF-8."""
    return BlobRef(sha256(data).hexdigest(), len(data), "text/plain")


class SessionArtifacts:
    """The artifacts of one session: `core.protocols.Artifacts`."""

    __slots__ = ("_session",)

    def __init__(self, session: Actor[Any]) -> None:
        self._session = session

    async def text(self, id: str) -> str | None:
        for result in self._results():
            ref = result.artifact
            if ref is not None and id in (result.call_id, ref.sha256):
                return (await self._session.blobs.get(ref.sha256)).decode()
        return None

    async def data(self, which: BlobRef | str) -> bytes:
        """See `Session.artifact`."""
        if isinstance(which, BlobRef):
            return await self._session.blobs.get(which.sha256)
        text = await self.text(which)
        if text is None:
            raise refusals.misuse(
                "unknown_artifact",
                f"No result of this session has an artifact {which!r}.",
                "Name the call's id, or ToolResult.artifact; only results that were too long for the model have one.",
            )
        return text.encode()

    def _results(self) -> Iterator[ToolResult]:
        """All results of the session, the newest first."""
        state = self._session.state
        if state.turn is not None:
            yield from [call.result for call in state.turn.awaited if call.result is not None]
        for message in reversed(state.history):
            if isinstance(message, ToolMessage):
                yield from message.results

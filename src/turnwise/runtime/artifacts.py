"""Artifacts: the whole texts of results that were too long for the model, and who may read them.

A text lies in the blob store under its sha256, which sessions share. A session gives out only what one of its own results refers to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from ..core.content import BlobRef
from ..core.messages import ToolMessage
from ..core.outcomes import ToolResult
from ..core.protocols import Blobs
from ..tools import Tool
from ..tools.cap import Cut, capped, left_out, text_in
from . import refusals
from .attachments import takes_pieces
from .pieces import PIECE_BYTES

if TYPE_CHECKING:
    from .actor import Actor

Tools = Mapping[str, Tool[..., Any]]


def ref_of(data: bytes) -> BlobRef:
    """The reference to a text that is kept, in UTF-8."""
    return BlobRef(sha256(data).hexdigest(), len(data), "text/plain")


async def keep(text: str, blobs: Blobs) -> BlobRef:
    """Put a text away. Raises what the blob store raises."""
    data = text.encode()
    await blobs.put(data)
    return ref_of(data)


def cut(result: ToolResult, text: str, limit: int, ref: BlobRef | None, tools: Tools) -> ToolResult:
    """The result, whose text is `text`, with the middle left out; `ref` is where the whole is kept, if it is."""
    where = whereabouts(result.call_id, ref, tools)

    def note(text: str, cut: Cut) -> str:
        return left_out(text, cut, where)

    return msgspec.structs.replace(result, body=capped(result.body, text, limit, note), artifact=ref)


def whereabouts(call_id: str, ref: BlobRef | None, tools: Tools) -> str:
    """How to get at the whole text, for the model: it is told of `read_artifact` only if it has it."""
    if ref is None:
        return "The whole text could not be kept."
    from ..tools.artifacts import read_artifact

    if tools.get(read_artifact.name) is not read_artifact:
        return "The whole text is kept with the session."
    return f'Read it with {read_artifact.name}(id="{call_id}").'


class SessionArtifacts:
    """The artifacts of one session: `core.protocols.Artifacts`."""

    __slots__ = ("_session",)

    def __init__(self, session: Actor[Any]) -> None:
        self._session = session

    async def fitted(self, result: ToolResult, limit: int | None, tools: Tools) -> ToolResult:
        """A result that was handed in, cut if it is too long."""
        text = text_in(result.body)
        if limit is None or len(text) <= limit:
            return result
        return cut(result, text, limit, await keep(text, self._session.blobs), tools)

    async def text(self, id: str) -> str | None:
        ref = self._find(id)
        return None if ref is None else (await self._session.blobs.get(ref.sha256)).decode()

    async def data(self, which: BlobRef | str) -> bytes:
        """See `Session.artifact`."""
        return await self._session.blobs.get(self._named(which).sha256)

    async def pieces(self, which: BlobRef | str) -> AsyncIterator[bytes]:
        """See `Session.open_artifact`."""
        blobs, name = self._session.blobs, self._named(which).sha256
        if takes_pieces(blobs):
            async for piece in blobs.stream(name):
                yield piece
        else:
            data = memoryview(await blobs.get(name))
            for at in range(0, len(data), PIECE_BYTES):
                yield bytes(data[at : at + PIECE_BYTES])

    def _named(self, which: BlobRef | str) -> BlobRef:
        ref = which if isinstance(which, BlobRef) else self._find(which)
        if ref is None:
            raise refusals.misuse(
                "unknown_artifact",
                f"No result of this session has an artifact {which!r}.",
                "Name the call's id, or ToolResult.artifact; only results that were too long for the model have one.",
            )
        return ref

    def _find(self, id: str) -> BlobRef | None:
        for result in self._results():
            ref = result.artifact
            if ref is not None and id in (result.call_id, ref.sha256):
                return ref
        return None

    def _results(self) -> Iterator[ToolResult]:
        """All results of the session, the newest first."""
        state = self._session.state
        if state.turn is not None:
            yield from [call.result for call in state.turn.awaited if call.result is not None]
        for message in reversed(state.history):
            if isinstance(message, ToolMessage):
                yield from message.results

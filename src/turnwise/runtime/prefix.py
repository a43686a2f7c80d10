"""The encoded messages of a session, kept so that a request costs what the conversation grew by (rule T7).

One growing buffer, not bytes per message. It is only ever appended to while transcript and codec stay the same; anything else
starts it anew. `covering` hands out the buffer itself, which stays as it is until the next call.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.messages import Message
from ..wire.base import Blobs, Codec


class Prefix:
    """Encoded messages `[0:count]` of a transcript, for one codec."""

    __slots__ = ("__weakref__", "_codec", "_count", "_last", "_segments")

    def __init__(self) -> None:
        self._codec: Codec | None = None
        self._count = 0
        self._last: Message | None = None
        self._segments = bytearray()

    def __len__(self) -> int:
        return len(self._segments)

    def lacks(self, transcript: Sequence[Message], codec: Codec) -> Sequence[Message]:
        """The messages that `covering` would encode."""
        return transcript[self._count :] if self._covers(transcript, codec) else transcript

    def covering(self, transcript: Sequence[Message], codec: Codec, blobs: Blobs) -> bytearray:
        """The segments of the whole transcript."""
        if not self._covers(transcript, codec):
            self.drop()
            self._codec = codec
        if len(transcript) > self._count:
            fresh = codec.encode_messages(transcript, self._count, blobs)
            if fresh:
                self._append(fresh)
            self._count = len(transcript)
            self._last = transcript[-1]
        return self._segments

    def _append(self, fresh: bytearray) -> None:
        """A connection that was dropped in mid-request may still hold a view of the buffer, which then cannot grow."""
        segments = self._segments
        if not segments:
            self._segments = fresh
            return
        try:
            segments += b"," + fresh
        except BufferError:
            self._segments = bytearray(segments + b"," + fresh)

    def drop(self) -> None:
        """Forget everything, to give back the memory."""
        self._codec, self._count, self._last, self._segments = None, 0, None, bytearray()

    def _covers(self, transcript: Sequence[Message], codec: Codec) -> bool:
        """Whether what is kept is a prefix of this transcript: same codec, and its last message still in its place."""
        count = self._count
        return codec is self._codec and count <= len(transcript) and (count == 0 or transcript[count - 1] is self._last)

"""The encoded messages of a session, kept so that a request costs what the conversation grew by (rule T7).

One growing buffer, not bytes per message. It is only ever appended to while transcript and codec stay the same; anything else
starts it anew. `covering` hands out the buffer itself, which stays as it is until the next call. Marks for a provider's prompt cache
are never in it: `marked` puts them between slices of it.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..core.messages import AssistantMessage, Message
from ..core.protocols import Chunk
from ..wire.base import Blobs, Codec, EncodedHead, parts

CACHEABLE_BYTES = 2048
"""Shorter requests bear no marks: no provider caches fewer than 1,024 tokens."""

Span = tuple[int, int]


class Prefix:
    """Encoded messages `[0:count]` of a transcript, for one codec."""

    __slots__ = ("__weakref__", "_codec", "_count", "_last", "_newest", "_segments", "_stable")

    def __init__(self) -> None:
        self._codec: Codec | None = None
        self._count = 0
        self._last: Message | None = None
        self._segments = bytearray()
        self._newest: Span = (0, 0)
        self._stable: Span = (0, 0)

    def __len__(self) -> int:
        return len(self._segments)

    def lacks(self, transcript: Sequence[Message], codec: Codec) -> Sequence[Message]:
        """The messages that `body` would encode."""
        return transcript[self._count :] if self._covers(transcript, codec) else transcript

    def body(
        self, head: EncodedHead, transcript: Sequence[Message], codec: Codec, blobs: Blobs, tail: str = ""
    ) -> Sequence[Chunk]:
        """The body of a request for the whole transcript, in parts. `tail` is what the user says last, in this request alone: it
        comes behind all that is kept and marked, and is left out where the assistant is to go on by itself."""
        marks = head.breakpoints > 0
        segments = self.covering(transcript, codec, blobs, last_apart=marks)
        whole: Sequence[Chunk] = parts(head, segments)
        if marks and sum(map(len, whole)) >= CACHEABLE_BYTES:
            whole = [whole[0], *self._marked(codec, head), whole[2]]
        if not tail or not segments or type(transcript[-1]) is AssistantMessage:
            return whole
        cut, data = codec.tail(transcript, tail)
        last = memoryview(whole[-2])
        return [*whole[:-2], last[: len(last) - cut], data, whole[-1]]

    def covering(
        self, transcript: Sequence[Message], codec: Codec, blobs: Blobs, *, last_apart: bool = False
    ) -> bytearray:
        """The segments of the whole transcript. `last_apart` remembers where the last message is, to be marked."""
        if not self._covers(transcript, codec):
            self.drop()
            self._codec = codec
        if len(transcript) > self._count:
            if last_apart:
                if len(transcript) - 1 > self._count:
                    self._append(codec.encode_messages(transcript[:-1], self._count, blobs))
                begun = self._append(codec.encode_messages(transcript, len(transcript) - 1, blobs))
                self._stable, self._newest = self._newest, (begun, len(self._segments))
            else:
                self._append(codec.encode_messages(transcript, self._count, blobs))
            self._count = len(transcript)
            self._last = transcript[-1]
        return self._segments

    def _marked(self, codec: Codec, head: EncodedHead) -> list[bytes | memoryview]:
        """The segments with the last message marked, and the last one of the request before, which the provider has read."""
        view, out, at = memoryview(self._segments), list[bytes | memoryview](), 0
        for start, end in (self._stable, self._newest)[-head.breakpoints :]:
            for offset, mark in codec.mark(bytes(view[start:end]), head.mark) if end > start else ():
                out += [view[at : start + offset], mark]
                at = start + offset
        out.append(view[at:])
        return out

    def _append(self, fresh: bytearray) -> int:
        """Where the fresh bytes begin. A connection that was dropped in mid-request may still hold a view of the buffer, which
        then cannot grow."""
        segments = self._segments
        if not fresh:
            return len(segments)
        if not segments:
            self._segments = fresh
            return 0
        begun = len(segments) + 1
        try:
            segments += b"," + fresh
        except BufferError:
            self._segments = bytearray(segments + b"," + fresh)
        return begun

    def drop(self) -> None:
        """Forget everything, to give back the memory."""
        self._codec, self._count, self._last, self._segments = None, 0, None, bytearray()
        self._newest = self._stable = (0, 0)

    def _covers(self, transcript: Sequence[Message], codec: Codec) -> bool:
        """Whether what is kept is a prefix of this transcript: same codec, and its last message still in its place."""
        count = self._count
        return codec is self._codec and count <= len(transcript) and (count == 0 or transcript[count - 1] is self._last)

"""Server-sent events with names, as some APIs write them: runs of one event cut out in one go.

`SseFramer` takes events of any form; this puts a short way in front of it for the event that makes up nearly all of
a stream, an `event:` line and a `data:` line each. Both give the same payloads (rules S1, S2).
"""

from __future__ import annotations

from .framing import MAX_EVENT_BYTES, SseFramer

_CR = 0x0D  # as a number: looking for bytes in bytes costs ten times as much


class RunFramer:
    """A framer of server-sent events that is quick with those that begin with `opening`.

    `opening` is how the API writes the beginning of its commonest event, up to the payload: `event: x\\ndata: `. Payloads
    of such events may be blank, which `SseFramer` passes over. Otherwise see there for what is promised.
    """

    __slots__ = ("_between", "_framer", "_opening")

    def __init__(self, opening: bytes) -> None:
        self._opening = opening
        self._framer = SseFramer()
        self._between = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes, in order."""
        feed, opening = self._framer.feed, self._opening
        between, plain = self._between, _CR not in data and len(data) <= MAX_EVENT_BYTES
        # An empty line ends whatever event was open, so the framer then holds nothing back.
        self._between = plain and data.endswith(b"\n\n")
        first = data.find(opening)
        if first < 0 or not plain or not (between if first == 0 else data[first - 2 : first] == b"\n\n"):
            return feed(data)
        last = data.rfind(opening)
        end = data.find(b"\n\n", last) + 2
        if end < 2:
            end = last  # the last event is not all there yet
        run = data[first + len(opening) : end - 2].split(b"\n\n" + opening)
        # Three line ends per event and no more: none is inside a payload, no other line is among them.
        if not data.endswith(b"\n\n", first, end) or data.count(b"\n", first, end) != 3 * len(run):
            return feed(data)
        before = feed(data[:first]) if first else []
        return before + run + (feed(data[end:]) if end < len(data) else [])

    def finish(self) -> list[bytes]:
        """The payload of the last event, if the body ended before its blank line; it may be cut short."""
        return self._framer.finish()

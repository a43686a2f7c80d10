"""Server-sent events: body bytes in, payloads of events out. Shared by all codecs that stream this way.

Only what decoders need: the joined `data` lines of each event. Event names, ids, retry times and comments are dropped
(the APIs repeat the name inside the payload). What a payload means is the codec's business. Source: WHATWG HTML, 9.2.6
"Interpreting an event stream", https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
"""

from __future__ import annotations

import re

from .limits import MAX_EVENT_BYTES, FramingError

_BOM = b"\xef\xbb\xbf"


class SseFramer:
    """Cuts a byte stream into events; the payloads do not depend on how the bytes are split (rule S1).

    Takes LF, CR and CRLF, `data:` with and without a space, several data lines, comments, a byte order mark and a
    missing final blank line (rule S2). An event whose data is blank says nothing and is dropped: some hosts send such
    events to keep the connection alive. Payloads are bytes: splitting inside a UTF-8 character does no harm.

    Holds at most one unfinished line and the data of one unfinished event, each of at most `max_event_bytes`; every byte
    is looked at a bounded number of times, however small the pieces. `feed` and `finish` raise `FramingError` when
    that bound is passed, but never before the payloads of the events in front of it have been returned: it is then
    raised by the next call. After it the framer is of no more use.
    """

    __slots__ = ("_after_cr", "_at_start", "_between_events", "_data", "_line", "_max_bytes", "_too_long")

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        self._line = bytearray()
        self._data: bytes | bytearray | None = None
        self._at_start = True
        self._after_cr = False
        self._too_long = False
        self._between_events = False

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads of the events that `data` completes, in order."""
        if self._at_start and not self._line and data and data[0] != _BOM[0]:
            self._at_start = False
            self._between_events = True
        if self._between_events and len(data) <= self._max_bytes:
            payloads = _regular_payloads(data)
            if payloads is not None:
                return payloads
        if self._too_long:
            raise self._error()
        payloads = self._feed_in_parts(data) if data else []
        if self._too_long and not payloads:
            raise self._error()
        return payloads

    def finish(self) -> list[bytes]:
        """The payload of the last event, if the body ended before its blank line. Call once, at the end of the body.

        The payload may be cut short: the body may have ended anywhere.
        """
        if self._too_long:
            raise self._error()
        payloads = self._interpret([b"", b""] if self._line else [b""])
        if self._too_long:
            raise self._error()
        return payloads

    def _feed_in_parts(self, data: bytes) -> list[bytes]:
        """The rest of the event that was begun, whole events, the beginning of one more."""
        payloads: list[bytes] = []
        if not self._between_events:
            end = data.find(b"\n\n") + 2
            if end < 2:
                end = len(data)
            payloads = self._take(data[:end])
            data = data[end:]
        if data and self._between_events:
            end = data.rfind(b"\n\n") + 2
            if 2 < end <= self._max_bytes and (regular := _regular_payloads(data[:end])) is not None:
                payloads += regular
                data = data[end:]
        if data and not self._too_long:
            payloads += self._take(data)
        return payloads

    def _take(self, data: bytes) -> list[bytes]:
        """The careful way, for bytes of any form."""
        if self._after_cr:
            self._after_cr = False
            if data[0] == 0x0A:
                data = data[1:]
        if data.find(b"\r") >= 0:
            # A CR ends its line at once; if an LF comes next, it belongs to it.
            self._after_cr = data.endswith(b"\r")
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        rest = lines.pop()
        payloads = self._interpret(lines) if lines else []
        if rest and not self._too_long:
            self._line += rest
            # A byte order mark does not count, and is not recognised before its line is complete.
            self._too_long = len(self._line) > self._max_bytes + (len(_BOM) if self._at_start else 0)
        self._between_events = (
            not (self._line or self._after_cr or self._at_start or self._too_long) and self._data is None
        )
        return payloads

    def _interpret(self, lines: list[bytes]) -> list[bytes]:
        """Complete lines, of which the first goes on from the unfinished one."""
        if self._line:
            lines[0] = bytes(self._line) + lines[0]
            self._line.clear()
        if self._at_start:
            self._at_start = False
            lines[0] = lines[0].removeprefix(_BOM)
        payloads: list[bytes] = []
        held, max_bytes = self._data, self._max_bytes
        for line in lines:
            if not line:
                if held and not held.isspace():
                    payloads.append(bytes(held))
                held = None
            elif len(line) > max_bytes:
                self._too_long = True
                break
            elif (value := _data_of(line)) is not None:
                held = value if held is None else _joined(held, value)
                if len(held) > max_bytes:
                    self._too_long = True
                    break
        self._data = held
        return payloads

    def _error(self) -> FramingError:
        return FramingError(f"an event is longer than {self._max_bytes} bytes")


_NAMED = re.compile(rb"(?:event: [^\n]*\n)?data: ?([^\s][^\n]*)\n\n|(?s:.+)")
"""An event of a usual form: at most a name, one line of data that is not blank, an empty line. Whatever else there is is
swallowed whole and gives an empty group."""


def _regular_payloads(data: bytes) -> list[bytes] | None:
    """The payloads of complete events of the usual forms, cut out at once; None if anything in `data` has another form.

    This is the way of nearly every read. Events without names are cut apart where they meet: no LF within a payload, so each
    LF ends a line; no payload that begins with white space, so none is blank. (`find`, because `in` with bytes on its left
    first fails to read them as a number, at ten times the cost.)
    """
    if data.find(b"\r") >= 0:
        return None
    if not data.startswith(b"data: "):
        payloads = _NAMED.findall(data)
        return payloads if payloads and payloads[-1] else None
    end = data.find(b"\n")
    if end == len(data) - 2:
        return [data[6:end]] if data[6] > 0x20 and data[end + 1] == 0x0A else None
    if not data.endswith(b"\n\n"):
        return None
    payloads = data[6:-2].split(b"\n\ndata: ")
    return payloads if min(payloads) > b"!" and b"".join(payloads).find(b"\n") < 0 else None


def _data_of(line: bytes) -> bytes | None:
    """The value of a `data` field; None for any other line."""
    if line.startswith(b"data: "):
        return line[6:]
    if line.startswith(b"data:"):
        return line[5:]
    return b"" if line == b"data" else None


def _joined(held: bytes | bytearray, value: bytes) -> bytearray:
    grown = held if isinstance(held, bytearray) else bytearray(held)
    grown += b"\n"
    grown += value
    return grown

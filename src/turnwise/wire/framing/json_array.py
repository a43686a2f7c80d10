"""A stream in the form of one JSON array: body bytes in, its objects out as they become complete.

That is how Google's APIs stream unless they are asked for server-sent events. What an object means is the codec's business.
"""

from __future__ import annotations

import re

import msgspec

from .limits import MAX_EVENT_BYTES, FramingError

_BETWEEN = b" \t\r\n,"
_OUTSIDE = re.compile(rb'"[^"\\]*+"|["{}\[\]]')
"""The next token that opens or closes something; a string without escapes goes in one."""
_INSIDE = re.compile(rb'["\\]')
_SEPARATOR = b"\n,\r\n"
"""What Google writes between two objects. No string can hold it, white space within an object could."""
_decode_any = msgspec.json.Decoder(msgspec.Raw).decode


class JsonArrayFramer:
    """Cuts `[{…}, {…}]` into its objects, the same ones however the bytes are split (rule S1).

    Brackets are counted and strings passed over; whether an object is valid JSON shows when it is read. After the closing
    bracket nothing counts. Holds one unfinished object of at most `max_bytes`; every byte is looked at a bounded
    number of times, however small the pieces. `feed` and `finish` raise `FramingError` for a longer one and for what is
    no array of objects, but never before the objects in front of it have been returned: it is then raised by the next call.
    """

    __slots__ = ("_at", "_depth", "_end", "_error", "_held", "_in_string", "_max_bytes", "_opened")

    def __init__(self, max_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_bytes
        self._held = bytearray()
        self._at = 0
        self._depth = 0
        self._in_string = False
        self._opened = False
        self._end = False
        self._error = ""

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that `data` completes, in order."""
        if self._end:
            return []
        found: list[bytes] = []
        if self._held and not self._error and (end := data.find(_SEPARATOR)) >= 0:
            # The object that was begun ends here, if its stream is written in the usual way; the rest is then read fast.
            found = self._take(data[: end + len(_SEPARATOR)])
            data = data[end + len(_SEPARATOR) :]
        if not self._held and not self._error and not self._end:
            data = self._take_regular(data, found)
        if data and not self._error and not self._end:
            found += self._take(data)
        if self._error and not found:
            raise FramingError(self._error)
        return found

    def finish(self) -> list[bytes]:
        """What there is of an object that was begun, cut short as it is. Call once, at the end of the body."""
        if self._error:
            raise FramingError(self._error)
        return [bytes(self._held)] if self._held and not self._end else []

    def _take_regular(self, data: bytes, found: list[bytes]) -> bytes:
        """Objects between the usual separators, cut out at once; what remains for the careful way. Each is parsed to see that
        it is whole, which costs less than to count brackets here."""
        if not self._opened:
            if not data.startswith(b"["):
                return data
            self._opened, data = True, data[1:]
        pieces = data.split(_SEPARATOR)
        for index, piece in enumerate(pieces):
            element = piece.strip(_BETWEEN)
            if closes := element.endswith(b"]"):
                element = element[:-1].rstrip(_BETWEEN)
            if len(element) > self._max_bytes or not element.startswith(b"{") or not _is_whole(element):
                return _SEPARATOR.join(pieces[index:])
            found.append(element)
            if closes:
                self._end = True
                break
        return b""

    def _take(self, data: bytes) -> list[bytes]:
        """The careful way, for bytes of any form."""
        self._held += data
        return self._cut()

    def _cut(self) -> list[bytes]:
        found: list[bytes] = []
        start = 0
        while True:
            if not self._depth:
                start = self._to_next(start)
                if start < 0:
                    self._held.clear()
                    self._at = 0
                    return found
                self._at = start
            end = self._to_end()
            if end < 0:
                break
            found.append(bytes(self._held[start:end]))
            if end - start > self._max_bytes:
                found.pop()
                self._error = f"an event is longer than {self._max_bytes} bytes"
                return found
            start = end
        del self._held[:start]
        self._at -= start
        if len(self._held) > self._max_bytes:
            self._error = f"an event is longer than {self._max_bytes} bytes"
        return found

    def _to_next(self, start: int) -> int:
        """Where the next object begins; -1 if it is not there yet, if there is none, or if there is something else."""
        held = self._held
        for at in range(start, len(held)):
            byte = held[at]
            if byte == 0x7B and self._opened:
                return at
            if byte == 0x5B and not self._opened:
                self._opened = True
            elif byte == 0x5D and self._opened:
                self._end = True
                return -1
            elif byte not in _BETWEEN:
                self._error = "it is not an array of objects"
                return -1
        return -1

    def _to_end(self) -> int:
        """Where the object ends that was begun; -1 if that is not there yet. Goes on from where it stopped."""
        held, at, depth = self._held, self._at, self._depth
        size = len(held)
        while at < size:
            if self._in_string:
                token = _INSIDE.search(held, at)
                if token is None:
                    at = size
                elif held[token.start()] == 0x22:
                    self._in_string, at = False, token.end()
                elif token.end() == size:
                    at = token.start()  # what is escaped is not there yet
                    break
                else:
                    at = token.end() + 1
                continue
            token = _OUTSIDE.search(held, at)
            if token is None:
                at = size
                break
            at = token.end()
            byte = held[token.start()]
            if byte == 0x22:
                self._in_string = at - token.start() == 1
            elif byte in b"{[":
                depth += 1
            else:
                depth -= 1
                if not depth:
                    self._at, self._depth = at, 0
                    return at
        self._at, self._depth = at, depth
        return -1


def _is_whole(element: bytes) -> bool:
    try:
        _decode_any(element)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return True

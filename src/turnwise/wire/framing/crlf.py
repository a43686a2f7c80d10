"""Server-sent events whose lines end in CRLF, as Google sends them: the same framing, with a short way for that form."""

from __future__ import annotations

from .limits import FramingError
from .sse import SseFramer

_END = b"\r\n\r\n"


class CrlfSseFramer(SseFramer):
    """An `SseFramer` that cuts complete events of one `data: ` line each out at once if their lines end in CRLF. Everything else it
    leaves to the careful way, so that both give the same (rule S1)."""

    __slots__ = ()

    def feed(self, data: bytes) -> list[bytes]:
        if self._between_events and data.find(b"\r") < 0:
            return super().feed(data)
        found: list[bytes] = []
        if not self._starts_event(data):
            end = data.find(_END) + len(_END)
            if end < len(_END):
                return super().feed(data)
            found = super().feed(data[:end])
            data = data[end:]
        end = data.rfind(_END) + len(_END)
        if len(_END) < end <= self._max_bytes and self._starts_event(data):
            regular = _regular_payloads(data[:end])
            if regular is not None:
                self._at_start, self._between_events = False, True
                found += regular
                data = data[end:]
        if not data:
            return found
        try:
            return found + super().feed(data)
        except FramingError:
            if found:
                return found  # it is raised by the next call
            raise

    def _starts_event(self, data: bytes) -> bool:
        """Whether a line begins where `data` does, and no event is open."""
        return data.startswith(b"data: ") and (self._between_events or (self._at_start and not self._line))


def _regular_payloads(data: bytes) -> list[bytes] | None:
    """The payloads of complete events of one `data: ` line each; None if anything in `data` has another form."""
    payloads = data[6 : -len(_END)].split(_END + b"data: ")
    joined = b"".join(payloads)
    if joined.find(b"\n") >= 0 or joined.find(b"\r") >= 0 or min(payloads) <= b"!":
        return None
    return payloads

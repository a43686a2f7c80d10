"""JSON lines (NDJSON): body bytes in, whole lines out; and how such a stream is told from a document.

What a line means is the codec's business. msgspec's own `decode_lines` is not used: it reads values whatever is between them, so that
two on one line, or one on two, would be read differently when the bytes are split elsewhere. Source:
https://github.com/ndjson/ndjson-spec (a line ends with LF; CRLF is taken too, blank lines say nothing), and Ollama's documents,
https://docs.ollama.com/api/streaming.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .limits import MAX_EVENT_BYTES, FramingError

_BOM = b"\xef\xbb\xbf"
_SNIFF_BYTES = 64 * 1024
"""How long a first line without an end is waited for before the body is taken to be a document."""


class JsonLinesFramer:
    """Cuts a byte stream into lines that are not blank; they do not depend on how the bytes are split (rule S1).

    Holds at most one unfinished line of `max_line_bytes`, and looks at each byte a bounded number of times. `feed` and
    `finish` raise `FramingError` when that bound is passed, but not before the lines in front of it have been returned: it
    is then raised by the next call. After it the framer is of no more use.
    """

    __slots__ = ("_at_start", "_line", "_max_bytes", "_too_long")

    def __init__(self, max_line_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_line_bytes
        self._line = bytearray()
        self._at_start = True
        self._too_long = False

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes, in order."""
        if self._too_long:
            raise self._error()
        end = data.rfind(b"\n") + 1
        lines = b""
        if end:
            lines = data[:end] if not self._line else bytes(self._line) + data[:end]
            self._line.clear()
            data = data[end:]
        self._line += data
        if len(lines) > self._max_bytes:
            lines = self._short_lines(lines)
        if len(self._line) > self._max_bytes:
            self._too_long = True
        return self._payloads(lines)

    def finish(self) -> list[bytes]:
        """The last line, if the body ended before its line end; it may be cut short. Call once, at the end of the body."""
        if self._too_long:
            raise self._error()
        return self._payloads(bytes(self._line))

    def _payloads(self, lines: bytes) -> list[bytes]:
        if self._at_start and lines:
            self._at_start = False
            lines = lines.removeprefix(_BOM)
        found = lines.split(b"\n")
        if not found[-1]:
            found.pop()
        if found and min(found) < b"!":  # one begins with white space, or is empty
            found = [line for line in found if line and not line.isspace()]
        if self._too_long and not found:
            raise self._error()
        return found

    def _short_lines(self, lines: bytes) -> bytes:
        """The lines before the first that is too long."""
        end = 0
        while (found := lines.find(b"\n", end)) >= 0:
            if found - end > self._max_bytes:
                self._too_long = True
                break
            end = found + 1
        return lines[:end]

    def _error(self) -> FramingError:
        return FramingError(f"a line is longer than {self._max_bytes} bytes")


def lines_or_document(head: bytes | bytearray, content_type: str) -> JsonLinesFramer | Literal["unknown", "document"]:
    """How an API is sniffed that streams JSON lines and else answers with JSON: a first line that is a whole object begins a
    stream, whatever the content type says. A document on one line may be read as a stream of one."""
    if head[0] != 0x7B:
        return "document"
    if "ndjson" in content_type or "jsonl" in content_type:
        return JsonLinesFramer()
    end = head.find(b"\n", 0, _SNIFF_BYTES)
    if end < 0:
        return "unknown" if len(head) < _SNIFF_BYTES else "document"
    try:
        msgspec.json.decode(head[:end])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return "document"
    return JsonLinesFramer()

"""Long results are cut in the middle: both ends stay, a line between them says what is left out and how to read it (rule E7).

Pure. Where the whole text is kept, and which results are too long, is decided by the executor (`runtime`).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

import msgspec

from ..core.content import ResultBlock, Text
from .results import Body

DEFAULT_RESULT_CHARS = 50_000
MIN_RESULT_CHARS = 1_000
NOTE_CHARS = 400
"""Room for the line between the ends."""
LINE_SHARE = 5
"""A cut moves to the end of a line if it loses at most one in so many of the characters kept."""
CLUSTER_CHARS = 64
"""How far a cut moves to stay out of what is shown as one character; text made to have none is cut all the same."""


class Cut(msgspec.Struct, frozen=True, gc=False):
    """What stays of a text: `text[:head]` and `text[tail:]`."""

    head: int
    tail: int


Note = Callable[[str, Cut], str]
"""Says what was left out of a text; at most `NOTE_CHARS` long."""


def text_in(body: Body) -> str:
    """All text of a result, its blocks one below the other."""
    if isinstance(body, str):
        return body
    return "\n".join([block.text for block in body if type(block) is Text])


def capped(body: Body, text: str, limit: int, note: Note) -> Body:
    """The body, whose text is `text`, with at most `limit` characters of text, `note` included. Pictures and the like stay."""
    cut = cut_of(text, limit - NOTE_CHARS)
    if isinstance(body, str):
        return _joined(text[: cut.head], note(text, cut), text[cut.tail :])
    blocks: list[ResultBlock] = []
    start, said = 0, False
    for block in body:
        if type(block) is not Text:
            blocks.append(block)
            continue
        end = start + len(block.text)
        head, tail = block.text[: max(0, cut.head - start)], block.text[max(0, cut.tail - start) :]
        if end <= cut.head or start >= cut.tail:
            blocks.append(block)
        elif not said:
            said = True
            blocks.append(Text(_joined(head, note(text, cut), tail)))
        elif tail:
            blocks.append(Text(tail))
        start = end + 1
    return tuple(blocks)


def cut_of(text: str, room: int) -> Cut:
    """Where to cut a text so that `room` characters of it stay, half at each end: at the end of a line if one is near, never
    inside what is shown as one character."""
    half = room // 2
    return Cut(end_before(text, half), _start_after(text, len(text) - half))


def end_before(text: str, at: int, lowest: int = 0) -> int:
    """The best place to end a piece of text that starts at `lowest`, at or before `at`."""
    if at >= len(text):
        return len(text)
    line = text.rfind("\n", at - (at - lowest) // LINE_SHARE, at) + 1
    if line > lowest:
        return line
    for place in range(at, max(lowest, at - CLUSTER_CHARS), -1):
        if not _belongs_together(text, place):
            return place
    return at


def _start_after(text: str, at: int) -> int:
    """The best place to start the last piece of a text, at or after `at`."""
    line = text.find("\n", at - 1, at + (len(text) - at) // LINE_SHARE) + 1
    if line:
        return line
    for place in range(at, min(len(text), at + CLUSTER_CHARS)):
        if not _belongs_together(text, place):
            return place
    return at


def _joined(head: str, note: str, tail: str) -> str:
    before = "\n" if head and not head.endswith("\n") else ""
    return f"{head}{before}{note}\n{tail}"


def left_out(text: str, cut: Cut, how: str) -> str:
    """The line between the ends; `how` says where the rest is."""
    first, last = text.count("\n", 0, cut.head) + 1, text.count("\n", 0, cut.tail) + 1
    if text[cut.tail - 1] == "\n":
        last -= 1
    lines = f"lines {first:,} to {last:,}" if last > first else f"in line {first:,}"
    chars = f"characters {cut.head + 1:,} to {cut.tail:,} of {len(text):,}, {lines}"
    return f"[… left out: {chars}. {how} …]"


# --- what is shown as one character -------------------------------------------------------------------------------------


def _belongs_together(text: str, at: int) -> bool:
    """Whether the characters before and after a place are shown as one. An approximation of Unicode's extended grapheme
    clusters (UAX 29): marks, joiners, skin tones, tags, flags, Hangul, surrogates and CR LF; conjuncts of Indic scripts are left out."""
    if at <= 0 or at >= len(text):
        return False
    before, after = text[at - 1], text[at]
    if after < "\u0300":
        return after == "\n" and before == "\r"
    if before == "\u200d" or after in "\u200c\u200d" or unicodedata.category(after)[0] == "M":
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f" or "\uff9e" <= after <= "\uff9f":
        return True
    if "\udc00" <= after <= "\udfff":
        return "\ud800" <= before <= "\udbff"
    if _is_indicator(after):
        return _is_indicator(before) and _indicators_before(text, at) % 2 == 1
    return _is_hangul(before) and "\u1160" <= after <= "\u11ff"


def _is_indicator(character: str) -> bool:
    """Half of a flag."""
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _indicators_before(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start < CLUSTER_CHARS and _is_indicator(text[start - 1]):
        start -= 1
    return at - start


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3"

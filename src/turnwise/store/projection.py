"""A session's state as bytes and back, so that opening a session does not mean folding all of its journal again.

What was said is most of a state, and little of it is needed at once: a compacted session sends only its end, and an idle one nothing. So
the messages are kept in compressed parts, and a part is decoded when a message of it is first asked for (`Archive`). The rest of the state
is small and comes first. A snapshot is a copy of what the journal says, never the truth: one of another version, or one that is
damaged, is made anew from the journal.

    4 bytes: length of the head | head (JSON: the state without messages, and the parts) | 4 bytes: its CRC-32 | parts

A part is a JSON array compressed by zlib, which brings a checksum of its own. Most of a conversation is text, so this takes a fraction of the
space, and reading a long one from its store costs little. Messages do not change, so a part is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, SupportsIndex, cast, overload
from zlib import compress, crc32, decompress
from zlib import error as ZlibError

import msgspec

from ..core.errors import StateError, state_error
from ..core.evolve import evolve, fold
from ..core.messages import Message
from ..core.state import SessionState
from ..core.store import Journals, Snapshot
from ..core.view import WHOLE, project

PROJECTION_VERSION = 2
"""To be raised with every change of `SessionState` or of what `evolve` makes of an entry. A test holds the shape of the state."""

PART = 128
"""Messages in a part."""


class _Part(msgspec.Struct, frozen=True, gc=False, array_like=True):
    messages: int
    bytes: int


class _Head(msgspec.Struct, frozen=True):
    state: SessionState
    parts: tuple[_Part, ...]


class _EncodedHead(msgspec.Struct, frozen=True):
    state: msgspec.Raw
    parts: tuple[_Part, ...]


_encode = msgspec.json.Encoder().encode
_heads = msgspec.json.Decoder(_Head)
_messages = msgspec.json.Decoder(list[Message])


# --- messages that are decoded when they are asked for ----------------------------------------------------------------


class Part:
    """Some messages in a row. `make` gives them, once; `raw` is how they are kept, as long as they are."""

    __slots__ = ("_made", "_make", "count", "raw")

    def __init__(self, count: int, make: Callable[[], list[Message]], raw: memoryview | None = None) -> None:
        self.count = count
        self.raw = raw
        self._make: Callable[[], list[Message]] | None = make
        self._made: list[Message] = []

    @property
    def messages(self) -> list[Message]:
        if self._make is not None:
            self._made, self._make = self._make(), None
        return self._made


class Archive(Sequence[Message]):
    """A list of messages of which the older ones are decoded when they are asked for. It does what is done with
    `SessionState.history` and `.transcript`: read, add to the end, take away from the end."""

    __slots__ = ("_before", "_parts", "_tail")

    def __init__(self, parts: Iterable[Part]) -> None:
        self._parts = [part for part in parts if part.count]
        self._before = sum([part.count for part in self._parts])
        self._tail: list[Message] = []

    @property
    def parts(self) -> Sequence[Part]:
        """The parts that the older messages are in."""
        return self._parts

    @property
    def tail(self) -> Sequence[Message]:
        """The messages that were added."""
        return self._tail

    def extend(self, messages: Iterable[Message]) -> None:
        self._tail.extend(messages)

    def append(self, message: Message) -> None:
        self._tail.append(message)

    def __len__(self) -> int:
        return self._before + len(self._tail)

    def __iter__(self) -> Iterator[Message]:
        for part in self._parts:
            yield from part.messages
        yield from self._tail

    def __reversed__(self) -> Iterator[Message]:
        yield from reversed(self._tail)
        for part in reversed(self._parts):
            yield from reversed(part.messages)

    @overload
    def __getitem__(self, at: SupportsIndex) -> Message: ...
    @overload
    def __getitem__(self, at: slice) -> list[Message]: ...
    def __getitem__(self, at: SupportsIndex | slice) -> Message | list[Message]:
        size = len(self)
        if isinstance(at, slice):
            start, stop, step = at.indices(size)
            if step != 1:
                return list(self)[at]
            return self._between(start, stop)
        index = at.__index__()
        index += size if index < 0 else 0
        if not 0 <= index < size:
            raise IndexError(at)
        return self._between(index, index + 1)[0]

    def _between(self, start: int, stop: int) -> list[Message]:
        """Only parts that have some of these are decoded."""
        found: list[Message] = []
        first = 0
        for part in self._parts:
            if first >= stop:
                return found
            if first + part.count > start:
                found += part.messages[max(0, start - first) : stop - first]
            first += part.count
        return found + self._tail[max(0, start - first) : max(0, stop - first)]

    def __delitem__(self, at: slice) -> None:
        start, stop, step = at.indices(len(self))
        if step != 1 or stop != len(self):
            raise TypeError("messages are taken away from the end")
        while self._parts and start < self._before:
            part = self._parts.pop()
            self._before -= part.count
            if start > self._before:
                self._tail[:0] = part.messages[: start - self._before]
                del self._tail[start - self._before :]
                return
            self._tail.clear()
        del self._tail[max(0, start - self._before) :]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, list | Archive) and list(self) == list(cast("Iterable[Message]", other))

    __hash__ = None  # pyright: ignore[reportAssignmentType]


# --- there and back ---------------------------------------------------------------------------------------------------


class Encoded(msgspec.Struct, frozen=True):
    """A part that was encoded before: so many messages, of which `last` is the last one."""

    count: int
    raw: bytes | memoryview
    last: Message


class Encoding:
    """A state on its way into a snapshot: as it was when this was made, whatever becomes of it. `known` are parts that were encoded
    before, from the beginning of the history on. A `part` may be encoded at a time, with others having their turn in between; then
    `snapshot` puts them together, and `parts` are those that need not be encoded again."""

    __slots__ = ("_bytes", "_left", "_parts", "_state", "parts", "seq")

    def __init__(self, state: SessionState, known: Sequence[Encoded] = ()) -> None:
        self.seq = state.seq
        self.parts: list[Encoded] = []
        self._state = msgspec.Raw(_encode(msgspec.structs.replace(state, history=[], transcript=[])))
        self._parts: list[_Part] = []
        self._bytes: list[bytes | memoryview] = []
        history = cast("Archive | list[Message]", state.history)
        kept: list[Part] = []
        if isinstance(history, Archive):
            kept, rest = list(history.parts), list(history.tail)
        else:
            rest = list(history)
            self.parts = still_true(known, rest)
            del rest[: sum([part.count for part in self.parts])]
        for part in self.parts:
            self._add(part.raw, part.count)
        self._left: list[Part | list[Message]] = [*kept]
        self._left += [rest[at : at + PART] for at in range(0, len(rest), PART)]
        self._left.reverse()

    def part(self) -> bool:
        """Encode one more part; false if there is none."""
        if not self._left:
            return False
        part = self._left.pop()
        if isinstance(part, list):
            raw = compress(_encode(part), 1)
            self._add(raw, len(part))
            if len(part) == PART:
                self.parts.append(Encoded(PART, raw, part[-1]))
        else:
            self._add(part.raw if part.raw is not None else compress(_encode(part.messages), 1), part.count)
        return True

    def _add(self, raw: bytes | memoryview, count: int) -> None:
        self._bytes.append(raw)
        self._parts.append(_Part(count, len(raw)))

    def snapshot(self) -> Snapshot:
        """All of it."""
        while self.part():
            pass
        head = _encode(_EncodedHead(self._state, tuple(self._parts)))
        size, crc = len(head).to_bytes(4, "big"), crc32(head).to_bytes(4, "big")
        return Snapshot(self.seq, PROJECTION_VERSION, b"".join([size, head, crc, *self._bytes]))


def still_true(known: Sequence[Encoded], history: Sequence[Message]) -> list[Encoded]:
    """The parts that the history still begins with: some of it may have been taken back."""
    at = 0
    for number, part in enumerate(known):
        at += part.count
        if at > len(history) or history[at - 1] is not part.last:
            return list(known[:number])
    return list(known)


def encode_state(state: SessionState) -> Snapshot:
    """The state as it is now."""
    return Encoding(state).snapshot()


def decode_state(snapshot: Snapshot) -> SessionState | None:
    """The state that was encoded, its messages decoded when they are asked for; None if it is of another version or damaged."""
    data = memoryview(snapshot.data)
    end = 4 + int.from_bytes(data[:4], "big")
    if snapshot.version != PROJECTION_VERSION or end + 4 > len(data):
        return None
    if crc32(data[4:end]) != int.from_bytes(data[end : end + 4], "big"):
        return None
    try:
        head = _heads.decode(data[4:end])
    except msgspec.DecodeError:
        return None
    state, at = head.state, end + 4
    if at + sum([part.bytes for part in head.parts]) != len(data) or state.seq != snapshot.seq:
        return None
    parts: list[Part] = []
    for part in head.parts:
        raw = data[at : at + part.bytes]
        parts.append(Part(part.messages, _maker(raw, part.messages, state.id), raw))
        at += part.bytes
    history = Archive(parts)
    state.history = cast("list[Message]", history)
    state.transcript = cast("list[Message]", _shown(state, history))
    return state


def _maker(raw: memoryview, count: int, session: str) -> Callable[[], list[Message]]:
    def make() -> list[Message]:
        try:
            messages = _messages.decode(decompress(raw))
        except (ZlibError, msgspec.DecodeError) as error:
            raise damaged_snapshot(session) from error
        if len(messages) != count:
            raise damaged_snapshot(session)
        return messages

    return make


def _shown(state: SessionState, history: Archive) -> Archive:
    """The transcript, made when it is asked for."""
    change = state.change
    if change == WHOLE:
        return history
    count = len(history) - change.covers + (change.summary is not None)
    before = Archive(history.parts)  # what is said from now on is added to both
    return Archive([Part(count, lambda: project(before, change))])


async def read_state(
    store: Journals, session: str, *, whole: bool = False
) -> tuple[SessionState, Snapshot | None] | None:
    """The state that a journal tells, from the last snapshot on if there is one that can be used (`whole`: without it), and that
    snapshot; None for a journal without an entry. Raises `StateError`: `unknown_entry`, `damaged_entry`, `illegal_entry`."""
    snapshot: Snapshot | None = None
    state: SessionState | None = None
    kept: Any = None if whole else getattr(store, "snapshot", None)
    if kept is not None and (snapshot := await kept(session)) is not None:
        state = decode_state(snapshot)
    if state is None:
        entries = await store.read(session)
        return (fold(entries), None) if entries else None
    for entry in await store.read(session, state.seq):
        evolve(state, entry)
    return state, snapshot


def damaged_snapshot(session: str) -> StateError:
    return state_error(
        "damaged_snapshot",
        f"The snapshot of session {session} is not what was written.",
        "Begin a turn, or open the session again: it is then read from its journal, which is the truth.",
        session=session,
    )

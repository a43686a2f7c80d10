"""Snapshots of a session's state: the same state comes back, whatever the session; one that is damaged or of another version is not used."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from tests.core.test_machine_chaos import Chaos
from tests.examples import examples
from tests.runtime.leased import Leased, stored

from turnwise.core.entries import Entry
from turnwise.core.evolve import evolve, fold
from turnwise.core.messages import Message, UserMessage
from turnwise.core.state import SessionState
from turnwise.core.store import Snapshot
from turnwise.store import projection
from turnwise.store.projection import (
    PROJECTION_VERSION,
    Archive,
    Encoding,
    Part,
    decode_state,
    encode_state,
    read_state,
)

SHAPE = "965a34caef72db43"
"""Of `SessionState`, at `PROJECTION_VERSION`: raise that when this has to change."""


def test_the_shape_of_the_state_is_that_of_its_version() -> None:
    """A snapshot of another shape would be read as something that it is not."""
    found = sha256(repr(msgspec.inspect.type_info(SessionState)).encode()).hexdigest()[:16]
    assert (PROJECTION_VERSION, found) == (2, SHAPE), (
        "the state has changed: raise PROJECTION_VERSION, and put the new shape here"
    )


class Snapshots(Chaos):
    """Whatever happens in a session: at any moment a snapshot of it is as good as its journal. `kept` is one from a while ago."""

    kept: Snapshot | None = None

    @invariant()
    def a_snapshot_is_as_good_as_the_journal(self) -> None:
        state = self.world.state
        snapshot = encode_state(state)
        again = decode_state(snapshot)
        assert again is not None and again == state
        assert list(again.transcript) == state.transcript
        assert (again.transcript is again.history) is (state.transcript is state.history)
        kept = self.kept or snapshot
        behind = decode_state(kept)
        assert behind is not None
        for entry in self.world.journal[kept.seq :]:
            evolve(behind, entry)
        assert behind == state and decode_state(encode_state(behind)) == state
        self.kept = kept if state.seq % 10 else snapshot

    def a_provider_takes_it(self) -> None:
        """Looked at elsewhere."""

    def teardown(self) -> None:
        self.world.check_folded()


Snapshots.TestCase.settings = examples(80, stateful_step_count=40, suppress_health_check=list(HealthCheck))
TestSnapshots = Snapshots.TestCase


def said(count: int) -> list[Message]:
    return [UserMessage(f"number {n}", turn=n) for n in range(1, count + 1)]


@examples(200)
@given(
    sizes=st.lists(st.integers(0, 4), max_size=4),
    moves=st.lists(
        st.tuples(st.sampled_from(["add", "cut", "read", "slice", "index"]), st.integers(-8, 20)), max_size=8
    ),
)
def test_an_archive_is_a_list(sizes: list[int], moves: list[tuple[str, int]]) -> None:
    messages = said(sum(sizes))
    parts, plain = [], list(messages)
    for size in sizes:
        part, messages = messages[:size], messages[size:]
        parts.append(Part(size, lambda part=part: list(part)))
    archive, added = Archive(parts), 100
    for what, at in moves:
        if what == "add":
            more = said(added)[-1:]
            archive.extend(more)
            plain.extend(more)
            added += 1
        elif what == "cut":
            del archive[at:], plain[at:]
        elif what == "read":
            assert list(archive) == plain and list(reversed(archive)) == plain[::-1]
        elif what == "slice":
            assert archive[at:] == plain[at:] and archive[:at] == plain[:at]
        else:
            outcome = [_item(archive, at), _item(plain, at)]
            assert outcome[0] == outcome[1]
        assert len(archive) == len(plain)
    assert archive == plain and plain == archive


def _item(messages: Any, at: int) -> Any:
    try:
        return messages[at]
    except IndexError:
        return IndexError


def test_only_what_is_asked_for_is_decoded() -> None:
    decoded: list[int] = []
    archive = Archive([Part(2, lambda n=n: decoded.append(n) or said(2)) for n in range(4)])
    assert archive[-1:] and archive[7] and len(archive) == 8
    assert decoded == [3]


async def test_a_snapshot_is_of_one_moment() -> None:
    """What is said while it is being made is not in it."""
    state = fold(journal(300))
    encoding = Encoding(state)
    assert encoding.part()
    for entry in journal(320)[300:]:
        evolve(state, entry)
    snapshot = encoding.snapshot()
    assert snapshot.seq == 300 and decode_state(snapshot) == fold(journal(300))


def journal(count: int) -> list[Entry]:
    """A session of turns without end."""
    from turnwise.core.entries import InputAccepted, SessionCreated, StepCommitted, TurnEnded
    from turnwise.core.limits import Limits
    from turnwise.core.messages import AssistantMessage, ResponseInfo
    from turnwise.core.principal import LOCAL

    entries: list[Entry] = [SessionCreated("s", LOCAL, 1.0)]
    turn = 0
    while len(entries) < count:
        turn += 1
        entries.append(InputAccepted(UserMessage(f"question {turn}", turn), Limits()))
        entries.append(
            StepCommitted(AssistantMessage(f"answer {turn}", turn, 1, 1.0, False, ResponseInfo("p", "m")), 1)
        )
        entries.append(TurnEnded(turn, "completed", 1.0))
    return entries[:count]


@pytest.mark.parametrize("at", [0, 2, 10, 200, -200, -1])
async def test_a_damaged_snapshot_is_not_used(at: int) -> None:
    """D5: the journal is the truth. Damage among the messages is found when they are asked for."""
    store = await stored(journal(400))
    good = encode_state(fold(journal(400)))
    data = bytearray(good.data)
    data[at] ^= 0x01
    await store.save_snapshot("s", Snapshot(good.seq, good.version, bytes(data)))
    found = await read_state(store, "s")
    assert found is not None
    try:
        assert found[0] == fold(journal(400))
    except Exception as error:
        assert getattr(error, "code", "") == "damaged_snapshot"
    whole = await read_state(store, "s", whole=True)
    assert whole is not None and whole[0] == fold(journal(400))


def test_damage_in_the_head_is_seen() -> None:
    """Wherever it is: what it says of a session is believed without another look."""
    good = encode_state(fold(journal(40)))
    end = 8 + int.from_bytes(good.data[:4], "big")
    for at in range(end):
        data = bytearray(good.data)
        data[at] ^= 0x02
        assert decode_state(Snapshot(good.seq, good.version, bytes(data))) is None, at


async def test_a_truncated_snapshot_is_not_used() -> None:
    good = encode_state(fold(journal(400)))
    for length in (0, 3, 4, 20, 500, len(good.data) - 1):
        assert decode_state(Snapshot(good.seq, good.version, good.data[:length])) is None
    assert decode_state(Snapshot(good.seq, good.version, good.data + b" ")) is None


async def test_a_snapshot_of_another_version_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    store = await stored(journal(400))
    state = fold(journal(400))
    await store.save_snapshot("s", encode_state(state))
    monkeypatch.setattr(projection, "PROJECTION_VERSION", projection.PROJECTION_VERSION + 1)
    found = await read_state(store, "s")
    assert found is not None and found[0] == state and found[1] is None


async def test_what_came_after_a_snapshot_is_folded() -> None:
    reads: list[int] = []

    class Watched(Leased):
        async def read(self, session: str, after: int = 0, limit: int | None = None) -> Any:
            reads.append(after)
            return await super().read(session, after, limit)

    store = Watched()
    from turnwise.store.memory import MemoryStore

    await MemoryStore.append(store, "s", 0, journal(403))
    await store.save_snapshot("s", encode_state(fold(journal(400))))
    found = await read_state(store, "s")
    assert found is not None and found[0] == fold(journal(403)) and reads == [400]
    await asyncio.sleep(0)

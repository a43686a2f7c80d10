"""Entries as bytes: what cannot be read is told apart, with its number, and nothing is guessed (rules D5, D7)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnwise.core.entries import StepCommitted
from turnwise.errors import StateError
from turnwise.store.codec import decode_entry, encode_entry
from turnwise.testing.store_conformance.samples import entries_of_every_type, said

GOOD = encode_entry(said("Hello."))


def code_of(data: bytes) -> str:
    with pytest.raises(StateError) as raised:
        decode_entry(data, "s1", 17)
    error = raised.value
    assert "17" in error.message and "s1" in error.message and error.hint and error.info.session == "s1"
    return error.code


@pytest.mark.parametrize(
    "data",
    [
        b'{"type":"session.teleported","to":"Mars"}',
        GOOD.replace(b'"step.committed"', b'"step.committed.again"'),
        GOOD[:-1] + b',"v":2}',
        b'{"type":"step.committed","v":2,"message":"of another shape"}',
    ],
)
def test_what_a_newer_release_wrote(data: bytes) -> None:
    """D7: a type or version that is not known is no damage."""
    assert code_of(data) == "unknown_entry"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"\x00" * 40,
        GOOD[:-1],
        GOOD[1:],
        GOOD + b"x",
        b'{"v":1}',
        b'{"type":"step.committed"}',
        b"\xff\xfe",
    ],
)
def test_what_is_not_what_was_written(data: bytes) -> None:
    """D5: damage is said to be damage."""
    assert code_of(data) == "damaged_entry"


@given(st.binary(max_size=60))
def test_any_bytes(data: bytes) -> None:
    """D5: whatever is on the disk, there is an error with a code, and no other."""
    assert code_of(data) in ("damaged_entry", "unknown_entry")


@given(st.data())
def test_a_cut_entry(data: st.DataObject) -> None:
    """D5: a torn entry is never read as a shorter one."""
    at = data.draw(st.integers(0, len(GOOD) - 1))
    assert code_of(GOOD[:at]) == "damaged_entry"


def test_fields_that_are_not_known_are_skipped() -> None:
    """A newer release may add a field with a default without a new version."""
    assert decode_entry(GOOD[:-1] + b',"mood":"bright"}', "s1", 1) == said("Hello.")


def test_one_line_each() -> None:
    for entry in entries_of_every_type():
        data = encode_entry(entry)
        assert b"\n" not in data and decode_entry(data, "s1", 1) == entry
    assert isinstance(msgspec.json.decode(GOOD, type=StepCommitted), StepCommitted)

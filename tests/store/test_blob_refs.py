"""What a journal refers to is known entry by entry: a kind of entry that is overlooked would lose its bytes to a collection (D1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from turnwise.core.content import BlobRef, Image, Text, ToolCall
from turnwise.core.entries import CallOutcome, Entry, InputAccepted, SessionCreated, StepCommitted
from turnwise.core.limits import Limits
from turnwise.core.messages import AssistantMessage, UserMessage
from turnwise.core.outcomes import ToolResult
from turnwise.core.principal import LOCAL
from turnwise.core.view import Change, View
from turnwise.store.facts import blobs_among, blobs_of
from turnwise.testing.store_conformance.samples import entries_of_every_type


def refs_in(value: Any) -> Iterator[str]:
    """Every reference anywhere in a value."""
    if isinstance(value, BlobRef):
        yield value.sha256
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from refs_in(getattr(value, name))
    elif isinstance(value, dict):
        for one in value.values():
            yield from refs_in(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from refs_in(one)


ENTRIES = entries_of_every_type()


@pytest.mark.parametrize("kind", sorted({type(e) for e in ENTRIES}, key=lambda k: k.__name__), ids=lambda k: k.__name__)
def test_every_reference_is_found(kind: type[Entry]) -> None:
    for entry in ENTRIES:
        if type(entry) is kind:
            assert blobs_of(entry) == set(refs_in(entry))
            assert blobs_among([entry]) == (set(refs_in(entry)) or None)


def test_what_is_appended_together_is_looked_through_to_its_end() -> None:
    """The quick look passes over plain entries only, whatever stands before or behind them."""
    image = Image(BlobRef("0" * 64, 1, "image/png"))
    call = ToolCall("t1.s1.c0", "draw", "{}")
    plain = StepCommitted(AssistantMessage((Text("see"), call), 1, 1), 1)
    drawn = StepCommitted(AssistantMessage((Text("see"), call, image), 1, 1), 1)
    shown = CallOutcome(ToolResult("t1.s1.c0", (Text("here"), image)), "draw", True, 0.0)
    kept = CallOutcome(ToolResult("t1.s1.c0", "much", artifact=BlobRef("1" * 64, 1, "text/plain")), "draw", True, 0.0)
    asked = InputAccepted(UserMessage((Text("this?"), image), 1, 1), Limits())
    assert blobs_among([plain]) is None
    for one in (drawn, shown, asked):
        assert blobs_among([plain, one, plain]) == {"0" * 64}
    assert blobs_among([kept, plain, shown]) == {"0" * 64, "1" * 64}


def test_the_samples_have_references() -> None:
    assert len([entry for entry in ENTRIES if set(refs_in(entry))]) >= 6


def test_a_fork_s_summaries_are_looked_through() -> None:
    """A compaction that was made before the fork may have kept a picture."""
    image = Image(BlobRef("0" * 64, 1, "image/png"))
    view = View(Change(1, UserMessage((image,), 1, 1)), 1)
    created = SessionCreated("fork", LOCAL, 0.0, (), "s1", (view,))
    assert blobs_of(created) == {"0" * 64}

"""Planted bugs: stores, by the store in memory and by what all stores share (D, C). See `table.py`."""

from __future__ import annotations

from row import Row

KIT, CODEC = "tests/store/test_conformance.py::test_promise[memory-", "tests/store/test_codec.py::"

ROWS = [
    Row(
        "D3",
        "whoever has ever had a session may write on",
        "store/memory/claims.py",
        "            if held != (claim.owner, claim.fence):\n",
        "            if held is None:\n",
        (f"{KIT}an_expired_claim_is_taken_over]",),
    ),
    Row(
        "D3",
        "a session whose owner is gone stays claimed for ever",
        "store/memory/claims.py",
        "self.until(held.owner) > now",
        "self.until(held.owner) > 0",
        (f"{KIT}an_expired_claim_is_taken_over]", f"{KIT}orphans_are_found]"),
    ),
    Row(
        "D3",
        "fences begin anew for each claim",
        "store/memory/claims.py",
        "self._fences.get(session, 0) + 1",
        "1",
        (f"{KIT}fences_only_grow]",),
    ),
    Row(
        "D3",
        "an append without a claim goes through while another process has the session",
        "store/memory/store.py",
        "        elif session in self._claims.held:\n",
        "        elif session not in self._rows:\n",
        ("tests/store/test_memory.py::test_appending_now_minds_claims",),
    ),
    Row(
        "D3",
        "an append that is refused for its place has claimed the session",
        "store/memory/store.py",
        "        self._extend(row, after, entries)\n        return 0 if claim is None else self._claims.take(session, claim)\n",
        "        fence = 0 if claim is None else self._claims.take(session, claim)\n        self._extend(row, after, entries)\n"
        "        return fence\n",
        (f"{KIT}refused_appends_claim_nothing]",),
    ),
    Row(
        "D3",
        "an append goes wherever the journal ends",
        "store/memory/store.py",
        "        journal = row.journal\n        if len(journal) != after:\n            raise append_conflict(row.id,",
        "        journal = row.journal\n        if len(journal) < after:\n            raise append_conflict(row.id,",
        (f"{KIT}conflicting_appends_write_nothing]",),
    ),
    Row(
        "D3",
        "a record that had expired begins with version 1 again",
        "store/versions.py",
        "version_of(before) + 1",
        "version_of(there) + 1",
        (f"{KIT}records_expire]",),
    ),
    Row(
        "D5",
        "the history that a session begins with does not keep its images",
        "store/facts.py",
        "        yield from entry.history\n        yield from [view",
        "        yield from [view",
        (f"{KIT}unused_blobs_are_collected]",),
    ),
    Row(
        "D5",
        "whole texts of results are collected as if nobody referred to them",
        "store/facts.py",
        "    if result.artifact is not None:\n",
        "    if result.artifact is None and result.artifact is not None:\n",
        (f"{KIT}unused_blobs_are_collected]",),
    ),
    Row(
        "D5",
        "a picture that stands beside text is passed over as if there were text alone",
        "store/facts.py",
        "_PLAIN: frozenset[type] = frozenset((Text, ToolCall))",
        "_PLAIN: frozenset[type] = frozenset((Text, ToolCall, Image))",
        ("tests/store/test_blob_refs.py::test_what_is_appended_together_is_looked_through_to_its_end",),
    ),
    Row(
        "D5",
        "what a fork begins with is found a second time",
        "store/facts.py",
        "        if not entry.forked_from:",
        "        if entry.history:",
        (f"{KIT}forks_are_not_found_twice]",),
    ),
    Row(
        "D7",
        "an entry of a newer version is read as if it were ours",
        "store/codec.py",
        "    if entry.v > KNOWN_VERSION:\n",
        "    if entry.v < 1:\n",
        (f"{CODEC}test_what_a_newer_release_wrote",),
    ),
    Row(
        "D7",
        "an entry of a newer release is called damaged",
        "store/codec.py",
        "    if head.type not in _TAGS or head.v > KNOWN_VERSION:\n",
        "    if head.v > KNOWN_VERSION:\n",
        (f"{CODEC}test_what_a_newer_release_wrote",),
    ),
]

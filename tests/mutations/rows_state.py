"""Planted bugs: scoped state and bytes beside the journal (D1, H4, P7). See `table.py`."""

from __future__ import annotations

from row import R, Row

S = "tests/store/"
SCOPED, PROPERTIES, WATCHING = (
    f"{S}test_scoped_state.py::",
    f"{S}test_state_properties.py::",
    f"{S}test_state_watching.py::",
)
TOOLS, BYTES = f"{R}test_state_in_tools.py::", f"{R}test_stored_blobs.py::"

ROWS = [
    Row(
        "D1",
        "an update writes over what came in between",
        "store/changing.py",
        "                    data,\n                    version_of(found),\n",
        "                    data,\n                    None,\n",
        (f"{PROPERTIES}test_updates_lose_nothing",),
    ),
    Row(
        "D1",
        "a deleted record's versions begin again",
        "store/changing.py",
        'await write(place, b"null", version_of(found), GONE, 0.0)',
        "await place.records.delete_record(place.scope, place.key, expect=version_of(found))",
        (f"{SCOPED}test_a_record_deleted_in_between_is_not_taken_for_the_one_that_was_read",),
    ),
    Row(
        "D1",
        "an update makes a record live for ever",
        "store/changing.py",
        "    return found.expires_at - found.updated_at",
        "    return None",
        (f"{PROPERTIES}test_records_live_as_long_as_they_were_given",),
    ),
    Row(
        "D1",
        "writers of one key take each other's versions away",
        "store/board.py",
        "            async with line.lock:\n                yield",
        "            yield",
        (f"{SCOPED}test_in_one_process_updates_never_try_twice",),
    ),
    Row(
        "H4",
        "a change is told before it is written",
        "store/changing.py",
        "    board = board_of(place.records)\n    try:",
        "    board = board_of(place.records)\n    board.tell(place.scope, place.key, None)\n    try:",
        (f"{WATCHING}test_it_is_written_before_it_is_told",),
    ),
    Row(
        "H4",
        "a write that may have been made is passed over in silence",
        "store/changing.py",
        "            board.unsure(place.scope, place.key)",
        "            pass",
        (f"{WATCHING}test_a_write_that_may_have_been_made_counts_as_dropped",),
    ),
    Row(
        "H4",
        "who does not read makes the memory grow",
        "store/board.py",
        "elif len(waiting) >= self.size:",
        "elif False:",
        (f"{WATCHING}test_who_does_not_read_holds_nobody_up_and_finds_the_newest",),
    ),
    Row(
        "P7",
        "a newer shape is read as an older one",
        "store/shapes.py",
        "        if record.schema > self.schema:",
        "        if False:",
        (f"{PROPERTIES}test_old_shapes_become_today_s",),
    ),
    Row(
        "P7",
        "a value is written that does not come back",
        "store/shapes.py",
        "                raise not_json(self.name, value, f",
        "                return data\n                raise not_json(self.name, value, f",
        (f"{SCOPED}test_what_would_not_come_back_is_not_written",),
    ),
    Row(
        "D1",
        "an outcome refers to bytes that are on their way",
        "runtime/actor.py",
        "        if self._puts:\n            await asyncio.wait(self._puts)\n",
        "",
        (f"{BYTES}test_what_a_stopped_call_had_printed_is_kept_before_its_outcome[anthropic]",),
    ),
    Row(
        "D1",
        "bytes of a stored session are kept in memory",
        "runtime/ground.py",
        "        if parts.has_blobs(store):",
        "        if False:",
        (f"{BYTES}test_the_same_bytes_are_kept_once[memory]",),
    ),
    Row(
        "D1",
        "a history's bytes are not looked for",
        "runtime/ground.py",
        " or self._append_now is None or self.state.history)",
        ")",
        (f"{BYTES}test_a_history_with_references_is_sent_by_whoever_has_the_store[memory]",),
    ),
    Row(
        "I3",
        "a file whose reader was given up stays open",
        "runtime/pieces.py",
        "        if self._given_up:\n            self.close()\n",
        "",
        (f"{BYTES}test_leaving_while_a_file_is_read_closes_it",),
    ),
    Row(
        "C1",
        "a stopped tool cannot write down what it did",
        "runtime/scoped_state.py",
        "        if session.forked:",
        "        if session.closed or session.forked:",
        (f"{TOOLS}test_a_tool_that_is_stopped_may_still_write_down_what_it_did",),
    ),
]

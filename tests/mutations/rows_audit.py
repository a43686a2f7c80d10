"""Planted bugs: what is on record of decisions, and budgets that sessions share (P1, P2, P4, P6, H3). See `table.py`."""

from __future__ import annotations

from row import Row

AUDIT, STORED = "tests/audit/test_audit.py", "tests/audit/test_stored_audit.py"

ROWS = [
    Row(
        "P4",
        "a verdict is not journalled",
        "runtime/door.py",
        "            if place.judged:\n",
        "            if False:\n",
        (f"{AUDIT}::test_a_check_that_failed_is_a_record",),
    ),
    Row(
        "P1",
        "a check that failed is on record as a denial by rule",
        "runtime/audit/said.py",
        "    if failed:\n",
        "    if False:\n",
        (f"{AUDIT}::test_a_check_that_failed_is_a_record",),
    ),
    Row(
        "P2",
        "a fingerprint is of how arguments are written",
        "core/audit.py",
        "    said = canonical(arguments)\n",
        "    said = arguments\n",
        (f"{AUDIT}::test_a_verdict_is_bound_to_the_exact_call[memory]",),
    ),
    Row(
        "P4",
        "who answered is not journalled",
        "core/decide_rare.py",
        "given.arguments, by=given.by)",
        "given.arguments)",
        (f"{AUDIT}::test_records_are_filtered",),
    ),
    Row(
        "P4",
        "a decision is dropped while no turn runs",
        "core/decide_rare.py",
        "            return [_decided(turn, given, now)]\n",
        "            return [_decided(turn, given, now)] if turn is not None else []\n",
        (f"{AUDIT}::test_a_decision_between_turns_is_on_record",),
    ),
    Row(
        "D5",
        "a damaged session ends the audit of all",
        "runtime/audit/reading.py",
        "salvage=True",
        "salvage=False",
        (f"{STORED}::test_a_journal_that_cannot_be_read_hides_nothing",),
    ),
]

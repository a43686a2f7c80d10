"""Planted bugs: the store in PostgreSQL (D). Each run starts a server. See `table.py`."""

from __future__ import annotations

from row import Row

FAULTS, ALONE, POOLER = [f"tests/store/test_postgres{name}.py::" for name in ("_faults", "", "_pooler")]
KIT = "tests/store/test_conformance.py::test_promise[postgres-"

ROWS = [
    Row(
        "D1",
        "an append whose answer was lost is told as a conflict",
        "store/postgres/functions.py",
        "AND e.append = p_append;",
        "AND false;",
        (f"{POOLER}test_an_append_whose_answer_is_lost_is_written_once",),
    ),
    Row(
        "D4",
        "a connection that the server has closed is an error of the caller's",
        "store/postgres/database.py",
        "        if self._pool.met or any(",
        "        if any(",
        (f"{FAULTS}test_connections_killed_in_mid_append",),
    ),
    Row(
        "C1",
        "what comes after a cancelled append does not wait for it",
        "store/postgres/journal.py",
        "            if on and not on[0].free:\n",
        "            if not on:\n",
        (f"{FAULTS}test_a_cancelled_append_keeps_its_place",),
    ),
    Row(
        "D3",
        "a claim is looked at before the session's row is locked",
        "store/postgres/functions.py",
        "INTO r FROM {s}.sessions s WHERE s.id = p_session FOR UPDATE;\n        EXIT WHEN FOUND;\n        IF p_after <> 0 OR",
        "INTO r FROM {s}.sessions s WHERE s.id = p_session;\n        EXIT WHEN FOUND;\n        IF p_after <> 0 OR",
        (f"{FAULTS}test_an_append_that_waited_for_a_claim_looks_at_that_claim",),
    ),
    Row(
        "D5",
        "entries that are missing at the end are not missed",
        "store/postgres/journal.py",
        '                raise damaged_entry(session, start + len(rows) + 1, "it is missing")\n',
        "                break\n",
        (f"{ALONE}test_damage_is_found_and_what_is_good_is_read",),
    ),
    Row(
        "P6",
        "a DSN that cannot be read is repeated, with its password",
        "store/postgres/errors.py",
        '                "The address of the database cannot be read.",\n',
        '                f"The address of the database cannot be read: {dsn}.",\n',
        (f"{ALONE}test_a_dsn_that_cannot_be_read_is_not_repeated",),
    ),
    Row(
        "D6",
        "who waits listens after it has looked",
        "store/postgres/waiting.py",
        "            if listening:\n                await self._mark(database)\n",
        "",
        (f"{FAULTS}test_waiting_is_told_by_the_server",),
    ),
    Row(
        "I2",
        "a forked child reads what the server answers its parent",
        "store/postgres/link.py",
        "        if self.broken:\n            return\n        pg = self._pg\n",
        "        pg = self._pg\n",
        (f"{ALONE}test_a_forked_child_does_not_read_what_its_parent_is_told",),
    ),
]

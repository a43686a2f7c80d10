"""Planted bugs: exports, imports, pruning, and the sessions of the command line (D, P, T). See `table.py`."""

from __future__ import annotations

from row import R, Row

X = f"{R}transfer/test_export_import.py::"
H = f"{R}transfer/test_readable.py::"
P = f"{R}transfer/test_prune.py::"
K = "tests/cli/test_kept.py::"
S = "tests/cli/test_sessions.py::"
FOLDER = "runtime/transfer/"

ROWS = [
    Row(
        "D5",
        "an import does not look at the checksum",
        f"{FOLDER}importing.py",
        "        if end.sha256 != self._digest.hexdigest():\n",
        "        if False:\n",
        (f"{X}test_one_changed_byte_anywhere_is_refused",),
    ),
    Row(
        "D5",
        "entries may be missing from an import",
        f"{FOLDER}importing.py",
        "        if line.number != number:\n",
        "        if line.number < number:\n",
        (f"{X}test_an_edited_export_is_refused_with_the_line",),
    ),
    Row(
        "D5",
        "an import that fails at the end leaves its row behind",
        "runtime/rows.py",
        "    except BaseException:\n        await store.delete(session)\n",
        "    except BaseException:\n",
        (f"{X}test_a_store_that_fails_at_the_end_keeps_nothing",),
    ),
    Row(
        "D5",
        "an attachment is taken in without a look at what it is",
        f"{FOLDER}importing.py",
        "        if name != first.sha256:\n",
        "        if False:\n",
        (f"{X}test_an_edited_export_is_refused_with_the_line[other bytes]",),
    ),
    Row(
        "D5",
        "a damaged entry ends an export without a word",
        f"{FOLDER}export.py",
        "                if not self._salvage:\n                    raise\n",
        "",
        (f"{X}test_damage_ends_an_export_and_what_is_good_can_be_had",),
    ),
    Row(
        "D7",
        "an export of a newer format is read as if it were known",
        f"{FOLDER}importing.py",
        "        if head.v > EXPORT_VERSION:\n",
        "        if False:\n",
        (f"{X}test_an_edited_export_is_refused_with_the_line[newer format]",),
    ),
    Row(
        "T6",
        "a history without outcomes is imported",
        f"{FOLDER}importing.py",
        "        if repair(self._state.history) is not self._state.history:\n",
        "        if False:\n",
        (f"{X}test_a_history_that_no_provider_would_take_is_refused",),
    ),
    Row(
        "P7",
        "an import belongs to whom the file says",
        f"{FOLDER}importing.py",
        "replace(entry, session=self._id, principal=self._principal)",
        "replace(entry, session=self._id)",
        (f"{X}test_an_import_belongs_to_whoever_imports_it",),
    ),
    Row(
        "P7",
        "what was said goes into the page as it is",
        f"{FOLDER}html.py",
        "    return escape(clean(text), quote=True)\n",
        "    return clean(text)\n",
        (f"{H}test_nothing_that_was_said_becomes_html",),
    ),
    Row(
        "P7",
        "a code block of Markdown ends where its text has a fence",
        f"{FOLDER}markdown.py",
        '    fence = "`" * max(3, _longest(text, "`") + 1)\n',
        '    fence = "`" * 3\n',
        (f"{H}test_a_code_block_ends_where_we_end_it",),
    ),
    Row(
        "P7",
        "a fence in a list is taken for one of ours",
        f"{FOLDER}markdown.py",
        '            certain = certain and "```" not in one and "~~~" not in one\n',
        "            pass\n",
        (f"{H}test_html_in_markdown_stands_in_code_or_not_at_all",),
    ),
    Row(
        "D3",
        "pruning takes a session that was gone on with meanwhile",
        f"{FOLDER}prune.py",
        "    if now is not None and (now.last, now.updated_at) != (session.last, session.updated_at):\n",
        "    if False:\n",
        (f"{P}test_one_that_is_gone_on_with_meanwhile_is_kept",),
    ),
    Row(
        "D5",
        "pruning takes sessions that have a name",
        f"{FOLDER}prune.py",
        "(keep_named and one.session.name is not None)",
        "(False and one.session.name is not None)",
        (f"{P}test_by_age",),
    ),
    Row(
        "D1",
        "the command line keeps a session under no folder",
        "frontends/cli/keeping.py",
        "agent=AGENT, folder=here())",
        "agent=AGENT)",
        (f"{K}test_a_question_is_kept_and_gone_on_with",),
    ),
    Row(
        "P1",
        "sessions are deleted where nobody can be asked",
        "frontends/cli/sessions_upkeep.py",
        "    if not asked or as_json:\n",
        "    if not asked:\n        return True\n    if as_json:\n",
        (f"{S}test_nothing_is_deleted_unasked",),
    ),
]

"""Planted bugs: what becomes of results (E7, and E3 where it is about what is kept). See `table.py`."""

from __future__ import annotations

from row import R, Row, T

LONG, VALUES, CAP = f"{R}test_long_results.py::", f"{R}test_tool_values.py::", f"{T}test_cap.py::"

ROWS = [
    Row(
        "E7",
        "a cut falls between a letter and its accent",
        "tools/cap.py",
        ' or unicodedata.category(after)[0] == "M"',
        "",
        (f"{CAP}test_nothing_is_cut_inside_a_character",),
    ),
    Row(
        "E7",
        "a cut halves a flag",
        "tools/cap.py",
        "_indicators_before(text, at) % 2 == 1",
        "False",
        (f"{CAP}test_nothing_is_cut_inside_a_character",),
    ),
    Row(
        "E7",
        "the line in between has no room",
        "tools/cap.py",
        "cut_of(text, limit - NOTE_CHARS)",
        "cut_of(text, limit)",
        (f"{CAP}test_what_stays_is_bounded_and_whole",),
    ),
    Row(
        "E7",
        "lines are cut although they need not be",
        "tools/cap.py",
        "    if line > lowest:\n        return line",
        "    if line > lowest:\n        return at",
        (f"{CAP}test_lines_are_kept_whole_where_they_can_be",),
    ),
    Row(
        "E7",
        "what was left out is kept nowhere",
        "runtime/artifacts.py",
        "    await blobs.put(data)\n",
        "",
        (f"{LONG}test_the_model_gets_both_ends_and_the_session_keeps_all[anthropic-streamed]",),
    ),
    Row(
        "E7",
        "a session reads what another one was told",
        "runtime/artifacts.py",
        "        for result in self._results():",
        '        if len(id) == 64:\n            return BlobRef(id, 0, "text/plain")\n        for result in self._results():',
        (f"{LONG}test_only_a_session_s_own_results_can_be_read[anthropic]",),
    ),
    Row(
        "E7",
        "the model is told of a tool that it does not have",
        "runtime/artifacts.py",
        "is not read_artifact:",
        "is read_artifact:",
        (f"{LONG}test_the_model_gets_both_ends_and_the_session_keeps_all[anthropic-streamed]",),
    ),
    Row(
        "E7",
        "reading on skips a line",
        "tools/artifacts.py",
        'f"start={last_line + 1}"',
        'f"start={last_line + 2}"',
        (f"{LONG}test_reading_on_gives_the_whole_text",),
    ),
    Row(
        "E3",
        "a search has no end",
        "tools/search_child.py",
        '    signal.setitimer(signal.ITIMER_REAL, request["seconds"])\n',
        "",
        (f"{LONG}test_a_pattern_that_takes_for_ever_is_stopped",),
    ),
    Row(
        "E3",
        "what an abandoned call had printed is kept nowhere",
        "runtime/body.py",
        "        self._session.append_after(self._session.runtime.start(self._put(text)))\n",
        "",
        (f"{LONG}test_a_body_that_is_abandoned_leaves_what_it_printed[anthropic]",),
    ),
    Row(
        "E1",
        "a call fails because its summary does",
        "tools/summaries.py",
        "    except Exception as error:\n        return Returned(value, None, failure_of(error).message)",
        "    except ZeroDivisionError as error:\n        return Returned(value, None, failure_of(error).message)",
        (f"{VALUES}test_summaries_are_made_when_the_tool_returns[anthropic]",),
    ),
    Row(
        "E10",
        "what a model took that read a result is not counted",
        "runtime/calls.py",
        "self._inputs.append(SpentElsewhere(job.usage))",
        "pass",
        (f"{VALUES}test_a_large_result_is_read_by_another_model[anthropic-streamed]",),
    ),
    Row(
        "E1",
        "an interrupt takes back what a tool has returned",
        "runtime/calls.py",
        "        if job.result is not None:",
        "        if False and job.result is not None:",
        (f"{VALUES}test_an_interrupt_reaches_it_and_its_tokens_count",),
    ),
]

"""Planted bugs: structured output. See `table.py`."""

from __future__ import annotations

from row import Row, T, W

_PARTIAL, _OUTPUT = f"{T}test_partial.py::", f"{T}test_output.py::"

ROWS = [
    Row(
        "E2",
        "a growing number is shown before it is complete",
        "tools/partial.py",
        "if json.state is _string:\n            inner",
        "if json.state is _string or json.pieces:\n            inner",
        (f"{_PARTIAL}test_every_prefix_shows_a_beginning_and_the_whole_is_what_a_parser_makes_of_it",),
    ),
    Row(
        "S1",
        "an escape that is cut in two is lost",
        "tools/partial.py",
        "        if json.escape:\n",
        "        if json.escape and at:\n",
        (f"{_PARTIAL}test_what_is_shown", f"{_PARTIAL}test_it_does_not_matter_how_the_text_is_cut"),
    ),
    Row(
        "S1",
        "the halves of a surrogate pair are not put together",
        "tools/partial.py",
        "if 0xD800 <= code <= 0xDBFF:",
        "if False:",
        (f"{_PARTIAL}test_what_is_shown",),
    ),
    Row(
        "S8",
        "endless nesting grows without bound",
        "tools/partial.py",
        "state if len(json.keys) <= MAX_DEPTH else _broken",
        "state",
        (f"{_PARTIAL}test_endless_nesting_is_cut_off_without_recursion",),
    ),
    Row(
        "E2",
        "members of a union that look alike are not told apart",
        "tools/answers.py",
        "if len(alike) < 2 or all",
        "if len(alike) < 9 or all",
        (f"{_OUTPUT}test_every_kind_of_type",),
    ),
    Row(
        "E2",
        "the arguments of the answer tool are guessed at",
        "tools/answers.py",
        "if lenient and self._wrapped and not self._kinds:",
        "if self._wrapped and not self._kinds:",
        (f"{_OUTPUT}test_arguments_of_the_answer_tool_are_not_guessed_at",),
    ),
    Row(
        "T8",
        "structured output is asked for beside tools where that cannot be had",
        "tools/output.py",
        "beside_tools = not has_tools or",
        "beside_tools = True or",
        (f"{_OUTPUT}test_the_strategy_goes_by_what_is_known_of_the_model",),
    ),
    Row(
        "T8",
        "OpenAI is sent a schema with optional fields",
        "wire/structured.py",
        'required = list(made["properties"]) if self.rules.whole else',
        "required =",
        (f"{W}test_structured.py::test_openai_wants_every_field_required_and_no_default",),
    ),
    Row(
        "T8",
        "a reference is sent with a description beside it",
        "wire/structured.py",
        'return {"$ref": local}',
        'return {"$ref": local, "description": ""}',
        (f"{W}test_structured.py::test_references_stand_alone_and_older_definitions_are_found",),
    ),
]

"""What a turn had to do without is said beside the answer: to people on stderr, to programs in the result."""

from __future__ import annotations

import json

import pytest

from turnwise.core.errors import ErrorInfo
from turnwise.core.result import TurnResult, TurnWarning
from turnwise.events import TurnFinished
from turnwise.frontends.cli.screen import Screen
from turnwise.frontends.cli.view import JsonLines, TextView, conclude

PRICES = TurnWarning("prices", "prices_unreadable", "The catalogue of models cannot be read.")


def test_people_read_warnings_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=False)
    result = TurnResult("s", 1, "completed", "Hi.", warnings=(PRICES,))
    TextView(screen).show([TurnFinished(result)])
    conclude(result, screen, None)
    out, err = capfd.readouterr()
    assert out == "" and err == "Warning: The catalogue of models cannot be read.\n"
    conclude(result, Screen(quiet=True), None)
    assert capfd.readouterr() == ("", "")


def test_the_error_that_ended_the_turn_is_not_said_twice(capfd: pytest.CaptureFixture[str]) -> None:
    error = ErrorInfo("state", "append_failed", "The journal could not be written.", "Check the store.")
    store = TurnWarning("store", "append_failed", "The journal could not be written.")
    conclude(TurnResult("s", 1, "error", error=error, warnings=(store, PRICES)), Screen(quiet=False), None)
    err = capfd.readouterr().err
    assert err.count("The journal could not be written.") == 1 and "catalogue" in err


def test_programs_read_warnings_in_the_result(capfd: pytest.CaptureFixture[str]) -> None:
    result = TurnResult("s", 1, "completed", "Hi.", warnings=(PRICES,))
    JsonLines(Screen(quiet=False)).show([TurnFinished(result)])
    said = json.loads(capfd.readouterr().out)
    assert said["result"]["warnings"] == [
        {"part": "prices", "code": "prices_unreadable", "message": "The catalogue of models cannot be read."}
    ]

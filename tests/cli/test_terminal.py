"""On a real terminal: colours for people, unless they want none, and no control over the terminal for the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from turnwise.testing import ScriptedProvider, call, reply

if TYPE_CHECKING:
    from .conftest import Cli


def test_notes_are_coloured_and_the_answer_is_not(cli: Cli) -> None:
    with ScriptedProvider([reply("Let me see.", call("nothing")), reply("Done.")]) as provider:
        terminal = cli.terminal("--ephemeral", "hi", env=cli.environment(provider))
        shown = terminal.read_to_end()
    assert terminal.process.returncode == 0
    lines = shown.splitlines()
    assert (lines[0], lines[-1]) == ("Let me see.", "Done.")
    assert all(line.startswith("\x1b[2m") and line.endswith("\x1b[0m") for line in lines[1:-1]) and len(lines) == 4


@pytest.mark.parametrize("variable", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=["NO_COLOR", "dumb"])
def test_no_colours_if_none_are_wanted(cli: Cli, variable: dict[str, str]) -> None:
    with ScriptedProvider([reply("Let me see.", call("nothing")), reply("Done.")]) as provider:
        shown = cli.terminal("--ephemeral", "hi", env={**cli.environment(provider), **variable}).read_to_end()
    assert "\x1b" not in shown and "there is no tool named 'nothing'" in shown


def test_the_model_cannot_control_the_terminal(cli: Cli) -> None:
    with ScriptedProvider([reply("a\x1b[2Jb\x07c\x9bd\re")]) as provider:
        shown = cli.terminal("--ephemeral", "hi", env=cli.environment(provider)).read_to_end()
    assert shown == "a␛[2Jb␇c\N{REPLACEMENT CHARACTER}de\n"


def test_an_error_is_red(cli: Cli) -> None:
    terminal = cli.terminal("-m", "nobody:m", "hi", env=cli.environment())
    shown = terminal.read_to_end()
    assert terminal.process.returncode == 2
    assert shown.startswith("\x1b[31m\x1b[1mError: \x1b[0mThere is no provider 'nobody'.\n  ")


def test_nothing_asked_at_a_terminal(cli: Cli) -> None:
    """It does not wait for standard input there."""
    terminal = cli.terminal(env=cli.environment(ANTHROPIC_API_KEY="x", NO_COLOR="1"))
    shown = terminal.read_to_end()
    assert terminal.process.returncode == 2
    assert shown.startswith("Error: There is no prompt.\n  ")

"""What is asked and what is shown: prompt, standard input, attachments, options, output, and the choice of a model."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from turnwise.events import Event, TextDelta, TurnFinished, TurnStarted
from turnwise.testing import RecordedRequest, ScriptedProvider, call, fail, reply, think

if TYPE_CHECKING:
    from .conftest import Cli

APIS = ("anthropic", "openai")
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)


def user_parts(request: RecordedRequest) -> list[dict[str, Any]]:
    """The parts of the request's last message, whichever API it is of."""
    content = request.body["messages"][-1]["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def user_text(request: RecordedRequest) -> str:
    return "".join([part.get("text", "") for part in user_parts(request)])


@pytest.mark.parametrize("api", APIS)
def test_the_answer_goes_to_stdout_and_nothing_else_does(cli: Cli, api: str) -> None:
    with ScriptedProvider([reply("Blue, for Rayleigh ", "scattered it.")]) as provider:
        done = cli.run("Why is", "the sky blue?", "-s", "Be terse.", env=cli.environment(provider, api))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"Blue, for Rayleigh scattered it.\n", b"")
    request = provider.requests[0]
    assert user_text(request) == "Why is the sky blue?"
    assert b"Be terse." in request.raw
    assert request.body["stream"] is True


@pytest.mark.parametrize("api", APIS)
def test_an_answer_in_one_piece(cli: Cli, api: str) -> None:
    with ScriptedProvider([reply("All of it.\n")]) as provider:
        done = cli.run("hi", "--no-stream", env=cli.environment(provider, api))
    assert (done.returncode, done.stdout, done.stderr) == (0, b"All of it.\n", b"")
    assert not provider.requests[0].body.get("stream")


def test_a_pipe_gets_the_answer_unchanged(cli: Cli) -> None:
    """No escape codes of ours, and what the model said as it said it."""
    said = "tab\there \x1b[31mred\x1b[0m \r\n naïve ✓ 🚀 \x07"
    with ScriptedProvider([reply(said)]) as provider:
        done = cli.run("hi", env=cli.environment(provider, FORCE_COLOR="1"))
    assert done.stdout.decode() == said + "\n"


def test_standard_input_alone_is_the_prompt(cli: Cli) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run(env=cli.environment(provider), stdin="naïve question?\n".encode())
    assert done.returncode == 0
    assert user_text(provider.requests[0]) == "naïve question?\n"


def test_standard_input_and_words_are_both_asked(cli: Cli) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run("review", env=cli.environment(provider), stdin=b"+ a line\n")
    assert done.returncode == 0
    assert user_text(provider.requests[0]) == "<stdin>\n+ a line\n</stdin>\n\nreview"


@pytest.mark.parametrize("api", APIS)
def test_files_are_attached_by_what_they_are(cli: Cli, api: str) -> None:
    (cli.folder / "dot.png").write_bytes(PNG)
    (cli.folder / "notes.md").write_text("remember the milk")
    with ScriptedProvider([reply("ok")]) as provider:
        env = cli.environment(provider, api)
        done = cli.run("what is this?", "-a", "dot.png", "--attach", "notes.md", env=env)
    assert (done.returncode, done.stderr) == (0, b"")
    parts = user_parts(provider.requests[0])
    assert [part["type"] for part in parts] == ["image" if api == "anthropic" else "image_url", "text", "text"]
    assert base64.b64encode(PNG) in provider.requests[0].raw
    assert "remember the milk" in parts[1]["text"] and "notes.md" in parts[1]["text"]
    assert parts[2]["text"] == "what is this?"


def test_an_image_can_be_piped_in(cli: Cli) -> None:
    with ScriptedProvider([reply("a dot")]) as provider:
        done = cli.run("what is this?", env=cli.environment(provider), stdin=PNG)
    assert done.returncode == 0
    assert [part["type"] for part in user_parts(provider.requests[0])] == ["image", "text"]


@pytest.mark.parametrize("api", APIS)
def test_json_lines_are_the_events(cli: Cli, api: str) -> None:
    """Every line is one of the library's events, encoded by the library; the last is the turn's end."""
    script = [reply(think("Hm."), "Let me see.", call("nothing", a=1)), reply("Done.")]
    with ScriptedProvider(script) as provider:
        done = cli.run("hi", "--json", env=cli.environment(provider, api))
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.splitlines()
    events = [msgspec.json.decode(line, type=Event) for line in lines]
    assert [msgspec.json.encode(event) for event in events] == lines
    assert type(events[0]) is TurnStarted
    last = events[-1]
    assert type(last) is TurnFinished and sum([type(event) is TurnFinished for event in events]) == 1
    assert (last.result.reason, last.result.text, last.result.steps, last.result.calls) == ("completed", "Done.", 2, 1)
    assert "".join([event.text for event in events if type(event) is TextDelta]) == "Let me see.Done."
    names = {msgspec.json.decode(line)["type"] for line in lines}
    assert {"step.started", "tool_call.ready", "tool.finished", "usage.updated"} <= names


def test_tool_activity_is_told_on_stderr(cli: Cli) -> None:
    with ScriptedProvider([reply("Let me see.", call("nothing", a=1)), reply("Done.")]) as provider:
        done = cli.run("hi", env=cli.environment(provider))
    assert done.stdout == b"Let me see.\nDone.\n"
    assert done.stderr.decode().splitlines() == [
        '→ nothing {"a":1}',
        "✗ nothing: The call was not run: there is no tool named 'nothing'.",
    ]


def test_a_retry_is_told_on_stderr(cli: Cli) -> None:
    overloaded = fail(529, "Overloaded", headers={"retry-after": "0"})
    with ScriptedProvider([overloaded, reply("Here.")]) as provider:
        done = cli.run("hi", env=cli.environment(provider))
    assert (done.returncode, done.stdout) == (0, b"Here.\n")
    assert b"Trying again in 0.0 s." in done.stderr


def test_an_answer_cut_off_by_the_model_says_so(cli: Cli) -> None:
    with ScriptedProvider([reply("Once upon a", stop="max_tokens")]) as provider:
        done = cli.run("hi", env=cli.environment(provider))
    assert (done.returncode, done.stdout) == (0, b"Once upon a\n")
    assert b"cut off" in done.stderr


@pytest.mark.parametrize(("api", "model"), [("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5-mini")])
def test_the_model_is_chosen_by_the_key_that_is_set(cli: Cli, api: str, model: str) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run("hi", env=cli.environment(provider, api, TURNWISE_MODEL=""))
    assert (done.returncode, done.stdout) == (0, b"ok\n")
    assert done.stderr.decode().startswith(f"Using {api}:{model}, because {api.upper()}_API_KEY is set")
    assert provider.requests[0].body["model"] == model


def test_an_option_names_the_model_before_the_environment_does(cli: Cli) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run("-m", "anthropic:other", "hi", env=cli.environment(provider))
    assert (done.returncode, done.stderr) == (0, b"")
    assert provider.requests[0].body["model"] == "other"


def test_arguments_that_are_no_utf_8_are_sent_as_well_as_can_be(cli: Cli, tmp_path: Path) -> None:
    with ScriptedProvider([reply("ok")]) as provider:
        done = cli.run("caf\udce9?", env=cli.environment(provider))
    assert (done.returncode, done.stderr) == (0, b"")
    assert user_text(provider.requests[0]) == "caf\N{REPLACEMENT CHARACTER}?"

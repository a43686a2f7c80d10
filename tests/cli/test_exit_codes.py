"""Every exit code that docs/cli.md promises, with what is said on stderr. 130, 141 and 143 are in test_interrupt.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from turnwise.events import Event, TurnFinished
from turnwise.testing import Reply, ScriptedProvider, call, fail, hang, repeat, reply

if TYPE_CHECKING:
    from .conftest import Cli

APIS = ("anthropic", "openai")


@pytest.mark.parametrize("api", APIS)
def test_1_the_provider_refuses(cli: Cli, api: str) -> None:
    with ScriptedProvider([fail(404, "There is no such model.")]) as provider:
        done = cli.run("hi", env=cli.environment(provider, api))
    assert (done.returncode, done.stdout) == (1, b"")
    first, *hint = done.stderr.decode().splitlines()
    assert first.startswith("Error: ") and "There is no such model." in first
    assert hint and all(line.startswith("  ") for line in hint)


@pytest.mark.parametrize("api", APIS)
def test_1_a_wrong_key(cli: Cli, api: str) -> None:
    """The key itself is never shown (rule P6)."""
    with ScriptedProvider([]) as provider:
        done = cli.run("hi", env=cli.environment(provider, api) | {f"{api.upper()}_API_KEY": "wrong"})
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Error: ")


def test_1_nobody_listens(cli: Cli) -> None:
    with ScriptedProvider([]) as provider:
        env = cli.environment(provider)
    done = cli.run("hi", env=env)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"refused the connection" in done.stderr


@pytest.mark.parametrize("json", [False, True])
def test_1_the_stream_breaks_off(cli: Cli, json: bool) -> None:
    """What was received is printed, and the JSON lines still end with the turn's end (S3)."""
    with ScriptedProvider([reply("Once ", "upon ", "a time", close_at_byte=700)]) as provider:
        done = cli.run("hi", *["--json"] * json, env=cli.environment(provider))
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    if json:
        last = msgspec.json.decode(done.stdout.splitlines()[-1], type=Event)
        assert type(last) is TurnFinished and last.result.reason == "error"
    else:
        assert done.stdout.startswith(b"Once ") and done.stdout.endswith(b"\n")


def test_1_the_disk_is_full(cli: Cli) -> None:
    with ScriptedProvider([reply("Hello")]) as provider, open("/dev/full", "wb") as full:
        process = cli.start("hi", env=cli.environment(provider), stdout=full)
        _, stderr = process.communicate(timeout=20)
    assert (process.returncode, stderr) == (1, b"Error: The output cannot be written: No space left on device.\n")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("--jsn", "hi"), "--json"),
        (("-m", "anthropc:m", "hi"), "Did you mean anthropic:m?"),
        (("-m", "anthropic", "hi"), "anthropic:MODEL"),
        (("-m", "gpt-5", "hi"), "provider:model"),
        (("-a", "missing.txt", "hi"), "missing.txt"),
        (("-a", "blob.bin", "hi"), "blob.bin"),
        (("--max-steps", "-1", "hi"), "--max-steps"),
        (("--timeout", "0", "hi"), "--timeout"),
        (("--timeout", "nan", "hi"), "--timeout"),
        (("demo", "--fast"), "--fast"),
        ((), "There is no prompt."),
        (("  ",), "There is no prompt."),
    ],
)
def test_2_wrong_usage(cli: Cli, args: tuple[str, ...], told: str) -> None:
    """Nothing is sent, and the error says what to do."""
    (cli.folder / "blob.bin").write_bytes(b"\xff\x00\xfe")
    with ScriptedProvider([]) as provider:
        done = cli.run(*args, env=cli.environment(provider))
    assert provider.requests == []
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"Error: ") and told in done.stderr.decode()
    assert len(done.stderr.splitlines()) <= 3


def test_2_standard_input_that_is_no_text(cli: Cli) -> None:
    with ScriptedProvider([]) as provider:
        done = cli.run("hi", env=cli.environment(provider), stdin=b"\xff\x00\xfe")
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Standard input" in done.stderr


def test_3_a_limit_of_no_steps(cli: Cli) -> None:
    """E9: a limit of 0 allows none."""
    with ScriptedProvider([]) as provider:
        done = cli.run("hi", "--max-steps", "0", env=cli.environment(provider))
    assert (done.returncode, done.stdout) == (3, b"")
    assert b"limit of steps" in done.stderr


def test_3_a_limit_of_one_step(cli: Cli) -> None:
    """E9: the last text is kept."""
    with ScriptedProvider([reply("Let me see.", call("nothing"))]) as provider:
        done = cli.run("hi", "--max-steps", "1", "--json", env=cli.environment(provider))
    assert done.returncode == 3
    last = msgspec.json.decode(done.stdout.splitlines()[-1], type=Event)
    assert type(last) is TurnFinished
    assert (last.result.reason, last.result.cause, last.result.text) == ("limit", "steps", "Let me see.")


@pytest.mark.parametrize(
    ("api", "answer"),
    [("anthropic", hang()), ("openai", reply("Once ", "upon ", stall_after_event=2))],
    ids=["headers", "stream"],
)
def test_4_the_time_is_up(cli: Cli, api: str, answer: Reply) -> None:
    """C5: a hung provider ends in time."""
    with ScriptedProvider([repeat(answer)]) as provider:
        done = cli.run("hi", "--timeout", "0.7", env=cli.environment(provider, api))
    assert done.returncode == 4
    assert done.stderr == b"Stopped: the turn took longer than 0.7 s.\n"

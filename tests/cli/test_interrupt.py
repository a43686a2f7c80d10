"""Ctrl-C, termination and a reader that leaves: the turn ends through the engine, with what was received so far (C1, C2)."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import signal
import subprocess
import termios
from typing import TYPE_CHECKING

import msgspec
import pytest
from tests.cli.conftest import without_kept

from turnwise import AssistantMessage
from turnwise.events import Event, TurnFinished
from turnwise.testing import ScriptedProvider, hang, repeated, reply, text

if TYPE_CHECKING:
    from .conftest import Cli

APIS = ("anthropic", "openai")
LIMIT_S = 20.0
STALLED = reply(text("Once", " upon", " a", " time"), stall_after_event=4)


def read_until(process: subprocess.Popen[bytes], mark: bytes) -> bytes:
    assert process.stdout is not None
    seen = b""
    while mark not in seen:
        more = os.read(process.stdout.fileno(), 1 << 16)
        assert more, f"the output ended before {mark!r} was seen: {seen!r}"
        seen += more
    return seen


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_text_streams(cli: Cli, api: str, number: int, code: int) -> None:
    with ScriptedProvider([STALLED]) as provider:
        process = cli.start("hi", env=cli.environment(provider, api))
        seen = read_until(process, b"Once")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
        provider.wait("left", 1)
    assert (process.returncode, without_kept(stderr)) == (code, b"Interrupted.\n")
    said = seen + stdout
    assert said.endswith(b"\n") and b"Once upon a time".startswith(said[:-1])


@pytest.mark.parametrize("api", APIS)
def test_a_signal_while_waiting_for_headers(cli: Cli, api: str) -> None:
    with ScriptedProvider([hang()]) as provider:
        process = cli.start("hi", env=cli.environment(provider, api))
        provider.wait("stalled", 1)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, stdout, without_kept(stderr)) == (130, b"", b"Interrupted.\n")


def test_json_lines_end_with_the_turns_end_after_a_signal(cli: Cli) -> None:
    with ScriptedProvider([STALLED]) as provider:
        process = cli.start("hi", "--json", env=cli.environment(provider))
        seen = read_until(process, b"Once")
        process.send_signal(signal.SIGINT)
        stdout, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 130
    last = msgspec.json.decode((seen + stdout).splitlines()[-1], type=Event)
    assert type(last) is TurnFinished
    kept = last.result.messages[-1]
    assert last.result.reason == "interrupted" and type(kept) is AssistantMessage and kept.partial


def wait_until_full(process: subprocess.Popen[bytes]) -> None:
    """Until the pipe that the process writes to has no room left: the next write blocks."""
    assert process.stdout is not None
    held, before, same = array.array("i", [0]), -1, 0
    for _ in range(1000):
        fcntl.ioctl(process.stdout, termios.FIONREAD, held)
        same = same + 1 if held[0] == before and held[0] > 32_000 else 0
        before = held[0]
        if same == 5:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise AssertionError(f"{held[0]} bytes wait to be read, and more keep coming")


def test_a_second_signal_ends_it_at_once(cli: Cli) -> None:
    """Even while a write is blocked by a reader that does not read, which holds up the clean end."""
    with ScriptedProvider([reply(repeated("x" * 1000))]) as provider:
        process = cli.start("hi", env=cli.environment(provider))
        provider.wait("blocked", 1)
        wait_until_full(process)
        signals = 0
        while process.poll() is None:
            signals += 1
            process.send_signal(signal.SIGINT)
            try:
                process.wait(0.2)
            except subprocess.TimeoutExpired:
                assert signals < 20, "it does not end"
    assert process.returncode == -signal.SIGINT
    assert signals >= 2


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_reader_that_leaves_ends_the_turn_quietly(cli: Cli, options: tuple[str, ...]) -> None:
    with ScriptedProvider([reply(repeated("again and "))]) as provider:
        process = cli.start("hi", *options, env=cli.environment(provider))
        read_until(process, b"again")
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.wait(LIMIT_S) == 141
        assert process.stderr.read() == b""
        provider.wait("left", 1)


def test_ctrl_c_at_a_terminal(cli: Cli) -> None:
    with ScriptedProvider([STALLED]) as provider:
        terminal = cli.terminal("hi", env=cli.environment(provider, NO_COLOR="1"))
        terminal.read_until(b"Once")
        terminal.type(b"\x03")
        shown = terminal.read_to_end()
        provider.wait("left", 1)
    assert terminal.process.returncode == 130
    assert shown.startswith("Once") and without_kept(shown.encode()).endswith(b"\nInterrupted.\n")


def test_ctrl_c_while_waiting_for_standard_input(cli: Cli) -> None:
    """Nothing was asked yet, so nothing is said; the line that shows ^C is ended."""
    ours, theirs = os.pipe()
    try:
        process = cli.start("hi", env=cli.environment(ANTHROPIC_API_KEY="x"), stdin=ours)
        assert process.stderr is not None
        assert process.stderr.readline().startswith(b"Waiting for standard input")
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=LIMIT_S)
    finally:
        os.close(ours)
        os.close(theirs)
    assert (process.returncode, stdout, stderr) == (130, b"", b"\n")
